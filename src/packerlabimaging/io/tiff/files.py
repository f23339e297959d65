"""Reading at a position, and the pages of one TIFF file.

A file is open only while something is read from it: movies can be sent to other processes and read by several threads.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from packerlabimaging.errors import FormatError, MissingDependencyError, MissingFileError
from packerlabimaging.io.tiff.layout import Ifd, PageLayout, TagReader, TiffHeader, parse_header, parse_page, read_ifd

OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
HAS_PREADV = hasattr(os, "preadv")


def open_descriptor(path: str) -> int:
    """Open a file for reading at positions.

    Raises
    ------
    MissingFileError
        If it is not there (any more).
    """
    try:
        return os.open(path, OPEN_FLAGS)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"The image '{path}' is not there. Check that its disk is connected and nothing was moved."
        ) from error


def read_buffers(descriptor: int, buffers: Sequence[Any], offset: int) -> int:
    """Fill buffers one after another from ``offset`` on; return the number of bytes read, fewer only at the file's end."""
    if HAS_PREADV:
        total = sum(len(buffer) for buffer in buffers)
        done = os.preadv(descriptor, buffers, offset)
        if done in (0, total):
            return done
        end = os.fstat(descriptor).st_size
        if offset + done >= end:
            return done
    return _read_piecewise(descriptor, buffers, offset)  # no preadv here, or more at once than the system gives


def _read_piecewise(descriptor: int, buffers: Sequence[Any], offset: int) -> int:
    done = 0
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(offset)
        for buffer in buffers:
            view = memoryview(buffer).cast("B")
            while len(view):
                n_bytes = file.readinto(view)
                if not n_bytes:
                    return done
                done += n_bytes
                view = view[n_bytes:]
    return done


class OpenTiff:
    """One TIFF file, open for reading within a ``with`` block."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> OpenTiff:
        self._descriptor = open_descriptor(self.path)
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FormatError(f"'{self.path}' is no file. Expected a TIFF file: give its path.")
            self.n_bytes = status.st_size
            self.header: TiffHeader = parse_header(self.fetch(0, 16), self.path)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._decoder: Any = None
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
        if self._decoder is not None:
            self._decoder.close()

    def fetch(self, offset: int, n_bytes: int) -> bytes:
        """Return bytes of the file, fewer at its end."""
        n_bytes = min(n_bytes, self.n_bytes - offset)
        if offset < 0 or n_bytes <= 0:
            return b""
        if HAS_PREADV:
            return os.pread(self._descriptor, n_bytes, offset)
        buffer = bytearray(n_bytes)
        return bytes(buffer[: read_buffers(self._descriptor, [buffer], offset)])

    def ifd(self, offset: int, page: int) -> Ifd:
        """Read one page's directory."""
        return read_ifd(self.fetch, offset, self.header, path=self.path, page=page)

    def tags(self, ifd: Ifd, page: int = 0) -> TagReader:
        """Return a reader of a directory's values."""
        return TagReader(self.fetch, ifd, self.header, file_bytes=self.n_bytes, path=self.path, page=page)

    def layout(self, ifd: Ifd, page: int) -> PageLayout:
        """Return where a page's pixels lie."""
        return parse_page(self.fetch, ifd, self.header, file_bytes=self.n_bytes, path=self.path, page=page)

    def read_pixels(self, layout: PageLayout, out: np.ndarray, page: int) -> None:
        """Fill ``out`` (one frame, native byte order) with the pixels of a page.

        Raises
        ------
        FormatError
            If the file ends before the page does, or can't be decoded.
        """
        if layout.not_plain:
            self._decode(layout, out, page)
            return
        view = byte_view(out)
        done = 0
        for offset, n_bytes in layout.segments:
            found = self.fill(view[done : done + n_bytes], offset)
            if found < n_bytes:
                raise cut_error(self.path, page, expected=layout.n_bytes, found=done + found, offset=layout.segments[0][0])
            done += n_bytes
        to_native(out, layout.dtype)

    def fill(self, view: memoryview, offset: int) -> int:
        """Fill a buffer from ``offset`` on; return the number of bytes that were there."""
        return read_buffers(self._descriptor, [view], offset) if offset < self.n_bytes else 0

    def _decode(self, layout: PageLayout, out: np.ndarray, page: int) -> None:
        image = self.decoder_page(layout.ifd.offset, page)
        if image.shape != out.shape:
            raise FormatError(f"'{self.path}' page {page + 1} decodes to {image.shape}. Expected an image of {out.shape}.")
        out[...] = image

    def decoder_page(self, ifd_offset: int, page: int) -> np.ndarray:
        """Return a page decoded by tifffile: compressed, tiled and other rare pages."""
        import tifffile

        try:
            if self._decoder is None:  # is_ome=False: never follow OME-XML to other files
                self._decoder = tifffile.TiffFile(self.path, is_ome=False)
            self._decoder.filehandle.seek(ifd_offset)
            return np.asarray(tifffile.TiffPage(self._decoder, index=page).asarray())
        except Exception as error:  # whatever a decoder raises on damaged bytes is a damaged file to the user
            if "imagecodecs" in str(error):
                raise MissingDependencyError(
                    f"'{self.path}' is compressed in a way that needs the package imagecodecs. Run: pip install imagecodecs"
                ) from error
            raise FormatError(
                f"'{self.path}' page {page + 1} ({type(error).__name__}: {error}) can't be decoded. Copy the file again."
            ) from error


def byte_view(array: np.ndarray) -> memoryview:
    """Return the bytes of a contiguous array, to be filled or written without a copy."""
    return array.reshape(-1).view(np.uint8).data


def to_native(out: np.ndarray, stored: np.dtype | None) -> None:
    """Swap the bytes of ``out`` in place where it was filled with the other byte order."""
    if stored is not None and not stored.isnative:
        out.byteswap(inplace=True)


def cut_error(path: str, page: int, *, expected: int, found: int, offset: int) -> FormatError:
    """Return the error of a file that ends within a page."""
    return FormatError(
        f"'{path}' is cut: page {page + 1} needs {expected:,} bytes of pixels from byte {offset:,}, found {found:,}. "
        "Copy the file again from the rig, or leave the frames from there on out."
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """Pages ``first`` to ``first + count``, whose directories lie ``stride`` bytes apart."""

    first: int
    offset: int
    stride: int
    count: int


class PageTable:
    """Where the directory of each page of a file lies, in memory that does not grow with regular files.

    Directories that lie at equal distances are found by a search that looks at some of them only; each is checked when its
    page is read (:meth:`check`), so that a file that only seems regular is refused, never misread.
    """

    def __init__(self, runs: Sequence[_Run]) -> None:
        self._runs = tuple(runs)
        self._firsts = [run.first for run in self._runs]
        self.n_pages = sum(run.count for run in self._runs)

    def offset(self, page: int) -> int:
        """Return where the directory of a page lies (0 after the last page)."""
        if page >= self.n_pages:
            return 0
        run = self._runs[bisect_right(self._firsts, page) - 1]
        return run.offset + (page - run.first) * run.stride

    def check(self, ifd: Ifd, page: int, path: str) -> None:
        """Raise a FormatError if a page's directory does not lead to that of the page after it."""
        if ifd.next_ifd != self.offset(page + 1):
            raise FormatError(
                f"'{path}' is damaged or changed while it was read: the directory of page {page + 1} leads to byte "
                f"{ifd.next_ifd:,}. Expected {self.offset(page + 1):,}. Open the file again."
            )


def find_pages(file: OpenTiff) -> PageTable:
    """Return where all directories of a file lie, reading directories only.

    Raises
    ------
    FormatError
        If the file has no page, ends within the chain of directories, or the chain runs in a circle.
    """
    runs: list[_Run] = []
    seen: set[int] = set()
    page, offset = 0, file.header.first_ifd
    while offset:
        if offset in seen:
            raise FormatError(f"'{file.path}' is damaged: its pages run in a circle (page {page + 1} is an earlier one).")
        seen.add(offset)
        following = file.ifd(offset, page).next_ifd
        count, stride = 1, following - offset
        if following and stride > 0:
            count += _count_regular(file, offset, stride)
            following = file.ifd(offset + (count - 1) * stride, page + count - 1).next_ifd
        runs.append(_Run(page, offset, stride, count))
        page, offset = page + count, following
    if not runs:
        raise FormatError(f"'{file.path}' holds no page. The writing program was perhaps stopped before it finished the file.")
    return PageTable(runs)


def _count_regular(file: OpenTiff, offset: int, stride: int) -> int:
    """Return how many directories in a row, from the one at ``offset`` on, lead exactly ``stride`` bytes further."""

    def leads_on(index: int) -> bool:
        place = offset + index * stride
        if place + stride >= file.n_bytes:
            return False
        try:
            return file.ifd(place, index).next_ifd == place + stride
        except FormatError:
            return False

    below, above = 0, 1  # directory `below` leads on; search for the first that does not
    while leads_on(above):
        below, above = above, above * 2
    while above - below > 1:
        middle = (below + above) // 2
        if leads_on(middle):
            below = middle
        else:
            above = middle
    return above
