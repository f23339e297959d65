"""Recorded signals: named channels, each at its own rate, read only when asked for.

A :class:`Channel` knows its rate and length without touching its samples; a reader of a file format subclasses it with
one method, ``_read``. :class:`Signals` is the set of channels of one recording on one time base.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from packerlabimaging._check import check_positive, did_you_mean, frozen_array
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import MissingInputError, ParameterError

CHUNK_SAMPLES = 1 << 18
"""Samples read at a time by ``Channel.chunks``: 1 MB of float32."""


class Channel(ABC):
    """One recorded signal.

    Parameters
    ----------
    name
        Name as recorded.
    rate_hz
        Samples per second.
    n_samples
        Number of samples.
    unit
        Unit as recorded, e.g. ``"V"``.
    start_s
        Time of the first sample on the recording's time base, seconds.
    """

    def __init__(self, name: str, *, rate_hz: float, n_samples: int, unit: str = "", start_s: float = 0.0) -> None:
        self.name = name
        self.rate_hz = check_positive(f"rate_hz of channel '{name}'", rate_hz)
        self.n_samples = int(check_positive(f"n_samples of channel '{name}'", n_samples, zero=True))
        self.unit = unit
        self.start_s = float(start_s)

    @abstractmethod
    def _read(self, start: int, stop: int) -> np.ndarray:
        """Return samples ``start`` to ``stop``; the range is already checked."""

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Read samples ``start`` (included) to ``stop`` (not included; None = to the end).

        Returns
        -------
        numpy.ndarray
            Native-endian float32, shape ``(stop - start,)``.

        Raises
        ------
        ParameterError
            If the range does not lie within the recording.
        """
        stop = self.n_samples if stop is None else stop
        if not 0 <= start <= stop <= self.n_samples:
            raise ParameterError(
                f"Samples {start} to {stop} of channel '{self.name}' don't exist. It has {self.n_samples} samples."
            )
        return np.ascontiguousarray(self._read(start, stop), dtype=np.float32)

    def read_between(self, start_s: float, stop_s: float) -> np.ndarray:
        """Read the samples taken in ``[start_s, stop_s)``, cut at the ends of the recording; float32."""
        first, last = np.clip(self.first_sample_at(np.array([start_s, stop_s])), 0, self.n_samples).tolist()
        return self.read(first, max(first, last))

    def chunks(self, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first sample number, float32 samples)`` one piece after the other, in bounded memory."""
        for start in range(0, self.n_samples, n_samples):
            yield start, self.read(start, min(start + n_samples, self.n_samples))

    def time_of(self, samples: np.ndarray) -> np.ndarray:
        """Convert sample numbers to seconds on the recording's time base."""
        return self.start_s + np.asarray(samples, dtype=np.float64) / self.rate_hz

    def first_sample_at(self, times_s: np.ndarray) -> np.ndarray:
        """Return the number of the first sample at or after each time, int64; it may lie outside the recording.

        A time within a millionth of a sample after a sample counts as that sample's.
        """
        samples = (np.asarray(times_s, dtype=np.float64) - self.start_s) * self.rate_hz
        return np.clip(np.ceil(np.round(samples, 6)), -(2.0**62), 2.0**62).astype(np.int64)  # infinite: beyond any recording

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.n_samples / self.rate_hz

    def __len__(self) -> int:
        return self.n_samples

    def __repr__(self) -> str:
        unit = f", {self.unit}" if self.unit else ""
        return f"Channel('{self.name}', {self.rate_hz:g} Hz, {self.n_samples} samples = {self.duration_s:.1f} s{unit})"


class ArrayChannel(Channel):
    """A channel whose samples are in memory.

    Parameters
    ----------
    values
        Samples, shape ``(n_samples,)``.
    """

    def __init__(self, name: str, values: np.ndarray, *, rate_hz: float, unit: str = "", start_s: float = 0.0) -> None:
        self._values = frozen_array(values, np.float32, ndim=1, name=f"channel '{name}'")
        super().__init__(name, rate_hz=rate_hz, n_samples=len(self._values), unit=unit, start_s=start_s)

    def _read(self, start: int, stop: int) -> np.ndarray:
        return self._values[start:stop]


class Signals(Mapping[str, Channel]):
    """The channels of one recording, by name.

    Parameters
    ----------
    channels
        Channels with distinct names.
    source
        File or folder that they come from, for messages.
    findings
        What the reader noticed and tolerated.

    Raises
    ------
    ParameterError
        If two channels have one name.
    """

    def __init__(self, channels: Iterable[Channel], *, source: str = "", findings: Iterable[Finding] = ()) -> None:
        self._channels: dict[str, Channel] = {}
        for channel in channels:
            if channel.name in self._channels:
                raise ParameterError(f"Two channels of {source or 'the signals'} are called '{channel.name}'. Rename one.")
            self._channels[channel.name] = channel
        self.source = source
        self.findings = tuple(findings)

    def __getitem__(self, name: str) -> Channel:
        try:
            return self._channels[name]
        except KeyError:
            raise MissingInputError(
                f"There is no channel '{name}' in {self.source or 'the signals'}. "
                f"Its channels are: {', '.join(self._channels) or 'none'}.{did_you_mean(name, self._channels)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._channels

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def __len__(self) -> int:
        return len(self._channels)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels, in the file's order."""
        return tuple(self._channels)

    @property
    def duration_s(self) -> float:
        """Length of the longest channel in seconds."""
        return max((channel.duration_s for channel in self.values()), default=0.0)

    def __repr__(self) -> str:
        return f"Signals({', '.join(self.names)}; {self.duration_s:.1f} s)"
