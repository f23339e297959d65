"""Stimulus-triggered averages as files: of the trials of an experiment, or of a movie and signals on their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from packerlabimaging import analysis as tl
from packerlabimaging._check import check_choice, check_length, check_positive
from packerlabimaging._optional import import_optional
from packerlabimaging.analysis.sta import Sta, StaSettings
from packerlabimaging.analysis.sta_images import Method
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError, StoreError
from packerlabimaging.export import write_sta
from packerlabimaging.io.readers import open_movie, open_signals
from packerlabimaging.io.untrusted.mat import read_mat
from packerlabimaging.trials import Experiment

STA_FOLDER = "sta"
_ORDER_VARIABLES = ("oris", "order", "stimOrder", "stim_order")


@dataclass(frozen=True, kw_only=True)
class StaOptions:
    """What is averaged and written.

    Parameters
    ----------
    kinds
        ``"all"`` stims are of one kind, or each ``"group"`` of targets is, or a number of kinds that repeat in turn, or the kind
        of each stim (empty: it is left out).
    first_stim
        One-based number of the first stim that counts; kinds in turn begin with it.
    between_s
        Stims with an onset before the first or from the second time on are left out, seconds of the signals.
    settings
        Windows; None for STAMovieMaker's.
    artefacts
        ``"nan"``: frames that stimulation light reached are left out (of an experiment); ``"keep"``: they are averaged.
    method, threshold, mp4
        See :func:`packerlabimaging.export.write_sta`.
    single_stims
        Write the raw frames of every stim too.
    """

    kinds: Literal["all", "group"] | int | Sequence[str] = "all"
    first_stim: int = 1
    between_s: tuple[float, float] | None = None
    settings: StaSettings | None = None
    artefacts: Literal["nan", "keep"] = "nan"
    method: Method = "dff"
    threshold: float | None = None
    single_stims: bool = False
    mp4: bool = False

    def __post_init__(self) -> None:
        check_choice("artefacts", self.artefacts, ("nan", "keep"))
        check_choice("method", self.method, ("df", "dff", "z"))
        if isinstance(self.kinds, str):
            check_choice("kinds", self.kinds, ("all", "group"))
        if self.mp4:  # before the movie is read, which may take long
            import_optional("imageio_ffmpeg", extra="video", purpose="Writing MP4")
        check_positive("first_stim", self.first_stim)
        if isinstance(self.kinds, int):
            check_positive("number of kinds", self.kinds)
        if self.kinds == "group" and (self.first_stim > 1 or self.between_s is not None):
            raise ParameterError("Groups of targets can't be averaged over some stims only. Leave out first_stim and between_s.")

    def kinds_of(self, onsets_s: np.ndarray) -> list[str]:
        """Return the kind of each stim, empty for those that are left out.

        Raises
        ------
        ParameterError
            If kinds are given, but not one per stim.
        """
        if isinstance(self.kinds, int):
            kinds = [str((stim - self.first_stim + 1) % self.kinds + 1) for stim in range(len(onsets_s))]
        elif self.kinds == "all":
            kinds = ["stim"] * len(onsets_s)
        else:
            kinds = list(self.kinds)
            check_length("kinds", kinds, len(onsets_s), per="stim")
        start_s, stop_s = self.between_s or (-np.inf, np.inf)
        counts = (np.arange(len(onsets_s)) + 1 >= self.first_stim) & (onsets_s >= start_s) & (onsets_s < stop_s)
        return [kind if counted else "" for kind, counted in zip(kinds, counts.tolist(), strict=True)]


@dataclass(frozen=True)
class StaFiles:
    """Files of one plane's averages, the number of stims of each kind, and what was noticed."""

    name: str
    files: tuple[Path, ...]
    n_stims: dict[str, int]
    findings: tuple[Finding, ...]


def sta_of_experiment(
    experiment: Experiment,
    *,
    trials: Sequence[str] = (),
    folder: str | Path | None = None,
    options: StaOptions | None = None,
    progress: bool = True,
) -> list[StaFiles]:
    """Average the raw movies of an experiment's trials around their stims, and write the averages.

    Parameters
    ----------
    experiment
        Its trials must have been synchronised.
    trials
        Trials by id; all that have stims by default.
    folder
        Where to write; ``sta/<trial>`` in the experiment's results by default.
    options
        What is averaged and written.

    Raises
    ------
    ParameterError
        If a trial has no stimulation.
    StoreError
        If the folder holds averages of the trial already.
    """
    options = options or StaOptions()
    able = [trial for trial in experiment if callable(getattr(trial, "sta", None))]
    chosen = [experiment[trial] for trial in trials] if trials else able
    for trial in chosen:
        if trial not in able:
            raise ParameterError(f"The trial '{trial.id}' has no stims to average around. {_listed(able)}")
    if not chosen:
        raise ParameterError(f"No trial of the experiment '{experiment.id}' has stims to average around.")
    written = []
    for trial in chosen:
        given: Any = trial
        target = experiment.output / STA_FOLDER / trial.id if folder is None else Path(folder)
        plane = given.inputs["movie"].options.get("plane") or 0
        _check_free(target, trial.id, plane)
        kinds = "group" if options.kinds == "group" else options.kinds_of(given.stims["onset_s"].to_numpy(np.float64))
        sta = given.sta(kinds=kinds, settings=options.settings, artefacts=options.artefacts, progress=progress)
        written.append(_write(target, sta, trial.id, plane, options, given.movie, given.metadata.pixel_size_um))
    return written


def sta_of_files(
    movie: str | Path,
    signals: str | Path,
    folder: str | Path,
    *,
    frame_clock: str = "frame_clock",
    stim: str = "markpoints2packio",
    planes: Sequence[int] = (),
    channel: str | int | None = None,
    options: StaOptions | None = None,
    progress: bool = True,
) -> list[StaFiles]:
    """Average any movie around the pulses of a channel, and write the averages: no experiment is needed.

    Parameters
    ----------
    movie, signals
        Files or folders, of any format that a reader knows.
    folder
        Where to write.
    frame_clock, stim
        Channels of the frame clock and of the stims' trigger pulses.
    planes, channel
        Zero-based planes and the channel of the movie, where there are several.
    options
        What is averaged and written; artefacts are unknown here, so that all frames are averaged.

    Raises
    ------
    SyncError
        If the pulses can't be matched to the frames; the findings are listed.
    StoreError
        If the folder holds averages of this movie already.
    """
    options = options or StaOptions()
    if options.kinds == "group":
        raise ParameterError("Groups of targets are known to an experiment only. Give the kind of each stim, or an experiment.")
    recorded, written = open_signals(signals), []
    chosen: Sequence[int | None] = planes or (None,)
    for plane in chosen:
        _check_free(Path(folder), Path(movie).stem, plane or 0)
        opened = open_movie(movie, plane=plane, channel=channel)
        frames = tl.ImagedFrames.of(opened, plane=plane or 0)
        audit = tl.audit_sync(recorded, frames, frame_clock=frame_clock, stim=stim)
        onsets = audit.stims["onset_s"].to_numpy(np.float64)
        kinds = options.kinds_of(onsets)
        sta = tl.compute_sta(opened, audit.clock, onsets, kinds=kinds, settings=options.settings, progress=progress)
        made = _write(Path(folder), sta, Path(movie).stem, plane or 0, options, opened, opened.metadata.pixel_size_um)
        written.append(StaFiles(made.name, made.files, made.n_stims, (*audit.findings, *made.findings)))
    return written


def _check_free(folder: Path, name: str, plane: int) -> None:
    """Raise if there are averages already: before the movie is read, not after."""
    first = folder / f"{name}_Stim1_STA_Plane{plane + 1}_raw.tif"
    if first.exists():
        raise StoreError(
            f"'{folder}' holds averages of '{name}' already ({first.name}, ...); nothing is overwritten. "
            "Give another folder (--out FOLDER), or move them away."
        )


def _listed(trials: Sequence[Any]) -> str:
    return f"Trials that have: {', '.join(trial.id for trial in trials) or 'none'}."


def read_stim_order(path: str | Path, *, variable: str | None = None) -> list[str]:
    """Read the kind of each stim from a file: text with one a line, ``.npy``, or ``.mat``.

    Parameters
    ----------
    path
        The file.
    variable
        Variable of a MATLAB file; by default ``oris`` (STAMovieMaker's), ``order``, ``stimOrder`` or ``stim_order``.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it holds no list of kinds.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path.")
    if path.suffix.lower() == ".mat":
        names = (variable,) if variable else _ORDER_VARIABLES
        found = next((value for name in names if (value := read_mat(path, name)) is not None), None)
        if not isinstance(found, np.ndarray):
            raise FormatError(
                f"'{path}' has no numbers called {', '.join(names)}. Name the variable that holds the stims' order."
            )
        values = found.ravel()
    elif path.suffix.lower() == ".npy":
        from packerlabimaging.io.untrusted.npy import open_npy

        values = np.asarray(open_npy(path, ndim=1)).ravel()
    else:
        text = path.read_text(encoding="utf-8-sig", errors="replace").replace(",", "\n")
        return [line.strip() for line in text.splitlines() if line.strip()]
    if not np.issubdtype(values.dtype, np.number) or not np.all(np.isfinite(values)):
        raise FormatError(f"'{path}' does not hold numbers only. Expected the kind of each stim, in their order.")
    return [f"{value:g}" for value in values]


def _write(
    folder: Path, sta: Sta, name: str, plane: int, options: StaOptions, movie: Any, pixel_size_um: tuple[float, float] | None
) -> StaFiles:
    files = write_sta(
        folder,
        sta,
        name=name,
        plane=plane,
        method=options.method,
        movie=movie if options.single_stims else None,
        threshold=options.threshold,
        pixel_size_um=pixel_size_um,
        mp4=options.mp4,
    )
    counts = dict(zip(sta.kinds, (int(n) for n in sta.n_stims), strict=True))
    return StaFiles(f"{name}, plane {plane + 1}", tuple(files), counts, sta.findings)
