"""One rule turns seconds into frames: closed at a frame's start, open at its end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.core.clock import NO_FRAME, FrameClock
from packerlabimaging.errors import ParameterError

starts = st.lists(st.integers(1, 400), min_size=1, max_size=60).map(lambda steps: np.cumsum(steps) / 100.0)


def frame_by_hand(clock: FrameClock, time: float) -> int | None:
    """Look through every frame in turn: an independent twin of ``frames_at``."""
    for index, start in enumerate(clock.starts_s):
        if index + 1 < clock.n_frames:
            end = min(clock.starts_s[index + 1], start + 1.5 * clock.period_s)
        else:
            end = start + clock.period_s
        if start <= time < end:
            return index
    return None


def test_a_time_on_a_tick_belongs_to_that_ticks_frame():
    clock = FrameClock(np.array([1.0, 1.5, 2.0, 2.5]))
    assert [clock.frame_at(time) for time in (1.0, 1.5, 2.5)] == [0, 1, 3]
    assert clock.frame_at(np.nextafter(1.5, 0)) == 0


def test_outside_every_frame_is_none_and_never_an_index():
    clock = FrameClock(np.array([1.0, 1.5, 2.0, 2.5, 10.0, 10.5]))
    for time in (0.999, 3.25, 5.0, 11.0, np.nan, np.inf, -np.inf):
        assert clock.frame_at(time) is None
    frames, valid = clock.frames_at(np.array([0.0, 1.2]))
    assert valid.tolist() == [False, True]
    with pytest.raises(IndexError):
        _ = np.zeros(10)[frames[0]]
    assert frames[0] == NO_FRAME


def test_a_frame_before_a_gap_lasts_one_and_a_half_periods():
    clock = FrameClock(np.array([1.0, 1.5, 2.0, 2.5, 10.0, 10.5]))
    np.testing.assert_allclose(clock.ends_s, [1.5, 2.0, 2.5, 3.25, 10.5, 11.0])


@given(starts, st.lists(st.integers(-100, 30_000), min_size=1, max_size=30))
def test_frames_agree_with_looking_through_all_of_them(ticks, times):
    clock = FrameClock(ticks, period_s=np.nan if len(ticks) > 1 else 0.1)
    times_s = np.array(times) / 100.0
    frames, valid = clock.frames_at(times_s)
    expected = [frame_by_hand(clock, time) for time in times_s]
    assert [int(frame) if ok else None for frame, ok in zip(frames, valid, strict=True)] == expected


@given(starts, st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 500)), max_size=6), st.integers(0, 3))
def test_overlapping_agrees_with_comparing_every_pair(ticks, spans, guard):
    clock = FrameClock(ticks, period_s=np.nan if len(ticks) > 1 else 0.1)
    onsets = np.array([start for start, _ in spans], float) / 100
    ends = onsets + np.array([length for _, length in spans], float) / 100
    expected = np.zeros(clock.n_frames, bool)
    for onset, end in zip(onsets, ends, strict=True):
        touched = np.flatnonzero((clock.starts_s < end) & (clock.ends_s > onset))
        if len(touched):
            expected[touched[0] : touched[-1] + 1 + guard] = True
    np.testing.assert_array_equal(clock.overlapping(onsets, ends, guard_frames=guard), expected)


def test_planes_take_every_nth_tick_and_drop_an_incomplete_volume():
    clock = FrameClock(np.arange(11) * 0.1)
    plane = clock.plane(2, 3)
    np.testing.assert_allclose(plane.starts_s, [0.2, 0.5, 0.8])
    with pytest.raises(ParameterError, match="Planes run from 0 to 2"):
        clock.plane(3, 3)


def test_rate_leaves_gaps_out():
    ticks = np.concatenate([np.arange(100) / 30, 60 + np.arange(100) / 30])
    assert FrameClock(ticks).rate_hz == pytest.approx(30.0)


@pytest.mark.parametrize("bad", [[], [1.0, 1.0], [2.0, 1.0], [0.0, np.nan]])
def test_bad_starts_are_refused(bad):
    with pytest.raises(ParameterError):
        FrameClock(np.array(bad, float))


def test_one_frame_needs_a_period():
    with pytest.raises(ParameterError, match="period_s"):
        FrameClock(np.array([1.0]))
    assert FrameClock(np.array([1.0]), period_s=0.5).frame_at(1.4) == 0


def test_the_clock_does_not_follow_changes_of_the_array_it_was_made_from():
    ticks = np.arange(5.0)
    clock = FrameClock(ticks)
    ticks[0] = 100
    assert clock.starts_s[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        clock.starts_s[0] = 3


def test_more_guard_frames_than_any_recording_has_mark_the_rest():
    clock = FrameClock(np.arange(10) / 10, "hardware")
    marked = clock.overlapping(np.array([0.42]), np.array([0.44]), guard_frames=1 << 63)
    assert marked.tolist() == [False] * 4 + [True] * 6
