"""Traces of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.clock import FRAME_GAP_PERIODS
from packerlabimaging.core.schema import check_table
from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting._envelope import trace_line
from packerlabimaging.plotting._style import BLACK, GREY, ORANGE, axes, nice_length, shade, styled, vertical_lines
from packerlabimaging.plotting._tables import read_values, stim_intervals

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

ROWS_AT_A_TIME = 64
SPREAD_PERCENTILES = (0.5, 99.5)
LOWEST, HIGHEST = -1.5, 3.0  # in distances from one trace to the next: what goes further would hide the others


@styled
def traces(
    cells: AnnData,
    *,
    rois: Sequence[str] | None = None,
    n_max: int = 20,
    start_s: float | None = None,
    stop_s: float | None = None,
    layer: str | None = None,
    stims: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Show traces of cells one above the other, on one scale.

    Parameters
    ----------
    cells
        A ``cells`` table of one trial.
    rois
        Ids of the ROIs to show, from top to bottom; by default the ``n_max`` cells (``iscell``) with the greatest 99.5th
        percentile in the time shown, in the table's order.
    n_max
        Most ROIs shown by default.
    start_s, stop_s
        Time shown, seconds; by default all.
    layer
        Layer to show instead of dF/F, e.g. ``"F"``.
    stims
        When stims were: Events, a table with ``onset_s`` (and ``end_s``), or an array of seconds. Drawn as lines or spans.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        dF/F in per cent; frames marked ``artefact`` are shaded, NaN and gaps between frames break the line. Long traces are
        drawn by the least and greatest value of each bin. A trace that goes far beyond its place is cut, and its name says so.

    Raises
    ------
    ParameterError
        If an ROI, the layer, or the time does not exist in the table.
    """
    check_table(cells, "cells")
    if start_s is not None and stop_s is not None:
        check_positive("stop_s - start_s", stop_s - start_s)
    frames = _frames_between(cells.var["time_s"].to_numpy(np.float64), start_s, stop_s)
    time_s = cells.var["time_s"].to_numpy(np.float64)[frames]
    period_s = float(np.median(np.diff(cells.var["time_s"]))) if cells.n_vars > 1 else 1.0
    check_positive("n_max", n_max)
    rows = _choose(cells, rois, n_max, frames, layer)
    values = read_values(cells, rows, frames, layer=layer) * (100.0 if layer is None else 1.0)
    step = _spacing(values)
    ax = axes(ax, (7.2, float(np.clip(0.24 * len(rows) + 1.0, 2.0, 9.0))))
    names = [str(name) for name in cells.obs_names[rows]]
    bottom, top = -step * (len(rows) - 0.2), step
    for place, trace in enumerate(values):
        middle = np.nanmedian(trace) if np.any(np.isfinite(trace)) else 0.0
        shown = np.clip(trace - middle, LOWEST * step, HIGHEST * step)
        if np.any(shown != trace - middle, where=np.isfinite(trace)):
            names[place] += " (cut)"
        bottom = np.nanmin([bottom, np.fmin.reduce(shown) - place * step])
        top = np.nanmax([top, np.fmax.reduce(shown) - place * step])
        ax.plot(*trace_line(time_s, shown - place * step, gap_s=FRAME_GAP_PERIODS * period_s), color=BLACK, lw=0.6)
    _mark_artefacts(ax, cells, frames, time_s, period_s)
    if stims is not None:
        onsets, ends = stim_intervals(stims)
        seen = (ends >= time_s[0]) & (onsets <= time_s[-1])
        vertical_lines(ax, onsets[seen], color=ORANGE, lw=0.8, label=f"stim onset (n = {int(seen.sum())})")
        shade(ax, onsets[seen], ends[seen], color=ORANGE, alpha=0.3)
    _label(ax, names, step, layer)
    ax.set(ylim=(bottom, top), xlim=(time_s[0], time_s[-1] + period_s), xlabel="time (s)")
    return ax


def _frames_between(time_s: np.ndarray, start_s: float | None, stop_s: float | None) -> slice:
    first = 0 if start_s is None else int(np.searchsorted(time_s, start_s))
    stop = len(time_s) if stop_s is None else int(np.searchsorted(time_s, stop_s))
    if stop <= first:
        raise ParameterError(
            f"There is no frame between {start_s} and {stop_s} s. The table runs from {time_s[0]:.3f} to {time_s[-1]:.3f} s."
        )
    return slice(first, stop)


def _choose(cells: AnnData, rois: Sequence[str] | None, n_max: int, frames: slice, layer: str | None) -> np.ndarray:
    """Return the rows to show."""
    if rois is not None:
        rows = cells.obs_names.get_indexer(list(rois))
        if np.any(rows < 0):
            lacking = [name for name, row in zip(rois, rows, strict=True) if row < 0]
            raise ParameterError(
                f"The table has no ROI {', '.join(map(repr, lacking))}. Its ids are like '{cells.obs_names[0]}'."
            )
        return rows
    candidates = np.flatnonzero(cells.obs["iscell"].to_numpy(bool))
    if not len(candidates):
        raise ParameterError("No ROI of the table is taken for a cell (obs['iscell']). Name those to show with rois=.")
    if len(candidates) <= n_max:
        return candidates
    peaks = np.full(len(candidates), -np.inf)
    for start in range(0, len(candidates), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        block = read_values(cells, candidates[part], frames, layer=layer)
        valid = np.isfinite(block).any(axis=1)
        peaks[part][valid] = np.nanpercentile(block[valid], SPREAD_PERCENTILES[1], axis=1)
    return candidates[np.sort(np.argsort(-peaks, kind="stable")[:n_max])]


def _spacing(values: np.ndarray) -> float:
    """Return the distance from one trace to the next: the middle one's spread, so that few traces overlap their neighbours."""
    valid = values[np.isfinite(values).any(axis=1)]
    if not len(valid):
        return 1.0
    low, high = np.nanpercentile(valid, SPREAD_PERCENTILES, axis=1)
    spread = float(np.percentile(high - low, 60))
    return spread if spread > 0 else 1.0


def _mark_artefacts(ax: Axes, cells: AnnData, frames: slice, time_s: np.ndarray, period_s: float) -> None:
    artefact = cells.var["artefact"].to_numpy(bool)[frames]
    steps = np.diff(np.concatenate([[0], artefact.astype(np.int8), [0]]))
    first, stop = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    shade(ax, time_s[first], time_s[stop - 1] + period_s, color=GREY, alpha=0.25, label="artefact frames")


def _label(ax: Axes, names: list[str], step: float, layer: str | None) -> None:
    """Name the traces and draw the vertical scale bar."""
    size = max(2.0, min(7.0, 300.0 / len(names)))
    ax.set_yticks(-step * np.arange(len(names)), names, fontsize=size)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    length = nice_length(step)
    unit = "% ΔF/F" if layer is None else f"a.u. ({layer})"
    ax.plot([1.012, 1.012], [-length / 2, length / 2], transform=ax.get_yaxis_transform(), color=BLACK, lw=2, clip_on=False)
    ax.text(
        1.02, 0.0, f"{length:g} {unit}", transform=ax.get_yaxis_transform(), rotation=90, va="center", ha="left", fontsize=7
    )  # fmt: skip
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
