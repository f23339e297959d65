"""What the plots take out of tables and events: intervals of stims, columns of targets, populations of ROIs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packerlabimaging._check import check_length
from packerlabimaging._provenance import UNS_KEY
from packerlabimaging.core.events import Events
from packerlabimaging.errors import ParameterError


def stim_intervals(stims: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return onsets and ends in seconds, each ``(n,)``, of whatever tells when stims were.

    Takes :class:`Events`, a table with stims as columns (AnnData: ``responses``, ``targets``) or as rows (DataFrame), each
    with ``onset_s`` and perhaps ``end_s``, or an array of onsets ``(n,)`` or of onsets and ends ``(n, 2)``. Without ends
    they are the onsets.
    """
    if isinstance(stims, Events):
        return stims.onsets_s, stims.onsets_s if stims.ends_s is None else stims.ends_s
    frame = getattr(stims, "var", stims) if hasattr(stims, "n_vars") else stims
    if hasattr(frame, "columns"):
        if "onset_s" not in frame:
            raise ParameterError(f"The table of stims has no column 'onset_s', only: {', '.join(map(str, frame.columns))}.")
        onsets = frame["onset_s"].to_numpy(np.float64)
        return onsets, frame["end_s"].to_numpy(np.float64) if "end_s" in frame else onsets
    times = np.asarray(stims, dtype=np.float64)
    if times.ndim == 2 and times.shape[1] == 2:
        return times[:, 0], times[:, 1]
    if times.ndim != 1:
        raise ParameterError(f"Stim times have the shape {times.shape}. Expected (n,) onsets or (n, 2) onsets and ends, seconds.")
    return times, times


def lit_intervals(stims: Any) -> tuple[np.ndarray, np.ndarray]:
    """Like :func:`stim_intervals`, leaving out the stims that a table marks as ``catch`` or ``sham``: there was no light."""
    onsets, ends = stim_intervals(stims)
    frame = getattr(stims, "var", stims) if hasattr(stims, "n_vars") else stims
    dark = flag(frame, "catch") | flag(frame, "sham") if hasattr(frame, "columns") else np.zeros(len(onsets), bool)
    return onsets[~dark], ends[~dark]


def target_columns(targets: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return positions ``(n, 2)`` and, where known, group and status of each target as text.

    Takes an array ``(n, 2)`` or ``(n, 3)`` (z first) in pixels, or a table (AnnData, DataFrame) with ``y_px``, ``x_px`` and
    perhaps ``groups`` (or ``group``) and ``status``.
    """
    frame = targets.obs if hasattr(targets, "n_obs") else targets
    if hasattr(frame, "columns"):
        lacking = [name for name in ("y_px", "x_px") if name not in frame]
        if lacking:
            raise ParameterError(f"The table of targets has no column {' and no '.join(lacking)}; it needs y_px and x_px.")
        points = frame[["y_px", "x_px"]].to_numpy(np.float64)
        found = {name: frame[name].astype(str).to_numpy(object) for name in ("groups", "group", "status") if name in frame}
        return points, found.get("groups", found.get("group")), found.get("status")
    points = np.asarray(targets, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ParameterError(f"Targets have the shape {points.shape}. Expected (n, 2): y, x in pixels.")
    return points[:, -2:], None, None


def roi_groups(groups: Any, n_rois: int) -> dict[str, np.ndarray]:
    """Return ``{name: mask (n_rois,)}`` from such a mapping (masks or index arrays), a label per ROI, or None (all ROIs)."""
    if groups is None:
        return {"all ROIs": np.ones(n_rois, bool)}
    if isinstance(groups, Mapping):
        found = {}
        for name, chosen in groups.items():
            chosen = np.asarray(chosen)
            if chosen.dtype == bool:
                check_length(f"group '{name}'", chosen, n_rois, per="ROI")
            found[str(name)] = np.isin(np.arange(n_rois), np.arange(n_rois)[chosen])
        return found
    labels = np.asarray(groups, dtype=object)
    check_length("groups", labels, n_rois, per="ROI")
    names = dict.fromkeys(str(label) for label in labels)
    return {name: np.array([str(label) == name for label in labels]) for name in names}


def score_unit(table: Any) -> tuple[float, str]:
    """Return the factor and the words for the scores of a ``responses`` or ``targets`` table: dF/F goes to per cent."""
    unit = str(table.uns.get(UNS_KEY, {}).get("unit", "dF/F"))
    return (100.0, "ΔF/F (%)") if unit in ("dF/F", "dff", "fraction") else (1.0, unit)


def flag(frame: Any, name: str) -> np.ndarray:
    """Return a true/false column of a table, all False where there is none."""
    return frame[name].to_numpy(bool, na_value=False) if name in frame else np.zeros(len(frame), bool)


def read_values(cells: Any, rows: np.ndarray, columns: slice, *, layer: str | None = None) -> np.ndarray:
    """Read some rows and a range of columns of a table, in memory or on disk; float32 ``(len(rows), n)``."""
    if layer is not None and layer not in cells.layers:
        present = ", ".join(name for name in cells.layers if name) or "none"
        raise ParameterError(f"The table has no layer '{layer}'. It has: {present}; None shows dF/F.")
    part = cells[rows, columns]
    return np.asarray(part.X if layer is None else part.layers[layer], dtype=np.float32)
