"""Artefact masks against a frame-by-frame, shot-by-shot computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.photostim import LightTimes
from packerlabimaging.errors import ParameterError
from packerlabimaging.preprocessing import compute_artefact_mask


def light_of(onsets: list[float], duration: float) -> LightTimes:
    onset = np.array(onsets, float)
    zeros = np.zeros(len(onset), int)
    return LightTimes(onset, onset + duration, zeros, zeros, zeros, zeros)


def test_a_shot_on_a_tick_belongs_to_that_frame_and_the_guard_follows():
    clock = FrameClock(np.arange(10) * 1.0)
    assert np.flatnonzero(compute_artefact_mask(clock, light_of([3.0], 1.0), guard_frames=0)).tolist() == [3]
    assert np.flatnonzero(compute_artefact_mask(clock, light_of([3.0], 1.0))).tolist() == [3, 4]
    assert np.flatnonzero(compute_artefact_mask(clock, light_of([3.5], 1.0))).tolist() == [3, 4, 5]


def test_light_outside_the_recording_marks_nothing():
    clock = FrameClock(np.arange(10) * 1.0)
    assert not compute_artefact_mask(clock, light_of([-5.0, 50.0], 1.0)).any()


@given(
    onsets=st.lists(st.floats(-2, 12, allow_nan=False), max_size=6),
    duration=st.floats(0.01, 3),
    guard=st.integers(0, 3),
)
def test_agrees_with_a_loop_over_frames_and_shots(onsets, duration, guard):
    clock = FrameClock(np.array([0.0, 1.0, 2.0, 3.2, 4.0, 8.0, 9.0, 10.0]))
    expected = np.zeros(len(clock), bool)
    for onset in onsets:
        hit = [i for i in range(len(clock)) if onset < clock.ends_s[i] and onset + duration > clock.starts_s[i]]
        if hit:
            expected[hit[0] : hit[-1] + 1 + guard] = True
    assert np.array_equal(compute_artefact_mask(clock, light_of(onsets, duration), guard_frames=guard), expected)


@pytest.mark.parametrize("guard", [-1, 0.5])
def test_refuses_half_and_negative_guards(guard):
    with pytest.raises(ParameterError, match="whole number >= 0"):
        compute_artefact_mask(FrameClock(np.arange(3.0)), light_of([1.0], 0.1), guard_frames=guard)
