"""Finding cells in the binned movie: soma-sized seeds with rare bright moments, grown into the pixels that follow them.

The binned movie is flattened in time (running mean taken away) and in space (local mean taken away: neuropil), and divided by
each pixel's noise. A score image says how far the soma-smoothed movie rises above its noise. From its highest
point the pixels are taken whose time course follows the seed's while it is active; what they explain is subtracted from the
movie, which frees the neighbours that overlap, and the search goes on until no score exceeds the threshold (greedy rank-one
components, as in Pnevmatikakis et al. 2016, doi:10.1016/j.neuron.2015.11.037).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from packerlabimaging._progress import Progress
from packerlabimaging.core.rois import RoiSet

ACTIVE_SD = 3.0
"""A bin counts as active where the smoothed trace exceeds its noise this many times: 1 in 740 bins of Gaussian noise."""

SMOOTHING_DIAMETERS = 0.2
"""Sd of the Gaussian that seeds are looked for with, in cell diameters: the one that best matches a disc has 0.4 of its radius."""

SURROUND_DIAMETERS = 4.0
"""Side of the square whose mean is taken away from each pixel, in cell diameters."""

EDGE_FRACTION = 0.4
"""Pixels belong to a cell where their weight exceeds this fraction of the cell's peak: about half, less for noise."""

AREA_LIMITS = (0.25, 2.5)
"""Smallest and largest area of an ROI, in areas of a disc of the cell diameter."""

MAX_OVERLAP = 0.5
"""A component with more of its pixels than this in earlier ROIs is a remainder of theirs, not a cell."""

Block = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Detection:
    """ROIs in the order found, and what speaks for them.

    Parameters
    ----------
    rois
        ROIs, weighted by how strongly each pixel follows the cell.
    score
        Height of the score image at the seed, ``(n_rois,)``.
    snr
        Peak of the ROI's binned trace in sd of its noise, ``(n_rois,)``.
    reliability
        Correlation over time between the traces of every other pixel and of the rest, ``(n_rois,)``: near 0 for noise.
    peak_correlation
        Highest value of the correlation image within the ROI, ``(n_rois,)``.
    images
        ``score`` and ``correlation``, float32 ``(y, x)``.
    """

    rois: RoiSet
    score: np.ndarray
    snr: np.ndarray
    reliability: np.ndarray
    peak_correlation: np.ndarray
    images: dict[str, np.ndarray] = field(default_factory=dict)


def flatten(bins: np.ndarray, diameter_px: tuple[float, float], *, highpass_bins: int, workers: int = 1) -> None:
    """Take the local mean in space and the running mean in time away from a binned movie, and divide by the noise, in place.

    The noise of a pixel is estimated from differences of successive bins, which slow signals hardly enter.
    """
    from scipy.ndimage import uniform_filter, uniform_filter1d

    surround = [2 * int(SURROUND_DIAMETERS * size / 2) + 1 for size in diameter_px]

    def in_space(number: int) -> None:
        frame = bins[number].astype(np.float32)
        bins[number] = frame - uniform_filter(frame, surround, mode="nearest")

    def in_time(row: int) -> None:
        part = bins[:, row : row + 8].astype(np.float32)
        part -= uniform_filter1d(part, min(highpass_bins, len(part)), axis=0, mode="nearest")
        noise = np.abs(np.diff(part, axis=0)).mean(axis=0) * np.float32(np.sqrt(np.pi) / 2)  # mean |difference| of a normal
        bins[:, row : row + 8] = part / np.maximum(noise, 1e-3)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(in_space, range(len(bins))))
        list(pool.map(in_time, range(0, bins.shape[1], 8)))


def _sum_over_bins(per_bin: Callable[[int], np.ndarray], n_bins: int, workers: int) -> np.ndarray:
    """Add up what a function gives for each bin, in order and in bounded memory."""
    with ThreadPoolExecutor(workers) as pool:
        total = None
        for start in range(0, n_bins, 4 * workers):
            for part in pool.map(per_bin, range(start, min(start + 4 * workers, n_bins))):
                total = part.astype(np.float64) if total is None else total + part
    assert total is not None
    return total


def correlation_image(bins: np.ndarray, *, workers: int = 1) -> np.ndarray:
    """Correlation over time of each pixel with the mean of its eight neighbours, float32 ``(y, x)``; 0 where constant."""
    from scipy.ndimage import uniform_filter

    def moments(number: int) -> np.ndarray:
        frame = bins[number].astype(np.float32)
        around = (9.0 * uniform_filter(frame, 3, mode="nearest") - frame) / 8.0
        return np.stack([frame, around, frame * frame, around * around, frame * around])

    x, y, xx, yy, xy = _sum_over_bins(moments, len(bins), workers) / len(bins)
    variance = (xx - x * x) * (yy - y * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(variance > 1e-12, (xy - x * y) / np.sqrt(np.maximum(variance, 1e-12)), 0.0)
    return correlation.astype(np.float32)


class CellFinder:
    """The greedy search; holds the flattened movie, which it consumes, and the score image.

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
        self.bins, self.valid = bins, valid.copy()
        self.diameter_px = np.asarray(diameter_px, np.float64)
        self._sigma = np.maximum(SMOOTHING_DIAMETERS * self.diameter_px, 0.5)
        self._reach = np.ceil(1.2 * self.diameter_px).astype(int)
        self._margin = np.ceil(3 * self._sigma).astype(int)
        y, x = (np.arange(-reach, reach + 1) for reach in self._reach)
        self._distance = np.hypot(y[:, None] / self.diameter_px[0], x[None, :] / self.diameter_px[1])  # in diameters
        self._kernel = np.exp(-0.5 * (self._distance / SMOOTHING_DIAMETERS) ** 2).astype(np.float32)
        self._owned = np.zeros(valid.shape, bool)
        differences = _sum_over_bins(lambda n: np.abs(self._smooth(n + 1) - self._smooth(n)), len(bins) - 1, workers)
        self._noise = np.maximum(differences / (len(bins) - 1) * np.sqrt(np.pi) / 2, 1e-6).astype(np.float32)
        self._energy = _sum_over_bins(lambda n: _excess(self._smooth(n) / self._noise), len(bins), workers).astype(np.float32)
        self.score = np.sqrt(self._energy)

    def _smooth(self, number: int) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(self.bins[number].astype(np.float32), self._sigma, mode="nearest", truncate=3.0)

    def candidates(self, min_score: float) -> Iterable[tuple[int, int, float]]:
        """Yield the highest point of the score left, until it falls below ``min_score``."""
        energy = np.where(self.valid, self._energy, 0.0)
        while True:
            y, x = np.unravel_index(int(energy.argmax()), energy.shape)
            if energy[y, x] < min_score**2:
                return
            yield int(y), int(x), float(np.sqrt(energy[y, x]))
            np.copyto(energy, np.where(self.valid, self._energy, 0.0))

    def block(self, y: int, x: int, reach: np.ndarray) -> Block:
        """Return the part of the frame within ``reach`` of a point."""
        height, width = self.valid.shape
        return (
            slice(max(0, y - reach[0]), min(height, y + reach[0] + 1)),
            slice(max(0, x - reach[1]), min(width, x + reach[1] + 1)),
        )

    def _centred(self, image: np.ndarray, block: Block, y: int, x: int) -> np.ndarray:
        """Cut the part of a seed-centred image that belongs to a block of the frame."""
        top, left = block[0].start - y + self._reach[0], block[1].start - x + self._reach[1]
        return image[top : top + block[0].stop - block[0].start, left : left + block[1].stop - block[1].start]

    def grow(self, y: int, x: int) -> tuple[Block, np.ndarray, np.ndarray, np.ndarray]:
        """Grow a component from a seed.

        Returns
        -------
        block
            Part of the frame.
        movie
            Flattened movie there, float32 ``(n_bins, y, x)``.
        weights
            How strongly each pixel follows, float32 ``(y, x)``, in the mask and around it.
        mask
            Pixels of the cell; empty where nothing holds together.
        """
        block = self.block(y, x, self._reach)
        movie = self.bins[:, block[0], block[1]].astype(np.float32)
        kernel, distance = self._centred(self._kernel, block, y, x), self._centred(self._distance, block, y, x)
        seed = (y - block[0].start, x - block[1].start)
        weights, mask = kernel, distance <= 0.5
        for _ in range(4):
            trace = self._trace(movie, weights * mask)
            weights, mask = self._follow(movie, trace, distance, seed)
            if not mask.any():
                break
        return block, movie, weights, mask

    def _trace(self, movie: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted trace, in units of its noise: ``(n_bins,)``."""
        trace = np.tensordot(movie, weights, 2)
        return trace / max(float(np.abs(np.diff(trace)).mean()) * np.sqrt(np.pi) / 2, 1e-6)

    def _follow(
        self, movie: np.ndarray, trace: np.ndarray, distance: np.ndarray, seed: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Regress each pixel on a trace over its active bins; the mask is the connected part around the seed."""
        from scipy.ndimage import binary_fill_holes, gaussian_filter, label

        active = trace > ACTIVE_SD
        if active.sum() < 2:
            return np.zeros(distance.shape, np.float32), np.zeros(distance.shape, bool)
        strength = trace[active]
        weights = np.tensordot(strength, movie[active], 1) / float(strength @ strength)
        smooth = gaussian_filter(weights, np.maximum(0.08 * self.diameter_px, 0.4))
        near = distance <= 0.3
        peak = float(np.percentile(smooth[near], 75))
        inside = (smooth > EDGE_FRACTION * peak) & (distance <= 1.0) & (peak > 0)
        parts, _ = label(inside)
        nearest = np.unravel_index(int(np.where(inside, distance, np.inf).argmin()), inside.shape) if inside.any() else seed
        mask = binary_fill_holes(parts == parts[nearest]) if inside.any() else inside
        return np.where(distance <= 1.2, np.maximum(smooth, 0), 0).astype(np.float32), mask

    def subtract(self, block: Block, movie: np.ndarray, weights: np.ndarray, mask: np.ndarray, y: int, x: int) -> None:
        """Take a component away from the movie and bring the score up to date around it."""
        inside = weights * mask
        trace = np.tensordot(movie, inside, 2) / float((inside * inside).sum())
        movie -= np.maximum(trace, 0)[:, None, None] * weights
        self.bins[:, block[0], block[1]] = movie
        self.refresh(self.block(y, x, self._reach + self._margin))

    def refresh(self, block: Block) -> None:
        """Compute the score again within a block (of which the outer margin must be unchanged)."""
        from scipy.ndimage import gaussian_filter

        wide = tuple(
            slice(max(0, part.start - margin), min(size, part.stop + margin))
            for part, margin, size in zip(block, self._margin, self.valid.shape, strict=True)
        )
        part = self.bins[:, wide[0], wide[1]].astype(np.float32)
        smooth = gaussian_filter(part, (0, *self._sigma), mode="nearest", truncate=3.0) / self._noise[wide]
        top, left = block[0].start - wide[0].start, block[1].start - wide[1].start
        height, width = block[0].stop - block[0].start, block[1].stop - block[1].start
        self._energy[block] = _excess(smooth)[..., top : top + height, left : left + width].sum(axis=0)

    def block_out(self, y: int, x: int) -> None:
        """Forbid seeds around a point where nothing was found."""
        block = self.block(y, x, self._reach)
        self.valid[block] &= self._centred(self._distance, block, y, x) > 0.25


def _excess(values: np.ndarray) -> np.ndarray:
    """Squares of the values above :data:`ACTIVE_SD`, 0 elsewhere."""
    return np.where(values > ACTIVE_SD, values * values, 0.0)


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
    """Find cells in a flattened movie (which is consumed)."""
    correlation = correlation_image(bins, workers=workers)
    finder = CellFinder(bins, diameter_px, valid, workers=workers)
    score_image = finder.score.copy()
    disc = np.pi / 4 * diameter_px[0] * diameter_px[1]
    owned = np.zeros(valid.shape, bool)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    facts: list[tuple[float, float, float, float]] = []
    for y, x, score in finder.candidates(min_score):
        block, movie, weights, mask = finder.grow(y, x)
        area = mask.sum() / disc
        if area == 0:
            finder.block_out(y, x)
            continue
        rows, columns = np.nonzero(mask)
        rows_px, columns_px = rows + block[0].start, columns + block[1].start
        remainder = owned[rows_px, columns_px].mean() > MAX_OVERLAP
        if AREA_LIMITS[0] <= area <= AREA_LIMITS[1] and not remainder:
            snr, reliability = _evidence(movie, weights, mask)
            facts.append((score, snr, reliability, float(correlation[rows_px, columns_px].max())))
            found.append((rows_px, columns_px, weights[rows, columns]))
            owned[rows_px, columns_px] = True
            if len(found) == max_rois:
                break
        finder.subtract(block, movie, weights, mask, y, x)
        finder.block_out(y, x)
        progress(len(found), max_rois)
    rois = RoiSet.from_pixels(valid.shape, [(y, x) for y, x, _ in found], weights=[np.maximum(w, 1e-6) for _, _, w in found])
    score, snr, reliability, peak = np.array(facts).reshape(-1, 4).T
    return Detection(rois, score, snr, reliability, peak, {"score": score_image, "correlation": correlation})


def _evidence(movie: np.ndarray, weights: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Peak of the trace in sd of its noise, and the correlation between its two interleaved halves of pixels."""
    pixels, strength = movie[:, mask], weights[mask]
    trace = pixels @ strength
    noise = max(float(np.abs(np.diff(trace)).mean()) * np.sqrt(np.pi) / 2, 1e-6)
    halves = [pixels[:, part::2] @ strength[part::2] for part in (0, 1)]
    reliability = float(np.corrcoef(halves)[0, 1]) if all(np.ptp(half) > 0 for half in halves) else 0.0
    return float(np.percentile(trace, 99) / noise), reliability
