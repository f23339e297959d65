"""Movies: one channel of one plane as a lazy ``(time, y, x)`` array.

Opening a movie reads headers only; pixels come through :meth:`Movie.read`, a piece at a time. Movies pickle as the recipe
to open them (paths and view), never as pixels or open files, so that other processes can have them. A reader of a file
format subclasses :class:`Movie` with one method, ``_read_into``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import ParameterError


class Movie(ABC):
    """A lazy movie of shape ``(n_frames, height, width)``.

    Parameters
    ----------
    shape
        ``(n_frames, height, width)``.
    dtype
        Type of the pixels as stored.
    metadata
        How the movie was taken; by default only the frame size is known.
    source
        File or folder, for messages.
    findings
        What the reader noticed and tolerated.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: Any,
        *,
        metadata: ImagingMetadata | None = None,
        source: str = "",
        findings: Sequence[Finding] = (),
    ) -> None:
        n_frames, height, width = (int(size) for size in shape)
        if n_frames < 0 or height <= 0 or width <= 0:
            raise ParameterError(f"A movie can't have the shape {shape}. Expected (n_frames, height, width), all positive.")
        self.shape = (n_frames, height, width)
        self.dtype = np.dtype(dtype)
        self.metadata = metadata or ImagingMetadata(frame_shape_px=(height, width), n_frames=n_frames)
        self.source = source
        self.findings = tuple(findings)

    @abstractmethod
    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        """Fill ``out`` (shape ``(stop - start, y, x)``, the movie's dtype) with those frames; the range is checked."""

    def read(self, start: int, stop: int, *, out: np.ndarray | None = None) -> np.ndarray:
        """Read frames ``start`` (included) to ``stop`` (not included).

        Parameters
        ----------
        out
            Array to fill, shape ``(stop - start, height, width)`` and the movie's dtype; a new one by default.

        Returns
        -------
        numpy.ndarray
            The frames, in the movie's dtype.

        Raises
        ------
        ParameterError
            If the range does not lie within the movie, or ``out`` does not fit.
        """
        if not 0 <= start <= stop <= self.n_frames:
            raise ParameterError(f"Frames {start} to {stop} don't exist. The movie {self.source} has {self.n_frames} frames.")
        shape = (stop - start, *self.shape[1:])
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ParameterError(
                f"out has shape {out.shape} and type {out.dtype}. Expected a contiguous array of {shape}, {self.dtype}."
            )
        if stop > start:
            self._read_into(start, stop, out)
        return out

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.shape[0]

    @property
    def frame_shape_px(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.shape[1:]

    @property
    def nbytes(self) -> int:
        """Size of all pixels in bytes, whether or not it would fit into memory."""
        return self.shape[0] * self.shape[1] * self.shape[2] * int(self.dtype.itemsize)

    def frames(self, start: int, stop: int | None = None) -> Movie:
        """Return a lazy view of a time range."""
        stop = self.n_frames if stop is None else stop
        if not 0 <= start <= stop <= self.n_frames:
            raise ParameterError(f"Frames {start} to {stop} don't exist. The movie {self.source} has {self.n_frames} frames.")
        return _TimeRange(self, start, stop)

    def __len__(self) -> int:
        return self.n_frames

    def __repr__(self) -> str:
        size = f"{self.n_frames} frames of {self.shape[1]} x {self.shape[2]} px"
        return f"{type(self).__name__}({size}, {self.dtype}, '{self.source}')"


class ArrayMovie(Movie):
    """A movie whose pixels are in memory: for tests, small clips and other programs' arrays.

    Parameters
    ----------
    array
        Pixels, shape ``(n_frames, height, width)``; anything that numpy can slice.
    """

    def __init__(self, array: Any, *, metadata: ImagingMetadata | None = None, source: str = "array") -> None:
        if getattr(array, "ndim", None) != 3:
            raise ParameterError(f"A movie has 3 dimensions (time, y, x), not {getattr(array, 'ndim', 'none')}.")
        super().__init__(array.shape, array.dtype, metadata=metadata, source=source)
        self._array = array

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        out[...] = self._array[start:stop]

    def __reduce__(self) -> Any:
        raise ParameterError(
            "A movie in memory can't be sent to another process: it would carry all its pixels. "
            "Write it to a file and open that, or stream it with threads."
        )


class _TimeRange(Movie):
    """Frames ``start`` to ``stop`` of another movie."""

    def __init__(self, movie: Movie, start: int, stop: int) -> None:
        metadata = movie.metadata
        times = metadata.frame_times_s
        part = metadata.replace(n_frames=stop - start, frame_times_s=None if times is None else times[start:stop])
        super().__init__(
            (stop - start, *movie.frame_shape_px), movie.dtype, metadata=part, source=movie.source, findings=movie.findings
        )
        self._movie, self._start = movie, start

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        self._movie.read(self._start + start, self._start + stop, out=out)


class _Concatenation(Movie):
    """Several movies one after another."""

    def __init__(self, movies: Sequence[Movie]) -> None:
        first = movies[0]
        n_frames = sum(movie.n_frames for movie in movies)
        super().__init__(
            (n_frames, *first.frame_shape_px),
            first.dtype,
            metadata=first.metadata.replace(n_frames=n_frames, frame_times_s=None),
            source=" + ".join(movie.source for movie in movies),
            findings=[finding for movie in movies for finding in movie.findings],
        )
        self._movies = tuple(movies)
        self._starts = np.concatenate([[0], np.cumsum([movie.n_frames for movie in movies])])

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        for movie, begin in zip(self._movies, self._starts.tolist(), strict=False):
            first, last = max(start, begin), min(stop, begin + movie.n_frames)
            if first < last:
                movie.read(first - begin, last - begin, out=out[first - start : last - start])


def concatenate_movies(movies: Sequence[Movie]) -> Movie:
    """Join movies of one frame size and dtype along time, lazily.

    Raises
    ------
    ParameterError
        If there is none, or frame sizes or dtypes differ.
    """
    if not movies:
        raise ParameterError("There is no movie to concatenate.")
    first = movies[0]
    for movie in movies[1:]:
        if movie.frame_shape_px != first.frame_shape_px or movie.dtype != first.dtype:
            raise ParameterError(
                f"Movies of different kinds can't be joined: '{first.source}' is {first.frame_shape_px} {first.dtype}, "
                f"'{movie.source}' is {movie.frame_shape_px} {movie.dtype}."
            )
    return first if len(movies) == 1 else _Concatenation(movies)
