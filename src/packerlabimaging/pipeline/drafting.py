"""Drafting an experiment file: pair the recordings below a folder and write a commented ``experiment.toml``.

Pairs are made by places, names, numbers of pulses and dates (see :mod:`~packerlabimaging.pipeline.pairing`). Each says why it
was made; what can't be told is left as a comment with its candidates and what speaks for each, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packerlabimaging._files import replacing
from packerlabimaging._progress import ProgressOption, progress_bar
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import ParameterError, StoreError, UnknownFormatError
from packerlabimaging.pipeline.discovery import Recording, find_recordings
from packerlabimaging.pipeline.draft_text import draft_text
from packerlabimaging.pipeline.evidence import MovieFacts, ProtocolFacts, SignalsFacts
from packerlabimaging.pipeline.pairing import Candidate, Choice, choose, choose_signals, protocol_candidates, signals_candidates

_INPUTS = {"signals": "sync", "photostim": "photostim"}
"""Inputs of a trial by the kind of recording."""

GENERIC_NAMES = {
    "raw",
    "rawdata",
    "raw_data",
    "raw-data",
    "data",
    "imaging",
    "recordings",
    "tseries",
    "2p",
    "two-photon",
    "packerlab",
}
"""Names of folders that say nothing about the experiment."""

_DATE = re.compile(r"(19|20)\d{2}[-_]?\d{2}[-_]?\d{2}")
_ANIMAL = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2,5}\d{2,5}(?![A-Za-z0-9])")
"""An animal's name as labs write it: some capitals and a number."""


@dataclass(frozen=True)
class Pair:
    """An input of a trial: where it is, the channels proposed, and why."""

    path: Path
    reasons: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    doubt: str = ""

    @property
    def reason(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True)
class DraftTrial:
    """One trial of a draft: its movie, the inputs paired with it with the reasons for each, and open choices.

    Parameters
    ----------
    id
        Name of the trial.
    movie
        Its movie.
    about
        What the movie is, in words.
    inputs, candidates
        Inputs that were chosen, and where none was, all that come into question.
    choices
        Options of the movie that must be chosen (``channel``, ``plane``), with the values that there are.
    fov
        Field of view; None where all trials have one.
    unknown
        Names of the metadata that a trial needs and the movie's files do not tell.
    """

    id: str
    movie: Path
    about: str = ""
    inputs: dict[str, Pair] = field(default_factory=dict)
    candidates: dict[str, tuple[Pair, ...]] = field(default_factory=dict)
    choices: dict[str, list[Any]] = field(default_factory=dict)
    fov: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def is_all_optical(self) -> bool:
        """True if there is a protocol, and signals to place it in time."""
        return {"sync", "photostim"} <= set(self.inputs)


@dataclass(frozen=True)
class Draft:
    """A drafted experiment: the text of its file, its trials, and what could not be told."""

    path: Path
    text: str
    trials: tuple[DraftTrial, ...]
    findings: tuple[Finding, ...]


def draft_experiment(
    raw_folder: str | Path,
    *,
    path: str | Path = "experiment.toml",
    overwrite: bool = False,
    progress: ProgressOption = None,
) -> Draft:
    """Find recordings, pair them, and write a commented experiment file.

    Signals are read as far as is needed to count the pulses of the frame clock and of the stimulation.

    Parameters
    ----------
    raw_folder
        Folder of raw data; only read.
    path
        The file to write; paths in it are relative to it.
    overwrite
        Replace an existing file.
    progress
        Show a progress bar.

    Raises
    ------
    UnknownFormatError
        If no movie was found that a trial can be made of.
    ParameterError
        If the file would lie inside a recording.
    StoreError
        If the file exists.
    """
    raw_folder, path = Path(raw_folder).resolve(), Path(path).resolve()
    if raw_folder.is_dir() and path.exists() and not overwrite:
        raise StoreError(f"'{path}' exists already. Choose another name with --output, or replace it with --force.")
    found = find_recordings(raw_folder)
    movies, findings = _movies(raw_folder, found)
    for recording in found:
        if recording.path.is_dir() and recording.path in path.parents and recording.kind != "segmentation":
            raise ParameterError(
                f"'{path}' would lie inside the raw data '{recording.path}'. Choose another place with --output."
            )
    trials = _pair(movies, found, progress)
    findings += _open_choices(trials, found)
    id, why = experiment_id(raw_folder, [recording.path for recording in found])
    segmentations = [recording.path for recording in found if recording.kind == "segmentation"]
    left_out = [(finding.where, finding.message) for finding in findings if finding.code == "movie-left-out"]
    text = draft_text(path, trials, id=id, why=why, segmentations=segmentations, left_out=left_out)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Draft(path, text, tuple(trials), tuple(findings))


def _movies(raw_folder: Path, found: Sequence[Recording]) -> tuple[list[MovieFacts], list[Finding]]:
    """Return the movies that trials can be made of, and findings about the others."""
    movies = [MovieFacts.read(recording) for recording in found if recording.kind == "movie"]
    findings = [
        Finding(
            "movie-left-out",
            f"'{movie.path.name}' is not taken as a trial: {movie.problem.removesuffix('.')}.",
            "warning" if movie.is_series else "info",
            str(movie.path),
        )
        for movie in movies
        if movie.problem
    ]
    usable = [movie for movie in movies if not movie.problem]
    if not usable:
        reasons = "\n".join(f"- {finding.message}" for finding in findings)
        kinds = ", ".join(sorted({recording.reader.name for recording in found})) or "nothing that a reader knows"
        links = [path.name for path in sorted(raw_folder.iterdir()) if path.is_symlink() and path.is_dir()]
        linked = f" Links to folders are not followed ({', '.join(links[:5])}): give where they lead." if links else ""
        raise UnknownFormatError(
            f"No movie that a trial can be made of was found in '{raw_folder}' (found: {kinds}).{linked} "
            f"Check with: pli inspect '{raw_folder}'" + (f"\n{reasons}" if reasons else "")
        )
    return usable, findings


def experiment_id(raw_folder: Path, recordings: Sequence[Path]) -> tuple[str, str]:
    """Return a name for the experiment, and where it is from.

    It is the folder's name, where that says something, else the animal's in the names of the recordings, else that of the
    nearest folder above; where the folder is a day's, the day is added.
    """
    is_date = _DATE.fullmatch(raw_folder.name) is not None
    if raw_folder.name.lower() not in GENERIC_NAMES and not is_date:
        return _clean(raw_folder.name) or "experiment", "the folder's name"
    day = f"_{raw_folder.name}" if is_date else ""
    animals = {found for path in recordings for found in _ANIMAL.findall(path.name.replace("_", " "))}
    if len(animals) == 1:
        return f"{animals.pop()}{day}", "in the names of its recordings"
    for parent in raw_folder.parents:
        if parent.name.lower() not in GENERIC_NAMES and _clean(parent.name):
            return f"{_clean(parent.name)}{day}"[:100], f"the name of the folder above '{raw_folder.name}'"
    return _clean(raw_folder.name) or "experiment", "the folder's name"


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:100]


def _trial_ids(movies: Sequence[MovieFacts]) -> list[str]:
    """Name trials after their movies: ``t-013`` where the name holds it; a second one of a name gets a number."""
    ids: list[str] = []
    for movie in movies:
        name = movie.path.name.split(".")[0] if movie.path.is_file() else movie.path.name
        trial = re.search(r"(?<![A-Za-z])t-\d+", name)
        wanted = trial.group() if trial else _clean(name)[:90] or "trial"
        number, id = 2, wanted
        while id.lower() in (other.lower() for other in ids):
            id, number = f"{wanted}-{number}", number + 1
        ids.append(id)
    return ids


def _fields_of_view(movies: Sequence[MovieFacts]) -> list[str | None]:
    """Name the fields of view apart where movies can't be of one: other frame size, pixel size or rate."""
    keys = []
    for movie in movies:
        metadata = movie.metadata
        assert metadata is not None
        rate = None if metadata.frame_rate_hz is None else round(metadata.frame_rate_hz, 0 if metadata.frame_rate_hz > 5 else 1)
        keys.append((metadata.frame_shape_px, metadata.pixel_size_um, metadata.n_planes, rate))
    distinct = list(dict.fromkeys(keys))
    return [f"fov-{distinct.index(key) + 1}" if len(distinct) > 1 else None for key in keys]


def _pair(movies: Sequence[MovieFacts], found: Sequence[Recording], progress: ProgressOption) -> list[DraftTrial]:
    signals = {recording.path: SignalsFacts.read(recording) for recording in found if recording.kind == "signals"}
    protocols = [ProtocolFacts.read(recording) for recording in found if recording.kind == "photostim"]
    with progress_bar(progress if signals else False, "Counting pulses") as report:
        for done, recorded in enumerate(signals.values()):
            signals_candidates(movies, [recorded])  # reads the frame clocks, which are kept
            report(done + 1, len(signals))
        syncs = choose_signals(signals_candidates(movies, list(signals.values())))
        synced = {
            movie: (signals[choice.chosen.path], choice.chosen)
            for movie, choice in syncs.items()
            if choice.chosen is not None and not choice.chosen.problem
        }
        stims = {
            movie: choose(candidates, n_movies=len(movies))
            for movie, candidates in protocol_candidates(movies, protocols, synced).items()
        }
    trials = []
    for id, movie, fov in zip(_trial_ids(movies), movies, _fields_of_view(movies), strict=True):
        trial = DraftTrial(id, movie.path, movie.describe(), choices=movie.choices, fov=fov, unknown=movie.unknown)
        sync, photostim = syncs[movie.path], stims[movie.path]
        if sync.chosen is not None and photostim.chosen is not None:
            sync.chosen.options |= photostim.chosen.options  # the channel of the stims is an option of the signals
        _enter(trial, "sync", sync)
        if trial.inputs or trial.candidates or photostim.by == "name":  # without signals no protocol can be placed in time
            _enter(trial, "photostim", photostim)
        trials.append(trial)
    return trials


def _enter(trial: DraftTrial, name: str, choice: Choice) -> None:
    if choice.chosen is not None:
        trial.inputs[name] = _pair_of(choice.chosen, name, choice.doubt)
    elif choice.others:
        viable = [candidate for candidate in choice.others if candidate.name is not None or not candidate.contradicted]
        trial.candidates[name] = tuple(_pair_of(candidate, name) for candidate in sorted(viable or choice.others, key=_likeliest))


def _pair_of(candidate: Candidate, name: str, doubt: str = "") -> Pair:
    return Pair(candidate.path, candidate.reasons, dict(candidate.options) if name == "sync" else {}, doubt)


def _likeliest(candidate: Candidate) -> tuple[bool, int]:
    supports = (candidate.name, candidate.number, candidate.data, candidate.time)
    return candidate.contradicted, -sum(support.weight for support in supports if support is not None)


def _open_choices(trials: Sequence[DraftTrial], found: Sequence[Recording]) -> list[Finding]:
    """Tell what was left open, what is doubtful, and what was not used."""
    findings = []
    for trial in trials:
        where = str(trial.movie)
        for name, pairs in trial.candidates.items():
            message = f"Which {name} belongs to trial '{trial.id}' can't be told: {_counted(len(pairs))} in the file as comments."
            evidence = {"candidates": [str(pair.path) for pair in pairs]}
            findings.append(Finding("input-not-paired", message, "warning", where, "Uncomment the right one.", evidence))
        for name, values in trial.choices.items():
            message = f"The movie of trial '{trial.id}' has several {name}s: {', '.join(map(str, values))}."
            findings.append(Finding("movie-choice", message, "warning", where, f"Choose the {name} in the file."))
        for name, pair in trial.inputs.items():
            if pair.doubt:
                message = f"'{pair.path.name}' is the {name} of trial '{trial.id}', but {pair.doubt}: {pair.reason}."
                findings.append(Finding("doubtful-pair", message, "warning", where, "Check it."))
        if "photostim" in trial.inputs and not trial.is_all_optical:
            message = f"Trial '{trial.id}' has a protocol, but no signals to tell when it was run."
            findings.append(Finding("no-stim-times", message, "warning", where, "Give its signals as sync."))
    return findings + _unused(trials, found)


def _counted(number: int) -> str:
    return "one candidate stands" if number == 1 else f"{number} candidates stand"


def _unused(trials: Sequence[DraftTrial], found: Sequence[Recording]) -> list[Finding]:
    findings = []
    offered = {pair.path for trial in trials for pairs in trial.candidates.values() for pair in pairs}
    for recording in found:
        input_name = _INPUTS.get(recording.kind, "")
        pairs = [(trial.id, trial.inputs[input_name]) for trial in trials if input_name in trial.inputs]
        owners = [id for id, pair in pairs if pair.path == recording.path]
        if len(owners) > 1:
            message = f"'{recording.path.name}' is paired with several trials: {', '.join(owners)}."
            advice = "Right where one file holds several t-series, or one protocol was run several times."
            findings.append(Finding("input-shared", message, "warning", str(recording.path), advice))
        elif not owners and input_name and recording.path not in offered:
            message = f"'{recording.path.name}' ({recording.reader.name}) belongs to no trial."
            findings.append(Finding("recording-unused", message, "info", str(recording.path)))
    return findings
