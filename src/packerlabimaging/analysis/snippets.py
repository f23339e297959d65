"""Pieces of traces around stims: aligned snippets, and means over time windows without building them.

One rule everywhere: a frame belongs to the window ``[start, stop)`` if its start lies in it, to the microsecond. A frame
that starts when the light ends is therefore the first one after it, and a window of 0.5 s that begins on a tick holds
exactly the frames of half a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging._traces import check_mask, check_traces, row_blocks
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import ParameterError

TIME_TOLERANCE_S = 1e-6
"""Times closer than this are the same: far above floating-point error, far below one sample of any recording."""

CUT = "cut by the edge of the recording"
TOO_FEW = "too few valid frames"
NO_TIME = "no time"


@dataclass(frozen=True, eq=False)
class Snippets:
    """Traces around stims.

    Parameters
    ----------
    values
        float32, shape ``(n_rois, n_stims, n_times)``; NaN where a snippet is cut or a frame was left out.
    valid
        Where there are values, boolean ``(n_stims, n_times)``.
    time_s
        Nominal time of each frame's start after the start of the frame that holds the onset, shape ``(n_times,)``.
    """

    values: np.ndarray
    valid: np.ndarray
    time_s: np.ndarray


class WindowMeans(NamedTuple):
    """Means over one time window per stim.

    ``means``: float64 ``(n_rois, n_stims)``, NaN where the window is not usable. ``valid_fraction``: ``(n_stims,)``, share of
    the window's frames that are there and not left out. ``reason``: ``(n_stims,)`` text, empty where the window is usable.
    """

    means: np.ndarray
    valid_fraction: np.ndarray
    reason: np.ndarray


@dataclass(frozen=True, eq=False)
class FrameWindows:
    """The frames of one time window per stim.

    ``frames[indptr[i]:indptr[i + 1]]`` are the usable frames of window ``i``: none where it has a ``reason``. ``expected``
    is how many a whole window holds.
    """

    frames: np.ndarray
    indptr: np.ndarray
    expected: np.ndarray
    valid_fraction: np.ndarray
    reason: np.ndarray
    min_valid_fraction: float

    @property
    def usable(self) -> np.ndarray:
        """Which windows can be used, boolean ``(n_windows,)``."""
        return self.reason == ""


def extract_snippets(
    traces: np.ndarray, clock: FrameClock, onsets_s: np.ndarray, *, pre_s: float, post_s: float, exclude: np.ndarray | None = None
) -> Snippets:
    """Cut out the traces around stims, aligned to the frame that holds each onset.

    Parameters
    ----------
    traces
        Shape ``(n_rois, n_frames)``.
    clock
        Times of the frames.
    onsets_s
        Onset of each stim, shape ``(n_stims,)``, seconds on the clock's time base.
    pre_s, post_s
        Length before and after the onset's frame; rounded to whole frames.
    exclude
        Frames to leave out (artefacts), boolean ``(n_frames,)``.

    Returns
    -------
    Snippets
        One snippet per onset, in the given order. What lies beyond the recording, or across a gap in it, is NaN; an onset
        in no frame gives a snippet of NaN. Nothing is dropped.

    Raises
    ------
    ParameterError
        If traces and clock differ in their number of frames.
    """
    traces = _check_frames(traces, clock)
    period = 1.0 / clock.rate_hz
    n_pre = round(check_positive("pre_s", pre_s, zero=True) / period)
    n_post = round(check_positive("post_s", post_s, zero=True) / period)
    offsets = np.arange(-n_pre, n_post)
    frames, in_frame = clock.frames_at(np.asarray(onsets_s, np.float64))
    anchors = np.where(in_frame, frames, 0)
    index = anchors[:, None] + offsets
    valid = in_frame[:, None] & (index >= 0) & (index < clock.n_frames)
    index = np.clip(index, 0, clock.n_frames - 1)
    elapsed = clock.starts_s[index] - clock.starts_s[anchors][:, None]
    valid &= np.abs(elapsed - offsets * period) < 0.5 * period  # a gap between blocks, or missing frames, lie in between
    if exclude is not None:
        valid &= ~check_mask(exclude, clock.n_frames)[index]
    values = np.full((len(traces), *valid.shape), np.nan, np.float32)
    for stim, anchor in enumerate(anchors):
        first, stop = max(0, anchor - n_pre), min(clock.n_frames, anchor + n_post)
        place = first - (anchor - n_pre)
        values[:, stim, place : place + stop - first] = traces[:, first:stop]
    values[:, ~valid] = np.nan
    return Snippets(values, valid, offsets * period)


def window_means(
    traces: np.ndarray,
    clock: FrameClock,
    starts_s: np.ndarray,
    stops_s: np.ndarray,
    *,
    exclude: np.ndarray | None = None,
    min_valid_fraction: float = 0.5,
) -> WindowMeans:
    """Average traces over one time window per stim.

    Parameters
    ----------
    traces
        Shape ``(n_rois, n_frames)``.
    clock
        Times of the frames.
    starts_s, stops_s
        Windows ``[start, stop)``, shape ``(n_stims,)``, seconds. A frame belongs to the window that its start lies in.
    exclude
        Frames to leave out (artefacts), boolean ``(n_frames,)``: their values are never looked at.
    min_valid_fraction
        A window with a smaller share of usable frames is NaN; half by default.

    Returns
    -------
    WindowMeans
        Also NaN is what is cut by the edge of the recording. NaN in a trace is left out in that ROI only, by the same rule.

    Raises
    ------
    ParameterError
        If traces, mask and clock differ in their number of frames, or a window ends before it starts.
    """
    traces = _check_frames(traces, clock)
    windows = find_windows(clock, starts_s, stops_s, exclude=exclude, min_valid_fraction=min_valid_fraction)
    means = np.empty((len(traces), len(windows.expected)))
    for rows in row_blocks(len(traces), max(1, len(windows.frames))):
        means[rows] = window_moments(traces[rows][:, windows.frames], windows)[0]
    return WindowMeans(means, windows.valid_fraction, windows.reason)


def find_windows(
    clock: FrameClock, starts_s: np.ndarray, stops_s: np.ndarray, *, exclude: np.ndarray | None, min_valid_fraction: float
) -> FrameWindows:
    """Find the usable frames of each window; see :func:`window_means` for the rules."""
    starts, stops = np.asarray(starts_s, np.float64), np.asarray(stops_s, np.float64)
    if np.any(stops < starts):
        raise ParameterError("A window ends before it starts. Give windows as [start, stop), in seconds.")
    known = np.isfinite(starts) & np.isfinite(stops)
    first = np.searchsorted(clock.starts_s, starts - TIME_TOLERANCE_S)
    count = np.where(known, np.searchsorted(clock.starts_s, stops - TIME_TOLERANCE_S) - first, 0)
    whole = np.floor(np.where(known, stops - starts, 0.0) * clock.rate_hz + TIME_TOLERANCE_S).astype(np.int64)
    expected = np.maximum(np.maximum(count, whole), 1)
    window = np.repeat(np.arange(len(starts)), count)
    frames = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    usable = np.ones(len(frames), bool) if exclude is None else ~check_mask(exclude, clock.n_frames)[frames]
    fraction = np.bincount(window[usable], minlength=len(starts)) / expected
    reason = np.full(len(starts), "", dtype=object)
    reason[(fraction < min_valid_fraction) | (fraction == 0)] = TOO_FEW
    reason[(starts < clock.starts_s[0] - TIME_TOLERANCE_S) | (stops > clock.ends_s[-1] + TIME_TOLERANCE_S)] = CUT
    reason[~known] = NO_TIME
    usable &= (reason == "")[window]
    kept = np.bincount(window[usable], minlength=len(starts))
    return FrameWindows(
        frames[usable], np.concatenate([[0], np.cumsum(kept)]), expected, fraction, reason, float(min_valid_fraction)
    )


def window_moments(values: np.ndarray, windows: FrameWindows, *, sd: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and, with ``sd``, sd (over frames, ``ddof=0``) in each window, both ``(n_rows, n_windows)``.

    ``values`` are the traces at ``windows.frames``, shape ``(n_rows, len(windows.frames))``. Without ``sd`` the second array
    is all NaN.
    """
    means = np.full((len(values), len(windows.expected)), np.nan)
    sds = np.full_like(means, np.nan)
    full = np.flatnonzero(np.diff(windows.indptr))
    if len(full) == 0 or len(values) == 0:
        return means, sds
    values = values.astype(np.float64)
    offsets, lengths = windows.indptr[full], np.diff(windows.indptr)[full]
    counts: np.ndarray = lengths[None, :]
    holes = np.isnan(values) if np.isnan(values.sum()) else None
    if holes is not None:
        values[holes] = 0.0
        counts = lengths - np.add.reduceat(holes, offsets, axis=1, dtype=np.int64)
    enough = (counts > 0) & (counts >= windows.min_valid_fraction * windows.expected[full])
    divisor = np.where(enough, counts, np.nan)
    mean = np.add.reduceat(values, offsets, axis=1) / divisor
    means[:, full] = mean
    if sd:
        values -= np.repeat(mean, lengths, axis=1)
        if holes is not None:
            values[holes] = 0.0
        np.multiply(values, values, out=values)
        sds[:, full] = np.sqrt(np.add.reduceat(values, offsets, axis=1) / divisor)
    return means, sds


def _check_frames(traces: np.ndarray, clock: FrameClock) -> np.ndarray:
    traces = check_traces("traces", traces)
    if traces.shape[1] != clock.n_frames:
        raise ParameterError(
            f"The traces have {traces.shape[1]} frames and the clock {clock.n_frames}. Both must be of the same."
        )
    return traces
