"""Which ROI is which photostimulation target.

Positions are compared in micrometres, after the target image has been resized to the movie. The assignment is one-to-one
and of the smallest total centroid distance; whether an assigned ROI then counts as the target's cell is a second question,
answered by its mask: in dense tissue a target without a cell often has another cell's centre within reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging._check import check_length, check_positive
from packerlabimaging.analysis.target_space import (
    RoiGeometry,
    candidates,
    depths_of_rois,
    estimate_offset,
    pixel_scale,
    resize_points,
)
from packerlabimaging.core.findings import Finding, Severity
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class TargetingSettings:
    """How targets are matched; the section ``[trial.targeting]`` of the experiment file.

    Parameters
    ----------
    gate_um
        Largest distance from a target to the centroid of its ROI; leaving a target unmatched costs as much. 10 by default.
    axial_gate_um
        Largest difference in depth between a target and the plane of its ROI; 15 by default, about one soma.
    exclusion_um
        ROIs with their centroid this near to a target, that are not its cell, form the exclusion zone; 15 by default.
    mask_margin_um
        A target this far outside an ROI's mask still counts as on it, because masks are imperfect and light has a size; at
        least half the diagonal of a pixel. 2 by default.
    apply_offset
        Shift the targets by the estimated global offset before matching. It is estimated and reported either way.

    Raises
    ------
    ParameterError
        If a distance is not positive.
    """

    gate_um: float = 10.0
    axial_gate_um: float = 15.0
    exclusion_um: float = 15.0
    mask_margin_um: float = 2.0
    apply_offset: bool = False

    def __post_init__(self) -> None:
        for name in ("gate_um", "axial_gate_um", "exclusion_um"):
            check_positive(name, getattr(self, name))
        check_positive("mask_margin_um", self.mask_margin_um, zero=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetMatch:
    """Outcome of :func:`match_targets`.

    Parameters
    ----------
    targets
        One row per target, in the given order; index: target ids. ``y_px``, ``x_px`` (pixels of the movie), ``z_um``,
        ``in_plane`` (within ``axial_gate_um`` of an imaged plane), ``groups`` (group numbers, comma-separated), ``same_as`` (id
        of the first target at the same place: its own unless it is a repeat), ``status``, ``roi`` (id, empty if unmatched),
        ``distance_um`` (to the ROI's centroid) and ``nearest_pixel_um`` (to its nearest mask pixel); the last two are NaN where
        there is no ROI.
    rois
        One row per ROI; index: ROI ids. ``population`` (``"target"``, ``"exclusion"``, ``"other"``), ``target`` (id, empty),
        ``nearest_target_um`` (from the centroid).
    offset_um
        Estimated global shift ``(y, x)`` from targets to ROIs; (0, 0) where too few agree.
    n_offset
        Targets that it was estimated from.
    density_per_mm2
        ROIs that may be matched, per square millimetre of the field of view.
    chance_within_gate
        Share of targets without a cell that have some ROI's centroid within the gate by chance, at this density.
    settings
        What it was made with; ``settings.apply_offset`` says whether the targets were shifted.
    findings
        What was noticed.
    """

    targets: pd.DataFrame
    rois: pd.DataFrame
    offset_um: tuple[float, float]
    n_offset: int
    density_per_mm2: float
    chance_within_gate: float
    settings: TargetingSettings
    findings: tuple[Finding, ...] = ()

    def __repr__(self) -> str:
        counts = self.targets["status"].value_counts()
        told = ", ".join(f"{counts.get(status, 0)} {status}" for status in ("matched", "ambiguous", "unmatched"))
        return f"TargetMatch({len(self.targets)} targets: {told}; offset {self.offset_um[0]:.1f}, {self.offset_um[1]:.1f} um)"


def match_targets(
    targets: PhotostimProtocol | np.ndarray,
    rois: RoiSet,
    *,
    pixel_size_um: tuple[float, float] | None,
    image_shape_px: tuple[int, int] | None = None,
    iscell: np.ndarray | None = None,
    plane_z_um: tuple[float, ...] = (0.0,),
    settings: TargetingSettings | None = None,
) -> TargetMatch:
    """Find the ROI of each photostimulation target.

    Parameters
    ----------
    targets
        The protocol; or positions ``(z, y, x)``, shape ``(n_targets, 3)``, z in micrometres, y and x in pixels of an image
        of ``image_shape_px``.
    rois
        The ROIs, in pixels of the movie.
    pixel_size_um
        ``(y, x)`` size of the movie's pixels.
    image_shape_px
        Size of the image that positions refer to, where it is not the movie's and ``targets`` is no protocol. Both show the
        same field of view; y and x are resized each by its own factor, ``(x + 0.5) s - 0.5``.
    iscell
        ROIs that may be matched, boolean ``(n_rois,)``; all by default. Pass the classifier's verdict to keep debris out.
    plane_z_um
        Depth of each plane, on the scale of the targets' z.
    settings
        Distances; the defaults of :class:`TargetingSettings`.

    Returns
    -------
    TargetMatch
        ``status`` of a target: ``"matched"``, an ROI was assigned, the target lies on its mask, and no other free ROI fits
        as well; ``"ambiguous"``, an ROI is within the gate, but the target lies beside its mask, or also on that of another
        free ROI whose centroid is about as near (to ``mask_margin_um``); ``"unmatched"``, none is. Only the ROI of a
        target on its mask has the population ``"target"``.

    Raises
    ------
    ParameterError
        If shapes don't fit, or a size is not positive.

    Notes
    -----
    Targets at one place (a cell in several groups) are matched once. The assignment minimises the sum of centroid
    distances, an unmatched target costing ``gate_um`` (Hungarian method), so that neighbouring targets can't take the
    same ROI, nor each other's. That a target lies on a mask is asked for because a centroid within the gate is no
    evidence in dense tissue: ``chance_within_gate`` says how often it happens without a cell.
    """
    settings = settings or TargetingSettings()
    scale = pixel_scale(pixel_size_um)
    positions, ids, groups = _unpack(targets)
    shape = targets.image_shape_px if isinstance(targets, PhotostimProtocol) else image_shape_px
    positions[:, 1:] = resize_points(positions[:, 1:], shape or rois.frame_shape_px, rois.frame_shape_px)
    usable = np.ones(len(rois), bool) if iscell is None else np.asarray(iscell, bool)
    check_length("iscell", usable, len(rois), per="ROI")
    geometry = RoiGeometry(rois, scale, depths_of_rois(rois, plane_z_um), np.flatnonzero(usable))
    _, first, place = np.unique(np.round(positions, 3), axis=0, return_index=True, return_inverse=True)
    same_as = first[place.ravel()]
    distinct = np.unique(first)
    points = positions[distinct] * np.array([1.0, *scale])
    offset, n_offset = estimate_offset(points, geometry, settings.axial_gate_um)
    if settings.apply_offset:
        points[:, 1:] += offset
        positions[:, 1:] += np.array(offset) / scale
    matched = _match(points, geometry, settings)
    rows = np.searchsorted(distinct, same_as)
    density = len(geometry.usable) / (float(np.prod(np.array(rois.frame_shape_px) * scale)) * 1e-6)
    in_plane = np.abs(positions[:, :1] - np.array(plane_z_um)).min(axis=1) <= settings.axial_gate_um
    return TargetMatch(
        targets=_target_frame(positions, ids, in_plane, groups, same_as, [matched[row] for row in rows], rois),
        rois=_roi_frame(points, [ids[index] for index in distinct], matched, geometry, settings),
        offset_um=offset,
        n_offset=n_offset,
        settings=settings,
        density_per_mm2=density,
        chance_within_gate=float(1 - np.exp(-density * 1e-6 * np.pi * settings.gate_um**2)),
        findings=_offset_findings(offset, n_offset, len(points), settings)
        + _plane_findings(positions[:, 0], in_plane, plane_z_um),
    )


@dataclass(frozen=True)
class _Matched:
    """One target's outcome; ``roi`` is -1 where there is none."""

    status: str = "unmatched"
    roi: int = -1
    distance_um: float = np.nan
    nearest_pixel_um: float = np.nan
    on_mask: bool = False


def _unpack(targets: PhotostimProtocol | np.ndarray) -> tuple[np.ndarray, list[str], list[tuple[int, ...]]]:
    if isinstance(targets, PhotostimProtocol):
        return targets.targets_px.copy(), list(targets.target_ids), list(targets.group_of_target)
    positions = np.array(targets, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3 or not np.all(np.isfinite(positions)):
        raise ParameterError(f"targets has the shape {positions.shape}. Expected finite positions (n_targets, 3): z, y, x.")
    return positions, [f"target-{index:03d}" for index in range(len(positions))], [()] * len(positions)


def _match(points: np.ndarray, geometry: RoiGeometry, settings: TargetingSettings) -> list[_Matched]:
    assigned = _assign(points, geometry, settings)
    margin = max(settings.mask_margin_um, 0.5 * float(np.hypot(*geometry.scale)))
    taken = {roi for roi in assigned if roi >= 0}
    near = candidates(points, geometry, settings.gate_um, settings.axial_gate_um)
    outcome = []
    for point, roi, others in zip(points, assigned, near, strict=True):
        if roi < 0:
            outcome.append(_Matched())
            continue
        pixel_um = geometry.nearest_pixel_um(roi, point[1:])
        on_mask = pixel_um <= margin
        near_um = geometry.distance_um(roi, point[1:]) + margin
        rivals = [
            other
            for other in others
            if other not in taken
            and geometry.distance_um(other, point[1:]) <= near_um
            and geometry.nearest_pixel_um(other, point[1:]) <= margin
        ]
        outcome.append(
            _Matched(
                "matched" if on_mask and not rivals else "ambiguous",
                roi,
                geometry.distance_um(roi, point[1:]),
                pixel_um,
                on_mask,
            )
        )
    return outcome


def _assign(points: np.ndarray, geometry: RoiGeometry, settings: TargetingSettings) -> list[int]:
    """One-to-one assignment of the smallest total centroid distance; -1 where staying unmatched is cheaper."""
    from scipy.optimize import linear_sum_assignment

    near = candidates(points, geometry, settings.gate_um, settings.axial_gate_um)
    columns = np.unique(np.concatenate([np.zeros(0, np.int64), *near]))
    n, m = len(points), len(columns)
    cost = np.full((n, m + n), 1e6 * settings.gate_um)
    cost[np.arange(n), m + np.arange(n)] = settings.gate_um
    for target, reach in enumerate(near):
        distance = np.hypot(*(geometry.centroids_um[reach] - points[target, 1:]).T)
        cost[target, np.searchsorted(columns, reach)] = distance
    chosen = linear_sum_assignment(cost)[1] if n else np.zeros(0, np.int64)
    return [int(columns[column]) if column < m else -1 for column in chosen]


def _target_frame(
    positions: np.ndarray,
    ids: list[str],
    in_plane: np.ndarray,
    groups: list[tuple[int, ...]],
    same_as: np.ndarray,
    matched: list[_Matched],
    rois: RoiSet,
) -> pd.DataFrame:
    import pandas as pd

    of_place: dict[int, set[int]] = {}
    for target, place in enumerate(same_as.tolist()):
        of_place.setdefault(place, set()).update(groups[target])
    return pd.DataFrame(
        {
            "y_px": positions[:, 1],
            "x_px": positions[:, 2],
            "z_um": positions[:, 0],
            "in_plane": in_plane,
            "groups": [",".join(map(str, sorted(of_place[place]))) for place in same_as.tolist()],
            "same_as": [ids[place] for place in same_as.tolist()],
            "status": [each.status for each in matched],
            "roi": [rois.ids[each.roi] if each.roi >= 0 else "" for each in matched],
            "distance_um": np.array([each.distance_um for each in matched], np.float64),
            "nearest_pixel_um": np.array([each.nearest_pixel_um for each in matched], np.float64),
        },
        index=pd.Index(ids, dtype=object, name="target"),
    )


def _roi_frame(
    points: np.ndarray, ids: list[str], matched: list[_Matched], geometry: RoiGeometry, settings: TargetingSettings
) -> pd.DataFrame:
    import pandas as pd

    centers, n_rois = geometry.centroids_um, len(geometry.rois)
    lateral = np.full((n_rois, max(1, len(points))), np.inf)
    if len(points):
        lateral = np.hypot(*(centers[:, None, :] - points[None, :, 1:]).transpose(2, 0, 1))
        lateral[np.abs(geometry.depths_um[:, None] - points[None, :, 0]) > settings.axial_gate_um] = np.inf
    nearest = lateral.min(axis=1)
    population = np.where(nearest <= settings.exclusion_um, "exclusion", "other").astype(object)
    target = np.full(n_rois, "", dtype=object)
    for name, each in zip(ids, matched, strict=True):
        if each.on_mask:
            population[each.roi], target[each.roi] = "target", name
    return pd.DataFrame(
        {"population": population, "target": target, "nearest_target_um": np.where(np.isfinite(nearest), nearest, np.nan)},
        index=pd.Index(geometry.rois.ids, dtype=object, name="roi"),
    )


def _offset_findings(
    offset: tuple[float, float], n_offset: int, n_targets: int, settings: TargetingSettings
) -> tuple[Finding, ...]:
    size = float(np.hypot(*offset))
    if size <= settings.mask_margin_um:
        return ()
    message = (
        f"{n_offset} of {n_targets} targets agree that target image and movie are shifted against each other by {size:.1f} um "
        f"(y {offset[0]:+.1f}, x {offset[1]:+.1f})."
    )
    advice = "" if settings.apply_offset else "Look at targets and ROIs together; set apply_offset to match them shifted."
    severity: Severity = "info" if settings.apply_offset else "warning"
    return (Finding("target-offset", message, severity, advice=advice, evidence={"y_um": offset[0], "x_um": offset[1]}),)


def _plane_findings(depths_um: np.ndarray, in_plane: np.ndarray, plane_z_um: tuple[float, ...]) -> tuple[Finding, ...]:
    if in_plane.all():
        return ()
    away, imaged = np.unique(depths_um[~in_plane]).tolist(), sorted(set(plane_z_um))
    elsewhere, here = (", ".join(f"{z:g}" for z in depths[:9]) for depths in (away, imaged))
    told = f"{np.count_nonzero(~in_plane)} of {len(in_plane)} targets"
    message = f"{told} lie in other planes (z {elsewhere} um) than the imaged ({here} um)."
    advice = "They are unmatched and have no trace. Where the imaged plane lies deeper or higher, say so: [trial.plane] z_um."
    severity: Severity = "info" if in_plane.any() else "warning"
    return (Finding("targets-in-other-planes", message, severity, advice=advice, evidence={"z_um": away, "imaged_um": imaged}),)
