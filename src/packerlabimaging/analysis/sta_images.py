"""Images of stimulus-triggered averages: plain functions on arrays, NaN left out everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Method = Literal["raw", "df", "dff", "z"]
METHODS: tuple[Method, ...] = ("raw", "df", "dff", "z")


@dataclass(frozen=True, eq=False)
class PreferredKind:
    """Per pixel ``(y, x)``: ``kind`` preferred (-1 for none), its ``response``, and ``selectivity`` from 0 to 1."""

    kind: np.ndarray
    response: np.ndarray
    selectivity: np.ndarray


@dataclass(frozen=True, eq=False)
class PixelTest:
    """Per pixel ``(y, x)``: ``t``, two-sided ``pvalue`` and ``pvalue_adjusted`` over all pixels; NaN where nothing varies."""

    t: np.ndarray
    pvalue: np.ndarray
    pvalue_adjusted: np.ndarray


def find_preferred(images: np.ndarray, *, threshold: float | None = None) -> PreferredKind:
    """Return which of several images ``(n_kinds, y, x)`` is greatest in each pixel, and how clearly.

    Selectivity is (p - o) / (p + o), with p the greatest value and o the median of the others, negative ones counted as 0.
    Pixels whose greatest value is below ``threshold`` (by default: not above 0) prefer none.
    """
    filled = np.where(np.isnan(images), -np.inf, images)
    kind = filled.argmax(axis=0)
    best = np.take_along_axis(filled, kind[None], axis=0)[0]
    others = images.copy()
    np.put_along_axis(others, kind[None], np.nan, axis=0)
    rest = np.maximum(np.nan_to_num(median_over(others)), 0.0)
    positive = np.maximum(np.where(np.isfinite(best), best, 0.0), 0.0)
    total = positive + rest
    selectivity = np.divide(positive - rest, total, out=np.zeros_like(total), where=total > 0)
    shown = np.isfinite(best) & (best > 0 if threshold is None else best >= threshold)
    return PreferredKind(
        np.where(shown, kind, -1), np.where(shown, best, np.nan).astype(np.float32), np.clip(selectivity, 0.0, 1.0)
    )


def relative_to_baseline(mean: np.ndarray, before: np.ndarray, *, method: Method) -> np.ndarray:
    """Return frames ``(time, y, x)`` less, or relative to, the mean (dF/F) or the spread (z) of those before the onset."""
    if method == "raw":
        return mean
    baseline = mean_over(mean[before])
    difference = mean - baseline.astype(np.float32)
    if method == "df":
        return difference
    scale = baseline if method == "dff" else sd_over(mean[before])
    return np.asarray(difference / np.where(scale > 0, scale, np.nan).astype(np.float32))


def mean_over(frames: np.ndarray) -> np.ndarray:
    """Mean over the first axis, NaN left out; NaN where nothing is left."""
    n = np.sum(~np.isnan(frames), axis=0)
    return np.asarray(np.nansum(frames, axis=0, dtype=np.float64) / np.where(n > 0, n, np.nan))


def sd_over(frames: np.ndarray) -> np.ndarray:
    """Population standard deviation over the first axis, NaN left out; NaN where nothing is left."""
    mean = mean_over(frames)
    return np.sqrt(mean_over((frames - mean) ** 2))


def median_over(images: np.ndarray) -> np.ndarray:
    """Median over the first axis, NaN left out; NaN where nothing is left."""
    ordered = np.sort(images, axis=0)
    n = np.sum(~np.isnan(images), axis=0)
    low, high = np.maximum((n - 1) // 2, 0)[None], np.minimum(n // 2, len(images) - 1)[None]
    both = np.take_along_axis(ordered, low, axis=0)[0], np.take_along_axis(ordered, high, axis=0)[0]
    return np.where(n > 0, (both[0] + both[1]) / 2, np.nan)


def local_correlation(movie: np.ndarray) -> np.ndarray:
    """Pearson correlation over time of each pixel with the mean of its up to 8 neighbours; NaN where either is constant."""
    kept = movie[~np.isnan(movie).any(axis=(1, 2))].astype(np.float64)
    n_times, height, width = kept.shape
    padded = np.zeros((n_times, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = kept
    inside = np.pad(np.ones((height, width)), 1)
    total, count = np.zeros_like(kept), np.zeros((height, width))
    for dy, dx in ((dy, dx) for dy in range(3) for dx in range(3) if (dy, dx) != (1, 1)):
        total += padded[:, dy : dy + height, dx : dx + width]
        count += inside[dy : dy + height, dx : dx + width]
    around = total / np.maximum(count, 1)
    own, around = kept - kept.mean(axis=0), around - around.mean(axis=0)
    norm = np.sqrt((own**2).sum(axis=0) * (around**2).sum(axis=0))
    return np.divide((own * around).sum(axis=0), norm, out=np.full(norm.shape, np.nan), where=norm > 0).astype(np.float32)
