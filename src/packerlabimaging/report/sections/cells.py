"""Traces of cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from packerlabimaging import plotting as pl
from packerlabimaging.report.contract import ReportFigure, ReportSection, SectionContent
from packerlabimaging.report.stored import own

N_TRACES = 20
N_TRACES_ZOOM = 10
LONG_S, ZOOM_S = 90.0, 40.0


class Traces(ReportSection):
    """dF/F of the most active cells, and the quality of all."""

    name = "traces"
    title = "Traces"
    order = 60

    def applies(self, trial: Any) -> bool:
        """Where there is a table of cells."""
        return bool(trial.has("cells"))

    def render(self, trial: Any) -> SectionContent:
        """Show the whole time, and some of it magnified where it is long."""
        cells = trial.cells
        iscell, artefact = cells.obs["iscell"].to_numpy(bool), cells.var["artefact"].to_numpy(bool)
        facts = _facts(cells, iscell, artefact)
        if not iscell.any():
            return SectionContent(facts=facts, text=["No ROI is taken for a cell, so that there are no traces to show."])
        stims = trial.responses if trial.has("responses") else None
        time_s = cells.var["time_s"].to_numpy(np.float64)
        figures = [
            ReportFigure(
                pl.traces(cells, n_max=N_TRACES, stims=stims), _caption(iscell, N_TRACES, "the whole recording", artefact)
            )
        ]
        if time_s[-1] - time_s[0] > LONG_S:
            start = float(time_s[0] if stims is None else max(time_s[0], stims.var["onset_s"].min() - ZOOM_S / 4))
            if start + 1.0 < time_s[-1]:
                zoom = pl.traces(cells, n_max=N_TRACES_ZOOM, stims=stims, start_s=start, stop_s=start + ZOOM_S)
                figures.append(ReportFigure(zoom, _caption(iscell, N_TRACES_ZOOM, f"{ZOOM_S:g} s of it", artefact)))
        return SectionContent(facts=facts, figures=figures)


def _facts(cells: Any, iscell: np.ndarray, artefact: np.ndarray) -> dict[str, Any]:
    facts = {
        "ROIs": cells.n_obs,
        "taken for cells": int(iscell.sum()),
        "frames": cells.n_vars,
        "artefact frames left out": f"{int(artefact.sum()):,} ({artefact.mean():.1%})",
        "found by": own(cells).get("engine"),
    }
    if "noise" in cells.obs and iscell.any():
        facts["median noise of cells (%/√Hz)"] = float(np.nanmedian(cells.obs["noise"].to_numpy(np.float64)[iscell]))
    if "f0_low" in cells.obs:
        facts["cells with F0 near zero (dF/F not to be trusted)"] = int(np.sum(cells.obs["f0_low"].to_numpy(bool) & iscell))
    if "neuropil_subtracted" in own(cells):
        facts["neuropil subtracted"] = bool(own(cells)["neuropil_subtracted"])
    return facts


def _caption(iscell: np.ndarray, n_max: int, span: str, artefact: np.ndarray) -> str:
    n_shown = min(n_max, int(iscell.sum()))
    which = (
        "all cells"
        if n_shown == iscell.sum()
        else f"the {n_shown} cells (of {int(iscell.sum())}) with the greatest 99.5th percentile"
    )
    gaps = " Frames that stimulation light reached are shaded and left out." if artefact.any() else ""
    return f"ΔF/F (%, scale bar) against time (s) of {which}, {span}.{gaps}"
