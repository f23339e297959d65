"""The noise level against its definition, by hand and in a loop."""

from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.preprocessing import compute_noise


def test_by_hand():
    assert compute_noise(np.array([[0.0, 0.1, 0.0, 0.1]]), rate_hz=25.0)[0] == pytest.approx(2.0)


def test_pairs_that_touch_an_artefact_or_nan_are_left_out():
    rng = np.random.default_rng(0)
    dff = rng.normal(0, 0.1, (4, 500))
    artefact = np.zeros(500, bool)
    artefact[[0, 50, 51, 300, 499]] = True
    dff[2, 200:210] = np.nan
    expected = []
    for row in dff:
        steps = [
            abs(row[t + 1] - row[t])
            for t in range(499)
            if not artefact[t] and not artefact[t + 1] and np.isfinite(row[t]) and np.isfinite(row[t + 1])
        ]
        expected.append(100 * np.median(steps) / np.sqrt(30.0))
    assert np.allclose(compute_noise(dff, rate_hz=30.0, exclude=artefact), expected, rtol=1e-5)
    poisoned = dff.copy()
    poisoned[:, artefact] = 1e9
    assert np.allclose(compute_noise(poisoned, rate_hz=30.0, exclude=artefact), expected, rtol=1e-5)


def test_nothing_left_is_nan():
    assert np.isnan(compute_noise(np.zeros((1, 4)), rate_hz=1.0, exclude=np.array([False, True, False, True]))[0])


def test_white_noise_has_the_same_level_at_any_rate():
    rng = np.random.default_rng(1)
    fast = compute_noise(rng.normal(0, 0.2, (1, 40000)), rate_hz=40.0)
    slow = compute_noise(rng.normal(0, 0.1, (1, 40000)), rate_hz=10.0)
    assert fast[0] == pytest.approx(slow[0], rel=0.05)
