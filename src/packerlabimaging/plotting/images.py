"""Images of the field of view, ROI outlines and photostimulation targets on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting._style import LIGHT_GREY, ON_IMAGE, ROI_ON_IMAGE, axes, color_cycle, scale_bar, styled
from packerlabimaging.plotting._tables import target_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TARGET_DIAMETER_PX = 12.0
UNMATCHED = ("unmatched", "no cell")


@styled
def image(
    image: np.ndarray,
    *,
    pixel_size_um: tuple[float, float] | None = None,
    percentiles: tuple[float, float] = (1.0, 99.7),
    scale_bar_um: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show an image of the field of view in grey, y down.

    Parameters
    ----------
    image
        Shape ``(y, x)``; NaN is shown in dark blue.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres: gives the scale bar and the aspect. Without it the axes are in pixels.
    percentiles
        Which pixel values are black and white.
    scale_bar_um
        Length of the scale bar; by default a round number near a fifth of the width.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Data coordinates are pixels; pixel centres are integers.

    Raises
    ------
    ParameterError
        If the image is no array of numbers, has not two dimensions, or no finite pixel.
    """
    import matplotlib

    try:
        pixels = np.asarray(image, dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError(
            f"The image is {type(image).__name__}, not an array of numbers (y, x). Pass an image, e.g. trial.images['mean']."
        ) from None
    if pixels.ndim != 2:
        raise ParameterError(f"An image has 2 dimensions (y, x), not {pixels.ndim}. Of a movie, show its mean, for example.")
    finite = pixels[np.isfinite(pixels)]
    if not len(finite):
        raise ParameterError("The image has no finite pixel. Nothing can be shown.")
    height, width = pixels.shape
    y_um, x_um = pixel_size_um or (1.0, 1.0)
    ax = axes(ax, (7.0, 4.8 * float(np.clip(height * y_um / (width * x_um), 0.3, 2.0))))
    black, white = np.percentile(finite, percentiles)
    grey = matplotlib.colormaps["gray"].with_extremes(bad="#22384F")
    limits = {"vmin": black, "vmax": white if white > black else black + 1}
    ax.imshow(np.ma.masked_invalid(pixels), cmap=grey, aspect=y_um / x_um, interpolation="nearest", **limits)
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    if pixel_size_um is None:
        ax.set(xlabel="x (px)", ylabel="y (px)")
    else:
        ax.set(xticks=[], yticks=[])
        scale_bar(ax, (height, width), x_um, scale_bar_um)
    ax.spines[:].set_visible(False)
    return ax


@styled
def roi_outlines(
    rois: RoiSet,
    *,
    ax: Axes,
    color: str = ROI_ON_IMAGE,
    linewidth: float = 0.7,
    alpha: float = 0.9,
    label: str | None = None,
) -> Axes:
    """Draw the outlines of ROIs onto an image.

    Parameters
    ----------
    rois
        The ROIs; each is outlined half a pixel outside its outermost pixel centres.
    ax
        Axes of :func:`image` or :func:`fov`: pixels, y down.
    color, linewidth, alpha
        Look of the lines.
    label
        Name in a legend.
    """
    from matplotlib.collections import LineCollection

    lines = [line for index in range(len(rois)) for line in _outline(*rois.pixels(index)[:2])]
    ax.add_collection(LineCollection(lines, colors=color, linewidths=linewidth, alpha=alpha, label=label), autolim=False)
    return ax


def _outline(y_px: np.ndarray, x_px: np.ndarray) -> list[np.ndarray]:
    """Return the closed lines ``(n, 2)``, x first, around a pixel set: outer borders and holes."""
    from skimage.measure import find_contours

    top, left = int(y_px.min()) - 1, int(x_px.min()) - 1
    mask = np.zeros((int(y_px.max()) - top + 2, int(x_px.max()) - left + 2))
    mask[y_px - top, x_px - left] = 1.0
    return [contour[:, ::-1] + (left, top) for contour in find_contours(mask, 0.5)]


@styled
def fov(
    image: np.ndarray,
    *,
    rois: RoiSet | None = None,
    targets: Any = None,
    pixel_size_um: tuple[float, float] | None = None,
    target_diameter_um: float | None = None,
    percentiles: tuple[float, float] = (1.0, 99.7),
    ax: Axes | None = None,
) -> Axes:
    """Show the field of view with ROI outlines and photostimulation targets.

    Parameters
    ----------
    image
        Shape ``(y, x)``.
    rois
        ROIs of the same frame size, outlined.
    targets
        Positions ``(n, 2)``, y and x in pixels, or a ``targets`` table (AnnData or DataFrame with ``y_px``, ``x_px``).
        Where the table has ``groups``, colours tell groups apart; where it has ``status``, targets without an ROI are crossed
        out and ambiguous ones dashed.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres; gives the scale bar.
    target_diameter_um
        Diameter of the circles, e.g. of the light on a target; 12 px without it or without a pixel size.
    percentiles
        Which pixel values are black and white.
    ax
        Axes to draw into; a new figure by default.

    Raises
    ------
    ParameterError
        If ROIs refer to another frame size, or targets have no positions.
    """
    if rois is not None and rois.frame_shape_px != np.shape(image):
        raise ParameterError(
            f"The ROIs refer to frames of {rois.frame_shape_px} px, the image has {np.shape(image)}. Pass the matching image."
        )
    ax = _image(image, pixel_size_um=pixel_size_um, percentiles=percentiles, ax=ax)
    if rois is not None and len(rois):
        roi_outlines(rois, ax=ax, label=f"ROIs (n = {len(rois)})")
    if targets is not None:
        y_um, x_um = pixel_size_um or (1.0, 1.0)
        diameter_um = TARGET_DIAMETER_PX * y_um if target_diameter_um is None or pixel_size_um is None else target_diameter_um
        diameter = (diameter_um / y_um, diameter_um / x_um)
        _draw_targets(ax, *target_columns(targets), diameter)
    _legend(ax)
    return ax


_image = image  # inside fov the name is its argument


def _draw_targets(
    ax: Axes, points: np.ndarray, groups: np.ndarray | None, status: np.ndarray | None, diameter: tuple[float, float]
) -> None:
    from matplotlib.collections import EllipseCollection

    names = ["targets"] * len(points) if groups is None else [f"group {group}" for group in groups]
    kinds = np.full(len(points), "matched", object) if status is None else status
    colors = {"targets": ON_IMAGE[0]} if groups is None else color_cycle(_in_order(names), ON_IMAGE)
    edge = np.array([colors[name] for name in names], object)
    for kind in dict.fromkeys(kinds):
        part = np.flatnonzero(kinds == kind)
        rings = EllipseCollection(
            np.full(len(part), diameter[1]), np.full(len(part), diameter[0]), np.zeros(len(part)),
            units="xy", offsets=points[part, ::-1], offset_transform=ax.transData, facecolors="none",
            edgecolors=list(edge[part]), linewidths=1.3, linestyles="dashed" if kind == "ambiguous" else "solid",
        )  # fmt: skip
        ax.add_collection(rings, autolim=False)
        if kind in UNMATCHED:
            ax.scatter(points[part, 1], points[part, 0], marker="x", s=16, linewidths=1.0, c=list(edge[part]))
    for name in _in_order(names):
        count = names.count(name)
        ax.plot([], [], "o", mfc="none", mec=colors[name], ms=6, mew=1.3, label=f"{name} (n = {count})")
    if status is not None:
        for kind in dict.fromkeys(kinds):
            look: dict[str, Any] = {"marker": "x" if kind in UNMATCHED else "o", "ls": ":" if kind == "ambiguous" else "none"}
            ax.plot([], [], color=LIGHT_GREY, mfc="none", ms=5, label=f"{kind} (n = {int(np.sum(kinds == kind))})", **look)


def _in_order(names: list[str]) -> list[str]:
    """Return distinct names sorted with numbers as numbers: group 2 before group 10."""
    return sorted(
        set(names), key=lambda name: [int(word) if word.isdigit() else -1 for word in name.replace(",", " ").split()] + [name]
    )


def _legend(ax: Axes) -> None:
    handles, _ = ax.get_legend_handles_labels()
    if handles:
        box = ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=True, facecolor="#404040")
        box.get_frame().set_edgecolor("none")
        for text in box.get_texts():
            text.set_color("white")
