"""Photostimulation: the match of targets to ROIs, and the responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from packerlabimaging import plotting as pl
from packerlabimaging.core.schema import findings_of
from packerlabimaging.report.contract import ReportFigure, ReportSection, ReportTable, SectionContent
from packerlabimaging.report.stored import counts, own

TARGET_COLUMNS = ("y_px", "x_px", "groups", "group", "status", "roi", "distance_um", "response_mean", "pvalue_adjusted")
ROI_COLUMNS = ("population", "response_mean", "ci_low", "ci_high", "n_valid", "pvalue_adjusted", "response_probability")
POPULATIONS = ("target", "exclusion", "other")
PRE_S, POST_S, LEAST_POST_S = 1.0, 3.0, 0.5
CORRECTIONS = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli", "bonferroni": "Bonferroni"}
TESTS = {
    "sham": "of the mean score over its standard error, against trains of sham stims in the time without light,",
    "wilcoxon": "of a Wilcoxon signed-rank test over stims,",
    "t": "of a t test over stims,",
}


class Targets(ReportSection):
    """Which ROI is which target."""

    name = "targets"
    title = "Targets"
    order = 70

    def applies(self, trial: Any) -> bool:
        """Where targets were matched."""
        return bool(trial.has("targets"))

    def render(self, trial: Any) -> SectionContent:
        """Show counts, distances, and every target."""
        targets = trial.targets
        distance = targets.obs["distance_um"].to_numpy(np.float64)
        shown = [name for name in TARGET_COLUMNS if name in targets.obs]
        facts = {
            "targets": targets.n_obs,
            "by status": counts(targets.obs["status"]),
            "median distance to the ROI (µm)": float(np.nanmedian(distance)) if np.any(np.isfinite(distance)) else None,
        }
        caption = (
            f"Distance (µm) from each of {targets.n_obs} targets to the centroid of its ROI, by the status "
            "of the match. A target is "
            "matched where it lies on the mask of the ROI assigned to it and on no other's, ambiguous where "
            "an ROI is near enough but this is "
            "not so, unmatched where there is none."
        )
        table = ReportTable.from_frame(targets.obs[shown].rename_axis("target"), caption="All targets", folded=True)
        return SectionContent(
            facts=facts,
            findings=findings_of(targets),
            figures=[ReportFigure(pl.target_match(targets, gate_um=_gate(trial)), caption)],
            tables=[table],
        )


def _gate(trial: Any) -> float | None:
    settings = getattr(trial, "settings", {})
    return settings["targeting"].gate_um if "targeting" in settings else None


class Responses(ReportSection):
    """Scores of all ROIs and what was called."""

    name = "responses"
    title = "Responses to photostimulation"
    order = 80

    def applies(self, trial: Any) -> bool:
        """Where responses were scored."""
        return bool(trial.has("responses"))

    def render(self, trial: Any) -> SectionContent:
        """Show raster, averages and calls, the convention in words, and how far to trust it."""
        responses = trial.responses
        parameters = _parameters(responses)
        facts = {
            "ROIs": responses.n_obs,
            "stims": responses.n_vars,
            "stims with a score": int(responses.var["valid"].sum()),
            "preset": own(responses).get("preset"),
        }
        if "pvalue_adjusted" in responses.obs:
            facts["ROIs tested (taken for cells)"] = int(responses.obs["pvalue_adjusted"].notna().sum())
        for call in ("excited", "suppressed"):
            if call in responses.obs:
                facts[f"called {call}"] = int(responses.obs[call].sum())
        tables = []
        families = own(responses).get("families")
        if families is not None and len(families):
            upright = families.astype(object).T.rename(index=lambda name: name.replace("_", " ")).rename_axis(index="")
            tables.append(ReportTable.from_frame(upright, caption="Populations: p values are corrected within each."))
        tables += _called(responses)
        text = [in_words(parameters)] if parameters else []
        if parameters.get("caveat"):
            text.append(str(parameters["caveat"]))
        figures = _figures(trial, responses)
        return SectionContent(facts=facts, text=text, findings=findings_of(responses), figures=figures, tables=tables)


def in_words(parameters: Mapping[str, Any]) -> str:
    """Return a response preset's parameters as sentences."""
    said = [f"Preset “{parameters.get('name')}” ({parameters.get('source')})."]
    if {"pre_window_s", "post_window_s"} <= set(parameters):
        neuropil = "neuropil-corrected" if parameters.get("subtract_neuropil") else "uncorrected"
        f0 = {"pre-stim": "the mean before the stim", "trace": "the mean of the whole trace"}.get(str(parameters.get("f0")), "F0")
        start = float(parameters.get("post_start_s", 0.0))
        light = "its first light" if parameters.get("post_anchor") == "onset" else "its last light"
        opening = f"from {start:g} s after {light} on," if start else f"after {light}"
        unit = "the standard deviation of the frames before" if parameters.get("score") == "z" else f0
        least = f"{parameters.get('min_valid_fraction', 0):.0%}"
        said.append(
            f"The score of a stim is the mean of the {parameters['post_window_s']:g} s {opening} minus the mean of the "
            f"{parameters['pre_window_s']:g} s before its first, of {neuropil} fluorescence, divided by {unit}; frames that "
            f"light reached are left out, and a window with less than {least} of its frames has no score."
        )
    test = str(parameters.get("test", "wilcoxon"))
    if "alpha" in parameters and test in TESTS:
        name = str(parameters.get("adjustment"))
        correction = CORRECTIONS.get(name, name)
        said.append(
            f"An ROI is called where the p value {TESTS[test]} corrected within its population ({correction}), is below "
            f"{parameters['alpha']:g}: excited if its mean score is above zero, else suppressed."
        )
    elif test == "catch":
        said.append("Single stims are called, beyond thresholds from the stims without light; ROIs are not.")
    return " ".join(said)


def _parameters(responses: Any) -> Mapping[str, Any]:
    text = own(responses).get("parameters")
    return {} if text is None else dict(json.loads(str(text)))


def _called(responses: Any) -> list[ReportTable]:
    shown = [name for name in ROI_COLUMNS if name in responses.obs]
    tables = []
    for call, ascending in (("excited", False), ("suppressed", True)):
        if call in responses.obs and responses.obs[call].any() and "response_mean" in shown:
            part = responses.obs.loc[responses.obs[call].to_numpy(bool), shown].sort_values("response_mean", ascending=ascending)
            caption = f"ROIs called {call}, the strongest first (response_mean and its 95 % interval: ΔF/F as a fraction)"
            tables.append(ReportTable.from_frame(part.rename_axis("ROI"), caption=caption, folded=True))
    return tables


def _figures(trial: Any, responses: Any) -> list[ReportFigure]:
    n_rois, n_stims = responses.shape
    figures = []
    if n_rois and n_stims:
        caption = (
            f"Score of {n_rois} ROIs at {n_stims} stims, ROIs sorted by their mean, the strongest on top; grey: no score. "
            "Beside it what each was called, and the population that it belongs to."
        )
        figures.append(ReportFigure(pl.response_raster(responses), caption))
    if trial.has("cells") and responses.var["valid"].any():
        figures += _averages(trial.cells, responses)
    if "pvalue_adjusted" in responses.obs and responses.obs["pvalue_adjusted"].notna().any():
        caption = "Mean score of each ROI over stims against its corrected p value (higher: smaller); coloured where called."
        figures.append(ReportFigure(pl.response_volcano(responses), caption))
    return figures


def _averages(cells: Any, responses: Any) -> list[ReportFigure]:
    stims = responses.var[responses.var["valid"].to_numpy(bool)]
    iscell = responses.obs["iscell"].to_numpy(bool)
    same = list(cells.obs_names) == list(responses.obs_names)
    if not same or not iscell.any():
        return []
    window = {"stims": stims, "pre_s": PRE_S, "post_s": _post_s(responses.var)}
    ending = (
        "Mean ΔF/F (%) of each group around stim onset, the mean of the 0.5 s before subtracted; shading: standard error over "
        f"the {len(stims)} stims of the group's mean. The line is broken where light spoils the frames."
    )
    figures = []
    if "population" in responses.obs:
        labels = responses.obs["population"].astype(str).to_numpy(object)
        names = [*POPULATIONS, *sorted(set(labels[iscell]) - set(POPULATIONS))]
        groups = {name: iscell & (labels == name) for name in names}
        said = "Cells by population: target (the cell of a target), exclusion (so near to one that light may reach it), other."
        figures.append(ReportFigure(pl.peristim_average(cells, groups=groups, **window), f"{said} {ending}"))
    if "excited" in responses.obs:
        excited, suppressed = responses.obs["excited"].to_numpy(bool), responses.obs["suppressed"].to_numpy(bool)
        groups = {"excited": excited, "suppressed": suppressed, "not called": iscell & ~excited & ~suppressed}
        caption = f"ROIs by call. {ending} The same stims chose these ROIs: their size here is larger than in a new recording."
        figures.append(ReportFigure(pl.peristim_average(cells, groups=groups, **window), caption))
    caption = (
        f"Mean ΔF/F (%) of each of {int(iscell.sum())} cells around stim onset over {len(stims)} stims; "
        "grey: light (dashed: its span). The rows are sorted by what they show: the first and the last are extreme by chance too."
    )
    figures.append(ReportFigure(pl.peristim_heatmap(cells, rois=iscell, **window), caption))
    return figures


def _post_s(stims: Any) -> float:
    """Return how long to show after the onset: three seconds, or one and a half past the light, but not into the next stim."""
    onsets = np.sort(stims["onset_s"].to_numpy(np.float64))
    light = float((stims["end_s"] - stims["onset_s"]).median())
    apart = np.diff(onsets[np.isfinite(onsets)])
    return max(light + LEAST_POST_S, min(max(POST_S, light + 1.5), float(np.median(apart)) if len(apart) else np.inf))
