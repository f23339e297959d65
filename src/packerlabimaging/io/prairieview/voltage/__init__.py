"""Voltages that PrairieView recorded and put out: ``VoltageRecording`` as signals, ``VoltageOutput`` as settings.

:mod:`.settings` reads the XML files, :mod:`.samples` the CSV, lazily; :mod:`.recording` puts them together.
"""

from packerlabimaging.io.prairieview.voltage.reader import PrairieViewVoltageReader
from packerlabimaging.io.prairieview.voltage.recording import open_voltage_recording
from packerlabimaging.io.prairieview.voltage.settings import (
    VoltageOutput,
    VoltageSettings,
    VoltageSignal,
    Waveform,
    WaveformComponent,
    read_voltage_output,
    read_voltage_settings,
)

__all__ = [
    "PrairieViewVoltageReader",
    "VoltageOutput",
    "VoltageSettings",
    "VoltageSignal",
    "Waveform",
    "WaveformComponent",
    "open_voltage_recording",
    "read_voltage_output",
    "read_voltage_settings",
]
