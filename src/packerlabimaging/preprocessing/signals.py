"""Behaviour and other signals on the frames of a table: averaged over each frame, at their own rate, never point-sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from packerlabimaging._check import check_choice
from packerlabimaging._provenance import record
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.signals import Channel, Signals
from packerlabimaging.errors import AmbiguousInputError, ParameterError

if TYPE_CHECKING:
    from anndata import AnnData

Statistic = Literal["mean", "min", "max", "any"]
STATISTICS: tuple[Statistic, ...] = ("mean", "min", "max", "any")


def add_signal(
    cells: AnnData,
    channel: Channel | Signals,
    clock: FrameClock,
    *,
    key_added: str,
    statistic: Statistic = "mean",
    threshold: float | None = None,
) -> None:
    """Add a recorded signal to the frames of a table.

    Parameters
    ----------
    cells
        Table whose columns are the frames of ``clock``.
    channel
        The signal at its own rate; or signals with a single channel.
    clock
        Times of the frames, on the same time base as the signal.
    key_added
        Name of the column in ``var``; a column of that name is replaced.
    statistic, threshold
        See :func:`average_over_frames`.

    Returns
    -------
    None
        Sets ``cells.var[key_added]`` (float32; NaN for a frame without samples) and appends to the provenance.

    Raises
    ------
    ParameterError
        If the clock does not have one frame per column.
    AmbiguousInputError
        If ``channel`` is signals with more than one channel.
    """
    if isinstance(channel, Signals):
        if len(channel) != 1:
            raise AmbiguousInputError(
                f"The signals hold {len(channel)} channels: {', '.join(channel) or 'none'}. Pass one, e.g. signals['name']."
            )
        (channel,) = channel.values()
    if clock.n_frames != cells.n_vars:
        raise ParameterError(f"The clock has {clock.n_frames} frames and the table {cells.n_vars}. Pass the clock of this table.")
    cells.var[key_added] = average_over_frames(channel, clock, statistic=statistic, threshold=threshold)
    record(cells, "pp.add_signal", channel=channel.name, key_added=key_added, statistic=statistic, threshold=threshold)


def average_over_frames(
    channel: Channel, clock: FrameClock, *, statistic: Statistic = "mean", threshold: float | None = None
) -> np.ndarray:
    """Reduce a signal to one value per frame, over all samples taken in the frame's interval ``[start, end)``.

    Reads the channel once, chunk by chunk.

    Parameters
    ----------
    channel
        The signal.
    clock
        Times of the frames, on the signal's time base.
    statistic
        ``"mean"``, ``"min"``, ``"max"``, or ``"any"``: 1 where any sample lies above ``threshold``, else 0 (for TTLs).
    threshold
        Level for ``"any"``, in the channel's unit.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(n_frames,)``. NaN samples are left out; a frame without samples is NaN.

    Raises
    ------
    ParameterError
        If the statistic is unknown, or ``"any"`` comes without a threshold or another one with it.
    """
    check_choice("statistic", statistic, STATISTICS)
    if (statistic == "any") != (threshold is not None):
        raise ParameterError(
            f"statistic = '{statistic}' with threshold = {threshold}. Give a threshold with 'any', and only then."
        )
    first, stop = (channel.first_sample_at(times) for times in (clock.starts_s, clock.ends_s))
    counts = np.zeros(clock.n_frames, np.int64)
    values = (
        np.zeros(clock.n_frames) if statistic == "mean" else np.full(clock.n_frames, np.inf if statistic == "min" else -np.inf)
    )
    for start, samples in channel.chunks():
        a = int(np.searchsorted(stop, start, side="right"))
        b = int(np.searchsorted(first, start + len(samples), side="left"))
        bounds = np.clip(np.stack([first[a:b], stop[a:b]], axis=1) - start, 0, len(samples))
        _reduce(samples, bounds, statistic, values[a:b], counts[a:b])
    if statistic == "mean":
        values /= np.maximum(counts, 1)
    if threshold is not None:
        values = values > threshold
    return np.where(counts > 0, values, np.nan).astype(np.float32)


def _reduce(samples: np.ndarray, bounds: np.ndarray, statistic: Statistic, values: np.ndarray, counts: np.ndarray) -> None:
    """Take the samples of one chunk into ``values`` and ``counts``, in place; ``bounds`` are the frames' sample ranges."""
    some = bounds[:, 1] > bounds[:, 0]
    flat = bounds[some].ravel()
    if len(flat) == 0:
        return
    good = np.isfinite(samples)
    counts[some] += _segments(np.add, good.astype(np.int64), flat)
    if statistic == "mean":
        values[some] += _segments(np.add, np.where(good, samples, 0.0).astype(np.float64), flat)
    elif statistic == "min":
        values[some] = np.minimum(values[some], _segments(np.minimum, np.where(good, samples, np.inf), flat))
    else:
        values[some] = np.maximum(values[some], _segments(np.maximum, np.where(good, samples, -np.inf), flat))


def _segments(operation: np.ufunc, samples: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Reduce the ranges ``flat[0]:flat[1]``, ``flat[2]:flat[3]``, ... of the samples; none may be empty."""
    padded = np.append(samples, samples[:1])  # so that a range may end with the chunk
    return operation.reduceat(padded, flat)[::2]
