"""What stands before the samples of a PackIO file.

Every number of the file is a big-endian float32, header included: sampling rate, number of channels, then the channels' names,
hardware lines and units, each as its length followed by one number per character. Files named ``.bin`` are an older variant
that has names only (so does ``paq2lab``, the program's own reader, tell them apart). There is no magic number, version, start
time or trailer, so a header is believed only if every number in it makes sense.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from packerlabimaging._check import check_choice
from packerlabimaging.errors import FormatError, MissingFileError

Variant = Literal["paq", "bin"]

BLOCKS: dict[Variant, tuple[str, ...]] = {"paq": ("name", "hardware line", "unit"), "bin": ("name",)}
"""The texts that each variant holds for every channel, block by block."""

SAMPLE = np.dtype(">f4")
"""Every number of the file, header included."""

MAX_RATE_HZ, MAX_CHANNELS, MAX_CHARACTERS = 1e8, 1024, 1024
"""A header with larger numbers is not believed."""

MAX_SAMPLE = 1e6
"""No channel of a recording that is recognised by its content alone begins with larger numbers (volts, degrees, cm/s)."""


@dataclass(frozen=True)
class PaqHeader:
    """What the header of a PackIO file says, and what follows from the file's size.

    Parameters
    ----------
    path
        The file.
    variant
        ``"paq"``, or ``"bin"`` without hardware lines and units.
    rate_hz
        Samples per second of every channel.
    names, hardware, units
        Name, hardware line (``"ai0"``) and unit of each channel; the last two are empty in the variant ``"bin"``.
    offset
        Bytes before the first sample.
    n_samples
        Whole rows of samples.
    n_stray_bytes
        Bytes after the last whole row: the recording was cut in the middle of a row.
    """

    path: Path
    variant: Variant
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


def read_paq_header(path: str | Path, *, variant: Variant | None = None) -> PaqHeader:
    """Read the header of a PackIO file.

    Parameters
    ----------
    path
        The file.
    variant
        ``"paq"`` or ``"bin"``; by default what the file's name says. A file named ``.bin`` whose header holds a hardware line
        for every channel is read as ``"paq"`` all the same.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If the header holds a number that makes no sense; the message names it.
    """
    path = Path(path).absolute()
    if variant is not None:
        return _parse(path, check_choice("variant", variant, tuple(BLOCKS)))
    if path.suffix.lower() == ".bin":
        return _parse_bin(path)
    try:
        return _parse(path, "paq")
    except FormatError as error:
        try:
            _parse(path, "bin")
        except FormatError:
            raise error from None
        message = f'{error} If it was written without hardware lines and units, as .bin files are, pass variant="bin".'
        raise FormatError(message) from error


def is_packio(path: Path) -> bool:
    """Say by its content whether a file is a PackIO recording: its header, and the first rows after it, make sense."""
    try:
        header = read_paq_header(path)
        with path.open("rb") as file:
            file.seek(header.offset)
            first = file.read(64 * header.n_channels * SAMPLE.itemsize)
    except (FormatError, OSError):
        return False
    samples = np.frombuffer(first, SAMPLE, count=len(first) // SAMPLE.itemsize)
    sensible = np.isnan(samples) | (np.abs(samples) <= MAX_SAMPLE)
    return header.rate_hz >= 1 and all(header.names) and bool(sensible.all())


def _parse_bin(path: Path) -> PaqHeader:
    """Read a file named ``.bin``, which may be a renamed ``.paq``."""
    header = _parse(path, "bin")
    try:
        full = _parse(path, "paq")
    except FormatError:
        return header
    return full if all(full.hardware) else header  # rows of zeros would read as empty texts


def _parse(path: Path, variant: Variant) -> PaqHeader:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            numbers = _Numbers(path, file, size)
            rate = numbers.take("sampling rate", low=1e-3, high=MAX_RATE_HZ)
            n_channels = numbers.count("number of channels", low=1, high=MAX_CHANNELS)
            numbers.need(n_channels * len(BLOCKS[variant]), f"names of {n_channels} channels")
            blocks = [
                tuple(numbers.text(f"{what} of channel {index}") for index in range(n_channels)) for what in BLOCKS[variant]
            ]
    except (FileNotFoundError, IsADirectoryError):
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.") from None
    names, hardware, units = (blocks + [("",) * n_channels] * 2)[:3]
    offset = numbers.at * SAMPLE.itemsize
    n_samples, n_stray_bytes = divmod(size - offset, n_channels * SAMPLE.itemsize)
    return PaqHeader(path, variant, rate, names, hardware, units, offset, n_samples, n_stray_bytes)


class _Numbers:
    """Takes one number of the header after the other, and says which one can't be true."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.file, self.n_numbers, self.at = path, file, size // SAMPLE.itemsize, 0

    def need(self, count: int, what: str) -> None:
        """Refuse a count that the rest of the file can't hold, before anything is made of it."""
        if count > self.n_numbers - self.at:
            raise FormatError(f"'{self.path}' ends before the {what}. It is not a PackIO file, or it is cut within its header.")

    def take(self, what: str, *, low: float, high: float) -> float:
        self.need(1, what)
        (value,) = struct.unpack(">f", self.file.read(SAMPLE.itemsize))
        self.at += 1
        if not low <= value <= high:  # also refuses NaN
            raise self._refusal(what, f"{value:g}", f"Expected {low:g} to {high:g}.")
        return float(value)

    def count(self, what: str, *, low: int, high: int) -> int:
        value = self.take(what, low=low, high=high)
        if value != int(value):
            raise self._refusal(what, f"{value:g}", "Expected a whole number.")
        return int(value)

    def text(self, what: str) -> str:
        length = self.count(f"length of the {what}", low=0, high=MAX_CHARACTERS)
        self.need(length, what)
        text = _decode([self.count(f"{what}, a character", low=1, high=0xFFFF) for _ in range(length)])
        if not text.isprintable():
            raise self._refusal(what, repr(text), "Expected printable characters.")
        return text

    def _refusal(self, what: str, value: str, expected: str) -> FormatError:
        return FormatError(
            f"'{self.path}' is not a PackIO file, or its header is damaged: the {what} would be {value}. "
            f"{expected} Copy the file again from the acquisition computer."
        )


def _decode(codes: list[int]) -> str:
    """Return a text from its characters' numbers: bytes of a Western Windows computer, or Unicode where larger."""
    if max(codes, default=0) > 0xFF:
        return "".join(map(chr, codes))
    return bytes(codes).decode("cp1252", errors="replace")
