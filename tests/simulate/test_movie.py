from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np

from packerlabimaging.simulate import SimulationParameters
from packerlabimaging.simulate.movie import SimulatedRecording, shift_scene
from packerlabimaging.simulate.truth_writer import expected_noise


def test_whole_shifts_move_the_scene_down_and_right():
    scene = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    assert np.array_equal(shift_scene(scene, np.array([0.0, 0.0]), margin_px=5), scene[5:25, 5:35])
    assert np.array_equal(shift_scene(scene, np.array([2.0, -3.0]), margin_px=5), scene[3:23, 8:38])


def test_part_shifts_interpolate():
    y, x = np.mgrid[:30, :40]
    plane = (3.0 * y + 7.0 * x).astype(np.float32)  # bilinear interpolation is exact on a plane
    shifted = shift_scene(plane, np.array([0.3, -1.6]), margin_px=5)
    assert np.allclose(shifted, 3.0 * (y[5:25, 5:35] - 0.3) + 7.0 * (x[5:25, 5:35] + 1.6), atol=1e-3)


def test_phase_correlation_finds_the_true_shifts(recording: SimulatedRecording):
    from skimage.registration import phase_cross_correlation

    still = dataclasses.replace(recording, shifts_px=np.zeros_like(recording.shifts_px))
    rest = np.zeros((recording.activity.n_sources, 12))
    (reference, *_), moved = list(still.expected_photons(0, rest)), list(recording.expected_photons(0, rest))
    reference = reference - reference.mean()
    found = [phase_cross_correlation(f - f.mean(), reference, upsample_factor=20, normalization=None)[0] for f in moved]
    assert np.allclose(found, recording.shifts_px[:12], atol=0.08)
    assert np.abs(recording.shifts_px).max() > 1.0


def test_motion_is_smooth_and_centred(standard: SimulatedRecording):
    shifts = standard.shifts_px
    assert np.all(np.abs(shifts) < standard.scene.margin_px - 1)
    assert np.all(np.abs(np.median(shifts, axis=0)) < 0.5)
    assert 0.4 < shifts.std() < 1.2 and np.diff(shifts, axis=0).std() < 0.3


def test_artefact_is_on_the_frames_that_overlap_light(recording: SimulatedRecording):
    starts, ends = recording.timeline.clock.starts_s, recording.timeline.clock.ends_s
    expected = np.zeros(len(starts), bool)
    for onset, end in zip(recording.light.onset_s, recording.light.end_s, strict=True):
        expected |= (starts < end) & (ends > onset)
    brightest = np.concatenate([block.frames.mean(axis=2).max(axis=1) for block in recording.blocks(1)])
    usual = np.median(brightest)
    assert np.array_equal(recording.artefact_frames, expected)
    assert (brightest[~expected] < 1.6 * usual).all()
    assert np.mean(brightest[expected] > 2 * usual) > 0.9  # fewer where light only touches a frame


def test_any_number_of_workers_makes_the_same_movie():
    parameters = SimulationParameters.of_size("tiny", seed=5)
    one, three = ([block.frames for block in SimulatedRecording.make(parameters).blocks(workers)] for workers in (1, 3))
    assert len(one) == len(three) > 1
    assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))
    other = SimulatedRecording.make(dataclasses.replace(parameters, seed=6)).block(0).frames
    assert not np.array_equal(one[0], other)


def test_frames_have_fresh_noise():
    parameters = SimulationParameters.of_size("tiny", motion_px=0, drift_px=0, neuropil_dff=0, burst_rate_hz=1e-9)
    frames = SimulatedRecording.make(parameters).block(0).frames[:40].astype(float)
    residual = frames - frames.mean(axis=0)
    correlations = np.corrcoef(residual.reshape(40, -1))[np.triu_indices(40, 1)]
    assert np.abs(correlations + 1 / 39).max() < 0.06


def test_memory_does_not_grow_with_the_number_of_frames():
    peaks = []
    for n_frames in (1200, 6000):
        recording = SimulatedRecording.make(
            SimulationParameters.of_size("tiny", n_frames=n_frames, frame_shape_px=(40, 48), n_cells=2, n_targets=1)
        )
        tracemalloc.start()
        for _ in recording.blocks(2):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0]


def test_trace_noise_is_what_the_photons_give():
    quiet = {"motion_px": 0, "drift_px": 0, "neuropil_dff": 0, "burst_rate_hz": 1e-9, "bleaching": 0, "artefact_photons": 0}
    recording = SimulatedRecording.make(SimulationParameters.of_size("tiny", seed=1, **quiet, response_dff=1e-6))
    frames = np.concatenate([block.frames for block in recording.blocks(2)]).astype(float)
    measured = []
    for cell, photons in enumerate(recording.scene.photons):
        y, x, _ = recording.scene.rois.pixels(cell)
        dff = frames[:, y, x].mean(axis=1) / (60.0 * photons)
        measured.append(100 * np.median(np.abs(np.diff(dff))) / np.sqrt(29.75))
    ratio = np.array(measured) / expected_noise(recording)
    assert np.abs(ratio - 1).max() < 0.2 and abs(ratio.mean() - 1) < 0.05
