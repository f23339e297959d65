from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.core import FrameClock, LightTimes
from packerlabimaging.simulate import SimulationParameters
from packerlabimaging.simulate.timeline import GAP_S, Timeline, light_on_lines, make_protocol, make_timeline


def test_the_true_rate_differs_from_the_nominal_one_and_drifts():
    parameters = SimulationParameters.of_size("standard", seed=4)
    timeline = make_timeline(parameters)
    starts = timeline.clock.starts_s
    intervals = np.diff(starts)
    assert abs(1 / intervals.mean() - 29.75) < 0.001
    assert 1e-5 < intervals.std() < 3e-4  # jitter, but no frame is missing
    drift_s = (starts[-1] - starts[0]) - 2999 / parameters.nominal_rate_hz
    assert drift_s > 0.8  # more than a response window


def test_live_scan_gap_and_extra_pulses():
    counts = set()
    for seed in range(30):
        timeline = make_timeline(SimulationParameters.of_size("tiny", seed=seed))
        pulses = timeline.frame_pulses_s
        assert np.all(np.diff(pulses) > 0)
        gaps = np.flatnonzero(np.diff(pulses) > 1.0)
        assert gaps.tolist() == [len(timeline.live_pulses_s) - 1]  # one gap, between live scan and recording
        assert np.diff(pulses)[gaps[0]] >= GAP_S - 0.1
        counts.add(len(timeline.extra_pulses_s))
    assert min(counts) >= 0 and max(counts) <= 20 and len(counts) > 5


def test_all_times_lie_on_samples():
    parameters = SimulationParameters.of_size("tiny", seed=2)
    timeline = make_timeline(parameters)
    for times in (timeline.frame_pulses_s, timeline.stims_s):
        samples = times * parameters.sync_rate_hz
        assert np.allclose(samples, np.round(samples), atol=1e-6)


def test_groups_follow_each_other_without_a_pause():
    parameters = SimulationParameters.of_size("standard")
    protocol = make_protocol(parameters, np.zeros((36, 2)), tuple(tuple(range(g, 36, 4)) for g in range(4)))
    light = protocol.light(np.array([10.0]))
    assert light.onset_s[light.group == 0][0] == 10.0
    firsts = [light.onset_s[light.group == group][0] for group in range(4)]
    assert np.allclose(np.diff(firsts), 0.125)  # 5 shots of 20 + 5 ms
    assert np.isclose(light.end_s[-1], 10.0 + parameters.stim_duration_s - 0.005)


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.001, 0.08)), min_size=0, max_size=4), st.integers(2, 40))
def test_lit_lines_are_those_scanned_while_light_is_on(shots: list[tuple[float, float]], height: int):
    edges, now = [], 0.0
    for pause, length in shots:
        edges.append((now + pause, now + pause + length))
        now += pause + length
    onset, end = (np.array([edge[i] for edge in edges]) for i in (0, 1))
    zero = np.zeros(len(edges), dtype=np.int64)
    light = LightTimes(onset, end, zero, zero, zero, zero)
    clock = FrameClock(np.arange(20) * 0.0333)
    timeline = Timeline(clock, np.zeros(0), np.zeros(0), np.zeros(0), 1.0)
    for frame in range(20):
        lines = light_on_lines(timeline, light, height, frame)
        fine = clock.starts_s[frame] + (np.arange(height * 50) + 0.5) / (height * 50) * 0.0333
        lit = ((fine[:, None] >= onset) & (fine[:, None] < end)).any(axis=1).reshape(height, 50).mean(axis=1)
        assert np.allclose(lines, lit, atol=0.09)
