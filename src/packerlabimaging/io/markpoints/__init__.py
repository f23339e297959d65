"""PrairieView's MarkPoints files: series of stimulation rows (``.xml``) and lists of galvo points (``.gpl``).

:func:`read_markpoints` and :func:`read_gpl` return both as they stand, with findings for what a careful reader would stop at;
:class:`MarkPointsReader` makes a protocol of a series. Positions in a ``.gpl`` are galvo voltages, in a series saved with a
scan fractions of the frame.
"""

from packerlabimaging.io.markpoints.parsing import GPL_TAG, SERIES_TAGS, parse_indices, read_gpl, read_markpoints
from packerlabimaging.io.markpoints.protocol import series_of_protocol
from packerlabimaging.io.markpoints.reader import MarkPointsReader
from packerlabimaging.io.markpoints.resolving import resolve_indices, rows_by_trigger, zero_based
from packerlabimaging.io.markpoints.values import (
    GalvoExtent,
    GalvoGroup,
    GalvoPoint,
    GalvoPointList,
    MarkPoint,
    MarkPointRow,
    MarkPointSeries,
    PowerCalibration,
    SpiralCalibration,
)
from packerlabimaging.io.markpoints.writing import format_gpl, format_markpoints, write_gpl, write_markpoints

__all__ = [
    "GPL_TAG",
    "SERIES_TAGS",
    "GalvoExtent",
    "GalvoGroup",
    "GalvoPoint",
    "GalvoPointList",
    "MarkPoint",
    "MarkPointRow",
    "MarkPointSeries",
    "MarkPointsReader",
    "PowerCalibration",
    "SpiralCalibration",
    "format_gpl",
    "format_markpoints",
    "parse_indices",
    "read_gpl",
    "read_markpoints",
    "resolve_indices",
    "rows_by_trigger",
    "series_of_protocol",
    "write_gpl",
    "write_markpoints",
    "zero_based",
]
