"""Where the pixels of a TIFF page lie: file header and image file directory (IFD), classic TIFF and BigTIFF, both byte orders.

Only the directory is read here, never a pixel. A page whose pixels lie in the file as they are in memory (uncompressed strips
of whole samples) is ``plain`` and can be read straight into an array; any other page says why it is not, and is decoded by
tifffile. Tag numbers and types are those of the TIFF 6.0 specification (Adobe, 1992) and of the BigTIFF extension.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from packerlabimaging.errors import FormatError

Fetch = Callable[[int, int], bytes]
"""``fetch(offset, n_bytes)`` returns those bytes of the file, fewer at its end."""

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, FILL_ORDER, DESCRIPTION = 254, 256, 257, 258, 259, 266, 270
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, SOFTWARE, PREDICTOR, TILE_WIDTH, SAMPLE_FORMAT = 282, 283, 305, 317, 322, 339

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_KINDS = {1: "u", 2: "i", 3: "f"}
_MAX_TAGS = 4096
_FIRST_FETCH = 512  # holds an IFD of 41 classic or 24 BigTIFF tags: nearly all, in one read


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """The first bytes of a TIFF file: byte order (``"<"`` or ``">"``), whether it is a BigTIFF, offset of the first IFD."""

    order: str
    big: bool
    first_ifd: int

    @property
    def n_bytes(self) -> int:
        """Length of the header."""
        return 16 if self.big else 8


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of an IFD; ``raw`` is its value field (the value itself or where it lies)."""

    type: int
    count: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Ifd:
    """One image file directory: its tags by number, and where the next one lies (0 after the last)."""

    offset: int
    n_bytes: int
    tags: dict[int, Tag]
    next_ifd: int


@dataclass(frozen=True, slots=True)
class PageLayout:
    """Size, type and place of the pixels of one page.

    ``segments`` are ``(offset, n_bytes)`` in the order of the image rows, neighbours joined; empty where the page is not
    plain, and ``not_plain`` then says why. ``dtype`` is None where only tifffile knows it.
    """

    height: int
    width: int
    dtype: np.dtype | None
    segments: tuple[tuple[int, int], ...]
    not_plain: str
    ifd: Ifd

    @property
    def n_bytes(self) -> int:
        """Bytes of pixels of the page as an array."""
        return self.height * self.width * (self.dtype.itemsize if self.dtype is not None else 1)


def parse_header(start: bytes, path: str) -> TiffHeader:
    """Return the header in the first 16 bytes of a file.

    Raises
    ------
    FormatError
        If they are not those of a TIFF file.
    """
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    magic = struct.unpack_from(f"{order}H", start, 2)[0] if order and len(start) >= 8 else 0
    if order and magic == 42:
        return TiffHeader(order, False, struct.unpack_from(f"{order}I", start, 4)[0])
    if order and magic == 43 and len(start) >= 16 and struct.unpack_from(f"{order}HH", start, 4) == (8, 0):
        return TiffHeader(order, True, struct.unpack_from(f"{order}Q", start, 8)[0])
    raise FormatError(
        f"'{path}' is not a TIFF file: it starts with {start[:8]!r}. Expected 'II' or 'MM' and 42 (TIFF) or 43 (BigTIFF). "
        "Check that the file was copied completely."
    )


def read_ifd(fetch: Fetch, offset: int, header: TiffHeader, *, path: str, page: int) -> Ifd:
    """Read the IFD at ``offset``.

    Raises
    ------
    FormatError
        If the file ends before or within it, or it can't be an IFD.
    """
    count_bytes, entry, pointer = (8, 20, 8) if header.big else (2, 12, 4)
    block = fetch(offset, _FIRST_FETCH)
    n_tags = struct.unpack_from(header.order + ("Q" if header.big else "H"), block)[0] if len(block) >= count_bytes else None
    if n_tags is not None and not 0 < n_tags <= _MAX_TAGS:
        raise FormatError(
            f"'{path}' has no page directory where page {page + 1} should have one (byte {offset:,}: {n_tags} tags). "
            "The file is damaged: copy it again."
        )
    n_bytes = count_bytes + (n_tags or 0) * entry + pointer
    if n_bytes > len(block):
        block = fetch(offset, n_bytes)
    if n_tags is None or len(block) < n_bytes:
        raise FormatError(
            f"'{path}' is cut: the directory of page {page + 1} needs {n_bytes:,} bytes from byte {offset:,}, "
            f"but only {len(block):,} are there. Copy the file again."
        )
    body = memoryview(block)[count_bytes : n_bytes - pointer]
    entries = struct.iter_unpack(header.order + ("HHQ8s" if header.big else "HHI4s"), body)
    tags = {number: Tag(kind, count, raw) for number, kind, count, raw in entries}
    next_ifd = struct.unpack_from(header.order + ("Q" if header.big else "I"), block, n_bytes - pointer)[0]
    return Ifd(offset, n_bytes, tags, next_ifd)


class TagReader:
    """Reads the values of an IFD's tags, from the entry itself or from where it points."""

    def __init__(self, fetch: Fetch, ifd: Ifd, header: TiffHeader, *, file_bytes: int, path: str, page: int) -> None:
        self._fetch, self._ifd, self._header = fetch, ifd, header
        self._file_bytes, self._path, self._page = file_bytes, path, page

    def raw(self, number: int) -> bytes:
        """Return the bytes of a tag's value, empty where there is none."""
        tag = self._ifd.tags.get(number)
        if tag is None:
            return b""
        n_bytes = tag.count * _ITEM_BYTES.get(tag.type, 1)
        if n_bytes <= len(tag.raw):
            return tag.raw[:n_bytes]
        offset = self.external_offset(tag)
        data = self._fetch(offset, n_bytes) if offset + n_bytes <= self._file_bytes else b""
        if len(data) < n_bytes:
            raise FormatError(
                f"'{self._path}' is cut or damaged: tag {number} of page {self._page + 1} needs {n_bytes:,} bytes from byte "
                f"{offset:,}, but the file has {self._file_bytes:,} bytes. Copy the file again."
            )
        return data

    def external_offset(self, tag: Tag) -> int:
        """Return where the value of a tag lies that does not fit into its entry."""
        return int(struct.unpack(self._header.order + ("Q" if self._header.big else "I"), tag.raw)[0])

    def integers(self, number: int) -> tuple[int, ...]:
        """Return the values of a tag of whole numbers, empty where there is none."""
        tag = self._ifd.tags.get(number)
        if tag is None:
            return ()
        code = _INTEGERS.get(tag.type)
        if code is None:
            raise FormatError(
                f"'{self._path}' is damaged: tag {number} of page {self._page + 1} has type {tag.type}. Expected whole numbers."
            )
        return struct.unpack(f"{self._header.order}{tag.count}{code}", self.raw(number))

    def integer(self, number: int, default: int) -> int:
        """Return the first value of a tag of whole numbers."""
        values = self.integers(number)
        return values[0] if values else default

    def text(self, number: int, *, limit: int = 1 << 20) -> str:
        """Return a text tag up to its first zero byte, empty where there is none or where it is longer than ``limit``."""
        tag = self._ifd.tags.get(number)
        if tag is None or tag.count > limit:
            return ""
        return self.raw(number).split(b"\0", 1)[0].decode("utf-8", "replace")

    def ratio(self, number: int) -> float | None:
        """Return a rational tag as a number, or None where there is none or it is a division by zero."""
        tag = self._ifd.tags.get(number)
        if tag is None or tag.type != 5 or tag.count < 1:
            return None
        above, below = struct.unpack_from(f"{self._header.order}II", self.raw(number))
        return above / below if below else None


def parse_page(fetch: Fetch, ifd: Ifd, header: TiffHeader, *, file_bytes: int, path: str, page: int) -> PageLayout:
    """Return size, type and place of the pixels that an IFD describes.

    Raises
    ------
    FormatError
        If the IFD describes no image, several samples per pixel, or strips that can't hold the image.
    """
    read = TagReader(fetch, ifd, header, file_bytes=file_bytes, path=path, page=page)
    height, width, samples = read.integer(HEIGHT, 0), read.integer(WIDTH, 0), read.integer(SAMPLES, 1)
    if height <= 0 or width <= 0:
        raise FormatError(f"'{path}' page {page + 1} is {height} x {width} px. Expected an image; the file is damaged.")
    if samples != 1:
        raise FormatError(
            f"'{path}' page {page + 1} has {samples} samples per pixel (a colour picture?). Expected one, a movie frame. "
            "Save each channel as its own greyscale stack."
        )
    bits, kind = read.integer(BITS, 1), _KINDS.get(read.integer(SAMPLE_FORMAT, 1))
    known = kind is not None and bits in ((16, 32, 64) if kind == "f" else (8, 16, 32, 64))
    dtype = np.dtype(f"{header.order}{kind}{bits // 8}") if known else None
    not_plain = _why_not_plain(read, bits) if dtype is not None else f"{bits} bits per sample"
    if not_plain or dtype is None:
        return PageLayout(height, width, dtype, (), not_plain, ifd)
    segments = tuple(_segments(read, height, width * dtype.itemsize, path=path, page=page))
    return PageLayout(height, width, dtype, segments, "", ifd)


def _why_not_plain(read: TagReader, bits: int) -> str:
    if (compression := read.integer(COMPRESSION, 1)) != 1:
        return f"compression {compression}"
    if read.integers(TILE_WIDTH):
        return "tiles"
    if read.integer(PREDICTOR, 1) != 1:
        return "a predictor"
    if read.integer(FILL_ORDER, 1) != 1 and bits == 8:
        return "reversed bits"
    return "" if read.integers(STRIP_OFFSETS) else "no strips"


def _segments(read: TagReader, height: int, row_bytes: int, *, path: str, page: int) -> Iterator[tuple[int, int]]:
    """Yield where the rows lie, joining strips that follow each other."""
    offsets = read.integers(STRIP_OFFSETS)
    rows = min(read.integer(ROWS_PER_STRIP, height) or height, height)
    n_strips = -(-height // rows)
    counts = read.integers(STRIP_BYTES) or (rows * row_bytes,) * n_strips
    if len(offsets) < n_strips or len(counts) < n_strips:
        raise FormatError(
            f"'{path}' page {page + 1} lists {len(offsets)} strips and {len(counts)} sizes. Expected {n_strips} of {rows} rows; "
            "the file is damaged."
        )
    start, length = offsets[0], 0
    for strip in range(n_strips):
        needed = (min(height, (strip + 1) * rows) - strip * rows) * row_bytes
        if counts[strip] < needed and not (counts[strip] == 0 and n_strips == 1):
            raise FormatError(
                f"'{path}' is cut: strip {strip + 1} of page {page + 1} holds {counts[strip]:,} bytes. Expected {needed:,}."
            )
        if offsets[strip] != start + length:
            yield start, length
            start, length = offsets[strip], 0
        length += needed
    yield start, length
