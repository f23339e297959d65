"""Movies whose frames are pages of TIFF files: one stack, or many files of one or several pages each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._check import check_length
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.errors import FormatError
from packerlabimaging.io.tiff.files import OpenTiff, PageTable, byte_view, cut_error, find_pages, to_native
from packerlabimaging.io.tiff.layout import PageLayout
from packerlabimaging.io.tiff.single import ExpectedFile, SinglePageFiles, check_same
from packerlabimaging.io.tiff.stack import count_repeated


class Zeros(Sequence[int]):
    """``n`` zeros in no memory: the file of each frame of a single stack, the page of each of single images."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        if not -self._n <= index < self._n:
            raise IndexError(index)
        return 0


@dataclass(frozen=True, eq=False)
class FramePlaces:
    """In which file, and on which page of it, each frame lies.

    Parameters
    ----------
    folder
        Folder of the files.
    names
        File names; :class:`~packerlabimaging.io.tiff.names.FileNames` where there are many.
    file_index
        File of each frame, position in ``names``, length ``n_frames``; a ``range`` costs no memory.
    page_index
        Zero-based page of each frame in its file, length ``n_frames``.
    one_page
        True where each frame is the only page of a file of its own: read with the fewest system calls, other files refused.
    """

    folder: Path
    names: Sequence[str]
    file_index: Sequence[int]
    page_index: Sequence[int]
    one_page: bool

    def __len__(self) -> int:
        return len(self.file_index)


class TiffMovie(Movie):
    """Frames that are pages of TIFF files, in any order.

    Parameters
    ----------
    places
        Where the frames lie.
    frame_shape_px
        ``(height, width)``.
    dtype
        Type of the pixels, in native byte order.
    metadata, source, findings
        See :class:`~packerlabimaging.core.movie.Movie`.

    Notes
    -----
    Pickles as names and page numbers: no pixels, no open files.
    """

    def __init__(
        self,
        places: FramePlaces,
        *,
        frame_shape_px: tuple[int, int],
        dtype: Any,
        metadata: ImagingMetadata | None = None,
        source: str = "",
        findings: Sequence[Finding] = (),
    ) -> None:
        check_length("page_index", places.page_index, len(places), per="frame")
        source = source or str(places.folder)
        super().__init__((len(places), *frame_shape_px), dtype, metadata=metadata, source=source, findings=findings)
        self.places = places
        self._tables: dict[int, PageTable] = {}
        self._expected: ExpectedFile | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}, "_expected": None}

    def frame_source(self, frame: int) -> tuple[Path, int]:
        """Return the file and zero-based page that a frame comes from."""
        return Path(self._path(int(self.places.file_index[frame]))), int(self.places.page_index[frame])

    def _path(self, file: int) -> str:
        return f"{self.places.folder}/{self.places.names[file]}"

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        places = self.places
        if places.one_page:
            single = SinglePageFiles(self.frame_shape_px, self.dtype, self._expected)
            for row, frame in enumerate(range(start, stop)):
                single.read_into(self._path(int(places.file_index[frame])), out[row])
            self._expected = single.expected
            return
        for file, frames in groupby(range(start, stop), key=lambda frame: places.file_index[frame]):
            numbers = list(frames)
            pages = [int(places.page_index[frame]) for frame in numbers]
            rows = out[numbers[0] - start : numbers[-1] + 1 - start]
            with OpenTiff(self._path(int(file))) as tiff:
                self._read_file(tiff, int(file), pages, rows)

    def _read_file(self, tiff: OpenTiff, file: int, pages: Sequence[int], out: np.ndarray) -> None:
        table = self._tables.get(file)
        if table is None:
            table = find_pages(tiff)
            self._tables = {**self._tables, file: table} if len(self._tables) < 64 else {file: table}
        first = tiff.layout(tiff.ifd(table.offset(0), 0), 0)
        n_repeated = count_repeated(tiff, table, first)
        n_images = n_repeated or table.n_pages
        if max(pages) >= n_images:
            raise FormatError(
                f"'{tiff.path}' has {n_images} images. Expected {max(pages) + 1} or more; the file is cut or was changed."
            )
        if n_repeated:
            self._read_repeated(tiff, first, pages, out)
        else:
            self._read_pages(tiff, table, pages, out)

    def _read_pages(self, tiff: OpenTiff, table: PageTable, pages: Sequence[int], out: np.ndarray) -> None:
        for page, frame in zip(pages, out, strict=True):
            offset = table.offset(page)
            ifd = tiff.ifd(offset, page)
            table.check(ifd, page, tiff.path)
            layout = tiff.layout(ifd, page)
            check_same(layout, self.frame_shape_px, self.dtype, path=tiff.path, page=page)
            tiff.read_pixels(layout, frame, page)

    def _read_repeated(self, tiff: OpenTiff, layout: PageLayout, pages: Sequence[int], out: np.ndarray) -> None:
        check_same(layout, self.frame_shape_px, self.dtype, path=tiff.path, page=0)
        for _, group in groupby(enumerate(pages), key=lambda item: item[1] - item[0]):  # runs of consecutive pages
            items = list(group)
            rows = out[items[0][0] : items[-1][0] + 1]
            read_repeated(tiff, layout, items[0][1], rows)


def read_repeated(tiff: OpenTiff, layout: PageLayout, page: int, out: np.ndarray) -> None:
    """Fill ``out`` with images that follow one another from ``page`` on, all described by one directory."""
    start = layout.segments[0][0] + page * layout.n_bytes
    found = tiff.fill(byte_view(out), start)
    if found < out.nbytes:
        missing = found // layout.n_bytes
        raise cut_error(
            tiff.path,
            page + missing,
            expected=layout.n_bytes,
            found=found % layout.n_bytes,
            offset=start + missing * layout.n_bytes,
        )
    to_native(out, layout.dtype)
