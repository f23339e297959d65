"""The XML files that PrairieView writes about recorded (``VRecSessionEntry``) and put out (``Experiment``) voltages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element

from packerlabimaging.errors import FormatError
from packerlabimaging.io.prairieview.state import to_number
from packerlabimaging.io.untrusted.xml import parse_xml

RECORDING_TAG, OUTPUT_TAG = "VRecSessionEntry", "Experiment"
"""Root elements of the two kinds of file."""

MAX_RATE_HZ = 1e8
MAX_BYTES = 1 << 22
"""No such file is larger: the real ones have some kilobytes."""

_COMPONENT = "WaveformComponent_"
_UNITS = {"Volt": "V", "Volts": "V", "Millivolt": "mV", "Ampere": "A"}


@dataclass(frozen=True)
class VoltageSignal:
    """One input of a voltage recording.

    Parameters
    ----------
    name
        Name that the user gave it.
    unit
        Unit of the values after scaling.
    scale
        What a recorded voltage is multiplied by to give ``unit`` (``Multiplier / Divisor``).
    gain
        The input's gain setting, as written; the recorded voltages have it taken out already.
    line
        Card and channel, e.g. ``"AI(1,3)"``; empty where unknown.
    enabled
        Whether it was recorded.
    """

    name: str
    unit: str
    scale: float
    gain: float | None
    line: str
    enabled: bool


@dataclass(frozen=True)
class VoltageSettings:
    """What the XML of a voltage recording says.

    Parameters
    ----------
    path
        The XML file.
    rate_hz
        Samples per second; None where it is not told, or makes no sense.
    signals
        All inputs, recorded or not, in the order of the file.
    n_samples
        Samples that the program counted; None where it says none.
    acquired
        Start of the recording; None where it is not told.
    data_file
        Name of the file of samples, without its ending.
    is_csv
        Whether the program has written the samples as CSV; None where it does not say.
    lost_data
        Whether the program noticed that samples were lost.
    """

    path: Path
    rate_hz: float | None
    signals: tuple[VoltageSignal, ...]
    n_samples: int | None = None
    acquired: datetime | None = None
    data_file: str = ""
    is_csv: bool | None = None
    lost_data: bool = False

    @property
    def recorded(self) -> tuple[VoltageSignal, ...]:
        """The inputs that were recorded: the columns of the CSV, in its order."""
        return tuple(signal for signal in self.signals if signal.enabled)


@dataclass(frozen=True)
class WaveformComponent:
    """One part of a waveform: its kind (``"PulseTrain"``, ``"FixedVoltage"``, ...) and settings by the program's own names.

    Times are milliseconds, as PrairieView shows them; ``PulseSpacing`` is the pause from the end of a pulse to the next.
    """

    kind: str
    settings: Mapping[str, float | str]


@dataclass(frozen=True)
class Waveform:
    """What was put out on one line."""

    name: str
    enabled: bool
    line: int | None
    unit: str
    components: tuple[WaveformComponent, ...]


@dataclass(frozen=True)
class VoltageOutput:
    """What the XML of a voltage output says: the waveforms that the program was set to put out.

    Parameters
    ----------
    path
        The XML file.
    name
        Name of the experiment that the user gave it.
    rate_hz
        Values per second; None where it is not told.
    waveforms
        All lines, used or not.
    """

    path: Path
    name: str
    rate_hz: float | None
    waveforms: tuple[Waveform, ...]


def read_voltage_settings(path: str | Path) -> VoltageSettings:
    """Read the XML of a voltage recording (``*_VoltageRecording_001.xml``).

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not the XML of a voltage recording, or a signal's scale makes no sense.
    """
    path = Path(path)
    root = _parse(path, RECORDING_TAG, "a voltage recording")
    rate = to_number(_text(root, "Experiment/Rate"))
    samples = to_number(_text(root, "SamplesAcquired"))
    return VoltageSettings(
        path,
        rate if rate is not None and 0 < rate <= MAX_RATE_HZ else None,
        tuple(_signal(element, path) for element in root.iterfind("Experiment/SignalList/VRecSignal")),
        int(samples) if samples is not None and 0 <= samples < 2**53 else None,
        _time(_text(root, "DateTime")),
        _text(root, "DataFile"),
        _flag(_text(root, "IsCSV")),
        _flag(_text(root, "LostData")) or False,
    )


def read_voltage_output(path: str | Path) -> VoltageOutput:
    """Read the XML of a voltage output (``*_VoltageOutput_001.xml``).

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not the XML of a voltage output.
    """
    path = Path(path)
    root = _parse(path, OUTPUT_TAG, "a voltage output")
    if root.find("Waveform") is None:
        raise FormatError(f"'{path}' holds no Waveform. Expected the XML of a PrairieView voltage output.")
    return VoltageOutput(
        path, _text(root, "Name"), to_number(_text(root, "UpdateRate")), tuple(map(_waveform, root.iterfind("Waveform")))
    )


def _parse(path: Path, tag: str, what: str) -> Element:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise FormatError(f"'{path}' has {path.stat().st_size:,} bytes. Expected at most {MAX_BYTES:,} for the XML of {what}.")
    root = parse_xml(path)
    if root.tag != tag:
        raise FormatError(f"'{path}' has the root element {root.tag}. Expected {tag}, the XML of {what} by PrairieView.")
    return root


def _signal(element: Element, path: Path) -> VoltageSignal:
    name, unit = _text(element, "Name"), _text(element, "Unit/UnitName")
    parts = [to_number(_text(element, f"Unit/{part}") or "1") for part in ("Multiplier", "Divisor")]
    multiplier, divisor = parts
    if multiplier is None or not divisor:
        raise FormatError(
            f"'{path}' scales the signal '{name}' by {_text(element, 'Unit/Multiplier')!r} / {_text(element, 'Unit/Divisor')!r}. "
            "Expected two numbers, the second not 0. Copy the file again from the rig."
        )
    card, channel = _text(element, "Card"), _text(element, "Channel")
    line = f"AI({card},{channel})" if card and channel else ""
    enabled = _flag(_text(element, "Enabled")) or False
    return VoltageSignal(name, _UNITS.get(unit, unit), multiplier / divisor, to_number(_text(element, "Gain")), line, enabled)


def _waveform(element: Element) -> Waveform:
    line = to_number(_text(element, "AOLine"))
    components = tuple(
        WaveformComponent(
            part.tag.removeprefix(_COMPONENT),
            {setting.tag: _number_or_text((setting.text or "").strip()) for setting in part if setting.tag != "Name"},
        )
        for part in element
        if part.tag.startswith(_COMPONENT)
    )
    enabled = _flag(_text(element, "Enabled")) or False
    return Waveform(_text(element, "Name"), enabled, None if line is None else int(line), _text(element, "Units"), components)


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _flag(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _number_or_text(text: str) -> float | str:
    number = to_number(text)
    return text if number is None else number


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
