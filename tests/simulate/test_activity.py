from __future__ import annotations

import numpy as np

from packerlabimaging.simulate.activity import MEMORY_DECAYS, transient, windowed_responses
from packerlabimaging.simulate.movie import SimulatedRecording


def test_a_transient_peaks_at_one_and_decays_with_its_time_constant():
    age = np.linspace(-1.0, 10.0, 110_001)
    shape = transient(age, rise_s=0.05, decay_s=np.array(0.7))
    assert np.all(shape[age <= 0] == 0)
    assert np.isclose(shape.max(), 1.0, atol=1e-6) and 0.05 < age[shape.argmax()] < 0.25
    late = [shape[np.searchsorted(age, t)] for t in (2.0, 2.7)]
    assert np.isclose(late[1] / late[0], np.exp(-1.0), rtol=1e-3)


def _brute_force(recording: SimulatedRecording, source: int, times_s: np.ndarray) -> np.ndarray:
    activity, total = recording.activity, np.zeros(len(times_s))
    for at, amplitude, of in zip(activity.events.time_s, activity.events.amplitude, activity.events.source, strict=True):
        if of == source:
            total += amplitude * transient(times_s - at, rise_s=activity.rise_s, decay_s=activity.decay_s[source])
    return total


def test_dff_is_the_saturated_sum_of_all_transients(recording: SimulatedRecording):
    times = recording.timeline.clock.starts_s[::7]
    dff = recording.activity.dff(times)
    for cell in (0, 5, 11):
        linear = _brute_force(recording, cell, times)
        assert np.allclose(dff[cell], 6.0 * linear / (6.0 + linear), atol=1e-3)
    neuropil = _brute_force(recording, recording.activity.n_cellular, times)
    assert np.allclose(dff[recording.activity.n_cellular], neuropil - recording.activity.neuropil_mean, atol=1e-3)


def test_any_piece_of_time_gives_the_same_dff(recording: SimulatedRecording):
    times = recording.timeline.clock.starts_s
    whole = recording.activity.dff(times)
    pieces = np.concatenate([recording.activity.dff(times[i : i + 37]) for i in range(0, len(times), 37)], axis=1)
    left_over = np.exp(-MEMORY_DECAYS)
    assert np.allclose(whole, pieces, atol=10 * left_over)


def test_neuropil_has_the_stated_size_and_is_shared(standard: SimulatedRecording):
    neuropil = standard.activity.dff(standard.timeline.clock.starts_s[::10])[standard.activity.n_cellular :]
    assert np.abs(neuropil.mean()) < 0.03
    assert 0.06 < neuropil.std() < 0.10  # neuropil_dff = 0.08
    correlations = np.corrcoef(neuropil)[np.triu_indices(8, 1)]
    assert 0.3 < np.median(correlations) < 0.7


def test_cells_fire_at_their_rate(standard: SimulatedRecording):
    activity = standard.activity
    spontaneous = activity.events.subset((activity.events.group == -1) & (activity.events.source < activity.n_cellular))
    counts = np.bincount(spontaneous.source, minlength=activity.n_cellular)
    length_s = standard.timeline.duration_s + MEMORY_DECAYS * 0.7
    expected = activity.burst_rate_hz * 2.5 * length_s
    assert np.corrcoef(counts, expected)[0, 1] > 0.8
    assert 0.8 < counts.sum() / expected.sum() < 1.4  # the network state has a mean of about 1.1
    assert (activity.burst_rate_hz[:160] < 0.04).sum() >= 14  # a tenth is nearly silent


def test_windowed_responses_by_hand(recording: SimulatedRecording):
    parameters, activity = recording.parameters, recording.activity
    effects = windowed_responses(activity, recording.timeline, parameters, n_groups=2)
    evoked = activity.events.subset(activity.events.group >= 0)
    responses = recording.photostimulation.response_dff
    assert np.array_equal(effects[:, :2] > 0.001, responses > 0)
    cell = int(responses.sum(axis=1).argmax())
    differences = []
    for stim_s in recording.timeline.stims_s:
        end_s = stim_s + 2 * 5 * 0.025 - 0.005
        windows = [np.arange(start, start + 0.5, 0.001) for start in (stim_s - 0.5, end_s)]
        before, after = (activity.dff(window, events=evoked)[cell].mean() for window in windows)
        differences.append(after - before)
    assert np.isclose(effects[cell, 2], np.mean(differences), atol=0.003)


def test_failures_evoke_nothing(standard: SimulatedRecording):
    evoked = standard.activity.events.subset(standard.activity.events.group >= 0)
    cells, groups = np.nonzero(standard.photostimulation.response_dff)
    network = standard.photostimulation.network[cells, groups]
    done = np.array(
        [len(set(evoked.stim[(evoked.source == c) & (evoked.group == g)])) for c, g in zip(cells, groups, strict=True)]
    )
    assert 0.85 < done[~network].mean() / 20 < 0.95
    assert 0.7 < done[network].mean() / 20 < 0.9
