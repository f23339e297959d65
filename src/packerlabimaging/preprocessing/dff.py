"""dF/F: the change of fluorescence relative to a baseline F0, as a fraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from packerlabimaging._check import check_choice, check_positive
from packerlabimaging._traces import check_traces, kept_frames, quantile_rows, row_blocks, take_frames
from packerlabimaging.errors import ParameterError

Baseline = Literal["rolling_percentile", "percentile", "maximin"]
BASELINES: tuple[Baseline, ...] = ("rolling_percentile", "percentile", "maximin")

ANCHORS_PER_WINDOW = 4
"""Points per window at which the rolling percentile is taken; between them F0 runs straight (project convention)."""

MAXIMIN_SIGMA_FRAMES = 10.0
"""Gaussian smoothing before the running minimum, Suite2p's ``sig_baseline``."""

NOISE_PAIRS = 4096
"""Pairs of neighbouring frames, spread over the recording, that the noise of the floor is taken from: right to 2 %."""

_DIFFERENCE_TO_SD = 1.0 / (0.6745 * np.sqrt(2.0))
"""Turns the median absolute difference of neighbouring frames into the sd of white normal noise."""


@dataclass(frozen=True, kw_only=True)
class DffSettings:
    """How dF/F is computed; the section ``[trial.dff]`` of the experiment file.

    Parameters
    ----------
    baseline
        Method of F0, see :func:`compute_dff`.
    percentile
        Percentile for ``"percentile"`` and ``"rolling_percentile"``; 8 by default (CaImAn's and Suite2p's).
    window_s
        Length of the running window in seconds; 60 by default (Suite2p's ``win_baseline``).
    floor
        Smallest F0 that is divided by, in units of F; by default the noise of each ROI's frames.
    dark_level
        Value of a pixel that no light reaches (the digitiser's offset), e.g. the mean of a few frames with the shutter closed.
        It is part of F and Fneu but not of fluorescence: left in, it makes dF/F too small. Where it is not given, 0 is assumed
        and a finding says so.
    artefact
        What X holds at artefact frames: ``"nan"`` (default) or ``"keep"``, the values as computed.

    Raises
    ------
    ParameterError
        If a value is not possible.
    """

    baseline: Baseline = "rolling_percentile"
    percentile: float = 8.0
    window_s: float = 60.0
    floor: float | None = None
    dark_level: float | None = None
    artefact: Literal["nan", "keep"] = "nan"

    def __post_init__(self) -> None:
        check_choice("baseline", self.baseline, BASELINES)
        check_choice("artefact", self.artefact, ("nan", "keep"))
        check_positive("window_s", self.window_s)
        if self.floor is not None:
            check_positive("floor", self.floor, zero=True)
        if self.dark_level is not None and not np.isfinite(self.dark_level):
            raise ParameterError(f"dark_level = {self.dark_level!r} is not a finite number. Give the value of a dark pixel.")
        if not 0 <= self.percentile <= 100:
            raise ParameterError(f"percentile = {self.percentile!r} is out of range. Give a number from 0 to 100.")


@dataclass(frozen=True, eq=False)
class DffResult:
    """dF/F and its baseline.

    Parameters
    ----------
    dff
        Fraction, shape ``(n_rois, n_frames)``, float32.
    f0
        Baseline in units of F before the floor, float32; ``(n_rois, n_frames)``, or ``(n_rois, 1)`` where it is constant.
    low_baseline
        ROIs whose F0 fell below the floor in any frame, or that have none, boolean ``(n_rois,)``: their dF/F was divided
        by the floor and should not be compared with other cells'.
    """

    dff: np.ndarray
    f0: np.ndarray
    low_baseline: np.ndarray


def compute_dff(
    F: np.ndarray,
    *,
    rate_hz: float,
    baseline: Baseline = "rolling_percentile",
    percentile: float = 8.0,
    window_s: float = 60.0,
    exclude: np.ndarray | None = None,
    floor: float | np.ndarray | None = None,
) -> DffResult:
    """Compute dF/F, ``(F - F0) / max(F0, floor)``.

    Parameters
    ----------
    F
        Fluorescence, shape ``(n_rois, n_frames)``, any number type; neuropil-corrected or not.
    rate_hz
        Frames per second.
    baseline
        ``"rolling_percentile"`` (default): a percentile of the frames within a running window, cut at the ends of the
        recording; taken four times per window length, straight in between. ``"percentile"``: of the whole trace.
        ``"maximin"``: Suite2p's, smoothing (Gaussian, 10 frames), running minimum, running maximum.
    percentile
        Which percentile, 0 to 100.
    window_s
        Length of the running window in seconds.
    exclude
        Frames that F0 must not see (artefacts), boolean ``(n_frames,)``. dF/F is computed there all the same.
    floor
        Smallest F0 that is divided by, in units of F, one number or one per ROI. By default the noise sd of a single frame
        (from the differences of neighbouring frames): a baseline within the noise of zero can't be divided by, and dF/F
        never exceeds the signal-to-noise ratio.

    Returns
    -------
    DffResult
        dF/F, F0, and the ROIs that the floor was needed for. A constant trace > 0 gives 0; a trace without any F0 or with
        F0 and floor both <= 0 gives NaN and is flagged; NaN in F stays NaN, and is left out of F0.

    Raises
    ------
    ParameterError
        If a parameter is not possible.

    Notes
    -----
    A low percentile lies below the resting fluorescence by about 1.4 sd of the frame noise, so that noisy cells at rest
    have a positive dF/F. Do not compare absolute dF/F between cells of different noise.
    """
    F = check_traces("F", F)
    check_positive("rate_hz", rate_hz)
    settings = DffSettings(baseline=baseline, percentile=percentile, window_s=window_s)
    n_rois, n_frames = F.shape
    kept = kept_frames(exclude, n_frames)
    floors = None if floor is None else np.broadcast_to(np.asarray(floor, np.float64), (n_rois,))
    dff = np.empty(F.shape, np.float32)
    f0 = np.empty((n_rois, 1 if baseline == "percentile" else n_frames), np.float32)
    low = np.empty(n_rois, bool)
    for rows in row_blocks(n_rois, n_frames):
        block = F[rows].astype(np.float32, copy=False)
        seen = take_frames(block, kept)
        f0[rows] = _baseline(seen, kept, n_frames, settings, rate_hz)
        limit = _frame_noise(seen, kept) if floors is None else floors[rows]
        low[rows] = _divide(block, f0[rows], limit.astype(np.float32), out=dff[rows])
    return DffResult(dff, f0, low)


def _divide(block: np.ndarray, f0: np.ndarray, floor: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Write dF/F of a block into ``out``; return which rows fell below their floor."""
    lowest = np.min(f0, axis=1)
    low = ~((lowest >= floor) & (lowest > 0))
    divisor = f0
    if low.any():
        divisor = np.maximum(f0, floor[:, None])
        divisor[divisor <= 0] = np.nan
    np.subtract(block, f0, out=out)
    np.divide(out, divisor, out=out)
    return low


def _frame_noise(seen: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Noise sd of single frames from pairs of neighbours, shape ``(n_rois,)``; 0 where it can't be told."""
    first = np.flatnonzero(np.diff(kept) == 1)
    if len(first) > NOISE_PAIRS:
        first = first[np.linspace(0, len(first) - 1, NOISE_PAIRS).astype(int)]
    return np.nan_to_num(_DIFFERENCE_TO_SD * quantile_rows(np.abs(seen[:, first + 1] - seen[:, first]), 0.5))


def _baseline(seen: np.ndarray, kept: np.ndarray, n_frames: int, settings: DffSettings, rate_hz: float) -> np.ndarray:
    """F0 of a block from the frames ``kept`` of it, shape ``(n_rows, n_frames)`` or ``(n_rows, 1)``."""
    if settings.baseline == "percentile":
        return quantile_rows(seen, settings.percentile / 100)[:, None]
    window = max(1, round(settings.window_s * rate_hz))
    if settings.baseline == "rolling_percentile":
        return _rolling_quantile(seen, kept, n_frames, window, settings.percentile / 100)
    return _maximin(seen, kept, n_frames, window)


def _rolling_quantile(seen: np.ndarray, kept: np.ndarray, n_frames: int, window: int, quantile: float) -> np.ndarray:
    n_anchors = max(2, int(np.ceil(n_frames / window * ANCHORS_PER_WINDOW)) + 1)
    anchors = np.unique(np.round(np.linspace(0, n_frames - 1, n_anchors)).astype(int))
    first = np.searchsorted(kept, anchors - window // 2)
    stop = np.searchsorted(kept, anchors - window // 2 + window)
    values = np.stack([quantile_rows(seen[:, a:b], quantile) for a, b in zip(first, stop, strict=True)], axis=1)
    return _interpolate_rows(values, anchors, n_frames)


def _interpolate_rows(values: np.ndarray, anchors: np.ndarray, n_frames: int) -> np.ndarray:
    """Straight lines between anchors, in each row; a NaN anchor is bridged; NaN throughout where all are."""
    if np.isnan(values).any():
        values = values.copy()
        for row in np.flatnonzero(np.isnan(values).any(axis=1)):
            good = np.isfinite(values[row])
            if good.any():
                values[row] = np.interp(anchors, anchors[good], values[row][good])
    frames = np.arange(n_frames)
    left = np.clip(np.searchsorted(anchors, frames, side="right") - 1, 0, max(0, len(anchors) - 2))
    right = np.minimum(left + 1, len(anchors) - 1)
    share = (frames - anchors[left]) / np.maximum(anchors[right] - anchors[left], 1)
    values = values.astype(np.float32)
    share = share.astype(np.float32)
    result = values[:, left]
    result += share * (values[:, right] - result)
    return result


def _maximin(seen: np.ndarray, kept: np.ndarray, n_frames: int, window: int) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

    frames = np.arange(n_frames)
    filled = np.full((len(seen), n_frames), np.nan, np.float32)
    for row, values in enumerate(seen):  # frames left out are bridged in a straight line before smoothing
        good = np.isfinite(values)
        if good.any():
            filled[row] = values if good.all() and len(kept) == n_frames else np.interp(frames, kept[good], values[good])
    smooth = gaussian_filter1d(filled, MAXIMIN_SIGMA_FRAMES, axis=1)
    return maximum_filter1d(minimum_filter1d(smooth, window, axis=1), window, axis=1)
