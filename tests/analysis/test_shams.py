"""Sham stims: where they lie, that they are like the real ones, and the statistics that rest on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from packerlabimaging.analysis.presets import get_preset
from packerlabimaging.analysis.scoring import place_windows
from packerlabimaging.analysis.shams import (
    RealStims,
    check_enough,
    draw_trains,
    null_statistics,
    place_shams,
    pooled_pvalue,
    t_statistic,
    train_weights,
)
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import ParameterError

PRESET = get_preset("calibrated")


def make_recording(n_stims=8, interval_s=20.0, light_s=0.5, guard_frames=1, seed=0, jitter_s=1e-4):
    rng = np.random.default_rng(seed)
    clock = FrameClock(3.0 + np.cumsum(rng.normal(1 / 30, jitter_s, int((n_stims * interval_s + 30) * 30))))
    onsets = clock.starts_s[0] + 25.0 + interval_s * np.arange(n_stims) + rng.uniform(0, 0.2, n_stims)
    artefact = clock.overlapping(onsets, onsets + light_s, guard_frames=guard_frames)
    return clock, artefact, RealStims(clock, artefact, onsets, onsets + light_s)


@settings(max_examples=20, deadline=None)
@given(
    interval=st.floats(4.0, 25.0),
    light=st.floats(0.02, 1.5),
    guard=st.floats(0.0, 12.0),
    guard_frames=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_shams_see_no_light_do_not_overlap_and_keep_their_distance(interval, light, guard, guard_frames, seed):
    clock, artefact, real = make_recording(interval_s=interval, light_s=light, guard_frames=guard_frames, seed=seed)
    preset = get_preset("calibrated", sham_guard_s=guard)
    shams = place_shams(real, clock, artefact, preset=preset, rng=np.random.default_rng(seed))
    light_ends = clock.ends_s[np.flatnonzero(artefact)]
    reach = [shams.onsets_s - preset.pre_window_s, shams.ends_s + preset.post_window_s]
    assert np.all(reach[0][1:] >= reach[1][:-1] - 1e-9)
    for start, stop in zip(*reach, strict=True):
        within = (clock.starts_s < stop) & (clock.ends_s > start)
        assert not artefact[within].any()
        before = light_ends[light_ends <= start + 1e-9]
        assert len(before) == 0 or start - before[-1] >= guard - 1e-6
    assert shams.windows.valid.all()


@pytest.mark.parametrize("guard_frames", [0, 1, 4])
def test_a_sham_leaves_out_the_frames_that_its_stim_leaves_out(guard_frames):
    clock, artefact, real = make_recording(guard_frames=guard_frames, jitter_s=0.0)
    own = place_windows(clock, real.onsets_s, real.ends_s, preset=PRESET, exclude=artefact)
    shams = place_shams(real, clock, artefact, preset=PRESET, rng=np.random.default_rng(0))
    for side in ("pre", "post"):
        sizes = set(np.diff(getattr(own, side).indptr).tolist())
        assert set(np.diff(getattr(shams.windows, side).indptr).tolist()) <= sizes
    phase = real.onsets_s - clock.starts_s[real.frames]
    frames = clock.frames_at(shams.onsets_s)[0]
    assert np.all(np.abs((shams.onsets_s - clock.starts_s[frames])[:, None] - phase).min(axis=1) < 1e-9)


def test_shams_go_into_another_recording_if_asked():
    _, _, real = make_recording(interval_s=3.0, n_stims=20)
    spontaneous = FrameClock(100.0 + np.arange(3000) / 30)
    dark = np.zeros(3000, bool)
    shams = place_shams(real, spontaneous, dark, preset=PRESET, rng=np.random.default_rng(0))
    assert len(shams) >= 50 and shams.onsets_s.min() > 100.0


def test_too_few_shams_are_refused_and_the_guard_that_is_named_is_enough():
    clock, artefact, real = make_recording(n_stims=40, interval_s=9.0)
    shams = place_shams(real, clock, artefact, preset=PRESET, rng=np.random.default_rng(0))
    with pytest.raises(ParameterError, match=r"40 stims with sham stims, and only \d+ fit.*It needs 40.*sham_guard_s") as caught:
        check_enough(shams, real, clock, artefact, preset=PRESET)
    guard = float(str(caught.value).split("at most ")[1].split(",")[0])
    for more, enough in ((0.0, True), (0.6, False)):
        preset = get_preset("calibrated", sham_guard_s=guard + more)
        shams = place_shams(real, clock, artefact, preset=preset, rng=np.random.default_rng(0))
        assert (len(shams) >= 40) == enough
    clock, artefact, real = make_recording(n_stims=60, interval_s=1.6)
    shams = place_shams(real, clock, artefact, preset=PRESET, rng=np.random.default_rng(0))
    with pytest.raises(ParameterError, match="It needs 60. Give a spontaneous recording"):
        check_enough(shams, real, clock, artefact, preset=PRESET)


def test_t_equals_scipy_with_nan_and_in_trains():
    rng = np.random.default_rng(1)
    values = rng.normal(0.3, 1, (20, 30))
    values[3, :4] = np.nan
    expected = stats.ttest_1samp(values, 0, axis=1, nan_policy="omit").statistic
    assert np.allclose(t_statistic(values), expected)
    trains = draw_trains(30, 10, n_trains=7, rng=rng)
    assert all(len(set(train.tolist())) == 10 for train in trains)
    found = t_statistic(values, train_weights(trains, 30))
    for b, train in enumerate(trains):
        part = stats.ttest_1samp(values[:, train], 0, axis=1, nan_policy="omit").statistic
        assert np.allclose(found[:, b], np.asarray(part))
    assert t_statistic(np.zeros((1, 5)))[0] == 0.0
    assert np.isnan(t_statistic(np.array([[1.0, np.nan]])))[0]


def test_trains_hold_at_most_half_of_the_shams():
    rng = np.random.default_rng(0)
    assert draw_trains(30, 25, n_trains=3, rng=rng).shape == (3, 15)
    assert draw_trains(300, 25, n_trains=3, rng=rng).shape == (3, 25)


def test_the_null_is_as_wide_as_the_difference_of_stims_and_shams():
    rng = np.random.default_rng(0)
    wide = null_statistics(rng.normal(size=(400, 60)), 30, n_trains=50, rng=rng)
    narrow = null_statistics(rng.normal(size=(400, 600)), 30, n_trains=50, rng=rng)
    t_sd = np.sqrt(29 / 27)
    assert wide.std() == pytest.approx(t_sd * np.sqrt(1 + 30 / 60), rel=0.05)
    assert narrow.std() == pytest.approx(t_sd * np.sqrt(1 + 30 / 600), rel=0.05)


def test_pooled_p_by_hand():
    null = np.array([[-2.0, -1.0, 0.0], [1.0, 2.0, np.nan]])
    p = pooled_pvalue(np.array([3.0, 2.0, -1.5, 0.0, np.nan]), null)
    assert np.allclose(p, [2 / 6, 4 / 6, 4 / 6, 1.0, np.nan], equal_nan=True)
