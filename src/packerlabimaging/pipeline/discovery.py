"""Finding what lies in a folder: every recording that some reader recognises, and everything else by name.

Each file is accounted for once: as a recording, as a file of a recording, or as something else, of a known or unknown
format. Nothing that can't be read stops the search or hides its neighbours.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from packerlabimaging.errors import MissingFileError
from packerlabimaging.io.readers import Reader, find_readers
from packerlabimaging.pipeline.recognised import Recognised, recognise
from packerlabimaging.trials.experiment import EXPERIMENT_FILE

MAX_DEPTH = 12
IMAGE_SUFFIXES = (".tif", ".tiff")
RESULTS = Recognised("packerlabimaging-results", "results", "results of an experiment", "Look at them: pli status")

ALIKE = 20
"""Of the files of a folder whose names differ in digits only, this many are looked at: the rest is what these are."""


@dataclass(frozen=True)
class Recording:
    """One thing that was found: where it is, the reader that recognised it, and the files in its folder that belong to it.

    Parameters
    ----------
    path
        File or folder.
    reader
        The reader that recognised it.
    files
        Files that belong to it, by their format.
    """

    path: Path
    reader: Reader
    files: dict[str, list[Path]] = field(default_factory=dict, compare=False)

    @property
    def kind(self) -> str:
        """What it holds."""
        return self.reader.kind


@dataclass(frozen=True)
class Other:
    """Something that is no recording: recognised, unknown, or not readable.

    Parameters
    ----------
    path
        File or folder.
    known
        Its format; None where that is unknown.
    fault
        Why it could not be looked at; empty where it could.
    """

    path: Path
    known: Recognised | None = None
    fault: str = ""


@dataclass
class Survey:
    """Everything below a folder."""

    recordings: list[Recording] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)


def find_recordings(folder: str | Path, *, max_depth: int = MAX_DEPTH) -> list[Recording]:
    """Find every recording below a folder; see :func:`survey_folder` for what counts as one, and for errors."""
    return survey_folder(folder, max_depth=max_depth).recordings


def survey_folder(folder: str | Path, *, max_depth: int = MAX_DEPTH) -> Survey:
    """Find everything below a folder.

    A recognised folder is one recording, and what belongs to it is not listed again: the files of a movie with its reference
    images and projections, the target images of a protocol, the planes of a segmentation. Signals, a protocol or a
    segmentation inside a movie's folder are found, and so are recordings beside the ``suite2p/`` of a folder. Hidden files
    are left out; links to folders are named and not followed.

    Parameters
    ----------
    folder
        Where to look.
    max_depth
        How many folders deep.

    Raises
    ------
    MissingFileError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder '{folder}'. Check the path, and that its disk is connected.")
    survey = Survey()
    _search(folder, max_depth, survey, owner=None)
    return survey


def is_results_folder(folder: Path) -> bool:
    """Say whether a folder holds results of this package, which are never taken for raw data."""
    file = folder / EXPERIMENT_FILE
    if not os.path.isfile(file):  # Path.is_file fails in a folder without rights
        return False
    if (folder / "receipts").is_dir():
        return True
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and isinstance(values.get("id"), str) and isinstance(values.get("trial"), list)


def _search(folder: Path, depth: int, survey: Survey, *, owner: Recording | None) -> None:
    """Account for everything in a folder; ``owner`` is the movie whose folder it lies in."""
    if is_results_folder(folder):
        survey.others.append(Other(folder, RESULTS))
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        survey.others.append(Other(folder, fault=f"The folder can't be read: {error.strerror or error}."))
        return
    here = [reader for reader in _readers_of(folder, survey) if not _is_part_of(reader, owner)]
    if not here and (store := recognise(folder)) is not None:
        survey.others.append(Other(folder, store))
        return
    files = [entry for entry in entries if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=True)]
    here = sorted(here, key=lambda reader: reader.kind != "movie")  # files beside a movie are the movie's first
    own = [Recording(path, reader) for reader in here for path in _split_scans(folder, reader, files)]
    survey.recordings += own
    if own and all(recording.kind == "photostim" for recording in own):
        _take_all(folder, own[0], survey)
        return
    movie = next((recording for recording in own if recording.kind == "movie"), owner)
    segmentation = next((recording for recording in own if recording.kind == "segmentation"), None)
    _account(folder, files, own, movie, survey)
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=True):
            continue
        if entry.is_symlink():
            link = Recognised("link", "link", "link to a folder", "It is not followed; inspect where it leads.")
            survey.others.append(Other(path, link))
        elif segmentation is not None and any(reader.kind == "segmentation" for reader in _readers_of(path, survey)):
            _take_all(path, segmentation, survey)
        elif depth <= 0:
            survey.others.append(Other(path, fault="The folder lies too deep and was not searched; inspect it by itself."))
        else:
            _search(path, depth - 1, survey, owner=None if movie is None or movie.reader.generic else movie)


def _readers_of(path: Path, survey: Survey) -> list[Reader]:
    """Return the readers that recognise a path; a reader that fails on it is told, and hides nothing else."""
    try:
        return find_readers(path)
    except Exception as error:  # a defect, or a third party's reader: one bad file must not end the search
        survey.others.append(Other(path, fault=f"A reader failed on it: {type(error).__name__}: {error}"))
        return []


def _is_part_of(reader: Reader, owner: Recording | None) -> bool:
    """Say whether images in a folder below a movie's are its previews: plain TIFFs beside a program's own format."""
    return owner is not None and reader.kind == "movie" and reader.generic and not owner.reader.generic


def _split_scans(folder: Path, reader: Reader, files: list[os.DirEntry[str]]) -> list[Path]:
    """Return the folder, or the files to open instead where it holds several recordings of one program."""
    if reader.kind != "movie" or reader.generic:
        return [folder]
    candidates = [folder / entry.name for entry in files if not _is_image(entry.name) and entry.is_file()]
    heads = [path for path in candidates if path.suffix.lower() in (".xml", ".mat", ".json") and reader.detect(path)]
    return heads if len(heads) > 1 else [folder]


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _account(folder: Path, files: list[os.DirEntry[str]], own: list[Recording], movie: Recording | None, survey: Survey) -> None:
    """Give each file of a folder its place: part of a recording, a recording, something else."""
    taken = {recording.path for recording in own}
    here = own[0] if own else None
    alike: dict[str, _Alike] = {}
    for entry in files:
        path = folder / entry.name
        if path in taken:
            continue
        if movie is not None and _is_image(entry.name):  # thousands of frames need no second look
            movie.files.setdefault("tiff", []).append(path)
            continue
        group = alike.setdefault(re.sub(r"\d+", "#", entry.name), _Alike())
        if group.n_same >= ALIKE:
            _place(path, group.known, here, survey)
            continue
        if fault := _fault_of(entry):
            survey.others.append(Other(path, fault=fault))
            continue
        readers = [reader for reader in _readers_of(path, survey) if not _is_part_of(reader, movie)]
        if further := [reader for reader in readers if not _is_covered(reader, own)]:
            for reader in further:
                _add(Recording(path, reader), survey)
        elif readers:
            parent = next(recording for recording in own if recording.kind == readers[0].kind)
            parent.files.setdefault(readers[0].name, []).append(path)
        else:
            try:
                known = recognise(path)
            except OSError as error:
                survey.others.append(Other(path, fault=f"The file can't be read: {error.strerror or error}."))
                continue
            group.add(known)
            _place(path, known, here, survey)


def _is_covered(reader: Reader, own: list[Recording]) -> bool:
    """Say whether a file is part of the folder's own recordings; signals of another program are recordings of their own."""
    return any(
        recording.kind == reader.kind and (reader.kind != "signals" or recording.reader.name == reader.name) for recording in own
    )


def _add(recording: Recording, survey: Survey) -> None:
    """Add a recording, or its settings (XML) to the one of the same name and reader that holds its data."""
    path, name = recording.path, recording.reader.name
    if path.suffix.lower() == ".xml":
        for other in survey.recordings:
            if other.reader.name == name and other.path != path and other.path.with_suffix(path.suffix) == path:
                other.files.setdefault(name, []).append(path)
                return
    survey.recordings.append(recording)


@dataclass
class _Alike:
    """Files of one folder whose names differ in digits only: what those that were looked at turned out to be."""

    known: Recognised | None = None
    n_same: int = 0

    def add(self, known: Recognised | None) -> None:
        self.n_same = self.n_same + 1 if known == self.known else 1
        self.known = known


def _place(path: Path, known: Recognised | None, owner: Recording | None, survey: Survey) -> None:
    """Give a file that is no recording to the recording whose folder it lies in, or list it by itself."""
    part = owner is not None and known is not None and known.kind not in ("document", "behaviour", "container")
    if owner is not None and known is not None and (part or (owner.kind == "segmentation" and known.name == "numpy")):
        owner.files.setdefault(_part_name(known, owner), []).append(path)
    else:
        survey.others.append(Other(path, known))


def _fault_of(entry: os.DirEntry[str]) -> str:
    """Say why a file can't be looked at; empty where it can."""
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        return "It is a broken link." if entry.is_symlink() else f"The file can't be read: {error.strerror or error}."
    return "" if stat.S_ISREG(mode) else "It is a pipe, socket or device, not a file; it was not opened."


def _take_all(folder: Path, owner: Recording, survey: Survey) -> None:
    """Give every file below a folder to one recording."""
    for path in _walk(folder, survey):
        try:
            known = None if _is_image(path.name) else recognise(path)
        except OSError as error:
            survey.others.append(Other(path, fault=f"The file can't be read: {error.strerror or error}."))
            continue
        name = "tiff" if _is_image(path.name) else _part_name(known, owner)
        owner.files.setdefault(name, []).append(path)


def _part_name(known: Recognised | None, owner: Recording) -> str:
    """Name the format of a file of a recording: a bare array in a program's folder is that program's."""
    return owner.reader.name if known is None or known.kind == "container" else known.name


def _walk(folder: Path, survey: Survey) -> Iterator[Path]:
    def told(error: OSError) -> None:
        survey.others.append(Other(Path(error.filename), fault=f"The folder can't be read: {error.strerror}."))

    for place, folders, names in os.walk(folder, onerror=told):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and path.is_file():
                yield path
