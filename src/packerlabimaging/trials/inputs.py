"""Inputs of a trial: typed descriptors that open a file when it is first used, never before.

A trial class declares what it can be given::

    class PupilTrial(AllOpticalTrial):
        pupil = SignalsInput()

and the user passes paths: ``PupilTrial("t-013", inputs={"pupil": "pupil.csv", ...})``. ``trial.pupil`` opens the file; where
the user passed nothing it fails and says what to pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from packerlabimaging._check import did_you_mean
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import MissingInputError, ParameterError
from packerlabimaging.io.readers import KINDS, Kind, open_path

if TYPE_CHECKING:
    from packerlabimaging.trials.trial import Trial

T = TypeVar("T")


@dataclass(frozen=True)
class InputConfig:
    """Where an input is and how to read it.

    Parameters
    ----------
    path
        File or folder.
    reader
        Name of the reader; detected by default.
    options
        Options of the reader, and roles of the input (see :class:`Input`).
    """

    path: Path
    reader: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: InputGiven, *, what: str) -> InputConfig:
        """Return what a user gave as ``what``: a path, or a table of ``path``, ``reader`` and ``options``.

        Raises
        ------
        ParameterError
            If it is neither.
        """
        if isinstance(given, InputConfig):
            return given
        if isinstance(given, (str, Path)):
            return cls(Path(given))
        if not isinstance(given, Mapping) or "path" not in given:
            raise ParameterError(f"{what} must be a path, or a table with the key 'path', not {given!r}.")
        known = ("path", "reader", "options")
        for key in given:
            if key not in known:
                raise ParameterError(f"{what} has no key '{key}'.{did_you_mean(key, known)} Keys: {', '.join(known)}.")
        path, reader, options = given["path"], given.get("reader"), given.get("options", {})
        if not isinstance(path, (str, Path)) or not isinstance(options, Mapping):
            raise ParameterError(f"{what}: path must be text, options a table.")
        if not isinstance(reader, str | None):
            raise ParameterError(f"{what}: reader = {reader!r} must be the name of a reader.")
        return cls(Path(path), reader, dict(options))


InputGiven = str | Path | Mapping[str, Any] | InputConfig
"""What a user may write as an input."""


class Input(Generic[T]):
    """Base of the typed inputs; subclasses say what they open.

    Parameters
    ----------
    name
        Key in ``inputs={...}``; by default the name of the attribute.
    required
        True if the trial can do nothing without it.
    help
        One line for messages and lists.
    """

    kind: ClassVar[Kind]
    roles: ClassVar[Mapping[str, Any]] = {}
    """Options that say what parts of the input are for, with their defaults; they are not passed to the reader."""
    several: ClassVar[frozenset[str]] = frozenset()
    """Roles that a list of names can be given for."""

    def __init__(self, *, name: str = "", required: bool = False, help: str = "") -> None:
        self.name = name
        self.required = required
        self.help = help

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @overload
    def __get__(self, trial: None, owner: type) -> Input[T]: ...
    @overload
    def __get__(self, trial: Trial, owner: type) -> T: ...
    def __get__(self, trial: Trial | None, owner: type) -> Input[T] | T:
        if trial is None:
            return self
        return trial._open_input(self.name)

    def __set__(self, trial: Trial, value: Any) -> None:
        raise AttributeError(f"The input '{self.name}' is given as inputs={{'{self.name}': path}} when the trial is made.")

    def open(self, config: InputConfig) -> T:
        """Open the file or folder that the user passed; headers only."""
        options = {name: value for name, value in config.options.items() if name not in self.roles}
        opened: T = open_path(config.path, self.kind, reader=config.reader, options=options, roles=self.roles)
        return opened

    def check_roles(self, options: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the roles whose value names no channel, each with what else it may be."""
        faults = []
        for role in self.roles:
            value, several = options.get(role), role in self.several
            names = value if several and isinstance(value, (list, tuple)) and value else [value]
            if not all(isinstance(name, str) or name is None for name in names) or (len(names) > 1 and None in names):
                faults.append((role, ", or a list of such names" if several else ""))
        return faults

    def missing(self, trial: Trial) -> MissingInputError:
        """Return the error for an input that was not given."""
        meaning = f" ({self.help})" if self.help else ""
        return MissingInputError(
            f"Trial '{trial.id}' ({trial.type_name}) was not given its input '{self.name}'{meaning}. "
            f"Pass {KINDS[self.kind]}: inputs={{'{self.name}': 'path/to/it'}}, or in the experiment file: "
            f"[trial.inputs] {self.name} = 'path/to/it'."
        )


class MovieInput(Input[Movie]):
    """A movie: one channel of one plane."""

    kind = "movie"

    def open(self, config: InputConfig) -> Movie:
        """Open the movie; channel and plane are options."""
        options = {"channel": None, "plane": None, **config.options}
        opened: Movie = open_path(config.path, self.kind, reader=config.reader, options=options)
        return opened


class SignalsInput(Input[Signals]):
    """Recorded signals."""

    kind = "signals"


class SyncInput(SignalsInput):
    """Signals that hold the frame clock and, where there is stimulation, its trigger pulses.

    The options ``frame_clock`` and ``stim`` name the channels; ``stim`` may be a list, whose first channel triggers the protocol.
    """

    roles = {"frame_clock": "frame_clock", "stim": "markpoints2packio"}
    several = frozenset({"stim"})


class PhotostimInput(Input[PhotostimProtocol]):
    """A photostimulation protocol."""

    kind = "photostim"
