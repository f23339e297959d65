"""From traces to one score per ROI and stim: what the response tables are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from packerlabimaging._traces import row_blocks
from packerlabimaging.analysis.presets import ResponsePreset
from packerlabimaging.analysis.snippets import TIME_TOLERANCE_S, FrameWindows, find_windows, window_moments
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import ParameterError

TraceRows = Callable[[slice, np.ndarray], np.ndarray]
"""Gives some rows and frames of the traces to score: ``(rows, frames)`` to floats, ``(n_rows, len(frames))``."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Baseline and response window of every stim, and which stims can be scored."""

    pre: FrameWindows
    post: FrameWindows
    valid: np.ndarray
    reason: np.ndarray


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores, each ``(n_rois, n_stims)``.

    ``amplitude``: dF/F (fraction), or what the preset has in its place; ``z``: the same difference in sd; ``responded``: single
    stims called responses, of either sign (bool).
    """

    amplitude: np.ndarray
    z: np.ndarray
    responded: np.ndarray


def place_windows(
    clock: FrameClock,
    onsets_s: np.ndarray,
    ends_s: np.ndarray,
    *,
    preset: ResponsePreset,
    exclude: np.ndarray | None,
    given: np.ndarray | None = None,
) -> Windows:
    """Place the preset's windows around each stim.

    ``given`` says which stims are valid to begin with; the others are not scored.

    Raises
    ------
    ParameterError
        If a stim outlasts the preset: its light reaches into the response window, or the window beyond ``post_s``.
    """
    onsets, ends = np.asarray(onsets_s, np.float64), np.asarray(ends_s, np.float64)
    longest = float(np.nanmax(ends - onsets, initial=0.0))
    _check_lasting(preset, longest)
    frames, in_frame = clock.frames_at(onsets)
    before = np.where(in_frame, clock.starts_s[np.where(in_frame, frames, 0)], onsets)
    fraction = preset.min_valid_fraction
    pre = find_windows(clock, onsets - preset.pre_window_s, before, exclude=exclude, min_valid_fraction=fraction)
    opens = (ends if preset.post_anchor == "end" else onsets) + preset.post_start_s
    post = find_windows(clock, opens, opens + preset.post_window_s, exclude=exclude, min_valid_fraction=fraction)
    reason = np.full(len(onsets), "", dtype=object)
    for name, windows in (("response window", post), ("baseline window", pre)):
        unusable = ~windows.usable
        reason[unusable] = [f"{name}: {why}" for why in windows.reason[unusable]]
    if given is not None:
        reason[~np.asarray(given, bool)] = "marked invalid"
    return Windows(pre, post, reason == "", reason)


def _check_lasting(preset: ResponsePreset, longest_s: float) -> None:
    """Refuse stims that outlast the preset's windows."""
    if preset.post_anchor == "onset" and longest_s > preset.post_start_s + TIME_TOLERANCE_S:
        raise ParameterError(
            f"A stim lasts {longest_s:.3f} s, and the response window of the preset '{preset.name}' opens "
            f"{preset.post_start_s:g} s after its onset, in the light. "
            f"Override post_start_s with at least {longest_s:.3f} if that is what you want."
        )
    reach_s = preset.post_start_s + preset.post_window_s + (longest_s if preset.post_anchor == "end" else 0.0)
    if reach_s > preset.post_s + TIME_TOLERANCE_S:
        raise ParameterError(
            f"A stim lasts {longest_s:.3f} s, and the preset '{preset.name}' looks only {preset.post_s:g} s past its onset, too "
            f"short for a response window of {preset.post_window_s:g} s. "
            f"Override post_s with at least {reach_s:.3f} if that is what you want."
        )


def score_stims(traces: TraceRows, n_rois: int, windows: Windows, *, preset: ResponsePreset, kept: np.ndarray) -> Scores:
    """Score every ROI and stim, some rows at a time.

    ``kept`` are the frames that the mean of the whole trace may see (``f0 = "trace"``).
    """
    shape = (n_rois, len(windows.valid))
    scores = Scores(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, bool))
    frames, n_pre = np.concatenate([windows.pre.frames, windows.post.frames]), len(windows.pre.frames)
    for rows in row_blocks(n_rois, 8 * max(1, len(frames))):
        block = traces(rows, frames)
        pre, pre_sd = window_moments(block[:, :n_pre], windows.pre, sd=True)
        post, _ = window_moments(block[:, n_pre:], windows.post)
        f0 = pre if preset.f0 == "pre-stim" else row_means(traces(rows, kept))[:, None]
        difference = post - pre
        difference[:, ~windows.valid] = np.nan
        scores.z[rows] = difference / _scale(pre_sd, windows, preset)
        scores.amplitude[rows] = difference / _floored(f0, pre_sd) if preset.score == "dff" else scores.z[rows]
        scores.responded[rows] = np.abs(scores.z[rows]) >= preset.single_stim_sd
    return scores


def _floored(f0: np.ndarray, pre_sd: np.ndarray) -> np.ndarray:
    """F0, at least the frame noise; NaN where neither is above zero."""
    divisor = np.maximum(f0, row_medians(pre_sd)[:, None])
    return np.where(divisor > 0, divisor, np.nan)


def _scale(pre_sd: np.ndarray, windows: Windows, preset: ResponsePreset) -> np.ndarray:
    scale = np.where(pre_sd > 0, pre_sd, np.nan)
    if preset.single_stim_scale == "window mean":
        n_pre, n_post = np.diff(windows.pre.indptr), np.diff(windows.post.indptr)
        with np.errstate(divide="ignore"):
            scale = scale * np.sqrt(1.0 / n_pre + 1.0 / n_post)
    return scale


def row_means(values: np.ndarray) -> np.ndarray:
    """Mean of each row, NaN left out; NaN where nothing is left."""
    n = np.sum(~np.isnan(values), axis=1)
    return np.nansum(values, axis=1, dtype=np.float64) / np.where(n > 0, n, np.nan)


def row_medians(values: np.ndarray) -> np.ndarray:
    """Median of each row, NaN left out; 0 where nothing is left."""
    ordered = np.sort(values, axis=1)  # NaN last
    n = np.sum(~np.isnan(values), axis=1)
    rows = np.arange(len(values))
    low, high = ordered[rows, np.maximum((n - 1) // 2, 0)], ordered[rows, np.minimum(n // 2, values.shape[1] - 1)]
    return np.where(n > 0, 0.5 * (low + high), 0.0)
