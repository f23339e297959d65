"""The description of an experiment: one object, whether it comes from an ``experiment.toml`` or from Python.

Reading a file collects all faults, each with its place, before anything is refused.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packerlabimaging._check import did_you_mean
from packerlabimaging._provenance import to_plain
from packerlabimaging.errors import ConfigError, MissingFileError, ParameterError
from packerlabimaging.trials.inputs import InputConfig, InputGiven
from packerlabimaging.trials.trial import Trial, check_id, trial_types, type_key

SCHEMA = 1

TARGETS = "targets"
"""As ``rois``: the discs of light on the photostimulation targets."""


@dataclass(frozen=True)
class SegmentationConfig:
    """How ROIs come about: by an engine, or from an existing run; exactly one of the two.

    Parameters
    ----------
    engine
        Name of the engine.
    settings
        Settings that differ from the engine's defaults.
    rois
        For an engine that takes ROIs: ``"targets"`` (the light's disc on each photostimulation target), or the path of a
        label image or of another segmentation.
    path
        Folder or file of an existing run to adopt.
    reader
        Reader for ``path``; detected by default.
    options
        Options of the reader.
    """

    engine: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rois: Path | str | None = None
    path: Path | None = None
    reader: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def adopt(cls, given: InputGiven) -> SegmentationConfig:
        """Make one of an existing run: its path, or a table of ``path``, ``reader``, ``options``.

        Raises
        ------
        ParameterError
            If it is neither.
        """
        config = InputConfig.of(given, what="segmentation")
        return cls(path=config.path.resolve(), reader=config.reader, options=config.options)


@dataclass(frozen=True)
class ExperimentConfig:
    """An experiment: identity, place of its results, segmentation, trials.

    Parameters
    ----------
    id
        Name of the experiment.
    output
        Results folder.
    trials
        The trials, with absolute input paths.
    segmentation
        How ROIs come about; None while it has not been said.
    comment
        Free text.
    """

    id: str
    output: Path
    trials: tuple[Trial, ...] = ()
    segmentation: SegmentationConfig | None = None
    comment: str = ""

    @classmethod
    def from_toml(cls, path: str | Path) -> ExperimentConfig:
        """Read an ``experiment.toml``; paths in it are relative to it.

        Raises
        ------
        MissingFileError
            If there is no such file.
        ConfigError
            If it is not valid; all faults are listed.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # Windows' editors begin files with a mark
        except IsADirectoryError:
            raise ConfigError(f"'{path}' is a folder. Give the experiment file{_file_for(path)}.") from None
        except FileNotFoundError:
            raise MissingFileError(f"There is no experiment file '{path}'. Make one with: pli init RAW_FOLDER") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"'{path}' is not valid TOML: {error}. Mend that line.") from error
        return cls.from_dict(values, base=path.parent, source=str(path))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, base: Path, source: str) -> ExperimentConfig:
        """Build from the plain values of an experiment file.

        Parameters
        ----------
        values
            Tables as in the file.
        base
            Folder that relative paths start from.
        source
            Name for messages.
        """
        reader = _Reader(base.resolve())
        config = reader.experiment(values)
        if config is None or reader.faults:
            listed = "\n".join(f"- {fault}" for fault in reader.faults)
            raise ConfigError(f"{source} can't be used:\n{listed}")
        return config

    def to_dict(self, *, base: Path) -> dict[str, Any]:
        """Return plain values; paths are relative to ``base`` where they are on the same disk."""
        values: dict[str, Any] = {"schema": SCHEMA, "id": self.id, "output": _relative(self.output, base)}
        if self.comment:
            values["comment"] = self.comment
        if self.segmentation is not None:
            chosen = self.segmentation
            if chosen.engine is not None:
                values["segmentation"] = {"engine": chosen.engine, "settings": to_plain(chosen.settings)}
                if chosen.rois is not None:
                    values["segmentation"]["rois"] = chosen.rois if chosen.rois == TARGETS else _relative(Path(chosen.rois), base)
            elif chosen.path is not None:
                values["segmentation"] = _input_to_dict(chosen.path, chosen.reader, chosen.options, base)
        values["trial"] = [_trial_to_dict(trial, base) for trial in self.trials]
        return values


def _file_for(folder: Path) -> str:
    """Return which experiment file may be meant where a folder was given."""
    for inside in (folder / "experiment.toml", folder.parent / "experiment.toml"):
        if inside.is_file():
            return f": '{inside}'"
    if (folder / "experiment.json").is_file():
        return " that names this results folder as its output"
    return f", or make one with: pli init {folder}"


def _relative(path: Path, base: Path) -> str:
    try:
        return Path(os.path.relpath(path, base)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _input_to_dict(path: Path, reader: str | None, options: Mapping[str, Any], base: Path) -> dict[str, Any]:
    return {"path": _relative(path, base), "reader": reader, "options": to_plain(options)}


def _trial_to_dict(trial: Trial, base: Path) -> dict[str, Any]:
    inputs = {name: _input_to_dict(given.path, given.reader, given.options, base) for name, given in trial.inputs.items()}
    sections = {name: to_plain(section) for name, section in trial.settings.items()}
    fields = {name: to_plain(getattr(trial, name)) for name in trial.declared_fields}
    return {"id": trial.id, "type": type_key(type(trial)), "inputs": inputs, **fields, **sections}


class _Reader:
    """Turns plain values into a config and collects every fault with its place."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.faults: list[str] = []

    def experiment(self, values: Any) -> ExperimentConfig | None:
        if not isinstance(values, Mapping):
            self.faults.append("it must be a table of keys and values.")
            return None
        self._check_keys(values, ("schema", "id", "output", "comment", "segmentation", "trial"), "the file")
        if values.get("schema") != SCHEMA:
            self.faults.append(f"schema = {values.get('schema')!r}: this version reads schema = {SCHEMA}.")
        experiment_id = values.get("id")
        try:
            check_id("experiment id", experiment_id)  # type: ignore[arg-type]
        except ParameterError as error:
            self.faults.append(f"id: {error}")
        output = self._path(values, "output", "the file")
        segmentation = self._segmentation(values.get("segmentation", {}))
        trials = self._trials(values.get("trial", []))
        comment = values.get("comment", "")
        if not isinstance(comment, str):
            self.faults.append("comment must be text.")
        if self.faults or output is None:
            return None
        return ExperimentConfig(str(experiment_id), output, tuple(trials), segmentation, comment)

    def _check_keys(self, values: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
        for key in values:
            if key not in known:
                self.faults.append(f"{place}: unknown key '{key}'.{did_you_mean(key, known)} Keys: {', '.join(known)}.")

    def _path(self, values: Mapping[str, Any], key: str, place: str) -> Path | None:
        value = values.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            self.faults.append(f"{place}: '{key}' is missing or not text. Give a path.")
            return None
        return Path(os.path.normpath(self.base / value))

    def _segmentation(self, values: Any) -> SegmentationConfig | None:
        if not isinstance(values, Mapping):
            self.faults.append("[segmentation] must be a table.")
            return None
        if not values:
            return None
        self._check_keys(values, ("engine", "settings", "rois", "path", "reader", "options"), "[segmentation]")
        if ("engine" in values) == ("path" in values):
            self.faults.append("[segmentation] needs either engine = '...' or path = '...' (an existing run), not both.")
            return None
        if "engine" in values:
            if not isinstance(values["engine"], str) or not isinstance(values.get("settings", {}), Mapping):
                self.faults.append("[segmentation]: engine must be text, settings a table.")
                return None
            rois: Path | str | None = values.get("rois")
            if rois is not None and rois != TARGETS:
                rois = self._path(values, "rois", "[segmentation]")
            return SegmentationConfig(engine=values["engine"], settings=dict(values.get("settings", {})), rois=rois)
        path = self._path(values, "path", "[segmentation]")
        given = {key: values[key] for key in ("reader", "options") if key in values}
        try:
            return None if path is None else SegmentationConfig.adopt({"path": path, **given})
        except ParameterError as error:
            self.faults.append(str(error))
            return None

    def _trials(self, tables: Any) -> list[Trial]:
        if not isinstance(tables, list):
            self.faults.append("Write each trial as a table [[trial]], with double brackets.")
            return []
        trials: list[Trial] = []
        for number, table in enumerate(tables, start=1):
            name = table.get("id") if isinstance(table, Mapping) else None
            place = f"[[trial]] '{name}'" if name else f"[[trial]] number {number}"
            trial = self._trial(table, place)
            if trial is not None:
                if any(other.id == trial.id for other in trials):
                    self.faults.append(f"{place}: two trials have this id.")
                trials.append(trial)
        return trials

    def _trial(self, table: Any, place: str) -> Trial | None:
        if not isinstance(table, Mapping) or not isinstance(table.get("id"), str):
            self.faults.append(f"{place}: 'id' is missing. Give each trial a name, e.g. id = 't-001'.")
            return None
        try:
            cls = trial_types.get(str(table.get("type", "")))
        except ParameterError as error:
            self.faults.append(f"{place}: type = {table.get('type')!r}: {error}")
            return None
        known = ("id", "type", "inputs", *cls.declared_fields, *cls.sections)
        self._check_keys(table, known, place)
        inputs = table.get("inputs", {})
        if not isinstance(inputs, Mapping):
            self.faults.append(f"{place}: inputs must be a table.")
            return None
        try:
            return cls(
                table["id"],
                inputs={name: self._place_input(given) for name, given in inputs.items()},
                settings={name: table[name] for name in cls.sections if name in table},
                **{name: table[name] for name in cls.declared_fields if name in table},
            )
        except (ConfigError, ParameterError) as error:
            self.faults += [
                f"{place}: {line.removeprefix('- ')}" for line in str(error).splitlines() if line.startswith("- ")
            ] or [f"{place}: {error}"]
            return None

    def _place_input(self, given: Any) -> Any:
        if isinstance(given, str):
            return Path(os.path.normpath(self.base / given))
        if isinstance(given, Mapping) and isinstance(given.get("path"), str):
            return {**given, "path": Path(os.path.normpath(self.base / given["path"]))}
        return given
