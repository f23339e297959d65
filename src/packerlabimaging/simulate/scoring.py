"""How well an analysis found what the simulator put in.

Every score is a ratio of two counts that stand beside it, so that anybody can recompute it from the truth folder and the
tables; ``docs/simulation.md`` gives the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.core.schema import check_table, rois_of
from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate.truth import Truth

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

FOUND_IOU = 0.5
"""Intersection over union of an ROI and a cell, above which the cell counts as found (Cell Tracking Challenge's criterion)."""
FOUND_CORRELATION = 0.5
"""Correlation of the ROI's dF/F with the cell's, above which the cell counts as found."""
OVERLAP_IOU = 0.2
"""Intersection over union from which an ROI is of a cell at all: a neighbour in a touching pair stays below it."""
OVERLAP_PART = 0.5
"""An ROI with at least this part of its pixels within a cell is of that cell, however small it is."""


@dataclass(frozen=True, eq=False)
class RoiOverlap:
    """How the ROIs lie on the cells; all arrays ``(n_rois, n_cells)``.

    Parameters
    ----------
    iou
        Pixels in both over pixels in either.
    belongs
        Where the ROI is of the cell: IoU of at least 0.2, or at least half of the ROI within the cell.
    """

    iou: np.ndarray
    belongs: np.ndarray


def compare_with_truth(truth: Truth, *, cells: AnnData, responses: AnnData, targets: AnnData) -> dict[str, Any]:
    """Compare the tables of one trial with the truth.

    Parameters
    ----------
    truth
        From :func:`load_truth`.
    cells
        ROIs x frames, of the simulated trial alone. Only ROIs with ``iscell`` count.
    responses
        ROIs x stims, with the boolean obs columns ``excited`` and ``suppressed``; the same ROIs, in any order.
    targets
        Targets x stims, with the obs columns ``roi`` (id of the ROI, or empty) and ``status``.

    Returns
    -------
    dict
        JSON-compatible; a ratio of nothing to nothing is None.

        - ``targets``: ``matched_fraction`` = ``n_matched`` / ``n_segmented``: of the targets whose cell has an ROI, those that
          were matched to an ROI of their cell; ``wrong_matches``: matched to an ROI that is not of their cell;
          ``without_cell_left_unmatched`` of ``without_cell``; ``ambiguous``: of that status.
        - ``responses``: ``sensitivity`` = ``n_detected`` / ``n_driven_above_minimal``: of the cells with a windowed response
          of at least ``minimal_effect_dff``, those with an ROI that was called excited (cells without an ROI are missed);
          ``false_discovery`` = ``n_called_without_driven_cell`` / ``n_called``: of the ROIs called excited, those that are
          of no driven cell, however weakly driven; ``suppressed``: ROIs called suppressed, of which none truly is.
        - ``cells``: ``found_fraction`` = ``n_found`` / ``n_active``: of the active cells, those with an ROI of IoU > 0.5 and
          correlation > 0.5, one ROI to one cell; ``offset_px``: median shift ``(y, x)`` from cells to their ROIs, which
          is reported and not corrected.

    Raises
    ------
    ParameterError
        If the tables are not of this simulation, or don't belong together.
    SchemaError
        If a table breaks the data model.
    """
    for table, kind in ((cells, "cells"), (responses, "responses"), (targets, "targets")):
        check_table(table, kind)  # type: ignore[arg-type]
    _check_tables(truth, cells, responses, targets)
    overlap = find_overlap(truth, cells)
    accepted = cells.obs["iscell"].to_numpy(bool)
    return {
        "targets": _score_targets(truth, cells, targets, overlap, accepted),
        "responses": _score_responses(truth, cells, responses, overlap, accepted),
        "cells": _score_cells(truth, cells, overlap, accepted),
    }


def _check_tables(truth: Truth, cells: AnnData, responses: AnnData, targets: AnnData) -> None:
    n_frames = len(truth.frames)
    if not np.array_equal(cells.var["frame"].to_numpy(), np.arange(n_frames)):
        raise ParameterError(
            f"The cells table has {cells.n_vars} frames of {cells.var['trial'].nunique()} trials; the simulation has {n_frames} "
            "frames of one. Pass the table of the simulated trial alone, all frames in order."
        )
    if rois_of(cells).frame_shape_px != truth.rois.frame_shape_px:
        raise ParameterError(
            f"The ROIs lie in frames of {rois_of(cells).frame_shape_px}, the simulation has {truth.rois.frame_shape_px}."
        )
    if set(responses.obs_names) != set(cells.obs_names):
        raise ParameterError("responses and cells are of different ROIs. Pass two tables of one analysis.")
    if set(targets.obs_names) != set(truth.targets.index):
        raise ParameterError(
            f"The targets table has the targets {', '.join(targets.obs_names[:3])}, ...; the simulation has "
            f"{', '.join(truth.targets.index[:3])}, ... ({len(truth.targets)}). Pass the table of the simulated trial."
        )
    unknown = sorted(set(targets.obs["roi"].astype(str)) - {""} - set(cells.obs_names))
    if unknown:
        raise ParameterError(f"targets names the ROI '{unknown[0]}', which the cells table does not have.")
    for column in ("excited", "suppressed"):
        if column not in responses.obs:
            raise ParameterError(f"The responses table has no column '{column}'. Call responders first (tl.responses).")


def find_overlap(truth: Truth, cells: AnnData) -> RoiOverlap:
    """Compare the pixels of every ROI with the outline of every cell."""
    found = rois_of(cells).to_sparse()
    true = truth.rois.to_sparse()
    found.data[:] = 1.0
    true.data[:] = 1.0
    both = np.asarray((found @ true.T).todense(), dtype=np.float64)
    n_roi, n_cell = np.diff(found.indptr)[:, None], np.diff(true.indptr)[None, :]
    iou = both / (n_roi + n_cell - both)
    return RoiOverlap(iou, (iou >= OVERLAP_IOU) | (both >= OVERLAP_PART * n_roi))


def _ratio(part: int, whole: int) -> float | None:
    return None if whole == 0 else part / whole


def _positions(names: pd.Series, index: pd.Index) -> np.ndarray:
    """Return the position of each name in ``index``, -1 where it is not there."""
    import pandas as pd

    return index.get_indexer(pd.Index(names.astype(str)))


def _score_targets(truth: Truth, cells: AnnData, targets: AnnData, overlap: RoiOverlap, accepted: np.ndarray) -> dict[str, Any]:
    table = targets.obs.loc[list(truth.targets.index)]
    cell_of = _positions(truth.targets["cell"], truth.cells.index)
    roi_of = _positions(table["roi"], cells.obs_names)
    has_cell, matched = cell_of >= 0, roi_of >= 0
    segmented = has_cell & (overlap.belongs & accepted[:, None]).any(axis=0)[cell_of]
    right = has_cell & matched & overlap.belongs[roi_of, cell_of] if len(cells) else np.zeros(len(table), bool)
    n_matched, n_segmented = int((right & segmented).sum()), int(segmented.sum())
    return {
        "matched_fraction": _ratio(n_matched, n_segmented),
        "n_matched": n_matched,
        "n_segmented": n_segmented,
        "n_with_cell": int(has_cell.sum()),
        "n_targets": len(table),
        "wrong_matches": int((matched & ~right).sum()),
        "without_cell": int((~has_cell).sum()),
        "without_cell_left_unmatched": int((~has_cell & ~matched).sum()),
        "ambiguous": int((table["status"].astype(str) == "ambiguous").sum()),
    }


def _score_responses(
    truth: Truth, cells: AnnData, responses: AnnData, overlap: RoiOverlap, accepted: np.ndarray
) -> dict[str, Any]:
    calls = responses.obs.loc[list(cells.obs_names)]
    excited = calls["excited"].to_numpy(bool) & accepted
    suppressed = calls["suppressed"].to_numpy(bool) & accepted
    driven, above = (truth.cells[name].to_numpy(bool) for name in ("driven", "above_minimal"))
    detected = (overlap.belongs & excited[:, None]).any(axis=0)
    of_driven = (overlap.belongs & driven[None, :]).any(axis=1)
    n_detected, n_above = int((detected & above).sum()), int(above.sum())
    n_false, n_called = int((excited & ~of_driven).sum()), int(excited.sum())
    return {
        "sensitivity": _ratio(n_detected, n_above),
        "n_detected": n_detected,
        "n_driven_above_minimal": n_above,
        "minimal_effect_dff": truth.parameters.minimal_effect_dff,
        "n_driven": int(driven.sum()),
        "n_detected_below_minimal": int((detected & driven & ~above).sum()),
        "false_discovery": n_false / max(n_called, 1),
        "n_called": n_called,
        "n_called_without_driven_cell": n_false,
        "n_tested": int(accepted.sum()),
        "suppressed": {"n_called": int(suppressed.sum()), "n_truly_suppressed": 0},
    }


def _score_cells(truth: Truth, cells: AnnData, overlap: RoiOverlap, accepted: np.ndarray) -> dict[str, Any]:
    from scipy.optimize import linear_sum_assignment

    index = np.flatnonzero(accepted)
    iou = overlap.iou[index]
    # one ROI to one cell, first as many pairs above the limit as possible, then the best ones
    rows, columns = linear_sum_assignment((iou > FOUND_IOU) + iou * 1e-3, maximize=True)
    placed = iou[rows, columns] > FOUND_IOU
    rows, columns = rows[placed], columns[placed]
    correlation = _correlations(truth, cells, index[rows], columns)
    found = np.zeros(len(truth.cells), bool)
    found[columns] = correlation > FOUND_CORRELATION
    active = truth.cells["active"].to_numpy(bool)
    centers = rois_of(cells).centroids_px[index[rows]] - truth.rois.centroids_px[columns]
    offset = np.median(centers, axis=0) if len(rows) else np.full(2, np.nan)
    n_found, n_active = int((found & active).sum()), int(active.sum())
    return {
        "found_fraction": _ratio(n_found, n_active),
        "n_found": n_found,
        "n_active": n_active,
        "n_cells": len(truth.cells),
        "n_rois": len(accepted),
        "n_accepted": len(index),
        "n_accepted_without_cell": int((~overlap.belongs[index].any(axis=1)).sum()),
        "n_active_placed": int(active[columns].sum()),
        "median_iou": float(np.median(iou[rows, columns])) if len(rows) else None,
        "median_correlation": float(np.median(correlation)) if len(rows) else None,
        "offset_px": [float(value) for value in offset] if len(rows) else None,
    }


def _correlations(truth: Truth, cells: AnnData, rois: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Correlate the dF/F of ROIs with that of their cells over the frames without light; NaN counts as a missing frame.

    The frame after light is left out as well, because analyses mask it too. A constant trace has correlation 0.
    """
    light = truth.frames["artefact"].to_numpy(bool)
    quiet = ~(light | np.concatenate([[False], light[:-1]]))
    correlations = np.zeros(len(rois))
    for number, (roi, cell) in enumerate(zip(rois.tolist(), columns.tolist(), strict=True)):
        found, true = np.asarray(cells.X[roi], dtype=np.float64).ravel(), np.asarray(truth.traces[cell], dtype=np.float64)
        keep = quiet & np.isfinite(found)
        found, true = found[keep], true[keep]
        if keep.sum() > 1 and found.std() > 0 and true.std() > 0:
            correlations[number] = np.corrcoef(found, true)[0, 1]
    return correlations
