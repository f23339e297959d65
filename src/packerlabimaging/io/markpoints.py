"""PrairieView's MarkPoints files: series of stimulation rows (``.xml``) and lists of galvo points (``.gpl``).

Both are read into plain values as they stand, with findings for what a careful reader would stop at; what a series means
for an experiment is worked out by the readers that use it (NAPARM). Positions in a ``.gpl`` are galvo voltages, in a series
saved with a scan fractions of the frame.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io._xml import parse_xml

SERIES_TAGS = ("PVSavedMarkPointSeriesElements", "PVMarkPointSeriesElements")
"""Roots of a series: of the library (and NAPARM), and saved with a scan."""

GPL_TAG = "PVGalvoPointList"

MAX_INDICES = 100_000
"""More points than this in one row are taken for a damaged file."""


@dataclass(frozen=True)
class SpiralCalibration:
    """How the volts of ``SpiralSize`` become micrometres: ``um = (V + offset_v) / v_per_um``.

    The default is the Packer lab's constant for its Bruker 2pPlus (0.047535 V = 10 um). It depends on the rig and on the
    zoom: on another rig it turns a spiral of 20 um into one of 73 um.
    """

    v_per_um: float = 0.005269
    offset_v: float = 0.005155

    def __post_init__(self) -> None:
        check_positive("v_per_um", self.v_per_um)

    def to_um(self, volts: float) -> float:
        """Return a spiral's diameter in micrometres, to a millionth."""
        return round((volts + self.offset_v) / self.v_per_um, 6)

    def to_volts(self, um: float) -> float:
        """Return the ``SpiralSize`` of a diameter in micrometres."""
        return round(um * self.v_per_um - self.offset_v, 10)


@dataclass(frozen=True)
class GalvoPoint:
    """One point of a ``.gpl`` file.

    ``x_v, y_v`` and ``spiral_size_v`` are galvo volts, ``z_um`` is as written (depth of the plane, or motor position),
    ``index`` the point's number in the file (0-based there).
    """

    x_v: float
    y_v: float
    index: int
    name: str = ""
    z_um: float | None = None
    is_spiral: bool = True
    spiral_size_v: float | None = None
    spiral_size_um: float | None = None
    spiral_revolutions: float | None = None


@dataclass(frozen=True)
class GalvoGroup:
    """A named set of points of a ``.gpl`` file, by their ``index``."""

    name: str
    points: tuple[int, ...]


@dataclass(frozen=True)
class GalvoPointList:
    """The points and groups of a ``.gpl`` file."""

    points: tuple[GalvoPoint, ...]
    groups: tuple[GalvoGroup, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class MarkPoint:
    """A point saved with a scan: ``x, y`` and ``spiral_width`` are fractions of the frame; None where they are not finite."""

    index: int
    x: float | None
    y: float | None
    is_spiral: bool = True
    spiral_width: float | None = None
    spiral_size_um: float | None = None


@dataclass(frozen=True)
class MarkPointRow:
    """One row of a series: what is lit, how often, for how long, after which trigger.

    Parameters
    ----------
    repetitions
        Shots.
    duration_ms, inter_point_delay_ms, initial_delay_ms
        Light-on time of a shot, dark time after it, dark time before the first.
    power
        Laser power in PrairieView's units.
    indices
        Numbers of the points as written; ``0`` among them means that they count from 0.
    points_name
        Name of the point or group, e.g. ``"Point 3"``.
    all_at_once
        True if all points are lit together; None where the file does not say.
    trigger
        ``TriggerFrequency`` as written, e.g. ``"First Repetition"``, ``"None"``.
    points
        The points themselves, where they were saved with the scan.
    attributes
        Everything else of the row, as written.
    """

    repetitions: int
    duration_ms: float
    inter_point_delay_ms: float = 0.0
    initial_delay_ms: float = 0.0
    power: float | None = None
    indices: tuple[int, ...] = ()
    points_name: str = ""
    all_at_once: bool | None = None
    trigger: str = "None"
    points: tuple[MarkPoint, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MarkPointSeries:
    """A series of rows, run ``iterations`` times."""

    rows: tuple[MarkPointRow, ...]
    iterations: int = 1
    iteration_delay_ms: float = 0.0
    category: str = ""
    name: str = ""
    saved_with_scan: bool = False
    findings: tuple[Finding, ...] = ()


class _Attributes:
    """Takes typed attributes of one XML element; every fault names file, element and attribute."""

    def __init__(self, element: ElementTree.Element, path: Path, place: str, findings: list[Finding]) -> None:
        self.values = dict(element.attrib)
        self.path, self.place, self.findings = path, place, findings

    def text(self, name: str, default: str = "") -> str:
        return self.values.pop(name, default)

    def optional(self, name: str) -> float | None:
        """Take the first number of an attribute (old ``.gpl`` files hold two); None where it is absent or not finite."""
        text = self.values.pop(name, None)
        if text is None:
            return None
        try:
            number = float(text.replace("∞", "inf").split()[0])
        except (ValueError, IndexError):
            raise FormatError(f"'{self.path}', {self.place}: {name} = '{text}' is not a number.") from None
        if math.isfinite(number):
            return number
        message = f"{self.place} holds {name} = '{text}', which is no place or size; it is left out."
        self.findings.append(Finding("not-finite", message, where=str(self.path), evidence={"attribute": name}))
        return None

    def number(self, name: str, default: float | None = None, *, low: float = -math.inf, high: float = 1e9) -> float:
        value = self.optional(name)
        if value is None:
            value = default
        if value is None:
            raise FormatError(f"'{self.path}', {self.place} has no usable {name}. It may be cut or of another program.")
        if not low <= value <= high:
            raise FormatError(f"'{self.path}', {self.place}: {name} = {value:g} is out of range ({low:g} to {high:g}).")
        return value

    def count(self, name: str, default: int | None = None, *, low: int = 0, high: int = 10**7) -> int:
        value = self.number(name, default, low=low, high=high)
        if value != int(value):
            raise FormatError(f"'{self.path}', {self.place}: {name} = {value:g} is not a whole number.")
        return int(value)

    def flag(self, name: str) -> bool | None:
        text = self.values.pop(name, None)
        return None if text is None else text.strip().lower() == "true"


def parse_indices(text: str) -> tuple[int, ...]:
    """Read a list of points: ``"1"``, ``"1-30"``, ``"1, 3, 5, 7"``, ``"0,1,2"``, or mixed.

    Raises
    ------
    ParameterError
        If it is none of these, or names too many points.
    """
    indices: list[int] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        found = re.fullmatch(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", part)
        if found is None:
            raise ParameterError(f"'{text[:60]}' is not a list of points. Expected e.g. '1', '1-30' or '1, 3, 5'.")
        first = int(found.group(1))
        last = int(found.group(2) or first)
        if last < first or len(indices) + last - first >= MAX_INDICES:
            raise ParameterError(f"'{text[:60]}' is not a list of points: '{part}' runs backwards or names too many.")
        indices += range(first, last + 1)
    return tuple(indices)


def zero_based(rows: Sequence[Sequence[int]], points: Iterable[GalvoPoint] = ()) -> tuple[tuple[int, ...], ...]:
    """Turn the point numbers of all rows of a series into the numbers that the ``.gpl`` uses, which count from 0.

    Rows count from 1 (so 1 is taken off), unless a 0 is among them, or the ``.gpl`` has all the points as they are numbered
    but not the ones before them.
    """
    known = {point.index for point in points}
    used = {index for indices in rows for index in indices}
    as_written = 0 in used or (bool(known) and used <= known and not {index - 1 for index in used} <= known)
    return tuple(tuple(index if as_written else index - 1 for index in indices) for indices in rows)


def read_markpoints(path: str | Path) -> MarkPointSeries:
    """Read a series of MarkPoints rows.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not a MarkPoints series, or a value in it makes no sense.
    """
    path = Path(path)
    root = parse_xml(path)
    if root.tag not in SERIES_TAGS:
        raise FormatError(f"'{path}' is not a MarkPoints series: its root is {root.tag}. Expected {' or '.join(SERIES_TAGS)}.")
    findings: list[Finding] = []
    series = _Attributes(root, path, "the series", findings)
    rows = tuple(_row(element, path, f"row {number}", findings) for number, element in enumerate(root, 1))
    return MarkPointSeries(
        rows=rows,
        iterations=series.count("Iterations", 1),
        iteration_delay_ms=series.number("IterationDelay", 0.0, low=0),
        category=series.text("Category"),
        name=series.text("Name"),
        saved_with_scan=root.tag == SERIES_TAGS[1],
        findings=tuple(findings),
    )


def _row(element: ElementTree.Element, path: Path, place: str, findings: list[Finding]) -> MarkPointRow:
    inner = element.find("PVGalvoPointElement")
    if inner is None:
        raise FormatError(f"'{path}', {place} ({element.tag}) holds no PVGalvoPointElement: the file is cut or of another kind.")
    outer, galvo = (_Attributes(part, path, place, findings) for part in (element, inner))
    indices = galvo.text("Indices")
    try:
        parsed = parse_indices(indices)
    except ParameterError as error:
        raise FormatError(f"'{path}', {place}: {error}") from error
    return MarkPointRow(
        repetitions=outer.count("Repetitions", 1, low=1),
        power=outer.optional("UncagingLaserPower"),
        trigger=outer.text("TriggerFrequency", "None"),
        duration_ms=galvo.number("Duration", low=0),
        inter_point_delay_ms=galvo.number("InterPointDelay", 0.0, low=0),
        initial_delay_ms=galvo.number("InitialDelay", 0.0),
        all_at_once=galvo.flag("AllPointsAtOnce"),
        points_name=galvo.text("Points"),
        indices=parsed,
        points=tuple(_mark_point(point, path, place, findings) for point in inner.findall("Point")),
        attributes={**outer.values, **galvo.values},
    )


def _mark_point(element: ElementTree.Element, path: Path, place: str, findings: list[Finding]) -> MarkPoint:
    point = _Attributes(element, path, f"a point of {place}", findings)
    return MarkPoint(
        index=point.count("Index"),
        x=point.optional("X"),
        y=point.optional("Y"),
        is_spiral=bool(point.flag("IsSpiral")),
        spiral_width=point.optional("SpiralWidth"),
        spiral_size_um=point.optional("SpiralSizeInMicrons"),
    )


def read_gpl(path: str | Path) -> GalvoPointList:
    """Read a list of galvo points (``.gpl``).

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not a galvo point list, or a value in it makes no sense.
    """
    path = Path(path)
    root = parse_xml(path)
    if root.tag != GPL_TAG:
        raise FormatError(f"'{path}' is not a galvo point list: its root is {root.tag}. Expected {GPL_TAG}.")
    findings: list[Finding] = []
    points = tuple(
        _galvo_point(element, path, f"point {number}", findings) for number, element in enumerate(root.iter("PVGalvoPoint"))
    )
    groups = []
    for element in root.iter("PVGalvoPointGroup"):
        try:
            groups.append(GalvoGroup(element.get("Name", ""), parse_indices(element.get("Indices", ""))))
        except ParameterError as error:
            raise FormatError(f"'{path}', group '{element.get('Name', '')}': {error}") from error
    return GalvoPointList(points, tuple(groups), tuple(findings))


def _galvo_point(element: ElementTree.Element, path: Path, place: str, findings: list[Finding]) -> GalvoPoint:
    point = _Attributes(element, path, place, findings)
    return GalvoPoint(
        x_v=point.number("X"),
        y_v=point.number("Y"),
        index=point.count("Index"),
        name=point.text("Name"),
        z_um=point.optional("Z"),
        is_spiral=bool(point.flag("IsSpiral")),
        spiral_size_v=point.optional("SpiralSize"),
        spiral_size_um=point.optional("SpiralSizeInMicrons"),
        spiral_revolutions=point.optional("SpiralRevolutions"),
    )


def format_number(value: float) -> str:
    """Write a number as the programs do: shortest form, no exponent for everyday values, 15 digits at most."""
    return f"{value:.15g}"


def format_markpoints(series: MarkPointSeries) -> str:
    """Return a series as XML in one line, without a declaration, as NAPARM writes it."""
    saved = {"Category": series.category, "Name": series.name}
    root = ElementTree.Element(
        SERIES_TAGS[1] if series.saved_with_scan else SERIES_TAGS[0],
        {
            **{name: text for name, text in saved.items() if text},
            "Iterations": str(series.iterations),
            "IterationDelay": format_number(series.iteration_delay_ms),
        },
    )
    for row in series.rows:
        _append_row(root, row)
    return ElementTree.tostring(root, encoding="unicode")


_INNER_ATTRIBUTES = ("SpiralRevolutions", "Use3D")


def _append_row(root: ElementTree.Element, row: MarkPointRow) -> None:
    outer = {
        "Repetitions": str(row.repetitions),
        **({} if row.power is None else {"UncagingLaserPower": format_number(row.power)}),
        "TriggerFrequency": row.trigger,
        **{name: text for name, text in row.attributes.items() if name not in _INNER_ATTRIBUTES},
    }
    inner = {
        "InitialDelay": format_number(row.initial_delay_ms),
        "InterPointDelay": format_number(row.inter_point_delay_ms),
        "Duration": format_number(row.duration_ms),
        **{name: row.attributes[name] for name in _INNER_ATTRIBUTES if name in row.attributes},
        **({} if row.all_at_once is None else {"AllPointsAtOnce": str(row.all_at_once)}),
        "Points": row.points_name,
        "Indices": ",".join(map(str, row.indices)),
    }
    galvo = ElementTree.SubElement(ElementTree.SubElement(root, "PVMarkPointElement", outer), "PVGalvoPointElement", inner)
    for point in row.points:
        places = {"X": point.x, "Y": point.y, "SpiralWidth": point.spiral_width, "SpiralSizeInMicrons": point.spiral_size_um}
        values = {name: format_number(value) for name, value in places.items() if value is not None}
        ElementTree.SubElement(galvo, "Point", {"Index": str(point.index), "IsSpiral": str(point.is_spiral), **values})


def format_gpl(points: Iterable[GalvoPoint], groups: Iterable[GalvoGroup] = ()) -> str:
    """Return a list of galvo points as XML in one line; duration and power are constants there, not the protocol's."""
    root = ElementTree.Element(GPL_TAG)
    constants = {"ActivityType": "MarkPoints", "UncagingLaser": "Uncaging", "UncagingLaserPower": "0", "Duration": "10"}
    for point in points:
        places = {
            "SpiralSize": point.spiral_size_v,
            "SpiralSizeInMicrons": point.spiral_size_um,
            "SpiralRevolutions": point.spiral_revolutions,
            "Z": point.z_um,
        }
        values = {name: format_number(value) for name, value in places.items() if value is not None}
        ElementTree.SubElement(
            root,
            "PVGalvoPoint",
            {
                "X": format_number(point.x_v),
                "Y": format_number(point.y_v),
                "Name": point.name,
                "Index": str(point.index),
                **constants,
                "IsSpiral": str(point.is_spiral),
                **values,
            },
        )
    for group in groups:
        ElementTree.SubElement(
            root, "PVGalvoPointGroup", {"Indices": ",".join(map(str, group.points)), "Name": group.name, **constants}
        )
    return ElementTree.tostring(root, encoding="unicode")
