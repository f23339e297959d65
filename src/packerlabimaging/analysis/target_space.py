"""Targets and ROIs in one space: resizing, discs of light, distances in micrometres, the shift between two images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError

OFFSET_SEARCH_UM = 30.0
"""Largest global shift between target image and movie that is looked for."""

OFFSET_AGREEMENT_UM = 3.0
"""Pairs of target and ROI whose shifts agree this well vote for one global shift."""

OFFSET_MIN_SHARE = 0.25
"""A global shift is estimated only where at least this share of the targets (and three) agree on it."""


DEFAULT_DIAMETER_UM = 10.0
"""Light on a target where the protocol does not tell: the lab's usual spiral."""


def resize_points(points_px: np.ndarray, from_shape_px: tuple[int, int], to_shape_px: tuple[int, int]) -> np.ndarray:
    """Convert ``(y, x)`` positions in one image to those in an image of another size that shows the same field.

    Pixel centres are integers, so that ``(x + 0.5) * s - 0.5``; y and x each have their own factor.
    """
    factors = np.array(to_shape_px, np.float64) / np.array(from_shape_px, np.float64)
    return (np.asarray(points_px, np.float64) + 0.5) * factors - 0.5


def target_discs(
    protocol: PhotostimProtocol,
    *,
    frame_shape_px: tuple[int, int],
    pixel_size_um: tuple[float, float] | None,
    diameter_um: float | None = None,
) -> RoiSet:
    """Return the disc of light on each target as ROIs of the movie, named after the targets.

    Targets that the protocol itself tells to lie outside the imaged part of the field have none.

    Parameters
    ----------
    protocol
        The protocol.
    frame_shape_px, pixel_size_um
        ``(height, width)`` of the movie's frames and ``(y, x)`` size of its pixels.
    diameter_um
        Diameter of the discs; by default the protocol's spirals, or 10 um where it does not know them.

    Raises
    ------
    ParameterError
        If a target lies outside the frame without the protocol saying so, or the pixel size is unknown.
    """
    scale = pixel_scale(pixel_size_um)
    diameter = check_positive("diameter_um", diameter_um or protocol.spiral_diameter_um or DEFAULT_DIAMETER_UM)
    centers = resize_points(protocol.targets_px[:, 1:], protocol.image_shape_px, frame_shape_px)
    inside = np.all((centers >= -0.5) & (centers <= np.array(frame_shape_px) - 0.5), axis=1)
    outside = np.flatnonzero(~inside)
    if len(outside) and all(finding.code != "targets-outside-field" for finding in protocol.findings):
        raise ParameterError(
            f"Target '{protocol.target_ids[outside[0]]}' lies outside the {frame_shape_px[0]} x {frame_shape_px[1]} px frame, at "
            f"y {centers[outside[0], 0]:.1f}, x {centers[outside[0], 1]:.1f} px ({len(outside)} such targets). Check that the "
            "protocol belongs to this movie, and that x and y are not swapped; of a part of the field, give the reader sub_field."
        )
    radius_y, radius_x = np.maximum(0.5 * diameter / scale, 0.71)  # at least the pixel that holds the centre
    ids = [protocol.target_ids[target] for target in np.flatnonzero(inside)]
    return RoiSet.from_discs(centers[inside], (float(radius_y), float(radius_x)), frame_shape_px, ids=ids)


def pixel_scale(pixel_size_um: tuple[float, float] | None) -> np.ndarray:
    """Return the pixel size (y, x) in um as an array; it must be known and positive."""
    if pixel_size_um is None:
        raise ParameterError(
            "The pixel size is unknown, so that distances in um can't be told. Give pixel_size_um = (y, x), of "
            "a trial in its metadata: [trial.metadata] pixel_size_um = [y, x]."
        )
    return np.array([check_positive("pixel_size_um", size) for size in pixel_size_um])


@dataclass(frozen=True, eq=False)
class RoiGeometry:
    """ROIs in micrometres: ``scale`` (y, x) of a pixel, depth of each, and the numbers of those that may be matched."""

    rois: RoiSet
    scale: np.ndarray
    depths_um: np.ndarray
    usable: np.ndarray

    @cached_property
    def centroids_um(self) -> np.ndarray:
        """Centroid ``(y, x)`` of each ROI, shape ``(n_rois, 2)``."""
        return self.rois.centroids_px * self.scale

    def distance_um(self, roi: int, point_um: np.ndarray) -> float:
        """Distance of a point ``(y, x)`` from the centroid of one ROI."""
        return float(np.hypot(*(self.centroids_um[roi] - point_um)))

    def nearest_pixel_um(self, roi: int, point_um: np.ndarray) -> float:
        """Distance of a point ``(y, x)`` from the nearest pixel of one ROI's mask."""
        y, x, _ = self.rois.pixels(roi)
        return float(np.hypot(y * self.scale[0] - point_um[0], x * self.scale[1] - point_um[1]).min())


def depths_of_rois(rois: RoiSet, plane_z_um: tuple[float, ...]) -> np.ndarray:
    """Return the depth of each ROI from that of its plane, shape ``(n_rois,)``, um."""
    planes = rois.planes
    assert planes is not None
    if len(planes) and planes.max() >= len(plane_z_um):
        raise ParameterError(f"ROIs lie in plane {planes.max()}, but plane_z_um gives the depth of {len(plane_z_um)} planes.")
    return np.asarray(plane_z_um, np.float64)[planes]


def candidates(points: np.ndarray, geometry: RoiGeometry, radius_um: float, axial_um: float) -> list[np.ndarray]:
    """For each target, the usable ROIs with their centroid within reach."""
    from scipy.spatial import cKDTree

    if len(geometry.usable) == 0:
        return [np.zeros(0, np.int64)] * len(points)
    near = cKDTree(geometry.centroids_um[geometry.usable]).query_ball_point(points[:, 1:], radius_um)
    found = (geometry.usable[np.array(sorted(each), np.int64)] for each in near)
    return [each[np.abs(geometry.depths_um[each] - point[0]) <= axial_um] for each, point in zip(found, points, strict=True)]


def estimate_offset(points: np.ndarray, geometry: RoiGeometry, axial_um: float) -> tuple[tuple[float, float], int]:
    """Find the shift (y, x) that brings most targets onto a centroid, by a vote of all pairs; and how many agree."""
    from scipy.spatial import cKDTree

    near = candidates(points, geometry, OFFSET_SEARCH_UM, axial_um)
    target = np.repeat(np.arange(len(points)), [len(each) for each in near])
    if len(target) == 0:
        return (0.0, 0.0), 0
    shifts = geometry.centroids_um[np.concatenate(near)] - points[target, 1:]
    voters = cKDTree(shifts).query_ball_point(shifts, OFFSET_AGREEMENT_UM)
    votes = np.array([len(np.unique(target[each])) for each in voters])
    best = max(range(len(votes)), key=lambda pair: (votes[pair], -np.hypot(*shifts[pair])))
    if votes[best] < max(3, OFFSET_MIN_SHARE * len(points)):
        return (0.0, 0.0), 0
    y, x = np.median(shifts[voters[best]], axis=0)
    return (float(y), float(x)), int(votes[best])
