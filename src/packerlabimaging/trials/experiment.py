"""The Experiment: trials that belong together, their shared segmentation, and the folder of their results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from packerlabimaging._check import did_you_mean
from packerlabimaging._files import write_json
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import (
    ConfigError,
    MissingInputError,
    NotComputedError,
    PackerLabImagingError,
    ParameterError,
    StoreError,
)
from packerlabimaging.io.readers import check_options, find_reader
from packerlabimaging.io.rois import read_rois
from packerlabimaging.segmentation.engine import EngineJob, complete_settings, engines, get_engine, load_run
from packerlabimaging.trials.adoption import adopt
from packerlabimaging.trials.config import TARGETS, ExperimentConfig, SegmentationConfig
from packerlabimaging.trials.inputs import InputGiven
from packerlabimaging.trials.results import codec_named
from packerlabimaging.trials.steps import SEGMENTATION, StepRunner, StepStatus
from packerlabimaging.trials.store import Receipt, Store
from packerlabimaging.trials.trial import Trial, check_id

EXPERIMENT_FILE = "experiment.json"


class Experiment:
    """A collection of trials of any number and types, and what is computed from them.

    Parameters
    ----------
    id
        Name of the experiment.
    output
        Results folder; made when something is computed, never inside raw data.
    comment
        Free text.

    Examples
    --------
    >>> import packerlabimaging as pli
    >>> folder = pli.simulate_experiment("example", size="tiny", seed=1)
    >>> experiment = pli.Experiment("example", output="example/results")
    >>> inputs = {"movie": "example/raw/t-001", "sync": "example/raw/t-001.paq"}
    >>> experiment = experiment.add(pli.TwoPhotonImagingTrial("t-001", inputs=inputs))
    >>> experiment = experiment.run(engine="quick", progress=False)
    >>> experiment["t-001"].cells.n_vars
    600
    """

    def __init__(self, id: str, *, output: str | Path, comment: str = "") -> None:
        self.id = check_id("experiment id", id)
        self.output = Path(output).resolve()
        self.comment = comment
        self.segmentation_config: SegmentationConfig | None = None
        self.store = Store(self.output)
        self._trials: dict[str, Trial] = {}

    # making and describing

    @classmethod
    def from_config(cls, config: ExperimentConfig) -> Experiment:
        """Make an experiment from its description."""
        experiment = cls(config.id, output=config.output, comment=config.comment)
        experiment.segmentation_config = config.segmentation
        for trial in config.trials:
            experiment.add(trial)
        return experiment

    @classmethod
    def from_toml(cls, path: str | Path) -> Experiment:
        """Make an experiment from an ``experiment.toml``; all faults of the file are listed in one error."""
        return cls.from_config(ExperimentConfig.from_toml(path))

    @classmethod
    def load(cls, folder: str | Path) -> Experiment:
        """Open the results folder of an experiment that was run before.

        Raises
        ------
        StoreError
            If the folder is not one.
        """
        path = Path(folder) / EXPERIMENT_FILE
        if Path(folder).is_file():
            raise StoreError(
                f"'{folder}' is a file. Give the results folder; an experiment file is opened with Experiment.from_toml(...)."
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            drafted = Path(folder) / "experiment.toml"
            other = f", or its file '{drafted}'" if drafted.is_file() else ""
            raise StoreError(
                f"'{folder}' is not a results folder: it has no {EXPERIMENT_FILE}. Give the experiment's output{other}."
            ) from None
        except (OSError, json.JSONDecodeError) as error:
            raise StoreError(f"'{path}' is damaged: {error}. Run the experiment again to write it anew.") from error
        return cls.from_config(ExperimentConfig.from_dict(values, base=path.parent, source=str(path)))

    @property
    def config(self) -> ExperimentConfig:
        """The description of this experiment, the same object that its experiment file would give."""
        return ExperimentConfig(self.id, self.output, tuple(self), self.segmentation_config, self.comment)

    def add(self, trial: Trial) -> Experiment:
        """Add a trial.

        Raises
        ------
        ParameterError
            If there is a trial with this id already, it belongs to another experiment, or results would lie in its raw data.
        """
        if any(other.lower() == trial.id.lower() for other in self._trials):
            raise ParameterError(f"The experiment '{self.id}' has a trial '{trial.id}' already. Give each trial its own id.")
        if trial._experiment is not None:
            raise ParameterError(
                f"Trial '{trial.id}' belongs to the experiment '{trial._experiment.id}' already. Make a new one."
            )
        for name, config in trial.inputs.items():
            path = config.path.resolve()
            if path.is_dir() and (self.output == path or path in self.output.parents):
                raise ParameterError(
                    f"The results folder '{self.output}' lies inside the raw data of trial '{trial.id}' ({name}: '{path}'). "
                    "Raw data is never written to. Choose another output."
                )
        trial._experiment = self
        self._trials[trial.id] = trial
        return self

    def __getitem__(self, trial_id: str) -> Trial:
        try:
            return self._trials[trial_id]
        except KeyError:
            raise MissingInputError(
                f"The experiment '{self.id}' has no trial '{trial_id}'. Trials: {', '.join(self._trials) or 'none'}."
                f"{did_you_mean(str(trial_id), self._trials)}"
            ) from None

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._trials

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials.values())

    def __len__(self) -> int:
        return len(self._trials)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} '{self.id}': {len(self)} trial{'s' * (len(self) != 1)}, results in {self.output}"]
        return "\n".join(lines + ["  " + line for trial in self for line in repr(trial).splitlines()])

    # segmentation shared by the trials of one field of view

    def trials_of(self, fov: str) -> list[Trial]:
        """Return the trials of one field of view that take part in its segmentation."""
        return [trial for trial in self if trial.fov == fov and SEGMENTATION in trial.steps]

    def require_segmentation(self) -> SegmentationConfig:
        """Return how ROIs are to be found; raises where nobody has said it."""
        if self.segmentation_config is None:
            names = ", ".join(f'"{name}"' for name in sorted(engines.all()))
            raise ConfigError(
                f"The experiment '{self.id}' does not say how to find ROIs. Choose an engine ({names}): run(engine=...), or "
                "[segmentation] engine = '...' in the experiment file; or adopt an existing run: run(segmentation='path')."
            )
        return self.segmentation_config

    def adopted_segmentation(self, trial: Trial) -> Segmentation | None:
        """Return the frames of ``trial`` in the existing segmentation that the experiment adopts, or None without one."""
        config = self.segmentation_config
        if config is None or config.path is None:
            return None
        return adopt(config, trial, self.trials_of(trial.fov))

    def make_job(self, fov: str, trials: Iterable[Trial]) -> EngineJob:
        """Hook: what the engine of one field of view is given. Each trial gives ``movie``, ``artefact``, ``frame_clock``."""
        members: list[Any] = list(trials)
        first = members[0]
        for trial in members[1:]:
            if trial.movie.frame_shape_px != first.movie.frame_shape_px:
                raise ParameterError(
                    f"Trials '{first.id}' and '{trial.id}' of the field of view '{fov}' have frames of different size "
                    f"({first.movie.frame_shape_px} and {trial.movie.frame_shape_px}). Give them different values of fov."
                )
            if abs(trial.frame_clock.rate_hz / first.frame_clock.rate_hz - 1) > 0.02:
                raise ParameterError(
                    f"Trials '{first.id}' and '{trial.id}' of the field of view '{fov}' have different frame rates "
                    f"({first.frame_clock.rate_hz:.3f} and {trial.frame_clock.rate_hz:.3f} Hz). "
                    "Give them different values of fov."
                )
        return EngineJob(
            movies={trial.id: trial.movie for trial in members},
            artefacts={trial.id: trial.artefact for trial in members},
            rate_hz=first.frame_clock.rate_hz,
            pixel_size_um=first.metadata.pixel_size_um,
            indicator_decay_s=first.metadata.indicator_decay_s,
            rois=self._given_rois(first),
        )

    def _given_rois(self, trial: Any) -> RoiSet | None:
        rois = self.require_segmentation().rois
        if rois is None:
            return None
        if rois != TARGETS:
            return read_rois(rois, frame_shape_px=trial.movie.frame_shape_px)
        if not hasattr(trial, "discs_in_plane"):
            raise ConfigError(f"rois = 'targets', but trial '{trial.id}' ({trial.type_name}) has no targets. Give a label image.")
        discs: RoiSet = trial.discs_in_plane
        return discs

    # running

    def run(
        self,
        *,
        engine: str | None = None,
        segmentation: InputGiven | None = None,
        engine_settings: Mapping[str, Any] | None = None,
        rois: str | Path | None = None,
        progress: bool = True,
    ) -> Experiment:
        """Run every step that is missing or stale; finished ones are left as they are.

        Parameters
        ----------
        engine
            Segmentation engine, where the experiment file does not name it or another one is wanted.
        segmentation
            Existing segmentation to adopt instead: its path, e.g. a Suite2p folder, or a table of ``path``, ``reader`` and
            ``options`` like an input.
        engine_settings
            Settings that differ from the engine's defaults.
        rois
            For the engine ``masks``: ``"targets"``, or the path of a label image or of another segmentation.
        progress
            Show progress bars.

        Raises
        ------
        ConfigError
            If neither an engine nor a segmentation was ever named.
        SyncError
            If the synchronisation of a trial failed and the user has not accepted it.
        StoreError
            If another process works in the results folder.
        """
        self._choose_segmentation(engine, segmentation, engine_settings, rois)
        if not self._trials:
            raise ConfigError(f"The experiment '{self.id}' has no trials. Add at least one.")
        if any(SEGMENTATION in trial.steps for trial in self):
            self._check_segmentation()
        with self.store.lock():
            self._write_description()
            self.store.sweep()
            runner = self._runner(progress=progress)
            for owner, step in runner.plan():
                if runner.status(owner, step).state != "done":
                    runner.run(owner, step)
                if owner in self:
                    self[owner].check_result(step)
            self.store.sweep()
        return self

    def _choose_segmentation(
        self,
        engine: str | None,
        segmentation: InputGiven | None,
        engine_settings: Mapping[str, Any] | None,
        rois: str | Path | None,
    ) -> None:
        if engine is not None and segmentation is not None:
            raise ParameterError("Give either engine= or segmentation= (an existing run to adopt), not both.")
        if segmentation is not None:
            self.segmentation_config = SegmentationConfig.adopt(segmentation)
        if engine is None and engine_settings is None and rois is None:
            return
        before = self.segmentation_config if engine is None else self.segmentation_config or SegmentationConfig()
        if before is None or (engine is None and before.engine is None):
            adopts = "" if before is None else f", but the experiment '{self.id}' adopts the segmentation '{before.path}'"
            raise ParameterError(f"engine_settings= and rois= are for an engine{adopts}. Name the engine: run(engine=..., ...).")
        same = engine is None or engine == before.engine
        chosen_rois = (before.rois if same else None) if rois is None else rois
        self.segmentation_config = SegmentationConfig(
            engine=engine or before.engine,
            settings=dict((before.settings if same else {}) if engine_settings is None else engine_settings),
            rois=chosen_rois if chosen_rois in (None, TARGETS) else Path(chosen_rois).resolve(),
        )

    def _check_planes(self) -> None:
        """Raise if trials of one field of view are different planes: their ROIs can't be the same cells."""
        first: dict[str, tuple[Any, Trial]] = {}
        for trial in self:
            plane = trial.inputs["movie"].options.get("plane") if "movie" in trial.inputs else None
            if plane is None or SEGMENTATION not in trial.steps:
                continue
            other, before = first.setdefault(trial.fov, (plane, trial))
            if other != plane:
                raise ConfigError(
                    f"Trials '{before.id}' (plane {other}) and '{trial.id}' (plane {plane}) are of one field of view, "
                    f"'{trial.fov}', and would be segmented together. Give each plane a fov of its own."
                )

    def _check_segmentation(self) -> None:
        """Raise what is wrong with the choice of segmentation now, not after the movies were read."""
        chosen = self.require_segmentation()
        self._check_planes()
        if chosen.path is not None:
            reader = find_reader(chosen.path, "segmentation", reader=chosen.reader)
            check_options(reader, chosen.options, path=chosen.path)
            return
        engine = get_engine(str(chosen.engine))
        complete_settings(engine, chosen.settings)
        if engine.takes_rois and chosen.rois is None:
            raise ConfigError(
                f"The engine '{engine.name}' needs ROIs. Give them: run(engine=..., rois=...), or [segmentation] rois = "
                "... in the experiment file: 'targets', or the path of a label image or of another segmentation."
            )
        if chosen.rois is not None and not engine.takes_rois:
            raise ConfigError(f"The engine '{engine.name}' finds ROIs itself. Leave rois out, or use the engine 'masks'.")

    def _runner(self, *, progress: bool = False) -> StepRunner:
        for trial in self:
            trial._opened.clear()
        return StepRunner(self, progress=progress)

    def _write_description(self) -> None:
        path = self.output / EXPERIMENT_FILE
        if path.exists():
            try:
                known = json.loads(path.read_text(encoding="utf-8"))["id"]
            except (ValueError, TypeError, KeyError):
                known = self.id  # damaged: written anew
            if known != self.id:
                raise StoreError(
                    f"'{self.output}' holds the results of the experiment '{known}', not of '{self.id}'. Choose another output."
                )
        write_json(path, self.config.to_dict(base=self.output))

    def status(self) -> list[StepStatus]:
        """Return the state of every step: done, stale (with the reason) or missing."""
        runner = self._runner()
        return [runner.status(owner, step) for owner, step in runner.plan()]

    # results

    def _receipt(self, trial: Trial, step: str) -> Receipt | None:
        return self.store.receipt(trial.fov if step == SEGMENTATION else trial.id, step)

    def has_result(self, trial: Trial, step: str) -> bool:
        """Say whether a step of a trial has a stored result."""
        return self._receipt(trial, step) is not None

    def receipts_of(self, trial: Trial) -> dict[str, dict[str, Any]]:
        """Return the receipts of a trial's finished steps, by step."""
        found = {step: self._receipt(trial, step) for step in trial.steps}
        return {step: asdict(receipt) for step, receipt in found.items() if receipt is not None}

    def load_result(self, trial: Trial, step: str) -> Any:
        """Return the stored result of a step; read once, then kept until the step runs again."""
        receipt = self._receipt(trial, step)
        if receipt is None:
            raise NotComputedError(
                f"The step '{step}' of trial '{trial.id}' has not run. "
                "Run the experiment: experiment.run(engine=...), or: pli run experiment.toml."
            )
        kept = trial._results.get(step)
        if kept is None or kept[0] != receipt.token:
            kept = (receipt.token, self._read_result(trial, receipt))
            trial._results[step] = kept
        return kept[1]

    def _read_result(self, trial: Trial, receipt: Receipt) -> Any:
        if receipt.codec == "adopted":
            return self.adopted_segmentation(trial)
        path = self.store.result_path(receipt)
        if receipt.codec == "engine":
            return load_run(path).of_trial(trial.id)
        codec = codec_named(receipt.codec)
        try:
            return codec.read(path)
        except PackerLabImagingError:
            raise
        except Exception as error:  # each format's library has its own
            raise StoreError(
                f"The result of step '{receipt.step}' of '{receipt.owner}' is damaged: '{path}' "
                f"({type(error).__name__}: {error}). Delete it and run again."
            ) from error
