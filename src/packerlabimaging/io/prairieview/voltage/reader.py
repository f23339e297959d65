"""The reader of PrairieView's voltage recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import PackerLabImagingError
from packerlabimaging.io.prairieview.voltage.recording import (
    RECORDING_NAME,
    find_voltage_recording,
    list_voltage_recordings,
    open_voltage_recording,
)
from packerlabimaging.io.prairieview.voltage.samples import MAX_HEADER_BYTES, header_names
from packerlabimaging.io.prairieview.voltage.settings import (
    RECORDING_TAG,
    VoltageSettings,
    read_voltage_output,
    read_voltage_settings,
)
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable
from packerlabimaging.io.untrusted.xml import root_tag


class PrairieViewVoltageReader(Reader):
    """Reads voltages that PrairieView recorded: the CSV with its XML."""

    name: ClassVar[str] = "prairieview-voltage"
    kind: ClassVar[Kind] = "signals"
    description: ClassVar[str] = "PrairieView voltage recording: *_VoltageRecording_001.csv with its .xml"

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is the XML or CSV of a recording, or a folder that holds exactly one (by its files' names)."""
        try:
            if path.is_dir():
                return len(list_voltage_recordings(path)) == 1
            if path.suffix.lower() == ".xml":
                return root_tag(path) == RECORDING_TAG
            return path.suffix.lower() == ".csv" and self._is_csv(path)
        except OSError:
            return False

    @staticmethod
    def _is_csv(path: Path) -> bool:
        if not RECORDING_NAME.search(path.name) and root_tag(path.with_suffix(".xml")) != RECORDING_TAG:
            return False
        with path.open("rb") as file:
            return bool(header_names(file.readline(MAX_HEADER_BYTES)))

    def open(self, path: Path, *, rate_hz: float | None = None) -> Signals:
        """Open a recording lazily; see :func:`open_voltage_recording`. Counts the CSV's lines, parses none but two."""
        return open_voltage_recording(path, rate_hz=rate_hz)

    def inspect(self, path: Path) -> Inspection:
        """Describe a recording, and the voltages that were put out during it."""
        facts: dict[str, Any] = {}
        findings: list[Finding] = []
        try:
            recording = find_voltage_recording(path)
            if recording.xml is not None:
                facts = _facts_of_settings(read_voltage_settings(recording.xml))
                facts["put_out"] = _put_out(recording.xml)
            signals = open_voltage_recording(path)
            channel = next(iter(signals.values()))
            facts |= {"rate_hz": channel.rate_hz, "n_samples": len(channel), "duration_s": channel.duration_s}
            facts |= {"channels": list(signals), "units": [channel.unit for channel in signals.values()]}
            findings += signals.findings
        except PackerLabImagingError as error:
            findings.append(unreadable(error, path))
        return Inspection(str(path), self.name, self.kind, facts, tuple(findings))


def _facts_of_settings(settings: VoltageSettings) -> dict[str, Any]:
    return {
        "rate_hz": settings.rate_hz,
        "n_samples": settings.n_samples,
        "channels": [signal.name for signal in settings.recorded],
        "units": [signal.unit for signal in settings.recorded],
        "lines": [signal.line for signal in settings.recorded],
        "scales": [signal.scale for signal in settings.recorded],
        "acquired": None if settings.acquired is None else settings.acquired.isoformat(),
    }


def _put_out(xml: Path) -> list[dict[str, Any]]:
    """Describe the waveforms of the voltage output that belongs to a recording; nothing where there is none."""
    path = xml.with_name(xml.name.replace("VoltageRecording", "VoltageOutput"))
    if path == xml or not path.is_file():
        return []
    used = [waveform for waveform in read_voltage_output(path).waveforms if waveform.enabled]
    return [
        {
            "name": waveform.name,
            "line": waveform.line,
            "unit": waveform.unit,
            "components": [{"kind": part.kind, **part.settings} for part in waveform.components],
        }
        for waveform in used
    ]
