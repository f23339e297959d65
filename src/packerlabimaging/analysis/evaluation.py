"""The whole way from traces and stims to scores and calls, with shams and catch stims where the preset asks for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging.analysis.calling import call_rois
from packerlabimaging.analysis.catch import FEW_CATCH, CatchThresholds, calibrate_thresholds
from packerlabimaging.analysis.presets import ResponsePreset
from packerlabimaging.analysis.scoring import Scores, TraceRows, Windows, score_stims
from packerlabimaging.analysis.shams import RealStims, check_enough, place_shams, shams_needed
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Recording:
    """Traces to score: of ``n_rois`` ROIs on ``clock``, with the frames that light reached (``artefact``, boolean)."""

    traces: TraceRows
    n_rois: int
    clock: FrameClock
    artefact: np.ndarray

    def score(self, windows: Windows, preset: ResponsePreset) -> Scores:
        """Score every ROI in some windows of this recording."""
        return score_stims(self.traces, self.n_rois, windows, preset=preset, kept=np.flatnonzero(~self.artefact))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of all stims, statistics of ROIs and families (see :func:`call_rois`), and what is to be said about them."""

    scores: Scores
    summary: pd.DataFrame
    families: pd.DataFrame
    findings: list[Finding]


def evaluate(
    recording: Recording,
    stims: pd.DataFrame,
    windows: Windows,
    *,
    preset: ResponsePreset,
    families: np.ndarray,
    dark: Recording | None,
    rng: np.random.Generator,
) -> Evaluation:
    """Score all stims and call ROIs.

    Parameters
    ----------
    recording
        What was recorded during the stims.
    stims, windows
        One row and one pair of windows per stim; columns ``onset_s``, ``end_s``, and ``catch`` where there are stims without
        light.
    preset
        The convention.
    families
        Family of each ROI; empty text leaves it out.
    dark
        The recording that shams are put in: the same, or a spontaneous one; None for no shams.
    rng
        Draws shams and splits.

    Raises
    ------
    ParameterError
        If the preset needs shams (a TooFewShamsError) or catch stims and there are too few.
    """
    catch = is_catch(stims)
    counted = windows.valid & ~catch
    real = RealStims(
        recording.clock, recording.artefact, stims["onset_s"].to_numpy()[counted], stims["end_s"].to_numpy()[counted]
    )
    sham_scores, findings = _score_shams(real, dark, preset, rng)
    scores = recording.score(windows, preset)
    if preset.test == "catch":
        without_light = _scores_without_light(scores, windows.valid & catch, sham_scores, preset)
        thresholds = calibrate_thresholds(without_light, rng=rng)
        scores, findings = _with_thresholds(scores, thresholds), findings + _told(thresholds, preset)
        sham_scores = None if sham_scores is None else _with_thresholds(sham_scores, thresholds)
    called = call_rois(_subset(scores, counted), sham_scores, preset=preset, families=families, rng=rng)
    return Evaluation(scores, called.summary, called.families, findings)


def is_catch(stims: pd.DataFrame) -> np.ndarray:
    """Return which stims were given without light, boolean; none where the table does not say."""
    if "catch" not in stims:
        return np.zeros(len(stims), bool)
    return np.array([value is True or value == 1 for value in stims["catch"].to_numpy(object, na_value=False)], bool)


def without_stims(recording: Recording, stims: pd.DataFrame) -> Recording:
    """Return the recording with the light of every stim left out, masked before or not: no sham may lie in it."""
    onsets, ends = stims["onset_s"].to_numpy(np.float64), stims["end_s"].to_numpy(np.float64)
    lit = ~is_catch(stims) & np.isfinite(onsets) & np.isfinite(ends)
    return replace(recording, artefact=recording.artefact | recording.clock.overlapping(onsets[lit], ends[lit]))


def _subset(scores: Scores, keep: np.ndarray) -> Scores:
    return Scores(scores.amplitude[:, keep], scores.z[:, keep], scores.responded[:, keep])


def _score_shams(
    real: RealStims, dark: Recording | None, preset: ResponsePreset, rng: np.random.Generator
) -> tuple[Scores | None, list[Finding]]:
    """Place shams and score them; none where the preset can do without and there are too few."""
    if len(real) == 0 or dark is None or (preset.n_sham_trains == 0 and preset.test != "sham"):
        return None, []
    shams = place_shams(real, dark.clock, dark.artefact, preset=preset, rng=rng)
    if preset.test == "sham":
        check_enough(shams, real, dark.clock, dark.artefact, preset=preset)
    elif len(shams) < shams_needed(len(real)):
        message = (
            f"Only {len(shams)} sham stims fit into the time without light, so that the share of false calls can't be estimated "
            f"(it takes {shams_needed(len(real))})."
        )
        advice = "Override sham_guard_s with less, or give a spontaneous recording of the same cells."
        return None, [Finding("no-shams", message, "info", advice=advice)]
    return dark.score(shams.windows, preset), []


def _scores_without_light(scores: Scores, catch: np.ndarray, shams: Scores | None, preset: ResponsePreset) -> np.ndarray:
    if preset.catch_source == "catch":
        return scores.amplitude[:, catch]
    if shams is None:
        raise ParameterError(
            f"The preset '{preset.name}' was told to take sham stims for catch stims, and there is not enough time without light "
            "for them. Lower sham_guard_s, or give catch stims or a spontaneous recording."
        )
    return shams.amplitude


def _with_thresholds(scores: Scores, thresholds: CatchThresholds) -> Scores:
    low, high = thresholds.low[:, None], thresholds.high[:, None]
    return replace(scores, responded=(scores.amplitude < low) | (scores.amplitude > high))


def _told(thresholds: CatchThresholds, preset: ResponsePreset) -> list[Finding]:
    kind = "catch" if preset.catch_source == "catch" else "sham"
    evidence = {"scale_excitation": thresholds.scale_high, "scale_suppression": thresholds.scale_low, "n": thresholds.n_catch}
    message = (
        f"Single stims are called beyond {thresholds.scale_high:.2f} sd above or {thresholds.scale_low:.2f} sd below the mean of "
        f"{thresholds.n_catch} {kind} stims, where 5 % of these pass in each direction."
    )
    found = [Finding(f"thresholds-from-{kind}", message, "info", evidence=evidence)]
    if thresholds.n_catch < FEW_CATCH:
        message = f"Thresholds rest on {thresholds.n_catch} {kind} stims: their false-positive rate is uncertain."
        found.append(Finding("few-catch-stims", message, advice=f"Give at least {FEW_CATCH}.", evidence=evidence))
    return found


def check_without_subtraction(summary: pd.DataFrame, plain: pd.DataFrame, neuropil: np.ndarray) -> pd.DataFrame:
    """Return what calls are without neuropil subtraction, beside what the neuropil itself does.

    Parameters
    ----------
    summary, plain
        Statistics of corrected and of uncorrected scores.
    neuropil
        Scores of the neuropil traces over the stims that count, ``(n_rois, n_stims)``.

    Returns
    -------
    pandas.DataFrame
        ``uncorrected_response_mean``, ``uncorrected_pvalue_adjusted``, ``neuropil_response_mean``, and
        ``needs_subtraction``: called, and without the subtraction not called in the same direction.
    """
    import pandas as pd

    n = np.sum(~np.isnan(neuropil), axis=1)
    same = (plain["excited"] & summary["excited"]) | (plain["suppressed"] & summary["suppressed"])
    return pd.DataFrame(
        {
            "uncorrected_response_mean": plain["response_mean"],
            "uncorrected_pvalue_adjusted": plain["pvalue_adjusted"],
            "neuropil_response_mean": np.nansum(neuropil, axis=1) / np.where(n > 0, n, np.nan),
            "needs_subtraction": (summary["excited"] | summary["suppressed"]) & ~same,
        }
    )
