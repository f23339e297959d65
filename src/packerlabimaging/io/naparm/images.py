"""The target images of a NAPARM folder: one per group, of all groups, and of all groups in each plane."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from packerlabimaging.errors import FormatError

GROUP_IMAGE = re.compile(r"FOVTargets_([0-9]{3,6})_.*\.tiff?", re.IGNORECASE)
"""One image per group; ``AllFOVTargets`` and ``SLMTargets`` are others. Numbers pass 009."""

PLANE_IMAGE = re.compile(r"AllFOVTargets_Plane([0-9]{1,6})_.*\.tiff?", re.IGNORECASE)

ALL_IMAGE = re.compile(r"AllFOVTargets_(?!Plane[0-9]).*\.tiff?", re.IGNORECASE)

OTHER_IMAGE = re.compile(r"(?:SLMTargets_[0-9]+|GalvoPosition_[0-9]+|AllGalvoPositions)_.*\.tiff?", re.IGNORECASE)
"""Further images of the same size, which hold no targets of the field."""

MAX_PIXELS = 1 << 26
"""The field has some hundred thousand pixels; a larger image is not believed."""


@dataclass(frozen=True)
class TargetImages:
    """Where the target images are.

    Parameters
    ----------
    folder
        The NAPARM folder.
    groups, planes
        Images by the number of the group or plane (1-based).
    whole, others
        Images of all targets, and of other things of the same size.
    """

    folder: Path
    groups: dict[int, Path] = field(default_factory=dict)
    planes: dict[int, Path] = field(default_factory=dict)
    whole: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()

    @cached_property
    def shape(self) -> tuple[int, int] | None:
        """``(height, width)`` of the image that the targets were chosen on; None where there are no images."""
        for path in (*self.groups.values(), *self.whole, *self.planes.values(), *self.others):
            height, width = read_image(path).shape
            return height, width
        return None


def find_images(folder: Path) -> TargetImages:
    """Find the target images of a folder.

    Raises
    ------
    FormatError
        If two images are of one group or plane.
    """
    found = TargetImages(folder)
    whole, others = [], []
    for path in sorted((folder / "Targets").glob("*.[tT][iI][fF]*")):
        for pattern, kind, images in ((GROUP_IMAGE, "Group", found.groups), (PLANE_IMAGE, "Plane", found.planes)):
            if match := pattern.fullmatch(path.name):
                number = int(match.group(1))
                if number in images:
                    raise FormatError(
                        f"{kind} {number} has two target images, '{images[number].name}' and '{path.name}'. Remove one."
                    )
                images[number] = path
        if ALL_IMAGE.fullmatch(path.name):
            whole.append(path)
        elif OTHER_IMAGE.fullmatch(path.name):
            others.append(path)
    groups, planes = (dict(sorted(images.items())) for images in (found.groups, found.planes))
    return TargetImages(folder, groups, planes, tuple(whole), tuple(others))


def read_image(path: Path) -> np.ndarray:
    """Read a target image, ``(y, x)``.

    Raises
    ------
    FormatError
        If it can't be read, is not one grey image, or is too large.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            shape = page.shape
            if len(shape) == 2 and 0 < np.prod(shape, dtype=float) <= MAX_PIXELS:
                image = np.asarray(page.asarray())
                if image.shape == shape:
                    return image
    except Exception as error:  # a damaged file makes tifffile raise almost anything
        raise FormatError(f"The target image '{path}' can't be read: {error}. Copy it again.") from error
    raise FormatError(f"The target image '{path}' has the shape {shape}. Expected (height, width), {MAX_PIXELS} pixels at most.")


def read_weights(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the places ``(y, x)`` of the pixels above 0, shape ``(n, 2)``, and their weights (the largest possible is 1).

    Raises
    ------
    FormatError
        If it can't be read, or its pixels are no weights.
    """
    image = read_image(path)
    if image.dtype.kind not in "biuf" or (image.dtype.kind == "f" and not np.all(np.isfinite(image))) or np.any(image < 0):
        raise FormatError(f"The target image '{path}' holds {image.dtype} values that are no weights. Expected 0 to 255.")
    y, x = np.nonzero(image)
    full = 1.0 if image.dtype.kind in "bf" else float(np.iinfo(image.dtype).max)
    return np.column_stack([y, x]), image[y, x].astype(np.float64) / full
