"""The targets of a NAPARM folder: from its ``_Points.mat``, or from the target images where that is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError

GROUP_IMAGE = re.compile(r"FOVTargets_(\d{3,})_.*\.tiff?", re.IGNORECASE)
"""One image per group; ``AllFOVTargets`` and ``SLMTargets`` are others. Numbers pass 009."""

PLANE_IMAGE = re.compile(r"AllFOVTargets_Plane(\d+)_.*\.tiff?", re.IGNORECASE)

MAX_MAT_BYTES = 64 << 20
"""A points file is some kilobytes; a larger one is not believed."""


@dataclass(frozen=True)
class NaparmTargets:
    """Targets as the protocol needs them.

    Parameters
    ----------
    targets_px
        ``(z, y, x)``, shape ``(n_targets, 3)``: z in micrometres, y and x 0-based pixels.
    groups
        Target numbers of each group.
    weights
        Relative power of each target.
    planes
        Number of the plane that each target was chosen in (1-based, as written); empty where unknown.
    findings
        What was noticed.
    """

    targets_px: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    weights: np.ndarray
    planes: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = field(default=())


def read_points_mat(path: Path) -> NaparmTargets:
    """Read the targets of a ``_Points.mat``: 1-based pixels, groups counted from 1.

    Raises
    ------
    FormatError
        If it is no such file, or its values make no sense.
    """
    points = _load_points(path)
    x, y, group = (_column(points, name, path) for name in ("X", "Y", "Group"))
    count = len(x)
    z, weight, plane = (
        _column(points, name, path, count=count, default=value) for name, value in (("Zum", 0.0), ("Weight", 1.0), ("Z", 1.0))
    )
    for name, values in (("Y", y), ("Group", group)):
        if len(values) != count:
            raise FormatError(f"'{path}' holds {count} X but {len(values)} {name}. The file is damaged or not NAPARM's.")
    findings = []
    lit = np.isfinite(group) & (group > 0)
    if not lit.all():
        message = f"{int((~lit).sum())} of {count} points belong to no group; they are not lit and are left out."
        findings.append(Finding("targets-without-group", message, where=str(path)))
    x, y, z, weight, plane, group = (values[lit] for values in (x, y, z, weight, plane, group))
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise FormatError(f"'{path}' holds a target at NaN or infinity. Every target needs a finite place.")
    numbers = np.unique(group)
    if not np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
        shown = ", ".join(f"{number:g}" for number in numbers[:20])
        raise FormatError(f"'{path}' has the groups {shown}. Expected 1, 2, 3, ... without gaps, as the rows name them.")
    if np.any(np.nan_to_num(z) != 0):
        message = "Depths (Zum) are kept as written; that positive means deeper is assumed."
        findings.append(Finding("z-sign-assumed", message, "info", str(path)))
    weights = np.where(np.isfinite(weight), weight, 1.0)  # as the program does when it makes the masks
    if np.any(weights < 0):
        raise FormatError(f"'{path}' holds a negative weight. Expected weights from 0 to 1.")
    return NaparmTargets(
        np.column_stack([np.nan_to_num(z), y - 1, x - 1]),
        tuple(tuple(np.flatnonzero(group == number).tolist()) for number in numbers),
        weights,
        tuple(np.nan_to_num(plane, nan=1.0).astype(int).tolist()) if "Z" in points.dtype.names else (),
        tuple(findings),
    )


def _load_points(path: Path) -> Any:
    from scipy.io import loadmat

    if path.stat().st_size > MAX_MAT_BYTES:
        raise FormatError(f"'{path}' is {path.stat().st_size >> 20} MB large. Expected a points file of some kilobytes.")
    try:
        found = loadmat(path, variable_names=["points"])
        points = found["points"][0, 0]
        if points.dtype.names is None:
            raise TypeError("points is not a struct")
    except NotImplementedError as error:
        raise FormatError(
            f"'{path}' was saved in MATLAB's 7.3 format, which is not read here. In MATLAB: load it, then save(..., '-v7')."
        ) from error
    except Exception as error:  # a damaged file makes scipy raise almost anything
        raise FormatError(f"'{path}' is not a NAPARM points file (a struct 'points'): {type(error).__name__}: {error}") from error
    return points


def _column(points: Any, name: str, path: Path, *, count: int | None = None, default: float | None = None) -> np.ndarray:
    """Take one field as floats; ``default`` for all ``count`` points where it is absent or empty."""
    values = np.asarray(points[name]).ravel() if name in points.dtype.names else np.zeros(0)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise FormatError(f"'{path}': points.{name} does not hold numbers. The file is damaged or not NAPARM's.") from None
    if count is None or default is None:
        if name not in points.dtype.names:
            raise FormatError(f"'{path}' has no field points.{name}. It is not NAPARM's, or of an unknown version.")
        return numbers
    if len(numbers) == 0:
        return np.full(count, default)
    if len(numbers) != count:
        raise FormatError(f"'{path}' holds {count} X but {len(numbers)} {name}. The file is damaged or not NAPARM's.")
    return numbers


def group_images(folder: Path) -> dict[int, Path]:
    """Find the target image of each group, by its number (1-based)."""
    found: dict[int, Path] = {}
    for path in sorted((folder / "Targets").glob("*.tif*")):
        match = GROUP_IMAGE.fullmatch(path.name)
        if match:
            number = int(match.group(1))
            if number in found:
                raise FormatError(f"Group {number} has two target images, '{found[number].name}' and '{path.name}'. Remove one.")
            found[number] = path
    return dict(sorted(found.items()))


def n_plane_images(folder: Path) -> int:
    """Count the planes that have a target image of their own."""
    return sum(PLANE_IMAGE.fullmatch(path.name) is not None for path in (folder / "Targets").glob("*.tif*"))


def read_image(path: Path) -> np.ndarray:
    """Read a target image, ``(y, x)``."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            image = np.asarray(file.pages[0].asarray())
    except Exception as error:  # a damaged file makes tifffile raise almost anything
        raise FormatError(f"The target image '{path}' can't be read: {error}. Copy it again.") from error
    if image.ndim != 2:
        raise FormatError(f"The target image '{path}' has the shape {image.shape}. Expected (height, width).")
    return image


def image_shape(folder: Path) -> tuple[int, int] | None:
    """Tell the size of the image that the targets were chosen on; None where there are no target images."""
    paths = list(group_images(folder).values())
    if not paths:
        return None
    height, width = read_image(paths[0]).shape
    return height, width


def read_target_images(folder: Path) -> NaparmTargets:
    """Read the targets from the images of the groups: pixels above 0, weights as written (255 is 1).

    Raises
    ------
    FormatError
        If there are none, a group has none or no pixel, or sizes differ.
    """
    paths = group_images(folder)
    if not paths:
        raise FormatError(
            f"'{folder}' has neither a _Points.mat nor target images (Targets/FOVTargets_001_...tif): "
            "its targets are not known. Copy them from the rig."
        )
    if list(paths) != list(range(1, len(paths) + 1)):
        raise FormatError(f"'{folder}' has target images of the groups {list(paths)}. Expected 1, 2, 3, ... without gaps.")
    places: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    groups: list[tuple[int, ...]] = []
    shape = None
    for number, path in paths.items():
        image = read_image(path)
        if shape not in (None, image.shape):
            raise FormatError(f"The target image '{path}' is {image.shape}, the others {shape}. They must be of one size.")
        shape = image.shape
        y, x = np.nonzero(image)
        if len(y) == 0:
            raise FormatError(f"The target image '{path}' of group {number} is black: it holds no target.")
        first = sum(map(len, weights))
        groups.append(tuple(range(first, first + len(y))))
        places.append(np.column_stack([np.zeros(len(y)), y, x]))
        weights.append(image[y, x] / (255.0 if image.dtype == np.uint8 else float(np.iinfo(image.dtype).max)))
    message = "The targets come from the target images, as there is no _Points.mat: targets on one pixel count as one."
    findings = [Finding("targets-from-images", message, where=str(folder), advice="Copy the _Points.mat from the rig.")]
    if n_plane_images(folder) > 1:
        message = (
            f"The targets lie in {n_plane_images(folder)} planes, whose depths only the _Points.mat tells; all are put at 0."
        )
        findings.append(Finding("depths-unknown", message, "error", str(folder), "Copy the _Points.mat from the rig."))
    return NaparmTargets(np.concatenate(places), tuple(groups), np.concatenate(weights), (), tuple(findings))
