"""PackIO ``.paq`` files: several analogue and TTL channels sampled together, interleaved, as big-endian float32.

The header is float32 as well: sampling rate, number of channels, then the channels' names, hardware lines and units, each as
its length followed by one number per character. There is no magic number, version, start time or trailer, so a header is
believed only if every number in it makes sense. Samples follow to the end of the file, one row of all channels per sample.

Opening reads the header only. A channel reads its own column in pieces, in memory that does not depend on the length of
the recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar

import numpy as np

from packerlabimaging._check import check_length, check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import CHUNK_SAMPLES, Channel, Signals
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.readers import Inspection, Kind, Reader

SAMPLE = np.dtype(">f4")
"""Every number of the file, header included."""

READ_BYTES = 1 << 20
"""Bytes read at a time: small enough to stay in the processor's cache until the column has been taken out."""

HEADER_BYTES = 1 << 20
"""No header is longer than this."""

MAX_RATE_HZ, MAX_CHANNELS, MAX_CHARACTERS = 1e8, 1024, 1024
"""A header with larger numbers is not believed."""


@dataclass(frozen=True)
class PaqHeader:
    """What the header of a ``.paq`` file says, and what follows from the file's size.

    Parameters
    ----------
    path
        The file.
    rate_hz
        Samples per second of every channel.
    names, hardware, units
        Name, hardware line (``"ai0"``) and unit of each channel.
    offset
        Bytes before the first sample.
    n_samples
        Whole rows of samples.
    n_stray_bytes
        Bytes after the last whole row: the recording was cut in the middle of a row.
    """

    path: Path
    rate_hz: float
    names: tuple[str, ...]
    hardware: tuple[str, ...]
    units: tuple[str, ...]
    offset: int
    n_samples: int
    n_stray_bytes: int

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.names)


def read_paq_header(path: str | Path) -> PaqHeader:
    """Read the header of a ``.paq`` file.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If the header holds a number that makes no sense; the message names it.
    """
    path = Path(path).absolute()
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(min(HEADER_BYTES, size))
    except (FileNotFoundError, IsADirectoryError):
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.") from None
    numbers = _HeaderNumbers(path, np.frombuffer(head, SAMPLE, count=len(head) // SAMPLE.itemsize))
    rate = numbers.take("sampling rate", low=1e-3, high=MAX_RATE_HZ)
    n_channels = numbers.count("number of channels", low=1, high=MAX_CHANNELS)
    names, hardware, units = (
        tuple(numbers.text(f"{what} of channel {index}") for index in range(n_channels))
        for what in ("name", "hardware line", "unit")
    )
    offset = numbers.at * SAMPLE.itemsize
    n_samples, n_stray_bytes = divmod(size - offset, n_channels * SAMPLE.itemsize)
    return PaqHeader(path, rate, names, hardware, units, offset, n_samples, n_stray_bytes)


class _HeaderNumbers:
    """Takes one number after the other, and says which one can't be true."""

    def __init__(self, path: Path, values: np.ndarray) -> None:
        self.path, self.values, self.at = path, values, 0

    def take(self, what: str, *, low: float, high: float) -> float:
        if self.at >= len(self.values):
            raise FormatError(f"'{self.path}' ends before the {what}. It is not a .paq file, or it is cut within its header.")
        value = float(self.values[self.at])
        self.at += 1
        if not low <= value <= high:  # also refuses NaN
            raise FormatError(
                f"'{self.path}' is not a .paq file, or its header is damaged: the {what} would be {value:g}. "
                f"Expected {low:g} to {high:g}. Copy the file again from the acquisition computer."
            )
        return value

    def count(self, what: str, *, low: int, high: int) -> int:
        value = self.take(what, low=low, high=high)
        if value != int(value):
            raise FormatError(f"'{self.path}' is not a .paq file, or its header is damaged: the {what} would be {value:g}.")
        return int(value)

    def text(self, what: str) -> str:
        length = self.count(f"length of the {what}", low=0, high=MAX_CHARACTERS)
        text = "".join(chr(self.count(f"{what}, a character", low=1, high=0xFFFF)) for _ in range(length))
        if not text.isprintable():
            raise FormatError(f"'{self.path}' is not a .paq file, or its header is damaged: the {what} would be {text!r}.")
        return text


class PaqChannel(Channel):
    """One column of a ``.paq`` file. It pickles as its header and number, never as samples or an open file."""

    def __init__(self, header: PaqHeader, index: int, *, name: str) -> None:
        super().__init__(name, rate_hz=header.rate_hz, n_samples=header.n_samples, unit=header.units[index])
        self.header, self.index = header, index

    def _read(self, start: int, stop: int) -> np.ndarray:
        out = np.empty((1, stop - start), np.float32)
        with self.header.path.open("rb", buffering=0) as file:
            _read_columns(file, self.header, [self.index], start, out, _buffer(self.header))
        return out[0]

    def chunks(self, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first sample number, float32 samples)`` one piece after the other; the file is opened once."""
        for start, columns in iter_channels([self], n_samples=n_samples):
            yield start, columns[0]


def iter_channels(channels: Sequence[Channel], *, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
    """Read several channels of one ``.paq`` file together: each byte of the file is read once.

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
        If the channels are not of one ``.paq`` file.
    """
    own = [channel for channel in channels if isinstance(channel, PaqChannel)]
    if len(own) != len(channels) or len({channel.header for channel in own}) != 1:
        raise ParameterError("Channels can be read together only if they are of one .paq file. Read each by itself.")
    check_positive("n_samples", n_samples)
    header = own[0].header
    columns, buffer = [channel.index for channel in own], _buffer(header)
    with header.path.open("rb", buffering=0) as file:
        for start in range(0, header.n_samples, n_samples):
            samples = np.empty((len(own), min(n_samples, header.n_samples - start)), np.float32)
            _read_columns(file, header, columns, start, samples, buffer)
            yield start, samples


def _buffer(header: PaqHeader) -> np.ndarray:
    rows = max(1, READ_BYTES // (header.n_channels * SAMPLE.itemsize))
    return np.empty((min(rows, max(1, header.n_samples)), header.n_channels), SAMPLE)


def _read_columns(file: Any, header: PaqHeader, columns: Sequence[int], start: int, out: np.ndarray, buffer: np.ndarray) -> None:
    """Fill ``out`` (n_columns, n_samples) with the samples from ``start`` on, reading whole rows into ``buffer``."""
    file.seek(header.offset + start * header.n_channels * SAMPLE.itemsize)
    for first in range(0, out.shape[1], len(buffer)):
        rows = buffer[: out.shape[1] - first]
        _fill(file, rows.reshape(-1).view(np.uint8).data, header.path)
        for column, values in zip(columns, out, strict=True):
            part = values[first : first + len(rows)]
            part.view(SAMPLE)[:] = rows[:, column]  # bytes as they are: swapping while striding is many times slower
            if not SAMPLE.isnative:
                part.view(np.uint32).byteswap(inplace=True)


def _fill(file: Any, view: memoryview, path: Path) -> None:
    while len(view):
        count = file.readinto(view)
        if not count:
            raise FormatError(f"'{path}' became shorter after it was opened. Wait until it has been copied completely.")
        view = view[count:]


class PackIOReader(Reader):
    """Reads PackIO ``.paq`` files."""

    name: ClassVar[str] = "packio"
    kind: ClassVar[Kind] = "signals"
    description: ClassVar[str] = "PackIO recording, .paq"

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a ``.paq`` file, by its name or by a header in which every number makes sense."""
        if not path.is_file():
            return False
        if path.suffix.lower() == ".paq":
            return True
        try:
            read_paq_header(path)
        except (FormatError, OSError):
            return False
        return True

    def open(self, path: Path, **options: Any) -> Signals:
        """Open a ``.paq`` file; reads the header only. There are no options.

        Raises
        ------
        FormatError
            If the header makes no sense.
        """
        if options:
            raise ParameterError(f"The reader 'packio' has no option '{next(iter(options))}'. It needs none.")
        header = read_paq_header(path)
        names, findings = _distinct_names(header)
        channels = [PaqChannel(header, index, name=name) for index, name in enumerate(names)]
        return Signals(channels, source=str(path), findings=[*_tail_findings(header), *findings])

    def inspect(self, path: Path) -> Inspection:
        """Describe a ``.paq`` file from its header."""
        header = read_paq_header(path)
        names, findings = _distinct_names(header)
        facts = {
            "rate_hz": header.rate_hz,
            "n_channels": header.n_channels,
            "n_samples": header.n_samples,
            "duration_s": header.n_samples / header.rate_hz,
            "channels": list(names),
            "hardware": list(header.hardware),
            "units": list(header.units),
        }
        return Inspection(str(path), self.name, self.kind, facts, (*_tail_findings(header), *findings))


def _tail_findings(header: PaqHeader) -> list[Finding]:
    findings = []
    if header.n_stray_bytes:
        n_stray, n_bytes = divmod(header.n_stray_bytes, SAMPLE.itemsize)
        findings.append(
            Finding(
                "cut-row",
                f"The file ends in the middle of a row: {n_stray} stray numbers{f' and {n_bytes} bytes' if n_bytes else ''} "
                f"after {header.n_samples} whole rows are left out.",
                where=str(header.path),
                advice="The recording probably crashed; check that it lasts as long as the movie.",
                evidence={"n_stray": n_stray, "n_stray_bytes": header.n_stray_bytes, "n_samples": header.n_samples},
            )
        )
    if header.n_samples == 0:
        findings.append(
            Finding("no-samples", "The file holds a header but no sample.", "error", str(header.path), "Copy it again.")
        )
    return findings


def _distinct_names(header: PaqHeader) -> tuple[list[str], list[Finding]]:
    """Name channels that have no name, or another's, after their number."""
    names: list[str] = []
    findings = []
    for index, recorded in enumerate(header.names):
        name = recorded
        while not name or name in names or (name != recorded and name in header.names):
            name = f"{name or 'channel'}-{index}"
        if name != recorded:
            message = f"Channel {index} is recorded as '{recorded}', which is empty or taken; it is called '{name}' here."
            findings.append(Finding("channel-renamed", message, where=str(header.path)))
        names.append(name)
    return names, findings


class PaqWriter:
    """Write a ``.paq`` file piece by piece, in memory that does not depend on its length.

    The file appears under its name when the ``with`` block ends; after an error there is none.

    Parameters
    ----------
    path
        File to write; it must not exist.
    rate_hz
        Samples per second.
    names
        Names of the channels.
    units
        Unit of each channel; volts by default.
    hardware
        Hardware line of each channel; ``ai0``, ``ai1``, ... by default.

    Raises
    ------
    ParameterError
        If the file exists, or a name, unit or line can't stand in a header.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.paq"
    >>> with PaqWriter(path, rate_hz=1000, names=["frame_clock", "voltage"]) as paq:
    ...     paq.write(np.zeros((500, 2), np.float32))
    >>> PackIOReader().open(path)
    Signals(frame_clock, voltage; 0.5 s)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rate_hz: float,
        names: Sequence[str],
        units: Sequence[str] | None = None,
        hardware: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.n_channels = len(names)
        check_positive("number of channels", self.n_channels)
        blocks = {
            "names": names,
            "hardware": hardware if hardware is not None else [f"ai{index}" for index in range(len(names))],
            "units": units if units is not None else ["V"] * len(names),
        }
        numbers = [check_positive("rate_hz", rate_hz), float(self.n_channels)]
        for name, texts in blocks.items():
            for text in check_length(name, texts, self.n_channels, per="channel"):
                if not text.isprintable() or len(text) > MAX_CHARACTERS or any(ord(letter) > 0xFFFF for letter in text):
                    raise ParameterError(f"{name} holds {text!r}. Expected up to {MAX_CHARACTERS} printable characters.")
                numbers += [float(len(text)), *(float(ord(letter)) for letter in text)]
        self._header = np.array(numbers, SAMPLE)
        self._file: BinaryIO | None = None

    def __enter__(self) -> PaqWriter:
        self._refuse_existing()
        self._file = self._partial.open("wb")
        self._file.write(self._header.tobytes())
        return self

    def write(self, samples: np.ndarray) -> None:
        """Append samples, shape ``(n_samples, n_channels)``, in the channels' units."""
        if self._file is None:
            raise ParameterError("The .paq file is not open. Write inside a with block: with PaqWriter(...) as paq: ...")
        samples = np.asarray(samples)
        if samples.ndim != 2 or samples.shape[1] != self.n_channels:
            raise ParameterError(f"samples has shape {samples.shape}. Expected (n_samples, {self.n_channels}).")
        self._file.write(np.ascontiguousarray(samples, dtype=SAMPLE).data)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if kind is not None:
            self._partial.unlink()
            return
        self._refuse_existing()
        self._partial.rename(self.path)

    @property
    def _partial(self) -> Path:
        return self.path.with_name(self.path.name + ".partial")

    def _refuse_existing(self) -> None:
        if self.path.exists():
            raise ParameterError(f"'{self.path}' exists, and recordings are never overwritten. Choose another name.")


def write_paq(
    path: str | Path,
    values: np.ndarray,
    *,
    rate_hz: float,
    names: Sequence[str],
    units: Sequence[str] | None = None,
    hardware: Sequence[str] | None = None,
) -> None:
    """Write samples that are in memory, shape ``(n_samples, n_channels)``, as a ``.paq`` file; see :class:`PaqWriter`."""
    with PaqWriter(path, rate_hz=rate_hz, names=names, units=units, hardware=hardware) as paq:
        paq.write(values)
