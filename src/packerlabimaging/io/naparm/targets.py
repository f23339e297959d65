"""The targets of a NAPARM folder: from its ``_Points.mat``, or from the target images where that is missing.

Where both are there the points count, and every difference between them is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.naparm.images import TargetImages, read_weights
from packerlabimaging.io.naparm.mat import column, load_struct

DEFAULT_SHAPE = (512, 512)
"""NAPARM's own field (``fovSize`` in Naparm3.m), where nothing else tells."""


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
    field_shape
        ``(height, width)`` of the field as the points tell it; None where they do not.
    findings
        What was noticed.
    """

    targets_px: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    weights: np.ndarray
    planes: tuple[int, ...] = ()
    field_shape: tuple[int, int] | None = None
    findings: tuple[Finding, ...] = field(default=())


def read_points_mat(path: Path) -> NaparmTargets:
    """Read the targets of a ``_Points.mat``: 1-based pixels, groups counted from 1.

    Raises
    ------
    FormatError
        If it is no such file, or its values make no sense.
    """
    points = load_struct(path, "points")
    x, y, group = (column(points, name, path) for name in ("X", "Y", "Group"))
    count = len(x)
    z, weight, plane = (
        column(points, name, path, count=count, default=value) for name, value in (("Zum", 0.0), ("Weight", 1.0), ("Z", 1.0))
    )
    for name, values in (("Y", y), ("Group", group)):
        if len(values) != count:
            raise FormatError(f"'{path}' holds {count} X but {len(values)} {name}. The file is damaged or not NAPARM's.")
    findings = []
    lit = np.isfinite(group) & (group > 0)
    if not lit.all():
        message = f"{int((~lit).sum())} of {count} points belong to no group; they are not lit and are left out."
        findings.append(Finding("targets-without-group", message, where=str(path)))
    field_shape = _field_shape(points, path, count)
    x, y, z, weight, plane, group = (values[lit] for values in (x, y, z, weight, plane, group))
    if not all(np.all(np.isfinite(values)) and np.all(np.abs(values) < 1e6) for values in (x, y)):
        raise FormatError(f"'{path}' holds a target at NaN or infinity. Every target needs a finite place.")
    numbers = np.unique(group)
    if not np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
        shown = ", ".join(f"{number:g}" for number in numbers[:20])
        raise FormatError(f"'{path}' has the groups {shown}. Expected 1, 2, 3, ... without gaps, as the rows name them.")
    if not len(numbers):
        raise FormatError(f"'{path}' holds no target in any group. Group the points and export again.")
    findings += _depth_findings(z, plane, path)
    weights = np.where(np.isfinite(weight), weight, 1.0)  # as the program does when it makes the masks
    if np.any(weights < 0):
        raise FormatError(f"'{path}' holds a negative weight. Expected weights from 0 to 1.")
    has_planes = "Z" in points and bool(np.all(np.abs(np.nan_to_num(plane)) < 1e6))
    return NaparmTargets(
        np.column_stack([np.where(np.isfinite(z), z, 0.0), y - 1, x - 1]),
        tuple(tuple(np.flatnonzero(group == number).tolist()) for number in numbers),
        weights,
        tuple(np.where(np.isfinite(plane), plane, 1.0).astype(int).tolist()) if has_planes else (),
        field_shape,
        tuple(findings),
    )


def _depth_findings(z: np.ndarray, plane: np.ndarray, path: Path) -> list[Finding]:
    findings = []
    if not np.all(np.isfinite(z)):
        message = f"{int((~np.isfinite(z)).sum())} targets have no finite depth (Zum); they are put at 0."
        findings.append(Finding("depths-unknown", message, "error", str(path)))
    if np.any(np.nan_to_num(z) != 0):
        message = "Depths (Zum) are kept as written; that positive means deeper is assumed."
        findings.append(Finding("z-sign-assumed", message, "info", str(path)))
    elif len(np.unique(plane[np.isfinite(plane)])) > 1:
        message = f"The targets lie in {len(np.unique(plane[np.isfinite(plane)]))} planes, but all have the depth 0."
        advice = "Set the spacing of the planes in NAPARM, or give plane_z_um=."
        findings.append(Finding("depths-unknown", message, "error", str(path), advice))
    return findings


def _field_shape(points: Mapping[str, Any], path: Path, count: int) -> tuple[int, int] | None:
    """Tell the size of the field from the offsets: ``OffsetX = X - GroupCentroidX + width / 2`` (ZOBlockAvoider.m)."""
    sizes = []
    for axis in "YX":
        place, offset, centre = (
            column(points, name, path, count=count, default=np.nan) for name in (axis, f"Offset{axis}", f"GroupCentroid{axis}")
        )
        size = 2 * (offset - place + centre)
        size = size[np.isfinite(size)]
        if not len(size) or np.ptp(size) > 0.5 or not 1 <= round(float(size[0])) < 1 << 15:
            return None
        sizes.append(round(float(size[0])))
    return sizes[0], sizes[1]


def read_target_images(images: TargetImages) -> NaparmTargets:
    """Read the targets from the images of the groups: pixels above 0, weights as written (255 is 1).

    Raises
    ------
    FormatError
        If there are none, a group has none or no pixel, or sizes differ.
    """
    folder = images.folder
    if not images.groups:
        raise FormatError(
            f"'{folder}' has neither a _Points.mat nor target images (Targets/FOVTargets_001_...tif): "
            "its targets are not known. Copy them from the rig."
        )
    if list(images.groups) != list(range(1, len(images.groups) + 1)):
        raise FormatError(
            f"'{folder}' has target images of the groups {list(images.groups)}. Expected 1, 2, 3, ... without gaps."
        )
    places: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    groups: list[tuple[int, ...]] = []
    for number, path in images.groups.items():
        at, weight = read_weights(path)
        if len(at) == 0:
            raise FormatError(f"The target image '{path}' of group {number} is black: it holds no target.")
        first = sum(map(len, weights))
        groups.append(tuple(range(first, first + len(at))))
        places.append(np.column_stack([np.zeros(len(at)), at]))
        weights.append(weight)
        if first + len(at) > 100_000:
            raise FormatError(f"The target images of '{folder}' hold more than 100,000 targets: they are other images.")
    message = "The targets come from the target images, as there is no _Points.mat: targets on one pixel count as one."
    findings = [Finding("targets-from-images", message, where=str(folder), advice="Copy the _Points.mat from the rig.")]
    targets = np.concatenate(places)
    planes, found = _planes_from_images(targets, images)
    return NaparmTargets(targets, tuple(groups), np.concatenate(weights), planes, None, (*findings, *found))


def _planes_from_images(targets: np.ndarray, images: TargetImages) -> tuple[tuple[int, ...], list[Finding]]:
    """Tell each target's plane from the images of the planes."""
    if len(images.planes) < 2:
        return (), []
    planes = np.zeros(len(targets), int)
    several = 0
    for number, path in images.planes.items():
        lit = {tuple(place) for place in read_weights(path)[0].tolist()}
        inside = np.array([(int(y), int(x)) in lit for y, x in targets[:, 1:]])
        several += int(np.sum(inside & (planes > 0)))
        planes[inside & (planes == 0)] = number
    message = f"The targets lie in {len(images.planes)} planes, whose depths only the _Points.mat tells; all are put at 0."
    advice = "Copy the _Points.mat from the rig, or give plane_z_um=."
    findings = [Finding("depths-unknown", message, "error", str(images.folder), advice)]
    if several or np.any(planes == 0):
        nowhere = int(np.sum(planes == 0))
        message = f"{several} targets are in the images of several planes, {nowhere} in none: their planes are not known."
        findings.append(Finding("planes-differ", message, where=str(images.folder)))
        return (), findings
    return tuple(planes.tolist()), findings


def with_depths(targets: NaparmTargets, plane_z_um: Sequence[float], where: str) -> NaparmTargets:
    """Return the targets at depths given for their planes, in the order of the planes' numbers.

    Raises
    ------
    ParameterError
        If the planes are not known, or another number of depths is given.
    """
    numbers = sorted(set(targets.planes))
    depths = np.array([float(depth) for depth in plane_z_um])
    if len(depths) != len(numbers) or not np.all(np.isfinite(depths)):
        raise ParameterError(
            f"plane_z_um = {list(plane_z_um)!r} does not fit: the targets of '{where}' lie in {len(numbers)} planes."
        )
    places = targets.targets_px.copy()
    places[:, 0] = depths[np.searchsorted(numbers, targets.planes)]
    findings = tuple(finding for finding in targets.findings if finding.code not in ("depths-unknown", "z-sign-assumed"))
    return NaparmTargets(places, targets.groups, targets.weights, targets.planes, targets.field_shape, findings)


def drawn_pixels(targets_px: np.ndarray) -> np.ndarray:
    """Return the pixels ``(y, x)`` of targets in the target images; halves are rounded up, as MATLAB does."""
    return np.floor(targets_px[:, 1:] + 0.5).astype(np.int64)


def drawn_values(weights: np.ndarray) -> np.ndarray:
    """Return the pixel values of weights 0..1 in the target images."""
    return np.floor(255 * np.clip(weights, 0, 1) + 0.5).astype(np.uint8)


def compare_with_images(targets: NaparmTargets, images: TargetImages) -> list[Finding]:
    """Compare the points with the target images, which the program makes of them: every difference is told.

    Two targets that are rounded to one pixel are one in the image, a weight below 1/510 is none.
    """
    if not images.groups:
        return []
    findings: list[Finding] = []
    where = str(images.folder / "Targets")
    if len(images.groups) != len(targets.groups):
        message = f"There are target images of {len(images.groups)} groups, but the points are in {len(targets.groups)}."
        advice = "The points count. Check that the files belong together."
        findings.append(Finding("images-differ", message, "error", where, advice))
    pixels = drawn_pixels(targets.targets_px)
    bright = drawn_values(targets.weights) > 0
    merged, different = 0, []
    drawn: set[tuple[int, ...]] = set()
    for number, group in enumerate(targets.groups, 1):
        expected = {tuple(place) for place in pixels[[target for target in group if bright[target]]].tolist()}
        merged += len(group) - len({tuple(place) for place in pixels[list(group)].tolist()})
        drawn |= expected
        if number in images.groups and {tuple(place) for place in read_weights(images.groups[number])[0].tolist()} != expected:
            different.append(number)
    if merged:
        message = f"{merged} targets lie on the pixel of another of their group: they are one in the target images."
        findings.append(Finding("targets-merged", message, "info", where, evidence={"merged": merged}))
    if different:
        message = f"The target images of the groups {different[:20]} show other places than the _Points.mat."
        advice = "The points count. Check that the files belong together."
        findings.append(Finding("images-differ", message, "error", where, advice, {"groups": different[:100]}))
    n_planes = len(set(targets.planes)) or 1
    if images.planes and len(images.planes) != n_planes:
        message = f"There are images of {len(images.planes)} planes, but the points lie in {n_planes}."
        findings.append(Finding("planes-differ", message, where=where))
    for path in images.whole:
        if not different and {tuple(place) for place in read_weights(path)[0].tolist()} != drawn:
            message = f"'{path.name}' shows other targets than the images of the groups; it is not used."
            findings.append(Finding("all-targets-differ", message, "info", where))
    return findings
