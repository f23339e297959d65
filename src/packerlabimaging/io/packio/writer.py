"""Writing PackIO files, for simulations and for cutting recordings into pieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from packerlabimaging._check import check_choice, check_length, check_positive
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.packio.header import BLOCKS, MAX_CHANNELS, MAX_CHARACTERS, MAX_RATE_HZ, SAMPLE, Variant


class PaqWriter:
    """Write a PackIO file piece by piece, in memory that does not depend on its length.

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
    variant
        ``"paq"``, or ``"bin"``, which has neither units nor hardware lines; by default what the file's name says.

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
    >>> from packerlabimaging.io import open_signals
    >>> open_signals(path)
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
        variant: Variant | None = None,
    ) -> None:
        self.path = Path(path)
        if variant is None:
            variant = "bin" if self.path.suffix.lower() == ".bin" else "paq"
        check_choice("variant", variant, tuple(BLOCKS))
        if variant == "bin" and not (units is None and hardware is None):
            raise ParameterError('The variant "bin" holds neither units nor hardware lines. Leave them out, or write a .paq.')
        self.n_channels = len(names)
        if not 1 <= self.n_channels <= MAX_CHANNELS:
            raise ParameterError(f"{self.n_channels} channels can't be written. Expected 1 to {MAX_CHANNELS} names.")
        if check_positive("rate_hz", rate_hz) > MAX_RATE_HZ:
            raise ParameterError(f"rate_hz = {rate_hz!r} is out of range. Give at most {MAX_RATE_HZ:g}.")
        blocks = {
            "names": names,
            "hardware": hardware if hardware is not None else [f"ai{index}" for index in range(len(names))],
            "units": units if units is not None else ["V"] * len(names),
        }
        numbers = [float(rate_hz), float(self.n_channels)]
        for name in list(blocks)[: len(BLOCKS[variant])]:
            for text in check_length(name, blocks[name], self.n_channels, per="channel"):
                numbers += _numbers_of(name, text)
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
            raise ParameterError("The PackIO file is not open. Write inside a with block: with PaqWriter(...) as paq: ...")
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


def _numbers_of(name: str, text: str) -> list[float]:
    if not text.isprintable() or len(text) > MAX_CHARACTERS or any(ord(letter) > 0xFFFF for letter in text):
        raise ParameterError(f"{name} holds {text!r}. Expected up to {MAX_CHARACTERS} printable characters.")
    return [float(len(text)), *(float(ord(letter)) for letter in text)]


def write_paq(
    path: str | Path,
    values: np.ndarray,
    *,
    rate_hz: float,
    names: Sequence[str],
    units: Sequence[str] | None = None,
    hardware: Sequence[str] | None = None,
    variant: Variant | None = None,
) -> None:
    """Write samples that are in memory, shape ``(n_samples, n_channels)``, as a PackIO file; see :class:`PaqWriter`."""
    with PaqWriter(path, rate_hz=rate_hz, names=names, units=units, hardware=hardware, variant=variant) as paq:
        paq.write(values)
