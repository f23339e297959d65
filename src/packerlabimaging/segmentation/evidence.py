"""What speaks for a component being a cell: its signal, and its shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.segmentation.flattening import noise_sd

HALO_DIAMETERS = (0.2, 0.4)
"""The ring around a mask in which a cell in focus leaves nothing: distances from the mask's edge, in cell diameters."""


@dataclass(frozen=True)
class Evidence:
    """Measures of one component.

    Parameters
    ----------
    score
        Height of the score image at the seed: root of the summed squares of active bins, in sd of noise.
    snr
        99th percentile of the binned trace, in sd of its noise.
    reliability
        Correlation over time between the traces of every other pixel and of the rest: near 0 for noise.
    peak_correlation
        Highest value of the correlation image within the mask.
    area
        Area of the mask, in areas of a disc of the expected diameter.
    compactness
        Mean distance of the pixels from their centre over that of a disc of the same area: 1 for a disc, more for others.
    halo
        Mean weight in the ring :data:`HALO_DIAMETERS` around the mask, as a fraction of that within: near 0 for a cell in
        focus, large for a blurred one, or for neuropil.
    """

    score: float
    snr: float
    reliability: float
    peak_correlation: float
    area: float
    compactness: float
    halo: float


def weigh_evidence(
    movie: np.ndarray,
    weights: np.ndarray,
    mask: np.ndarray,
    *,
    diameter_px: tuple[float, float],
    score: float,
    peak_correlation: float,
) -> Evidence:
    """Measure a component.

    Parameters
    ----------
    movie
        Flattened movie around it, float32 ``(n_bins, y, x)``.
    weights, mask
        How strongly each pixel follows it, and which belong to it, ``(y, x)``.
    diameter_px
        Expected diameter of a cell along ``(y, x)``.
    score, peak_correlation
        See :class:`Evidence`.
    """
    pixels, strength = movie[:, mask], weights[mask]
    trace = pixels @ strength
    noise = float(noise_sd(trace))
    halves = [pixels[:, part::2] @ strength[part::2] for part in (0, 1)]
    return Evidence(
        score=score,
        snr=float(np.percentile(trace, 99)) / noise if noise > 0 else 0.0,
        reliability=float(np.corrcoef(halves)[0, 1]) if all(np.ptp(half) > 0 for half in halves) else 0.0,
        peak_correlation=peak_correlation,
        area=float(mask.sum() / (np.pi / 4 * diameter_px[0] * diameter_px[1])),
        compactness=measure_compactness(mask, diameter_px),
        halo=measure_halo(weights, mask, diameter_px),
    )


def measure_compactness(mask: np.ndarray, diameter_px: tuple[float, float]) -> float:
    """Mean distance of a mask's pixels from their centre over that of a disc of equal area: 1 for a disc.

    Lengths are in cell diameters along each axis, so that pixels need not be square.
    """
    y, x = (axis / size for axis, size in zip(np.nonzero(mask), diameter_px, strict=True))
    mean_distance = np.hypot(y - y.mean(), x - x.mean()).mean()
    radius = np.sqrt(len(y) / (np.pi * diameter_px[0] * diameter_px[1]))
    return float(mean_distance / (2 / 3 * radius))


def measure_halo(weights: np.ndarray, mask: np.ndarray, diameter_px: tuple[float, float]) -> float:
    """Mean weight in a ring around a mask, as a fraction of the mean weight within it."""
    from scipy.ndimage import distance_transform_edt

    away = distance_transform_edt(~mask, sampling=[1 / size for size in diameter_px])
    ring = (away > HALO_DIAMETERS[0]) & (away <= HALO_DIAMETERS[1])
    within = float(weights[mask].mean())
    return float(weights[ring].mean()) / within if ring.any() and within > 0 else 0.0
