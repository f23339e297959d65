"""The engine contract: from the movies of one field of view to ROIs and traces, folder in, folder out.

An engine is a class of declared facts and three methods. It runs in a fresh folder that holds its parameters, its log and
its own files, and from which :meth:`Engine.load` reads the outcome: a run can be moved to another machine and be loaded a
year later. Engines are entry points of the group ``packerlabimaging.engines``. The engine is always named by the user;
nothing falls back to another one.
"""

from __future__ import annotations

import json
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging._check import check_length, check_positive, did_you_mean
from packerlabimaging._files import write_json
from packerlabimaging._progress import Progress, ProgressOption, progress_bar
from packerlabimaging._provenance import now, to_plain, versions
from packerlabimaging._registry import Registry
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import EngineError, PackerLabImagingError, ParameterError, StoreError
from packerlabimaging.io.readers import Inspection, Reader, unreadable

RUN_FILE = "run.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineJob:
    """What an engine is given.

    Parameters
    ----------
    movies
        ``{trial id: movie}``, in the order in which they are joined; all of one field of view and frame size.
    artefacts
        ``{trial id: mask}``, boolean ``(n_frames,)``: frames that stimulation light reached, to be left out of
        reference image and detection.
    rate_hz
        Frames per second.
    pixel_size_um
        ``(y, x)``; None if unknown.
    indicator_decay_s
        Time constant of the calcium indicator's decay; None if unknown.
    rois
        ROIs drawn elsewhere, for engines that take them; None otherwise.
    """

    movies: Mapping[str, Movie]
    artefacts: Mapping[str, np.ndarray] = field(default_factory=dict)
    rate_hz: float
    pixel_size_um: tuple[float, float] | None = None
    indicator_decay_s: float | None = None
    rois: RoiSet | None = None

    def __post_init__(self) -> None:
        if not self.movies:
            raise ParameterError("An engine needs at least one movie.")
        shapes = {trial: movie.frame_shape_px for trial, movie in self.movies.items()}
        if len(set(shapes.values())) > 1:
            raise ParameterError(f"The movies are not of one frame size: {shapes}. Segment fields of view apart.")
        check_positive("rate_hz", self.rate_hz)
        for size in self.pixel_size_um or ():
            check_positive("pixel_size_um", size)
        if self.indicator_decay_s is not None:
            check_positive("indicator_decay_s", self.indicator_decay_s)
        for trial, mask in self.artefacts.items():
            if trial not in self.movies:
                raise ParameterError(
                    f"There is an artefact mask for '{trial}', but no such movie. Movies: {', '.join(self.movies)}."
                )
            check_length(f"artefacts of trial '{trial}'", mask, self.movies[trial].n_frames, per="frame")
            if np.asarray(mask).dtype != bool:
                raise ParameterError(
                    f"artefacts of trial '{trial}' is {np.asarray(mask).dtype}. Expected a mask of true and false."
                )
        if self.rois is not None and self.rois.frame_shape_px not in shapes.values():
            raise ParameterError(
                f"The ROIs were drawn on frames of {self.rois.frame_shape_px} px, the movies have {next(iter(shapes.values()))}."
            )

    @property
    def n_frames(self) -> int:
        """Frames of all trials together."""
        return sum(movie.n_frames for movie in self.movies.values())

    @property
    def trial_frames(self) -> dict[str, tuple[int, int]]:
        """``{trial id: (first frame, end)}`` in the joined movie."""
        ends = np.cumsum([movie.n_frames for movie in self.movies.values()]).tolist()
        return {trial: (end - movie.n_frames, end) for (trial, movie), end in zip(self.movies.items(), ends, strict=True)}

    def artefact_mask(self) -> np.ndarray:
        """Masks of all trials joined, boolean ``(n_frames,)``."""
        masks = [self.artefacts.get(trial, np.zeros(movie.n_frames, bool)) for trial, movie in self.movies.items()]
        return np.concatenate(masks).astype(bool)


@dataclass(frozen=True)
class Setting:
    """Default and one line of help of one engine setting."""

    default: Any
    help: str


class Engine(ABC):
    """Contract of a segmentation engine."""

    name: ClassVar[str]
    description: ClassVar[str]
    takes_rois: ClassVar[bool] = False
    """True for an engine that is given ROIs (``job.rois``) and finds none itself."""
    version: ClassVar[int] = 1
    """Raised when the same input would give another outcome; makes earlier runs stale."""

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Return the defaults: a :class:`Setting` per name, or a nested mapping of them for a section."""

    @abstractmethod
    def run(self, job: EngineJob, folder: Path, settings: Mapping[str, Any], progress: Progress) -> None:
        """Run in ``folder``, which exists and holds only our own ``run.json``; leave files there that ``load`` reads."""

    @abstractmethod
    def load(self, folder: Path) -> Segmentation:
        """Read the outcome of a finished run; the caller fills in ``trial_frames``, and ``engine`` where it is empty."""

    def versions(self) -> dict[str, str]:
        """Versions to store with a run."""
        return versions("scipy", "scikit-image")


engines: Registry[Engine] = Registry("segmentation engine", "packerlabimaging.engines")


def register_engine(cls: type[Engine]) -> type[Engine]:
    """Make an engine known to this program; usable as a class decorator."""
    return engines.register(cls)


def get_engine(name: str) -> Engine:
    """Return the engine called ``name``; the error lists those that there are."""
    return engines.get(name)()


def complete_settings(engine: Engine, given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the user's settings over the engine's defaults.

    Raises
    ------
    ParameterError
        If a name is unknown, or a value is of another kind than its default (number, text, yes or no); all faults at once.
    """
    faults: list[str] = []

    def merge(defaults: Mapping[str, Any], values: Mapping[str, Any], place: str) -> dict[str, Any]:
        for name in values:
            if name not in defaults:
                faults.append(f"'{place}{name}' is not a setting.{did_you_mean(name, defaults)}")
        merged: dict[str, Any] = {}
        for name, default in defaults.items():
            if isinstance(default, Setting):
                merged[name] = values.get(name, default.default)
                if not _same_kind(merged[name], default.default):
                    faults.append(
                        f"'{place}{name}' = {merged[name]!r} is not possible: {default.help} Default: {default.default!r}."
                    )
            elif isinstance(values.get(name, {}), Mapping):
                merged[name] = merge(default, values.get(name, {}), f"{place}{name}.")
            else:
                faults.append(f"'{place}{name}' is a section of settings, not a value.")
        return merged

    complete = merge(engine.settings(), given, "")
    if faults:
        raise ParameterError(f"Settings of the engine '{engine.name}' are wrong: " + " ".join(faults))
    return complete


def _same_kind(value: Any, default: Any) -> bool:
    """Say whether a value can stand for a default; a default of None, or that is no plain value, does not tell."""
    if isinstance(default, bool):
        return isinstance(value, (bool, np.bool_))
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return isinstance(value, str) or not isinstance(default, str)


def run_engine(
    name: str, job: EngineJob, folder: str | Path, *, settings: Mapping[str, Any] | None = None, progress: ProgressOption = None
) -> Segmentation:
    """Run an engine in a fresh folder and load the outcome.

    Parameters
    ----------
    name
        Name of the engine.
    job
        Movies, masks and metadata.
    folder
        A folder that does not exist yet, or is empty.
    settings
        Settings that differ from the engine's defaults.

    Raises
    ------
    StoreError
        If the folder holds files already: a run is never resumed half-way nor overwritten.
    EngineError
        If the engine fails; ``error.txt`` in the folder holds the traceback. Our own errors (a setting that makes no
        sense, a damaged movie) keep their type.
    """
    folder = Path(folder)
    engine = get_engine(name)
    complete = complete_settings(engine, settings or {})
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StoreError(f"The run folder '{folder}' is not empty. Give a new folder; runs are never overwritten.")
    description = {
        "engine": engine.name,
        "engine_version": engine.version,
        "settings": to_plain(complete),
        "trial_frames": {trial: list(frames) for trial, frames in job.trial_frames.items()},
        "rate_hz": job.rate_hz,
        "pixel_size_um": to_plain(job.pixel_size_um),
        "indicator_decay_s": job.indicator_decay_s,
        "n_artefact_frames": int(job.artefact_mask().sum()),
        "versions": engine.versions(),
        "started": now(),
        "finished": None,
    }
    write_json(folder / RUN_FILE, description)
    try:
        with progress_bar(progress, f"Segmentation ({name})") as report:
            engine.run(job, folder, complete, report)
    except PackerLabImagingError:
        (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        raise
    except Exception as error:
        (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        raise EngineError(
            f"The engine '{name}' failed: {type(error).__name__}: {error}. "
            f"Its files and the traceback (error.txt) are in '{folder}'."
        ) from error
    write_json(folder / RUN_FILE, {**description, "finished": now()})
    return load_run(folder)


class RunReader(Reader):
    """Reads the run folders that :func:`run_engine` makes, so that another experiment can adopt a run."""

    name = "packerlabimaging-run"
    kind = "segmentation"
    description = "a segmentation run of packerlabimaging, a folder with run.json"

    def detect(self, path: Path) -> bool:
        """Say whether the folder holds a ``run.json`` of ours; other programs write files of that name, too."""
        try:
            return (path / RUN_FILE).is_file() and b'"trial_frames"' in (path / RUN_FILE).read_bytes()
        except OSError:
            return False

    def open(self, path: Path) -> Segmentation:
        """Load the run; there are no options."""
        return load_run(path)

    def inspect(self, path: Path) -> Inspection:
        try:
            run = _description(path)
        except StoreError as error:
            return Inspection(str(path), self.name, self.kind, {}, (unreadable(error, path),))
        facts = {name: run.get(name) for name in ("engine", "engine_version", "started", "finished", "rate_hz", "trial_frames")}
        advice = "Run it again."
        unfinished = Finding("run-not-finished", "The run did not finish.", severity="error", where=str(path), advice=advice)
        return Inspection(str(path), self.name, self.kind, facts, () if run["finished"] else (unfinished,))


def _description(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        description["finished"], description["engine"], description["trial_frames"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"'{folder}' holds no segmentation run ({RUN_FILE} is missing or damaged). Run it again.") from error
    return description


def load_run(folder: str | Path) -> Segmentation:
    """Load a finished run that :func:`run_engine` made.

    Raises
    ------
    StoreError
        If the folder holds no finished run.
    """
    folder = Path(folder)
    description = _description(folder)
    if not description["finished"]:
        raise StoreError(f"The segmentation run in '{folder}' did not finish. Run it again.")
    trial_frames = {trial: (int(start), int(stop)) for trial, (start, stop) in description["trial_frames"].items()}
    engine = get_engine(description["engine"])
    try:
        loaded = engine.load(folder)
    except PackerLabImagingError:
        raise
    except Exception as error:  # whatever an engine's own files give when they are damaged
        raise StoreError(
            f"The segmentation run in '{folder}' is damaged: {type(error).__name__}: {error}. Run it again."
        ) from error
    made_by = loaded.engine or f"{description['engine']} {description['engine_version']}"
    return replace(loaded, trial_frames=trial_frames, source=str(folder), engine=made_by)
