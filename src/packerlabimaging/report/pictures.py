"""From a matplotlib figure to a picture inside the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting import style

DPI = 160
SHOWN_DPI = 116  # 8 pt type is then as large as the small print of the page, and print is sharp
MOST_CHANGE = 24  # of 255 in any pixel: below that nobody sees that a picture has 256 colours only


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, and the width that it is shown with, in CSS pixels."""

    uri: str
    width: int


def embed(picture: Any) -> Picture:
    """Draw a figure (or the figure of some axes) as a PNG inside a data URI; with a palette where it is enough for its colours.

    Raises
    ------
    ParameterError
        If ``picture`` is neither a figure nor axes.
    """
    from PIL import Image, ImageChops

    first = next(iter(picture.values())) if isinstance(picture, Mapping) and picture else picture
    figure = getattr(first, "figure", first)
    if not hasattr(figure, "savefig"):
        raise ParameterError(
            f"A report figure holds a {type(picture).__name__}. Give a matplotlib Figure or Axes, or a dictionary of Axes."
        )
    pixels = BytesIO()
    with style():
        figure.savefig(pixels, format="rgba", dpi=DPI, facecolor="white")
    width, height = (int(inches * DPI) for inches in figure.get_size_inches())
    drawn = Image.frombuffer("RGBA", (width, height), pixels.getvalue()).convert("RGB")
    inked = ImageChops.difference(drawn, Image.new("RGB", drawn.size, "white")).getbbox()
    image = drawn.crop(inked)
    few = image.quantize(256, dither=Image.Dither.NONE)
    changes: Any = ImageChops.difference(image, few.convert("RGB")).getextrema()
    packed = BytesIO()
    (few if max(most for _, most in changes) <= MOST_CHANGE else image).save(packed, format="png")
    uri = "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
    return Picture(uri, round(image.width * SHOWN_DPI / DPI))
