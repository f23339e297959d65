"""Every format that the package ``neo`` reads: its recordings as our signals.

``open_signals(path, reader="neo", io="AxonRawIO")``. A reader object of one's own is wrapped by :func:`signals_of_neo`. What a
file may do while it is read is then in the hands of that package; readers of pickles are refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging._check import did_you_mean
from packerlabimaging._optional import import_optional
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import ArrayChannel, Channel, Signals
from packerlabimaging.errors import (
    AmbiguousInputError,
    FormatError,
    MissingDependencyError,
    ParameterError,
    UnknownFormatError,
)
from packerlabimaging.io.foreign import errors_of
from packerlabimaging.io.readers import Inspection, Kind, Reader

_REFUSED = ("PickleIO",)
"""Readers that run what a file holds."""


def signals_of_neo(reader: Any, *, block: int | None = None, segment: int | None = None) -> Signals:
    """Wrap a reader object of neo as signals.

    Parameters
    ----------
    reader
        A raw reader (of ``neo.rawio``; read a piece at a time), or any other (of ``neo.io``; read as a whole).
    block, segment
        Zero-based; needed where the recording has several.

    Returns
    -------
    Signals
        One channel per recorded signal, in its unit, called as recorded (and after its stream where names repeat).

    Raises
    ------
    AmbiguousInputError
        If there are several blocks or segments and none is chosen.
    FormatError
        If the reader fails.
    """
    return _signals(reader, lambda: reader, block=block, segment=segment, source=_source(reader))


class NeoChannel(Channel):
    """One signal of a raw reader. It pickles as the arguments that open the reader, never as samples.

    Parameters
    ----------
    open_reader
        Returns the open reader.
    place
        Block, segment, stream and channel.
    """

    def __init__(self, name: str, open_reader: Callable[[], Any], place: tuple[int, int, int, int], **facts: Any) -> None:
        super().__init__(name, **facts)
        self._open, self.place = open_reader, place

    def _read(self, start: int, stop: int) -> np.ndarray:
        block, segment, stream, channel = self.place
        where = {"stream_index": stream, "channel_indexes": [channel]}
        if start == stop:
            return np.zeros(0, np.float32)
        reader = self._open()
        with errors_of("neo", _source(reader)):
            raw = reader.get_analogsignal_chunk(block_index=block, seg_index=segment, i_start=start, i_stop=stop, **where)
            values = np.asarray(reader.rescale_signal_raw_to_float(raw, dtype="float32", **where))[:, 0]
        if len(values) != stop - start:
            raise FormatError(
                f"'{_source(reader)}' gave {len(values)} samples of '{self.name}' where {stop - start} were promised. Was it cut?"
            )
        return values


class _Recipe:
    """Name and arguments of a reader; opens it once per process."""

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        self.key = (name, tuple(sorted((key, repr(value)) for key, value in arguments.items())))
        self.name, self.arguments = name, dict(arguments)

    def __call__(self) -> Any:
        return _opened(self)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Recipe) and self.key == other.key


@lru_cache(maxsize=8)
def _opened(recipe: _Recipe) -> Any:
    return _new(recipe)


def _new(recipe: _Recipe) -> Any:
    with errors_of("neo", str(next(iter(recipe.arguments.values()), recipe.name))):
        reader = _class(recipe.name)(**recipe.arguments)
        if hasattr(reader, "parse_header"):
            reader.parse_header()
        return reader


class NeoReader(Reader):
    """Reader of signals by one of neo's readers, which is named, or the only one for files of that ending."""

    name: ClassVar[str] = "neo"
    kind: ClassVar[Kind] = "signals"
    description: ClassVar[str] = "any recording that the package neo reads, with io='...RawIO'"

    def detect(self, path: Path) -> bool:
        """Return False: neo knows files by their ending only, and many programs share one."""
        return False

    def open(
        self, path: Path, *, io: str | None = None, block: int | None = None, segment: int | None = None, **arguments: Any
    ) -> Signals:
        """Open a recording.

        Parameters
        ----------
        path
            File or folder; goes to neo's reader as its first argument.
        io
            Name of neo's reader, e.g. ``"AxonRawIO"``; by default the only one for files of that ending.
        block, segment
            Zero-based; needed where the recording has several.
        arguments
            Further arguments of neo's reader.

        Raises
        ------
        MissingDependencyError
            If the package ``neo`` is not installed.
        ParameterError
            If there is no such reader, or it has no such argument.
        AmbiguousInputError
            If several readers, blocks or segments are possible and none is chosen.
        FormatError
            If neo can't read the file.
        """
        path = Path(path)
        cls = _class(io or _only_candidate(path))
        parameters = inspect.signature(cls).parameters
        unknown = [name for name in arguments if name not in parameters]
        if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            raise ParameterError(f"{cls.__name__} has no argument '{unknown[0]}'. It has: {', '.join(parameters)}.")
        recipe = _Recipe(cls.__name__, {next(iter(parameters)): str(path.absolute()), **arguments})
        return _signals(_new(recipe), recipe, block=block, segment=segment, source=str(path))

    def inspect(self, path: Path) -> Inspection:
        """List neo's readers for files of that ending; none is tried."""
        try:
            return Inspection(str(path), self.name, self.kind, {"candidates": _candidates(path)})
        except MissingDependencyError as error:
            finding = Finding("not-installed", str(error), where=str(path))
            return Inspection(str(path), self.name, self.kind, {"candidates": []}, (finding,))


def _neo(part: str) -> Any:
    return import_optional(f"neo.{part}", extra="neo", purpose="Reading by a reader of neo")


def _class(name: str) -> type:
    """Return a reader of neo by name; the raw one where there are two."""
    rawio, full = _neo("rawio"), _neo("io")
    raw_name = name if name.endswith("RawIO") else f"{name.removesuffix('IO')}RawIO"
    for module, wanted in ((rawio, raw_name), (full, name)):
        cls = getattr(module, wanted, None)
        if inspect.isclass(cls) and hasattr(cls, "extensions"):
            if wanted in _REFUSED:
                raise ParameterError(
                    f"'{wanted}' reads pickles, and a file must never be able to run code. Convert the file first."
                )
            return cls
    known = sorted({cls.__name__ for cls in (*rawio.rawiolist, *full.iolist)} - set(_REFUSED))
    raise ParameterError(f"neo has no reader '{name}'. It has: {', '.join(known)}.{did_you_mean(name, known)}")


def _candidates(path: Path) -> list[str]:
    return [cls.__name__ for cls in _neo("rawio").get_rawio(str(path), exclusive_rawio=False)]


def _only_candidate(path: Path) -> str:
    with errors_of("neo", str(path)):
        found = _candidates(path)
    if not found:
        raise UnknownFormatError(f"neo has no reader for files such as '{path}'. Name one of its readers with io=.")
    if len(found) > 1:
        raise AmbiguousInputError(f"'{path}' can be read by neo's {', '.join(found)}. Say which with io=.")
    return found[0]


def _chosen(what: str, number: int | None, count: int, source: str) -> int:
    if number is None and count > 1:
        raise AmbiguousInputError(f"'{source}' holds {count} {what}s, 0 to {count - 1}. Say which with {what}=.")
    if not 0 <= (number or 0) < count:
        raise ParameterError(f"'{source}' holds no {what} {number}. It holds {count}, counted from 0.")
    return number or 0


def _signals(reader: Any, again: Callable[[], Any], *, block: int | None, segment: int | None, source: str) -> Signals:
    with errors_of("neo", source):
        if hasattr(reader, "get_analogsignal_chunk"):
            found, events = _raw_channels(reader, again, block, segment, source)
        else:
            found, events = _whole_channels(reader, block, segment, source)
    findings = []
    if events:
        message = f"Events are not signals and are left out: {', '.join(events[:8])}."
        findings.append(Finding("events-left-out", message, severity="info", where=source))
    if not found:
        raise FormatError(f"'{source}' holds no signal that is sampled at a rate. Is it the right file?")
    names = [name for name, _, _ in found]
    distinct: dict[str, Channel] = {}
    for name, stream, make in found:
        unique = name if names.count(name) == 1 else f"{stream}/{name}"
        while unique in distinct:
            unique = f"{unique}-{len(distinct)}"
        distinct[unique] = make(unique)
    return Signals(distinct.values(), source=source, findings=findings)


_Found = list[tuple[str, str, Callable[[str], Channel]]]


def _raw_channels(
    reader: Any, again: Callable[[], Any], block: int | None, segment: int | None, source: str
) -> tuple[_Found, list[str]]:
    if getattr(reader, "header", None) is None:
        reader.parse_header()
    in_block = _chosen("block", block, reader.block_count(), source)
    in_segment = _chosen("segment", segment, reader.segment_count(in_block), source)
    channels = reader.header["signal_channels"]
    found: _Found = []
    for stream_index, stream in enumerate(reader.header["signal_streams"]):
        facts = {
            "rate_hz": float(reader.get_signal_sampling_rate(stream_index)),
            "n_samples": int(reader.get_signal_size(in_block, in_segment, stream_index)),
            "start_s": float(reader.get_signal_t_start(in_block, in_segment, stream_index)),
        }
        for index, channel in enumerate(channels[channels["stream_id"] == stream["id"]]):
            place = (in_block, in_segment, stream_index, index)
            more = {**facts, "unit": str(channel["units"])}
            found.append(
                (
                    str(channel["name"]) or f"channel-{index}",
                    str(stream["name"]) or f"stream-{stream_index}",
                    lambda name, place=place, more=more: NeoChannel(name, again, place, **more),  # type: ignore[misc]
                )
            )
    return found, [str(event["name"]) for event in reader.header["event_channels"]]


def _whole_channels(reader: Any, block: int | None, segment: int | None, source: str) -> tuple[_Found, list[str]]:
    blocks = reader.read()
    in_block = blocks[_chosen("block", block, len(blocks), source)]
    part = in_block.segments[_chosen("segment", segment, len(in_block.segments), source)]
    found: _Found = []
    for number, signal in enumerate(part.analogsignals):
        names = signal.array_annotations.get("channel_names", [f"channel-{index}" for index in range(signal.shape[1])])
        for index in range(signal.shape[1]):
            facts = {
                "rate_hz": float(signal.sampling_rate.rescale("Hz").magnitude),
                "start_s": float(signal.t_start.rescale("s").magnitude),
                "unit": str(signal.dimensionality),
            }
            values = np.asarray(signal.magnitude[:, index], np.float32)
            found.append(
                (
                    str(names[index]),
                    str(signal.name or f"signal-{number}"),
                    lambda name, values=values, facts=facts: ArrayChannel(name, values, **facts),  # type: ignore[misc]
                )
            )
    return found, [str(event.name) for event in part.events]


def _source(reader: Any) -> str:
    return str(getattr(reader, "filename", "") or getattr(reader, "dirname", "") or type(reader).__name__)
