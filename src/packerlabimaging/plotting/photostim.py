"""Responses to photostimulation, and the match of its targets to ROIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging._provenance import UNS_KEY
from packerlabimaging.core.schema import check_table
from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting._style import BLACK, BLUE, GREY, LIGHT_GREY, VERMILLION, axes, color_cycle, panels, styled
from packerlabimaging.plotting._tables import flag, score_unit

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.patches import Patch

LIMIT_PERCENTILE = 99.0


def diverging_image(ax: Axes, values: np.ndarray, *, limit: float | None, extent: tuple[float, float, float, float]) -> AxesImage:
    """Show values with a diverging map, white at 0 and symmetric; NaN is grey. Blue and red are told apart by all readers."""
    import matplotlib

    if limit is None:
        finite = np.abs(values[np.isfinite(values)])
        limit = float(np.percentile(finite, LIMIT_PERCENTILE)) if len(finite) else 1.0
    limit = limit if limit > 0 else 1.0
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#8C8C8C")
    masked = np.ma.masked_invalid(values)
    return ax.imshow(masked, cmap=colors, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest", extent=extent)


@styled
def response_raster(responses: AnnData, *, limit: float | None = None, ax: Axes | None = None) -> dict[str, Axes]:
    """Show the score of every ROI at every stim, ROIs sorted by their mean, strongest on top.

    Parameters
    ----------
    responses
        A ``responses`` table: ROIs x stims.
    limit
        Scores at and beyond this get the full colour, in the unit shown (per cent for dF/F); by default the 99th percentile
        of the absolute scores.
    ax
        Axes whose place the panels take; a new figure by default.

    Returns
    -------
    dict of str to matplotlib.axes.Axes
        ``"raster"`` (NaN is grey), ``"calls"`` (excited, suppressed, not called; not tested where an ROI has no corrected p),
        ``"population"`` where the table has it, ``"colours"``.
    """
    check_table(responses, "responses")
    factor, unit = score_unit(responses)
    scores = np.asarray(responses.X, np.float64) * factor
    if not scores.size:
        raise ParameterError(f"The responses table has the shape {scores.shape}. It needs at least one ROI and one stim.")
    mean = np.array([np.nanmean(row) if np.any(np.isfinite(row)) else -np.inf for row in scores])
    order = np.argsort(-mean, kind="stable")
    n_rois, n_stims = scores.shape
    boxes = {"raster": (0.0, 0.0, 0.80, 1.0), "calls": (0.815, 0.0, 0.025, 1.0), "colours": (0.93, 0.55, 0.025, 0.45)}
    if "population" in responses.obs:
        boxes["population"] = (0.85, 0.0, 0.025, 1.0)
    found = panels(axes(ax, (6.4, 3.6)), boxes)
    shown = diverging_image(found["raster"], scores[order], limit=limit, extent=(0.5, n_stims + 0.5, n_rois + 0.5, 0.5))
    found["raster"].set(xlabel="stim (number)", ylabel="ROI (sorted by mean score)")
    found["raster"].locator_params(axis="x", integer=True)
    bar = found["colours"].figure.colorbar(shown, cax=found["colours"], extend="both")
    bar.set_label(unit)
    calls = np.full(n_rois, "not called", object)
    if "pvalue_adjusted" in responses.obs:
        calls[responses.obs["pvalue_adjusted"].isna().to_numpy()] = "not tested"
    calls[flag(responses.obs, "excited")] = "excited"
    calls[flag(responses.obs, "suppressed")] = "suppressed"
    handles = _side_bar(found["calls"], calls[order], "calls")
    if "population" in found:
        population = responses.obs["population"].astype(str).to_numpy(object)
        handles += _side_bar(found["population"], population[order], "population")
    found["colours"].legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-2.0, -0.15), borderaxespad=0.0, fontsize=6.5, handlelength=1.0
    )
    return found


def _side_bar(ax: Axes, labels: np.ndarray, title: str) -> list[Patch]:
    """Draw one colour per ROI; return the entries of its legend, a title first."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    names = sorted(set(labels))
    colors = color_cycle(names)
    if "not called" in colors:
        colors["not called"] = LIGHT_GREY  # a call stands out against the many that are none
    ax.imshow(np.array([[to_rgb(colors[label])] for label in labels]), aspect="auto", interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=6.5, rotation=90, loc="center", va="bottom")
    counted = [
        Patch(facecolor=colors[name], edgecolor=LIGHT_GREY, linewidth=0.4, label=f"{name} ({int(np.sum(labels == name))})")
        for name in names
    ]
    return [Patch(facecolor="none", label=f"{title}:"), *counted]


@styled
def response_volcano(responses: AnnData, *, ax: Axes | None = None) -> Axes:
    """Show mean score against corrected p-value of every ROI, with those called excited or suppressed coloured.

    Parameters
    ----------
    responses
        A ``responses`` table with ``obs["response_mean"]`` and ``obs["pvalue_adjusted"]``.
    ax
        Axes to draw into; a new figure by default.

    Raises
    ------
    ParameterError
        If the table lacks one of these columns.
    """
    check_table(responses, "responses")
    lacking = [name for name in ("response_mean", "pvalue_adjusted") if name not in responses.obs]
    if lacking:
        raise ParameterError(f"The responses table has no column {', '.join(lacking)} in obs. Make it with tl.compute_responses.")
    factor, unit = score_unit(responses)
    mean = responses.obs["response_mean"].to_numpy(np.float64) * factor
    p = responses.obs["pvalue_adjusted"].to_numpy(np.float64)
    floor = float(np.min(p[p > 0], initial=1.0))  # a p of 0 (underflow) is drawn beside the smallest other one
    height = -np.log10(np.where(p == 0, floor, p))
    excited, suppressed = flag(responses.obs, "excited"), flag(responses.obs, "suppressed")
    drawn = np.isfinite(mean) & np.isfinite(p)
    ax = axes(ax, (3.6, 3.2))
    for name, part, color in (
        ("not called", ~excited & ~suppressed, GREY),
        ("excited", excited, VERMILLION),
        ("suppressed", suppressed, BLUE),
    ):
        counted = f"{name} ({int((part & drawn).sum())})"
        ax.scatter(mean[part], height[part], s=9, color=color, alpha=0.8, linewidths=0, label=counted)
    ax.axvline(0.0, color=LIGHT_GREY, lw=0.8, zorder=0)
    lost = int(np.sum(~drawn))
    ax.set(
        xlabel=f"mean score, {unit}", ylabel="-log$_{10}$ corrected p", title=f"{lost} ROIs without a corrected p" if lost else ""
    )
    ax.legend(loc="best", handletextpad=0.2)
    return ax


@styled
def target_match(targets: AnnData, *, gate_um: float | None = None, ax: Axes | None = None) -> Axes:
    """Show how far each photostimulation target lies from the ROI that it was matched to.

    Parameters
    ----------
    targets
        A ``targets`` table.
    gate_um
        Greatest distance of a match; by default the one that the table records, if any.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Counts of targets by distance, stacked by status; the legend also counts targets without a distance.
    """
    check_table(targets, "targets")
    distance = targets.obs["distance_um"].to_numpy(np.float64)
    status = targets.obs["status"].astype(str).to_numpy(object)
    gate_um = targets.uns[UNS_KEY].get("gate_um") if gate_um is None else gate_um
    greatest = max([float(np.max(distance[np.isfinite(distance)], initial=1.0)), 0.0 if gate_um is None else float(gate_um)])
    names = sorted(set(status))
    colors = color_cycle(names)
    values = [distance[(status == name) & np.isfinite(distance)] for name in names]
    labels = []
    for name, some in zip(names, values, strict=True):
        total = int(np.sum(status == name))
        far = total - len(some)
        labels.append(f"{name} ({total}{f', {far} without a distance' if far else ''})")
    ax = axes(ax, (6.2, 2.4))
    ax.hist(
        values,
        bins=np.linspace(0, greatest * 1.02, 25).tolist(),
        stacked=True,
        color=[colors[name] for name in names],
        label=labels,
    )
    if gate_um is not None:
        ax.axvline(float(gate_um), color=BLACK, ls="--", lw=0.9, label=f"gate, {float(gate_um):g} µm")
    ax.set(xlabel="distance of target to ROI centroid (µm)", ylabel="targets (count)", xlim=(0, greatest * 1.03))
    ax.locator_params(axis="y", integer=True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax
