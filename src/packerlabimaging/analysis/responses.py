"""Photostimulation responses: the ``responses`` table (ROIs x stims) and the ``targets`` table (targets x stims).

Scores come from the fluorescence layers, windows from the measured light, and every number of the convention from a named
preset that is stored with the result. A stim that can't be scored stays in the table, as NaN with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._provenance import UNS_KEY, record, to_plain
from packerlabimaging._traces import check_traces, kept_frames
from packerlabimaging.analysis.presets import ResponsePreset, get_preset
from packerlabimaging.analysis.scoring import (
    CONFIDENCE,
    Scores,
    TraceRows,
    Windows,
    describe_families,
    place_windows,
    score_stims,
    summarise,
)
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.schema import clock_of, make_table
from packerlabimaging.errors import ParameterError, SchemaError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from packerlabimaging.analysis.targeting import TargetMatch


def compute_responses(
    cells: AnnData,
    stims: pd.DataFrame,
    *,
    preset: str = "packerlab",
    overrides: Mapping[str, Any] | None = None,
    populations: pd.Series | None = None,
) -> AnnData:
    """Score the response of every ROI to every stim, and call the ROIs that respond.

    Parameters
    ----------
    cells
        The ``cells`` table of one trial.
    stims
        One row per stim, in order; index: stim ids (text). Columns ``onset_s`` (first light) and ``end_s`` (last light of
        any group) in seconds; optional ``valid`` (false: not scored); further ones (``group``, ``repeat``, ``power_mw``, ...)
        are kept.
    preset, overrides
        See :func:`get_preset`.
    populations
        Population of each ROI (index: ROI ids), e.g. target / exclusion / other: p values are corrected within each. One
        family by default. ROIs that are not cells (``iscell`` false) are scored but belong to no family.

    Returns
    -------
    anndata.AnnData
        ROIs x stims. X: score, mean of the response window minus mean of the baseline window in dF/F (fraction), NaN
        where a stim can't be scored. layers: ``z`` (score in sd), ``responded`` (bool). obs: the cells' columns,
        ``population``, and the columns of ``scoring.summarise``. var: the stims' columns, ``frame`` (of the onset),
        ``valid``, ``reason``, ``pre_valid_fraction``, ``post_valid_fraction``. uns: ``preset``, ``parameters`` (JSON, all of
        them), ``families`` (what each can show), ``findings`` (JSON each).

    Raises
    ------
    ParameterError
        If the preset is unknown, the stims outlast it, or populations don't cover the ROIs.
    SchemaError
        If the stims lack a column.

    Notes
    -----
    The call asks whether an ROI responds at all over all stims given; pass the stims of one group for that group alone.
    See :func:`wilcoxon_signed_rank` for why calls of suppression by these presets are not to be trusted.
    """
    chosen = get_preset(preset, **(overrides or {}))
    clock = clock_of(cells)
    artefact = cells.var["artefact"].to_numpy(bool)
    var, windows = _stims_table(stims, clock, chosen, artefact, trial=str(cells.var["trial"].iloc[0]))
    rows, findings = _cell_traces(cells, chosen)
    scores = score_stims(rows, cells.n_obs, windows, preset=chosen, kept=np.flatnonzero(~artefact))
    population = _populations(cells, populations)
    families = np.where(cells.obs["iscell"].to_numpy(bool), population, "")
    summary = summarise(scores, preset=chosen, families=families).set_index(cells.obs_names)
    obs = _with_columns(cells.obs.assign(population=population), summary)
    described = describe_families(summary, families, preset=chosen)
    findings += _findings(windows, described, var)
    table = _response_table("responses", scores, obs, var, chosen, described, findings)
    table.obsm["spatial"] = np.asarray(cells.obsm["spatial"])
    record(table, "tl.compute_responses", preset=chosen, n_stims=len(stims))
    return table


def compute_target_responses(
    traces: np.ndarray,
    clock: FrameClock,
    stims: pd.DataFrame,
    match: TargetMatch,
    protocol: PhotostimProtocol,
    *,
    preset: str = "packerlab",
    overrides: Mapping[str, Any] | None = None,
    artefact: np.ndarray | None = None,
    trial: str = "",
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
        Targets x stims, as :func:`compute_responses`. obs: the columns of ``match.targets`` and of ``scoring.summarise``. All
        targets are one family, repeated ones counted once.

    Raises
    ------
    ParameterError
        If traces, match and protocol differ in their number of targets, the preset is unknown, or the stims outlast it.
    SchemaError
        If the stims lack a column.
    """
    import pandas as pd

    chosen = get_preset(preset, **{**(overrides or {}), "subtract_neuropil": False})
    traces = check_traces("traces", traces)
    if not len(traces) == len(match.targets) == protocol.n_targets:
        raise ParameterError(
            f"There are {len(traces)} traces, {len(match.targets)} matched targets and {protocol.n_targets} targets in the "
            "protocol. All must be of the same targets, in the same order."
        )
    var, windows = _stims_table(stims, clock, chosen, artefact, trial=trial)
    scores = score_stims(
        lambda rows, frames: traces[rows][:, frames].astype(np.float32, copy=False),
        len(traces),
        windows,
        preset=chosen,
        kept=kept_frames(artefact, clock.n_frames),
    )
    first = match.targets.index.get_indexer(pd.Index(match.targets["same_as"]))
    families = np.where(first == np.arange(len(first)), "targets", "").astype(object)
    summary = summarise(scores, preset=chosen, families=families).iloc[first].set_index(match.targets.index)
    obs = _with_columns(match.targets, summary)
    described = describe_families(summary, families, preset=chosen)
    table = _response_table("targets", scores, obs, var, chosen, described, _findings(windows, described, var))
    table.uns[UNS_KEY]["gate_um"] = match.settings.gate_um
    record(table, "tl.compute_target_responses", preset=chosen, n_stims=len(stims), protocol=protocol.name)
    return table


def _with_columns(obs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return ``obs`` with the columns of ``summary``, which replace its own of the same name."""
    return obs.drop(columns=obs.columns.intersection(summary.columns)).join(summary)


def _cell_traces(cells: AnnData, preset: ResponsePreset) -> tuple[TraceRows, list[Finding]]:
    """Return what gives the traces to score, row by row, and what is to be said about them."""

    def take(layer: str, rows: slice, frames: np.ndarray) -> np.ndarray:
        return np.asarray(cells.layers[layer][rows])[:, frames].astype(np.float32, copy=False)

    dark_level = np.float32(cells.uns[UNS_KEY].get("dark_level", 0.0))

    def plain(rows: slice, frames: np.ndarray) -> np.ndarray:
        return take("F", rows, frames) - dark_level

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

    def corrected(rows: slice, frames: np.ndarray) -> np.ndarray:
        return take("F", rows, frames) - coefficient[rows] * take("Fneu", rows, frames) + offset[rows]

    return corrected, []


def _stims_table(
    stims: pd.DataFrame, clock: FrameClock, preset: ResponsePreset, artefact: np.ndarray | None, *, trial: str
) -> tuple[pd.DataFrame, Windows]:
    """Return the columns of the table, windows and validity included, and the windows."""
    missing = [name for name in ("onset_s", "end_s") if name not in stims]
    if missing:
        raise SchemaError(f"The stims lack the columns {missing}. Give onset_s and end_s in seconds, one row per stim.")
    onsets, ends = stims["onset_s"].to_numpy(np.float64), stims["end_s"].to_numpy(np.float64)
    given = stims["valid"].to_numpy(bool) if "valid" in stims else None
    windows = place_windows(clock, onsets, ends, preset=preset, exclude=artefact, given=given)
    var = stims.copy()
    var.index = var.index.astype(str)
    if "trial" not in var:
        var["trial"] = trial
    var["frame"] = clock.frames_at(onsets)[0]
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


def _findings(windows: Windows, families: pd.DataFrame, stims: pd.DataFrame) -> list[Finding]:
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
    if suppressed:
        message = (
            f"{suppressed} ROIs are called suppressed. The signed-rank test calls suppression falsely, because calcium "
            "transients rise fast and decay slowly."
        )
        found.append(Finding("suppression-unreliable", message, advice="Do not report these without a control."))
    return found


def _response_table(
    kind: Any,
    scores: Scores,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    preset: ResponsePreset,
    families: pd.DataFrame,
    findings: list[Finding],
) -> AnnData:
    return make_table(
        kind,
        scores.amplitude,
        obs=obs,
        var=var,
        layers={"z": scores.z, "responded": scores.responded},
        uns={
            "preset": preset.name,
            "parameters": json.dumps({**to_plain(preset), "confidence": CONFIDENCE}),
            "families": families,
            "findings": [json.dumps(finding.to_dict()) for finding in findings],
        },
    )
