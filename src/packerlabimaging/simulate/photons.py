"""From expected photons to digitiser counts: photon noise, gain, electronic noise, rounding.

numpy's Poisson generator takes most of the time of a simulation. Photon counts below ``TABLE_PHOTONS`` are drawn from
precomputed alias tables instead (Walker 1977), one table per step of ``STEP_PHOTONS``; each pixel takes the step below or
above its own expectation at random, so that the mean stays exact and the variance grows by at most ``STEP_PHOTONS**2 / 4``,
one in 10,000 of a photon squared. Brighter pixels are drawn by numpy.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from packerlabimaging.simulate.parameters import BIT_DEPTH, SimulationParameters

STEP_PHOTONS = 0.02
TABLE_PHOTONS = 16.0
_SLOTS = 64  # counts in a table: 64 photons at 16 expected have a probability of 1e-18
_SLOT_BITS, _STEP_BITS = 6, 10  # of the 32 random bits of a pixel; the other 16 choose between a slot's two counts


def digitise(photons: np.ndarray, parameters: SimulationParameters, rng: np.random.Generator) -> np.ndarray:
    """Detect photons: Poisson counts, gain, electronic noise, offset, rounded and clipped to the digitiser's bits.

    Parameters
    ----------
    photons
        Expected photons per pixel, any shape, float32, >= 0.

    Returns
    -------
    numpy.ndarray
        float32, whole numbers from 0 to 2**13 - 1.

    Notes
    -----
    The electronic noise takes one of 65,536 values of equal probability (the mid-quantiles of a normal distribution),
    which is far finer than its rounding to whole counts.
    """
    levels = _normal_quantiles() * np.float32(parameters.read_noise_counts) + np.float32(parameters.offset_counts)
    pixels = levels.take(rng.integers(0, len(levels), photons.shape, dtype=np.uint16))
    pixels += np.float32(parameters.gain_counts) * draw_photons(photons, rng)
    np.rint(pixels, out=pixels)
    return np.clip(pixels, 0, 2**BIT_DEPTH - 1, out=pixels)


def draw_photons(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw Poisson counts.

    Parameters
    ----------
    expected
        Expected counts, any shape, float32, >= 0.

    Returns
    -------
    numpy.ndarray
        Counts, float32, of the same shape.
    """
    chances, others = _alias_tables()
    bits = rng.integers(0, 2**32, expected.shape, dtype=np.uint32)
    step = (bits >> _SLOT_BITS) & (2**_STEP_BITS - 1)
    row = np.multiply(step, 2.0**-_STEP_BITS, dtype=np.float32)
    row += np.minimum(expected, np.float32(TABLE_PHOTONS)) * np.float32(1 / STEP_PHOTONS)
    slot = bits & (_SLOTS - 1)
    place = row.astype(np.int32)
    place <<= _SLOT_BITS
    place |= slot.view(np.int32)
    counts = np.where((bits >> 16) < chances.take(place), slot, others.take(place)).astype(np.float32)
    if expected.max(initial=0.0) >= TABLE_PHOTONS:
        bright = expected >= TABLE_PHOTONS
        counts[bright] = rng.poisson(expected[bright])
    return counts


@cache
def _alias_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return, for every step and slot, the chance (of 65,536) that the slot's own count is taken, and the other count."""
    from scipy.special import gammaln, xlogy

    steps = np.arange(round(TABLE_PHOTONS / STEP_PHOTONS) + 2) * STEP_PHOTONS
    count = np.arange(_SLOTS)
    poisson = np.exp(xlogy(count, steps[:, None]) - steps[:, None] - gammaln(count + 1))
    left = poisson * _SLOTS  # 1 is a slot's fair share
    rows = np.arange(len(steps))
    chances, others = np.ones_like(left), np.tile(np.arange(_SLOTS), (len(steps), 1))
    open_ = np.ones(left.shape, bool)
    for _ in range(_SLOTS - 1):  # the poorest slot is filled up by the richest and closed
        poor = np.where(open_, left, np.inf).argmin(axis=1)
        rich = np.where(open_, left, -np.inf).argmax(axis=1)
        chances[rows, poor] = np.minimum(left[rows, poor], 1.0)
        others[rows, poor] = rich
        left[rows, rich] -= 1.0 - chances[rows, poor]
        open_[rows, poor] = False
    return np.round(chances * 65536).astype(np.uint32).ravel(), others.astype(np.uint32).ravel()


@cache
def _normal_quantiles() -> np.ndarray:
    """Return the 65,536 mid-quantiles of the standard normal distribution, float32."""
    from scipy.special import ndtri

    return ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
