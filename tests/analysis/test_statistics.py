"""Statistics against scipy and against hand-computed values."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from packerlabimaging.analysis import (
    adjust_bh,
    adjust_bonferroni,
    adjust_by,
    permutation_pvalue,
    smallest_attainable_p,
    wilcoxon_signed_rank,
)
from packerlabimaging.analysis.statistics import calls_needed
from packerlabimaging.errors import ParameterError


def scipy_p(row):
    row = row[~np.isnan(row)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return stats.wilcoxon(row).pvalue


@pytest.mark.parametrize("n", [1, 2, 5, 10, 13, 20, 49, 50, 51, 100, 300])
def test_equals_scipy_without_ties(n):
    differences = np.random.default_rng(n).normal(0.2, 1, (20, n))
    assert np.allclose(wilcoxon_signed_rank(differences), [scipy_p(row) for row in differences], rtol=1e-9, atol=0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9).filter(any))
def test_equals_scipy_with_ties_and_zeros_for_small_n(values):
    row = np.array(values, float)
    assert wilcoxon_signed_rank(row[None])[0] == pytest.approx(scipy_p(row), rel=1e-9)


@pytest.mark.parametrize("n", [14, 30, 50, 51, 120])
def test_equals_scipy_with_ties_and_zeros_for_large_n(n):
    differences = np.random.default_rng(n).integers(-3, 6, (20, n)).astype(float)
    assert np.allclose(wilcoxon_signed_rank(differences), [scipy_p(row) for row in differences], rtol=1e-9)


def test_nan_is_left_out_row_by_row():
    differences = np.random.default_rng(0).normal(0.3, 1, (10, 30))
    for row in range(10):
        differences[row, : 2 * row] = np.nan
    assert np.allclose(wilcoxon_signed_rank(differences), [scipy_p(row) for row in differences])


def test_all_zero_is_one_and_all_nan_is_nan():
    p = wilcoxon_signed_rank(np.array([[0.0] * 20, [np.nan] * 20]))
    assert p[0] == 1.0
    assert np.isnan(p[1])


def test_smallest_p_is_reached_when_all_differences_agree():
    for n in (5, 10, 15):
        assert wilcoxon_signed_rank(np.arange(1.0, n + 1)[None])[0] == pytest.approx(smallest_attainable_p(n))
    assert smallest_attainable_p(10) == pytest.approx(0.00195, abs=1e-5)


def test_calls_needed_is_where_benjamini_hochberg_starts_to_call():
    assert calls_needed(smallest_attainable_p(10), n_tests=1000, alpha=0.1) == 20  # 20 to 40 at the floor, by alpha
    assert calls_needed(smallest_attainable_p(15), n_tests=1000, alpha=0.1) == 1
    for n_at_floor in (19, 20):
        p = np.ones(1000)
        p[:n_at_floor] = smallest_attainable_p(10)
        assert np.any(adjust_bh(p) < 0.1) == (n_at_floor >= 20)


P = np.array([0.01, 0.04, 0.03, np.nan, 0.005])


def test_corrections_by_hand():
    assert np.allclose(adjust_bonferroni(P), [0.04, 0.16, 0.12, np.nan, 0.02], equal_nan=True)
    assert np.allclose(adjust_bh(P), [0.02, 0.04, 0.04, np.nan, 0.02], equal_nan=True)
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert np.allclose(adjust_by(P), np.minimum(adjust_bh(P) * harmonic, 1), equal_nan=True)
    assert np.isnan(adjust_bh(np.full(3, np.nan))).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_corrections_equal_scipys(values):
    p = np.array(values)
    assert np.allclose(adjust_bh(p), stats.false_discovery_control(p, method="bh"))
    assert np.allclose(adjust_by(p), stats.false_discovery_control(p, method="by"))


def test_permutation_p_is_never_zero():
    p = permutation_pvalue(np.array([5.0, 0.0, np.nan]), np.array([[1.0, 2, 3], [0, -1, 1], [0, 0, 0]]))
    assert np.allclose(p, [1 / 4, 3 / 4, np.nan], equal_nan=True)


def test_refuses_wrong_shapes():
    with pytest.raises(ParameterError, match=r"\(n_rois, n_stims\)"):
        wilcoxon_signed_rank(np.ones(3))
    with pytest.raises(ParameterError, match="number of permutations"):
        permutation_pvalue(np.ones(3), np.ones((2, 10)))
