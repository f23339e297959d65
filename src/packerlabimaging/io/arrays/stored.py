"""Movies in files of named arrays (HDF5, Zarr): which array, which of its axes is what, and reading a piece of it.

The axes are those that the user gives, else those that the file names, else (time, y, x) for three of them; with more axes
and no names nothing is guessed.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._check import did_you_mean
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.errors import AmbiguousInputError, FormatError, PackerLabImagingError, ParameterError
from packerlabimaging.io.interleaving import Interleaving, choose_channel, choose_plane
from packerlabimaging.io.movie_options import InterleavedOptions

AXES = "tzcyx"

_WORDS = {
    "t": {"t", "time", "frame", "frames"},
    "z": {"z", "plane", "planes", "slice", "slices", "depth"},
    "c": {"c", "channel", "channels"},
    "y": {"y", "height", "row", "rows", "line", "lines"},
    "x": {"x", "width", "column", "columns", "col", "cols"},
}

_ALWAYS_BELIEVED_BYTES = 64 << 20
_LARGEST_COMPRESSION = 1000


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, as its header describes it.

    Parameters
    ----------
    key
        Its name in the file.
    shape, dtype
        As stored; ``dtype`` is None where it is not one of whole or real numbers.
    labels
        Names that the file gives to its axes, or none.
    axes
        Axes that the program which wrote it always uses, or empty.
    """

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype | None
    labels: tuple[str, ...] = ()
    axes: str = ""

    @property
    def can_be_movie(self) -> bool:
        """Whether it has numbers along three to five axes, with at least two images."""
        return (
            self.dtype is not None
            and 3 <= len(self.shape) <= 5
            and all(size > 0 for size in self.shape)
            and sorted(self.shape)[-3] > 1
        )

    def __str__(self) -> str:
        return f"'{self.key}' ({' x '.join(map(str, self.shape))}, {self.dtype or 'no numbers'})"


def choose_array(key: str | None, arrays: Mapping[str, StoredArray], source: str) -> StoredArray:
    """Return the array to read.

    Parameters
    ----------
    key
        Its name, or None where there is only one that can be a movie.
    arrays
        All arrays of the file by name.

    Raises
    ------
    AmbiguousInputError
        If several can be a movie and none was chosen; they are listed.
    FormatError
        If none can be.
    ParameterError
        If there is no array of this name, or it can't be a movie.
    """
    movies = [array for array in arrays.values() if array.can_be_movie]
    listed = ", ".join(map(str, movies[:10])) + (f" and {len(movies) - 10} more" if len(movies) > 10 else "")
    if key is None:
        if not movies:
            raise FormatError(f"'{source}' holds no array that can be a movie. Expected one of numbers with 3 to 5 axes.")
        if len(movies) > 1:
            raise AmbiguousInputError(f"'{source}' holds several arrays: {listed}. Choose with key=.")
        return movies[0]
    found = arrays.get(key) or arrays.get(key.strip("/"))
    if found is None:
        hint = did_you_mean(key, arrays)
        raise ParameterError(f"key = {key!r} is no array of '{source}'.{hint} Arrays that can be a movie: {listed or 'none'}.")
    if not found.can_be_movie:
        raise ParameterError(f"{found} in '{source}' can't be a movie. Expected numbers with 3 to 5 axes: {listed or 'none'}.")
    return found


def find_axes(array: StoredArray, axes: str | None, source: str) -> tuple[str, tuple[Finding, ...]]:
    """Return one letter per axis of an array (of t, z, c, y, x), and what was assumed.

    Raises
    ------
    ParameterError
        If the axes that were given don't fit the array.
    AmbiguousInputError
        If the array has more than three axes and nothing says what they are.
    """
    example = "tzcyx"[:1] + "zc"[: len(array.shape) - 3] + "yx"
    if axes is not None:
        found = "".join(str(axes).lower().replace(",", "").split())
        if len(found) != len(array.shape) or not set("yx") <= set(found) <= set(AXES) or len(set(found)) < len(found):
            raise ParameterError(
                f"axes = {axes!r} does not fit {array} in '{source}'. Give one of t, z, c, y, x for each axis, e.g. '{example}'."
            )
        return found, ()
    named = "".join(letter for label in array.labels for letter, words in _WORDS.items() if label.lower() in words)
    if len(named) == len(array.shape) and len(set(named)) == len(named) and set("yx") <= set(named):
        return named, ()
    if array.axes:
        return array.axes, (_assumed(array, source),)
    if len(array.shape) == 3:
        return "tyx", ()
    raise AmbiguousInputError(
        f"'{source}' does not say what the axes of {array} are. Give axes=, one of t, z, c, y, x for each, e.g. '{example}'."
    )


def _assumed(array: StoredArray, source: str) -> Finding:
    order = ", ".join({"t": "time"}.get(axis, axis) for axis in array.axes)
    return Finding(
        "axes-assumed",
        f"The axes of {array} were taken as ({order}), as MATLAB stores an array (y, x, time).",
        "info",
        where=source,
        advice="If the images look transposed or mixed, give axes=.",
    )


@dataclass(frozen=True)
class Selection:
    """What of an array is one movie: a channel and plane, or every n-th image.

    Parameters
    ----------
    axes
        One letter per axis of the array.
    images
        Images along the time axis.
    channel, plane
        Zero-based places along c and z.
    """

    axes: str
    images: range
    channel: int = 0
    plane: int = 0

    def read(self, array: Any, start: int, stop: int, out: np.ndarray) -> None:
        """Fill ``out`` (time, y, x) with frames ``start`` to ``stop``."""
        images = self.images[start:stop]
        places: dict[str, Any] = {"c": self.channel, "z": self.plane, "t": slice(images[0], images[-1] + 1, images.step)}
        found = np.asarray(array[tuple(places.get(axis, slice(None)) for axis in self.axes)])
        left = [axis for axis in self.axes if axis in "tyx"]
        if "t" not in left:
            left, found = ["t", *left], found[np.newaxis]
        np.copyto(out, found.transpose([left.index(axis) for axis in "tyx"]), casting="same_kind")


@dataclass(frozen=True, kw_only=True)
class ArrayOptions(InterleavedOptions):
    """Options of the readers of arrays, beside those of
    :class:`~packerlabimaging.io.movie_options.InterleavedOptions`.

    Parameters
    ----------
    key
        Name of the array, where several can be a movie.
    axes
        What each axis of the array is, one of t, z, c, y, x for each, slowest first; by default as the file names them, else
        ``"tyx"`` for three axes.
    """

    key: str | None = None
    axes: str | None = None


class StoredArrayMovie(Movie):
    """One channel of one plane of an array in a file; subclasses open the array.

    Parameters
    ----------
    path
        The file or folder.
    array
        What its header says.
    options
        The user's options.
    stored_bytes
        Bytes that the file takes on the disk: pieces that can't be in it are refused before memory is taken for them.
    piece_shape
        Shape of a piece (chunk) that is read at once.
    pixel_size_um
        As the file says, ``(y, x)``.
    findings
        What was noticed before.
    """

    def __init__(
        self,
        path: Path,
        array: StoredArray,
        options: ArrayOptions,
        *,
        stored_bytes: int,
        piece_shape: Sequence[int] = (),
        pixel_size_um: tuple[float, float] | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        source = f"{path}:{array.key}"
        axes, assumed = find_axes(array, options.axes, source)
        sizes = dict.fromkeys("tzc", 1) | dict(zip(axes, array.shape, strict=True))
        interleaving = _interleaving(options, sizes, axes, source)
        n_channels, n_planes = max(interleaving.n_channels, sizes["c"]), max(interleaving.n_planes, sizes["z"])
        channels = tuple(str(number + 1) for number in range(n_channels))
        chosen, level = choose_channel(options.channel, channels, source), choose_plane(options.plane, n_planes, source)
        if set("zc") & set(axes):
            images = range(sizes["t"])
        else:
            images = interleaving.images(sizes["t"], channel=chosen, plane=level)  # type: ignore[assignment]  # no repeats
        shape = (len(images), sizes["y"], sizes["x"])
        itemsize = array.dtype.itemsize if array.dtype is not None else 1
        for what, piece in (("frames", shape[1:]), ("pieces", tuple(piece_shape))):
            check_believable(what, piece, itemsize, stored_bytes, source)
        found = ImagingMetadata(
            frame_shape_px=shape[1:],
            n_frames=shape[0],
            n_planes=n_planes,
            channels=channels if len(channels) > 1 else (),
            pixel_size_um=pixel_size_um,
        )
        metadata = options.complete(found, shape, source)
        all_findings = (*findings, *assumed, *interleaving.findings(sizes["t"], source))
        native = np.dtype(array.dtype).newbyteorder("=")
        super().__init__(shape, native, metadata=metadata, source=source, findings=all_findings)
        self.path, self.key = path, array.key
        self._shape, self._stored_dtype = array.shape, array.dtype
        self._selection = Selection(axes, images, chosen, level)

    @abstractmethod
    def _opened(self) -> AbstractContextManager[Any]:
        """Return the array, to be read within a ``with`` block."""

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        try:
            with self._opened() as array:
                if tuple(array.shape) != self._shape or array.dtype != self._stored_dtype:
                    raise FormatError(f"'{self.source}' changed since it was opened. Open it again.")
                self._selection.read(array, start, stop, out)
        except PackerLabImagingError:
            raise
        except Exception as error:  # whatever a library raises on damaged bytes is a damaged file to the user
            raise FormatError(
                f"Frames {start} to {stop} of '{self.source}' can't be read ({type(error).__name__}: {error}). "
                "The file is cut or damaged, or compressed in a way that is not installed: copy it again."
            ) from error


def _interleaving(options: ArrayOptions, sizes: Mapping[str, int], axes: str, source: str) -> Interleaving:
    """Return how images are interleaved along the time axis."""
    if (options.n_channels or options.n_planes) and set("zc") & set(axes):
        raise ParameterError(
            f"n_channels= and n_planes= are for images interleaved in time, but axes='{axes}' of '{source}' has axes of its own "
            "for them. Leave them out, or correct axes=."
        )
    return options.interleaving(sizes["t"], source) or Interleaving()


def check_believable(what: str, shape: Sequence[int], itemsize: int, stored_bytes: int, source: str) -> None:
    """Raise a FormatError if a piece is larger than anything that a file of this size can hold, compressed or not."""
    n_bytes = math.prod(shape) * itemsize
    if shape and n_bytes > max(_ALWAYS_BELIEVED_BYTES, _LARGEST_COMPRESSION * stored_bytes):
        raise FormatError(
            f"'{source}' claims {what} of {' x '.join(map(str, shape))} ({n_bytes:,} bytes), but takes {stored_bytes:,} bytes on "
            "the disk. The file is cut or damaged: copy it again."
        )


def array_facts(movie_arrays: Sequence[StoredArray]) -> dict[str, Any]:
    """Return what is known about arrays that can be movies, for an inspection."""
    return {
        "arrays": {array.key: {"shape": list(array.shape), "dtype": str(array.dtype)} for array in movie_arrays[:50]},
        "n_arrays": len(movie_arrays),
    }
