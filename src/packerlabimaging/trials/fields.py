"""Fields of a trial: plain class annotations that become typed, saved, shown values.

``eye: str = "left"`` in the body of a trial class makes a field; it is passed by keyword, checked against its annotation
when the trial is made, written to ``experiment.json`` and settable in the experiment file.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, get_origin

from packerlabimaging._check import did_you_mean
from packerlabimaging.errors import MissingInputError, PackerLabImagingError

if TYPE_CHECKING:
    from packerlabimaging.trials.trial import Trial


class Field:
    """Descriptor of one field: holds its default and notes when a step reads it."""

    def __init__(self, name: str, annotation: Any, default: Any, module: str) -> None:
        self.name, self.annotation, self.default, self.module = name, annotation, default, module

    def __get__(self, trial: Trial | None, owner: type) -> Any:
        if trial is None:
            return self.default
        trial._note("field", self.name)
        return trial._fields[self.name]

    def __set__(self, trial: Trial, value: Any) -> None:
        trial._fields[self.name] = self.check(value)

    @property
    def type(self) -> Any:
        """The annotation as a type; ``Any`` where a name in it can't be resolved."""
        if not isinstance(self.annotation, str):
            return self.annotation
        scope = vars(sys.modules[self.module]) if self.module in sys.modules else {}
        try:
            return eval(self.annotation, {**vars(typing), **scope})  # noqa: S307 - the class author's own annotation
        except NameError:
            return Any

    def check(self, value: Any) -> Any:
        """Return ``value`` checked against the annotation; raises ValueError in words."""
        return check_type(value, self.type)


def collect_fields(cls: type, *, taken: set[str], known: Mapping[str, Field]) -> dict[str, Field]:
    """Turn the annotations in a class body into fields; a plain value gives a known field another default.

    Raises
    ------
    TypeError
        If a field has no default, a mutable one, or the name of something that trials already have.
    """
    found: dict[str, Field] = {
        name: Field(name, field.annotation, vars(cls)[name], field.module)
        for name, field in known.items()
        if name in vars(cls) and not isinstance(vars(cls)[name], Field)
    }
    for name, annotation in inspect.get_annotations(cls).items():
        text = annotation if isinstance(annotation, str) else ""
        if name.startswith("_") or get_origin(annotation) is ClassVar or "ClassVar" in text:
            continue
        if name in taken:
            raise TypeError(
                f"The field '{name}' of {cls.__qualname__} has the name of something that trials already have. Rename it."
            )
        if name not in vars(cls):
            raise TypeError(f"The field '{name}' of {cls.__qualname__} has no default. Write e.g.: {name}: {text or 'str'} = ...")
        default = vars(cls)[name]
        if isinstance(default, (list, dict, set)):
            raise TypeError(f"The default of the field '{name}' of {cls.__qualname__} can be changed in place. Use a tuple.")
        found[name] = Field(name, annotation, default, cls.__module__)
    return found


def check_type(value: Any, expected: Any) -> Any:
    """Return ``value`` if it is of the type ``expected``; a list is taken where a tuple is expected.

    Raises
    ------
    ValueError
        If it is not, in words.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    if expected is Any:
        return value
    config = None if dataclasses.is_dataclass(expected) else ConfigDict(arbitrary_types_allowed=True)
    adapter = TypeAdapter(expected, config=config)
    for candidate in [value, _as_tuple(value)] if isinstance(value, list) else [value]:
        try:
            return adapter.validate_python(candidate, strict=True)
        except ValidationError as error:
            reason = "; ".join(item["msg"] for item in error.errors())
    raise ValueError(f"{value!r} is not of the type {_words(expected)} ({reason})")


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value


def _words(expected: Any) -> str:
    return expected.__name__ if isinstance(expected, type) else str(expected).replace("typing.", "")


def build_section(cls: type, values: Any, *, place: str) -> tuple[Any, list[str]]:
    """Make a settings object from a table of the experiment file.

    Parameters
    ----------
    cls
        A dataclass.
    values
        An instance of it, or a mapping of its fields.
    place
        Where the values stand, for messages.

    Returns
    -------
    section, faults
        The object (None where there are faults) and all faults.
    """
    if isinstance(values, cls):
        return values, []
    if not isinstance(values, Mapping):
        return None, [f"{place} must be a table of settings, not {values!r}."]
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    faults = [
        f"{place}.{name} is not a setting.{did_you_mean(name, names)} Settings: {', '.join(names)}."
        for name in values
        if name not in names
    ]
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name in names:
            try:
                checked[name] = check_type(value, hints[name])
            except ValueError as error:
                faults.append(f"{place}.{name}: {error}.")
    if faults:
        return None, faults
    try:
        return cls(**checked), []
    except PackerLabImagingError as error:
        return None, [f"{place}: {error}"]


class Settings(Mapping[str, Any]):
    """The settings of one trial, a typed object per section; notes when a step reads one."""

    def __init__(self, trial: Trial, sections: Mapping[str, Any]) -> None:
        self._trial, self._sections = trial, dict(sections)

    def __getitem__(self, name: str) -> Any:
        if name not in self._sections:
            raise MissingInputError(
                f"Trials of the type {self._trial.type_name} have no settings '{name}'.{did_you_mean(name, self._sections)}"
            )
        self._trial._note("settings", name)
        return self._sections[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __len__(self) -> int:
        return len(self._sections)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {section}" for name, section in self._sections.items())
