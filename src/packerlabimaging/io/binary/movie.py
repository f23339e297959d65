"""Movies as bare pixels in a file: what registration programs keep, what Suite2p reads, and what rigs stream to disk.

:class:`BinaryMovie` reads any such file whose frame size and type are known; the readers in
:mod:`packerlabimaging.io.binary.reader` find them. :class:`BinaryWriter` writes such a file while a movie is streamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.streaming import Reducer
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.interleaving import check_count

INT16_RANGE = (-32768, 32766)
"""Pixels that :class:`BinaryWriter` writes: Suite2p cuts what it registers at 32766 (``2**15 - 2``, its ``io.BinaryFile``)."""


class BinaryMovie(Movie):
    """A file of frames one after another, rows first.

    Parameters
    ----------
    path
        The file.
    frame_shape_px
        ``(height, width)``.
    dtype
        Type of the pixels; give the byte order where it is not this machine's (``">i2"``).
    offset_bytes
        Bytes before the first frame.
    images
        Which of the file's images are the frames, in their order; a ``range`` costs no memory. All by default.
    metadata
        How the movie was taken; by default only the frame size is known.
    findings
        What was noticed before.

    Raises
    ------
    MissingFileError
        If there is no such file.
    ParameterError
        If the frame size or type makes no sense, or the file has fewer images than ``images`` names.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        frame_shape_px: tuple[int, int],
        dtype: Any = "int16",
        offset_bytes: int = 0,
        images: Sequence[int] | None = None,
        metadata: ImagingMetadata | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        path = Path(path)
        n_images, rest = count_images(path, frame_shape_px, dtype, offset_bytes=offset_bytes)
        images = range(n_images) if images is None else images
        if len(images) and max(images[0], images[-1]) >= n_images:
            raise ParameterError(f"'{path}' holds {n_images} images. Expected {max(images[0], images[-1]) + 1} or more.")
        if rest:
            message = f"The file ends {rest} bytes into a frame: that frame is left out."
            cut = Finding("cut-frame", message, where=str(path), advice="Was the file cut, or is the frame size wrong?")
            findings = (*findings, cut)
        height, width = frame_shape_px
        metadata = metadata or ImagingMetadata(frame_shape_px=(height, width), n_frames=len(images))
        super().__init__((len(images), height, width), dtype, metadata=metadata, source=str(path), findings=findings)
        self.path = path
        self.offset_bytes = int(offset_bytes)
        self._images = images

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        images = self._images[start:stop]
        adjacent = isinstance(images, range) and images.step == 1
        frame_bytes = out.nbytes // (stop - start)
        with open(self.path, "rb", buffering=0) as file:
            for image, frames in [(images[0], out)] if adjacent else zip(images, out, strict=True):
                file.seek(self.offset_bytes + int(image) * frame_bytes)
                fill(file, frames, self.path)


def fill(file: Any, out: np.ndarray, path: Path) -> None:
    """Fill a contiguous array with the next bytes of an unbuffered file.

    Raises
    ------
    FormatError
        If the file ends before.
    """
    view = out.reshape(-1).view(np.uint8).data
    while len(view):
        count = file.readinto(view)
        if not count:
            raise FormatError(f"'{path}' became shorter since it was opened. Open it again once nothing writes to it.")
        view = view[count:]


def count_images(path: Path, frame_shape_px: tuple[int, int], dtype: Any, *, offset_bytes: int = 0) -> tuple[int, int]:
    """Return how many whole images a file of bare pixels holds, and how many bytes follow them.

    Raises
    ------
    MissingFileError
        If there is no such file.
    ParameterError
        If the frame size, type or offset makes no sense.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    try:
        height, width = (check_count("frame_shape_px", size) for size in frame_shape_px)
        kind = np.dtype(dtype)
    except (TypeError, ValueError) as error:  # our own ParameterError is a ValueError as well
        raise ParameterError(
            f"frame_shape_px = {frame_shape_px!r} with dtype = {dtype!r} makes no sense. "
            "Expected (height, width), both positive, and a type of numbers, e.g. 'uint16'."
        ) from error
    if kind.kind not in "uif":
        raise ParameterError(f"dtype = {dtype!r} is no type of pixels. Give a type of whole or real numbers, e.g. 'uint16'.")
    offset = check_count("offset_bytes", offset_bytes, zero=True)
    return divmod(max(0, path.stat().st_size - offset), height * width * kind.itemsize)


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
