"""The base of all trials: identity, inputs, fields, settings, and steps that users extend by subclassing.

A Trial is one time series of imaging+ data. It is thin: its steps call down into readers, preprocessing and analysis, and
hand back values that the experiment stores. Constructors do no I/O. Users extend a trial through four doors:

- a *field* is an annotated class attribute with a default: ``eye: str = "left"``;
- an *input* is a typed descriptor: ``pupil = SignalsInput()``;
- a *hook* is a step's method: override ``make_cells`` and call ``super().make_cells()``; a new name in ``steps`` with its
  ``make_<name>`` adds a step;
- a *method* is a method.

What a step reads (inputs, fields, settings, earlier results) is noted while it runs; that, and the step's own version or
the source of a user's hook, is what makes a stored result stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from packerlabimaging._check import did_you_mean
from packerlabimaging._registry import Registry
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import ConfigError, NotComputedError, ParameterError
from packerlabimaging.trials.code import code_of
from packerlabimaging.trials.fields import Field, Settings, build_section, collect_fields
from packerlabimaging.trials.inputs import Input, InputConfig, InputGiven

if TYPE_CHECKING:
    from packerlabimaging.core.segmentation import Segmentation
    from packerlabimaging.trials.experiment import Experiment

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_id(what: str, value: str) -> str:
    """Return ``value`` if it can serve as the name of a folder on every system.

    Raises
    ------
    ParameterError
        If it can't.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value) or value.endswith("."):
        raise ParameterError(
            f"The {what} {value!r} can't be used as a name. Use letters, digits, '-', '_' and '.', "
            "beginning with a letter or digit, at most 100 of them."
        )
    return value


class TrialTypes:
    """Trial classes by name: everything that was defined in this program or comes from an entry point.

    The key of a class is its module and qualified name. The short name serves as well while only one class has it; this is
    checked when it is looked up, never when a class is defined (notebooks redefine classes).
    """

    def __init__(self) -> None:
        self._classes: dict[str, type[Trial]] = {}
        self._installed: Registry[Trial] = Registry("trial type", "packerlabimaging.trials")

    def add(self, cls: type[Trial]) -> None:
        self._classes[type_key(cls)] = cls

    def get(self, name: str) -> type[Trial]:
        """Return the class called ``name`` (short, or module and qualified name).

        Raises
        ------
        ParameterError
            If there is none, or several have this short name.
        """
        self._installed.all()  # loading an entry point defines its class, which adds it
        if name in self._classes:
            return self._classes[name]
        found = {key: cls for key, cls in self._classes.items() if cls.__name__ == name}
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise ParameterError(f"Several trial types are called '{name}': {', '.join(found)}. Write the one with its module.")
        names = sorted({cls.__name__ for cls in self._classes.values()})
        raise ParameterError(
            f"There is no trial type '{name}'. Available: {', '.join(names)}.{did_you_mean(name, names)} "
            "A type of your own is made known with: pli run --plugin your_file.py"
        )


trial_types = TrialTypes()


def type_key(cls: type) -> str:
    """Return module and qualified name of a class."""
    return f"{cls.__module__}:{cls.__qualname__}"


class Trial:
    """One time series of imaging+ data.

    Parameters
    ----------
    id
        Name of the trial within its experiment, e.g. ``"t-013"``.
    inputs
        ``{name: path}``, or ``{name: {"path": ..., "reader": ..., "options": {...}}}``. Nothing is opened yet.
    settings
        ``{section: {name: value}}``, as in the experiment file.
    fields
        Values of the class's fields.

    Raises
    ------
    ConfigError
        If an input, field or setting is unknown or of the wrong type; all faults at once.
    """

    steps: ClassVar[tuple[str, ...]] = ()
    """Names of the steps in their order; each ``name`` runs the method ``make_<name>``."""
    versions: ClassVar[Mapping[str, int]] = {}
    """``{step: version}`` of the hooks that this class itself defines; raised when the same input gives another result."""
    sections: ClassVar[Mapping[str, type]] = {}
    """``{name: dataclass}`` of the settings that the steps take."""

    declared_fields: ClassVar[dict[str, Field]] = {}
    declared_inputs: ClassVar[dict[str, Input[Any]]] = {}

    comment: str = ""
    group: str = ""
    fov: str = "fov-1"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._collect()
        trial_types.add(cls)

    @classmethod
    def _collect(cls) -> None:
        inherited = {name for base in cls.__mro__[1:] for name in vars(base)} - set(cls.declared_fields)
        taken = inherited | set(cls.declared_inputs) | {"id", "inputs", "settings"}
        own = collect_fields(cls, taken=taken, known=cls.declared_fields)
        for name, field in own.items():
            setattr(cls, name, field)
        cls.declared_fields = {**cls.declared_fields, **own}
        inputs = {value.name: value for value in vars(cls).values() if isinstance(value, Input)}
        cls.declared_inputs = {**cls.declared_inputs, **inputs}
        for step in cls.steps:
            if step != "segmentation" and not callable(getattr(cls, f"make_{step}", None)):
                raise TypeError(f"{cls.__qualname__} lists the step '{step}' but has no method make_{step}.")

    def __init__(
        self,
        id: str,
        *,
        inputs: Mapping[str, InputGiven] | None = None,
        settings: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.id = check_id("trial id", id)
        self._fields = {name: field.default for name, field in self.declared_fields.items()}
        self._opened: dict[str, Any] = {}
        self._results: dict[str, tuple[str, Any]] = {}
        self._used: set[tuple[str, str]] | None = None
        self._progress = False
        self._experiment: Experiment | None = None
        faults = self._set_fields(fields)
        self.inputs, input_faults = self._check_inputs(inputs or {})
        sections, section_faults = self._check_settings(settings or {})
        faults += input_faults + section_faults
        if faults:
            listed = "\n".join(f"- {fault}" for fault in faults)
            raise ConfigError(f"Trial '{self.id}' ({self.type_name}) can't be made:\n{listed}")
        self._settings = Settings(self, sections)

    @property
    def settings(self) -> Settings:
        """Settings by section. Assign ``{section: {name: value}}`` to change them; what is not named gets its default."""
        return self._settings

    @settings.setter
    def settings(self, values: Mapping[str, Any]) -> None:
        sections, faults = self._check_settings(values)
        if faults:
            listed = "\n".join(f"- {fault}" for fault in faults)
            raise ConfigError(f"The settings of trial '{self.id}' ({self.type_name}) can't be changed:\n{listed}")
        self._settings = Settings(self, sections)

    def _set_fields(self, fields: Mapping[str, Any]) -> list[str]:
        faults = []
        for name, value in fields.items():
            if name not in self.declared_fields:
                known = [*self.declared_fields, "inputs", "settings"]
                faults.append(f"'{name}' is not a field.{did_you_mean(name, known)} Fields: {', '.join(self.declared_fields)}.")
                continue
            try:
                setattr(self, name, value)
            except ValueError as error:
                faults.append(f"{name}: {error}.")
        try:
            check_id("fov", self._fields["fov"])
        except ParameterError as error:
            faults.append(str(error))
        return faults

    def _check_inputs(self, inputs: Mapping[str, InputGiven]) -> tuple[dict[str, InputConfig], list[str]]:
        found, faults = {}, []
        for name, given in inputs.items():
            if name not in self.declared_inputs:
                listed = ", ".join(self.declared_inputs) or "none"
                faults.append(f"'{name}' is not an input.{did_you_mean(name, self.declared_inputs)} Inputs: {listed}.")
                continue
            try:
                config = InputConfig.of(given, what=f"the input '{name}'")
            except ParameterError as error:
                faults.append(str(error))
                continue
            found[name] = config
            if "\0" in str(config.path):
                faults.append(f"the input '{name}': {str(config.path)!r} can't be a path.")
            faults += [
                f"the input '{name}': {role} = {config.options[role]!r} must be the name of a channel{or_list}."
                for role, or_list in self.declared_inputs[name].check_roles(config.options)
            ]
        return found, faults

    def _check_settings(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        faults = [
            f"'{name}' is not a section of settings.{did_you_mean(name, self.sections)} Sections: {', '.join(self.sections)}."
            for name in settings
            if name not in self.sections
        ]
        sections = {}
        for name, cls in self.sections.items():
            sections[name], section_faults = build_section(cls, settings.get(name, {}), place=name)
            faults += section_faults
        return sections, faults

    @property
    def type_name(self) -> str:
        """Short name of the trial's type."""
        return type(self).__name__

    @property
    def progress(self) -> bool:
        """Whether steps show progress bars; set while the experiment runs."""
        return self._progress

    # inputs

    def has_input(self, name: str) -> bool:
        """Say whether an input was given."""
        self._note("input", name)
        return name in self.inputs

    def _open_input(self, name: str) -> Any:
        self._note("input", name)
        if name not in self.inputs:
            raise self.declared_inputs[name].missing(self)
        if name not in self._opened:
            self._opened[name] = self.declared_inputs[name].open(self.inputs[name])
        return self._opened[name]

    def role(self, input_name: str, role: str) -> Any:
        """Return what the user named for a role of an input, e.g. the channel of the frame clock, or a list of channels."""
        self._note("input", input_name)
        config = self.inputs.get(input_name)
        defaults = self.declared_inputs[input_name].roles
        return (config.options if config else {}).get(role, defaults[role])

    def adopted_segmentation(self) -> Segmentation | None:
        """Return the existing segmentation that the experiment adopts, this trial's frames of it; None where there is none."""
        self._note("adopted", "segmentation")
        return None if self._experiment is None else self._experiment.adopted_segmentation(self)

    # results

    def has(self, step: str) -> bool:
        """Say whether a step has a stored result."""
        return self._experiment is not None and self._experiment.has_result(self, step)

    def result(self, step: str) -> Any:
        """Return the stored result of a step.

        Raises
        ------
        NotComputedError
            If the step has not run; the message says how to run it.
        """
        self._note("result", step)
        if self._experiment is None:
            raise NotComputedError(
                f"Trial '{self.id}' has no results yet: it belongs to no experiment. Add it to one and run that, or call "
                "trial.run(engine=..., output='results/...')."
            )
        return self._experiment.load_result(self, step)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What readers and audits noticed, from the receipts of all finished steps, each once."""
        found: dict[tuple[str, str], Finding] = {}
        for receipt in self.receipts.values():
            for values in receipt.get("findings", ()):
                finding = Finding.from_dict(values)
                found.setdefault((finding.code, finding.message), finding)
        return tuple(found.values())

    @property
    def receipts(self) -> dict[str, dict[str, Any]]:
        """Receipts of the finished steps, by step."""
        return {} if self._experiment is None else self._experiment.receipts_of(self)

    def check_result(self, step: str) -> None:
        """Hook: raise if the result of ``step`` must stop the trial."""

    def run(
        self,
        *,
        output: str | Path,
        engine: str | None = None,
        segmentation: InputGiven | None = None,
        engine_settings: Mapping[str, Any] | None = None,
        rois: str | Path | None = None,
        progress: bool = True,
    ) -> Trial:
        """Run a trial on its own, in a results folder of its own; see :meth:`Experiment.run`."""
        from packerlabimaging.trials.experiment import Experiment

        experiment = Experiment(self.id, output=output)
        experiment.add(self)
        experiment.run(engine=engine, segmentation=segmentation, engine_settings=engine_settings, rois=rois, progress=progress)
        return self

    # what a step uses

    def _note(self, kind: str, name: str) -> None:
        if self._used is not None:
            self._used.add((kind, name))

    @contextmanager
    def noting(self) -> Iterator[set[tuple[str, str]]]:
        """Collect what is read within the block as ``(kind, name)``: input, field, settings, result."""
        used: set[tuple[str, str]] = set()
        self._used = used
        try:
            yield used
        finally:
            self._used = None

    @classmethod
    def hook_code(cls, step: str) -> tuple[str, ...]:
        """Return what identifies the code of a step: our own versions, and hashes of the users' code that it reaches."""
        name = f"make_{step}"
        bases = [base for base in cls.__mro__ if name in vars(base) and issubclass(base, Trial)]
        ours = [base for base in bases if base.__module__.startswith("packerlabimaging.")]
        return (*(f"{base.__name__} {base.versions.get(step, 1)}" for base in ours), *code_of(cls, [name]))

    def __repr__(self) -> str:
        lines = [f"{self.type_name} '{self.id}'"]
        lines += [f"  {name}: {config.path}" for name, config in self.inputs.items()]
        lines += [f"  {name} = {value!r}" for name, value in self._fields.items() if value != self.declared_fields[name].default]
        done = [step for step in self.steps if self.has(step)]
        return "\n".join([*lines, f"  finished steps: {', '.join(done) or 'none'}"])


Trial._collect()
