"""Reading many TIFF files of one page each, with three system calls a file.

The files of a recording are laid out alike. The first is parsed; for each further file the same place is read at once
(what precedes the pixels, the pixels straight into the output, what follows them), and the bytes of its header, directory
and strip tables are compared with those expected. Only where they differ, as in the first file of a Bruker series, which
carries the OME-XML, is the file parsed on its own. No file is trusted unseen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from packerlabimaging.errors import FormatError
from packerlabimaging.io.tiff.files import OpenTiff, byte_view, open_descriptor, read_buffers, to_native
from packerlabimaging.io.tiff.layout import STRIP_BYTES, STRIP_OFFSETS, PageLayout

_MARGIN = 1 << 16
"""Directories and tables farther than this from the pixels are not expected, but looked up."""


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """Layout of the last parsed file: lengths of head and tail, and which of their bytes say where the pixels lie."""

    head_bytes: int
    tail_bytes: int
    head: tuple[tuple[int, int, bytes], ...]
    tail: tuple[tuple[int, int, bytes], ...]
    dtype: np.dtype


class SinglePageFiles:
    """Reads one-page files of one frame size and type, one after another, in one thread.

    Parameters
    ----------
    shape
        ``(height, width)`` that every file must have.
    dtype
        Type that every file must have, in native byte order.
    expected
        Layout that the first file probably has: :attr:`expected` of an earlier reader.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype, expected: ExpectedFile | None = None) -> None:
        self._shape, self._dtype = shape, dtype
        self.expected: ExpectedFile | None = None
        self._expect(expected)

    def read_into(self, path: str, out: np.ndarray) -> None:
        """Fill ``out`` (one frame) with the only page of a file.

        Raises
        ------
        FormatError
            If the file is cut, has several pages, or another size or type than the rest.
        """
        if self.expected is None or not self._read_expected(path, self.expected, out):
            self._read_parsed(path, out)

    def _read_expected(self, path: str, expected: ExpectedFile, out: np.ndarray) -> bool:
        pixels = byte_view(out)
        descriptor = open_descriptor(path)
        try:
            found = read_buffers(descriptor, [self._head, pixels, self._tail], 0)
        finally:
            os.close(descriptor)
        if found < expected.head_bytes + len(pixels) + expected.tail_bytes:
            return False
        head, tail = self._head, self._tail
        if any(head[start:end] != value for start, end, value in expected.head):
            return False
        if any(tail[start:end] != value for start, end, value in expected.tail):
            return False
        to_native(out, expected.dtype)
        return True

    def _read_parsed(self, path: str, out: np.ndarray) -> None:
        with OpenTiff(path) as file:
            ifd = file.ifd(file.header.first_ifd, 0)
            layout = file.layout(ifd, 0)
            check_same(layout, self._shape, self._dtype, path=path, page=0)
            if ifd.next_ifd:
                raise FormatError(
                    f"'{path}' has several pages. Expected one frame a file, as in the rest of the folder. "
                    "Open stacks on their own."
                )
            file.read_pixels(layout, out, 0)
            self._expect(_expectation(file, layout))

    def _expect(self, expected: ExpectedFile | None) -> None:
        self.expected = expected
        self._head = bytearray(expected.head_bytes if expected is not None else 0)
        self._tail = bytearray(expected.tail_bytes if expected is not None else 0)


def check_same(layout: PageLayout, shape: tuple[int, int], dtype: np.dtype, *, path: str, page: int) -> None:
    """Raise a FormatError if a page has not the size and type of its movie."""
    stored = layout.dtype.newbyteorder("=") if layout.dtype is not None else None
    if (layout.height, layout.width) != shape or (stored is not None and stored != dtype):
        raise FormatError(
            f"'{path}' page {page + 1} is {layout.height} x {layout.width} {stored or ''}. "
            f"Expected {shape[0]} x {shape[1]} {dtype}, as the movie's first frame. "
            "Frames of different kinds make no movie: move the others to a folder of their own."
        )


def _expectation(file: OpenTiff, layout: PageLayout) -> ExpectedFile | None:
    """Return what further files of the same layout hold beside their pixels, or None where that can't be read at once."""
    if layout.not_plain or layout.dtype is None or len(layout.segments) != 1:
        return None
    start, n_bytes = layout.segments[0]
    end = start + n_bytes
    pieces = [(0, file.header.n_bytes), (layout.ifd.offset, layout.ifd.offset + layout.ifd.n_bytes)]
    tags = file.tags(layout.ifd)
    for number in (STRIP_OFFSETS, STRIP_BYTES):
        tag, value = layout.ifd.tags.get(number), tags.raw(number)
        if tag is not None and len(value) > len(tag.raw):
            pieces.append((tags.external_offset(tag), tags.external_offset(tag) + len(value)))
    head = [piece for piece in pieces if piece[1] <= start]
    tail = sorted((first - end, last - end) for first, last in pieces if first >= end)
    tail_bytes = max((last for _, last in tail), default=0)
    if len(head) + len(tail) < len(pieces) or start > _MARGIN or tail_bytes > _MARGIN:
        return None
    return ExpectedFile(
        head_bytes=start,
        tail_bytes=tail_bytes,
        head=tuple((first, last, file.fetch(first, last - first)) for first, last in head),
        tail=tuple((first, last, file.fetch(end + first, last - first)) for first, last in tail),
        dtype=layout.dtype,
    )
