"""Bruker's PrairieView: recordings of versions 4.3 to 5.8, read and written.

Validation and parsing are apart: :mod:`.xml` turns the scan's XML into columns of numbers, :mod:`.arrangement` orders its frames,
:mod:`.frames` finds their images, :mod:`.metadata` says how they were taken; :mod:`.unlisted` is for folders without an XML,
:mod:`.voltage` for the voltages recorded beside it.
"""

from packerlabimaging.io.prairieview.arrangement import Arrangement, arrange_frames
from packerlabimaging.io.prairieview.movie import (
    PrairieViewMovie,
    PrairieViewOptions,
    open_prairieview,
    read_prairieview_metadata,
)
from packerlabimaging.io.prairieview.reader import PrairieViewReader
from packerlabimaging.io.prairieview.voltage import open_voltage_recording, read_voltage_output, read_voltage_settings
from packerlabimaging.io.prairieview.writer import PrairieViewWriter
from packerlabimaging.io.prairieview.xml import FileColumns, FrameColumns, PVScan, PVSequence, read_pvscan

__all__ = [
    "Arrangement",
    "FileColumns",
    "FrameColumns",
    "PVScan",
    "PVSequence",
    "PrairieViewMovie",
    "PrairieViewOptions",
    "PrairieViewReader",
    "PrairieViewWriter",
    "arrange_frames",
    "open_prairieview",
    "open_voltage_recording",
    "read_prairieview_metadata",
    "read_pvscan",
    "read_voltage_output",
    "read_voltage_settings",
]
