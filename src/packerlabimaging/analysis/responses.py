"""Photostimulation responses: the ``responses`` table (ROIs x stims) and the ``targets`` table (targets x stims).

Scores come from the fluorescence layers, windows from the measured light, and every number of the convention from a named
preset that is stored with the result. A stim that can't be scored stays in the table, as NaN with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._provenance import UNS_KEY, record, to_plain
from packerlabimaging._traces import check_mask, check_traces
from packerlabimaging.analysis.calling import CONFIDENCE
from packerlabimaging.analysis.evaluation import (
    Evaluation,
    Recording,
    check_without_subtraction,
    evaluate,
    is_catch,
    without_stims,
)
from packerlabimaging.analysis.presets import DEFAULT_PRESET, WITHOUT_SHAMS, ResponsePreset, get_preset
from packerlabimaging.analysis.scoring import Windows, place_windows
from packerlabimaging.analysis.stims import frames_of
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.schema import clock_of, make_table
from packerlabimaging.errors import ParameterError, SchemaError, TooFewShamsError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from packerlabimaging.analysis.targeting import TargetMatch


def compute_responses(
    cells: AnnData,
    stims: pd.DataFrame,
    *,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    populations: pd.Series | None = None,
    spontaneous: AnnData | None = None,
    rng: np.random.Generator | int = 0,
) -> AnnData:
    """Score the response of every ROI to every stim, and call the ROIs that respond.

    Parameters
    ----------
    cells
        The ``cells`` table of one trial.
    stims
        One row per stim, in order; index: stim ids (text). Columns ``onset_s`` (first light) and ``end_s`` (last light of
        any group) in seconds; optional ``valid`` (false: not scored) and ``catch`` (true: a stim without light; scored, but no
        part of any test); further ones (``group``, ``repeat``, ``power_mw``, ...) are kept.
    preset, overrides
        See :func:`get_preset`. By default ``"calibrated"``: called against sham stims, both signs; where the recording has no
        room for them, which a preset that is named refuses, ``"packerlab"`` with the finding ``not-calibrated``.
    populations
        Population of each ROI (index: ROI ids), e.g. target / exclusion / other: p values are corrected within each. One
        family by default. ROIs that are not cells (``iscell`` false) are scored but belong to no family.
    spontaneous
        A ``cells`` table of the same ROIs recorded without photostimulation, to put sham stims in. By default they are put in
        the time without light of ``cells`` itself.
    rng
        Generator, or its seed, that shams are drawn with: the same seed, the same table.

    Returns
    -------
    anndata.AnnData
        ROIs x stims. X: score, mean of the response window minus mean of the baseline window in dF/F (fraction) or sd, NaN
        where a stim can't be scored. layers: ``z`` (score in sd), ``responded`` (bool). obs: the cells' columns,
        ``population``, the columns of :func:`~packerlabimaging.analysis.calling.call_rois`, and where neuropil is subtracted
        those of :func:`~packerlabimaging.analysis.evaluation.check_without_subtraction`. var: the stims' columns, ``frame``
        (of the onset), ``valid``, ``reason``, ``pre_valid_fraction``, ``post_valid_fraction``. uns: ``preset``, ``parameters``
        (JSON, all of them), ``families`` (what each can show, and its empirical FDR), ``findings`` (JSON each).

    Raises
    ------
    ParameterError
        If the preset is unknown, the stims outlast it, it needs shams or catch stims and there are too few, populations don't
        cover the ROIs, or the spontaneous recording is of others.
    SchemaError
        If the stims lack a column.

    Notes
    -----
    The call asks whether an ROI responds at all over all stims given; pass the stims of one group for that group alone.
    See :func:`wilcoxon_signed_rank` for why calls of suppression by the presets that use it are not to be trusted, and
    docs/responses.md for what each preset's false discovery rate was measured to be.
    """

    def make(name: str, told: list[Finding]) -> AnnData:
        chosen = get_preset(name, **(overrides or {}))
        recording, findings = _recording(cells, chosen)
        findings = [*told, *findings]
        var, windows = _stims_table(stims, recording, chosen, trial=str(cells.var["trial"].iloc[0]))
        quiet = None if spontaneous is None else _same_rois(spontaneous, cells)
        dark = without_stims(recording, var) if quiet is None else _recording(quiet, chosen)[0]
        population = _populations(cells, populations)
        families = np.where(cells.obs["iscell"].to_numpy(bool), population, "")
        seed = int(np.random.default_rng(rng).integers(2**62))

        def evaluated(of: Recording, without_light: Recording | None) -> Evaluation:
            chance = np.random.default_rng(seed)
            return evaluate(of, var, windows, preset=chosen, families=families, dark=without_light, rng=chance)

        result = evaluated(recording, dark)
        columns = result.summary
        if chosen.calls_rois and chosen.subtract_neuropil and "Fneu" in cells.layers:
            plain_dark = replace(dark, traces=_of_layer(cells if quiet is None else quiet, "F").traces)
            plain = evaluated(_of_layer(cells, "F"), plain_dark if chosen.test == "sham" else None).summary
            neuropil = _of_layer(cells, "Fneu").score(windows, chosen).amplitude[:, ~is_catch(var)]
            columns = columns.join(check_without_subtraction(columns, plain, neuropil))
        obs = _with_columns(cells.obs.assign(population=population), columns.set_index(cells.obs_names))
        findings += result.findings + _findings(windows, result.families, columns, var, chosen)
        table = _response_table("responses", result, obs, var, chosen, findings)
        table.obsm["spatial"] = np.asarray(cells.obsm["spatial"])
        record(table, "tl.compute_responses", preset=chosen, n_stims=len(stims), spontaneous=spontaneous is not None, seed=seed)
        return table

    return _by_default(make, preset)


def compute_target_responses(
    traces: np.ndarray,
    clock: FrameClock,
    stims: pd.DataFrame,
    match: TargetMatch,
    protocol: PhotostimProtocol,
    *,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    artefact: np.ndarray | None = None,
    trial: str = "",
    rng: np.random.Generator | int = 0,
) -> AnnData:
    """Score the response at every photostimulation target to every stim, whether a cell was found there or not.

    Parameters
    ----------
    traces
        Fluorescence (not dF/F) around each target, shape ``(n_targets, n_frames)``, e.g. the mean of a disc.
    clock
        Times of the frames.
    stims
        As for :func:`compute_responses`.
    match
        Outcome of :func:`match_targets` for the same targets.
    protocol
        Gives the targets' names.
    preset, overrides
        See :func:`get_preset`; no neuropil is subtracted from target traces, whatever the preset says.
    artefact
        Frames that light reached, boolean ``(n_frames,)``.
    trial
        Id of the trial.

    Returns
    -------
    anndata.AnnData
        Targets x stims, as :func:`compute_responses`. obs: the columns of ``match.targets`` and of ``calling.call_rois``. All
        targets are one family, repeated ones counted once.

    Raises
    ------
    ParameterError
        If traces, match and protocol differ in their number of targets, the preset is unknown, or the stims outlast it.
    SchemaError
        If the stims lack a column.
    """
    import pandas as pd

    traces = check_traces("traces", traces)
    if not len(traces) == len(match.targets) == protocol.n_targets:
        raise ParameterError(
            f"There are {len(traces)} traces, {len(match.targets)} matched targets and {protocol.n_targets} targets in the "
            "protocol. All must be of the same targets, in the same order."
        )
    lit = np.zeros(clock.n_frames, bool) if artefact is None else check_mask(artefact, clock.n_frames)

    def make(name: str, told: list[Finding]) -> AnnData:
        chosen = get_preset(name, **{**(overrides or {}), "subtract_neuropil": False})

        def rows(rois: slice, frames: np.ndarray) -> np.ndarray:
            return traces[rois][:, frames].astype(np.float32, copy=False)

        recording = Recording(rows, len(traces), clock, lit)
        var, windows = _stims_table(stims, recording, chosen, trial=trial)
        first = match.targets.index.get_indexer(pd.Index(match.targets["same_as"]))
        families = np.where(first == np.arange(len(first)), "targets", "").astype(object)
        dark, chance = without_stims(recording, var), np.random.default_rng(rng)
        result = evaluate(recording, var, windows, preset=chosen, families=families, dark=dark, rng=chance)
        obs = _with_columns(match.targets, result.summary.iloc[first].set_index(match.targets.index))
        findings = [*told, *match.findings, *result.findings, *_findings(windows, result.families, result.summary, var, chosen)]
        table = _response_table("targets", result, obs, var, chosen, findings)
        table.uns[UNS_KEY]["gate_um"] = match.settings.gate_um
        record(table, "tl.compute_target_responses", preset=chosen, n_stims=len(stims), protocol=protocol.name)
        return table

    return _by_default(make, preset)


def _by_default(make: Callable[[str, list[Finding]], AnnData], preset: str | None) -> AnnData:
    """Make a table by the preset that is named; by default the calibrated one, or where shams have no room the other, told."""
    if preset is not None:
        return make(preset, [])
    try:
        return make(DEFAULT_PRESET, [])
    except TooFewShamsError as error:
        message = f"Calls are by the preset '{WITHOUT_SHAMS}', not calibrated on this recording. {error}"
        advice = "docs/responses.md tells how many false calls the preset was measured to make. Name a preset to choose."
        return make(WITHOUT_SHAMS, [Finding("not-calibrated", message, "warning", advice=advice)])


def _with_columns(obs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return ``obs`` with the columns of ``summary``, which replace its own of the same name."""
    return obs.drop(columns=obs.columns.intersection(summary.columns)).join(summary)


def _of_layer(cells: AnnData, layer: str) -> Recording:
    """Return a layer of a cells table as it was recorded, less the dark level."""
    dark_level = np.float32(cells.uns[UNS_KEY].get("dark_level", 0.0))

    def rows(rois: slice, frames: np.ndarray) -> np.ndarray:
        return np.asarray(cells.layers[layer][rois])[:, frames].astype(np.float32, copy=False) - dark_level

    return Recording(rows, cells.n_obs, clock_of(cells), cells.var["artefact"].to_numpy(bool))


def _recording(cells: AnnData, preset: ResponsePreset) -> tuple[Recording, list[Finding]]:
    """Return the traces of a cells table that the preset scores, and what is to be said about them."""
    plain = _of_layer(cells, "F")
    if not preset.subtract_neuropil:
        return plain, []
    if "Fneu" not in cells.layers:
        message = "The table has no neuropil traces, so that scores are of uncorrected fluorescence."
        return plain, [Finding("neuropil-missing", message)]
    lacking = [name for name in ("neuropil_coefficient", "offset") if name not in cells.obs]
    if lacking:
        raise SchemaError(
            f"The cells table has a layer Fneu, but obs lacks {lacking}, so that scores can't be corrected for neuropil. "
            "Make the table with pp.build_cells, or override subtract_neuropil = False."
        )
    coefficient = cells.obs["neuropil_coefficient"].to_numpy(np.float32)[:, None]
    offset = cells.obs["offset"].to_numpy(np.float32)[:, None]

    def take(layer: str, rois: slice, frames: np.ndarray) -> np.ndarray:
        return np.asarray(cells.layers[layer][rois])[:, frames].astype(np.float32, copy=False)

    def corrected(rois: slice, frames: np.ndarray) -> np.ndarray:
        return take("F", rois, frames) - coefficient[rois] * take("Fneu", rois, frames) + offset[rois]

    return replace(plain, traces=corrected), []


def _same_rois(spontaneous: AnnData, cells: AnnData) -> AnnData:
    """Return the spontaneous recording if its ROIs are those of the cells table."""
    if list(spontaneous.obs_names) != list(cells.obs_names):
        raise ParameterError(
            f"The spontaneous recording has {spontaneous.n_obs} ROIs that are not the {cells.n_obs} of the cells table. Give a "
            "cells table of the same ROIs in the same order: segment both recordings together."
        )
    return spontaneous


def _stims_table(
    stims: pd.DataFrame, recording: Recording, preset: ResponsePreset, *, trial: str
) -> tuple[pd.DataFrame, Windows]:
    """Return the columns of the table, windows and validity included, and the windows."""
    missing = [name for name in ("onset_s", "end_s") if name not in stims]
    if missing:
        raise SchemaError(f"The stims lack the columns {missing}. Give onset_s and end_s in seconds, one row per stim.")
    onsets, ends = stims["onset_s"].to_numpy(np.float64), stims["end_s"].to_numpy(np.float64)
    given = stims["valid"].to_numpy(bool) if "valid" in stims else None
    windows = place_windows(recording.clock, onsets, ends, preset=preset, exclude=recording.artefact, given=given)
    var = stims.copy()
    var.index = var.index.astype(str)
    if "trial" not in var:
        var["trial"] = trial
    var["frame"] = frames_of(recording.clock, onsets)  # missing where a stim lies in none
    var["valid"], var["reason"] = windows.valid, windows.reason.astype(str)
    var["pre_valid_fraction"], var["post_valid_fraction"] = windows.pre.valid_fraction, windows.post.valid_fraction
    return var, windows


def _populations(cells: AnnData, populations: pd.Series | None) -> np.ndarray:
    if populations is None:
        return np.full(cells.n_obs, "cells", dtype=object)
    missing = cells.obs_names.difference(populations.index)
    if len(missing):
        raise ParameterError(
            f"populations lacks {len(missing)} of {cells.n_obs} ROIs, e.g. '{missing[0]}'. Give one population per ROI id."
        )
    return populations.loc[cells.obs_names].astype(str).to_numpy(object)


def _findings(
    windows: Windows, families: pd.DataFrame, summary: pd.DataFrame, stims: pd.DataFrame, preset: ResponsePreset
) -> list[Finding]:
    found = []
    if {"group", "n_shots"} <= set(stims) and (stims["group"].isna() & stims["n_shots"].notna()).any():
        message = (
            "One stim lights several groups before its response window opens: to which of them an ROI responded can't be told."
        )
        advice = "Do not take a response for one to the ROI's own group."
        found.append(Finding("groups-not-separable", message, "info", advice=advice))
    n_invalid = int(np.sum(~windows.valid))
    if n_invalid:
        reasons = {str(reason): int(np.sum(windows.reason == reason)) for reason in np.unique(windows.reason[~windows.valid])}
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
        found.append(
            Finding("stims-not-scored", f"{n_invalid} of {len(windows.valid)} stims have no score: {told}.", evidence=reasons)
        )
    for name, family in families.iterrows():
        needed, m = int(family["calls_needed"]), int(family["n_tested"])
        evidence = {"calls_needed": needed, "n_tested": m, "n_stims": int(family["n_stims"])}
        if m and needed > m:
            message = f"With {evidence['n_stims']} stims no response of the {m} ROIs of '{name}' can be called, however strong."
            found.append(Finding("no-call-possible", message, advice="Record more stims.", evidence=evidence))
        elif m and needed > 1:
            message = (
                f"With {evidence['n_stims']} stims a single responding ROI of '{name}' can't be called: it takes {needed} of {m} "
                "at the smallest p that the test can give."
            )
            found.append(Finding("single-call-impossible", message, advice="Record more stims.", evidence=evidence))
    suppressed = int(families["n_suppressed"].sum()) if len(families) else 0
    if suppressed and preset.test == "wilcoxon":
        message = (
            f"{suppressed} ROIs are called suppressed. The signed-rank test calls suppression falsely, because calcium "
            "transients rise fast and decay slowly."
        )
        found.append(Finding("suppression-unreliable", message, advice="Do not report these without a control."))
    dependent = int(summary["needs_subtraction"].sum()) if "needs_subtraction" in summary else 0
    if dependent:
        message = f"{dependent} calls are made only after the neuropil was subtracted (obs: needs_subtraction)."
        advice = "Look at the response of the neuropil itself (obs: neuropil_response_mean) before you believe them."
        found.append(Finding("calls-need-subtraction", message, "info", advice=advice))
    return found


def _response_table(
    kind: Any, result: Evaluation, obs: pd.DataFrame, var: pd.DataFrame, preset: ResponsePreset, findings: list[Finding]
) -> AnnData:
    return make_table(
        kind,
        result.scores.amplitude,
        obs=obs,
        var=var,
        layers={"z": result.scores.z, "responded": result.scores.responded},
        uns={
            "preset": preset.name,
            "parameters": json.dumps({**to_plain(preset), "confidence": CONFIDENCE, "caveat": preset.caveat}),
            "families": result.families,
            "findings": [json.dumps(finding.to_dict()) for finding in findings],
        },
    )
