from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate import SimulationParameters
from packerlabimaging.simulate.movie import SimulatedRecording
from packerlabimaging.simulate.scene import AUTOFLUORESCENCE_PHOTONS, make_scene


def test_the_standard_scene_holds_what_it_promises(standard: SimulatedRecording):
    scene = standard.scene
    assert len(scene.centers_px) == 160
    covered = np.zeros((512, 512), int)
    np.add.at(covered, (scene.rois.y_px, scene.rois.x_px), 1)
    overlapping = [bool(np.any(covered[scene.rois.pixels(i)[0], scene.rois.pixels(i)[1]] > 1)) for i in range(160)]
    assert overlapping == scene.overlapping.tolist() and sum(overlapping) == 16
    assert scene.dim.sum() == 32
    assert np.median(scene.photons[scene.dim]) < 0.5 * np.median(scene.photons[~scene.dim])
    assert 36 < np.median(scene.rois.n_pixels) < 56  # a 13 um soma at 1.7 um per pixel has 46


def test_outlines_have_the_cells_size_place_and_light(recording: SimulatedRecording):
    scene = recording.scene
    areas_um2 = scene.rois.n_pixels * 1.7**2
    assert np.allclose(areas_um2, np.pi / 4 * scene.diameters_um**2, rtol=0.12)
    assert np.allclose(scene.rois.centroids_px, scene.centers_px, atol=0.3)
    height, width = scene.shape_px
    light = scene.sources[:, : len(scene.photons)].toarray().reshape(height, width, -1)
    for cell, photons in enumerate(scene.photons):
        y, x, _ = scene.rois.pixels(cell)
        own = light[y + scene.margin_px, x + scene.margin_px, cell]
        assert np.isclose(own.mean(), photons, rtol=1e-4)
        assert own.sum() > 0.8 * light[..., cell].sum()  # most of a cell's light is within its outline


def test_empty_spots_are_far_from_every_cell(standard: SimulatedRecording):
    scene = standard.scene
    apart_um = np.linalg.norm((scene.empty_px[:, None] - scene.centers_px[None]) * 1.7, axis=2)
    assert scene.empty_px.shape == (4, 2) and apart_um.min() >= 1.5 * 13.0


def test_rest_is_the_sum_of_its_parts(recording: SimulatedRecording):
    scene, m = recording.scene, recording.scene.margin_px
    total = scene.neuropil.sum(axis=0) + scene.sources.toarray().sum(axis=1) + AUTOFLUORESCENCE_PHOTONS
    assert np.allclose(scene.expected_frame(), total.reshape(scene.shape_px)[m:-m, m:-m], rtol=1e-5)
    assert scene.expected_frame().shape == (96, 128)


def test_pixels_need_not_be_square():
    scene = make_scene(SimulationParameters.of_size("tiny", pixel_size_um=(1.0, 2.0), n_cells=6, overlapping_fraction=0.0))
    for cell in range(6):
        y, x, _ = scene.rois.pixels(cell)
        assert np.ptp(y) > 1.3 * np.ptp(x)


def test_too_many_cells_are_refused():
    with pytest.raises(ParameterError, match="There is no room for n_cells = 200 .* Lower n_cells"):
        make_scene(SimulationParameters.of_size("tiny", n_cells=200, n_targets=6))
