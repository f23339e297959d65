"""The registered movie averaged in time: what detection works on, in memory that does not grow with the recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging._progress import ProgressOption
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.streaming import Projections, Reducer, stream
from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.registration import sample_frames

MAX_BINNED_BYTES = 224 << 20
"""Memory of the binned movie (float16): 448 bins of 512 x 512 pixels."""

MIN_BINS, MAX_BINS = 64, 2000
"""Whatever the frame size: fewer bins could not tell cells from noise, more would only take time."""


@dataclass(frozen=True, eq=False)
class BinnedMovie:
    """Averages over consecutive frames without artefact, and the images made in the same pass.

    Parameters
    ----------
    bins
        Mean of each bin less ``offset``, divided by ``scale``: float16 ``(n_bins, y, x)``. Half floats hold it to one part
        in 2,000, far below the noise.
    frames_per_bin
        Frames in each bin but the last, which may hold half as many.
    offset
        Approximate mean image, float32 ``(y, x)``, in the movie's units.
    scale
        Approximate noise of a bin, in the movie's units.
    mean, max
        Registered mean (float32) and maximum (movie's dtype) over the frames without artefact, ``(y, x)``.
    """

    bins: np.ndarray
    frames_per_bin: int
    offset: np.ndarray
    scale: float
    mean: np.ndarray
    max: np.ndarray


def choose_frames_per_bin(n_frames: int, frame_shape_px: tuple[int, int], wanted: int) -> int:
    """Return ``wanted`` frames per bin, or more where the bins would exceed :data:`MAX_BINNED_BYTES` or :data:`MAX_BINS`."""
    fitting = MAX_BINNED_BYTES // (2 * frame_shape_px[0] * frame_shape_px[1])
    n_bins = int(np.clip(fitting, MIN_BINS, MAX_BINS))
    return max(1, wanted, -(-n_frames // n_bins))


@dataclass(frozen=True, eq=False)
class _Target:
    """Where full bins go."""

    bins: np.ndarray
    offset: np.ndarray
    scale: float

    def put(self, number: int, mean: np.ndarray) -> None:
        """Store the mean image of a bin; what half floats can't hold (65,504 times the noise) is clipped."""
        self.bins[number] = np.clip((mean - self.offset) / np.float32(self.scale), -6e4, 6e4)

    def get(self, number: int) -> np.ndarray:
        """Return the mean image of a bin, float32."""
        return self.bins[number].astype(np.float32) * np.float32(self.scale) + self.offset


class _BinSums(Reducer):
    """Sums of the frames of each bin; a full bin goes at once into the shared array of half floats."""

    def __init__(self, bin_of_frame: np.ndarray, counts: np.ndarray, target: _Target) -> None:
        self._bin_of_frame, self._counts, self._target = bin_of_frame, counts, target
        self._sums: dict[int, np.ndarray] = {}
        self._seen: dict[int, int] = {}

    def fresh(self) -> _BinSums:
        return _BinSums(self._bin_of_frame, self._counts, self._target)

    def update(self, chunk: np.ndarray, start: int) -> None:
        bins = self._bin_of_frame[start : start + len(chunk)]
        for number in np.unique(bins[bins >= 0]).tolist():
            frames = np.flatnonzero(bins == number)
            total = np.zeros(chunk.shape[1:], np.float32)
            for frame in frames:
                total += chunk[frame]
            self._absorb(number, total, len(frames))

    def _absorb(self, number: int, total: np.ndarray, n_frames: int) -> None:
        if number in self._sums:
            self._sums[number] += total
        else:
            self._sums[number] = total
        self._seen[number] = self._seen.get(number, 0) + n_frames
        if self._seen[number] == self._counts[number]:
            mean = self._sums.pop(number) / np.float32(self._counts[number])
            self._target.put(number, mean)

    def merge(self, other: _BinSums) -> None:
        for number, total in other._sums.items():
            self._absorb(number, total, other._seen[number])

    def result(self) -> np.ndarray:
        return self._target.bins


def bin_movie(
    movie: Movie,
    *,
    exclude: np.ndarray,
    frames_per_bin: int,
    residuals_px: np.ndarray | None = None,
    workers: int = 1,
    progress: ProgressOption = None,
) -> BinnedMovie:
    """Average a (registered) movie in time, in one pass.

    Parameters
    ----------
    movie
        The movie; registered to whole pixels.
    exclude
        Frames to leave out, boolean ``(n_frames,)``.
    frames_per_bin
        Frames averaged in each bin; see :func:`choose_frames_per_bin`.
    residuals_px
        What whole-pixel registration left of each frame's shift ``(y, x)``, ``(n_frames, 2)``. The mean of it over a bin is
        undone by linear interpolation, so that slow drift does not light up the edges of bright structures.

    Returns
    -------
    BinnedMovie
        Memory: 2 bytes per pixel and bin, and one float32 image per bin that is under way.
    """
    usable = ~exclude
    n_bins = max(1, int(round(usable.sum() / frames_per_bin)))  # a last part of less than half joins the bin before
    bin_of_frame = np.where(usable, np.minimum((np.cumsum(usable) - 1) // frames_per_bin, n_bins - 1), -1)
    counts = np.bincount(bin_of_frame[usable], minlength=n_bins)
    offset, deviation = _sample_statistics(movie, sample_frames(exclude, 60))
    scale = float(deviation.mean()) / np.sqrt(frames_per_bin) or 1.0
    target = _Target(np.zeros((n_bins, *movie.frame_shape_px), np.float16), offset, scale)
    reducers = {"bins": _BinSums(bin_of_frame, counts, target), "images": Projections(exclude=exclude)}
    images = stream(movie, reducers, workers=workers, progress=progress)["images"]
    if not np.all(np.isfinite(images["mean"])):
        raise ParameterError(
            f"The movie {movie.source} holds NaN or infinite pixels. Replace them before segmentation, or leave the frames out."
        )
    if residuals_px is not None:
        for number in range(n_bins):
            residual = residuals_px[bin_of_frame == number].mean(axis=0)
            target.put(number, _shift_linear(target.get(number), residual))
    return BinnedMovie(target.bins, frames_per_bin, offset, scale, images["mean"], images["max"])


def _sample_statistics(movie: Movie, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd over some frames, float32 ``(y, x)`` each."""
    total = np.zeros(movie.frame_shape_px, np.float64)
    squares = np.zeros(movie.frame_shape_px, np.float64)
    for index in frames.tolist():
        frame = movie.read(index, index + 1)[0].astype(np.float64)
        total += frame
        squares += frame * frame
    mean = total / len(frames)
    return mean.astype(np.float32), np.sqrt(np.maximum(squares / len(frames) - mean * mean, 0.0)).astype(np.float32)


def _shift_linear(image: np.ndarray, shift_px: np.ndarray) -> np.ndarray:
    """Return ``image[y + dy, x + dx]`` for shifts within one pixel, linearly interpolated, edges replicated."""
    for axis, shift in enumerate(shift_px):
        part = np.float32(abs(shift))
        padded = np.concatenate([image.take([0], axis), image, image.take([-1], axis)], axis)
        start = 2 if shift > 0 else 0
        neighbour = padded.take(range(start, start + image.shape[axis]), axis)
        image = image * (1 - part) + neighbour * part
    return image
