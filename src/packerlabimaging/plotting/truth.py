"""Results beside the truth of a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._check import check_length
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.plotting._style import BLUE, GREY, LIGHT_GREY, ORANGE, SKY, VERMILLION, axes, panels, styled
from packerlabimaging.plotting.images import image as draw_image
from packerlabimaging.plotting.images import roi_outlines

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def comparison(
    image: np.ndarray,
    *,
    true_rois: RoiSet,
    found_rois: RoiSet,
    true_response: np.ndarray,
    measured_response: np.ndarray,
    driven: np.ndarray,
    called: np.ndarray,
    pixel_size_um: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> dict[str, Axes]:
    """Show what was found beside what is true: masks on the field of view, and responses of the cells that were found.

    Parameters
    ----------
    image
        Shape ``(y, x)``.
    true_rois, found_rois
        True cells and ROIs, of the image's frame size.
    true_response, measured_response
        Fractions of dF/F, shape ``(n_pairs,)``: one item for each pair of a true cell and the ROI that stands for it.
    driven, called
        Boolean ``(n_pairs,)``: whether the cell is truly driven by the stimulation, and whether its ROI was called excited.
    pixel_size_um
        ``(y, x)`` size of a pixel; gives the scale bar.
    ax
        Axes whose place the panels take; a new figure by default.

    Returns
    -------
    dict of str to matplotlib.axes.Axes
        ``"fov"`` and ``"responses"``.

    Raises
    ------
    ParameterError
        If the four arrays do not have one length.
    """
    truth, measured = np.asarray(true_response, np.float64) * 100, np.asarray(measured_response, np.float64) * 100
    driven, called = np.asarray(driven, bool), np.asarray(called, bool)
    for name, values in (("measured_response", measured), ("driven", driven), ("called", called)):
        check_length(name, values, len(truth), per="item of true_response")
    found = panels(axes(ax, (8.6, 4.0)), {"fov": (0.0, 0.08, 0.5, 0.92), "responses": (0.62, 0.10, 0.38, 0.84)})
    _draw_masks(found["fov"], image, true_rois, found_rois, pixel_size_um)
    responses = found["responses"]
    for name, part, color, marker in (
        ("not driven, not called", ~driven & ~called, LIGHT_GREY, "o"),
        ("driven, missed", driven & ~called, BLUE, "v"),
        ("driven, called", driven & called, VERMILLION, "o"),
        ("not driven, but called", ~driven & called, "black", "x"),
    ):
        shown = part & np.isfinite(truth) & np.isfinite(measured)
        look: dict[str, Any] = {"linewidths": 1.2} if marker == "x" else {"linewidths": 0, "alpha": 0.9}
        responses.scatter(
            truth[shown], measured[shown], s=18, c=color, marker=marker, label=f"{name} ({int(part.sum())})", **look
        )
    finite = np.concatenate([truth[np.isfinite(truth)], measured[np.isfinite(measured)], [0.0]])
    limits = np.array([finite.min(), finite.max()])
    responses.plot(limits, limits, color=GREY, lw=0.8, ls="--", zorder=0, label="measured = true")
    responses.set(xlabel="true response, ΔF/F (%)", ylabel="measured response, ΔF/F (%)")
    responses.legend(loc="upper left", fontsize=7, handletextpad=0.3)
    return found


def _draw_masks(
    ax: Axes, image: np.ndarray, true_rois: RoiSet, found_rois: RoiSet, pixel_size_um: tuple[float, float] | None
) -> None:
    draw_image(image, pixel_size_um=pixel_size_um, ax=ax)
    roi_outlines(true_rois, ax=ax, color=ORANGE, linewidth=1.1, label=f"true cells ({len(true_rois)})")
    roi_outlines(found_rois, ax=ax, color=SKY, linewidth=0.8, label=f"found ROIs ({len(found_rois)})")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2)
