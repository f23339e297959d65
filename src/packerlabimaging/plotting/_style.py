"""Look of the plots: one style, one palette, and the pieces that several plots share (axes, panels, scale bars, shading)."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

P = ParamSpec("P")
R = TypeVar("R")

# Okabe & Ito (2008), Color Universal Design: told apart with every common form of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY, WHITE = "#7F7F7F", "#D9D9D9", "#FFFFFF"

ON_WHITE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
ON_IMAGE = (ORANGE, PURPLE, YELLOW, GREEN, VERMILLION)
ROI_ON_IMAGE = SKY

NAMED_COLORS: Mapping[str, str] = {
    "target": PURPLE,
    "targets": PURPLE,
    "exclusion": GREEN,
    "exclusion zone": GREEN,
    "other": GREY,
    "others": GREY,
    "excited": VERMILLION,
    "suppressed": BLUE,
    "not called": GREY,
    "not tested": WHITE,
    "matched": BLUE,
    "ambiguous": ORANGE,
    "unmatched": VERMILLION,
}

RC: Mapping[str, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.0,
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,  # text stays text in vector editors
    "svg.fonttype": "none",
}

_LOCK = threading.RLock()  # rcParams are one for all threads: without it two plots at once could restore each other's


@contextmanager
def style() -> Iterator[None]:
    """Apply the look of these plots to what is drawn inside, e.g. to figures of one's own; nothing stays changed.

    Example
    -------
    >>> from matplotlib.figure import Figure
    >>> with style():
    ...     ax = Figure().subplots()
    """
    import matplotlib

    with _LOCK, matplotlib.rc_context(cast(Any, RC)):
        yield


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw inside :func:`style`."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return function(*args, **kwargs)

    return wrapper


def axes(ax: Axes | None, size_in: tuple[float, float]) -> Axes:
    """Return ``ax``, or the axes of a new figure that pyplot does not know."""
    if ax is not None:
        return ax
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def panels(ax: Axes, boxes: Mapping[str, tuple[float, float, float, float]]) -> dict[str, Axes]:
    """Divide ``ax`` into named panels, each at ``(left, bottom, width, height)`` in fractions of ``ax``, which vanishes."""
    ax.set_axis_off()
    return {name: ax.inset_axes(box) for name, box in boxes.items()}


def rows(n_rows: int, *, gap: float, left: float = 0.0, width: float = 1.0) -> list[tuple[float, float, float, float]]:
    """Return the boxes of ``n_rows`` panels of one height, from top to bottom, ``gap`` being a fraction of that height."""
    height = 1.0 / (n_rows + gap * (n_rows - 1))
    return [(left, 1.0 - height * (1.0 + row * (1.0 + gap)), width, height) for row in range(n_rows)]


def color_cycle(names: Sequence[str], palette: Sequence[str] = ON_WHITE) -> dict[str, str]:
    """Give each name a colour: its fixed one, else the next of the palette; steps of viridis where there are too many."""
    free = [color for color in palette if color not in {NAMED_COLORS.get(name) for name in names}]
    others = [name for name in names if name not in NAMED_COLORS]
    if len(others) > len(free):
        import matplotlib
        from matplotlib.colors import to_hex

        steps = matplotlib.colormaps["viridis"](np.linspace(0.1, 1.0, len(others)))
        free = [to_hex(step) for step in steps]
    return {name: NAMED_COLORS[name] if name in NAMED_COLORS else free[others.index(name)] for name in names}


def nice_length(span: float) -> float:
    """Return the round number (1, 2 or 5 times a power of ten) at or below ``span``."""
    power = 10.0 ** np.floor(np.log10(span))
    return float(max(step * power for step in (1, 2, 5) if step * power <= span * (1 + 1e-9)))


def shade(ax: Axes, onsets_s: np.ndarray, ends_s: np.ndarray, *, color: str, alpha: float, label: str | None = None) -> None:
    """Shade intervals over the whole height of ``ax`` as one collection, however many they are."""
    from matplotlib.collections import PolyCollection

    if not len(onsets_s):
        return
    low, high = np.zeros(len(onsets_s)), np.ones(len(onsets_s))
    corners = np.stack([[onsets_s, low], [onsets_s, high], [ends_s, high], [ends_s, low]]).transpose(2, 0, 1)
    spans = PolyCollection(list(corners), facecolors=color, edgecolors="none", alpha=alpha, zorder=0, label=label)
    spans.set_transform(ax.get_xaxis_transform())
    ax.add_collection(spans, autolim=False)


def vertical_lines(ax: Axes, times_s: np.ndarray, *, color: str, label: str = "", **style: Any) -> None:
    """Draw a line over the whole height of ``ax`` at each time, as one collection, however many they are."""
    ax.vlines(times_s, 0.0, 1.0, transform=ax.get_xaxis_transform(), colors=color, label=label, **style)


def scale_bar(ax: Axes, shape_px: tuple[int, int], pixel_um: float, length_um: float | None) -> None:
    """Draw a horizontal scale bar into the lower right corner of an image, by default about a fifth of its width."""
    from matplotlib.patheffects import withStroke

    height, width = shape_px
    length_um = nice_length(width * pixel_um / 5) if length_um is None else length_um
    right, y = width * 0.96, height * 0.955
    middle = right - length_um / pixel_um / 2
    outline = [withStroke(linewidth=3.5, foreground=BLACK, alpha=0.7)]
    ax.plot([right - length_um / pixel_um, right], [y, y], color="white", lw=2.5, solid_capstyle="butt", path_effects=outline)
    ax.text(
        middle, y - height * 0.015, f"{length_um:g} µm", color="white", ha="center", va="bottom", fontsize=8,
        path_effects=[withStroke(linewidth=2, foreground=BLACK, alpha=0.7)],
    )  # fmt: skip
