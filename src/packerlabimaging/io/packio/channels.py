"""Columns of a PackIO file, read in pieces: no more of the file than the rows asked for, in memory set by the piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.signals import CHUNK_SAMPLES, Channel
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.packio.header import SAMPLE, PaqHeader

READ_BYTES = 1 << 19
"""Bytes read at a time: small enough to stay in the processor's cache until the columns have been taken out."""


class PaqChannel(Channel):
    """One column of a PackIO file. It pickles as its header and number, never as samples or an open file."""

    def __init__(self, header: PaqHeader, index: int, *, name: str) -> None:
        super().__init__(name, rate_hz=header.rate_hz, n_samples=header.n_samples, unit=header.units[index])
        self.header, self.index = header, index

    def _read(self, start: int, stop: int) -> np.ndarray:
        out = np.empty((1, stop - start), np.float32)
        with _open(self.header.path) as file:
            _read_columns(file, self.header, [self.index], start, out, _buffer(self.header, stop - start))
        return out[0]

    def chunks(self, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first sample number, float32 samples)`` one piece after the other; the file is opened once."""
        for start, columns in iter_channels([self], n_samples=n_samples):
            yield start, columns[0]


def iter_channels(channels: Sequence[Channel], *, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
    """Read several channels of one PackIO file together: each byte of the file is read once.

    Parameters
    ----------
    channels
        Channels of one file, as ``PackIOReader.open`` returns them.
    n_samples
        Samples read at a time.

    Yields
    ------
    start, samples
        Number of the first sample, and float32 samples of shape ``(n_channels, <= n_samples)``.

    Raises
    ------
    ParameterError
        If the channels are not of one PackIO file.
    """
    own = [channel for channel in channels if isinstance(channel, PaqChannel)]
    if len(own) != len(channels) or len({channel.header for channel in own}) != 1:
        raise ParameterError("Channels can be read together only if they are of one .paq file. Read each by itself.")
    n_samples = int(check_positive("n_samples", n_samples))
    header = own[0].header
    columns, buffer = [channel.index for channel in own], _buffer(header, n_samples)
    with _open(header.path) as file:
        for start in range(0, header.n_samples, n_samples):
            samples = np.empty((len(own), min(n_samples, header.n_samples - start)), np.float32)
            _read_columns(file, header, columns, start, samples, buffer)
            yield start, samples


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        raise MissingFileError(f"'{path}' is gone since it was opened. Check that its disk is still connected.") from None


def _buffer(header: PaqHeader, n_samples: int) -> np.ndarray:
    """Return the buffer for whole rows, at most ``READ_BYTES`` of them and no more than will be read."""
    n_rows = READ_BYTES // (header.n_channels * SAMPLE.itemsize)
    return np.empty((max(1, min(n_rows, n_samples, header.n_samples)), header.n_channels), SAMPLE)


def _read_columns(
    file: BinaryIO, header: PaqHeader, columns: Sequence[int], start: int, out: np.ndarray, buffer: np.ndarray
) -> None:
    """Fill ``out`` (n_columns, n_samples) with the samples from ``start`` on, reading whole rows into ``buffer``."""
    file.seek(header.offset + start * header.n_channels * SAMPLE.itemsize)
    for first in range(0, out.shape[1], len(buffer)):
        rows = buffer[: out.shape[1] - first]
        _fill(file, rows.reshape(-1).view(np.uint8).data, header.path)
        for column, values in zip(columns, out, strict=True):
            values[first : first + len(rows)] = rows[:, column]


def _fill(file: BinaryIO, view: memoryview, path: Path) -> None:
    while len(view):
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise FormatError(f"'{path}' became shorter after it was opened. Wait until it has been copied completely.")
        view = view[count:]
