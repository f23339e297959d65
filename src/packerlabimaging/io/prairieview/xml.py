"""The XML of a PrairieView scan (root ``PVScan``), parsed as a stream into frozen values.

Nothing is interpreted here: texts become numbers where they must be, and what breaks the format is refused. Documents with a
DTD or entities are refused before anything is expanded; PrairieView writes none.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.prairieview.state import State, StateItem, StateValue, fold_flat_keys, to_number

_NO_STATE: State = {}
_ILLEGAL_REFERENCE = re.compile(rb"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));")
_ILLEGAL_BYTES = bytes(set(range(32)) - {9, 10, 13})
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class PVFile:
    """An image file of one channel of a frame; ``page`` is one-based, None where the file holds one."""

    channel: int
    channel_name: str
    filename: str
    page: int | None = None
    relative_time_s: float | None = None
    absolute_time_s: float | None = None


@dataclass(frozen=True, slots=True)
class PVFrame:
    """One frame: its one-based index in its sequence, its times in seconds, its files, and what of the state it overrides."""

    index: int
    relative_time_s: float | None
    absolute_time_s: float | None
    files: tuple[PVFile, ...]
    state: State = field(default_factory=lambda: _NO_STATE)
    last_good_frame: int = 0


@dataclass(frozen=True, slots=True)
class PVSequence:
    """One cycle: its kind, number, attributes as written, and frames."""

    type: str
    cycle: int
    attributes: Mapping[str, str]
    frames: tuple[PVFrame, ...]
    state: State = field(default_factory=lambda: _NO_STATE)


@dataclass(frozen=True, slots=True)
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
    findings
        What was tolerated.
    """

    path: Path
    attributes: Mapping[str, str]
    state: State
    sequences: tuple[PVSequence, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def version(self) -> str | None:
        """Version of the program."""
        return self.attributes.get("version") or None


def state_of(scan: PVScan, sequence: PVSequence | None = None, frame: PVFrame | None = None) -> State:
    """Return the state that holds for a frame: the scan's, overridden by the sequence's, overridden by the frame's."""
    return {**scan.state, **(sequence.state if sequence else {}), **(frame.state if frame else {})}


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
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path.")
    if path.stat().st_size > _MAX_BYTES:
        raise FormatError(f"'{path}' has {path.stat().st_size:,} bytes. Expected at most {_MAX_BYTES:,} for a scan's XML.")
    try:
        with path.open("rb") as file:
            return _Parser(path).parse(file)
    except expat.ExpatError as error:
        repaired, encoding, what = _repair(path.read_bytes())
        if not what:
            raise _malformed(path, error) from error
        try:
            scan = _Parser(path, encoding).parse(io.BytesIO(repaired))
        except expat.ExpatError:
            raise _malformed(path, error) from error
        finding = Finding("xml-repaired", f"The XML is not well-formed; it was read after this repair: {what}.", where=str(path))
        return PVScan(scan.path, scan.attributes, scan.state, scan.sequences, (*scan.findings, finding))


def _malformed(path: Path, error: expat.ExpatError) -> FormatError:
    return FormatError(
        f"'{path}' is not well-formed XML: {expat.ErrorString(error.code)} in line {error.lineno}. "
        "Expected the complete XML of a PrairieView scan. Copy it again from the rig; "
        "if the recording was broken off, PrairieView may not have finished it."
    )


def _repair(data: bytes) -> tuple[bytes, str | None, str]:
    """Return the document without what XML forbids but PrairieView is known to write, the encoding, and what was done."""
    done = []
    cleaned = _ILLEGAL_REFERENCE.sub(b" ", data)
    if cleaned != data:
        done.append("references to control characters taken out")
    if b"\0" not in data[:4]:
        stripped = cleaned.translate(None, _ILLEGAL_BYTES)
        if stripped != cleaned:
            done.append("control characters taken out")
        cleaned = stripped
    encoding = None
    try:
        cleaned.decode("utf-8")
    except UnicodeDecodeError:
        encoding = "iso-8859-1"
        done.append("read as ISO 8859-1, since it is not UTF-8")
    return cleaned, encoding, ", ".join(done)


class _Parser:
    """Builds a scan from expat's events. One instance per document."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self._path = path
        self._expat = expat.ParserCreate(encoding)
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.StartDoctypeDeclHandler = self._refuse
        self._expat.EntityDeclHandler = self._refuse
        self._depth = 0
        self._root: dict[str, str] | None = None
        self._state: State = _NO_STATE
        self._sequences: list[PVSequence] = []
        self._sequence: dict[str, Any] | None = None
        self._frame: dict[str, Any] | None = None
        self._shard: _Shard | None = None
        self._known_states: dict[Any, State] = {}

    def parse(self, file: BinaryIO) -> PVScan:
        try:
            self._expat.ParseFile(file)
        except (LookupError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"'{self._path}' can't be read in the encoding that it names ({error}). Expected UTF-8.") from error
        if self._root is None:
            raise FormatError(f"'{self._path}' has no element PVScan. Expected the XML of a PrairieView scan.")
        return PVScan(self._path, self._root, self._state, tuple(self._sequences))

    def _refuse(self, *declaration: Any) -> None:
        raise FormatError(
            f"'{self._path}' declares a document type or entities, which PrairieView never writes. It was not read further, "
            "since such declarations can be made to exhaust memory. Remove the declaration if you trust the file."
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._shard is not None:
            self._shard.start(tag, attributes)
        elif tag == "File" and self._frame is not None:
            self._frame["files"].append(self._file(attributes))
        elif tag == "Frame" and self._sequence is not None:
            self._frame = {"attributes": attributes, "files": [], "state": _NO_STATE, "last_good": 0}
        elif tag == "ExtraParameters" and self._frame is not None:
            self._frame["last_good"] = int(to_number(attributes.get("lastGoodFrame")) or 0)
        elif tag == "PVStateShard":
            self._shard = _Shard()
        elif tag == "Sequence" and self._sequence is None:
            self._sequence = {"attributes": attributes, "frames": [], "state": _NO_STATE}
        elif self._depth == 1:
            if tag != "PVScan":
                raise FormatError(f"'{self._path}' has the root element {tag}. Expected PVScan, the XML of a PrairieView scan.")
            self._root = attributes

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if self._shard is not None:
            if tag == "PVStateShard":
                self._place_state(self._shard)
                self._shard = None
            else:
                self._shard.end(tag)
        elif tag == "Frame" and self._frame is not None and self._sequence is not None:
            self._sequence["frames"].append(self._finish_frame(self._frame, len(self._sequence["frames"])))
            self._frame = None
        elif tag == "Sequence" and self._sequence is not None:
            attributes = self._sequence["attributes"]
            cycle = to_number(attributes.get("cycle"))
            self._sequences.append(
                PVSequence(
                    attributes.get("type", ""),
                    len(self._sequences) + 1 if cycle is None else int(cycle),
                    attributes,
                    tuple(self._sequence["frames"]),
                    self._sequence["state"],
                )
            )
            self._sequence = None

    def _place_state(self, shard: _Shard) -> None:
        key = shard.key()
        state = self._known_states.get(key)
        if state is None:  # most frames of a scan override the same values alike: they share one state
            state = self._known_states[key] = shard.state()
        if self._frame is not None:
            self._frame["state"] = {**self._frame["state"], **state} if self._frame["state"] else state
        elif self._sequence is not None:
            self._sequence["state"] = state
        else:
            self._state = {**self._state, **state}

    def _file(self, attributes: dict[str, str]) -> PVFile:
        channel, page = to_number(attributes.get("channel")), to_number(attributes.get("page"))
        filename = attributes.get("filename", "")
        if channel is None or channel != int(channel) or not filename or "/" in filename or "\\" in filename or "\0" in filename:
            raise FormatError(
                f"'{self._path}' line {self._expat.CurrentLineNumber}: a File has channel "
                f"{attributes.get('channel')!r} and filename {filename!r}. Expected a number and a plain file name."
            )
        if page is not None and (page != int(page) or page < 0):
            raise FormatError(f"'{self._path}' line {self._expat.CurrentLineNumber}: a File has page {page}. Expected 1, 2, ...")
        return PVFile(
            int(channel),
            attributes.get("channelName") or f"Ch{int(channel)}",
            filename,
            None if page is None else int(page),
            to_number(attributes.get("relativeTime")),
            to_number(attributes.get("absoluteTime")),
        )

    def _finish_frame(self, frame: dict[str, Any], position: int) -> PVFrame:
        attributes = frame["attributes"]
        index = to_number(attributes.get("index"))
        return PVFrame(
            position + 1 if index is None else int(index),
            to_number(attributes.get("relativeTime")),
            to_number(attributes.get("absoluteTime")),
            tuple(frame["files"]),
            frame["state"],
            frame["last_good"],
        )


class _Shard:
    """Collects the values of one ``PVStateShard``."""

    def __init__(self) -> None:
        self._events: list[tuple[str, str, str, str, str]] = []  # key, index, subindex, value, description
        self._flat: list[tuple[str, str, str]] = []
        self._key = self._index = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        get = attributes.get
        value, description = get("value"), get("description", "")
        if tag == "PVStateValue":
            self._key = get("key", "")
            if value is not None:
                self._events.append((self._key, "", "", value, description))
        elif tag == "IndexedValue":
            self._events.append((self._key, get("index", ""), "", value or "", description))
        elif tag == "SubindexedValues":
            self._index = get("index", "")
        elif tag == "SubindexedValue":
            self._events.append((self._key, self._index, get("subindex", "0"), value or "", description))
        elif tag == "Key":
            self._flat.append((get("key", ""), value or "", description))

    def end(self, tag: str) -> None:
        if tag == "SubindexedValues":
            self._index = ""

    def key(self) -> Any:
        return tuple(self._events), tuple(self._flat)

    def state(self) -> State:
        state: dict[str, StateValue] = fold_flat_keys({key: StateItem(value, text) for key, value, text in self._flat})
        grouped: dict[str, list[tuple[str, str, StateItem]]] = {}
        for key, index, subindex, value, text in self._events:
            grouped.setdefault(key, []).append((index, subindex, StateItem(value, text)))
        for key, values in grouped.items():
            subindexed: dict[str, dict[str, StateItem]] = {}
            for index, subindex, item in values:
                if subindex:
                    subindexed.setdefault(index, {})[subindex] = item
            state[key] = StateValue(
                next((item for index, subindex, item in values if not index and not subindex), None),
                {index: item for index, subindex, item in values if index and not subindex},
                subindexed,
            )
        return state
