"""From scores to calls: one row of statistics per ROI, one per family of ROIs.

The unit of replication is the stim. What a preset's test is decides how p values are made; correction within families,
intervals, and what shams tell about false calls are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from packerlabimaging.analysis.presets import ResponsePreset
from packerlabimaging.analysis.scoring import Scores
from packerlabimaging.analysis.shams import null_statistics, pooled_pvalue, t_statistic
from packerlabimaging.analysis.statistics import (
    adjust_bh,
    adjust_bonferroni,
    adjust_by,
    calls_needed,
    correct_for_false_alarms,
    one_sample_t_test,
    smallest_attainable_p,
    wilcoxon_signed_rank,
)

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
"""Level of all intervals."""
N_BOOTSTRAPS = 200
"""Draws of stims and sham trains for the interval of the empirical FDR."""
N_TEST_TRAINS = 100
"""Sham trains that go through a test other than the comparison with shams itself."""

_ADJUSTMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bh": adjust_bh,
    "by": adjust_by,
    "bonferroni": adjust_bonferroni,
}
_TESTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"wilcoxon": wilcoxon_signed_rank, "t": one_sample_t_test}


class Strengths(NamedTuple):
    """How strongly each ROI responds, for comparison with shams: large and positive is excited, large and negative suppressed.

    ``real``: ``(n_rois,)``; ``sham``: ``(n_rois, n_trains)``; ``bootstrap``: over stims drawn with replacement, ``(n_rois,
    N_BOOTSTRAPS)``.
    """

    real: np.ndarray
    sham: np.ndarray
    bootstrap: np.ndarray


@dataclass(frozen=True, eq=False)
class Called:
    """Outcome: ``summary``, one row per ROI, and ``families``, one per family."""

    summary: pd.DataFrame
    families: pd.DataFrame


def call_rois(
    scores: Scores, shams: Scores | None, *, preset: ResponsePreset, families: np.ndarray, rng: np.random.Generator
) -> Called:
    """Test every ROI over its stims, correct within families, and say how many false calls shams would make.

    Parameters
    ----------
    scores
        Of the stims that count: no catch stims.
    shams
        Of the sham stims, the same ROIs; None where there are too few.
    preset
        Names test, correction and level.
    families
        Family of each ROI, ``(n_rois,)`` text; an empty name leaves the ROI out of every family: it has a p value, but
        no corrected one and no call.

    Returns
    -------
    Called
        ``summary``: ``response_mean`` and ``response_sd`` (over stims, in the score's unit), ``n_valid``, ``ci_low`` and
        ``ci_high`` (95 % t interval of the mean), ``effect_size`` (mean / sd over stims, Cohen's dz), ``pvalue``,
        ``pvalue_adjusted``, ``excited`` and ``suppressed`` (called, and above or below zero, or what shams have in the middle),
        ``response_probability`` (share of stims with a single-stim response
        above zero), ``false_alarm_probability`` (the same of shams), ``response_probability_corrected`` with
        ``_low`` and ``_high`` (see :func:`correct_for_false_alarms`).
        ``families``: see :func:`_describe`.
    """
    values = scores.amplitude.astype(np.float64)
    summary = _describe_rois(values)
    direction = summary["response_mean"].to_numpy()
    tested = families != ""
    strengths: Strengths | None = None
    if preset.test == "sham" and shams is not None:
        strengths = _sham_strengths(values, shams, preset.n_sham_trains, rng)
        null = strengths.sham[tested] if tested.any() else strengths.sham
        p, direction = pooled_pvalue(strengths.real, null), strengths.real - np.nanmedian(null)
        floor = 2.0 / (np.sum(~np.isnan(null)) + 1)
    elif preset.test in _TESTS:
        test = _TESTS[preset.test]
        p, floor = test(values), None
        strengths = None if shams is None else _test_strengths(values, shams, test, preset.n_sham_trains, rng)
    else:
        p, floor = np.full(len(values), np.nan), None
    adjusted = np.full(len(p), np.nan)
    for family in np.unique(families[tested]):
        members = families == family
        adjusted[members] = _ADJUSTMENTS[preset.adjustment](p[members])
    called = adjusted < preset.alpha
    summary["pvalue"], summary["pvalue_adjusted"] = p, adjusted
    summary["excited"], summary["suppressed"] = called & (direction > 0), called & (direction < 0)
    _add_probabilities(summary, scores, shams)
    return Called(summary, _describe(summary, families, strengths, preset=preset, floor=floor, rng=rng))


def _describe_rois(values: np.ndarray) -> pd.DataFrame:
    import pandas as pd
    from scipy.special import stdtrit

    scored = ~np.isnan(values)
    n = scored.sum(axis=1)
    filled = np.where(scored, values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled.sum(axis=1) / np.where(n > 0, n, np.nan)
        variance = np.where(scored, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.where(n > 1, n - 1, np.nan)
        sd = np.sqrt(variance)
        half = stdtrit(np.maximum(n - 1, 1), 0.5 + CONFIDENCE / 2) * sd / np.sqrt(n)
        effect = np.where(sd > 0, mean / sd, np.nan)
    columns = {"response_mean": mean, "response_sd": sd, "n_valid": n, "ci_low": mean - half, "ci_high": mean + half}
    return pd.DataFrame({**columns, "effect_size": effect})


def _sham_strengths(values: np.ndarray, shams: Scores, n_trains: int, rng: np.random.Generator) -> Strengths:
    """Compare by mean over standard error, of stims and of sham trains."""
    sham = null_statistics(shams.amplitude.astype(np.float64), values.shape[1], n_trains=n_trains, rng=rng)
    drawn = rng.multinomial(values.shape[1], np.full(values.shape[1], 1 / max(values.shape[1], 1)), N_BOOTSTRAPS)
    return Strengths(t_statistic(values), sham, t_statistic(values, drawn.T.astype(np.float64)))


def _test_strengths(
    values: np.ndarray, shams: Scores, test: Callable[[np.ndarray], np.ndarray], n_trains: int, rng: np.random.Generator
) -> Strengths:
    """Compare by 1 - p of a test, with the sign of the mean, in at most ``N_TEST_TRAINS`` trains.

    Trains are drawn with replacement, which makes them as different as :func:`null_statistics` makes its own by widening.
    """

    def signed(part: np.ndarray) -> np.ndarray:
        strength: np.ndarray = np.sign(np.nansum(part, axis=1)) * (1.0 - test(part))
        return strength

    n, n_trains = values.shape[1], min(n_trains, N_TEST_TRAINS)
    untied = 1.0 + 1e-10 * np.arange(n)  # what is drawn twice ties with itself only: its ranks have one sign in any order

    def drawn(of: np.ndarray) -> np.ndarray:
        picks = rng.integers(0, of.shape[1], (n_trains, n))
        return np.column_stack([signed(of[:, pick] * untied) for pick in picks])

    sham, bootstrap = drawn(shams.amplitude.astype(np.float64)), drawn(values)
    return Strengths(signed(values), sham, bootstrap)


def _add_probabilities(summary: pd.DataFrame, scores: Scores, shams: Scores | None) -> None:
    def count(of: Scores) -> tuple[np.ndarray, np.ndarray]:
        return np.sum(of.responded & (of.amplitude > 0), axis=1), np.sum(~np.isnan(of.amplitude), axis=1)

    hits, n = count(scores)
    summary["response_probability"] = hits / np.where(n > 0, n, np.nan)
    alarms, n_shams = (np.zeros(len(hits)), np.zeros(len(hits))) if shams is None else count(shams)
    summary["false_alarm_probability"] = alarms / np.where(n_shams > 0, n_shams, np.nan)
    corrected = correct_for_false_alarms(hits, n, alarms, n_shams, confidence=CONFIDENCE)
    for name, column in zip(("", "_low", "_high"), corrected, strict=True):
        summary[f"response_probability_corrected{name}"] = column


def _describe(
    summary: pd.DataFrame,
    families: np.ndarray,
    strengths: Strengths | None,
    *,
    preset: ResponsePreset,
    floor: float | None,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Describe each family: its size, its calls, what it can show at all, and how many calls shams make.

    Columns: ``n_tested``, ``n_stims`` (median of the valid stims of its ROIs), ``n_excited``, ``n_suppressed``,
    ``smallest_attainable_p`` and ``calls_needed`` (ROIs that must reach it before any can be called); for ``excited`` and
    ``suppressed`` ``fdr_*``, ``fdr_*_low``, ``fdr_*_high``: the empirical FDR, see :func:`empirical_fdr`.
    """
    import pandas as pd

    rows = {}
    for family in np.unique(families[families != ""]):
        members = families == family
        part = summary[members]
        tested = part[part["pvalue"].notna()]
        n_stims = int(tested["n_valid"].median()) if len(tested) else 0
        smallest = smallest_attainable_p(n_stims) if floor is None else floor
        row = {
            "n_tested": len(tested),
            "n_stims": n_stims,
            "n_excited": int(part["excited"].sum()),
            "n_suppressed": int(part["suppressed"].sum()),
            "smallest_attainable_p": smallest,
            "calls_needed": _calls_needed(smallest, len(tested), preset),
        }
        for sign, name in ((1.0, "excited"), (-1.0, "suppressed")):
            estimate = (np.nan, np.nan, np.nan)
            if strengths is not None:
                own = Strengths(*(sign * values[members] for values in strengths))
                estimate = empirical_fdr(own, part[name].to_numpy(bool), rng=rng)
            row.update(zip((f"fdr_{name}", f"fdr_{name}_low", f"fdr_{name}_high"), estimate, strict=True))
        rows[family] = row
    columns = ["n_tested", "n_stims", "n_excited", "n_suppressed", "smallest_attainable_p", "calls_needed"]
    columns += [f"fdr_{name}{end}" for name in ("excited", "suppressed") for end in ("", "_low", "_high")]
    described = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    described.index = pd.Index(list(rows), dtype=object, name="family")
    return described


def _calls_needed(smallest_p: float, n_tested: int, preset: ResponsePreset) -> int:
    if preset.adjustment == "bonferroni":
        return 1 if smallest_p * n_tested < preset.alpha else n_tested + 1
    penalty = float(np.sum(1.0 / np.arange(1, n_tested + 1))) if preset.adjustment == "by" else 1.0
    return calls_needed(smallest_p, n_tests=n_tested, alpha=preset.alpha / max(penalty, 1.0))


def empirical_fdr(strengths: Strengths, called: np.ndarray, *, rng: np.random.Generator) -> tuple[float, float, float]:
    """Estimate the share of false calls from what sham trains would have called at the same level.

    Parameters
    ----------
    strengths
        Of the ROIs of one family, large where the sign in question is called.
    called
        Which of them were called, boolean ``(n_rois,)``.

    Returns
    -------
    estimate, low, high
        Mean number of ROIs of a sham train that are at least as strong as the weakest called one, over the number of calls,
        at most 1; and the 95 % interval of the share in *this* run: calls of single sham trains over calls of resampled
        stims. NaN without a call.

    Notes
    -----
    Every ROI counts as one without a response, so that the estimate is too high by about the share of those that respond.
    """
    if not called.any():
        return np.nan, np.nan, np.nan
    cutoff = strengths.real[called].min()
    false = np.sum(strengths.sham >= cutoff, axis=0)
    made = np.maximum(np.sum(strengths.bootstrap >= cutoff, axis=0), 1)
    ratio = np.minimum(rng.choice(false, 10 * N_BOOTSTRAPS) / rng.choice(made, 10 * N_BOOTSTRAPS), 1.0)
    low, high = np.quantile(ratio, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return min(float(false.mean()) / int(called.sum()), 1.0), float(low), float(high)
