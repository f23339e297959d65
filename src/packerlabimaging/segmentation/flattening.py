"""The binned movie made ready for detection: neuropil and slow changes taken away, every pixel in units of its noise."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SURROUND_DIAMETERS = 4.0
"""Side of the square whose mean is taken away from each pixel, in cell diameters."""

MEAN_DIFFERENCE_TO_SD = float(np.sqrt(np.pi) / 2)
"""Sd of a normal variable over the mean absolute difference of two draws of it."""

_ROWS, _BINS = 8, 16
"""Rows, and bins, that one thread works on at a time."""


def flatten(bins: np.ndarray, diameter_px: tuple[float, float], *, highpass_bins: int, workers: int = 1) -> None:
    """Take the local mean in space and the running mean in time away from a binned movie, and divide by the noise, in place.

    The noise of a pixel is estimated from differences of successive bins, which slow signals hardly enter.

    Parameters
    ----------
    bins
        Binned movie, float16 ``(n_bins, y, x)``.
    diameter_px
        Expected diameter of a cell along ``(y, x)``; the local mean is over :data:`SURROUND_DIAMETERS` of it.
    highpass_bins
        Length of the running mean.
    """
    from scipy.ndimage import uniform_filter, uniform_filter1d

    surround = [2 * int(SURROUND_DIAMETERS * size / 2) + 1 for size in diameter_px]

    def in_space(number: int) -> None:
        frame = bins[number].astype(np.float32)
        bins[number] = frame - uniform_filter(frame, surround, mode="nearest")

    def in_time(row: int) -> None:
        part = bins[:, row : row + _ROWS].astype(np.float32)
        part -= uniform_filter1d(part, min(highpass_bins, len(part)), axis=0, mode="nearest")
        noise = noise_sd(part)
        bins[:, row : row + _ROWS] = np.divide(part, noise, out=np.zeros_like(part), where=noise > 0)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(in_space, range(len(bins))))
        list(pool.map(in_time, range(0, bins.shape[1], _ROWS)))


def noise_sd(values: np.ndarray) -> np.ndarray:
    """Noise along the first axis, from the mean absolute difference of successive values; 0 for fewer than two."""
    if len(values) < 2:
        return np.zeros(values.shape[1:], np.float32)
    return np.abs(np.diff(values, axis=0)).mean(axis=0) * np.float32(MEAN_DIFFERENCE_TO_SD)


def sum_over_bins(part: Callable[[int, int], np.ndarray], n_bins: int, workers: int) -> np.ndarray:
    """Add up ``part(first, end)`` over stretches of bins, in order, float64; as many at a time as there are workers."""
    starts = range(0, n_bins, _BINS)
    total: np.ndarray | float = 0.0
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(starts), workers):
            batch = starts[first : first + workers]
            for value in pool.map(lambda start: part(start, min(start + _BINS, n_bins)), batch):
                total = total + value.astype(np.float64)
    return np.asarray(total)


def correlation_image(bins: np.ndarray, *, workers: int = 1) -> np.ndarray:
    """Correlation over time of each pixel with the mean of its eight neighbours, float32 ``(y, x)``; 0 where constant."""
    from scipy.ndimage import uniform_filter

    def moments(first: int, end: int) -> np.ndarray:
        total = np.zeros((5, *bins.shape[1:]), np.float32)
        for number in range(first, end):
            frame = bins[number].astype(np.float32)
            around = (9.0 * uniform_filter(frame, 3, mode="nearest") - frame) / 8.0
            for moment, value in zip(total, (frame, around, frame * frame, around * around, frame * around), strict=True):
                moment += value
        return total

    x, y, xx, yy, xy = sum_over_bins(moments, len(bins), workers) / len(bins)
    variance = (xx - x * x) * (yy - y * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(variance > 1e-12, (xy - x * y) / np.sqrt(np.maximum(variance, 1e-12)), 0.0)
    return correlation.astype(np.float32)
