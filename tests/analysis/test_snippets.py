"""Snippets and window means: the frame rule at exact ticks, edges, gaps, artefacts; loops as oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis import extract_snippets, window_means
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import ParameterError

CLOCK = FrameClock(np.arange(20) / 10)
RAMP = np.arange(20.0)[None]


def test_a_stim_on_a_tick_belongs_to_that_ticks_frame():
    snippets = extract_snippets(RAMP, CLOCK, np.array([CLOCK.starts_s[7], CLOCK.starts_s[7] + 0.05]), pre_s=0.2, post_s=0.3)
    assert snippets.values[0].tolist() == [[5, 6, 7, 8, 9]] * 2
    assert np.allclose(snippets.time_s, [-0.2, -0.1, 0, 0.1, 0.2])


def test_cut_and_outside_stims_stay_in_place_as_nan():
    snippets = extract_snippets(RAMP, CLOCK, np.array([0.1, -5.0, 1.0, 1.9, 30.0]), pre_s=0.2, post_s=0.2)
    expected = [[np.nan, 0, 1, 2], [np.nan] * 4, [8, 9, 10, 11], [17, 18, 19, np.nan], [np.nan] * 4]
    assert np.array_equal(snippets.values[0], expected, equal_nan=True)
    assert np.array_equal(snippets.valid, ~np.isnan(expected))


def test_snippets_do_not_reach_across_a_gap():
    clock = FrameClock(np.concatenate([np.arange(10) / 10, 50 + np.arange(10) / 10]))
    values = extract_snippets(RAMP, clock, np.array([0.9, 50.0]), pre_s=0.2, post_s=0.2).values[0]
    assert np.array_equal(values, [[7, 8, 9, np.nan], [np.nan, np.nan, 10, 11]], equal_nan=True)


def test_excluded_frames_are_nan_and_integers_are_taken():
    mask = np.zeros(20, bool)
    mask[7] = True
    snippets = extract_snippets(RAMP.astype(np.uint16), CLOCK, np.array([0.7]), pre_s=0.1, post_s=0.2, exclude=mask)
    assert np.array_equal(snippets.values[0, 0], [6, np.nan, 8], equal_nan=True)
    assert snippets.valid.tolist() == [[True, False, True]]


def test_windows_at_exact_ticks_hold_exactly_their_frames():
    result = window_means(RAMP, CLOCK, CLOCK.starts_s[5] - np.array([0.5, 0.0]), CLOCK.starts_s[5] + np.array([0.0, 0.5]))
    assert result.means.tolist() == [[2.0, 7.0]]  # frames 0-4 and 5-9
    assert result.valid_fraction.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("sampling_hz", [20000.0, 10000.0, 29997.0])
def test_floating_point_does_not_move_a_frame_over_the_border(sampling_hz):
    starts = np.round(np.arange(40000) * sampling_hz / 29.75) / sampling_hz + 1234.567
    clock = FrameClock(starts)
    onsets = starts[np.arange(100, 39000, 37)]
    traces = np.arange(40000.0)[None]
    post = window_means(traces, clock, onsets, onsets + 10 * clock.period_s)
    assert np.all(post.means[0] - np.arange(100, 39000, 37) >= 4.0)
    backward = window_means(traces, clock, onsets - 0.5, onsets)
    assert np.all(backward.means[0] < np.arange(100, 39000, 37))


def oracle(traces, clock, start, stop, exclude, fraction):
    if start < clock.starts_s[0] - 1e-6 or stop > clock.ends_s[-1] + 1e-6:
        return np.full(len(traces), np.nan)
    inside = [i for i in range(clock.n_frames) if start - 1e-6 <= clock.starts_s[i] < stop - 1e-6]
    expected = max(len(inside), int(np.floor((stop - start) * clock.rate_hz + 1e-6)), 1)
    means = []
    for trace in traces:
        values = [trace[i] for i in inside if not exclude[i] and np.isfinite(trace[i])]
        means.append(np.mean(values) if values and len(values) / expected >= fraction else np.nan)
    return np.array(means)


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.floats(-1, 8), min_size=1, max_size=8),
    length=st.floats(0.05, 2),
    fraction=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_means_equal_a_loop(starts, length, fraction, seed):
    rng = np.random.default_rng(seed)
    clock = FrameClock(np.cumsum(rng.choice([0.1, 0.101, 0.4], 60, p=[0.8, 0.15, 0.05])))
    traces = rng.normal(size=(3, 60))
    traces[1, rng.random(60) < 0.2] = np.nan
    exclude = rng.random(60) < 0.2
    starts = np.array(starts)
    expected = np.array([oracle(traces, clock, s, s + length, exclude, fraction) for s in starts]).T
    traces[:, exclude] = 1e9
    result = window_means(traces, clock, starts, starts + length, exclude=exclude, min_valid_fraction=fraction)
    assert np.allclose(result.means, expected, equal_nan=True)
    assert np.array_equal(result.reason != "", np.isnan(expected[0]))


def test_reasons_are_told():
    mask = np.zeros(20, bool)
    mask[10:14] = True
    starts = np.array([-0.3, 1.0, 1.8, np.nan, 0.2])
    result = window_means(RAMP, CLOCK, starts, starts + 0.5, exclude=mask)
    cut, few = "cut by the edge of the recording", "too few valid frames"
    assert result.reason.tolist() == [cut, few, cut, "no time", ""]
    assert result.valid_fraction[1] == pytest.approx(0.2)


def test_integer_traces_do_not_overflow():
    traces = np.full((1, 20), 60000, np.uint16)
    assert window_means(traces, CLOCK, np.array([0.0]), np.array([1.0])).means[0, 0] == 60000


def test_refuses_other_clocks_and_inverted_windows():
    with pytest.raises(ParameterError, match="19 frames and the clock 20"):
        window_means(RAMP[:, :19], CLOCK, np.array([0.0]), np.array([1.0]))
    with pytest.raises(ParameterError, match="ends before it starts"):
        window_means(RAMP, CLOCK, np.array([1.0]), np.array([0.0]))
    with pytest.raises(ParameterError, match="booleans, one per frame"):
        extract_snippets(RAMP, CLOCK, np.array([1.0]), pre_s=0.1, post_s=0.1, exclude=np.zeros(3, bool))
