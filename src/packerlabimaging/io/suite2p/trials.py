"""Which trial each file of a run belongs to: by paths and names, never by the order of an experiment.

Suite2p joins the files of several recordings into one run. Its own list of files and their frame counts say where each lies;
a file that is missing, that belongs to nobody, or that was joined out of order is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingInputError, ParameterError
from packerlabimaging.io.suite2p.frames import frames_of_files, matching_files, parts_of, shortened


@dataclass(frozen=True)
class Recording:
    """What is known of the recording of one trial.

    Parameters
    ----------
    id
        Id of the trial.
    path
        File or folder of its movie; None where it has none.
    n_frames
        Frames of its movie; None where nobody counted them.
    n_planes
        Planes of its movie.
    """

    id: str
    path: Path | None = None
    n_frames: int | None = None
    n_planes: int = 1


def split_run(segmentation: Segmentation, recordings: Sequence[Recording]) -> Segmentation:
    """Say which frames of an adopted Suite2p run belong to which trial.

    Parameters
    ----------
    segmentation
        From :class:`Suite2pReader`.
    recordings
        The trials that share the run, in any order. A trial's files are found by the path of its movie; where the run does not
        know that path, or there is none, by its id as a part of a name.

    Returns
    -------
    Segmentation
        With ``trial_frames``. Findings name files that belong to no trial, and numbers that are missing between the files of
        a trial whose frames nobody counted.

    Raises
    ------
    MissingInputError
        If the run did not read a trial.
    AmbiguousInputError
        If a file fits several trials, a trial fits several recordings, or its files are not next to each other.
    FormatError
        If the run does not record its files and frames, files of a trial are missing or too many, or were joined out of order.
    """
    ranges = frames_of_files(segmentation)
    files = list(ranges)
    taken = {one.id: _files_of(one, files, recordings, segmentation) for one in recordings}
    _check_apart(taken, files, segmentation)
    findings = list(segmentation.findings)
    trial_frames = {}
    for one in recordings:
        names = [files[index] for index in taken[one.id]]
        _check_order(one, names, segmentation)
        start, stop = ranges[names[0]][0], ranges[names[-1]][1]
        stop = _checked_stop(one, names, start, stop, segmentation, findings)
        trial_frames[one.id] = (start, stop)
    used = {index for indices in taken.values() for index in indices}
    if len(used) < len(files):
        unused = [file for index, file in enumerate(files) if index not in used]
        message = f"{len(unused)} of {len(files)} files of the run belong to none of the trials: {', '.join(shortened(unused))}."
        findings.append(Finding("run-files-unused", message, severity="info", where=segmentation.source))
    return replace(segmentation, trial_frames=trial_frames, findings=tuple(findings))


def _files_of(one: Recording, files: list[str], recordings: Sequence[Recording], segmentation: Segmentation) -> list[int]:
    """Return the positions of a trial's files in the run's list."""
    found: list[int] = []
    if one.path is not None:
        groups, shared = matching_files(files, str(one.path))
        if len(groups) > 1:
            places = ", ".join(shortened(["/".join(parts) for parts in groups]))
            raise AmbiguousInputError(
                f"'{one.path}' of trial '{one.id}' fits several recordings of the Suite2p run '{segmentation.source}': {places}. "
                "Give the movie by a longer path, as it was when the run was made."
            )
        found = next(iter(groups.values()), [])
        by_name_only = shared == 1 and len(found) == 1 and len(parts_of(files[found[0]])) > 1 and one.path.suffix != ""
        if by_name_only and len(files) > 1 and not _names(one.id, parts_of(files[found[0]])[-1]):
            found = []  # 'movie.tif' of another folder: a common name says nothing
    if not found:
        found = _files_named(one.id, files, [other.id for other in recordings])
    if not found and len(recordings) == 1 and len({parts_of(file)[:-1] for file in files}) == 1:
        total = segmentation.n_frames
        if one.n_frames == total or (one.n_frames is None and len(files) == 1):
            return list(range(len(files)))  # one recording and one trial: it was renamed
    if not found:
        where = f"'{one.path}'" if one.path is not None else "a movie"
        raise MissingInputError(
            f"The Suite2p run '{segmentation.source}' did not read {where} of trial '{one.id}'. It read: "
            f"{', '.join(shortened(files))}. Give the trial's movie by its path as it was then, or run an engine on all trials."
        )
    return found


def _files_named(trial: str, files: list[str], trials: Sequence[str]) -> list[int]:
    """Return the files that carry a trial's id: as a whole part of their path, else within one, unless a longer id fits."""
    parts = [parts_of(file) for file in files]
    whole = [index for index, names in enumerate(parts) if trial in names or (names and names[-1].split(".", 1)[0] == trial)]
    if whole:
        return whole
    longer = [other for other in trials if other != trial and trial in other]
    return [
        index
        for index, names in enumerate(parts)
        if any(_names(trial, name) and not any(_names(other, name) for other in longer) for name in names)
    ]


def _names(trial: str, name: str) -> bool:
    """Say whether a name holds an id, not as a part of a longer word or number."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(trial)}(?![A-Za-z0-9])", name) is not None


def _check_apart(taken: dict[str, list[int]], files: list[str], segmentation: Segmentation) -> None:
    owner: dict[int, str] = {}
    for trial, indices in taken.items():
        for index in indices:
            if index in owner:
                raise AmbiguousInputError(
                    f"The file '{files[index]}' of the Suite2p run '{segmentation.source}' fits both trial '{owner[index]}' and "
                    f"trial '{trial}'. Give the movies of both by longer paths, or by the paths that the run names."
                )
            owner[index] = trial
        if indices != list(range(indices[0], indices[0] + len(indices))):
            between = next(files[index] for index in range(indices[0], indices[-1]) if index not in indices)
            raise AmbiguousInputError(
                f"The files of trial '{trial}' are not next to each other in the Suite2p run '{segmentation.source}': "
                f"'{between}' lies between them, so that they are no single range of frames. Run Suite2p on whole recordings."
            )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that counts numbers within names."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", name)]


def _check_order(one: Recording, names: list[str], segmentation: Segmentation) -> None:
    for before, after in zip(names, names[1:], strict=False):
        if parts_of(before)[:-1] == parts_of(after)[:-1] and _natural(before) > _natural(after):
            raise FormatError(
                f"The Suite2p run '{segmentation.source}' joined files of trial '{one.id}' out of order: '{before}' comes before "
                f"'{after}'. Its frames are not in the order in which they were taken. Run Suite2p again with the files in order."
            )


def _checked_stop(
    one: Recording, names: list[str], start: int, stop: int, segmentation: Segmentation, findings: list[Finding]
) -> int:
    """Return the end of a trial's frames, compared with its movie."""
    if one.n_frames is None:
        absent = _missing_numbers(names)
        if absent:
            message = (
                f"Between the files of trial '{one.id}' in the run, {len(absent)} are missing: {', '.join(shortened(absent))}."
            )
            advice = "Give the trial's movie, so that frames can be compared."
            findings.append(Finding("run-files-missing", message, where=segmentation.source, advice=advice))
        return stop
    surplus = stop - start - one.n_frames
    if surplus == 1 and one.n_planes > 1:
        message = f"Trial '{one.id}' has one frame of an incomplete last volume in the run, which is left out."
        findings.append(Finding("incomplete-volume", message, severity="info", where=segmentation.source))
        return stop - 1
    if surplus == 0:
        return stop
    lacking, extra = _compared_with_disk(one, names)
    named = [
        f"{what}: {', '.join(shortened(listed))}."
        for what, listed in (
            ("Files that the run lacks", lacking or (_missing_numbers(names) if surplus < 0 else [])),
            ("Files that only the run has", extra),
        )
        if listed
    ]
    raise FormatError(
        f"Trial '{one.id}' has {one.n_frames} frames, its {len(names)} files in the Suite2p run '{segmentation.source}' have "
        f"{stop - start} ('{names[0]}'{f' to {names[-1]!r}' if len(names) > 1 else ''}). {' '.join(named)} "
        "Frame numbers would not fit. Run Suite2p again on the whole recording, or give the movie that it was run on."
    )


def _missing_numbers(names: list[str]) -> list[str]:
    """Return the names that are missing in a sequence whose last number counts up by one."""
    splits = [re.fullmatch(r"(.*?)(\d+)(\D*)", name, re.DOTALL) for name in names]
    if len(names) < 3 or not all(splits) or len({(found[1], found[3]) for found in splits if found}) != 1:
        return []
    numbers = [found[2] for found in splits if found]
    present = {int(number) for number in numbers}
    if max(present) - min(present) > 1_000_000:
        return []
    absent = [number for number in range(min(present), max(present) + 1) if number not in present]
    head, tail = (splits[0][1], splits[0][3]) if splits[0] else ("", "")
    return [f"{parts_of(f'{head}{number:0{len(numbers[0])}d}{tail}')[-1]}" for number in absent]


def _compared_with_disk(one: Recording, names: list[str]) -> tuple[list[str], list[str]]:
    """Return names of the trial's folder that the run lacks, and of the run that the folder lacks."""
    folder = one.path if one.path is not None and one.path.is_dir() else None
    if folder is None:
        return [], []

    def shape(name: str) -> str:
        return re.sub(r"\d+(?=\D*$)", "#", name)

    listed = {parts_of(name)[-1] for name in names}
    shapes = {shape(name) for name in listed}
    present = {file.name for file in folder.iterdir() if shape(file.name) in shapes}
    return sorted(present - listed, key=_natural), sorted(listed - present, key=_natural) if present else []


def check_single(segmentation: Segmentation, one: Recording) -> Segmentation:
    """Return a segmentation that one trial has for itself, if it is of as many frames as its movie.

    Raises
    ------
    ParameterError
        If not.
    """
    if one.n_frames is not None and segmentation.n_frames != one.n_frames:
        raise ParameterError(
            f"The segmentation '{segmentation.source}' has {segmentation.n_frames} frames, the movie of trial '{one.id}' "
            f"{one.n_frames}. They are not of the same recording, or the segmentation is of several. Give the one of this "
            "trial, or add the other trials that it was made of."
        )
    return segmentation
