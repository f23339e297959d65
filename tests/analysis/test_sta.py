"""Stimulus-triggered averages of a movie whose responses are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from packerlabimaging.analysis.sta import Sta, StaSettings, compute_sta, plan_sta
from packerlabimaging.analysis.sta_images import find_preferred, local_correlation
from packerlabimaging.core import ArrayMovie, FrameClock
from packerlabimaging.errors import ParameterError

RATE_HZ = 20.0
N_FRAMES = 900
SETTINGS = StaSettings(pre_s=0.5, post_s=1.5, average_start_s=0.25, average_stop_s=0.75)


@pytest.fixture(scope="module")
def recording():
    """Two kinds of stims; the pixel (2, 3) answers kind a, (5, 1) kind b with half of it; the rest is noise."""
    rng = np.random.default_rng(8)
    clock = FrameClock(7.0 + np.arange(N_FRAMES) / RATE_HZ + rng.uniform(0, 1e-4, N_FRAMES), source="hardware")
    onsets = 7.0 + 1.02 + 2.5 * np.arange(16)
    kinds = np.tile(["b", "a"], 8)
    pixels = rng.normal(1000.0, 20.0, (N_FRAMES, 8, 9))
    for onset, kind in zip(onsets, kinds, strict=True):
        first = int(np.searchsorted(clock.starts_s, onset))
        y, x, size = (2, 3, 300.0) if kind == "a" else (5, 1, 150.0)
        pixels[first + 4 : first + 20, y, x] += size
    return ArrayMovie(pixels.round().astype(np.uint16)), clock, onsets, kinds


@pytest.fixture(scope="module")
def sta(recording) -> Sta:
    movie, clock, onsets, kinds = recording
    return compute_sta(movie, clock, onsets, kinds=kinds, settings=SETTINGS)


def windows(recording, kind):
    """Frames around each stim of a kind, by plain indexing: ``(n_stims, n_times, y, x)``."""
    movie, clock, onsets, kinds = recording
    pixels = movie.read(0, N_FRAMES).astype(np.float64)
    firsts = [int(np.flatnonzero(clock.starts_s >= onset)[0]) for onset in onsets[kinds == kind]]
    return np.stack([pixels[first - 10 : first + 30] for first in firsts])


def test_movies_are_those_of_a_plain_computation(recording, sta):
    assert sta.kinds == ("a", "b") and sta.n_stims.tolist() == [8, 8]
    np.testing.assert_allclose(sta.time_s, np.arange(-10, 30) / RATE_HZ, atol=1e-4)
    for number, kind in enumerate("ab"):
        mean = windows(recording, kind).mean(axis=0)
        before = mean[:10]
        np.testing.assert_allclose(sta.movie(number, method="raw"), mean, rtol=1e-6)
        np.testing.assert_allclose(sta.movie(number, method="df"), mean - before.mean(axis=0), atol=2e-3)
        np.testing.assert_allclose(sta.movie(number, method="dff"), mean / before.mean(axis=0) - 1, atol=1e-6)
        np.testing.assert_allclose(
            sta.movie(number, method="z"), (mean - before.mean(axis=0)) / before.std(axis=0), rtol=1e-3, atol=1e-3
        )
        average = (mean[15:25].mean(axis=0) - before.mean(axis=0)) / before.mean(axis=0)
        np.testing.assert_allclose(sta.average_image(number), average, atol=1e-6)


def test_the_test_is_scipys_over_stims(recording, sta):
    for number, kind in enumerate("ab"):
        around = windows(recording, kind)
        difference = around[:, 15:25].mean(axis=1) - around[:, :10].mean(axis=1)
        expected = stats.ttest_1samp(difference, 0.0)
        found = sta.test(number)
        np.testing.assert_allclose(found.t, expected.statistic, rtol=1e-5)
        np.testing.assert_allclose(found.pvalue, expected.pvalue, rtol=1e-6)
        np.testing.assert_allclose(
            found.pvalue_adjusted, stats.false_discovery_control(expected.pvalue.ravel()).reshape(8, 9), rtol=1e-6
        )
    assert sta.test(0).pvalue_adjusted[2, 3] < 1e-6 and (sta.test(0).pvalue_adjusted < 0.01).sum() == 1


def test_images_show_which_pixel_answers_what(sta):
    preferred = sta.preferred(threshold=0.1)
    assert preferred.kind[2, 3] == 0 and preferred.kind[5, 1] == 1 and (preferred.kind >= 0).sum() == 2
    assert preferred.response[2, 3] == pytest.approx(0.3, abs=0.02) and preferred.selectivity[2, 3] > 0.9
    assert sta.max_image()[5, 1] == pytest.approx(0.15, abs=0.02)
    time_s, peak = sta.peak_time_image(0)
    assert 0.2 <= time_s[2, 3] < 1.0 and peak[2, 3] == pytest.approx(0.3, abs=0.05)


def test_a_dark_level_is_taken_from_f0(recording):
    movie, clock, onsets, kinds = recording
    dark = StaSettings(pre_s=0.5, post_s=1.5, average_start_s=0.25, average_stop_s=0.75, dark_level=400.0)
    found = compute_sta(movie, clock, onsets, kinds=kinds, settings=dark)
    assert found.average_image(0)[2, 3] == pytest.approx(300 / 600, abs=0.03)
    assert found.average_image(0, method="df")[2, 3] == pytest.approx(300, abs=10)


def test_stims_outside_and_cut_windows_are_told(recording):
    movie, clock, onsets, _ = recording
    given = np.concatenate([[1.0, 7.1], onsets, [7.0 + N_FRAMES / RATE_HZ + 3]])
    found = compute_sta(movie, clock, given, settings=SETTINGS)
    told = {finding.code: finding for finding in found.findings}
    assert told["stims-outside"].evidence["stims"] == [0, len(given) - 1]
    assert "cuts the windows of 1 stims" in told["windows-cut"].message
    assert found.n_stims.tolist() == [16], "2 of 10 frames before a stim are too few for its difference"
    with pytest.raises(ParameterError, match="None of the 1 stims lies in the recording"):
        compute_sta(movie, clock, [1.0], settings=SETTINGS)
    with pytest.raises(ParameterError, match="900 frames and the clock 899"):
        compute_sta(movie, FrameClock(clock.starts_s[:-1], source="hardware"), onsets)
    with pytest.raises(ParameterError, match="does not begin within"):
        StaSettings(average_start_s=2.0)


def test_masked_frames_do_not_count(recording):
    movie, clock, onsets, kinds = recording
    exclude = np.zeros(N_FRAMES, bool)
    firsts = np.searchsorted(clock.starts_s, onsets)
    exclude[firsts] = exclude[firsts + 1] = True
    found = compute_sta(movie, clock, onsets, kinds=kinds, settings=SETTINGS, exclude=exclude)
    assert np.isnan(found.mean[:, 10:12]).all() and not np.isnan(found.mean[:, 12:]).any()
    assert not np.isnan(found.peak_time_image(0)[0]).any()


def test_numbered_kinds_stay_in_their_order(recording):
    movie, clock, onsets, _ = recording
    plan = plan_sta(clock, onsets, kinds=[10, 2] * 8)
    assert plan.kinds == ("2", "10") and plan.numbers[:2].tolist() == [1, 0]
    stims = dict(plan.single_stims(movie))
    assert len(stims) == 16 and stims[0].shape == (len(range(-15, 25)), 8, 9)


def test_the_local_correlation_is_that_of_the_neighbours():
    rng = np.random.default_rng(1)
    movie = rng.normal(size=(200, 6, 7)).astype(np.float32)
    movie[:, 1:4, 2:5] += 3 * rng.normal(size=(200, 1, 1))
    found = local_correlation(movie)
    around = np.mean([movie[:, y, x] for y in (1, 2, 3) for x in (2, 3, 4) if (y, x) != (2, 3)], axis=0)
    assert found[2, 3] == pytest.approx(np.corrcoef(movie[:, 2, 3], around)[0, 1], abs=1e-5)
    corner = np.mean([movie[:, 0, 1], movie[:, 1, 0], movie[:, 1, 1]], axis=0)
    assert found[0, 0] == pytest.approx(np.corrcoef(movie[:, 0, 0], corner)[0, 1], abs=1e-5)


def test_selectivity_compares_with_the_median_of_the_others():
    images = np.array([[[0.6, np.nan]], [[0.2, np.nan]], [[0.1, np.nan]], [[-0.5, np.nan]]])
    found = find_preferred(images)
    assert found.kind.tolist() == [[0, -1]] and found.selectivity[0, 0] == pytest.approx((0.6 - 0.1) / 0.7)
