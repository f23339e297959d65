"""Which files of a NAPARM folder are which: named after the folder, or the only one of their kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError
from packerlabimaging.io.markpoints import SERIES_TAGS, GalvoPointList, read_gpl
from packerlabimaging.io.naparm.mat import load_struct, text
from packerlabimaging.io.untrusted.xml import root_tag


def is_naparm_xml(path: Path) -> bool:
    """Say whether a file is a series that NAPARM wrote, by its first bytes."""
    if root_tag(path) not in SERIES_TAGS:
        return False
    try:
        with path.open("rb") as file:
            return b'Category="NAPARM"' in file.read(1024)
    except OSError:
        return False


def one_file(folder: Path, name: str, pattern: str) -> Path | None:
    """Find the file called ``name``, else the only one of its kind; None where there is none."""
    if (folder / name).is_file():
        return folder / name
    found = sorted(file for file in folder.glob(pattern) if file.is_file())
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:5])
        raise AmbiguousInputError(f"'{folder}' holds several files {pattern}: {names}. Expected '{name}', or one only.")
    return found[0] if found else None


def series_file(folder: Path) -> Path:
    """Find the XML of the series: that of the folder's name, else the only series among the XML files."""
    found = [path for path in sorted(folder.glob("*.xml")) if root_tag(path) in SERIES_TAGS]
    named = [path for path in found if path.stem == folder.name]
    if named or len(found) == 1:
        return (named or found)[0]
    if found:
        names = ", ".join(path.name for path in found[:5])
        raise AmbiguousInputError(f"'{folder}' holds several MarkPoints series: {names}. Keep '{folder.name}.xml' only.")
    damaged = folder / f"{folder.name}.xml"
    if damaged.is_file():
        return damaged  # reading it says what is wrong
    raise MissingFileError(f"'{folder}' holds no MarkPoints series (.xml), so its timing is not known. Copy it from the rig.")


def galvo_points(folder: Path, stem: str, findings: list[Finding]) -> GalvoPointList:
    """Read the galvo points: one per group; none where the file is missing, which is told."""
    path = one_file(folder, f"{stem}.gpl", "*.gpl")
    if path is not None:
        gpl = read_gpl(path)
        findings += gpl.findings
        return gpl
    message = "There is no .gpl file: the size of the light on each target is not known."
    findings.append(Finding("no-gpl", message, where=str(folder), advice="Copy it from the rig."))
    return GalvoPointList(())


def read_config(folder: Path, stem: str, findings: list[Finding]) -> dict[str, Any]:
    """Read the experiment's name from ``_Config.mat``, which holds names and paths, no timing and no power."""
    paths = sorted(folder.glob("*_Config.mat"))
    if not paths:
        return {}
    try:
        identifier = text(load_struct(paths[0], "parameters"), "ExperimentIdentifier")
    except FormatError as error:
        findings.append(Finding("config-unreadable", str(error), "info", where=str(paths[0])))
        return {}
    if not identifier or identifier == stem:
        return {}
    message = f"The configuration is that of '{identifier[:60]}', the series is called '{stem}': files were renamed or mixed."
    findings.append(Finding("identifier-differs", message, where=str(paths[0]), advice="Check that they belong together."))
    return {"identifier": identifier}
