"""MarkPoints series and galvo point lists, real and made up."""

from __future__ import annotations

import pytest
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.markpoints import (
    GalvoGroup,
    GalvoPoint,
    GalvoPointList,
    MarkPoint,
    MarkPointRow,
    MarkPointSeries,
    SpiralCalibration,
    format_gpl,
    format_markpoints,
    parse_indices,
    read_gpl,
    read_markpoints,
    zero_based,
)

BRUKER = "darikoneil__CalSciPy/tests/testing_samples/bruker"
SCAN = "swharden__ScanAGator/data/linescans/LineScan-03052024-1208-1065/LineScan-03052024-1208-1065_Cycle00001_MarkPoints.xml"


def test_calibration_of_the_packer_lab():
    assert SpiralCalibration().to_um(0.047535) == 10.0
    assert SpiralCalibration().to_volts(10.0) == pytest.approx(0.047535)
    with pytest.raises(ParameterError, match="v_per_um"):
        SpiralCalibration(v_per_um=0)


@pytest.mark.parametrize(
    ("text", "indices"),
    [("1", (1,)), ("1-4", (1, 2, 3, 4)), ("1, 3, 5, 7", (1, 3, 5, 7)), ("0,1,2", (0, 1, 2)), ("1-2, 9", (1, 2, 9)), ("", ())],
)
def test_indices(text, indices):
    assert parse_indices(text) == indices


@pytest.mark.parametrize("text", ["a", "3-1", "1-", "-1", "0-999999", "1.5"])
def test_indices_that_make_no_sense(text):
    with pytest.raises(ParameterError, match="not a list of points"):
        parse_indices(text)


@pytest.mark.parametrize(
    ("rows", "numbers", "expected"),
    [
        ([(1,), (2, 3)], (), ((0,), (1, 2))),
        ([(0, 1), (2,)], (), ((0, 1), (2,))),
        ([(1,), (2,)], (0, 1, 2), ((0,), (1,))),  # both would do: rows count from 1
        ([(1,), (3,)], (1, 2, 3), ((1,), (3,))),  # the list has no point 0
        ([(1,), (9,)], (0, 1, 2), ((0,), (8,))),  # another list's: left to the caller
    ],
)
def test_rows_count_from_one_unless_they_can_not(rows, numbers, expected):
    assert zero_based(rows, [GalvoPoint(0, 0, number) for number in numbers]) == expected


def test_infinite_places_are_left_out_and_told(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        '<PVMarkPointSeriesElements Iterations="2" IterationDelay="0.00"><PVMarkPointElement Repetitions="3" '
        'UncagingLaserPower="400" TriggerFrequency="None"><PVGalvoPointElement InitialDelay="1000" InterPointDelay="0.12" '
        'Duration="100" AllPointsAtOnce="False" Points="Point 1" Indices="1"><Point Index="1" X="0.5" Y="-∞" IsSpiral="True" '
        'SpiralWidth="NaN" /></PVGalvoPointElement></PVMarkPointElement></PVMarkPointSeriesElements>',
        encoding="utf-8",
    )
    series = read_markpoints(path)
    (row,) = series.rows
    assert (series.iterations, series.saved_with_scan) == (2, True)
    assert (row.repetitions, row.inter_point_delay_ms, row.all_at_once) == (3, 0.12, False)
    (point,) = row.points
    assert (point.x, point.y, point.spiral_width) == (0.5, None, None)
    assert [finding.code for finding in series.findings] == ["not-finite", "not-finite"]
    assert "Y = '-∞'" in series.findings[0].message


def test_other_files(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<PVScan />")
    with pytest.raises(FormatError, match="not a MarkPoints series: its root is PVScan"):
        read_markpoints(path)
    with pytest.raises(FormatError, match="not a galvo point list: its root is PVScan"):
        read_gpl(path)
    path.write_text("<PVSavedMarkPointSeriesElements><PVMarkPointElement/></PVSavedMarkPointSeriesElements>")
    with pytest.raises(FormatError, match="row 1 .* holds no PVGalvoPointElement"):
        read_markpoints(path)
    path.write_text('<PVGalvoPointList><PVGalvoPoint X="a" Y="0" Index="0"/></PVGalvoPointList>')
    with pytest.raises(FormatError, match="point 0: X = 'a' is not a number"):
        read_gpl(path)
    path.write_text('<PVGalvoPointList><PVGalvoPointGroup Name="G" Indices="x"/></PVGalvoPointList>')
    with pytest.raises(FormatError, match="group 'G': 'x' is not a list"):
        read_gpl(path)
    with pytest.raises(MissingFileError, match="There is no file"):
        read_gpl(tmp_path / "none.gpl")


numbers = st.floats(-1e6, 1e6)
positive = st.floats(0, 1e6)
names = st.text("abc XYZ_09<>&\"'µ∞", max_size=12).map(str.strip)
points = st.builds(
    MarkPoint,
    index=st.integers(0, 99),
    x=numbers | st.none(),
    y=numbers | st.none(),
    z_um=numbers | st.none(),
    is_spiral=st.booleans(),
    spiral_height=numbers | st.none(),
    attributes=st.dictionaries(st.sampled_from(["Custom", "Label"]), names, max_size=1),
    spiral_width=numbers | st.none(),
    spiral_size_um=numbers | st.none(),
)
series_rows = st.builds(
    MarkPointRow,
    repetitions=st.integers(1, 1000),
    duration_ms=positive,
    inter_point_delay_ms=positive,
    initial_delay_ms=numbers,
    power=numbers | st.none(),
    indices=st.lists(st.integers(0, 500), max_size=5).map(tuple),
    points_name=names,
    all_at_once=st.booleans() | st.none(),
    trigger=st.sampled_from(["None", "First Repetition"]),
    points=st.lists(points, max_size=3).map(tuple),
    attributes=st.dictionaries(st.sampled_from(["UncagingLaser", "TriggerSelection", "parameterSet"]), names),
    point_attributes=st.dictionaries(st.sampled_from(["SpiralRevolutions", "Use3D"]), names),
)


@settings(max_examples=80, deadline=None)
@given(
    st.builds(
        MarkPointSeries,
        rows=st.lists(series_rows, max_size=4).map(tuple),
        iterations=st.integers(0, 1000),
        iteration_delay_ms=positive,
        category=names,
        name=names,
        all_at_once=st.booleans() | st.none(),
        saved_with_scan=st.booleans(),
        attributes=st.dictionaries(st.just("CalcFunctMap"), names),
    )
)
def test_series_round_trip(tmp_path_factory, series):
    path = tmp_path_factory.mktemp("mp") / "a.xml"
    path.write_text(format_markpoints(series), encoding="utf-8")
    assert read_markpoints(path) == series


galvo_points = st.builds(
    GalvoPoint,
    x_v=numbers,
    y_v=numbers,
    index=st.integers(0, 99),
    name=names,
    z_um=numbers | st.none(),
    is_spiral=st.booleans(),
    spiral_size_v=numbers | st.none(),
    spiral_size_um=numbers | st.none(),
    spiral_revolutions=numbers | st.none(),
    attributes=st.dictionaries(st.sampled_from(["ActivityType", "UncagingLaser", "Duration"]), names),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(galvo_points, max_size=5),
    st.lists(st.builds(GalvoGroup, names, st.lists(st.integers(0, 99), max_size=4).map(tuple)), max_size=3),
)
def test_point_list_round_trip(tmp_path_factory, listed, groups):
    path = tmp_path_factory.mktemp("gpl") / "a.gpl"
    path.write_text(format_gpl(listed, groups), encoding="utf-8")
    assert read_gpl(path) == GalvoPointList(tuple(listed), tuple(groups))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_raise_only_our_errors(tmp_path_factory, data):
    row = MarkPointRow(3, 20.0, 5.0, power=50, indices=(1, 2), points_name="Point 1", points=(MarkPoint(1, 0.5, 0.5),))
    texts = format_markpoints(MarkPointSeries((row, row), 5)), format_gpl([GalvoPoint(0.5, 0.5, 0, spiral_size_v=0.1)])
    kind = data.draw(st.integers(0, 1))
    raw = bytearray(texts[kind].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("bad") / "a.xml"
    path.write_bytes(raw)
    with only_our_errors():
        (read_markpoints, read_gpl)[kind](path)


@pytest.mark.realdata
def test_real_library(realdata):
    series = read_markpoints(realdata / BRUKER / "saved_series.xml")
    gpl = read_gpl(realdata / BRUKER / "saved_gpl.gpl")
    assert [row.indices for row in series.rows][:3] == [(1,), (2,), (3,)]
    assert series.rows[3].indices == tuple(range(1, 31))
    assert series.rows[5].indices == (1, 3, 5, 7)
    assert series.rows[0].inter_point_delay_ms == 0.12
    assert series.rows[5].power == 0.45
    assert len(gpl.points) == 30
    assert (gpl.points[0].x_v, gpl.points[0].z_um) == (-4.7465701381138, 7090.81)
    assert [group.points for group in gpl.groups] == [tuple(range(30)), tuple(range(6)), (0, 2, 4, 6)]
    in_list = zero_based([row.indices for row in series.rows], gpl.points)
    assert in_list[3:6] == tuple(group.points for group in gpl.groups)  # both files name the same points


@pytest.mark.realdata
def test_real_series_that_counts_from_zero(realdata):
    folder = next((realdata / "darikoneil__CalSciPy/_history").iterdir())
    series = read_markpoints(folder / "TRIALS_15_D_EM0566.xml")
    gpl = read_gpl(folder / "TRIALS_15_D_EM0566.gpl")
    used = zero_based([row.indices for row in series.rows], gpl.points)
    assert used[0] == tuple(range(25))
    assert {point.index for point in gpl.points}.issuperset(used[0])


@pytest.mark.realdata
def test_real_series_saved_with_a_scan(realdata):
    series = read_markpoints(realdata / SCAN)
    (point,) = series.rows[0].points
    assert (point.x, point.y) == (0.552230923644617, None)
    assert point.spiral_size_um == pytest.approx(2)
    assert "not-finite" in [finding.code for finding in series.findings]
