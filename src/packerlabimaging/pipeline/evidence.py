"""What speaks for and against a pair of recordings: places, names, numbers of pulses, dates.

A movie, the signals recorded beside it and its stimulation protocol tell in several independent ways that they belong
together. Each way is one function here; :mod:`~packerlabimaging.pipeline.pairing` weighs them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, reduce
from operator import and_
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.analysis import detect_pulses
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import AmbiguousInputError, PackerLabImagingError
from packerlabimaging.pipeline.discovery import Recording

EXTRA_PULSES = 20
"""The scanner may run on for this many frames after the last saved one (seen on real rigs)."""

NEAR = 0.02
"""Counts that differ by less than this fraction may still be of one recording: pulses or frames were lost."""

PAUSE_PERIODS = 10.0
"""Frame pulses further apart than this many periods are of different t-series."""

CLOCK_WORDS = ("frame", "clock", "imagetrig", "scan")
STIM_WORDS = ("markpoints2packio", "markpoints", "stim", "opto", "uncag", "led", "trig", "slm", "shutter")
"""Words in the names of channels, the likeliest first; where none fits, all channels are looked at."""

NOT_MOVIES = ("z-series", "single image", "line scan")
"""Recordings that PrairieView's reader opens as a movie but that are none of a field of view over time."""


@dataclass(frozen=True)
class Support:
    """One reason for a pair (``weight`` 1), against it (-1), or neither (0), in words."""

    weight: int
    text: str


@dataclass
class MovieFacts:
    """What is known of a movie from its headers."""

    recording: Recording
    metadata: ImagingMetadata | None = None
    choices: dict[str, list[Any]] = field(default_factory=dict)
    problem: str = ""
    is_series: bool = True

    @classmethod
    def read(cls, recording: Recording) -> MovieFacts:
        """Open a movie; what prevents it is noted."""
        found = cls(recording)
        try:
            facts = recording.reader.inspect(recording.path).facts
            kind = str(facts.get("recording", ""))
            if kind in NOT_MOVIES:
                found.problem, found.is_series = f"it is a {kind}, not a t-series", False
                return found
            try:
                movie = recording.reader.open(recording.path)
            except AmbiguousInputError as error:
                found.choices = _choices(facts)
                if not found.choices:
                    found.problem = str(error)
                    return found
                movie = recording.reader.open(recording.path, **{name: values[0] for name, values in found.choices.items()})
            found.metadata = movie.metadata.replace(n_frames=movie.n_frames)
            if movie.n_frames < 2:
                found.problem, found.is_series = "it has one frame only", False
        except (PackerLabImagingError, OSError) as error:
            found.problem = str(error)
        return found

    @property
    def path(self) -> Path:
        return self.recording.path

    @property
    def n_ticks(self) -> int:
        """Frame pulses to expect: frames of all planes."""
        assert self.metadata is not None and self.metadata.n_frames is not None
        return self.metadata.n_frames * self.metadata.n_planes

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the metadata that a trial needs and the files do not tell."""
        return tuple(name for name in ("frame_rate_hz", "pixel_size_um") if getattr(self.metadata, name) is None)

    @cached_property
    def span(self) -> tuple[float, float] | None:
        """Start and end of the recording by the date in its header, seconds since 1970; None where it has none."""
        if self.metadata is None or self.metadata.acquired is None:
            return None
        seconds = self.metadata.n_frames / self.metadata.frame_rate_hz if self.metadata.frame_rate_hz else 0.0  # type: ignore[operator]
        start = self.metadata.acquired.timestamp()
        return start, start + seconds

    def describe(self) -> str:
        """Return the movie in some words."""
        metadata = self.metadata
        if metadata is None:
            return self.problem
        height, width = metadata.frame_shape_px
        parts = [f"{metadata.n_frames} frames of {height} x {width}"]
        parts += [f"{metadata.n_planes} planes"] if metadata.n_planes > 1 else []
        parts += [f"{metadata.frame_rate_hz:.5g} Hz"] if metadata.frame_rate_hz else []
        parts += [f"recorded {metadata.acquired:%Y-%m-%d %H:%M}"] if metadata.acquired else []
        return ", ".join(parts)


def _choices(facts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the channels and planes that a movie must be chosen from."""
    found: dict[str, list[Any]] = {}
    channels, planes = facts.get("channels"), facts.get("n_planes", facts.get("planes"))
    if isinstance(channels, int):
        channels = list(range(1, channels + 1))
    if isinstance(channels, list) and len(channels) > 1:
        found["channel"] = channels
    if isinstance(planes, int) and planes > 1:
        found["plane"] = list(range(planes))
    return found


@dataclass
class SignalsFacts:
    """The pulses of a recording's channels, detected when they are first asked for."""

    recording: Recording
    signals: Signals | None = None
    problem: str = ""
    _pulses: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, recording: Recording) -> SignalsFacts:
        """Open the signals; what prevents it is noted."""
        try:
            return cls(recording, recording.reader.open(recording.path))
        except (PackerLabImagingError, OSError) as error:
            return cls(recording, problem=str(error))

    @property
    def path(self) -> Path:
        return self.recording.path

    def pulses(self, channel: str) -> np.ndarray:
        """Return the onsets of a channel's pulses in seconds; none where it is no TTL."""
        if channel not in self._pulses:
            assert self.signals is not None
            try:
                found = detect_pulses(self.signals[channel])
                self._pulses[channel] = found.onsets_s if found.thresholds is not None else np.zeros(0)
            except (PackerLabImagingError, OSError):  # told when the file is inspected; here it only has no pulses
                self._pulses[channel] = np.zeros(0)
        return self._pulses[channel]

    def likely(self, words: Sequence[str]) -> list[str]:
        """Return the channels whose names hold one of ``words``, likeliest first; all where none does."""
        names = list(self.signals or ())
        rank = {name: next((i for i, word in enumerate(words) if word in name.lower()), len(words)) for name in names}
        named = [name for name in names if rank[name] < len(words)]
        return sorted(named or names, key=lambda name: rank[name])

    def blocks(self, channel: str) -> list[np.ndarray]:
        """Return the pulses of a frame clock in blocks: the t-series (and live scans) that the file holds."""
        onsets = self.pulses(channel)
        if len(onsets) < 2:
            return []
        intervals = np.diff(onsets)
        return np.split(onsets, np.flatnonzero(intervals > PAUSE_PERIODS * np.median(intervals)) + 1)

    @cached_property
    def span(self) -> tuple[float, float] | None:
        """Start and end of the recording by its file's date, seconds since 1970: the file was written until its end."""
        if self.signals is None or not self.path.is_file():
            return None
        end = self.path.stat().st_mtime
        return end - self.signals.duration_s, end


@dataclass
class ProtocolFacts:
    """A stimulation protocol, or why it can't be read."""

    recording: Recording
    protocol: PhotostimProtocol | None = None
    problem: str = ""

    @classmethod
    def read(cls, recording: Recording) -> ProtocolFacts:
        """Read the protocol; what prevents it is noted."""
        try:
            return cls(recording, recording.reader.open(recording.path))
        except (PackerLabImagingError, OSError) as error:
            return cls(recording, problem=str(error))

    @property
    def path(self) -> Path:
        return self.recording.path

    @property
    def n_pulses(self) -> int | None:
        """Trigger pulses that the protocol expects."""
        protocol = self.protocol
        return None if protocol is None or protocol.n_stims is None else protocol.n_stims * protocol.pulses_per_stim


def by_place(movie: Path, other: Path) -> Support | None:
    """Compare places and whole names."""
    if movie == other or movie in other.parents:
        return Support(1, "lies in the movie's folder")
    stem = movie.name if movie.is_dir() else movie.name.split(".")[0]
    if other.stem == stem or re.search(rf"(?<![A-Za-z0-9]){re.escape(stem)}(?![A-Za-z0-9])", other.name):
        return Support(1, "has the movie's name")
    return None


def numbers_of(path: Path) -> Counter[str]:
    """Return the numbers in a name that may be those of a trial: digits of two to four that are no date."""
    name = re.sub(r"\d{4}-\d{2}-\d{2}|(?<!\d)20\d{6}(?!\d)", "", path.name)
    return Counter(number.lstrip("0") or "0" for number in re.findall(r"(?<!\d)\d{2,4}(?!\d)", name))


def telling_numbers(paths: Iterable[Path]) -> dict[Path, set[str]]:
    """Return the numbers in each name, without those that all names share (an animal's, a day's)."""
    found = {path: numbers_of(path) for path in paths}
    shared = reduce(and_, found.values()) if len(found) > 1 else Counter[str]()
    return {path: set(numbers - shared) for path, numbers in found.items()}


def fitting_blocks(movie: MovieFacts, signals: SignalsFacts, channel: str) -> list[int]:
    """Return the numbers of the blocks of pulses that have as many as the movie has frames, or some more."""
    counts = [len(block) for block in signals.blocks(channel)]
    return [number for number, n in enumerate(counts) if movie.n_ticks <= n <= movie.n_ticks + EXTRA_PULSES]


def by_frames(movie: MovieFacts, signals: SignalsFacts) -> Iterator[tuple[str, Support]]:
    """Compare the frames of a movie with the pulses of each channel that may be its frame clock."""
    if movie.metadata is None or signals.signals is None:
        return
    for channel in signals.likely(CLOCK_WORDS):
        counts = [len(block) for block in signals.blocks(channel)]
        fitting = [counts[number] for number in fitting_blocks(movie, signals, channel)]
        near = [n for n in counts if abs(n - movie.n_ticks) <= max(EXTRA_PULSES, NEAR * movie.n_ticks)]
        told = f"on {channel} for its {movie.n_ticks} frames"
        blocks = f", in one of {len(counts)} blocks" if len(counts) > 1 else ""
        if fitting:
            several = f" ({len(fitting)} blocks fit)" if len(fitting) > 1 else ""
            yield channel, Support(1, f"{fitting[0]} pulses {told}{blocks}{several}")
        elif near:
            yield channel, Support(0, f"{near[0]} pulses {told}, not quite as many")
        elif counts:
            yield channel, Support(-1, f"{max(counts)} pulses on {channel} do not fit its {movie.n_ticks} frames")


def by_stims(protocol: ProtocolFacts, signals: SignalsFacts, *, clock: str | None) -> Iterator[tuple[str, Support]]:
    """Compare the stims of a protocol with the pulses of each channel that may be their trigger; ends at the first that fits."""
    expected = protocol.n_pulses
    if expected is None or signals.signals is None:
        return
    for channel in signals.likely(STIM_WORDS):
        if channel == clock:
            continue
        n_pulses = len(signals.pulses(channel))
        told = f"{n_pulses} pulses on {channel} for its {expected} triggers"
        if n_pulses == expected:
            yield channel, Support(1, told)
            return
        if n_pulses:
            yield channel, Support(0, told)


def by_time(movie: MovieFacts, signals: SignalsFacts) -> Support | None:
    """Compare the dates: weak, because a copied file may have the date of the copy."""
    if movie.span is None or signals.span is None:
        return None
    start, end = max(movie.span[0], signals.span[0]), min(movie.span[1], signals.span[1])
    length = movie.span[1] - movie.span[0]
    when = f"{datetime.fromtimestamp(signals.span[0]):%H:%M:%S} to {datetime.fromtimestamp(signals.span[1]):%H:%M:%S}"
    if length > 0 and end - start >= length / 2:
        return Support(1, f"recorded at the same time by its file's date ({when})")
    return Support(-1, f"recorded at another time by its file's date ({datetime.fromtimestamp(signals.span[0]):%Y-%m-%d} {when})")
