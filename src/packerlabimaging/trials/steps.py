"""Running steps: which are stale, why, and how one is run and its receipt written.

While a step runs, everything that it reads is noted: inputs, fields, settings, earlier results. The receipt keeps what
these were, under names such as ``t-013:movie``, ``t-013:settings:dff`` and ``t-013:sync``; a step is stale when any of them,
or its code, is no longer the same.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packerlabimaging._provenance import now, to_plain, versions
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.schema import findings_of
from packerlabimaging.errors import MissingDependencyError, MissingFileError, StoreError
from packerlabimaging.segmentation.engine import complete_settings, get_engine, run_engine
from packerlabimaging.trials.code import code_of, names_in
from packerlabimaging.trials.config import TARGETS, SegmentationConfig
from packerlabimaging.trials.fingerprint import fingerprint
from packerlabimaging.trials.inputs import InputConfig
from packerlabimaging.trials.results import codec_for
from packerlabimaging.trials.store import Receipt, Store, measure
from packerlabimaging.trials.trial import Trial

if TYPE_CHECKING:
    from packerlabimaging.trials.experiment import Experiment

SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class StepStatus:
    """State of one step of one trial (or of the segmentation of one field of view)."""

    owner: str
    step: str
    state: Literal["done", "stale", "missing"]
    reason: str = ""
    finished: str = ""


@dataclass(frozen=True)
class _Made:
    """What running a step gave: the token and place of its result, how it is stored, and the value itself."""

    token: str
    result: str
    codec: str
    value: Any


@dataclass(frozen=True)
class _Noticed:
    """Stands for what is not stored, such as an adopted segmentation: only what was noticed about it."""

    findings: list[Finding]


class StepRunner:
    """Looks at receipts and runs what is missing or stale. Made anew for each run, so that it sees files as they are now."""

    def __init__(self, experiment: Experiment, *, progress: bool = False) -> None:
        self.experiment = experiment
        self.store: Store = experiment.store
        self.progress = progress
        self._fingerprints: dict[Path, str | None] = {}
        self._states: dict[tuple[str, str], StepStatus] = {}

    def plan(self) -> list[tuple[str, str]]:
        """Return all steps as ``(owner, step)`` in the order in which they run."""
        before: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        after: list[tuple[str, str]] = []
        for trial in self.experiment:
            split = trial.steps.index(SEGMENTATION) if SEGMENTATION in trial.steps else len(trial.steps)
            before += [(trial.id, step) for step in trial.steps[:split]]
            after += [(trial.id, step) for step in trial.steps[split + 1 :]]
            if SEGMENTATION in trial.steps and (trial.fov, SEGMENTATION) not in shared:
                shared.append((trial.fov, SEGMENTATION))
        return [*before, *shared, *after]

    def status(self, owner: str, step: str) -> StepStatus:
        """Return the state of a step: done, stale (with the reason), or missing."""
        key = (owner, step)
        if key not in self._states:
            receipt = self.store.receipt(owner, step)
            if receipt is None:
                self._states[key] = StepStatus(owner, step, "missing")
            else:
                reason = self._stale_reason(receipt)
                self._states[key] = StepStatus(owner, step, "stale" if reason else "done", reason, receipt.finished)
        return self._states[key]

    def _stale_reason(self, receipt: Receipt) -> str:
        if receipt.step == SEGMENTATION and self.experiment.segmentation_config is None:
            return "no engine is chosen"
        if tuple(receipt.code) != self._code(receipt.owner, receipt.step):
            return "its code changed"
        for name, value in receipt.parameters.items():
            try:
                present = self._parameter(name, receipt.owner)
            except MissingDependencyError:  # the engine is not installed here: results made elsewhere are taken as they are
                continue
            if present != value:
                return f"{_parameter_in_words(name, value, present).removeprefix(f'{receipt.owner}: ')} changed"
        for name, value in receipt.inputs.items():
            present = self._input(name)
            if present != value:
                return f"the input {name} {'is not there' if present is None else 'changed'}"
        for name, token in receipt.upstream.items():
            owner, step = name.split(":")
            upstream = self.store.receipt(owner, step)
            if upstream is None or upstream.token != token or self.status(owner, step).state != "done":
                return f"{name} changed"
        if not self.store.has_result(receipt):
            return "its result is gone"
        return "" if self.store.is_whole(receipt) else "its result is damaged: files are missing or cut"

    # the present values of what a receipt names

    def _code(self, owner: str, step: str) -> tuple[str, ...]:
        if step != SEGMENTATION:
            return self.experiment[owner].hook_code(step)
        config = self.experiment.require_segmentation()
        if config.engine is None:
            return ("adopted",)
        engine = get_engine(config.engine)
        hook = type(self.experiment).make_job
        members = {type(trial) for trial in self.experiment.trials_of(owner)}
        reached = [code_of(type(self.experiment), ["make_job"]), *(code_of(cls, names_in(hook.__code__)) for cls in members)]
        return (f"{engine.name} {engine.version}", *sorted({entry for found in reached for entry in found}))

    def _input(self, name: str) -> str | None:
        if name == SEGMENTATION:
            given: InputConfig | SegmentationConfig | None = self.experiment.segmentation_config
        else:
            trial_id, input_name = name.split(":")
            given = self.experiment[trial_id].inputs.get(input_name) if trial_id in self.experiment else None
        found = None if given is None or given.path is None else self._fingerprint(given.path)
        if found is None or given is None or not (given.reader or given.options):
            return found
        return f"{found} {given.reader} {to_plain(given.options)}"

    def _fingerprint(self, path: Path) -> str | None:
        if path not in self._fingerprints:
            try:
                self._fingerprints[path] = fingerprint(path)
            except MissingFileError:
                self._fingerprints[path] = None
        return self._fingerprints[path]

    def _parameter(self, name: str, owner: str) -> Any:
        if name == SEGMENTATION:
            return self._segmentation_parameters(owner)
        trial_id, kind, key = name.split(":")
        if trial_id not in self.experiment:
            return None
        trial = self.experiment[trial_id]
        if kind == "field":
            return to_plain(getattr(trial, key)) if key in trial.declared_fields else None
        return to_plain(trial.settings[key]) if key in trial.sections else None

    def _segmentation_parameters(self, fov: str) -> dict[str, Any]:
        config = self.experiment.require_segmentation()
        trials = [trial.id for trial in self.experiment.trials_of(fov)]
        if config.engine is None:
            return {"reader": config.reader, "options": to_plain(config.options), "trials": trials}
        settings = complete_settings(get_engine(config.engine), config.settings)
        rois = TARGETS if config.rois == TARGETS else None if config.rois is None else self._fingerprint(Path(config.rois))
        return {"engine": config.engine, "settings": to_plain(settings), "rois": rois, "trials": trials}

    # running

    def run(self, owner: str, step: str) -> None:
        """Run one step and write its receipt."""
        started = now()
        members = self.experiment.trials_of(owner) if step == SEGMENTATION else [self.experiment[owner]]
        for trial in members:
            for name in trial.inputs:
                self._input(f"{trial.id}:{name}")  # as they are before the step reads them: a later change makes it stale
        with warnings.catch_warnings(record=True) as caught, ExitStack() as stack:
            warnings.simplefilter("always")
            used = {trial.id: stack.enter_context(trial.noting()) for trial in members}
            try:
                made = self._run_segmentation(owner, members) if step == SEGMENTATION else self._run_hook(members[0], step)
            except Exception as error:
                where = f"This happened in the step '{step}' of '{owner}'."
                if _is_full(error):
                    disk = f"The disk of the results folder '{self.store.folder}' is full."
                    raise StoreError(f"{disk} Make room, then run again: finished steps are kept.\n{where}") from error
                error.add_note(f"{where} Finished steps are kept.")
                raise
        for item in caught:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
        receipt = Receipt(
            owner=owner,
            step=step,
            token=made.token,
            result=made.result,
            codec=made.codec,
            stored=None if step == SEGMENTATION else measure(self.store.folder / made.result),
            findings=_findings(members, used, made.value),
            **self._use(owner, step, used),
            code=self._code(owner, step),
            versions=versions("scipy", "pandas", "anndata", "scikit-image"),
            warnings=tuple(dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, UserWarning))),
            started=started,
            finished=now(),
        )
        self.store.write_receipt(receipt)
        self._states.clear()

    def _run_hook(self, trial: Trial, step: str) -> _Made:
        trial._progress = self.progress
        value = getattr(trial, f"make_{step}")()
        codec = codec_for(value, step=step)
        token, path = self.store.fresh_path(f"trials/{trial.id}", step, suffix=codec.suffix)
        codec.write(value, path)
        return _Made(token, path.relative_to(self.store.folder).as_posix(), codec.name, value)

    def _run_segmentation(self, fov: str, trials: list[Trial]) -> _Made:
        config = self.experiment.require_segmentation()
        if config.path is not None:
            token, _ = self.store.fresh_path(SEGMENTATION, "adopted")
            result = Path(os.path.relpath(config.path, self.store.folder)).as_posix()
            adopted = [trial.adopted_segmentation() for trial in trials]
            return _Made(token, result, "adopted", _Noticed([finding for one in adopted for finding in findings_of(one)]))
        engine = str(config.engine)
        job = self.experiment.make_job(fov, trials)
        token, folder = self.store.fresh_path(SEGMENTATION, engine)
        value = run_engine(engine, job, folder, settings=config.settings, progress=self.progress)
        return _Made(token, folder.relative_to(self.store.folder).as_posix(), "engine", value)

    def _use(self, owner: str, step: str, used: Mapping[str, set[tuple[str, str]]]) -> dict[str, Any]:
        """Turn what was noted into the receipt's inputs, parameters and upstream results."""
        inputs: dict[str, str | None] = {}
        parameters: dict[str, Any] = {SEGMENTATION: self._parameter(SEGMENTATION, owner)} if step == SEGMENTATION else {}
        upstream: dict[str, str] = {}
        for trial_id, notes in used.items():
            for kind, name in sorted(notes):
                if kind == "input":
                    inputs[f"{trial_id}:{name}"] = self._input(f"{trial_id}:{name}")
                elif kind == "adopted":
                    inputs[SEGMENTATION] = self._input(SEGMENTATION)
                elif kind == "result":
                    source = self.experiment[trial_id].fov if name == SEGMENTATION else trial_id
                    receipt = self.store.receipt(source, name)
                    if receipt is not None:
                        upstream[f"{source}:{name}"] = receipt.token
                else:
                    key = f"{trial_id}:{kind}:{name}"
                    parameters[key] = self._parameter(key, owner)
        return {"inputs": inputs, "parameters": parameters, "upstream": upstream}


def _parameter_in_words(name: str, before: Any, present: Any) -> str:
    """Say which parameter differs: ``t-1: dff.window_s`` rather than the name of its whole section."""
    if isinstance(before, Mapping) and isinstance(present, Mapping):
        keys = [key for key in {**before, **present} if before.get(key) != present.get(key)]
    else:
        keys = []
    *trial, _, section = name.rsplit(":", 2) if ":" in name else ("", name)
    changed = ", ".join(f"{section}.{key}" for key in keys) or section
    return f"{trial[0]}: {changed}" if trial else changed


def _is_full(error: Exception) -> bool:
    """Say whether an error came about because nothing more fits on the disk; numpy's own has no number."""
    return isinstance(error, OSError) and (error.errno == errno.ENOSPC or "requested and" in str(error))


def _findings(trials: Iterable[Trial], used: Mapping[str, set[tuple[str, str]]], value: Any) -> tuple[Mapping[str, Any], ...]:
    """Collect what the inputs that were used and the result noticed, each once."""
    sources = [
        trial._opened[name] for trial in trials for kind, name in used[trial.id] if kind == "input" and name in trial._opened
    ]
    found: list[Finding] = [finding for source in [*sources, value] for finding in findings_of(source)]
    distinct = {(finding.code, finding.where, finding.message): finding for finding in found}
    return tuple(finding.to_dict() for finding in distinct.values())
