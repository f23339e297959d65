"""Write MarkPoints series (``.xml``) and lists of galvo points (``.gpl``): XML in one line, as the programs' scripts do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

from packerlabimaging.errors import ParameterError
from packerlabimaging.io.markpoints.parsing import GPL_TAG, SERIES_TAGS
from packerlabimaging.io.markpoints.values import GalvoGroup, GalvoPoint, MarkPointRow, MarkPointSeries

GPL_CONSTANTS = {"ActivityType": "MarkPoints", "UncagingLaser": "Uncaging", "UncagingLaserPower": "0", "Duration": "10"}
"""What NAPARM writes for every point; duration and power are constants there, not the protocol's."""


def write_markpoints(path: str | Path, series: MarkPointSeries) -> Path:
    """Write a series as an ``.xml`` file that PrairieView and :func:`read_markpoints` read.

    Raises
    ------
    ParameterError
        If the file exists: a protocol is never overwritten.
    """
    return _write(path, format_markpoints(series))


def write_gpl(path: str | Path, points: Iterable[GalvoPoint], *, groups: Iterable[GalvoGroup] = ()) -> Path:
    """Write a list of galvo points as a ``.gpl`` file.

    Raises
    ------
    ParameterError
        If the file exists: a protocol is never overwritten.
    """
    return _write(path, format_gpl(points, groups))


def _write(path: str | Path, text: str) -> Path:
    path = Path(path)
    if path.exists():
        raise ParameterError(f"'{path}' exists. Protocols are never overwritten; choose another name.")
    path.write_text(text, encoding="utf-8")
    return path


def format_number(value: float) -> str:
    """Write a number as the programs do: shortest form that reads the same, no trailing ``.0``."""
    return repr(float(value)).removesuffix(".0")


def format_markpoints(series: MarkPointSeries) -> str:
    """Return a series as XML in one line, without a declaration, as NAPARM writes it."""
    saved = {"Category": series.category, "Name": series.name}
    root = ElementTree.Element(
        SERIES_TAGS[1] if series.saved_with_scan else SERIES_TAGS[0],
        {
            **{name: text for name, text in saved.items() if text},
            "Iterations": str(series.iterations),
            "IterationDelay": format_number(series.iteration_delay_ms),
            **_flag("AllPointsAtOnce", series.all_at_once),
            **series.attributes,
        },
    )
    for row in series.rows:
        _append_row(root, row)
    return ElementTree.tostring(root, encoding="unicode")


def _flag(name: str, value: bool | None) -> dict[str, str]:
    return {} if value is None else {name: str(value)}


def _numbers(values: Mapping[str, float | None]) -> dict[str, str]:
    return {name: format_number(value) for name, value in values.items() if value is not None}


def _append_row(root: ElementTree.Element, row: MarkPointRow) -> None:
    outer = {
        "Repetitions": str(row.repetitions),
        **_numbers({"UncagingLaserPower": row.power}),
        "TriggerFrequency": row.trigger,
        **row.attributes,
    }
    inner = {
        "InitialDelay": format_number(row.initial_delay_ms),
        "InterPointDelay": format_number(row.inter_point_delay_ms),
        "Duration": format_number(row.duration_ms),
        **row.point_attributes,
        **_flag("AllPointsAtOnce", row.all_at_once),
        "Points": row.points_name,
        "Indices": ",".join(map(str, row.indices)),
    }
    galvo = ElementTree.SubElement(ElementTree.SubElement(root, "PVMarkPointElement", outer), "PVGalvoPointElement", inner)
    for point in row.points:
        sizes = {
            "SpiralWidth": point.spiral_width,
            "SpiralHeight": point.spiral_height,
            "SpiralSizeInMicrons": point.spiral_size_um,
        }
        values = {
            **_numbers({"X": point.x, "Y": point.y, "Z": point.z_um}),
            "IsSpiral": str(point.is_spiral),
            **_numbers(sizes),
            **point.attributes,
        }
        ElementTree.SubElement(galvo, "Point", {"Index": str(point.index), **values})


def format_gpl(points: Iterable[GalvoPoint], groups: Iterable[GalvoGroup] = ()) -> str:
    """Return a list of galvo points as XML in one line."""
    root = ElementTree.Element(GPL_TAG)
    for point in points:
        sizes = {
            "SpiralSize": point.spiral_size_v,
            "SpiralSizeInMicrons": point.spiral_size_um,
            "SpiralRevolutions": point.spiral_revolutions,
            "Z": point.z_um,
        }
        values = {
            **_numbers({"X": point.x_v, "Y": point.y_v}),
            "Name": point.name,
            "Index": str(point.index),
            **point.attributes,
            "IsSpiral": str(point.is_spiral),
            **_numbers(sizes),
        }
        ElementTree.SubElement(root, "PVGalvoPoint", values)
    for group in groups:
        ElementTree.SubElement(
            root, "PVGalvoPointGroup", {"Indices": ",".join(map(str, group.points)), "Name": group.name, **group.attributes}
        )
    return ElementTree.tostring(root, encoding="unicode")
