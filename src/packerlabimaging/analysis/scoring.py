"""From traces to one score per ROI and stim, and from scores to calls: what the response tables are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging._traces import row_blocks
from packerlabimaging.analysis.presets import ResponsePreset
from packerlabimaging.analysis.snippets import FrameWindows, find_windows, window_moments
from packerlabimaging.analysis.statistics import (
    adjust_bh,
    adjust_bonferroni,
    adjust_by,
    calls_needed,
    smallest_attainable_p,
    wilcoxon_signed_rank,
)
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
"""Level of the intervals of mean responses."""

_ADJUSTMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bh": adjust_bh,
    "by": adjust_by,
    "bonferroni": adjust_bonferroni,
}

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
    """Scores, each ``(n_rois, n_stims)``: ``amplitude`` (dF/F, fraction), ``z`` (amplitude in sd), ``responded`` (bool)."""

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
        If a stim outlasts the preset: light and response window together are longer than ``post_s``.
    """
    onsets, ends = np.asarray(onsets_s, np.float64), np.asarray(ends_s, np.float64)
    longest = float(np.nanmax(ends - onsets, initial=0.0))
    if longest + preset.post_window_s > preset.post_s:
        raise ParameterError(
            f"A stim lasts {longest:.3f} s, and the preset '{preset.name}' looks only {preset.post_s:g} s past its onset, too "
            f"short for a response window of {preset.post_window_s:g} s after the light. "
            f"Override post_s with at least {longest + preset.post_window_s:.3f} if that is what you want."
        )
    frames, in_frame = clock.frames_at(onsets)
    before = np.where(in_frame, clock.starts_s[np.where(in_frame, frames, 0)], onsets)
    fraction = preset.min_valid_fraction
    pre = find_windows(clock, onsets - preset.pre_window_s, before, exclude=exclude, min_valid_fraction=fraction)
    post = find_windows(clock, ends, ends + preset.post_window_s, exclude=exclude, min_valid_fraction=fraction)
    reason = np.full(len(onsets), "", dtype=object)
    for name, windows in (("response window", post), ("baseline window", pre)):
        unusable = ~windows.usable
        reason[unusable] = [f"{name}: {why}" for why in windows.reason[unusable]]
    if given is not None:
        reason[~np.asarray(given, bool)] = "marked invalid"
    return Windows(pre, post, reason == "", reason)


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
        scores.amplitude[rows] = difference / _floored(f0, pre_sd)
        scores.z[rows] = difference / _scale(pre_sd, windows, preset)
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


def summarise(scores: Scores, *, preset: ResponsePreset, families: np.ndarray) -> pd.DataFrame:
    """Test every ROI over its stims and correct within families.

    Parameters
    ----------
    scores
        The scores.
    preset
        Names correction and level.
    families
        Family of each ROI, ``(n_rois,)`` text; an empty name leaves the ROI out of every family: it has a p value, but
        no corrected one and no call.

    Returns
    -------
    pandas.DataFrame
        One row per ROI: ``response_mean`` and ``response_sd`` (dF/F over stims), ``n_valid``, ``ci_low`` and ``ci_high`` (95 %
        t interval of the mean), ``effect_size`` (mean / sd over stims, Cohen's dz), ``pvalue``, ``pvalue_adjusted``,
        ``excited``, ``suppressed``, ``response_probability`` (share of stims with a single-stim response > 0).
    """
    import pandas as pd
    from scipy.special import stdtrit

    values = scores.amplitude.astype(np.float64)
    scored = ~np.isnan(values)
    n = scored.sum(axis=1)
    filled = np.where(scored, values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled.sum(axis=1) / np.where(n > 0, n, np.nan)
        variance = np.where(scored, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.where(n > 1, n - 1, np.nan)
        sd = np.sqrt(variance)
        half = stdtrit(np.maximum(n - 1, 1), 0.5 + CONFIDENCE / 2) * sd / np.sqrt(n)
        effect = np.where(sd > 0, mean / sd, np.nan)
        probability = np.sum(scores.responded & (values > 0), axis=1) / np.where(n > 0, n, np.nan)
    p = wilcoxon_signed_rank(values)
    adjusted = np.full(len(p), np.nan)
    for family in np.unique(families[families != ""]):
        members = families == family
        adjusted[members] = _ADJUSTMENTS[preset.adjustment](p[members])
    called = adjusted < preset.alpha
    return pd.DataFrame(
        {
            "response_mean": mean,
            "response_sd": sd,
            "n_valid": n,
            "ci_low": mean - half,
            "ci_high": mean + half,
            "effect_size": effect,
            "pvalue": p,
            "pvalue_adjusted": adjusted,
            "excited": called & (mean > 0),
            "suppressed": called & (mean < 0),
            "response_probability": probability,
        }
    )


def describe_families(summary: pd.DataFrame, families: np.ndarray, *, preset: ResponsePreset) -> pd.DataFrame:
    """Describe each family: its size, its calls, and what its number of stims can show at all.

    Columns: ``n_tested``, ``n_stims`` (median of the valid stims of its ROIs), ``n_excited``, ``n_suppressed``,
    ``smallest_attainable_p`` and ``calls_needed`` (ROIs that must reach it before any can be called).
    """
    import pandas as pd

    rows = {}
    for family in np.unique(families[families != ""]):
        part = summary[families == family]
        tested = part[part["pvalue"].notna()]
        n_stims = int(tested["n_valid"].median()) if len(tested) else 0
        divisor = {"bh": 1.0, "by": float(np.sum(1.0 / np.arange(1, len(tested) + 1))), "bonferroni": 1.0}[preset.adjustment]
        needed = calls_needed(n_stims, n_tests=len(tested), alpha=preset.alpha / max(divisor, 1.0))
        if preset.adjustment == "bonferroni" and needed > 1:
            needed = len(tested) + 1
        rows[family] = {
            "n_tested": len(tested),
            "n_stims": n_stims,
            "n_excited": int(part["excited"].sum()),
            "n_suppressed": int(part["suppressed"].sum()),
            "smallest_attainable_p": smallest_attainable_p(n_stims),
            "calls_needed": needed,
        }
    columns = ["n_tested", "n_stims", "n_excited", "n_suppressed", "smallest_attainable_p", "calls_needed"]
    described = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    described.index = pd.Index(list(rows), dtype=object, name="family")
    return described
