"""Minimum and maximum per bin: draws millions of samples with a few thousand points, and a pulse of one sample stays visible."""

from __future__ import annotations

import numpy as np

from packerlabimaging.core.signals import CHUNK_SAMPLES, Channel

N_BINS = 1500
"""Bins over the width of a plot: about one a pixel in print."""


def bin_edges(n_samples: int, n_bins: int) -> np.ndarray:
    """Return the ``n + 1`` edges of at most ``n_bins`` bins of nearly one size, none of them empty; int64."""
    return np.linspace(0, n_samples, min(n_bins, n_samples) + 1).astype(np.int64)


def envelope(values: np.ndarray, n_bins: int = N_BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reduce samples to the least and the greatest of each bin.

    Parameters
    ----------
    values
        Shape ``(n,)``, ``n > 0``.
    n_bins
        Most bins; fewer samples than that are returned as they are.

    Returns
    -------
    edges, low, high
        Sample numbers ``(n + 1,)``, and the extremes of each bin; NaN where a bin holds nothing but NaN.
    """
    edges = bin_edges(len(values), n_bins)
    return edges, np.fmin.reduceat(values, edges[:-1]), np.fmax.reduceat(values, edges[:-1])


def channel_envelope(channel: Channel, start: int, stop: int, n_bins: int = N_BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Like :func:`envelope` for samples ``start`` to ``stop`` of a channel, read a bounded piece at a time.

    Returns
    -------
    edges, low, high
        ``edges`` are sample numbers of the channel.
    """
    edges = start + bin_edges(stop - start, n_bins)
    low, high = np.full(len(edges) - 1, np.nan, np.float32), np.full(len(edges) - 1, np.nan, np.float32)
    for first in range(start, stop, CHUNK_SAMPLES):
        chunk = channel.read(first, min(first + CHUNK_SAMPLES, stop))
        left = int(np.searchsorted(edges, first, side="right")) - 1
        right = int(np.searchsorted(edges, first + len(chunk), side="left"))
        offsets = np.maximum(edges[left:right] - first, 0)
        low[left:right] = np.fmin(low[left:right], np.fmin.reduceat(chunk, offsets))
        high[left:right] = np.fmax(high[left:right], np.fmax.reduceat(chunk, offsets))
    return edges, low, high


def zigzag(times_s: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one line through all extremes: each time twice, its minimum and its maximum; plain points where they agree."""
    if np.array_equal(low, high, equal_nan=True):
        return times_s, low
    return np.repeat(times_s, 2), np.stack([low, high], axis=1).ravel()


def trace_line(times_s: np.ndarray, values: np.ndarray, *, gap_s: float, n_bins: int = N_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Return the line of a trace, decimated where it is long and broken where samples are more than ``gap_s`` apart or NaN.

    Parameters
    ----------
    times_s, values
        Shape ``(n,)``.
    gap_s
        Longest interval that the line may bridge, seconds.
    n_bins
        Most bins over the whole trace.
    """
    breaks = np.flatnonzero(np.diff(times_s) > gap_s) + 1
    parts = []
    for part in np.split(np.arange(len(times_s)), breaks):
        if not len(part):
            continue
        share = n_bins if len(values) <= 2 * n_bins else max(1, round(n_bins * len(part) / len(values)))
        block = values[part]
        if len(values) <= 2 * n_bins:
            line = times_s[part], block
        else:
            edges, low, high = envelope(block, share)
            middles = (times_s[part][edges[:-1]] + times_s[part][edges[1:] - 1]) / 2
            line = zigzag(middles, low, high)
        parts += [line, (line[0][-1:], np.full(1, np.nan))]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
