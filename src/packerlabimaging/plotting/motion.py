"""Motion of the field of view over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging._check import check_length
from packerlabimaging.core.clock import FRAME_GAP_PERIODS
from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting._envelope import trace_line
from packerlabimaging.plotting._style import BLUE, VERMILLION, axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def registration(
    shifts_px: np.ndarray,
    *,
    time_s: np.ndarray | None = None,
    pixel_size_um: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show the shift that registration found for each frame.

    Parameters
    ----------
    shifts_px
        ``(y, x)`` shift of each frame in pixels, shape ``(n_frames, 2)``; NaN where there is none.
    time_s
        Start of each frame, shape ``(n_frames,)``, seconds; frame numbers are shown without it.
    pixel_size_um
        ``(y, x)`` size of a pixel; shifts are then shown in micrometres.
    ax
        Axes to draw into; a new figure by default.

    Raises
    ------
    ParameterError
        If shifts have not the shape ``(n_frames, 2)``, or times not one per frame.
    """
    shifts = np.asarray(shifts_px, dtype=np.float64)
    if shifts.ndim != 2 or shifts.shape[1] != 2 or not len(shifts):
        raise ParameterError(f"Shifts have the shape {shifts.shape}. Expected (n_frames, 2): y, x in pixels.")
    times = np.arange(len(shifts), dtype=np.float64) if time_s is None else np.asarray(time_s, np.float64)
    check_length("time_s", times, len(shifts), per="frame")
    shifts = shifts * (pixel_size_um or (1.0, 1.0))
    gap = FRAME_GAP_PERIODS * float(np.median(np.diff(times))) if len(times) > 1 else np.inf
    ax = axes(ax, (7.2, 2.0))
    for column, name, color in ((0, "y (down)", BLUE), (1, "x (right)", VERMILLION)):
        ax.plot(*trace_line(times, shifts[:, column], gap_s=gap), color=color, lw=0.7, alpha=0.85, label=name)
    ax.axhline(0.0, color="black", lw=0.5, zorder=0)
    ax.set(
        xlim=(times[0], times[-1]),
        xlabel="frame" if time_s is None else "time (s)",
        ylabel=f"shift ({'px' if pixel_size_um is None else 'µm'})",
    )
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
    return ax
