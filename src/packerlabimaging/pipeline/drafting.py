"""Drafting an experiment file: pair the recordings below a folder and write a commented ``experiment.toml``.

Pairs are made by the numbers and words in names (``t-013``, ``..._013.paq``, ``ps_013``), and where there is only one
candidate. Each pair says why it was made; what can't be told is left as a comment with its candidates, never guessed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packerlabimaging._files import replacing
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import ParameterError, StoreError, UnknownFormatError
from packerlabimaging.pipeline.discovery import Recording, find_recordings

_INPUTS = {"signals": "sync", "photostim": "photostim"}


@dataclass(frozen=True)
class DraftTrial:
    """One trial of a draft: its movie, the inputs paired with it with the reason for each, and open choices."""

    id: str
    movie: Path
    inputs: dict[str, tuple[Path, str]] = field(default_factory=dict)
    candidates: dict[str, tuple[Path, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """A drafted experiment: the text of its file, its trials, and what could not be told."""

    path: Path
    text: str
    trials: tuple[DraftTrial, ...]
    findings: tuple[Finding, ...]


def draft_experiment(raw_folder: str | Path, *, path: str | Path = "experiment.toml", overwrite: bool = False) -> Draft:
    """Find recordings, pair them, and write a commented experiment file.

    Parameters
    ----------
    raw_folder
        Folder of raw data; only read.
    path
        The file to write; paths in it are relative to it.
    overwrite
        Replace an existing file.

    Raises
    ------
    UnknownFormatError
        If no movie was found.
    ParameterError
        If the file would lie inside a recording.
    StoreError
        If the file exists.
    """
    raw_folder, path = Path(raw_folder).resolve(), Path(path).resolve()
    if path.exists() and not overwrite:
        raise StoreError(f"'{path}' exists already. Choose another name with --output, or replace it with --force.")
    found = find_recordings(raw_folder)
    movies = [recording for recording in found if recording.kind == "movie"]
    if not movies:
        kinds = ", ".join(sorted({recording.reader.name for recording in found})) or "nothing that a reader knows"
        raise UnknownFormatError(f"No movie was found in '{raw_folder}' (found: {kinds}). Check with: pli inspect '{raw_folder}'")
    for recording in found:
        if recording.path.is_dir() and recording.path in path.parents:
            raise ParameterError(
                f"'{path}' would lie inside the raw data '{recording.path}'. Choose another place with --output."
            )
    trials = _pair(movies, found)
    findings = tuple(_open_choices(trials, found))
    text = _text(raw_folder, path, trials, [recording.path for recording in found if recording.kind == "segmentation"])
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Draft(path, text, tuple(trials), findings)


def _trial_id(path: Path) -> str:
    name = path.name.split(".")[0] if path.is_file() else path.name
    trial = re.search(r"t-\d+", name)
    return trial.group() if trial else re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._") or "trial"


def _numbers(path: Path) -> set[str]:
    """Return the trial numbers in a name: digits of two or more that are not dates or times."""
    return {
        number.lstrip("0") or "0" for number in re.findall(r"(?<!\d)\d{2,4}(?!\d)", re.sub(r"\d{4}-\d{2}-\d{2}", "", path.name))
    }


def _pair(movies: Sequence[Recording], found: Sequence[Recording]) -> list[DraftTrial]:
    ids = [_trial_id(movie.path) for movie in movies]
    trials = []
    for index, movie in enumerate(movies):
        trial_id = ids[index] if ids.count(ids[index]) == 1 else f"{ids[index]}-{ids[: index + 1].count(ids[index])}"
        trial = DraftTrial(trial_id, movie.path)
        for kind, name in _INPUTS.items():
            candidates = [recording.path for recording in found if recording.kind == kind]
            chosen, reason = _choose(movie.path, candidates, n_movies=len(movies))
            if chosen is not None:
                trial.inputs[name] = (chosen, reason)
            elif candidates:
                trial.candidates[name] = tuple(candidates)
        trials.append(trial)
    return trials


def _choose(movie: Path, candidates: Sequence[Path], *, n_movies: int) -> tuple[Path | None, str]:
    inside = [path for path in candidates if movie in path.parents]
    if len(inside) == 1:
        return inside[0], "lies in the movie's folder"
    same = [path for path in candidates if movie.name in path.name or path.stem == movie.stem]
    if len(same) == 1:
        return same[0], "has the movie's name"
    shared = [(path, _numbers(path) & _numbers(movie)) for path in candidates]
    numbered = [(path, numbers) for path, numbers in shared if numbers]
    if len(numbered) == 1:
        return numbered[0][0], f"shares the number {', '.join(sorted(numbered[0][1]))} with the movie's name"
    if len(candidates) == 1 and n_movies == 1:
        return candidates[0], "is the only one, as is the movie"
    return None, ""


def _open_choices(trials: Sequence[DraftTrial], found: Sequence[Recording]) -> list[Finding]:
    findings = [
        Finding(
            "input-not-paired",
            f"No {name} could be told for trial '{trial.id}'; {len(paths)} candidates are in the file as comments.",
            where=str(trial.movie),
            advice="Uncomment the right one.",
            evidence={"candidates": [str(path) for path in paths]},
        )
        for trial in trials
        for name, paths in trial.candidates.items()
    ]
    used = {path for trial in trials for path, _ in trial.inputs.values()}
    for recording in found:
        owners = [trial.id for trial in trials for path, _ in trial.inputs.values() if path == recording.path]
        if len(owners) > 1:
            message = f"'{recording.path.name}' was paired with several trials: {', '.join(owners)}."
            findings.append(Finding("input-shared", message, where=str(recording.path), advice="Check that this is right."))
        if recording.kind in _INPUTS and recording.path not in used and not any(trial.candidates for trial in trials):
            message = f"'{recording.path.name}' ({recording.reader.name}) was paired with no trial."
            findings.append(Finding("recording-unused", message, severity="info", where=str(recording.path)))
    return findings


def _text(raw_folder: Path, path: Path, trials: Sequence[DraftTrial], segmentations: Sequence[Path]) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", raw_folder.name).strip("-._") or "experiment"
    lines = [
        "# Drafted by `pli init`. Look through it, mend what is wrong, then: pli run " + path.name,
        "# Paths are relative to this file.",
        "schema = 1",
        f'id = "{name}"',
        f'output = "results/{name}"          # never inside raw data',
        "",
        "[segmentation]",
        'engine = "quick"                 # for first looks; "suite2p" for results (pip install "packerlabimaging[suite2p]")',
    ]
    lines += [
        f"# path = {_quoted(folder, path)}   # or adopt this existing run, instead of the engine" for folder in segmentations
    ]
    for trial in trials:
        kind = "AllOpticalTrial" if "photostim" in trial.inputs else "TwoPhotonImagingTrial"
        lines += [
            "",
            "[[trial]]",
            f'id = "{trial.id}"',
            f'type = "{kind}"',
            "[trial.inputs]",
            f"movie = {_quoted(trial.movie, path)}",
        ]
        for name, (place, reason) in trial.inputs.items():
            lines.append(f"{name} = {_quoted(place, path)}   # {reason}")
        for name, candidates in trial.candidates.items():
            lines += [f"# {name} = {_quoted(place, path)}   # one of several candidates" for place in candidates]
    return "\n".join(lines) + "\n"


def _quoted(target: Path, file: Path) -> str:
    try:
        text = Path(os.path.relpath(target, file.parent)).as_posix()
    except ValueError:  # another drive
        text = target.as_posix()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"The name of {text!r} is not valid text, so no experiment file can hold it. Rename it.") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's, but for this one
