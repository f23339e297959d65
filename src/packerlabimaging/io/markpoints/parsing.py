"""Read MarkPoints series (``.xml``) and lists of galvo points (``.gpl``) as they stand; nothing is worked out here.

A count in a file is checked before anything is made from it: what makes no sense is an error that names the row.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.markpoints.values import (
    GalvoGroup,
    GalvoPoint,
    GalvoPointList,
    MarkPoint,
    MarkPointRow,
    MarkPointSeries,
)
from packerlabimaging.io.untrusted.xml import parse_xml

SERIES_TAGS = ("PVSavedMarkPointSeriesElements", "PVMarkPointSeriesElements")
"""Roots of a series: of the library (and NAPARM), and saved with a scan."""

GPL_TAG = "PVGalvoPointList"

MAX_BYTES = 16 << 20
"""A series of 10,000 rows has some megabytes; a larger file is not believed."""

MAX_INDICES = 100_000
"""More points than this in all rows of a file are taken for damage."""

MAX_REPETITIONS = 1_000_000
"""More shots than this in one row are taken for damage."""


class _Findings:
    """Collects what was left out: one finding per attribute, however often it happens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def not_finite(self, place: str, name: str, text: str) -> None:
        self.first.setdefault(name, f"{place} holds {name} = '{text}', which is no place or size; it is left out")
        self.counts[name] = self.counts.get(name, 0) + 1

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(
                "not-finite",
                f"{message}{f' ({self.counts[name]} such values)' if self.counts[name] > 1 else ''}.",
                where=str(self.path),
                evidence={"attribute": name, "count": self.counts[name]},
            )
            for name, message in self.first.items()
        )


class _Attributes:
    """Takes typed attributes of one XML element; every fault names file, element and attribute."""

    def __init__(self, element: ElementTree.Element, place: str, findings: _Findings) -> None:
        self.values = dict(element.attrib)
        self.place, self.findings = place, findings

    def fault(self, message: str) -> FormatError:
        return FormatError(f"'{self.findings.path}', {self.place}{message}")

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
            raise self.fault(f": {name} = '{text[:60]}' is not a number.") from None
        if math.isfinite(number):
            return number
        self.findings.not_finite(self.place, name, text[:60])
        return None

    def number(self, name: str, default: float | None = None, *, low: float = -math.inf, high: float = 1e9) -> float:
        written = name in self.values
        value = self.optional(name)
        if value is None and not written:
            value = default
        if value is None:  # NaN in place of a count or time is damage, not absence
            raise self.fault(f" has no usable {name}. It may be cut or of another program.")
        if not low <= value <= high:
            raise self.fault(f": {name} = {value:g} is out of range ({low:g} to {high:g}).")
        return value

    def count(self, name: str, default: int | None = None, *, low: int = 0, high: int = 10**7) -> int:
        value = self.number(name, default, low=low, high=high)
        if value != int(value):
            raise self.fault(f": {name} = {value:g} is not a whole number.")
        return int(value)

    def flag(self, name: str) -> bool | None:
        text = self.values.pop(name, None)
        return None if text is None else text.strip().lower() == "true"

    def indices(self) -> tuple[int, ...]:
        try:
            return parse_indices(self.text("Indices"))
        except ParameterError as error:
            raise self.fault(f": {error}") from error


def parse_indices(text: str) -> tuple[int, ...]:
    """Read a list of points: ``"1"``, ``"1-30"``, ``"1, 3, 5, 7"``, ``"0,1,2"``, or mixed.

    Raises
    ------
    ParameterError
        If it is none of these, or names too many points.
    """
    indices: list[int] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        found = re.fullmatch(r"([0-9]{1,6})(?:\s*-\s*([0-9]{1,6}))?", part)
        if found is None:
            raise ParameterError(f"'{text[:60]}' is not a list of points. Expected e.g. '1', '1-30' or '1, 3, 5'.")
        first = int(found.group(1))
        last = int(found.group(2) or first)
        if last < first or len(indices) + last - first >= MAX_INDICES:
            raise ParameterError(f"'{text[:60]}' is not a list of points: '{part}' runs backwards or names too many.")
        indices += range(first, last + 1)
    return tuple(indices)


def read_markpoints(path: str | Path) -> MarkPointSeries:
    """Read a series of MarkPoints rows, as saved with a scan, in the program's library, or by NAPARM.

    Parameters
    ----------
    path
        The ``.xml`` file.

    Returns
    -------
    MarkPointSeries
        As written; coordinates that are infinite or NaN are None, with a finding.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not a MarkPoints series, or a value in it makes no sense.
    """
    path = Path(path)
    root = _parse(path)
    if root.tag not in SERIES_TAGS:
        raise FormatError(f"'{path}' is not a MarkPoints series: its root is {root.tag}. Expected {' or '.join(SERIES_TAGS)}.")
    findings = _Findings(path)
    series = _Attributes(root, "the series", findings)
    rows: list[MarkPointRow] = []
    n_indices = 0
    for number, element in enumerate(root, 1):
        rows.append(_row(element, f"row {number}", findings))
        n_indices += len(rows[-1].indices)
        if n_indices > MAX_INDICES:
            raise FormatError(f"'{path}' names more than {MAX_INDICES:,} points in its first {number} rows. It is damaged.")
    return MarkPointSeries(
        rows=tuple(rows),
        iterations=series.count("Iterations", 1),
        iteration_delay_ms=series.number("IterationDelay", 0.0, low=0),
        category=series.text("Category"),
        name=series.text("Name"),
        all_at_once=series.flag("AllPointsAtOnce"),
        saved_with_scan=root.tag == SERIES_TAGS[1],
        attributes=series.values,
        findings=findings.findings(),
    )


def _parse(path: Path) -> ElementTree.Element:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise FormatError(f"'{path}' has {path.stat().st_size >> 20} MB. Expected at most {MAX_BYTES >> 20} MB for such a file.")
    return parse_xml(path)


def _row(element: ElementTree.Element, place: str, findings: _Findings) -> MarkPointRow:
    outer = _Attributes(element, place, findings)
    inner = element.find("PVGalvoPointElement")
    if inner is None:
        raise outer.fault(f" ({element.tag}) holds no PVGalvoPointElement: the file is cut or of another kind.")
    galvo = _Attributes(inner, place, findings)
    return MarkPointRow(
        repetitions=outer.count("Repetitions", 1, low=1, high=MAX_REPETITIONS),
        power=outer.optional("UncagingLaserPower"),
        trigger=outer.text("TriggerFrequency", "None"),
        duration_ms=galvo.number("Duration", low=0),
        inter_point_delay_ms=galvo.number("InterPointDelay", 0.0, low=0),
        initial_delay_ms=galvo.number("InitialDelay", 0.0),
        all_at_once=galvo.flag("AllPointsAtOnce"),
        points_name=galvo.text("Points"),
        indices=galvo.indices(),
        points=tuple(_mark_point(point, place, findings) for point in inner.findall("Point")),
        attributes=outer.values,
        point_attributes=galvo.values,
    )


def _mark_point(element: ElementTree.Element, place: str, findings: _Findings) -> MarkPoint:
    point = _Attributes(element, f"a point of {place}", findings)
    return MarkPoint(
        index=point.count("Index"),
        x=point.optional("X"),
        y=point.optional("Y"),
        z_um=point.optional("Z"),
        is_spiral=bool(point.flag("IsSpiral")),
        spiral_width=point.optional("SpiralWidth"),
        spiral_height=point.optional("SpiralHeight"),
        spiral_size_um=point.optional("SpiralSizeInMicrons"),
        attributes=point.values,
    )


def read_gpl(path: str | Path) -> GalvoPointList:
    """Read a list of galvo points (``.gpl``), as written: places in volts.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not a galvo point list, or a value in it makes no sense.
    """
    path = Path(path)
    root = _parse(path)
    if root.tag != GPL_TAG:
        raise FormatError(f"'{path}' is not a galvo point list: its root is {root.tag}. Expected {GPL_TAG}.")
    findings = _Findings(path)
    points = tuple(_galvo_point(element, f"point {number}", findings) for number, element in enumerate(root.iter("PVGalvoPoint")))
    groups: list[GalvoGroup] = []
    n_indices = 0
    for element in root.iter("PVGalvoPointGroup"):
        group = _Attributes(element, f"group '{element.get('Name', '')[:60]}'", findings)
        groups.append(GalvoGroup(group.text("Name"), group.indices(), group.values))
        n_indices += len(groups[-1].points)
        if n_indices > MAX_INDICES:
            raise FormatError(f"'{path}' names more than {MAX_INDICES:,} points in its groups. It is damaged.")
    return GalvoPointList(points, tuple(groups), findings.findings())


def _galvo_point(element: ElementTree.Element, place: str, findings: _Findings) -> GalvoPoint:
    point = _Attributes(element, place, findings)
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
        attributes=point.values,
    )
