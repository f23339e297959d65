"""Every MarkPoints series and galvo point list of a real instrument, against a plain reading of its XML."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io import inspect_path
from packerlabimaging.io.markpoints import MarkPointsReader, read_gpl, read_markpoints, resolve_indices
from packerlabimaging.io.readers import find_readers

pytestmark = pytest.mark.realdata

BRUKER = "darikoneil__CalSciPy/tests/testing_samples/bruker"
TRIALS = "darikoneil__CalSciPy/_history/d846d4ce9ed5/TRIALS_15_D_EM0566"
SCAN = "swharden__ScanAGator/data/linescans/LineScan-03052024-1208-1065/LineScan-03052024-1208-1065_Cycle00001_MarkPoints.xml"

SERIES = {  # rows, iterations, indices that are named, shots, points saved with the scan, finite coordinates of them
    f"{TRIALS}.xml": (15, 1, 375, 15, 0, 0),
    f"{BRUKER}/saved_series.xml": (6, 1, 43, 6, 0, 0),
    SCAN: (1, 1, 1, 1, 1, 1),
}
LISTS = {  # points, groups, groups' members
    f"{TRIALS}.gpl": (25, 15, 375),
    f"{BRUKER}/saved_gpl.gpl": (30, 3, 40),
    f"{BRUKER}/darik_test_protocol.gpl": (15, 4, 18),
}


def root_of(path: Path):
    try:
        return ElementTree.fromstring(path.read_text(encoding="utf-8-sig"))
    except (ElementTree.ParseError, UnicodeDecodeError):
        return None


def expand(text: str) -> list[int]:
    numbers: list[int] = []
    for part in filter(str.strip, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def number(text):
    value = float(text.replace("∞", "inf"))
    return value if math.isfinite(value) else None


def test_the_tables_name_every_file(realdata):
    found = {
        str(path.relative_to(realdata)): root.tag
        for path in [*realdata.rglob("*.xml"), *realdata.rglob("*.gpl")]
        if (root := root_of(path)) is not None and ("MarkPointSeries" in root.tag or root.tag == "PVGalvoPointList")
    }
    assert sorted(found) == sorted([*SERIES, *LISTS])


@pytest.mark.parametrize("name", SERIES)
def test_series(realdata, name):
    path = realdata / name
    root = root_of(path)
    elements = [(row, row.find("PVGalvoPointElement")) for row in root]
    series = read_markpoints(path)
    assert series.iterations == int(root.get("Iterations"))
    assert series.saved_with_scan == (root.tag == "PVMarkPointSeriesElements")
    for row, (outer, inner) in zip(series.rows, elements, strict=True):
        assert row.repetitions == int(outer.get("Repetitions"))
        assert row.power == float(outer.get("UncagingLaserPower"))
        assert row.trigger == outer.get("TriggerFrequency")
        times = [row.duration_ms, row.inter_point_delay_ms, row.initial_delay_ms]
        assert times == [float(inner.get(key)) for key in ("Duration", "InterPointDelay", "InitialDelay")]
        assert row.all_at_once == (inner.get("AllPointsAtOnce") == "True")
        assert (row.points_name, list(row.indices)) == (inner.get("Points"), expand(inner.get("Indices")))
        plain = [(int(p.get("Index")), number(p.get("X")), number(p.get("Y"))) for p in inner.findall("Point")]
        assert [(point.index, point.x, point.y) for point in row.points] == plain
    points = [point for row in series.rows for point in row.points]
    assert (
        len(series.rows),
        series.iterations,
        sum(len(row.indices) for row in series.rows),
        sum(row.repetitions for row in series.rows),
        len(points),
        sum(value is not None for point in points for value in (point.x, point.y)),
    ) == SERIES[name]
    assert [reader.name for reader in find_readers(path)] == ["markpoints"]
    (inspection,) = inspect_path(path)
    assert inspection.facts["n_rows"] == len(series.rows)
    assert not any(finding.code == "unreadable" for finding in inspection.findings)


@pytest.mark.parametrize("name", LISTS)
def test_point_lists(realdata, name):
    path = realdata / name
    root = root_of(path)
    listed = read_gpl(path)
    for point, plain in zip(listed.points, root.findall("PVGalvoPoint"), strict=True):
        assert (point.x_v, point.y_v, point.z_um) == tuple(float(plain.get(key)) for key in "XYZ")
        assert (point.index, point.name) == (int(plain.get("Index")), plain.get("Name"))
        assert point.spiral_size_v == float(plain.get("SpiralSize"))
    for group, plain in zip(listed.groups, root.findall("PVGalvoPointGroup"), strict=True):
        assert (group.name, list(group.points)) == (plain.get("Name", ""), expand(plain.get("Indices")))
    assert (len(listed.points), len(listed.groups), sum(len(group.points) for group in listed.groups)) == LISTS[name]
    assert [reader.name for reader in find_readers(path)] == ["markpoints"]
    (inspection,) = inspect_path(path)
    assert inspection.facts["n_points"] == len(listed.points)


def test_numbers_of_the_library_count_from_one_and_its_list_from_zero(realdata):
    series, listed = read_markpoints(realdata / BRUKER / "saved_series.xml"), read_gpl(realdata / BRUKER / "saved_gpl.gpl")
    found, findings = resolve_indices(series.rows, listed, where="here")
    assert not findings
    assert found[:3] == ((0,), (1,), (2,))
    assert found[3:] == tuple(group.points for group in listed.groups)


def test_numbers_of_the_trials_count_from_zero(realdata):
    series, listed = read_markpoints(realdata / f"{TRIALS}.xml"), read_gpl(realdata / f"{TRIALS}.gpl")
    found, findings = resolve_indices(series.rows, listed, where="here")
    assert not findings
    assert set(found) == {tuple(range(25))}


def test_trials_as_a_protocol(realdata):
    """15 rows of 25 points, one after another: 5000 ms, then every 4900 + 100 ms one point."""
    extent = ((10, -10), (-10, 10))
    protocol = MarkPointsReader().open(realdata / f"{TRIALS}.xml", image_shape_px=(512, 512), galvo_extent_v=extent)
    assert (protocol.n_targets, len(protocol.rows), protocol.n_stims) == (25, 15, 1)
    light = protocol.shots()
    starts = np.concatenate([130.0 * row + 5 + 5.0 * np.arange(25) for row in range(15)])
    np.testing.assert_allclose(light.onset_s, starts)
    np.testing.assert_allclose(light.end_s, starts + 0.1)
    assert light.target.tolist() == list(range(25)) * 15
    plain = root_of(realdata / f"{TRIALS}.gpl").findall("PVGalvoPoint")
    x = [(float(point.get("X")) + 10) / 20 * 512 - 0.5 for point in plain]
    np.testing.assert_allclose(protocol.targets_px[:, 2], x)
    assert protocol.spiral_diameter_um is None
    assert {finding.code for finding in protocol.findings} == {"no-trigger", "spiral-size-unknown"}


def test_the_point_at_infinity_can_not_be_placed(realdata):
    with pytest.raises(ParameterError, match="is a line scan"):
        MarkPointsReader().open(realdata / SCAN)
    with pytest.raises(FormatError, match="of which 1 have no finite place"):
        MarkPointsReader().open(realdata / SCAN, image_shape_px=(256, 256))
