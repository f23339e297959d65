"""Opening voltage recordings: settings and samples put together, every disagreement told."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io.channel_names import distinct_names
from packerlabimaging.io.prairieview.voltage.samples import VoltageChannel, VoltageTable
from packerlabimaging.io.prairieview.voltage.settings import (
    VoltageSettings,
    VoltageSignal,
    read_voltage_settings,
)

RATE_TOLERANCE = 1e-4
"""Part of the rate by which the column of times may differ from it unnoticed: 0.1 s in 17 minutes."""

RECORDING_NAME = re.compile(r"VoltageRecording.*\.(?:xml|csv)$", re.IGNORECASE)
"""How PrairieView names the files: ``<name>_Cycle00001_VoltageRecording_001.csv``."""


def open_voltage_recording(path: str | Path, *, rate_hz: float | None = None) -> Signals:
    """Open a voltage recording of PrairieView lazily.

    Parameters
    ----------
    path
        The XML or CSV of a recording, or a folder that holds one.
    rate_hz
        Samples per second; by default what the XML says, or where it says nothing what the column of times says.

    Returns
    -------
    Signals
        The recorded inputs by the names that the XML gives them, in its units. Sample ``i`` was taken ``i / rate_hz`` seconds
        after the first: the CSV's column of times is compared with that and not used, because it is written with a rate that
        may be cut to whole hertz.

    Raises
    ------
    MissingFileError
        If there is no such path, no recording in the folder, or no CSV.
    AmbiguousInputError
        If the folder holds several recordings; they are listed.
    FormatError
        If a file is damaged, or the CSV's columns are not those that the XML says were recorded.
    """
    if rate_hz is not None:
        check_positive("rate_hz", rate_hz)
    recording = find_voltage_recording(path)
    settings = None if recording.xml is None else read_voltage_settings(recording.xml)
    table, findings = _table(recording, settings)
    signals, mapped = _map_columns(table, settings)
    rate, timed = _check_time(table, settings, rate_hz)
    names, renamed = distinct_names([signal.name for signal in signals], where=str(table.path))
    channels = [
        VoltageChannel(name, table, column, rate_hz=rate, unit=signal.unit, scale=signal.scale)
        for column, (name, signal) in enumerate(zip(names, signals, strict=True), start=1)
    ]
    return Signals(channels, source=str(path), findings=[*findings, *mapped, *timed, *renamed])


@dataclass(frozen=True)
class VoltageRecordingFiles:
    """The files of a recording; None where one is not there."""

    xml: Path | None
    csv: Path | None


def find_voltage_recording(path: str | Path) -> VoltageRecordingFiles:
    """Return the files of a recording from its XML, its CSV, or the folder that holds it alone.

    Raises
    ------
    MissingFileError
        If there is no such path, or no recording in the folder.
    AmbiguousInputError
        If the folder holds several recordings.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"There is no file or folder '{path}'. Check the path, and that its disk is connected.")
    if path.is_dir():
        stems = list_voltage_recordings(path)
        if not stems:
            raise MissingFileError(f"'{path}' holds no voltage recording (*_VoltageRecording_001.xml, .csv). Check the path.")
        if len(stems) > 1:
            raise AmbiguousInputError(
                f"'{path}' holds {len(stems)} voltage recordings: {', '.join(stems[:10])}. Pass the XML or CSV of one of them."
            )
        path = path / f"{stems[0]}.xml"
    beside = {suffix: path.with_suffix(suffix) for suffix in (".xml", ".csv")}
    return VoltageRecordingFiles(*(beside[suffix] if beside[suffix].is_file() else None for suffix in (".xml", ".csv")))


def list_voltage_recordings(folder: Path) -> list[str]:
    """Return the names, without their endings, of the recordings in a folder; by name only."""
    return sorted({Path(name).stem for name in os.listdir(folder) if RECORDING_NAME.search(name)})


def _table(recording: VoltageRecordingFiles, settings: VoltageSettings | None) -> tuple[VoltageTable, list[Finding]]:
    """Open the samples; say what of them is missing."""
    if recording.csv is None:
        raise _no_samples(recording, settings)
    table, where, findings = VoltageTable.open(recording.csv), str(recording.csv), []
    counted = None if settings is None else settings.n_samples
    if table.open_line:
        whole = table.open_line.count(b",") == len(table.columns) and table.index.n_rows + 1 == counted
        table = replace(table, keeps_open_line=whole)
        if not whole:
            message = f"The file ends within a row, after {table.n_rows} whole rows; that row is left out."
            advice = "The recording or the copy was broken off; check that it lasts as long as the movie."
            findings.append(Finding("cut-row", message, where=where, advice=advice, evidence={"n_samples": table.n_rows}))
    if table.n_rows == 0:
        findings.append(Finding("no-samples", "The file holds a header but no sample.", "error", where, "Copy it again."))
    elif counted is not None and counted != table.n_rows:
        message = f"The CSV holds {table.n_rows} samples, where the XML counts {counted}."
        evidence = {"n_samples": table.n_rows, "n_samples_xml": counted}
        findings.append(Finding("sample-count-differs", message, where=where, advice="Is the CSV complete?", evidence=evidence))
    if settings is not None and settings.lost_data:
        message = "PrairieView notes that samples were lost: later ones are too early by an unknown time."
        findings.append(Finding("lost-data", message, "error", where, "Don't use it to time events."))
    return table, findings


def _no_samples(recording: VoltageRecordingFiles, settings: VoltageSettings | None) -> MissingFileError:
    path = recording.xml
    raw = "" if path is None or settings is None or settings.is_csv is not False else f" from its raw file '{settings.data_file}'"
    return MissingFileError(
        f"'{path}' has no samples beside it: there is no '{path.with_suffix('.csv').name if path else '.csv'}'. "
        f"Copy the CSV from the rig, or let PrairieView write it{raw}."
    )


def _map_columns(table: VoltageTable, settings: VoltageSettings | None) -> tuple[Sequence[VoltageSignal], list[Finding]]:
    """Say which input each column is: by the header's names where they are the XML's, otherwise by their order."""
    where, written = str(table.path), table.columns
    if settings is None:
        message = "The recording's XML is not there: names are the CSV's, units are not known."
        advice = "Copy the XML from the rig."
        return [VoltageSignal(name, "", 1.0, None, "", True) for name in written], [
            Finding("no-settings", message, where=where, advice=advice)
        ]
    recorded = settings.recorded
    by_name = {signal.name: signal for signal in recorded}
    if tuple(signal.name for signal in recorded) == written:
        return recorded, []
    if len(by_name) == len(recorded) and sorted(by_name) == sorted(written):
        return [by_name[name] for name in written], []
    if len(recorded) != len(written):
        enabled = ", ".join(signal.name for signal in recorded) or "nothing"
        raise FormatError(
            f"'{table.path}' has the columns {', '.join(written)}; its XML says that {enabled} was recorded. They are not of one "
            "recording, or the XML was changed later. Take the XML away to read the columns by the CSV's own names."
        )
    listed = "; ".join(f"{old} is {new.name}" for old, new in zip(written, recorded, strict=True) if old != new.name)
    message = f"The CSV's header and the XML name the inputs differently; the XML's names are taken, in order: {listed}."
    return recorded, [Finding("names-differ", message, where=where, advice="Check which input is which.")]


def _check_time(table: VoltageTable, settings: VoltageSettings | None, rate_hz: float | None) -> tuple[float, list[Finding]]:
    """Return the rate, and compare it with the CSV's column of times."""
    first, last = table.times_ms()
    written_s, steps = (last - first) / 1000, table.n_rows - 1
    rate = rate_hz if rate_hz is not None else None if settings is None else settings.rate_hz
    if rate is None:
        if not (steps > 0 and np.isfinite(written_s) and written_s > 0):
            raise ParameterError(f"Neither an XML nor the times in '{table.path}' give the sampling rate. Give it with rate_hz=.")
        message = f"The rate, {steps / written_s:.6g} Hz, is that of the CSV's column of times, which may be cut to whole hertz."
        advice = "Copy the XML from the rig, or give rate_hz=."
        return steps / written_s, [Finding("rate-of-times", message, where=str(table.path), advice=advice)]
    duration_s = steps / rate
    if steps < 1 or abs(written_s - duration_s) <= max(RATE_TOLERANCE * duration_s, 1 / rate):
        return rate, []
    message = (
        f"The CSV's column of times ends after {written_s:.3f} s, {table.n_rows} samples at {rate:.7g} Hz after "
        f"{duration_s:.3f} s. The rate is used."
    )
    evidence = {"written_s": written_s if np.isfinite(written_s) else None, "duration_s": duration_s, "rate_hz": rate}
    advice = "Pass rate_hz= if the times are right after all; frames and stims on this recording show which it is."
    return rate, [Finding("times-disagree", message, where=str(table.path), advice=advice, evidence=evidence)]
