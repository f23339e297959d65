"""Inspecting any path: a recording, a folder of recordings, or a results folder."""

from __future__ import annotations

import json
from pathlib import Path

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import PackerLabImagingError, StoreError, UnknownFormatError
from packerlabimaging.io.readers import Inspection, inspect_path, readers
from packerlabimaging.pipeline.discovery import Recording, find_recordings
from packerlabimaging.trials.experiment import EXPERIMENT_FILE


def inspect_all(path: str | Path) -> list[Inspection]:
    """Describe a file or folder; a folder that is no recording itself is searched for some.

    Raises
    ------
    MissingFileError
        If there is no such path.
    UnknownFormatError
        If nothing in it is recognised.
    """
    path = Path(path)
    found = inspect_path(path)
    if path.is_dir() and (path / EXPERIMENT_FILE).is_file():
        return [_inspect_results(path), *found]
    if not found and path.is_dir():
        found = [_inspect(recording) for recording in find_recordings(path)]
    if not found:
        known = "; ".join(f"{cls.name} ({cls.description})" for cls in readers.all().values())
        what = "What lies in the folder" if path.is_dir() else "The file"
        raise UnknownFormatError(f"{what} '{path}' is not of a format that a reader knows. Readers: {known}.")
    return found


def _inspect(recording: Recording) -> Inspection:
    """Describe one of several recordings; a damaged one must not hide the others."""
    try:
        return recording.reader.inspect(recording.path)
    except (PackerLabImagingError, OSError) as error:
        finding = Finding("unreadable", str(error), severity="error", where=str(recording.path))
        return Inspection(str(recording.path), recording.reader.name, recording.kind, findings=(finding,))


def _inspect_results(path: Path) -> Inspection:
    """Describe a results folder, also one of trial types that are not known here."""
    file = path / EXPERIMENT_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        facts = {"experiment": values["id"], "trials": [trial["id"] for trial in values["trial"]]}
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"'{file}' is damaged ({error!r}). Run the experiment again to write it anew.") from error
    receipts = sorted(receipt.stem for receipt in (path / "receipts").glob("*.json"))
    findings = () if receipts else (Finding("no-results", "No step has finished.", severity="info", advice="Run: pli run"),)
    return Inspection(str(path), "packerlabimaging results", "results", {**facts, "finished_steps": receipts}, findings)
