"""Readers: one small class per format, found by name or by looking at the file.

A reader declares what it is (``name``, ``kind``, ``description``) and has two methods that matter: ``detect`` looks at a
path and says cheaply whether it is this format; ``open`` returns the core value of its kind, reading headers only. Readers
are entry points of the group ``packerlabimaging.readers``, ours and third parties' alike; :func:`register_reader` adds one
for the running program.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from packerlabimaging._check import did_you_mean
from packerlabimaging._registry import Registry
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import (
    AmbiguousInputError,
    MissingFileError,
    PackerLabImagingError,
    ParameterError,
    UnknownFormatError,
)

Kind = Literal["movie", "signals", "photostim", "segmentation"]

KINDS: Mapping[str, str] = {
    "movie": "a movie",
    "signals": "recorded signals",
    "photostim": "a photostimulation protocol",
    "segmentation": "a segmentation",
}


@dataclass(frozen=True)
class Inspection:
    """What a reader can say about a path without reading its data.

    Parameters
    ----------
    path
        The path.
    format
        Name of the reader.
    kind
        What it holds.
    facts
        Name and value of what was read, JSON-compatible, in the order to be shown; units in the names.
    findings
        What looks wrong or was tolerated.
    files
        Files that belong to it, by their format; found by whoever searched the folder, a reader need not give them.
    """

    path: str
    format: str
    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def unreadable(error: PackerLabImagingError, path: Path) -> Finding:
    """Return the finding for what an inspection could not read: it describes the rest."""
    return Finding("unreadable", str(error), "error", where=str(path))


class Reader(ABC):
    """Contract of a reader. It has no state: an instance only carries the methods."""

    name: ClassVar[str]
    """Short name, as in ``reader = "packio"``."""
    kind: ClassVar[Kind]
    """What ``open`` returns: a Movie, Signals, a PhotostimProtocol or a Segmentation."""
    description: ClassVar[str]
    """One line for lists and errors: program, file names."""
    generic: ClassVar[bool] = False
    """True for a reader of a container such as TIFF: it gives way to a reader of the same kind that knows the program."""
    options: ClassVar[type[Any] | None] = None
    """A dataclass of the options of ``open``, where these are too many for its signature."""

    @abstractmethod
    def detect(self, path: Path) -> bool:
        """Say whether ``path`` (which exists) is this format. Cheap: names and first bytes. Never raises on odd files."""

    @abstractmethod
    def open(self, path: Path, *_: Any, **options: Any) -> Any:
        """Open ``path``; read headers only.

        A reader names its options here, keyword-only and with defaults, or takes them as ``**options`` for the dataclass in
        ``options``.
        """

    @abstractmethod
    def inspect(self, path: Path) -> Inspection:
        """Describe ``path`` for a person: what it holds and what looks wrong. Reads headers only."""


readers: Registry[Reader] = Registry("reader", "packerlabimaging.readers")


def register_reader(cls: type[Reader]) -> type[Reader]:
    """Make a reader known to this program; usable as a class decorator."""
    return readers.register(cls)


def find_readers(path: str | Path, kind: Kind | None = None) -> list[Reader]:
    """Return the readers that recognise ``path``.

    Raises
    ------
    MissingFileError
        If there is no such file or folder.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"There is no file or folder '{path}'. Check the path, and that its disk is connected.")
    if not (path.is_file() or path.is_dir()):  # a pipe or device: opening it could wait for ever
        return []
    candidates = [cls() for cls in readers.all().values() if kind is None or cls.kind == kind]
    found = [reader for reader in candidates if reader.detect(path)]
    specific = {reader.kind for reader in found if not reader.generic}
    return [reader for reader in found if not (reader.generic and reader.kind in specific)]


def find_reader(path: str | Path, kind: Kind, *, reader: str | None = None) -> Reader:
    """Return the one reader for ``path``: the named one, or the only one that recognises it.

    Raises
    ------
    MissingFileError
        If there is no such file or folder.
    UnknownFormatError
        If no reader of this kind recognises it, or the named one does not exist.
    AmbiguousInputError
        If several do; the message lists them.
    """
    path = Path(path)
    if reader is not None:
        chosen = readers.get(reader)()
        if chosen.kind != kind:
            raise ParameterError(f"The reader '{reader}' reads {KINDS[chosen.kind]}, not {KINDS[kind]}.")
        if not path.exists():
            raise MissingFileError(f"There is no file or folder '{path}'. Check the path, and that its disk is connected.")
        return chosen
    found = find_readers(path, kind)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f'"{candidate.name}"' for candidate in found)
        raise AmbiguousInputError(f"'{path}' can be read as {names}. Say which with reader=.")
    others = [candidate.name for candidate in find_readers(path)]
    if others:
        raise UnknownFormatError(
            f"'{path}' is not {KINDS[kind]}: it was recognised as {', '.join(others)}. Pass it to the matching input."
        )
    known = "; ".join(f"{cls.name} ({cls.description})" for cls in readers.all().values() if cls.kind == kind)
    raise UnknownFormatError(f"No reader recognises '{path}' as {KINDS[kind]}. Readers of this kind: {known or 'none'}.")


def open_path(path: str | Path, kind: Kind, *, reader: str | None, options: Mapping[str, Any], roles: Iterable[str] = ()) -> Any:
    """Find the reader of a path and open it; an option that the reader does not have is told before it is called.

    ``roles`` are names that the user may give beside the reader's options, for the message.

    Raises
    ------
    ParameterError
        If the reader has no such option; those that it has are listed. Further errors are those of :func:`find_reader`.
    """
    found = find_reader(path, kind, reader=reader)
    check_options(found, options, path=path, roles=roles)
    return found.open(Path(path), **options)


def check_options(reader: Reader, options: Mapping[str, Any], *, path: str | Path, roles: Iterable[str] = ()) -> None:
    """Check that a reader has all options; ``roles`` are further names that may be given beside them.

    Raises
    ------
    ParameterError
        If not; those that it has are listed.
    """
    known = option_names(reader)
    if known is None:
        return
    known = [*roles, *known]
    for name in options:
        if name not in known:
            raise ParameterError(
                f"The reader '{reader.name}' of '{path}' has no option '{name}'.{did_you_mean(name, known)} "
                f"Options: {', '.join(known) or 'none'}."
            )


def option_names(reader: Reader) -> list[str] | None:
    """Return the names of a reader's options, None where it takes any."""
    if reader.options is not None:
        return [option.name for option in fields(reader.options)]
    parameters = inspect.signature(reader.open).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters][1:]


def open_movie(
    path: str | Path, *, reader: str | None = None, channel: int | str | None = None, plane: int | None = None, **options: Any
) -> Movie:
    """Open a movie: one channel of one plane, headers only.

    Parameters
    ----------
    path
        File or folder.
    reader
        Name of the reader; detected by default.
    channel
        Channel by name or by the number that the acquisition program gives it; needed where there are several.
    plane
        Zero-based plane; needed where there are several.
    options
        Further options of the reader.

    Raises
    ------
    AmbiguousInputError
        If there are several channels or planes, or readers, and none was chosen; the choices are listed.
    """
    return cast(Movie, open_path(path, "movie", reader=reader, options={"channel": channel, "plane": plane, **options}))


def open_signals(path: str | Path, *, reader: str | None = None, **options: Any) -> Signals:
    """Open recorded signals lazily; see :func:`open_movie` for ``reader`` and errors."""
    return cast(Signals, open_path(path, "signals", reader=reader, options=options))


def read_photostim(path: str | Path, *, reader: str | None = None, **options: Any) -> PhotostimProtocol:
    """Read a photostimulation protocol; see :func:`open_movie` for ``reader`` and errors."""
    return cast(PhotostimProtocol, open_path(path, "photostim", reader=reader, options=options))


def open_segmentation(path: str | Path, *, reader: str | None = None, **options: Any) -> Segmentation:
    """Open the results of a segmentation program; see :func:`open_movie` for ``reader`` and errors."""
    return cast(Segmentation, open_path(path, "segmentation", reader=reader, options=options))


def inspect_path(path: str | Path) -> list[Inspection]:
    """Describe a file or folder with every reader that recognises it; see the errors of :func:`find_readers`."""
    return [reader.inspect(Path(path)) for reader in find_readers(path)]
