"""Readers of bare pixels: files whose frame size the user, Suite2p or two numbers at their start give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.binary import BinaryMovie, count_images
from packerlabimaging.io.interleaving import Interleaving, choose_channel, choose_plane
from packerlabimaging.io.movie_options import InterleavedOptions
from packerlabimaging.io.readers import Inspection, Reader
from packerlabimaging.io.suite2p.folder import RunValues

PRAIRIELINK_HEADER = np.dtype([("width", "<u2"), ("height", "<u2")])
"""What precedes the frames of a PrairieLink file: pixels per line, lines per frame."""

PRAIRIELINK_SIZES_PX = (16, 8192)
"""Lines and pixels of a PrairieLink frame that are believed, when a file is recognised by its first bytes."""


@dataclass(frozen=True, kw_only=True)
class BinaryOptions(InterleavedOptions):
    """Options of :meth:`BinaryReader.open`, beside those of :class:`~packerlabimaging.io.movie_options.InterleavedOptions`.

    Parameters
    ----------
    frame_shape_px
        ``(height, width)``; by default as in the ``ops.npy`` or ``db.npy`` beside the file.
    dtype
        Type of the pixels, with the byte order where it is not this machine's (``">u2"``); by default int16, as Suite2p
        writes, where the size of the frames is known from Suite2p.
    offset_bytes
        Bytes before the first frame.
    """

    frame_shape_px: tuple[int, int] | None = None
    dtype: Any = None
    offset_bytes: int = 0


class BinaryReader(Reader):
    """Reader of bare pixels: Suite2p's registered movie, or any file whose frame size is given."""

    name = "binary"
    kind = "movie"
    description = "pixels without a header: Suite2p's data.bin, or any file with frame_shape_px= and dtype="
    options = BinaryOptions

    def detect(self, path: Path) -> bool:
        return path.name in ("data.bin", "data_raw.bin") and any((path.parent / name).is_file() for name in ("ops.npy", "db.npy"))

    def open(self, path: Path, **options: Any) -> BinaryMovie:
        """Open the file; nothing of it is read.

        Parameters
        ----------
        path
            The file.
        options
            Those of :class:`BinaryOptions`.

        Raises
        ------
        MissingFileError
            If there is no such file.
        AmbiguousInputError
            If there are several channels or planes and none was chosen.
        ParameterError
            If the frame size or type is neither given nor recorded beside the file, or an option makes no sense here.
        """
        chosen = BinaryOptions(**options)
        path, shape, dtype, found = Path(path), chosen.frame_shape_px, chosen.dtype, None
        if shape is None:
            found = _suite2p_metadata(path)
            shape, dtype = found.frame_shape_px, "int16" if dtype is None else dtype
        elif dtype is None:
            raise ParameterError(f"'{path}' has no header that says what its pixels are. Give dtype=, e.g. dtype='uint16'.")
        return _open(path, chosen, shape, dtype, offset_bytes=chosen.offset_bytes, found=found)

    def inspect(self, path: Path) -> Inspection:
        return Inspection(str(path), self.name, self.kind, *_facts(self.open(path)))


class PrairieLinkReader(Reader):
    """Reader of the files that PrairieLink scripts stream to disk: two numbers, then uint16 frames."""

    name = "prairielink"
    kind = "movie"
    description = "PrairieLink raw stream, .bin: pixels per line, lines per frame, then uint16 frames"
    options = InterleavedOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a ``.bin`` file whose first two numbers are a frame size that divides the rest of it."""
        if path.suffix.lower() != ".bin" or not path.is_file():
            return False
        try:
            width, height = _prairielink_size(path)
            n_bytes = path.stat().st_size - PRAIRIELINK_HEADER.itemsize
        except (FormatError, OSError):
            return False
        low, high = PRAIRIELINK_SIZES_PX
        return low <= width <= high and low <= height <= high and n_bytes > 0 and n_bytes % (width * height * 2) == 0

    def open(self, path: Path, **options: Any) -> BinaryMovie:
        """Open the file; reads its first four bytes. It knows only the size of its frames.

        Parameters
        ----------
        options
            Those of :class:`~packerlabimaging.io.movie_options.InterleavedOptions`.

        Raises
        ------
        FormatError
            If it is shorter than its header, or the header names no frame size.
        """
        chosen, path = InterleavedOptions(**options), Path(path)
        width, height = _prairielink_size(path)
        found = ImagingMetadata(frame_shape_px=(height, width), program="PrairieLink")
        return _open(path, chosen, (height, width), "<u2", offset_bytes=PRAIRIELINK_HEADER.itemsize, found=found)

    def inspect(self, path: Path) -> Inspection:
        return Inspection(str(path), self.name, self.kind, *_facts(self.open(path)))


def _open(
    path: Path,
    options: InterleavedOptions,
    shape: tuple[int, int],
    dtype: Any,
    *,
    offset_bytes: int,
    found: ImagingMetadata | None,
) -> BinaryMovie:
    """Open one channel of one plane of a file of bare pixels; ``found`` is what is known about it from elsewhere."""
    n_images, _ = count_images(path, shape, dtype, offset_bytes=offset_bytes)
    source = str(path)
    layout = options.interleaving(n_images, source) or Interleaving()
    channels = tuple(str(number + 1) for number in range(layout.n_channels))
    channel = choose_channel(options.channel, channels, source)
    images = layout.images(n_images, channel=channel, plane=choose_plane(options.plane, layout.n_planes, source))
    whole = (len(images), int(shape[0]), int(shape[1]))
    known = (found or ImagingMetadata(frame_shape_px=whole[1:])).replace(
        n_frames=len(images), n_planes=layout.n_planes, channels=channels if len(channels) > 1 else ()
    )
    return BinaryMovie(
        path,
        frame_shape_px=whole[1:],
        dtype=dtype,
        offset_bytes=offset_bytes,
        images=images,
        metadata=options.complete(known, whole, source),
        findings=layout.findings(n_images, source),
    )


def _prairielink_size(path: Path) -> tuple[int, int]:
    """Return ``(width, height)`` from the header."""
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    with path.open("rb") as file:
        start = file.read(PRAIRIELINK_HEADER.itemsize)
    if len(start) < PRAIRIELINK_HEADER.itemsize or not all(numbers := np.frombuffer(start, "<u2").tolist()):
        raise FormatError(
            f"'{path}' is no PrairieLink stream: it starts with {start!r}. Expected pixels per line and lines per frame, two "
            "uint16. Other raw files are read with reader='binary' and frame_shape_px=, dtype=."
        )
    return numbers[0], numbers[1]


def _suite2p_metadata(path: Path) -> ImagingMetadata:
    """Return what the run that a ``data.bin`` belongs to says about it."""
    run = RunValues.read(path.parent)
    if not run.values:
        raise ParameterError(f"'{path}' has no header that says how large its frames are. Give frame_shape_px=(height, width).")
    rate = run.number("fs")
    return ImagingMetadata(
        frame_shape_px=run.frame_shape_px,
        frame_rate_hz=rate,
        frame_rate_source=None if rate is None else "nominal",
        program="suite2p",
        program_version=run.version,
    )


def _facts(movie: BinaryMovie) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    facts = {
        "n_frames": movie.n_frames,
        "frame_shape_px": list(movie.frame_shape_px),
        "dtype": str(movie.dtype),
        "rate_hz": movie.metadata.frame_rate_hz,
    }
    return facts, movie.findings
