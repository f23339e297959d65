"""Inspecting any path: a recording, a folder of recordings, or a results folder."""

from __future__ import annotations

import json
from pathlib import Path

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import UnknownFormatError
from packerlabimaging.io.readers import Inspection, inspect_path, readers
from packerlabimaging.pipeline.discovery import find_recordings
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
        found = [recording.reader.inspect(recording.path) for recording in find_recordings(path)]
    if not found:
        known = "; ".join(f"{cls.name} ({cls.description})" for cls in readers.all().values())
        what = "What lies in the folder" if path.is_dir() else "The file"
        raise UnknownFormatError(f"{what} '{path}' is not of a format that a reader knows. Readers: {known}.")
    return found


def _inspect_results(path: Path) -> Inspection:
    values = json.loads((path / EXPERIMENT_FILE).read_text(encoding="utf-8"))
    trials = [trial.get("id") for trial in values.get("trial", [])]
    receipts = sorted(file.stem for file in (path / "receipts").glob("*.json"))
    findings = () if receipts else (Finding("no-results", "No step has finished.", severity="info", advice="Run: pli run"),)
    facts = {"experiment": values.get("id"), "trials": trials, "finished_steps": receipts}
    return Inspection(str(path), "packerlabimaging results", "results", facts, findings)
