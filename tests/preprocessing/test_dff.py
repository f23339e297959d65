"""dF/F: hand-computed values, loops as oracles, and the inputs that broke earlier programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from packerlabimaging._traces import quantile_rows
from packerlabimaging.errors import ParameterError
from packerlabimaging.preprocessing import DffSettings, compute_dff


def test_percentile_by_hand():
    F = np.array([[10, 10, 10, 10, 10, 30]], np.uint16)
    result = compute_dff(F, rate_hz=1.0, baseline="percentile", percentile=50, floor=0.0)
    assert np.allclose(result.dff, [[0, 0, 0, 0, 0, 2.0]])
    assert result.f0.shape == (1, 1)
    assert result.f0[0, 0] == 10.0
    assert not result.low_baseline[0]


@given(st.integers(0, 100), st.integers(1, 40), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_quantiles_equal_numpys(percentile, n, n_nan, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, n)).astype(np.float32)
    values[1, : min(n_nan, n - 1)] = np.nan
    expected = np.nanpercentile(values.astype(float), percentile, axis=1)
    assert np.allclose(quantile_rows(values, percentile / 100), expected, rtol=1e-6, atol=1e-6)


def test_rolling_percentile_follows_drift_and_is_near_the_exact_filter():
    rng = np.random.default_rng(0)
    n, rate = 9000, 30.0
    F = 100 + np.linspace(0, 50, n) + rng.normal(0, 5, (2, n))
    f0 = compute_dff(F, rate_hz=rate, window_s=60.0).f0
    exact = ndimage.percentile_filter(F, 8, size=(1, 1800), mode="nearest")
    inner = slice(900, -900)
    assert np.abs(f0 - exact)[:, inner].max() < 0.2 * 5


def test_rolling_percentile_at_anchors_is_the_percentile_of_the_window():
    rng = np.random.default_rng(1)
    F = rng.normal(100, 5, (1, 600))
    f0 = compute_dff(F, rate_hz=10.0, window_s=10.0, percentile=20).f0[0]
    assert f0[0] == pytest.approx(np.percentile(F[0, :50], 20), rel=1e-5)  # the window is cut at the start
    assert f0[-1] == pytest.approx(np.percentile(F[0, 549:], 20), rel=1e-5)


@pytest.mark.parametrize("baseline", ["percentile", "rolling_percentile", "maximin"])
def test_artefact_frames_do_not_reach_f0(baseline):
    rng = np.random.default_rng(2)
    F = rng.normal(100, 5, (3, 2000)).astype(np.float32)
    artefact = np.zeros(2000, bool)
    artefact[100::100] = artefact[101::100] = True
    clean = compute_dff(F, rate_hz=30.0, baseline=baseline, exclude=artefact, window_s=20)
    F[:, artefact] = 1e9
    poisoned = compute_dff(F, rate_hz=30.0, baseline=baseline, exclude=artefact, window_s=20)
    assert np.array_equal(poisoned.f0, clean.f0)
    assert np.array_equal(poisoned.dff[:, ~artefact], clean.dff[:, ~artefact])


@pytest.mark.parametrize("baseline", ["percentile", "rolling_percentile", "maximin"])
def test_constant_zero_negative_and_nan_traces_have_defined_results(baseline):
    F = np.stack([np.full(300, 7.0), np.zeros(300), np.full(300, -4.0), np.full(300, np.nan), np.full(300, 5.0)])
    F[4, 100:110] = np.nan
    result = compute_dff(F, rate_hz=10.0, baseline=baseline, window_s=10)
    assert np.allclose(result.dff[0], 0.0, atol=1e-6)
    assert np.isnan(result.dff[1:4]).all()
    assert np.isnan(result.dff[4, 100:110]).all()
    assert np.allclose(np.delete(result.dff[4], range(100, 110)), 0.0, atol=1e-6)
    assert result.low_baseline.tolist() == [False, True, True, True, False]


def test_a_baseline_near_zero_is_flagged_and_does_not_explode():
    rng = np.random.default_rng(3)
    F = rng.normal(0.0, 10.0, (1, 3000))
    F[0, 1000:1030] += 200.0
    result = compute_dff(F, rate_hz=30.0)
    assert result.low_baseline[0]
    assert np.nanmax(np.abs(result.dff)) < 30  # about the signal-to-noise ratio, not 10^6 %


def test_floor_can_be_given_per_roi():
    F = np.array([[2.0, 2, 2, 4], [2.0, 2, 2, 4]])
    result = compute_dff(F, rate_hz=1.0, baseline="percentile", percentile=50, floor=np.array([4.0, 1.0]))
    assert np.allclose(result.dff[:, -1], [0.5, 1.0])
    assert result.low_baseline.tolist() == [True, False]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 400), st.floats(0.5, 100), st.sampled_from(["percentile", "rolling_percentile", "maximin"]))
def test_any_length_and_window_gives_finite_values(n_frames, window_s, baseline):
    F = np.random.default_rng(n_frames).normal(100, 1, (2, n_frames))
    result = compute_dff(F, rate_hz=5.0, window_s=window_s, baseline=baseline)
    assert np.isfinite(result.dff).all()


def test_refuses_unknown_methods_and_impossible_parameters():
    with pytest.raises(ParameterError, match="Did you mean 'percentile'"):
        compute_dff(np.ones((1, 3)), rate_hz=1.0, baseline="percentil")
    with pytest.raises(ParameterError, match="0 to 100"):
        DffSettings(percentile=120)
    with pytest.raises(ParameterError, match="one per frame"):
        compute_dff(np.ones((1, 3)), rate_hz=1.0, exclude=np.zeros(2, bool))
    with pytest.raises(ParameterError, match="Expected booleans"):
        compute_dff(np.ones((1, 3)), rate_hz=1.0, exclude=np.zeros(3))
    with pytest.raises(ParameterError, match=r"\(n_rois, n_frames\)"):
        compute_dff(np.ones(3), rate_hz=1.0)
