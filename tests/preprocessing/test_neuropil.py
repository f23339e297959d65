"""Neuropil subtraction: by hand, and the fit on traces of known coefficient."""

from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.errors import ParameterError
from packerlabimaging.preprocessing import NeuropilSettings, subtract_neuropil


def test_fixed_coefficient_by_hand_also_for_integers():
    corrected, coefficients = subtract_neuropil(np.array([[10, 20, 30]], np.uint16), np.array([[10, 10, 40]], np.uint16))
    assert corrected.dtype == np.float32
    assert np.allclose(corrected, [[3, 13, 2]])
    assert coefficients.tolist() == [0.7]


def simulated(rng, true, n_frames=3000):
    neuropil = 100 + np.cumsum(rng.normal(0, 1, (len(true), n_frames)), axis=1) * 0.5 + rng.normal(0, 3, (len(true), n_frames))
    spikes = rng.random((len(true), n_frames)) < 0.002  # 0.06 a second at 30 Hz
    kernel = np.exp(-np.arange(60) / 20)
    cell = np.array([np.convolve(row, kernel)[:n_frames] for row in spikes]) * 60
    return 50 + cell + np.array(true)[:, None] * neuropil + rng.normal(0, 4, neuropil.shape), neuropil


def test_fit_finds_the_coefficient_despite_transients_and_artefacts():
    rng = np.random.default_rng(0)
    true = [0.2, 0.5, 0.7, 0.9]
    F, Fneu = simulated(rng, true)
    artefact = np.zeros(F.shape[1], bool)
    artefact[::10] = True
    clean = subtract_neuropil(F, Fneu, coefficient="fit", exclude=artefact)[1]
    assert np.allclose(clean, true, atol=0.1)
    F[:, artefact] = 1e9
    Fneu[:, artefact] = 1e9
    assert np.array_equal(subtract_neuropil(F, Fneu, coefficient="fit", exclude=artefact)[1], clean)


def test_fit_is_clipped_and_falls_back_to_the_stated_value_for_constant_neuropil():
    rng = np.random.default_rng(1)
    F, Fneu = simulated(rng, [1.8, -0.8, 0.5])
    Fneu[2] = 80.0
    assert np.allclose(subtract_neuropil(F, Fneu, coefficient="fit")[1], [1.0, 0.0, 0.7])


def test_nan_stays_nan_and_does_not_spread():
    F = np.full((1, 5), 10.0)
    F[0, 2] = np.nan
    corrected, _ = subtract_neuropil(F, np.full((1, 5), 10.0))
    assert np.isnan(corrected[0, 2])
    assert np.allclose(np.delete(corrected, 2), 3.0)


def test_refuses_what_makes_no_sense():
    with pytest.raises(ParameterError, match="number from 0 to 1, or 'fit'"):
        subtract_neuropil(np.ones((1, 2)), np.ones((1, 2)), coefficient=1.5)
    with pytest.raises(ParameterError, match="one neuropil trace per ROI"):
        subtract_neuropil(np.ones((1, 2)), np.ones((2, 2)))
    with pytest.raises(ParameterError, match="Did you mean 'fit'"):
        NeuropilSettings(coefficient="fitt")
    with pytest.raises(ParameterError, match="number from 0 to 1"):
        NeuropilSettings(coefficient=-0.1)
