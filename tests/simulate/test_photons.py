from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from packerlabimaging.simulate import SimulationParameters
from packerlabimaging.simulate.photons import TABLE_PHOTONS, digitise, draw_photons


@pytest.mark.parametrize("expected", [0.05, 0.31, 0.69, 2.013, 7.5, 15.99, 16.0, 40.0])
def test_counts_follow_the_poisson_distribution(expected: float):
    n = 400_000
    counts = draw_photons(np.full(n, expected, np.float32), np.random.default_rng(11)).astype(int)
    seen, fair = np.bincount(counts), n * poisson.pmf(np.arange(counts.max() + 1), expected)
    common = fair > 20
    chi_square = np.sum((seen[common] - fair[common]) ** 2 / fair[common]) / common.sum()
    assert chi_square < 2.2
    assert abs(counts.mean() - expected) < 4 * np.sqrt(expected / n)
    assert counts.max() <= poisson.isf(1e-8, expected)


def test_every_pixel_has_its_own_expectation():
    expected = np.linspace(0.0, 2 * TABLE_PHOTONS, 400, dtype=np.float32)
    rng = np.random.default_rng(3)
    mean = np.mean([draw_photons(expected, rng) for _ in range(3000)], axis=0)
    assert np.all(np.abs(mean - expected) < 5 * np.sqrt((expected + 0.02) / 3000))
    assert mean[0] == 0


def test_pixels_are_independent():
    frames = draw_photons(np.full((400, 50, 50), 1.0, np.float32), np.random.default_rng(5)).reshape(400, -1)
    neighbours = np.corrcoef(frames[:, :-1].ravel(), frames[:, 1:].ravel())[0, 1]
    following = np.corrcoef(frames[:-1].ravel(), frames[1:].ravel())[0, 1]
    assert max(abs(neighbours), abs(following)) < 0.005


@pytest.mark.parametrize("photons", [0.1, 0.7, 3.0, 20.0])
def test_pixels_have_the_mean_and_variance_of_photons_and_electronics(photons: float):
    pixels = digitise(np.full((500, 400), photons, np.float32), SimulationParameters(), np.random.default_rng(1))
    gain, electronic, offset = 60.0, 20.0, 100.0
    variance = gain**2 * photons + electronic**2 + 1 / 12
    n = pixels.size
    assert np.array_equal(pixels, np.round(pixels))
    assert abs(pixels.mean() - (offset + gain * photons)) < 5 * np.sqrt(variance / n)
    assert abs(pixels.var() / variance - 1) < 5 * np.sqrt((2 + 1 / photons) / n)


def test_pixels_are_13_bit():
    pixels = digitise(np.full((10, 10), 1000.0, np.float32), SimulationParameters(), np.random.default_rng(0))
    assert pixels.max() == 8191
    dark = digitise(np.zeros((100, 100), np.float32), SimulationParameters(offset_counts=0), np.random.default_rng(0))
    assert dark.min() == 0
