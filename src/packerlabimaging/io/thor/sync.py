"""ThorSync's signals: an HDF5 file with analogue lines, digital lines and counters, and a counter of a 20 MHz clock.

``Global/GCtr`` holds the clock's count at every sample: the rate is what it counts, not what the settings name. Digital lines
are stored as the value of their bit (0 or 2, say); here they are 0 or 1. A frame clock is the digital line ``FrameOut``
(``Frame_Out``, ``Frame Out``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import CHUNK_SAMPLES, Channel, Signals
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, PackerLabImagingError, ParameterError
from packerlabimaging.io.readers import Inspection, Reader, unreadable
from packerlabimaging.io.untrusted.hdf5 import is_hdf5, open_hdf5
from packerlabimaging.io.untrusted.xml import parse_xml

CLOCK_HZ = 20e6
"""What ``GCtr`` counts (ThorSync 3.0 manual, section 5.2)."""

SETTINGS_FILE = "ThorRealTimeDataSettings.xml"
EPISODE_NAME = re.compile(r"Episode[0-9]{1,6}\.h5", re.IGNORECASE)
UNITS = {"AI": "V", "DI": "", "CI": ""}
"""Groups of the file, and units of their lines."""

_FRAME_CLOCK = re.compile(r"frame[ _]?out", re.IGNORECASE)
_RATE_DISAGREES = 1e-4


class ThorSyncChannel(Channel):
    """One line of an episode. It pickles as the file's name and its own, never as samples or an open file."""

    def __init__(self, path: Path, key: str, *, name: str, rate_hz: float, n_samples: int) -> None:
        group = key.split("/")[0]
        super().__init__(name, rate_hz=rate_hz, n_samples=n_samples, unit=UNITS[group])
        self.path, self.key, self.digital = path, key, group == "DI"

    def _read(self, start: int, stop: int) -> np.ndarray:
        with open_hdf5(self.path) as file:
            return self._values(file[self.key], start, stop)

    def chunks(self, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first sample number, float32 samples)`` one piece after the other; the file is opened once."""
        with open_hdf5(self.path) as file:
            for start in range(0, self.n_samples, n_samples):
                values = self._values(file[self.key], start, min(start + n_samples, self.n_samples))
                yield start, np.ascontiguousarray(values, dtype=np.float32)

    def _values(self, dataset: Any, start: int, stop: int) -> np.ndarray:
        values = _piece(dataset, start, stop)
        if len(values) != stop - start:
            raise FormatError(f"'{self.path}' changed since it was opened. Open it again.")
        return values != 0 if self.digital else values


class ThorSyncReader(Reader):
    """Reads ThorSync's episodes."""

    name = "thorsync"
    kind = "signals"
    description = "a ThorSync folder, or its Episode001.h5"

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is an episode, or a folder that holds one."""
        try:
            if path.is_dir():
                return any(self.detect(file) for file in _episodes(path))
            if not path.is_file() or not is_hdf5(path):
                return False
            with open_hdf5(path) as file:
                return "Global/GCtr" in file or bool(EPISODE_NAME.fullmatch(path.name) and set(UNITS) & set(file))
        except (PackerLabImagingError, OSError):
            return False

    def open(self, path: Path, *, episode: int | None = None, rate_hz: float | None = None) -> Signals:
        """Open an episode lazily.

        Parameters
        ----------
        path
            The ``.h5`` file, or the folder.
        episode
            Its number, where the folder holds several.
        rate_hz
            Samples per second, where neither a clock counter nor the settings say.

        Raises
        ------
        AmbiguousInputError
            If there are several episodes and none was chosen.
        FormatError
            If the file is cut or damaged, or holds no lines.
        ParameterError
            If nothing says the rate.
        """
        path = _choose_episode(Path(path), episode)
        found = _read_header(path)
        rate, findings = _rate(path, found, rate_hz)
        channels = [
            ThorSyncChannel(path, key, name=name, rate_hz=rate, n_samples=found.n_samples) for name, key in found.lines.items()
        ]
        return Signals(channels, source=str(path), findings=(*found.findings, *findings))

    def inspect(self, path: Path) -> Inspection:
        """Describe an episode, or all of a folder."""
        episodes = _episodes(path) if path.is_dir() else [path]
        findings: list[Finding] = []
        described = {}
        for file in episodes[:100]:
            try:
                signals = self.open(file)
            except PackerLabImagingError as error:
                findings.append(unreadable(error, file))
                continue
            findings.extend(signals.findings)
            first = next(iter(signals.values()))
            described[file.name] = {
                "rate_hz": first.rate_hz,
                "n_samples": first.n_samples,
                "duration_s": first.duration_s,
                "channels": list(signals.names),
                "frame_clock": [name for name in signals if _FRAME_CLOCK.search(name)],
            }
        return Inspection(str(path), self.name, self.kind, {"episodes": described}, tuple(findings))


def _episodes(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if EPISODE_NAME.fullmatch(file.name))


def _choose_episode(path: Path, episode: int | None) -> Path:
    if not path.is_dir():
        if episode is not None:
            raise ParameterError(f"'{path}' is one episode. Leave episode= out, or pass the folder.")
        return path
    found = {int("".join(re.findall(r"[0-9]", file.stem))): file for file in _episodes(path)}
    if not found:
        raise MissingFileError(f"'{path}' holds no Episode001.h5. Pass the folder that ThorSync wrote.")
    if episode is None and len(found) == 1:
        return next(iter(found.values()))
    listed = ", ".join(map(str, found))
    if episode is None:
        raise AmbiguousInputError(f"'{path}' holds {len(found)} episodes: {listed}. Choose with episode=.")
    if episode not in found:
        raise ParameterError(f"episode = {episode!r} is not in '{path}'. Its episodes: {listed}.")
    return found[episode]


@dataclass(frozen=True)
class _Header:
    """Lines by name with their keys, their length, and the clock's counts at five samples spread over the recording."""

    lines: dict[str, str]
    n_samples: int
    samples: tuple[int, ...]
    counts: tuple[int, ...]
    findings: tuple[Finding, ...]


def _read_header(path: Path) -> _Header:
    with open_hdf5(path) as file:
        sizes = {key: file[key].size for key in _lines(file)}
        clock = file.get("Global/GCtr")
        if not sizes:
            raise FormatError(f"'{path}' holds no lines. Expected datasets in the groups {', '.join(UNITS)}; is it ThorSync's?")
        n_samples = min(sizes.values()) if clock is None else _piece_count(clock, path)
        if clock is None and len(set(sizes.values())) > 1:
            raise FormatError(
                f"The lines of '{path}' have {min(sizes.values())} to {max(sizes.values())} samples. Expected one length."
            )
        kept = {key: size for key, size in sizes.items() if size == n_samples}
        samples = sorted({round(part * (n_samples - 1) / 4) for part in range(5)}) if clock is not None and n_samples > 1 else []
        counts = [int(_piece(clock, sample, sample + 1)[0]) for sample in samples]
    if not kept:
        raise FormatError(f"No line of '{path}' has {n_samples} samples, as the clock has. The file is cut or damaged.")
    left = sorted(set(sizes) - set(kept))
    findings: tuple[Finding, ...] = ()
    if left:
        message = f"{', '.join(left)} have another length than the {n_samples} samples of the clock, and are left out."
        findings = (Finding("lines-left-out", message, where=str(path)),)
    names = [key.split("/", 1)[1] for key in kept]
    lines = {(name if names.count(name) == 1 else key): key for name, key in zip(names, kept, strict=True)}
    return _Header(lines, n_samples, tuple(samples), tuple(counts), findings)


def _lines(file: Any) -> Iterator[str]:
    """Yield the keys of the datasets that are one line each."""
    import h5py

    for group in UNITS:
        lines = file.get(group)
        for name in lines if isinstance(lines, h5py.Group) else ():
            item = lines.get(name)
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "uifb" and item.shape and item.size == max(item.shape):
                yield f"{group}/{name}"


def _piece_count(clock: Any, path: Path) -> int:
    if clock.dtype.kind not in "ui" or not clock.shape or clock.size != max(clock.shape):
        raise FormatError(
            f"'{path}' holds a clock counter of shape {clock.shape}, {clock.dtype}. Expected whole numbers, one a sample."
        )
    return int(clock.size)


def _piece(dataset: Any, start: int, stop: int) -> np.ndarray:
    """Return samples of a dataset of shape (n,), (n, 1) or (1, n)."""
    places = tuple(slice(start, stop) if size == dataset.size else slice(None) for size in dataset.shape)
    if dataset.size == 1:
        places = (slice(start, stop), *(slice(None) for _ in dataset.shape[1:]))
    return np.asarray(dataset[places]).reshape(-1)


def _rate(path: Path, header: _Header, given: float | None) -> tuple[float, tuple[Finding, ...]]:
    """Return samples per second: given, else as the clock counted, else as the settings say."""
    if given is not None:
        return check_positive("rate_hz", given), ()
    written = _written_rate(path.with_name(SETTINGS_FILE))
    if not header.counts:
        if written is None:
            raise ParameterError(f"Neither a clock counter in '{path}' nor a '{SETTINGS_FILE}' says the rate. Pass rate_hz=.")
        message = f"There is no clock counter; the rate of {written:g} Hz is that of {SETTINGS_FILE}."
        return written, (Finding("rate-nominal", message, where=str(path)),)
    samples, counts = np.array(header.samples, np.float64), np.array(header.counts, np.float64) - header.counts[0]
    if not np.all(np.diff(counts) > 0):
        raise FormatError(
            f"The clock counter of '{path}' does not run on ({header.counts}). Pass rate_hz= to read it all the same."
        )
    rate = CLOCK_HZ * samples[-1] / counts[-1]
    findings = list(_uneven(path, samples, counts))
    if written is not None and abs(rate - written) <= 2 * rate / counts[-1]:
        return written, tuple(findings)  # as near as the counter can tell
    if written is not None and abs(rate / written - 1) > _RATE_DISAGREES:
        message = f"The clock counted {rate:.6g} Hz, {SETTINGS_FILE} says {written:g} Hz; the count was used."
        evidence = {"counted_hz": rate, "written_hz": written}
        findings.append(Finding("rate-disagrees", message, where=str(path), evidence=evidence))
    return float(rate), tuple(findings)


def _uneven(path: Path, samples: np.ndarray, counts: np.ndarray) -> Iterator[Finding]:
    """Yield a finding if samples are not evenly spaced: some were lost."""
    even = samples / samples[-1] * counts[-1]
    worst = float(np.max(np.abs(counts - even))) / (counts[-1] / samples[-1])
    if worst > 1.5:
        yield Finding(
            "samples-uneven",
            f"Samples are not evenly spaced: by the clock counter some lie {worst:.1f} samples away from a constant rate.",
            where=str(path),
            advice="ThorSync lost samples. Times in the recording are off by up to this much.",
            evidence={"worst_samples": worst},
        )


def _written_rate(settings: Path) -> float | None:
    """Return the rate of the active board, None where the settings do not say."""
    if not settings.is_file():
        return None
    for board in parse_xml(settings).iter("AcquireBoard"):
        if board.get("active") == "1":
            for element in board.iter("SampleRate"):
                if element.get("enable") == "1":
                    try:
                        rate = float(element.get("rate", ""))
                    except ValueError:
                        return None
                    return rate if math.isfinite(rate) and rate > 0 else None
    return None
