"""Targets and ROIs: geometry on non-square fields, one-to-one assignment, targets without a cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis import TargetingSettings, match_targets, target_discs
from packerlabimaging.analysis.target_space import resize_points
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError

SHAPE = (120, 300)
PIXEL = (2.0, 1.0)
CENTERS = np.array([[20.0, 40.0], [60.0, 200.0], [100.0, 90.0], [30.0, 250.0]])


def discs(centers, radius_um=6.0, shape=SHAPE):
    return RoiSet.from_discs(np.asarray(centers, float), (radius_um / PIXEL[0], radius_um / PIXEL[1]), shape)


def zyx(points, z=0.0):
    points = np.asarray(points, float)
    return np.column_stack([np.full(len(points), z), points])


def match(points, rois, *, z=0.0, iscell=None, image_shape_px=None, **options):
    return match_targets(
        zyx(points, z),
        rois,
        pixel_size_um=PIXEL,
        iscell=iscell,
        image_shape_px=image_shape_px,
        settings=TargetingSettings(**options),
    )


def test_a_cell_on_a_target_is_matched_and_its_transposed_mirror_is_not():
    rois = discs([[20.0, 40.0]])
    found = match([[20.0, 40.0]], rois)
    assert found.targets["status"].tolist() == ["matched"]
    assert found.targets["roi"].tolist() == ["roi-0000"]
    assert found.targets["distance_um"].iloc[0] == pytest.approx(0.0, abs=1e-6)
    assert found.rois["population"].tolist() == ["target"]
    mirrored = match([[40.0, 20.0]], rois)
    assert mirrored.targets["status"].tolist() == ["unmatched"]
    assert mirrored.targets["roi"].tolist() == [""]
    assert mirrored.rois["population"].tolist() == ["other"]


def test_distances_use_each_axis_own_pixel_size():
    found = match([[22.0, 43.0]], discs([[20.0, 40.0]]))
    assert found.targets["distance_um"].iloc[0] == pytest.approx(np.hypot(2 * 2.0, 3 * 1.0))


def test_image_of_another_size_is_resized_about_pixel_corners():
    assert np.allclose(resize_points(np.array([[0.0, 0.0], [0.5, 1.5]]), (60, 100), SHAPE), [[0.5, 1.0], [1.5, 5.5]])
    points = (CENTERS + 0.5) * np.array([0.5, 2.0]) - 0.5
    found = match(points, discs(CENTERS), image_shape_px=(60, 600))
    assert (found.targets["status"] == "matched").all()
    assert np.allclose(found.targets[["y_px", "x_px"]], CENTERS)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_assignment_has_the_smallest_total_cost(seed):
    rng = np.random.default_rng(seed)
    targets = rng.uniform([10, 10], [40, 50], (4, 2))
    centers = rng.uniform([10, 10], [40, 50], (4, 2))
    rois = discs(centers)
    found = match(targets, rois, gate_um=25.0)
    distance = np.hypot(*((targets[:, None] - rois.centroids_px[None]) * PIXEL).transpose(2, 0, 1))
    best = np.inf
    for choice in itertools.product(range(-1, 4), repeat=4):
        used = [roi for roi in choice if roi >= 0]
        if len(set(used)) == len(used):
            best = min(best, sum(25.0 if roi < 0 else min(distance[i, roi], 1e6) for i, roi in enumerate(choice)))
    assert found.targets["distance_um"].fillna(25.0).sum() == pytest.approx(best, abs=1e-6)
    used = [roi for roi in found.targets["roi"] if roi]
    assert len(set(used)) == len(used)


def test_a_target_between_two_free_cells_is_ambiguous_and_beside_a_mask_too():
    touching = discs([[20.0, 40.0], [20.0, 52.0]])
    found = match([[20.0, 46.0]], touching)
    assert found.targets["status"].tolist() == ["ambiguous"]
    overlapping = match([[20.0, 41.0]], discs([[20.0, 40.0], [20.0, 46.0]]))
    assert overlapping.targets["status"].tolist() == ["matched"]  # on both masks, but five times nearer to one centre
    beside = match([[20.0, 49.0]], discs([[20.0, 40.0]]), mask_margin_um=2.0)
    assert beside.targets["status"].tolist() == ["ambiguous"]
    assert beside.targets["nearest_pixel_um"].iloc[0] == pytest.approx(3.0)
    assert beside.rois["population"].tolist() == ["exclusion"]


def test_two_targets_on_touching_cells_take_one_each():
    found = match([[20.0, 43.0], [20.0, 49.0]], discs([[20.0, 40.0], [20.0, 52.0]]))
    assert found.targets["roi"].tolist() == ["roi-0000", "roi-0001"]
    assert (found.targets["status"] == "matched").all()


def test_in_dense_tissue_targets_without_a_cell_stay_unmatched():
    rng = np.random.default_rng(0)
    shape, pixel_um = (512, 512), 2.15
    centers = rng.uniform(5, 507, (1000, 2))
    rois = RoiSet.from_discs(centers, 5.0 / pixel_um, shape)
    empty = rng.uniform(5, 507, (400, 2))
    nearest = np.hypot(*((empty[:, None] - centers[None]) * pixel_um).transpose(2, 0, 1)).min(axis=1)
    empty, nearest = empty[nearest > 7.0][:100], nearest[nearest > 7.0][:100]  # no cell under the light
    on_cells = centers[:100] + rng.normal(0, 0.5, (100, 2))
    found = match_targets(zyx(np.concatenate([empty, on_cells])), rois, pixel_size_um=(pixel_um, pixel_um))
    without, with_cell = found.targets["status"][:100], found.targets["status"][100:]
    assert found.chance_within_gate == pytest.approx(0.228, abs=0.002)  # SCIENCE: 22 % at this density
    assert np.sum(nearest < 10) >= 8  # a rule by centroid distance alone would match these
    assert (without == "matched").sum() <= 1
    assert (with_cell != "unmatched").mean() > 0.98
    assert np.mean(found.targets["roi"][100:].to_numpy() == np.array(rois.ids)[:100]) > 0.9  # discs overlap at random


def test_repeated_targets_are_one_place_in_several_groups():
    protocol = PhotostimProtocol(
        targets_px=zyx([CENTERS[0], CENTERS[1], CENTERS[0]]),
        image_shape_px=SHAPE,
        groups=((0, 1), (2,)),
        rows=(PhotostimRow(group=0, n_shots=1, shot_duration_s=0.02), PhotostimRow(group=1, n_shots=1, shot_duration_s=0.02)),
    )
    found = match_targets(protocol, discs(CENTERS), pixel_size_um=PIXEL)
    assert found.targets["roi"].tolist() == ["roi-0000", "roi-0001", "roi-0000"]
    assert found.targets["same_as"].tolist() == ["target-000", "target-001", "target-000"]
    assert found.targets["groups"].tolist() == ["0,1", "0", "0,1"]
    assert found.rois["population"].tolist() == ["target", "target", "other", "other"]
    assert found.rois["target"].tolist() == ["target-000", "target-001", "", ""]


def test_a_global_offset_is_reported_and_applied_on_request():
    rng = np.random.default_rng(1)
    centers = rng.uniform([10, 20], [110, 280], (40, 2))
    targets = centers[:20] - np.array([4.0, -6.0])  # 8 um in y, -6 um in x
    found = match(targets, discs(centers))
    assert found.offset_um == pytest.approx((8.0, -6.0), abs=0.6)
    assert found.n_offset >= 18
    assert found.findings[0].code == "target-offset"
    shifted = match(targets, discs(centers), apply_offset=True)
    assert (shifted.targets["roi"].to_numpy() == [f"roi-{i:04d}" for i in range(20)]).mean() > 0.9
    assert match(centers[:20], discs(centers)).findings == ()


def test_populations_by_distance_and_iscell():
    rois = discs([[20.0, 40.0], [20.0, 53.0], [20.0, 90.0]])
    found = match([[20.0, 40.0]], rois, exclusion_um=15.0)
    assert found.rois["population"].tolist() == ["target", "exclusion", "other"]
    assert found.rois["nearest_target_um"].tolist() == pytest.approx([0.0, 13.0, 50.0], abs=1e-6)
    without = match([[20.0, 40.0]], rois, iscell=np.array([False, True, True]))
    assert without.targets["status"].tolist() == ["unmatched"]


def test_a_target_in_another_depth_has_no_cell_here():
    found = match([[20.0, 40.0]], discs([[20.0, 40.0]]), z=40.0)
    assert found.targets["status"].tolist() == ["unmatched"]
    assert found.rois["population"].tolist() == ["other"]
    assert found.targets["in_plane"].tolist() == [False]
    assert [(finding.code, finding.severity) for finding in found.findings] == [("targets-in-other-planes", "warning")]


def test_no_rois_and_no_targets():
    none = RoiSet(SHAPE, np.array([0]), np.zeros(0), np.zeros(0), np.zeros(0))
    assert match([[20.0, 40.0]], none).targets["status"].tolist() == ["unmatched"]
    assert len(match(np.zeros((0, 2)), discs(CENTERS)).targets) == 0


def test_discs_of_light_lie_where_the_targets_are():
    protocol = PhotostimProtocol(
        targets_px=zyx([[10.0, 20.0]]), image_shape_px=(60, 150), groups=((0,),), rows=(), spiral_diameter_um=12.0
    )
    rois = target_discs(protocol, frame_shape_px=SHAPE, pixel_size_um=PIXEL)
    assert rois.ids == ("target-000",)
    assert np.allclose(rois.centroids_px, [[20.5, 40.5]], atol=0.5)
    assert rois.n_pixels[0] == pytest.approx(np.pi * 3 * 6, rel=0.15)


def test_targets_beyond_a_cropped_field_have_no_disc():
    told = Finding("targets-outside-field", "1 of 2 targets lie outside the imaged part of the field.")
    protocol = PhotostimProtocol(
        targets_px=zyx([[200.0, 10.0], [40.0, 20.0]]), image_shape_px=SHAPE, groups=(), rows=(), findings=(told,)
    )
    assert target_discs(protocol, frame_shape_px=SHAPE, pixel_size_um=PIXEL).ids == ("target-001",)


def test_tells_what_is_wrong():
    protocol = PhotostimProtocol(targets_px=zyx([[40.0, 20.0], [200.0, 10.0]]), image_shape_px=SHAPE, groups=(), rows=())
    with pytest.raises(ParameterError, match="'target-001' lies outside the 120 x 300 px frame"):
        target_discs(protocol, frame_shape_px=SHAPE, pixel_size_um=PIXEL)
    with pytest.raises(ParameterError, match="pixel size is unknown"):
        match_targets(zyx([[1.0, 1.0]]), discs(CENTERS), pixel_size_um=None)
    with pytest.raises(ParameterError, match="z, y, x"):
        match_targets(np.ones((3, 2)), discs(CENTERS), pixel_size_um=PIXEL)
    with pytest.raises(ParameterError, match="gate_um"):
        TargetingSettings(gate_um=-1)
