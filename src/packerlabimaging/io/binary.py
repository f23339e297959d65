"""Movies as bare pixels in a file, without a header: what registration programs keep, and what Suite2p reads.

:class:`BinaryMovie` reads any such file whose frame size and type are known; :class:`BinaryReader` finds them for Suite2p's
``data.bin``. :class:`BinaryWriter` writes one while a movie is streamed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.streaming import Reducer
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.readers import Inspection, Reader
from packerlabimaging.io.suite2p.folder import RunValues

INT16_RANGE = (-32768, 32766)
"""Pixels that :class:`BinaryWriter` writes: Suite2p cuts what it registers at 32766 (``2**15 - 2``, its ``io.BinaryFile``)."""


class BinaryMovie(Movie):
    """A file of frames one after another, rows first, without a header.

    Parameters
    ----------
    path
        The file.
    frame_shape_px
        ``(height, width)``.
    dtype
        Type of the pixels; give the byte order where it is not this machine's (``">i2"``).
    metadata
        How the movie was taken; by default only the frame size is known.

    Raises
    ------
    MissingFileError
        If there is no such file.
    """

    def __init__(
        self, path: str | Path, *, frame_shape_px: tuple[int, int], dtype: Any = "int16", metadata: ImagingMetadata | None = None
    ) -> None:
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
        height, width = frame_shape_px
        frame_bytes = int(height) * int(width) * np.dtype(dtype).itemsize
        if frame_bytes <= 0:
            raise ParameterError(f"frame_shape_px = {frame_shape_px} makes no sense. Expected (height, width), both positive.")
        n_frames, rest = divmod(path.stat().st_size, frame_bytes)
        findings = []
        if rest:
            message = f"The file ends {rest} bytes into a frame of {frame_bytes}: the last frame is left out."
            findings.append(
                Finding("cut-frame", message, where=str(path), advice="Was the file cut, or is the frame size wrong?")
            )
        metadata = metadata or ImagingMetadata(frame_shape_px=(height, width), n_frames=n_frames)
        super().__init__((n_frames, height, width), dtype, metadata=metadata, source=str(path), findings=findings)
        self.path = path

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        with open(self.path, "rb", buffering=0) as file:
            file.seek(start * (out.nbytes // (stop - start)))
            view = out.data.cast("B")
            while len(view):
                count = file.readinto(view)
                if not count:
                    raise FormatError(
                        f"'{self.path}' became shorter since it was opened. Open it again once nothing writes to it."
                    )
                view = view[count:]


class BinaryReader(Reader):
    """Reader of bare pixels: Suite2p's registered movie, or any file whose frame size is given."""

    name = "binary"
    kind = "movie"
    description = "pixels without a header: Suite2p's data.bin, or any file with frame_shape_px= and dtype="

    def detect(self, path: Path) -> bool:
        return path.name in ("data.bin", "data_raw.bin") and any((path.parent / name).is_file() for name in ("ops.npy", "db.npy"))

    def open(
        self,
        path: Path,
        *,
        channel: int | str | None = None,
        plane: int | None = None,
        frame_shape_px: tuple[int, int] | None = None,
        dtype: Any = "int16",
        **options: Any,
    ) -> BinaryMovie:
        """Open the file; nothing of it is read.

        Parameters
        ----------
        path
            The file.
        channel, plane
            None: such a file holds one channel of one plane.
        frame_shape_px
            ``(height, width)``; by default as in the ``ops.npy`` or ``db.npy`` beside the file.
        dtype
            Type of the pixels.

        Raises
        ------
        MissingFileError
            If there is no such file.
        ParameterError
            If the frame size is neither given nor recorded beside the file, or an option makes no sense here.
        """
        if options:
            raise ParameterError(f"The reader 'binary' has no option '{next(iter(options))}'. It has: frame_shape_px, dtype.")
        if channel is not None or plane not in (None, 0):
            raise ParameterError(f"'{path}' holds one channel of one plane. Leave channel= and plane= out.")
        path = Path(path)
        if frame_shape_px is not None:
            return BinaryMovie(path, frame_shape_px=frame_shape_px, dtype=dtype)
        run = RunValues.read(path.parent)
        if not run.values:
            raise ParameterError(
                f"'{path}' has no header that says how large its frames are. Give frame_shape_px=(height, width)."
            )
        shape, rate = run.frame_shape_px, run.number("fs")
        n_frames = path.stat().st_size // (shape[0] * shape[1] * np.dtype(dtype).itemsize) if path.is_file() else 0
        metadata = ImagingMetadata(
            frame_shape_px=shape,
            n_frames=n_frames,
            frame_rate_hz=rate,
            frame_rate_source=None if rate is None else "nominal",
            program="suite2p",
            program_version=run.version,
        )
        return BinaryMovie(path, frame_shape_px=shape, dtype=dtype, metadata=metadata)

    def inspect(self, path: Path) -> Inspection:
        movie = self.open(path)
        facts = {
            "n_frames": movie.n_frames,
            "frame_shape_px": list(movie.frame_shape_px),
            "dtype": str(movie.dtype),
            "rate_hz": movie.metadata.frame_rate_hz,
        }
        return Inspection(str(path), self.name, self.kind, facts, movie.findings)


class BinaryWriter(Reducer):
    """Write the frames of a streamed movie to a file as int16, unchanged.

    Values are never scaled. Of a 13-bit movie in uint16 every value fits. Where a value does not fit it is refused, unless
    ``offset`` is given: then ``value - offset`` is written, and whoever reads the file adds it again.

    Parameters
    ----------
    path
        The file to write; must not exist.
    offset
        Subtracted from every pixel before it is written.

    Notes
    -----
    ``result`` is the number of frames written. The file is open only while a chunk is written, so that a failed stream leaves
    no open file behind.
    """

    ordered = True

    def __init__(self, path: str | Path, *, offset: int = 0) -> None:
        self.path = Path(path)
        self.offset = int(offset)
        self.n_frames = 0

    def fresh(self) -> BinaryWriter:
        raise ParameterError(
            f"'{self.path}' is written by one writer, in the order of the frames. Stream with the writer itself."
        )

    def merge(self, other: Any) -> None:
        raise ParameterError(
            f"'{self.path}' is written by one writer, in the order of the frames. Stream with the writer itself."
        )

    def update(self, chunk: np.ndarray, start: int) -> None:
        """Append a chunk.

        Raises
        ------
        ParameterError
            If the file exists already, frames are left out or repeated, pixels are not integers, or do not fit.
        """
        if start != self.n_frames:
            raise ParameterError(
                f"Frame {start} was given where frame {self.n_frames} is next in '{self.path}'. Stream in order."
            )
        pixels = self._converted(chunk, start)
        try:
            with open(self.path, "ab" if start else "xb") as file:
                pixels.tofile(file)
        except FileExistsError as error:
            raise ParameterError(f"'{self.path}' exists already and is not overwritten. Give a new file.") from error
        self.n_frames += len(chunk)

    def _converted(self, chunk: np.ndarray, start: int) -> np.ndarray:
        if chunk.dtype.kind not in "iub":
            raise ParameterError(
                f"Pixels of type {chunk.dtype} can't be written as int16. Expected integers; scale or round them first."
            )
        if chunk.size == 0:
            return np.empty(chunk.shape, np.int16)
        lowest, highest = int(chunk.min()) - self.offset, int(chunk.max()) - self.offset
        if lowest < INT16_RANGE[0] or highest > INT16_RANGE[1]:
            wrong = highest + self.offset if highest > INT16_RANGE[1] else lowest + self.offset
            frame = start + int(np.argmax((chunk == wrong).any(axis=(1, 2))))
            raise ParameterError(
                f"Frame {frame} has the pixel value {wrong}, which does not fit into int16 ({INT16_RANGE[0]} to {INT16_RANGE[1]}"
                f"{f' after the offset {self.offset}' if self.offset else ''}). Values are never scaled; give an offset that is "
                "subtracted from all pixels, or scale the movie first."
            )
        if self.offset:
            return (chunk.astype(np.int64) - self.offset).astype(np.int16)
        return chunk.astype(np.int16, copy=False)

    def result(self) -> int:
        return self.n_frames
