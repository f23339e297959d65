"""Inspecting any path: a recording, a folder of recordings and other things, or a results folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import PackerLabImagingError, UnknownFormatError
from packerlabimaging.io.readers import Inspection, Reader, find_readers, readers
from packerlabimaging.pipeline.discovery import RESULTS, Other, Recording, is_results_folder, survey_folder
from packerlabimaging.pipeline.recognised import recognise
from packerlabimaging.trials.experiment import EXPERIMENT_FILE

UNKNOWN = "unknown"


def inspect_all(path: str | Path) -> list[Inspection]:
    """Describe a file, or everything in a folder: recordings first, then what else lies there.

    What can't be read becomes a finding of the thing that it concerns, so that it hides nothing else.

    Parameters
    ----------
    path
        File or folder.

    Returns
    -------
    list of Inspection
        Of a recording, ``format`` is the name of its reader and ``files`` names the files that belong to it. Files that no
        reader opens have the format that they were recognised as, or ``"unknown"``.

    Raises
    ------
    MissingFileError
        If there is no such path.
    UnknownFormatError
        If it is a file of an unknown format, or an empty folder.
    """
    path = Path(path)
    if path.is_dir():
        found = _inspect_folder(path)
        if not found:
            raise UnknownFormatError(f"The folder '{path}' is empty. Give a folder of raw data or of results.")
        return found
    recognised = [_inspect(Recording(path, reader)) for reader in find_readers(path)]
    if recognised:
        return recognised
    known = recognise(path) if path.is_file() else None
    if known is not None:
        return [_describe(Other(path, known))]
    listed = "; ".join(f"{cls.name} ({cls.description})" for cls in readers.all().values())
    raise UnknownFormatError(f"The file '{path}' is not of a format that a reader knows. Readers: {listed}.")


def _inspect_folder(path: Path) -> list[Inspection]:
    if is_results_folder(path):  # an engine's run, or a folder that is both
        return [_inspect_results(path), *(_inspect(Recording(path, reader)) for reader in find_readers(path))]
    survey = survey_folder(path)
    found = [_inspect(recording) for recording in survey.recordings]
    return found + [_inspect_results(other.path) if other.known is RESULTS else _describe(other) for other in survey.others]


def _inspect(recording: Recording) -> Inspection:
    """Describe a recording; a damaged one must not hide the others."""
    path, reader = recording.path, recording.reader
    try:
        found = reader.inspect(path)
    except (PackerLabImagingError, OSError) as error:
        found = _failed(path, reader, Finding("unreadable", str(error), "error", where=str(path)))
    except Exception as error:  # a defect, or a third party's reader: it is told, and the others are described
        message = f"The reader '{reader.name}' failed: {type(error).__name__}: {error}."
        advice = "Please report this, with the file if you can."
        found = _failed(path, reader, Finding("reader-failed", message, "error", str(path), advice))
    files = {name: tuple(str(file) for file in paths) for name, paths in sorted(recording.files.items())}
    return replace(found, files={**found.files, **files})


def _failed(path: Path, reader: Reader, finding: Finding) -> Inspection:
    return Inspection(str(path), reader.name, reader.kind, findings=(finding,))


def _describe(other: Other) -> Inspection:
    """Describe something that no reader opens."""
    path = str(other.path)
    if other.fault:
        finding = Finding("not-looked-at", other.fault, "warning", where=path)
        return Inspection(path, UNKNOWN, UNKNOWN, findings=(finding,))
    size = {"size_bytes": other.path.stat().st_size} if other.path.is_file() else {}
    if other.known is None:
        return Inspection(path, UNKNOWN, UNKNOWN, size)
    facts = {"what": other.known.what, **size}
    if other.known.advice:
        facts["advice"] = other.known.advice
    return Inspection(path, other.known.name, other.known.kind, facts)


def _inspect_results(path: Path) -> Inspection:
    """Describe a results folder, also one of trial types that are not known here."""
    facts: Mapping[str, Any] = {}
    findings = []
    try:
        values = json.loads((path / EXPERIMENT_FILE).read_text(encoding="utf-8"))
        facts = {"experiment": values["id"], "trials": [trial["id"] for trial in values["trial"]]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"'{path / EXPERIMENT_FILE}' is damaged ({error!r})."
        findings.append(Finding("damaged-results", message, "error", str(path), "Run the experiment again to write it anew."))
    receipts = sorted(receipt.stem for receipt in (path / "receipts").glob("*.json"))
    if not receipts:
        findings.append(Finding("no-results", "No step has finished.", severity="info", advice="Run: pli run"))
    return Inspection(str(path), RESULTS.name, RESULTS.kind, {**facts, "finished_steps": receipts}, tuple(findings))
