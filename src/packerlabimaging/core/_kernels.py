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
