"""Finding cells in the flattened movie: soma-sized seeds with rare bright moments, grown into the pixels that follow them.

A score image says how far the soma-smoothed movie rises above its noise. From its highest point the pixels are taken whose
time course follows the seed's while it is active; what they explain is subtracted from the movie, which frees the
neighbours that overlap, and the search goes on until no score exceeds the threshold (greedy rank-one components, as in
Pnevmatikakis et al. 2016, doi:10.1016/j.neuron.2015.11.037).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging._progress import Progress
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.segmentation.evidence import Evidence, weigh_evidence
from packerlabimaging.segmentation.flattening import MEAN_DIFFERENCE_TO_SD, correlation_image, noise_sd, sum_over_bins

NOISE_BINS = 0.4
"""Bins of a recording that noise alone is let pass for active at any place: as many in a long one as in a short one, so that
the score of noise does not depend on the length. It sets how many sd a bin must rise: 3 for 300 bins, 3.5 for 2,000."""

SMOOTHING_DIAMETERS = 0.2
"""Sd of the Gaussian that seeds are looked for with, in cell diameters; 0.2 to 0.3 match a disc about equally well."""

EDGE_FRACTION = 0.5
"""A cell ends where its weight has fallen to half of its plateau."""

REACH_DIAMETERS = 1.2
"""How far from its seed a component is followed and subtracted, in cell diameters; its mask reaches at most one."""

AREA_LIMITS = (0.25, 2.5)
"""Smallest and largest area of an ROI, in areas of a disc of the cell diameter."""

MAX_OVERLAP = 0.5
"""A component with more of its pixels than this in earlier ROIs is a remainder of theirs, not a cell."""

Block = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Detection:
    """ROIs in the order found, what speaks for each, and the images that they were found on.

    Parameters
    ----------
    rois
        ROIs, weighted by how strongly each pixel follows the cell.
    evidence
        One per ROI.
    images
        ``score`` and ``correlation``, float32 ``(y, x)``.
    """

    rois: RoiSet
    evidence: tuple[Evidence, ...]
    images: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Component:
    """A grown component: where it lies, the movie there, how strongly its pixels follow, and which belong to it."""

    block: Block
    movie: np.ndarray
    weights: np.ndarray
    mask: np.ndarray

    @property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """``(y, x)`` of the mask in the frame."""
        y, x = np.nonzero(self.mask)
        return y + self.block[0].start, x + self.block[1].start


class CellFinder:
    """The flattened movie, which the search consumes, and the score that it follows.

    Parameters
    ----------
    bins
        Flattened movie in units of each pixel's noise, float16 ``(n_bins, y, x)``; changed in place.
    diameter_px
        Expected diameter of a cell along ``(y, x)``.
    valid
        Where seeds may lie, boolean ``(y, x)``.
    """

    def __init__(self, bins: np.ndarray, diameter_px: tuple[float, float], valid: np.ndarray, *, workers: int = 1) -> None:
        self._bins, self._valid = bins, valid.copy()
        self._active_sd = active_sd(len(bins))
        self._diameter_px = np.asarray(diameter_px, np.float64)
        self._sigma = np.maximum(SMOOTHING_DIAMETERS * self._diameter_px, 0.5)
        self._margin = np.ceil(3 * self._sigma).astype(int)
        self._reach = np.ceil(REACH_DIAMETERS * self._diameter_px).astype(int)
        y, x = (np.arange(-reach, reach + 1) / size for reach, size in zip(self._reach, self._diameter_px, strict=True))
        self._distance = np.hypot(y[:, None], x[None, :])  # from the seed, in diameters
        differences = sum_over_bins(self._differences, len(bins) - 1, workers)
        self._noise = (differences / (len(bins) - 1) * MEAN_DIFFERENCE_TO_SD).astype(np.float32)
        self._noise[self._noise <= 0] = np.inf  # constant pixels never score
        self._energy = sum_over_bins(self._energies, len(bins), workers).astype(np.float32) * self._valid

    def _smooth(self, first: int, end: int, block: Block = (slice(None), slice(None))) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        part = self._bins[first:end, block[0], block[1]].astype(np.float32)
        return gaussian_filter(part, (0, *self._sigma), mode="nearest", truncate=3.0, output=part)

    def _differences(self, first: int, end: int) -> np.ndarray:
        return np.abs(np.diff(self._smooth(first, end + 1), axis=0)).sum(axis=0)

    def _energies(self, first: int, end: int) -> np.ndarray:
        return self._excess(self._smooth(first, end) / self._noise)

    def _excess(self, values: np.ndarray) -> np.ndarray:
        """Sum over bins of the squares of the values of active bins."""
        return np.where(values > self._active_sd, values * values, np.float32(0)).sum(axis=0)

    @property
    def score(self) -> np.ndarray:
        """Root of the summed squares of the active bins, in sd of noise, float32 ``(y, x)``."""
        return np.sqrt(self._energy)

    def highest(self) -> tuple[int, int, float]:
        """Return ``(y, x, score)`` of the highest point that is left."""
        y, x = np.unravel_index(int(self._energy.argmax()), self._energy.shape)
        return int(y), int(x), float(np.sqrt(self._energy[y, x]))

    def _block(self, y: int, x: int, reach: np.ndarray) -> Block:
        """Return the part of the frame within ``reach`` of a point."""
        height, width = self._valid.shape
        rows = slice(max(0, y - int(reach[0])), min(height, y + int(reach[0]) + 1))
        return rows, slice(max(0, x - int(reach[1])), min(width, x + int(reach[1]) + 1))

    def _distance_in(self, block: Block, y: int, x: int) -> np.ndarray:
        """Distance of a block's pixels from the seed that it was made around, in diameters."""
        rows, columns = (
            slice(part.start - seed + reach, part.stop - seed + reach)
            for part, seed, reach in zip(block, (y, x), self._reach.tolist(), strict=True)
        )
        return self._distance[rows, columns]

    def grow(self, y: int, x: int) -> _Component:
        """Grow a component from a seed; its mask is empty where nothing holds together.

        Starting from a Gaussian of the size of a soma, the trace of the mask and the pixels that follow it are found in
        turn, four times.
        """
        block = self._block(y, x, self._reach)
        movie = self._bins[:, block[0], block[1]].astype(np.float32)
        distance = self._distance_in(block, y, x)
        weights = np.exp(-0.5 * (distance / SMOOTHING_DIAMETERS) ** 2).astype(np.float32)
        mask = distance <= 0.5
        for _ in range(4):
            weights, mask = self._follow(movie, weights * mask, distance)
            if not mask.any():
                break
        return _Component(block, movie, weights, mask)

    def _follow(self, movie: np.ndarray, weights: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Regress each pixel on the weighted trace over its active bins.

        Returns the weights (smoothed by a twelfth of a diameter) and the connected part above :data:`EDGE_FRACTION` of the
        plateau, which is the upper quartile near the seed (a nucleus may be dark); holes are filled.
        """
        from scipy.ndimage import binary_fill_holes, gaussian_filter, label

        nothing = np.zeros(distance.shape, np.float32), np.zeros(distance.shape, bool)
        trace = np.tensordot(movie, weights, 2)
        active = trace > self._active_sd * max(float(noise_sd(trace)), 1e-6)
        if active.sum() < 2:
            return nothing
        strength = trace[active] / trace[active].max()
        follows = np.tensordot(strength, movie[active], 1) / float(strength @ strength)
        follows = np.maximum(gaussian_filter(follows, np.maximum(self._diameter_px / 12, 0.4)), 0.0)
        plateau = float(np.percentile(follows[distance <= 0.3], 75))
        inside = (follows > EDGE_FRACTION * plateau) & (distance <= 1.0)
        if plateau <= 0 or not inside.any():
            return nothing
        parts, _ = label(inside)
        nearest = np.unravel_index(int(np.where(inside, distance, np.inf).argmin()), inside.shape)
        return np.where(distance <= REACH_DIAMETERS, follows, 0.0), binary_fill_holes(parts == parts[nearest])

    def subtract(self, component: _Component, y: int, x: int) -> None:
        """Take a component away from the movie, bring the score up to date, and forbid another seed at its place."""
        if component.mask.any():
            inside = component.weights * component.mask
            trace = np.tensordot(component.movie, inside, 2) / float((inside * inside).sum())
            remainder = component.movie - np.maximum(trace, 0)[:, None, None] * component.weights
            self._bins[:, component.block[0], component.block[1]] = remainder
            self._refresh(self._block(y, x, self._reach + self._margin))
        block = self._block(y, x, self._reach)
        self._valid[block] &= self._distance_in(block, y, x) > 0.25
        self._energy[block] *= self._valid[block]

    def _refresh(self, block: Block) -> None:
        """Compute the score again within a block, from the movie there and a margin around it."""
        wide = tuple(
            slice(max(0, part.start - margin), min(size, part.stop + margin))
            for part, margin, size in zip(block, self._margin.tolist(), self._valid.shape, strict=True)
        )
        inner = tuple(slice(part.start - out.start, part.stop - out.start) for part, out in zip(block, wide, strict=True))
        smooth = self._smooth(0, len(self._bins), (wide[0], wide[1]))[:, inner[0], inner[1]]
        self._energy[block] = self._excess(smooth / self._noise[block]) * self._valid[block]


def active_sd(n_bins: int) -> np.float32:
    """Return how many sd of Gaussian noise only :data:`NOISE_BINS` of ``n_bins`` exceed; at least 2."""
    from scipy.special import ndtri

    return np.float32(max(2.0, -ndtri(min(0.5, NOISE_BINS / n_bins))))


def find_rois(
    bins: np.ndarray,
    *,
    diameter_px: tuple[float, float],
    valid: np.ndarray,
    min_score: float,
    max_rois: int,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Detection:
    """Find ROIs in a flattened movie.

    Parameters
    ----------
    bins
        From :func:`~packerlabimaging.segmentation.flattening.flatten`, at least 2 bins; consumed.
    diameter_px
        Expected diameter of a cell along ``(y, x)``.
    valid
        Where seeds may lie, boolean ``(y, x)``.
    min_score
        Height of the score image at which the search ends.
    max_rois
        Number of ROIs at which it ends at the latest.
    progress
        Called with the number of percent done, as told by the fall of the score, and 100.
    """
    correlation = correlation_image(bins, workers=workers)
    finder = CellFinder(bins, diameter_px, valid, workers=workers)
    score_image = finder.score
    owned = np.zeros(valid.shape, bool)
    pixels: list[tuple[np.ndarray, np.ndarray]] = []
    weights: list[np.ndarray] = []
    evidence: list[Evidence] = []
    top, percent = float(score_image.max()), 0
    while len(pixels) < max_rois:
        y, x, score = finder.highest()
        if score < min_score:
            break
        component = finder.grow(y, x)
        y_px, x_px = component.pixels
        if _fits(len(y_px), diameter_px) and owned[y_px, x_px].mean() <= MAX_OVERLAP:
            facts = {"score": score, "peak_correlation": float(correlation[y_px, x_px].max())}
            evidence.append(weigh_evidence(component.movie, component.weights, component.mask, diameter_px=diameter_px, **facts))
            pixels.append((y_px, x_px))
            weights.append(np.maximum(component.weights[component.mask], 1e-6))
            owned[y_px, x_px] = True
        finder.subtract(component, y, x)
        percent = max(percent, int(100 * (top - score) / max(top - min_score, 1e-6)))
        progress(percent, 100)
    progress(100, 100)
    rois = RoiSet.from_pixels(valid.shape, pixels, weights=weights)
    return Detection(rois, tuple(evidence), {"score": score_image, "correlation": correlation})


def _fits(n_pixels: int, diameter_px: tuple[float, float]) -> bool:
    """Say whether an ROI of so many pixels can be a cell."""
    disc = np.pi / 4 * diameter_px[0] * diameter_px[1]
    return bool(AREA_LIMITS[0] * disc <= n_pixels <= AREA_LIMITS[1] * disc)
