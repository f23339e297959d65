"""Light in the movie: it tells the first frame where it is seen, and nothing is taken for light that is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis.frame_clock import FrameMatch
from packerlabimaging.analysis.light import find_light
from packerlabimaging.core.movie import ArrayMovie
from packerlabimaging.core.photostim import LightTimes

PERIOD = 1 / 30


def flashes(onsets_s, *, n_shots, step_s=0.025, shot_s=0.02):
    onset = (np.asarray(onsets_s)[:, None] + step_s * np.arange(n_shots)).ravel()
    stim = np.repeat(np.arange(len(onsets_s)), n_shots)
    zero = np.zeros_like(stim)
    return LightTimes(onset, onset + shot_s, stim, zero, zero, np.tile(np.arange(n_shots), len(onsets_s)))


def lit_parts(starts_s, light, *, n_fine=200):
    """Share of each frame's time with light, by asking at many moments of each frame."""
    moments = starts_s[:, None] + PERIOD * (np.arange(n_fine) + 0.5) / n_fine
    number = np.searchsorted(light.onset_s, moments, side="right") - 1
    return ((number >= 0) & (moments < light.end_s[number])).mean(axis=1)


def recording(*, seed=0, n_frames=900, n_stims=20, n_shots=4, offset=0, n_extra=5):
    """A train of pulses whose pulse number ``offset`` is the first frame's, light, and the share of each frame that is lit."""
    rng = np.random.default_rng(seed)
    train = 5.0 + PERIOD * (np.arange(-50, n_frames + 80) + rng.uniform(-0.02, 0.02, n_frames + 130))
    starts = train[50 : 50 + n_frames]
    onsets = starts[30] + (n_frames - 80) * PERIOD / n_stims * (np.arange(n_stims) + rng.uniform(0, 0.1, n_stims))
    light = flashes(onsets, n_shots=n_shots)
    pulses = train[50 - offset : 50 + n_frames + n_extra]
    match = FrameMatch(train_s=pulses, first=0, n_ticks=n_frames, n_planes=1, told_by="", mended_s=np.zeros(0), period_s=PERIOD)
    return match, light, lit_parts(starts, light), rng


def movie(values):
    return ArrayMovie(np.asarray(values)[:, None, None])


@settings(max_examples=40, deadline=None)
@given(
    offset=st.integers(-8, 8),
    n_shots=st.sampled_from([1, 4, 40]),
    gain=st.sampled_from([1.0, 30.0, -1.0]),
    n_stims=st.integers(6, 15),
    seed=st.integers(0, 1000),
)
def test_the_first_frame_is_told_whatever_light_does_to_brightness(offset, n_shots, gain, n_stims, seed):
    match, light, lit, rng = recording(seed=seed, n_stims=n_stims, n_shots=n_shots, offset=offset, n_extra=8)
    seen = find_light(movie(100 + gain * lit + rng.normal(0, 0.03, len(lit))), match, light)
    assert seen.first == offset
    assert np.all(seen.shifts == 0)
    assert seen.explained > 0.7


@settings(max_examples=60, deadline=None)
@given(
    n_shots=st.sampled_from([1, 4, 40]),
    latency=st.integers(0, 3),
    rise=st.integers(1, 4),
    decay=st.sampled_from([3.0, 10.0, 60.0]),
    seed=st.integers(0, 1000),
)
def test_responses_of_cells_are_not_taken_for_light(n_shots, latency, rise, decay, seed):
    match, light, lit, rng = recording(seed=seed, n_shots=n_shots, n_stims=10)
    kernel = np.concatenate([np.zeros(latency), np.linspace(0, 1, rise + 1)[1:], np.exp(-np.arange(1, 200) / decay)])
    first = np.searchsorted(match.train_s, light.onset_s[:: max(n_shots, 1)])
    drive = np.zeros(len(lit))
    drive[first] = 1
    seen = find_light(movie(100 + np.convolve(drive, kernel)[: len(lit)] + rng.normal(0, 0.01, len(lit))), match, light)
    assert seen.first is None or (decay == 3.0 and rise == 1 and n_shots < 40)


def test_noise_tells_nothing():
    match, light, lit, rng = recording()
    assert find_light(movie(rng.normal(0, 1, len(lit))), match, light).first is None
    assert find_light(movie(np.ones(len(lit))), match, light).first is None


@pytest.mark.parametrize("fly_back", [0.4, 1.0])
@pytest.mark.parametrize("n_planes", [2, 3, 4])
def test_light_during_the_fly_back_is_in_no_frame(n_planes, fly_back):
    """The last plane's tick ends before the lens flies back; its next pulse comes only after."""
    rng = np.random.default_rng(n_planes)
    volumes = np.arange(500)[:, None] * (n_planes + fly_back)
    starts = 5.0 + PERIOD * (volumes + np.arange(n_planes) + rng.uniform(-0.01, 0.01, (500, n_planes)))
    onsets = starts[20, 0] + 1.5 * np.arange(20) + rng.uniform(0, 0.2, 20)
    light = flashes(onsets, n_shots=6)
    period = float(np.median(np.diff(starts.ravel())))
    match = FrameMatch(
        train_s=starts.ravel(), first=0, n_ticks=starts.size, n_planes=n_planes, told_by="", mended_s=np.zeros(0), period_s=period
    )
    for plane in range(n_planes):
        lit = lit_parts(starts[:, plane], light)
        seen = find_light(movie(100 + 5 * lit + rng.normal(0, 0.05, len(lit))), match, light, plane=plane)
        assert seen.first == 0
        assert np.all(seen.shifts == 0)


def test_few_stims_tell_nothing():
    match, light, lit, _ = recording(n_stims=4)
    assert find_light(movie(lit), match, light).first is None


@pytest.mark.parametrize("n_lost", [1, 3])
@pytest.mark.parametrize("n_stims", [7, 9, 20])
def test_stims_after_frames_that_were_not_saved_contradict(n_stims, n_lost):
    match, light, lit, rng = recording(n_stims=n_stims)
    saved = np.delete(lit, 600 + np.arange(n_lost))
    seen = find_light(movie(saved + rng.normal(0, 0.02, len(saved))), match, light)
    late = seen.onsets_s > match.train_s[601]
    assert seen.first == 0
    assert np.all(seen.shifts[~late] == 0) and np.all(seen.shifts[late] == -n_lost)
    assert seen.confirms(-np.inf, match.train_s[600]) and not seen.confirms(-np.inf, np.inf)


def test_a_stim_without_light_is_told_and_no_other():
    match, light, lit, rng = recording(n_stims=20)
    dark = np.array(lit)
    onset = np.searchsorted(match.train_s, light.onset_s[light.stim == 7][0])
    dark[onset - 2 : onset + 6] = 0
    seen = find_light(movie(dark + rng.normal(0, 0.02, len(dark))), match, light)
    assert np.flatnonzero(np.isnan(seen.shifts)).tolist() == [7]
    assert np.flatnonzero(~seen.seen).tolist() == [7]


def test_what_lies_after_the_last_light_is_not_confirmed():
    match, light, lit, rng = recording(n_stims=20)
    last = light.stim >= 18
    early = LightTimes(*(column[~last] for column in vars(light).values()))
    seen = find_light(movie(lit + rng.normal(0, 0.02, len(lit))), match, early)
    assert seen.confirmed_until_s == seen.onsets_s[-1] == early.onset_s[early.stim == 17][0]
    assert not seen.confirms(light.onset_s[last][0], np.inf)


def test_only_frames_around_stims_are_read():
    class Counting(ArrayMovie):
        n_read = 0

        def _read_into(self, start, stop, out):
            self.n_read += stop - start
            super()._read_into(start, stop, out)

    match, light, lit, _ = recording(n_frames=9000, n_stims=10, n_shots=4)
    counting = Counting(lit[:, None, None])
    assert find_light(counting, match, light).first == 0
    assert counting.n_read < 1200
