"""The XML of a PrairieView scan (root ``PVScan``), parsed as a stream into columns: a number per frame and file, no objects.

Nothing is interpreted here: texts become numbers where they must be, and what breaks the format is refused.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError
from packerlabimaging.io.prairieview.state import NO_STATE, ShardCollector, State, to_number
from packerlabimaging.io.tiff.names import FileNames, NamesBuilder
from packerlabimaging.io.untrusted.xml import stream_xml

_LARGEST = (1 << 31) - 1
_LONGEST_S = 1e9
"""Times from there on (thirty years) are not times."""


@dataclass(frozen=True, slots=True)
class PVSequence:
    """One cycle.

    Parameters
    ----------
    type
        The program's name for its kind.
    cycle
        Its number.
    frames
        Positions of its frames in the scan.
    bidirectional_z
        True where every second volume was scanned from the last plane to the first.
    state
        What of the scan's state it overrides.
    """

    type: str
    cycle: int
    frames: range
    bidirectional_z: bool = False
    state: State = field(default_factory=lambda: NO_STATE)


@dataclass(frozen=True, slots=True, eq=False)
class FrameColumns:
    """All frames of a scan in the order of the file, each column of shape ``(n_frames,)``.

    Parameters
    ----------
    sequence
        Position of its sequence.
    index
        One-based index in its sequence, as written.
    relative_time_s, absolute_time_s
        Times since the start of its sequence and of the scan, NaN where not written.
    last_good_frame
        The program's mark, 0 where the frame is good.
    state
        Position in :attr:`PVScan.states` of what it overrides.
    """

    sequence: np.ndarray
    index: np.ndarray
    relative_time_s: np.ndarray
    absolute_time_s: np.ndarray
    last_good_frame: np.ndarray
    state: np.ndarray

    def __len__(self) -> int:
        return len(self.sequence)


@dataclass(frozen=True, slots=True, eq=False)
class FileColumns:
    """All image files that the frames list, each column of shape ``(n_files,)``.

    Parameters
    ----------
    frame
        Position of its frame, ascending.
    channel
        The program's number of its channel.
    names
        File names.
    page
        One-based page, 0 where the file holds one.
    relative_time_s, absolute_time_s
        Times of the file's own (5.8), NaN where not written.
    """

    frame: np.ndarray
    channel: np.ndarray
    names: FileNames
    page: np.ndarray
    relative_time_s: np.ndarray
    absolute_time_s: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def of_channel(self, channel: int, n_frames: int) -> np.ndarray:
        """Return the file of each frame (position here) in a channel, -1 where it has none; shape ``(n_frames,)``."""
        rows = np.flatnonzero(self.channel == channel)[::-1]
        found = np.full(n_frames, -1, np.int64)
        found[self.frame[rows]] = rows  # reversed: of several the first counts
        return found


@dataclass(frozen=True, slots=True, eq=False)
class PVScan:
    """A whole scan.

    Parameters
    ----------
    path
        The XML file.
    attributes
        Attributes of the root as written: ``version``, ``date``, ``notes``.
    state
        State of the whole scan; sequences and frames override parts of it.
    sequences
        Cycles in the order of the file.
    frames, files
        Their frames, and the images of these.
    states
        What frames override; equal ones are kept once.
    channels
        Channel names by number, in the order of the file.
    findings
        What was tolerated.
    """

    path: Path
    attributes: Mapping[str, str]
    state: State
    sequences: tuple[PVSequence, ...]
    frames: FrameColumns
    files: FileColumns
    states: tuple[State, ...]
    channels: Mapping[int, str]
    findings: tuple[Finding, ...] = ()

    @property
    def version(self) -> str | None:
        """Version of the program."""
        return self.attributes.get("version") or None

    def state_of(self, frame: int) -> State:
        """Return the state that holds for a frame: the scan's, overridden by its sequence's, overridden by its own."""
        sequence = self.sequences[int(self.frames.sequence[frame])]
        return {**self.state, **sequence.state, **self.states[int(self.frames.state[frame])]}

    @property
    def types(self) -> tuple[str, ...]:
        """Kinds of the sequences, each once."""
        return tuple(dict.fromkeys(sequence.type or "untyped" for sequence in self.sequences))


def read_pvscan(path: str | Path) -> PVScan:
    """Read the XML of a scan.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not well-formed, has a DTD, or is not a scan's.
    """
    path = Path(path)
    handler, repairs = stream_xml(path, lambda parser: _ScanHandler(path, parser))
    return handler.scan(repairs)


class _ScanHandler:
    """Builds a scan from the elements of its XML. One instance per document."""

    def __init__(self, path: Path, parser: expat.XMLParserType) -> None:
        self._path, self._parser = path, parser
        self._root: dict[str, str] | None = None
        self._state: State = NO_STATE
        self._sequences: list[PVSequence] = []
        self._sequence: dict[str, str] | None = None
        self._sequence_state: State = NO_STATE
        self._first_frame = 0
        self._in_frame = False
        self._shard: ShardCollector | None = None
        self._states: list[State] = [NO_STATE]
        self._known_states: dict[Any, int] = {}
        self._channels: dict[int, str] = {}
        self._frames = {"sequence": array("i"), "index": array("i"), "last_good_frame": array("i"), "state": array("i")}
        self._files = {"frame": array("i"), "channel": array("i"), "page": array("i")}
        self._times = {name: array("d") for name in ("frame_relative", "frame_absolute", "file_relative", "file_absolute")}
        self._names = NamesBuilder()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._shard is not None:
            self._shard.start(tag, attributes)
        elif tag == "File" and self._in_frame:
            self._add_file(attributes)
        elif tag == "Frame" and self._sequence is not None:
            self._add_frame(attributes)
        elif tag == "ExtraParameters" and self._in_frame:
            self._frames["last_good_frame"][-1] = _whole(attributes.get("lastGoodFrame")) or 0
        elif tag == "PVStateShard":
            self._shard = ShardCollector()
        elif tag == "Sequence" and self._sequence is None:
            self._sequence, self._sequence_state, self._first_frame = attributes, NO_STATE, len(self._frames["index"])
        elif self._root is None:
            if tag != "PVScan":
                raise FormatError(f"'{self._path}' has the root element {tag}. Expected PVScan, the XML of a PrairieView scan.")
            self._root = attributes

    def end(self, tag: str) -> None:
        if self._shard is not None:
            if tag == "PVStateShard":
                self._place_state(self._shard)
                self._shard = None
            else:
                self._shard.end(tag)
        elif tag == "Frame":
            self._in_frame = False
        elif tag == "Sequence" and self._sequence is not None:
            self._end_sequence(self._sequence)
            self._sequence = None

    def scan(self, repairs: tuple[str, ...]) -> PVScan:
        """Return what was read."""
        findings = [
            Finding("xml-repaired", f"The XML is not well-formed; it was read after this repair: {what}.", where=str(self._path))
            for what in repairs
        ]
        times = {name: np.array(values) for name, values in self._times.items()}
        return PVScan(
            self._path,
            self._root or {},
            self._state,
            tuple(self._sequences),
            FrameColumns(
                **{name: np.array(values) for name, values in self._frames.items()},
                relative_time_s=times["frame_relative"],
                absolute_time_s=times["frame_absolute"],
            ),
            FileColumns(
                **{name: np.array(values) for name, values in self._files.items()},
                names=self._names.finish(),
                relative_time_s=times["file_relative"],
                absolute_time_s=times["file_absolute"],
            ),
            tuple(self._states),
            self._channels,
            tuple(findings),
        )

    def _add_frame(self, attributes: dict[str, str]) -> None:
        position = len(self._frames["index"]) - self._first_frame
        index = _whole(attributes.get("index"))
        self._frames["sequence"].append(len(self._sequences))
        self._frames["index"].append(position + 1 if index is None else index)
        self._frames["last_good_frame"].append(0)
        self._frames["state"].append(0)
        self._times["frame_relative"].append(_time_s(attributes.get("relativeTime")))
        self._times["frame_absolute"].append(_time_s(attributes.get("absoluteTime")))
        self._in_frame = True

    def _add_file(self, attributes: dict[str, str]) -> None:
        get = attributes.get
        channel, filename, page = _whole(get("channel")), get("filename", ""), get("page")
        if channel is None or channel < 0 or not filename or "/" in filename or "\\" in filename or "\0" in filename:
            raise FormatError(
                f"'{self._path}' line {self._parser.CurrentLineNumber}: a File has channel {get('channel')!r} and filename "
                f"{filename!r}. Expected a number and a plain file name."
            )
        number = 0 if page is None else _whole(page)
        if number is None or number < 0:
            raise FormatError(
                f"'{self._path}' line {self._parser.CurrentLineNumber}: a File has page {page!r}. Expected 1, 2, ..."
            )
        if channel not in self._channels:
            self._channels[channel] = get("channelName") or f"Ch{channel}"
        self._files["frame"].append(len(self._frames["index"]) - 1)
        self._files["channel"].append(channel)
        self._files["page"].append(number)
        self._names.append(filename)
        self._times["file_relative"].append(_time_s(get("relativeTime")))
        self._times["file_absolute"].append(_time_s(get("absoluteTime")))

    def _end_sequence(self, attributes: dict[str, str]) -> None:
        cycle = _whole(attributes.get("cycle"))
        self._sequences.append(
            PVSequence(
                attributes.get("type", ""),
                len(self._sequences) + 1 if cycle is None else cycle,
                range(self._first_frame, len(self._frames["index"])),
                attributes.get("bidirectionalZ", "").lower() == "true",
                self._sequence_state,
            )
        )

    def _place_state(self, shard: ShardCollector) -> None:
        if not self._in_frame:
            if self._sequence is None:
                self._state = {**self._state, **shard.state()}
            else:
                self._sequence_state = {**self._sequence_state, **shard.state()}
            return
        before = self._frames["state"][-1]
        key = (before, *shard.key())
        known = self._known_states.get(key)
        if known is None:  # most frames of a scan override the same values alike: they share one state
            known = self._known_states[key] = len(self._states)
            self._states.append({**self._states[before], **shard.state()})
        self._frames["state"][-1] = known


def _time_s(text: str | None) -> float:
    """Return a time, NaN where there is none."""
    number = to_number(text)
    return number if number is not None and abs(number) < _LONGEST_S else float("nan")


def _whole(text: str | None) -> int | None:
    """Return a text as a whole number of 32 bits, None where it is none."""
    number = to_number(text)
    return int(number) if number is not None and abs(number) <= _LARGEST and number == int(number) else None
