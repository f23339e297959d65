"""Compiled kernels of the streaming reducers."""

from __future__ import annotations

import numpy as np

from packerlabimaging._compiled import compiled


@compiled
def add_to(total: np.ndarray, frame: np.ndarray) -> None:
    """Add a frame to a sum of a wider type, both flat."""
    for i in range(total.size):
        total[i] += frame[i]


@compiled
def add_to_both(total: np.ndarray, other: np.ndarray, frame: np.ndarray) -> None:
    """Add a frame to two sums of a wider type, all flat."""
    for i in range(total.size):
        value = frame[i]
        total[i] += value
        other[i] += value


_BLOCK_PX = 1024
"""Pixels taken at a time over all frames of a chunk: what is kept of them stays in the processor's first cache."""


@compiled
def project(frames: np.ndarray, total: np.ndarray, squares: np.ndarray, highest: np.ndarray, lowest: np.ndarray) -> None:
    """Add frames ``(time, pixels)`` of integers of up to 16 bits to sums (int64), and widen the highest and lowest values.

    One loop for each outcome, because each can then be computed for many pixels at once.
    """
    n_frames, n_pixels = frames.shape
    for first in range(0, n_pixels, _BLOCK_PX):
        end = min(first + _BLOCK_PX, n_pixels)
        sums, square_sums, high, low = total[first:end], squares[first:end], highest[first:end], lowest[first:end]
        for t in range(n_frames):
            row = frames[t, first:end]
            for i in range(end - first):
                sums[i] += row[i]
            for i in range(end - first):
                value = np.int64(row[i])
                square_sums[i] += value * value
            for i in range(end - first):
                high[i] = max(high[i], row[i])
            for i in range(end - first):
                low[i] = min(low[i], row[i])


@compiled
def sum_frames(frames: np.ndarray, sums: np.ndarray) -> None:
    """Write the sum of all pixels of each frame ``(time, pixels)`` of integers exactly into ``sums`` (int64)."""
    for t in range(frames.shape[0]):
        total = np.int64(0)
        for i in range(frames.shape[1]):
            total += np.int64(frames[t, i])
        sums[t] = total
