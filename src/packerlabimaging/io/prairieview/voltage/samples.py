"""The CSV of a voltage recording: a column of times and one per recorded input, read row range by row range.

Text has no fixed place for a row, so the first look beyond the header makes one pass that counts lines and remembers where some
of them are. A row range is then parsed by itself; a channel that is read from end to end keeps its numbers, up to a limit.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.signals import CHUNK_SAMPLES, Channel
from packerlabimaging.errors import FormatError, MissingFileError

BLOCK_BYTES = 1 << 20
"""Bytes read at a time; the place of the first row after each block is remembered."""

PARSE_BYTES = 1 << 22
"""Text parsed at a time, about."""

TAIL_BYTES = MAX_HEADER_BYTES = 1 << 16
"""Bytes looked at for the last line, and for the first."""

KEPT_SAMPLES = 1 << 24
"""A channel of at most this many samples (64 MB) is kept once it has been parsed from end to end: text is slow to parse."""


@dataclass(frozen=True)
class LineIndex:
    """Where the rows are: ``offsets[k]`` is the byte at which row ``rows[k]`` begins; both int64."""

    offsets: np.ndarray
    rows: np.ndarray
    n_rows: int


@dataclass(frozen=True)
class VoltageTable:
    """A CSV of samples.

    Parameters
    ----------
    path
        The file.
    columns
        Names in its header, the times' left out.
    begin, end
        Bytes of the first row's beginning and the last row's end; blank lines at the end of the file lie behind it.
    open_line
        The last line, where nothing says that it ends there; it is no row unless ``keeps_open_line``.
    keeps_open_line
        Whether that line is a row.
    """

    path: Path
    columns: tuple[str, ...]
    begin: int
    end: int
    open_line: bytes = b""
    keeps_open_line: bool = False

    @classmethod
    def open(cls, path: Path) -> VoltageTable:
        """Read the first line and the last.

        Raises
        ------
        MissingFileError
            If there is no such file.
        FormatError
            If its first line does not begin with a column of times.
        """
        try:
            with path.open("rb") as file:
                header = file.readline(MAX_HEADER_BYTES)
                size = file.seek(0, io.SEEK_END)
                file.seek(max(len(header), size - TAIL_BYTES))
                tail = file.read()
        except (FileNotFoundError, IsADirectoryError):
            raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.") from None
        names = header_names(header)
        if len(names) < 2 or not header.endswith(b"\n"):
            raise FormatError(
                f"'{path}' begins with the line {header[:80]!r}. Expected 'Time(ms), <input>, ...', as voltage recordings do. "
                "Copy it again from the rig."
            )
        blank = tail[len(tail.rstrip()) :]
        if not tail.strip():
            return cls(path, tuple(names[1:]), len(header), len(header))
        if b"\n" in blank:
            return cls(path, tuple(names[1:]), len(header), size - len(blank) + blank.index(b"\n") + 1)
        return cls(path, tuple(names[1:]), len(header), size - len(blank), tail.rsplit(b"\n", 1)[-1].strip())

    @cached_property
    def index(self) -> LineIndex:
        """Where the rows are, of those that end; made in one pass through the file."""
        offsets, rows, n_rows, at = [self.begin], [0], 0, self.begin
        with self.path.open("rb", buffering=0) as file:
            file.seek(at)
            while block := file.read(min(BLOCK_BYTES, self.end - at)):
                n_ends = block.count(b"\n")
                if n_ends:
                    n_rows += n_ends
                    offsets.append(at + block.rindex(b"\n") + 1)
                    rows.append(n_rows)
                at += len(block)
        return LineIndex(np.array(offsets), np.array(rows), n_rows)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.index.n_rows + self.keeps_open_line

    @property
    def rows_at_once(self) -> int:
        """Rows that are parsed at a time."""
        return max(1, PARSE_BYTES * self.n_rows // max(1, self.end - self.begin))

    def times_ms(self) -> tuple[float, float]:
        """Return the times of the first and the last row, milliseconds as written; NaN where there is none."""
        if not self.n_rows:
            return np.nan, np.nan
        first, last = (self.rows(row, row + 1, 0)[0] for row in (0, self.n_rows - 1))
        return float(first), float(last)

    def rows(self, start: int, stop: int, column: int) -> np.ndarray:
        """Parse a column (0 is the time) of the rows ``start`` to ``stop``; float64.

        Raises
        ------
        FormatError
            If a row has not as many numbers as the header has names, or the file became shorter.
        """
        if stop <= start:
            return np.zeros(0)
        begin, end = self._offset(start), self._offset(stop)
        with self.path.open("rb") as file:
            file.seek(begin)
            text = file.read(min(end - begin, 4 * PARSE_BYTES))  # rows of very uneven length are no recording
        values = _parse(text, column) if text.count(b",") == (stop - start) * len(self.columns) else None
        if values is None or len(values) != stop - start:
            raise FormatError(
                f"'{self.path}', rows {start + 1} to {stop}: not every row holds {len(self.columns) + 1} numbers. "
                "Expected those that the header names, with commas between them. Export the recording again."
            )
        return values

    def _offset(self, row: int) -> int:
        """Return the byte at which a row begins."""
        if row > self.index.n_rows:  # behind the line that does not end
            return self.end
        known = int(np.searchsorted(self.index.rows, row, side="right")) - 1
        offset, missing = int(self.index.offsets[known]), row - int(self.index.rows[known])
        if not missing:
            return offset
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            while block := file.read(BLOCK_BYTES):
                ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
                if len(ends) >= missing:
                    return offset + int(ends[missing - 1]) + 1
                offset, missing = offset + len(block), missing - len(ends)
        raise FormatError(f"'{self.path}' became shorter after it was opened. Wait until it has been copied completely.")


class VoltageChannel(Channel):
    """One input of a voltage recording. It pickles as its place in the file, never as samples.

    Parameters
    ----------
    table
        The CSV.
    column
        Its column, 1 for the first input.
    scale
        What the recorded numbers are multiplied by.
    """

    def __init__(self, name: str, table: VoltageTable, column: int, *, rate_hz: float, unit: str, scale: float) -> None:
        super().__init__(name, rate_hz=rate_hz, n_samples=table.n_rows, unit=unit)
        self.table, self.column, self.scale = table, column, scale
        self._kept: np.ndarray | None = None

    def _read(self, start: int, stop: int) -> np.ndarray:
        if self._kept is not None:
            return self._kept[start:stop].copy()
        out = np.empty(stop - start, np.float32)
        for first in range(start, stop, self.table.rows_at_once):
            last = min(first + self.table.rows_at_once, stop)
            with np.errstate(over="ignore"):  # a number beyond float32, in a damaged file, becomes infinite
                out[first - start : last - start] = self.table.rows(first, last, self.column) * self.scale
        if start == 0 and stop == self.n_samples <= KEPT_SAMPLES:
            self._kept = out.copy()
        return out

    def chunks(self, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first sample number, float32 samples)`` one piece after the other; what is kept is parsed once."""
        if self.n_samples <= KEPT_SAMPLES:
            self.read()
        yield from super().chunks(n_samples)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


def _parse(text: bytes, column: int) -> np.ndarray | None:
    """Return the numbers of a column; None where they, or the times beside them, are no numbers."""
    if not text.strip():
        return None
    columns = sorted({0, column})
    try:  # numpy's reader, since that of pandas crashes on some damaged text
        parsed = np.loadtxt(io.BytesIO(text), delimiter=",", comments=None, usecols=columns, ndmin=2, encoding="latin-1")
    except ValueError:
        return None
    return parsed[:, -1]


def header_names(line: bytes) -> list[str]:
    """Return the names in a CSV's first line, the times' first; none where it does not begin with times."""
    names = [name.strip() for name in line.decode("utf-8-sig", errors="replace").split(",")]
    return names if names[0].replace(" ", "").lower() == "time(ms)" else []
