"""The one pass over a movie: each chunk is read once and fed to every reducer.

A reducer is a small object that keeps what it needs of the frames it has seen, and that merges with another of its kind
that saw later frames. The same reducers therefore run in one thread, in several, or in other processes, in memory that
does not depend on the length of the movie, and give the same numbers to the bit: a chunk's contribution is always computed
alone and added in the order of the chunks.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging._progress import ProgressOption, progress_bar
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError

CHUNK_BYTES = 8 << 20
"""Pixels read at a time by ``stream``: large enough to hide overheads, small enough for the processor's cache."""


class Reducer(ABC):
    """Something that is computed from the frames of a movie, one chunk after another.

    A subclass implements four methods. ``fresh`` returns an empty reducer of the same parameters; ``update`` takes one
    chunk; ``merge`` takes over what another reducer, fed with the frames that follow, has collected; ``result`` returns
    the outcome. ``a.update(chunk)`` must do exactly what ``b = a.fresh(); b.update(chunk); a.merge(b)`` does.
    """

    ordered = False
    """True if ``update`` must run in the calling thread, in the order of the frames (e.g. because it writes a file)."""

    @abstractmethod
    def fresh(self) -> Reducer:
        """Return an empty reducer with the same parameters."""

    @abstractmethod
    def update(self, chunk: np.ndarray, start: int) -> None:
        """Take in frames ``start`` to ``start + len(chunk)``; ``chunk`` is ``(time, y, x)`` and must not be kept."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Add what ``other`` collected from the frames that follow."""

    @abstractmethod
    def result(self) -> Any:
        """Return the outcome."""


def stream(
    movie: Movie,
    reducers: Mapping[str, Reducer],
    *,
    chunk_frames: int | None = None,
    workers: int = 1,
    progress: ProgressOption = None,
    description: str = "Reading the movie",
) -> dict[str, Any]:
    """Read a movie once and feed every reducer.

    Parameters
    ----------
    movie
        The movie.
    reducers
        Reducers by name.
    chunk_frames
        Frames read at a time; by default as many as fill 8 MB. Sums of floating-point movies depend on it in the last
        bits; nothing else does.
    workers
        Threads. Results are the same to the bit for any number.
    progress, description
        See :data:`packerlabimaging._progress.ProgressOption`.

    Returns
    -------
    dict
        ``reducer.result()`` by name.

    Examples
    --------
    >>> from packerlabimaging.core import ArrayMovie
    >>> movie = ArrayMovie(np.arange(24, dtype=np.uint16).reshape(6, 2, 2))
    >>> found = stream(movie, {"images": Projections(), "fov": FovTrace()})
    >>> found["images"]["mean"].tolist(), found["fov"].tolist()
    ([[10.0, 11.0], [12.0, 13.0]], [1.5, 5.5, 9.5, 13.5, 17.5, 21.5])
    """
    frame_bytes = max(1, int(np.prod(movie.frame_shape_px)) * movie.dtype.itemsize)
    size = chunk_frames or max(1, CHUNK_BYTES // frame_bytes)
    check_positive("chunk_frames", size)
    check_positive("workers", workers)
    starts = range(0, movie.n_frames, size)
    with progress_bar(progress, description) as report:
        if workers == 1:
            _stream_serial(movie, reducers, starts, size, report)
        else:
            _stream_threads(movie, reducers, starts, size, workers, report)
    return {name: reducer.result() for name, reducer in reducers.items()}


def _stream_serial(movie: Movie, reducers: Mapping[str, Reducer], starts: range, size: int, report: Any) -> None:
    buffer = np.empty((min(size, movie.n_frames), *movie.frame_shape_px), movie.dtype)
    for start in starts:
        stop = min(start + size, movie.n_frames)
        chunk = movie.read(start, stop, out=buffer[: stop - start])
        for reducer in reducers.values():
            reducer.update(chunk, start)
        report(stop, movie.n_frames)


def _stream_threads(movie: Movie, reducers: Mapping[str, Reducer], starts: range, size: int, workers: int, report: Any) -> None:
    parallel = {name: reducer for name, reducer in reducers.items() if not reducer.ordered}
    ordered = [reducer for reducer in reducers.values() if reducer.ordered]
    buffers: SimpleQueue[np.ndarray] = SimpleQueue()  # read into again and again: fresh memory costs more than the reading
    for _ in range(workers + bool(ordered)):
        buffers.put(np.empty((min(size, movie.n_frames), *movie.frame_shape_px), movie.dtype))

    def work(start: int) -> tuple[int, np.ndarray | None, dict[str, Reducer]]:
        stop = min(start + size, movie.n_frames)
        parts = {name: reducer.fresh() for name, reducer in parallel.items()}
        buffer, kept = buffers.get(), False
        try:
            chunk = movie.read(start, stop, out=buffer[: stop - start])
            for part in parts.values():
                part.update(chunk, start)
            kept = bool(ordered)
        finally:
            if not kept:  # also after an error: the other threads wait for it
                buffers.put(buffer)
        return start, buffer if kept else None, parts

    def collect(future: Future[tuple[int, np.ndarray | None, dict[str, Reducer]]]) -> None:
        start, buffer, parts = future.result()
        stop = min(start + size, movie.n_frames)
        for name, part in parts.items():
            parallel[name].merge(part)
        if buffer is not None:
            for reducer in ordered:
                reducer.update(buffer[: stop - start], start)
            buffers.put(buffer)
        report(stop, movie.n_frames)

    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[tuple[int, np.ndarray | None, dict[str, Reducer]]]] = deque()
        for start in starts:
            pending.append(pool.submit(work, start))
            if len(pending) > workers:
                collect(pending.popleft())
        while pending:
            collect(pending.popleft())


def _is_small_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "ui" and dtype.itemsize <= 2


def _integer_projections(chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return sum and sum of squares over time of integers up to 16 bits, exactly, as int64, and their maximum and minimum."""
    from packerlabimaging.core._kernels import project

    flat = chunk.reshape(len(chunk), -1)
    total, squares = np.zeros(flat.shape[1], np.int64), np.zeros(flat.shape[1], np.int64)
    highest, lowest = flat[0].copy(), flat[0].copy()
    project(flat, total, squares, highest, lowest)
    shape = chunk.shape[1:]
    return total.reshape(shape), squares.reshape(shape), highest.reshape(shape), lowest.reshape(shape)


def _float_projections(chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    squares = np.zeros(chunk.shape[1:], np.float64)
    for frame in chunk:
        values = frame.astype(np.float64)
        squares += values * values
    return chunk.sum(axis=0, dtype=np.float64), squares, chunk.max(axis=0), chunk.min(axis=0)


class Projections(Reducer):
    """Mean, maximum, minimum and standard deviation over time, each ``(y, x)``.

    Integer movies are summed exactly; the standard deviation is the population one (divided by n), and is computed from
    exact integer sums where the movie is of integers up to 16 bits.

    Parameters
    ----------
    exclude
        Frames to leave out, boolean mask over all frames of the movie.

    Notes
    -----
    ``result`` is a dict of ``mean``, ``std`` (float32), ``max``, ``min`` (the movie's dtype) and ``n_frames``. Without any
    frame the images are None.
    """

    def __init__(self, *, exclude: np.ndarray | None = None) -> None:
        self.exclude = None if exclude is None else np.asarray(exclude, dtype=bool)
        self.n_frames = 0
        self._sum: np.ndarray | None = None
        self._square_sum: np.ndarray | None = None
        self._max: np.ndarray | None = None
        self._min: np.ndarray | None = None

    def fresh(self) -> Projections:
        return Projections(exclude=self.exclude)

    def update(self, chunk: np.ndarray, start: int) -> None:
        if self.exclude is not None:
            keep = ~self.exclude[start : start + len(chunk)]
            chunk = chunk if keep.all() else chunk[keep]
        if len(chunk) == 0:
            return
        project = _integer_projections if _is_small_integer(chunk.dtype) else _float_projections
        self._absorb(len(chunk), *project(chunk))

    def _absorb(self, n_frames: int, total: Any, squares: Any, maximum: Any, minimum: Any) -> None:
        if self.n_frames == 0:
            self._sum, self._square_sum, self._max, self._min = total, squares, maximum, minimum
        else:
            assert self._sum is not None and self._square_sum is not None
            assert self._max is not None and self._min is not None
            self._sum += total
            self._square_sum += squares
            self._max = np.maximum(self._max, maximum)
            self._min = np.minimum(self._min, minimum)
        self.n_frames += n_frames

    def merge(self, other: Projections) -> None:
        if other.n_frames:
            self._absorb(other.n_frames, other._sum, other._square_sum, other._max, other._min)

    def result(self) -> dict[str, Any]:
        if self.n_frames == 0:
            return {"mean": None, "std": None, "max": None, "min": None, "n_frames": 0}
        assert self._sum is not None and self._square_sum is not None
        mean = self._sum / self.n_frames
        if self._sum.dtype.kind == "i":  # n * sum of squares - square of sum is exact up to 2**63
            spread = self._square_sum.astype(np.float64) - self._sum.astype(np.float64) * mean
        else:
            spread = self._square_sum - self._sum * mean
        std = np.sqrt(np.maximum(spread, 0.0) / self.n_frames)
        return {
            "mean": mean.astype(np.float32),
            "std": std.astype(np.float32),
            "max": self._max,
            "min": self._min,
            "n_frames": self.n_frames,
        }


class _Traces(Reducer):
    """Base of reducers that give some values per frame: pieces are kept by their first frame and joined at the end."""

    def __init__(self) -> None:
        self._pieces: dict[int, np.ndarray] = {}

    def merge(self, other: _Traces) -> None:
        repeated = self._pieces.keys() & other._pieces.keys()
        if repeated:
            raise ParameterError(f"Two reducers saw the same frames (from {min(repeated)}). Feed each frame once.")
        self._pieces.update(other._pieces)

    def result(self) -> np.ndarray:
        pieces = [self._pieces[start] for start in sorted(self._pieces)]
        return np.concatenate(pieces, axis=-1) if pieces else np.zeros(self._empty_shape(), np.float32)

    def _empty_shape(self) -> tuple[int, ...]:
        return (0,)


class FovTrace(_Traces):
    """Mean of all pixels of each frame: shape ``(n_frames,)``, float32."""

    def fresh(self) -> FovTrace:
        return FovTrace()

    def update(self, chunk: np.ndarray, start: int) -> None:
        from packerlabimaging.core._kernels import sum_frames

        flat = chunk.reshape(len(chunk), -1)
        if _is_small_integer(chunk.dtype):
            sums = np.empty(len(chunk), np.int64)
            sum_frames(flat, sums)
        else:
            sums = flat.sum(axis=1, dtype=np.float64)
        self._pieces[start] = (sums / flat.shape[1]).astype(np.float32)


class RoiTraces(_Traces):
    """Weighted mean of each ROI's pixels in each frame: shape ``(n_rois, n_frames)``, float32.

    Parameters
    ----------
    rois
        The ROIs; overlapping pixels count for each.
    """

    def __init__(self, rois: RoiSet) -> None:
        super().__init__()
        self.rois = rois
        self._flat = rois.flat_index
        self._starts = rois.indptr[:-1]
        total = np.add.reduceat(rois.weights.astype(np.float64), self._starts) if rois.n_rois else np.zeros(0)
        self._weights = (rois.weights / np.repeat(total, rois.n_pixels)).astype(np.float32)
        largest = int(rois.n_pixels.max(initial=0))
        self._uniform = bool(np.all(rois.weights == rois.weights[:1])) and largest <= 32_768
        self._dense = 4 * len(self._flat) > rois.frame_shape_px[0] * rois.frame_shape_px[1]

    def fresh(self) -> RoiTraces:
        empty = copy.copy(self)  # shares the pixel lists
        empty._pieces = {}
        return empty

    def _empty_shape(self) -> tuple[int, ...]:
        return (self.rois.n_rois, 0)

    def update(self, chunk: np.ndarray, start: int) -> None:
        if chunk.shape[1:] != self.rois.frame_shape_px:
            raise ParameterError(f"Frames are {chunk.shape[1:]}, but the ROIs were drawn on {self.rois.frame_shape_px}.")
        out = np.empty((self.rois.n_rois, len(chunk)), np.float32)
        if self.rois.n_rois:
            sums = self._exact_sums if self._uniform and _is_small_integer(chunk.dtype) else self._weighted_sums
            for index, frame in enumerate(chunk.reshape(len(chunk), -1)):
                out[:, index] = sums(frame)
        self._pieces[start] = out

    def _exact_sums(self, frame: np.ndarray) -> np.ndarray:
        """Means of plain pixels of up to 16 bits: 32-bit integer sums are exact, and faster than products."""
        wide = np.uint32 if frame.dtype.kind == "u" else np.int32
        values = frame.astype(wide).take(self._flat) if self._dense else frame.take(self._flat).astype(wide)
        return np.asarray(np.add.reduceat(values, self._starts) / self.rois.n_pixels)

    def _weighted_sums(self, frame: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(frame.take(self._flat) * self._weights, self._starts, dtype=np.float64))
