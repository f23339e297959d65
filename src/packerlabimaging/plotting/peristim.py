"""Activity around stims: averages of groups of ROIs, and every ROI's own average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.core.schema import check_table, clock_of
from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting._style import BLACK, LIGHT_GREY, ORANGE, axes, color_cycle, panels, shade, styled
from packerlabimaging.plotting._tables import lit_intervals, read_values, roi_groups
from packerlabimaging.plotting.photostim import diverging_image

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

ROWS_AT_A_TIME = 64
LEAST_SHARE = 0.5
"""A point of an average is shown where at least this share of the stims has a value there: elsewhere it would be the average
of other stims than its neighbours are."""


@styled
def peristim_average(
    cells: AnnData,
    *,
    stims: Any,
    groups: Any = None,
    pre_s: float = 1.0,
    post_s: float = 3.0,
    baseline_s: float | None = 0.5,
    ax: Axes | None = None,
) -> Axes:
    """Show the mean dF/F of groups of ROIs around stims, with its standard error over stims.

    Parameters
    ----------
    cells
        A ``cells`` table of one trial.
    stims
        When stims were: Events, a table with ``onset_s`` and ``end_s`` (stims that it marks ``catch`` or ``sham`` are left
        out), or an array of seconds.
    groups
        ``{name: mask or index array of ROIs}``, or one label per ROI; by default all ROIs together. Empty groups are left out.
    pre_s, post_s
        Time shown before and after the onset, seconds.
    baseline_s
        The mean of this time before the onset is subtracted stim by stim; None subtracts nothing.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Per cent dF/F against seconds from stim onset. Artefact frames are left out, so that the lines are broken where there
        is light; the median span from onset to end of a stim is shaded.

    Raises
    ------
    ParameterError
        If there are no stims, or groups do not fit the ROIs.

    Notes
    -----
    The unit of replication is the stim: ROIs of a group are averaged within each stim, and the shading is the standard error of
    these averages over stims. It says nothing about the spread over cells or animals.
    """
    check_table(cells, "cells")
    onsets, ends = _checked_stims(stims)
    masks = {name: mask for name, mask in roi_groups(groups, cells.n_obs).items() if mask.any()}
    if not masks:
        raise ParameterError("No group has any ROI. Nothing can be averaged.")
    means = np.stack([_mean_trace(cells, np.flatnonzero(mask)) for mask in masks.values()])
    time_s, values = _snippets(cells, means, onsets, pre_s, post_s, baseline_s)
    ax = axes(ax, (6.2, 2.8))
    colors = color_cycle(list(masks))
    for (name, mask), stim_means in zip(masks.items(), values, strict=True):
        mean, error, n_stims = _over_stims(stim_means)
        ax.plot(time_s, mean, color=colors[name], label=f"{name} ({int(mask.sum())} ROIs, {n_stims} stims)")
        ax.fill_between(time_s, mean - error, mean + error, color=colors[name], alpha=0.25, linewidth=0)
    _mark_light(ax, onsets, ends, span=True)
    ax.axhline(0.0, color=LIGHT_GREY, lw=0.8, zorder=0)
    ax.set(xlim=(-pre_s, post_s), xlabel="time from stim onset (s)", ylabel=_label(baseline_s))
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax


@styled
def peristim_heatmap(
    cells: AnnData,
    *,
    stims: Any,
    rois: np.ndarray | None = None,
    pre_s: float = 1.0,
    post_s: float = 3.0,
    baseline_s: float | None = 0.5,
    ax: Axes | None = None,
) -> dict[str, Axes]:
    """Show every ROI's mean dF/F around stims, ROIs sorted by their mean after the stim's end, strongest on top.

    Parameters
    ----------
    cells
        A ``cells`` table of one trial.
    stims
        As in :func:`peristim_average`.
    rois
        Mask ``(n_rois,)`` or index array of the ROIs to show; by default those taken for cells.
    pre_s, post_s, baseline_s
        As in :func:`peristim_average`.
    ax
        Axes whose place the panels take; a new figure by default.

    Returns
    -------
    dict of str to matplotlib.axes.Axes
        ``"heatmap"`` in per cent dF/F, white at 0, grey where there is no value, and ``"colours"``.

    Raises
    ------
    ParameterError
        If there are no stims or no ROIs.
    """
    check_table(cells, "cells")
    onsets, ends = _checked_stims(stims)
    rows = np.arange(cells.n_obs)[cells.obs["iscell"].to_numpy(bool) if rois is None else np.asarray(rois)]
    if not len(rows):
        raise ParameterError("There is no ROI to show. Pass rois=, or check obs['iscell'].")
    averages = []
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        block = read_values(cells, rows[start : start + ROWS_AT_A_TIME], slice(None))
        time_s, values = _snippets(cells, block, onsets, pre_s, post_s, baseline_s)
        averages += [_over_stims(of_roi)[0] for of_roi in values]
    image = np.array(averages)
    after = image[:, time_s >= float(np.median(ends - onsets))]
    strength = np.array([np.nanmean(row) if np.any(np.isfinite(row)) else -np.inf for row in after])
    half = (time_s[1] - time_s[0]) / 2
    found = panels(axes(ax, (5.4, 3.6)), {"heatmap": (0.0, 0.0, 0.9, 1.0), "colours": (0.94, 0.25, 0.03, 0.5)})
    extent = (time_s[0] - half, time_s[-1] + half, len(rows) + 0.5, 0.5)
    shown = diverging_image(found["heatmap"], image[np.argsort(-strength, kind="stable")], limit=None, extent=extent)
    _mark_light(found["heatmap"], onsets, ends, span=False)
    found["heatmap"].set(xlabel="time from stim onset (s)", ylabel="ROI (sorted by mean after the stim)")
    found["colours"].figure.colorbar(shown, cax=found["colours"], extend="both").set_label(_label(baseline_s))
    return found


def _checked_stims(stims: Any) -> tuple[np.ndarray, np.ndarray]:
    onsets, ends = lit_intervals(stims)
    known = np.isfinite(onsets) & np.isfinite(ends)
    if not known.any():
        raise ParameterError("There is no stim with light. Nothing can be averaged.")
    return onsets[known], ends[known]


def _mean_trace(cells: AnnData, rows: np.ndarray) -> np.ndarray:
    """Return the mean dF/F of some ROIs at each frame, ``(n_frames,)``; NaN where none has a value."""
    total, count = np.zeros(cells.n_vars), np.zeros(cells.n_vars)
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        block = read_values(cells, rows[start : start + ROWS_AT_A_TIME], slice(None))
        finite = np.isfinite(block)
        total += np.where(finite, block, 0.0).sum(axis=0)
        count += finite.sum(axis=0)
    return np.divide(total, count, out=np.full(cells.n_vars, np.nan), where=count > 0)


def _snippets(
    cells: AnnData, traces: np.ndarray, onsets: np.ndarray, pre_s: float, post_s: float, baseline_s: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut traces around stims, artefact frames left out; per cent, ``(n, stim, time)``, the baseline of each stim subtracted."""
    from packerlabimaging.analysis.snippets import extract_snippets

    exclude = cells.var["artefact"].to_numpy(bool)
    snippets = extract_snippets(traces, clock_of(cells), onsets, pre_s=pre_s, post_s=post_s, exclude=exclude)
    values = np.where(snippets.valid, snippets.values, np.nan) * 100.0
    if baseline_s is not None:
        before = (snippets.time_s < 0) & (snippets.time_s >= -baseline_s)
        finite = np.isfinite(values[..., before])
        total, count = np.where(finite, values[..., before], 0.0).sum(axis=-1), finite.sum(axis=-1)
        values = values - np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)[..., None]
    return snippets.time_s, values


def _over_stims(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return mean and standard error over stims of ``(stim, time)``, NaN where too few have a value, and the stims used."""
    finite = np.isfinite(values)
    n_stims = int(finite.any(axis=1).sum())
    count = finite.sum(axis=0)
    enough = count >= max(1, LEAST_SHARE * n_stims)
    safe = np.maximum(count, 1)
    mean = np.where(finite, values, 0.0).sum(axis=0) / safe
    squares = np.where(finite, (values - mean) ** 2, 0.0).sum(axis=0)
    error = np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1) / safe), np.nan)
    return np.where(enough, mean, np.nan), np.where(enough, error, np.nan), n_stims


def _mark_light(ax: Axes, onsets: np.ndarray, ends: np.ndarray, *, span: bool) -> None:
    """Mark the median time from onset to end of a stim: shaded, or between lines where shading would hide an image."""
    duration = float(np.median(ends - onsets))
    if span and duration > 0:
        shade(ax, np.zeros(1), np.array([duration]), color=ORANGE, alpha=0.3, label=f"stim ({duration * 1e3:.0f} ms)")
        return
    for time in {0.0, duration}:
        ax.axvline(time, color=ORANGE if span else BLACK, lw=0.9, ls="-" if span else "--")


def _label(baseline_s: float | None) -> str:
    return "ΔF/F (%)" if baseline_s is None else f"ΔF/F - mean of {baseline_s:g} s before (%)"
