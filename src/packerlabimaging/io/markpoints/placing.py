"""Place the points of a series on the image: fractions of the frame as saved with a scan, or galvo volts of a ``.gpl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.markpoints.resolving import resolve_indices
from packerlabimaging.io.markpoints.values import (
    GalvoExtent,
    GalvoPoint,
    GalvoPointList,
    MarkPoint,
    MarkPointRow,
    SpiralCalibration,
)

_Place = tuple[float, float, float]
"""Depth (um), y and x (fractions of the frame)."""


@dataclass
class PlacedPoints:
    """Targets and groups as they are found.

    Parameters
    ----------
    places
        Depth (um), y and x (fractions of the frame) of each target.
    numbers
        Number of each in its file.
    groups
        Targets that rows light, in the order of their points.
    group_of_row
        Number of each row's group.
    sizes_um
        Spiral diameters.
    findings
        What was noticed.
    """

    places: list[_Place] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    groups: list[tuple[int, ...]] = field(default_factory=list)
    group_of_row: list[int] = field(default_factory=list)
    sizes_um: set[float] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._targets: dict[tuple[int, _Place], int] = {}
        self._groups: dict[tuple[int, ...], int] = {}

    def target(self, number: int, place: _Place) -> int:
        """Return the number of a target, new or seen before."""
        key = (number, place)
        if key not in self._targets:
            self._targets[key] = len(self.places)
            self.places.append(place)
            self.numbers.append(number)
        return self._targets[key]

    def add_group(self, targets: Sequence[int]) -> int:
        """Return the number of a group, new or seen before."""
        group = tuple(targets)
        if group not in self._groups:
            self._groups[group] = len(self.groups)
            self.groups.append(group)
        return self._groups[group]

    def targets_px(self, shape: tuple[int, int]) -> np.ndarray:
        """Return ``(z, y, x)`` with y and x in pixels: ``f W - 0.5``, so that 0 and 1 are the outer edges of the frame."""
        places = np.array(self.places, np.float64).reshape(-1, 3)
        return np.column_stack([places[:, 0], places[:, 1:] * np.array(shape) - 0.5])


def place_points(
    rows: Sequence[MarkPointRow],
    gpl: GalvoPointList | None,
    *,
    extent: GalvoExtent | None,
    calibration: SpiralCalibration | None,
    frame_width_um: float | None,
    where: str,
) -> PlacedPoints:
    """Find targets and groups of all rows.

    Parameters
    ----------
    gpl, extent
        Point list and galvo volts at the image's edges, for rows that only name points.
    calibration
        Turns the volts of spirals into micrometres; without it their size is not known.
    frame_width_um
        Width of the frame, for spirals whose size is given as a fraction of it.

    Raises
    ------
    FormatError
        If a row has no point with a place, or points without one among others that are lit one after another.
    ParameterError
        If rows only name points, and the list or the volts at the edges are not known.
    """
    placed = PlacedPoints()
    by_name = [row for row in rows if not row.points]
    listed = iter(_listed(by_name, gpl, extent, where, placed.findings))
    lost = 0
    for number, row in enumerate(rows, 1):
        if row.points:
            found = [placed.target(point.index, place) for point in row.points if (place := _fraction(point)) is not None]
            lost += len(row.points) - len(found)
            if not found or (len(found) < len(row.points) and not row.all_at_once):
                raise FormatError(
                    f"'{where}', row {number} lights {len(row.points)} points, of which {len(row.points) - len(found)} have no "
                    "finite place. It can't be placed on the image: correct the coordinates in a copy of the file."
                )
            placed.sizes_um |= {size for point in row.points if (size := _diameter(point, frame_width_um)) is not None}
        else:
            assert extent is not None  # _listed asks for it
            members = next(listed)
            volts = np.array([(point.y_v, point.x_v) for point in members])
            places = extent.to_fractions(volts).tolist()
            found = [placed.target(point.index, (point.z_um or 0.0, y, x)) for point, (y, x) in zip(members, places, strict=True)]
            placed.sizes_um |= {size for point in members if (size := galvo_diameter(point, calibration)) is not None}
        placed.group_of_row.append(placed.add_group(found))
    if lost:
        message = f"{lost} points have no finite place and are left out; the light of their rows is kept."
        placed.findings.append(Finding("targets-without-place", message, "error", where))
    return placed


def place_list(gpl: GalvoPointList, extent: GalvoExtent, calibration: SpiralCalibration | None, *, where: str) -> PlacedPoints:
    """Place a point list by itself: its groups, or each point as one where it has none."""
    placed = PlacedPoints()
    places = extent.to_fractions(np.array([(point.y_v, point.x_v) for point in gpl.points]).reshape(-1, 2)).tolist()
    targets = {
        point.index: placed.target(point.index, (point.z_um or 0.0, y, x))
        for point, (y, x) in zip(gpl.points, places, strict=True)
    }
    for group in [group.points for group in gpl.groups if group.points] or [(index,) for index in targets]:
        lost = sorted(set(group) - set(targets))
        if lost:
            raise FormatError(f"'{where}' has a group of the points {lost[:10]}, which the list does not hold.")
        placed.add_group([targets[index] for index in group])
    placed.sizes_um = {size for point in gpl.points if (size := galvo_diameter(point, calibration)) is not None}
    return placed


def galvo_diameter(point: GalvoPoint, calibration: SpiralCalibration | None) -> float | None:
    """Return the diameter of a spiral of a ``.gpl``, micrometres; None where it is none, or its volts are not calibrated."""
    if not point.is_spiral:
        return None
    if point.spiral_size_um is not None:
        return abs(point.spiral_size_um) or None
    if calibration is None or not point.spiral_size_v:
        return None
    return max(0.0, calibration.to_um(abs(point.spiral_size_v))) or None


def _listed(
    rows: Sequence[MarkPointRow], gpl: GalvoPointList | None, extent: GalvoExtent | None, where: str, findings: list[Finding]
) -> list[list[GalvoPoint]]:
    """Return the points of rows that only name them."""
    if not rows:
        return []
    if gpl is None:
        raise ParameterError(
            f"'{where}' only names its points: their places are in the galvo point list that was loaded with it. Give it (gpl=), "
            "and the galvo volts at the edges of the image: galvo_extent_v=((top, bottom), (left, right))."
        )
    if extent is None:
        raise ParameterError(
            f"The points of '{where}' lie at galvo volts, which depend on rig and zoom. Give the volts at the edges of the "
            "image: galvo_extent_v=((top, bottom), (left, right))."
        )
    indices, found = resolve_indices(rows, gpl, where=where)
    findings += found
    points = {point.index: point for point in gpl.points}
    return [[points[index] for index in row] for row in indices]


def _fraction(point: MarkPoint) -> _Place | None:
    if point.x is None or point.y is None:
        return None
    return (point.z_um or 0.0, point.y, point.x)


def _diameter(point: MarkPoint, frame_width_um: float | None) -> float | None:
    """Return a spiral's diameter; ``SpiralWidth`` is a fraction of the frame's width."""
    if not point.is_spiral:
        return None
    if point.spiral_size_um is not None:
        return abs(point.spiral_size_um) or None
    if point.spiral_width is None or frame_width_um is None:
        return None
    return abs(point.spiral_width) * frame_width_um or None
