"""Writing TIFF: stacks streamed to disk, and the bytes of single pages.

A stack is written as its pixels in one piece, then all directories: whether it must be a BigTIFF is known, and the header
written, only at its end. Nothing stands under the final name before it is complete.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from packerlabimaging.core.movie import Movie
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.tiff.files import byte_view
from packerlabimaging.io.tiff.layout import (
    BITS,
    COMPRESSION,
    DESCRIPTION,
    HEIGHT,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    SOFTWARE,
    STRIP_BYTES,
    STRIP_OFFSETS,
    WIDTH,
    X_RESOLUTION,
    Y_RESOLUTION,
)

_SHORT, _LONG, _LONG8 = 3, 4, 16
_PHOTOMETRIC, _RESOLUTION_UNIT = 262, 296
_HEADER_BYTES = 16  # room for either header
_CLASSIC_LIMIT = 1 << 32
_FORMATS = {"u": 1, "i": 2, "f": 3}


class IfdWriter:
    """Builds little-endian image file directories of one image size and type.

    Parameters
    ----------
    shape
        ``(height, width)``.
    dtype
        Type of the pixels: whole numbers of 8 to 64 bits, or reals of 16 to 64.
    big
        True for BigTIFF.
    rows_per_strip
        Rows of a strip; by default the image is one strip.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype, *, big: bool = False, rows_per_strip: int | None = None) -> None:
        self.big = big
        height, width = shape
        rows = min(rows_per_strip or height, height)
        self._strip_bytes = [min(rows, height - row) * width * dtype.itemsize for row in range(0, height, rows)]
        self.image_bytes = sum(self._strip_bytes)
        self._fixed = {
            WIDTH: (_LONG, width),
            HEIGHT: (_LONG, height),
            BITS: (_SHORT, dtype.itemsize * 8),
            COMPRESSION: (_SHORT, 1),
            _PHOTOMETRIC: (_SHORT, 1),
            SAMPLES: (_SHORT, 1),
            ROWS_PER_STRIP: (_LONG, rows),
            SAMPLE_FORMAT: (_SHORT, _FORMATS[dtype.kind]),
        }

    def build(
        self,
        offset: int,
        pixels: int,
        *,
        last: bool,
        texts: dict[int, str] | None = None,
        pixel_size: tuple[float, float] | None = None,
    ) -> bytes:
        """Return the directory to be written at ``offset`` for pixels at ``pixels``, with the values that it points to.

        Parameters
        ----------
        last
            False where the next directory follows directly.
        texts
            Texts by tag number.
        pixel_size
            ``(y, x)`` size of a pixel in the unit that a text names.
        """
        tags: dict[int, tuple[int, int, bytes]] = {}
        for number, (kind, value) in self._fixed.items():
            tags[number] = (kind, 1, struct.pack("<H" if kind == _SHORT else "<I", value))
        starts = [pixels + before for before in accumulate(self._strip_bytes[:-1], initial=0)]
        for number, values in ((STRIP_OFFSETS, starts), (STRIP_BYTES, self._strip_bytes)):
            packed = struct.pack(f"<{len(values)}{'Q' if self.big else 'I'}", *values)
            tags[number] = (_LONG8 if self.big else _LONG, len(values), packed)
        for number, text in (texts or {}).items():
            encoded = text.encode() + b"\0"
            tags[number] = (2, len(encoded), encoded)
        if pixel_size is not None:
            for number, size in ((Y_RESOLUTION, pixel_size[0]), (X_RESOLUTION, pixel_size[1])):
                per_unit = Fraction(1 / size).limit_denominator(max(1, int(min(1, size) * (1 << 31))))
                tags[number] = (5, 1, struct.pack("<II", per_unit.numerator, per_unit.denominator))
            tags[_RESOLUTION_UNIT] = (_SHORT, 1, struct.pack("<H", 1))
        return self._assemble(offset, tags, last=last)

    def _assemble(self, offset: int, tags: dict[int, tuple[int, int, bytes]], *, last: bool) -> bytes:
        count_code, entry_code, field = ("<Q", "<HHQ", 8) if self.big else ("<H", "<HHI", 4)
        table_bytes = struct.calcsize(count_code) + len(tags) * (struct.calcsize(entry_code) + field) + field
        entries, beyond = bytearray(struct.pack(count_code, len(tags))), bytearray()
        for number in sorted(tags):
            kind, count, value = tags[number]
            entries += struct.pack(entry_code, number, kind, count)
            if len(value) <= field:
                entries += value.ljust(field, b"\0")
            else:
                entries += struct.pack("<Q" if self.big else "<I", offset + table_bytes + len(beyond))
                beyond += value + b"\0" * (-len(value) % 8)
        beyond += b"\0" * (-(table_bytes + len(beyond)) % 8)
        following = 0 if last else offset + table_bytes + len(beyond)
        return bytes(entries + struct.pack("<Q" if self.big else "<I", following) + beyond)


def header_bytes(first_ifd: int, *, big: bool) -> bytes:
    """Return a little-endian file header."""
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first_ifd) if big else struct.pack("<2sHI", b"II", 42, first_ifd)


class TiffStackWriter:
    """Writes a TIFF stack chunk by chunk, within a ``with`` block.

    The file appears under its name when the block ends well, complete; after an error there is none. It is a BigTIFF where it
    has 4 GiB or more.

    Parameters
    ----------
    path
        File to write.
    frame_rate_hz, pixel_size_um
        Written in the way of ImageJ (``pixel_size_um`` is ``(y, x)``), so that ImageJ and :class:`TiffReader` show them;
        left out if None.
    overwrite
        Replace a file of this name.

    Raises
    ------
    ParameterError
        If the file exists and ``overwrite`` is False.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        frame_rate_hz: float | None = None,
        pixel_size_um: tuple[float, float] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._frame_rate_hz, self._pixel_size_um, self._overwrite = frame_rate_hz, pixel_size_um, overwrite
        self._file: BinaryIO | None = None
        self._kind: tuple[tuple[int, int], np.dtype] | None = None
        self.n_frames = 0

    def __enter__(self) -> TiffStackWriter:
        if self.path.exists() and not self._overwrite:
            raise ParameterError(f"'{self.path}' exists. Pass overwrite=True to replace it, or choose another name.")
        self._file = self._temporary.open("wb")
        self._file.write(bytes(_HEADER_BYTES))
        return self

    def write(self, frames: np.ndarray) -> None:
        """Append frames.

        Parameters
        ----------
        frames
            Shape ``(n, height, width)`` or ``(height, width)``; all of one size and type.

        Raises
        ------
        ParameterError
            If size or type differ from the first, or can't be stored.
        """
        if self._file is None:
            raise ParameterError(f"The writer of '{self.path}' is not open. Use it in a with block.")
        frames = np.asarray(frames)
        frames = frames[np.newaxis] if frames.ndim == 2 else frames
        if frames.ndim != 3 or frames.dtype.kind not in _FORMATS or 0 in frames.shape[1:]:
            raise ParameterError(
                f"Frames of shape {frames.shape} and type {frames.dtype} can't be written. Expected (n, y, x) numbers."
            )
        dtype = frames.dtype.newbyteorder("<")
        kind = (frames.shape[1], frames.shape[2]), dtype
        if self._kind is None:
            self._kind = kind
        elif kind != self._kind:
            raise ParameterError(
                f"Frames are {kind[0]} {kind[1]}. Expected {self._kind[0]} {self._kind[1]}, as the first of '{self.path}'."
            )
        self._file.write(byte_view(np.ascontiguousarray(frames, dtype)))
        self.n_frames += len(frames)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            with file:
                if kind is None:
                    self._finish(file)
            if kind is None:
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self, file: BinaryIO) -> None:
        if self._kind is None or not self.n_frames:
            raise ParameterError(f"No frame was given for '{self.path}'. A TIFF file can't be empty.")
        start = file.tell() + (-file.tell() % 8)
        file.seek(start)
        shape, dtype = self._kind
        big = start + self.n_frames * 256 + 4096 >= _CLASSIC_LIMIT
        for block in self._directories(IfdWriter(shape, dtype, big=big), start):
            file.write(block)
        file.seek(0)
        file.write(header_bytes(start, big=big))

    def _directories(self, ifds: IfdWriter, offset: int) -> Iterator[bytes]:
        for frame in range(self.n_frames):
            first: dict[str, Any] = {"texts": self._texts(), "pixel_size": self._pixel_size_um} if frame == 0 else {}
            block = ifds.build(offset, _HEADER_BYTES + frame * ifds.image_bytes, last=frame + 1 == self.n_frames, **first)
            offset += len(block)
            yield block

    def _texts(self) -> dict[int, str]:
        lines = ["ImageJ=1.54f", f"images={self.n_frames}", f"frames={self.n_frames}"]
        if self._pixel_size_um is not None:
            lines.append("unit=um")
        if self._frame_rate_hz is not None:
            lines += [f"finterval={1 / self._frame_rate_hz!r}", "tunit=sec"]
        return {DESCRIPTION: "\n".join([*lines, "loop=false", ""]), SOFTWARE: "packerlabimaging"}


def write_tiff_stack(
    path: str | Path,
    chunks: Iterable[np.ndarray] | Movie,
    *,
    frame_rate_hz: float | None = None,
    pixel_size_um: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a TIFF stack, a BigTIFF where it has 4 GiB or more, in the memory of one chunk.

    Parameters
    ----------
    path
        File to write.
    chunks
        Arrays of shape ``(n, height, width)``, one after another, or a movie.
    frame_rate_hz, pixel_size_um, overwrite
        See :class:`TiffStackWriter`; a movie's own rate and pixel size are written where none are given.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ParameterError
        If the file exists and ``overwrite`` is False, there is no frame, or frames differ in size or type.
    """
    if isinstance(chunks, Movie):
        frame_rate_hz = chunks.metadata.frame_rate_hz if frame_rate_hz is None else frame_rate_hz
        pixel_size_um = chunks.metadata.pixel_size_um if pixel_size_um is None else pixel_size_um
        chunks = _movie_chunks(chunks)
    with TiffStackWriter(path, frame_rate_hz=frame_rate_hz, pixel_size_um=pixel_size_um, overwrite=overwrite) as writer:
        for chunk in chunks:
            writer.write(chunk)
    return Path(path)


def _movie_chunks(movie: Movie, chunk_bytes: int = 8 << 20) -> Iterator[np.ndarray]:
    size = max(1, chunk_bytes * movie.n_frames // max(1, movie.nbytes))
    for start in range(0, movie.n_frames, size):
        yield movie.read(start, min(start + size, movie.n_frames))
