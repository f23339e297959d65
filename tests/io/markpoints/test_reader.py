"""MarkPoints series as protocols: places, order, triggers, power, checked by arithmetic done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import (
    AmbiguousInputError,
    FormatError,
    MissingFileError,
    ParameterError,
)
from packerlabimaging.io import find_reader, inspect_path, read_photostim
from packerlabimaging.io.markpoints import (
    MarkPointsReader,
    PowerCalibration,
    SpiralCalibration,
    series_of_protocol,
    write_gpl,
    write_markpoints,
)

ROW = (
    '<PVMarkPointElement Repetitions="{shots}" UncagingLaser="Fidelity" UncagingLaserPower="{power}" '
    'TriggerFrequency="{trigger}" TriggerSelection="PFI0"><PVGalvoPointElement InitialDelay="{delay}" InterPointDelay="{pause}" '
    'Duration="{duration}" SpiralRevolutions="5" {order} Points="{name}" Indices="{indices}">{points}</PVGalvoPointElement>'
    "</PVMarkPointElement>"
)
POINT = (
    '<Point Index="{0}" X="{1}" Y="{2}" {3} IsSpiral="True" SpiralWidth="0.02" SpiralHeight="0.02" SpiralSizeInMicrons="15" />'
)


def row(*points, shots=2, power=400, trigger="None", delay=0, pause=5, duration=10, order="", name="Group 1", indices=None):
    text = "".join(POINT.format(*point, *[""] * (4 - len(point))) for point in points)
    numbers = ",".join(str(point[0]) for point in points) if indices is None else indices
    times = {"shots": shots, "delay": delay, "pause": pause, "duration": duration}
    return ROW.format(points=text, indices=numbers, name=name, power=power, trigger=trigger, order=order, **times)


def series(*rows, saved=True, iterations=3, delay=0, root=""):
    tag = "PVMarkPointSeriesElements" if saved else "PVSavedMarkPointSeriesElements"
    return (
        f'\ufeff<?xml version="1.0" encoding="utf-8"?>\n<{tag} Iterations="{iterations}" IterationDelay="{delay}" '
        f'CalcFunctMap="False" {root}>{"".join(rows)}</{tag}>'
    )


def write(folder, text, name="t-001_Cycle00001_MarkPoints.xml"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def codes(protocol):
    return sorted(finding.code for finding in protocol.findings)


SHAPE = (100, 200)
ONE_BY_ONE = 'AllPointsAtOnce="False"'
TOGETHER = 'AllPointsAtOnce="True"'


def test_fractions_become_pixels_and_points_follow_one_another(tmp_path):
    text = series(row((1, 0.5, 0.25), (2, 1, 0), order=ONE_BY_ONE, trigger="First Repetition"))
    path = write(tmp_path, text)
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    np.testing.assert_allclose(protocol.targets_px, [[0, 24.5, 99.5], [0, -0.5, 199.5]])  # f W - 0.5; x is the column
    assert protocol.groups == ((0, 1),)
    assert (protocol.n_stims, protocol.trigger, protocol.spiral_diameter_um) == (3, "once", 15)
    light = protocol.light(np.array([10.0]))
    np.testing.assert_allclose(light.onset_s, 10 + 0.015 * np.arange(4))  # point 1, 2, then both again
    assert light.target.tolist() == [0, 1, 0, 1]
    assert light.shot.tolist() == [0, 0, 1, 1]
    assert codes(protocol) == ["fractions-assumed"]


def test_points_lit_together(tmp_path):
    path = write(tmp_path, series(row((1, 0.5, 0.25), (2, 0.1, 0.1, 'Z="30"'), order=TOGETHER)))
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    light = protocol.light(np.array([0.0]))
    np.testing.assert_allclose(light.onset_s, [0, 0.015])
    assert light.target.tolist() == [-1, -1]
    assert protocol.targets_px[:, 0].tolist() == [0, 30]
    assert codes(protocol) == ["fractions-assumed", "no-trigger"]


def test_order_of_the_whole_series_and_where_nothing_tells(tmp_path):
    points = (1, 0.5, 0.25), (2, 0.1, 0.1)
    whole = write(tmp_path, series(row(*points), root=TOGETHER))
    assert MarkPointsReader().open(whole, image_shape_px=SHAPE).rows[0].all_at_once
    unsaid = write(tmp_path, series(row(*points)), "b_MarkPoints.xml")
    protocol = MarkPointsReader().open(unsaid, image_shape_px=SHAPE)
    assert not protocol.rows[0].all_at_once
    assert "order-assumed" in codes(protocol)


def test_the_same_point_in_several_rows_is_one_target(tmp_path):
    path = write(tmp_path, series(row((1, 0.5, 0.5)), row((1, 0.5, 0.5), (2, 0.1, 0.1), order=ONE_BY_ONE), row((2, 0.1, 0.1))))
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    assert protocol.n_targets == 2
    assert protocol.groups == ((0,), (0, 1), (1,))
    assert [made.group for made in protocol.rows] == [0, 1, 2]


def test_iterations_without_a_trigger_follow_one_another(tmp_path):
    path = write(tmp_path, series(row((1, 0.5, 0.5), delay=1000), iterations=4, delay=250))
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    assert protocol.stim_interval_s == pytest.approx(1.0 + 2 * 0.015 + 0.25)


def test_every_row_its_own_pulse_and_every_repetition(tmp_path):
    rows = row((1, 0.5, 0.5), trigger="First Repetition"), row((2, 0.1, 0.1), trigger="First Repetition")
    protocol = MarkPointsReader().open(write(tmp_path, series(*rows)), image_shape_px=SHAPE)
    assert (protocol.trigger, protocol.pulses_per_stim) == ("each", 2)
    path = write(tmp_path, series(row((1, 0.5, 0.5), shots=3, trigger="EveryRepetition", delay=7)), "b_MarkPoints.xml")
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    assert (protocol.trigger, protocol.pulses_per_stim) == ("each", 3)
    np.testing.assert_allclose(protocol.light(np.array([1.0, 2, 3])).onset_s, [1.007, 2, 3])
    assert "triggers-within-rows" in codes(protocol)
    points = (1, 0.5, 0.5), (2, 0.1, 0.1)
    path = write(tmp_path, series(row(*points, shots=2, trigger="EveryPoint", order=ONE_BY_ONE)), "c_MarkPoints.xml")
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    assert [protocol.groups[made.group] for made in protocol.rows] == [(0,), (1,), (0,), (1,)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row((1, 0.5, 0.5)), row((1, 0.5, 0.5), trigger="First Repetition")], r"triggers on the rows \[2\] of 2"),
        ([row((1, 0.5, 0.5), trigger="Sometimes")], "triggered at 'Sometimes'"),
        ([row((1, 0.5, 0.5), shots=999_999, trigger="Every Repetition")], "more than 100,000 triggers"),
        ([row((1, 0.5, 0.5), shots=1_000_000_000)], "Repetitions = 1e\\+09 is out of range"),
        ([row((1, 0.5, "-∞"))], "of which 1 have no finite place"),
        ([row((1, 0.5, "-∞"), (2, 0.5, 0.5), order=ONE_BY_ONE)], "of which 1 have no finite place"),
        ([row((1, 0.5, 0.5), duration=0)], "a shot of 0 ms"),
        ([row((1, 0.5, 0.5), indices="1-90000"), row((1, 0.5, 0.5), indices="1-90000")], "more than 100,000 points"),
        ([], "holds no row"),
    ],
)
def test_series_that_make_no_sense(tmp_path, rows, message):
    with pytest.raises(FormatError, match=message):
        MarkPointsReader().open(write(tmp_path, series(*rows)), image_shape_px=SHAPE)


def test_a_point_without_a_place_among_others_lit_with_it(tmp_path):
    path = write(tmp_path, series(row((1, 0.5, "-∞"), (2, 0.5, 0.5), order=TOGETHER)))
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    assert protocol.n_targets == 1
    assert {"targets-without-place", "not-finite"} <= set(codes(protocol))


def test_power_in_milliwatts_needs_a_calibration(tmp_path):
    points = (1, 0.5, 0.5), (2, 0.1, 0.1)
    path = write(
        tmp_path, series(row(*points, order=TOGETHER), row(*points, order=ONE_BY_ONE), row(*points, power=999, order=TOGETHER))
    )
    plain = MarkPointsReader().open(path, image_shape_px=SHAPE)
    assert [(made.power, made.power_mw) for made in plain.rows] == [(400, None), (400, None), (999, None)]
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE, power_calibration=[[0, 0], [200, 10], [800, 70]])
    assert [made.power_mw for made in protocol.rows] == [15, 30, None]  # 30 mW at 400: shared by two, or each in turn
    np.testing.assert_allclose(protocol.target_powers_mw(0), [15, 15])
    assert protocol.target_powers_mw(2) is None
    assert "power-outside-calibration" in codes(protocol)
    with pytest.raises(ParameterError, match="pairs"):
        PowerCalibration.from_option([[0, 0, 0]])
    with pytest.raises(ParameterError, match="both ascending"):
        PowerCalibration((0, 1), (5, 5))


GPL = (
    "<PVGalvoPointList>"
    '<PVGalvoPoint X="-2" Y="3" Name="Point 0" Index="0" IsSpiral="True" SpiralSize="0.3 -0.3" Z="12" />'
    '<PVGalvoPoint X="2" Y="-3" Name="Point 1" Index="1" IsSpiral="True" SpiralSize="0.3" Z="12" />'
    '<PVGalvoPoint X="0" Y="0" Name="Point 2" Index="2" IsSpiral="False" Z="12" />'
    '<PVGalvoPointGroup Indices="0,2" Name="Both" /></PVGalvoPointList>'
)
EXTENT = ((3.0, -3.0), (-2.0, 2.0))  # the y galvo points up


def test_points_of_a_galvo_list_need_the_volts_of_the_edges(tmp_path):
    rows = row(indices="1-2", order=ONE_BY_ONE), row(indices="3", name="Point 2")
    path = write(tmp_path, series(*rows, saved=False), "library.xml")
    with pytest.raises(ParameterError, match="only names its points"):
        MarkPointsReader().open(path, image_shape_px=SHAPE)
    write(tmp_path, GPL, "library.gpl")
    with pytest.raises(ParameterError, match="galvo volts, which depend on rig and zoom"):
        MarkPointsReader().open(path, image_shape_px=SHAPE)
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT)
    np.testing.assert_allclose(protocol.targets_px, [[12, -0.5, -0.5], [12, 99.5, 199.5], [12, 49.5, 99.5]])
    assert protocol.groups == ((0, 1), (2,))
    assert protocol.spiral_diameter_um is None  # no calibration of another rig in silence
    calibrated = MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT, v_per_um=0.02)
    assert calibrated.spiral_diameter_um == pytest.approx(15)
    for extent in (((3, 3), (1, 2)), (1, 2), "volts", ((np.nan, 1), (1, 2))):
        with pytest.raises(ParameterError, match="not possible"):
            MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=extent)
    write(tmp_path, GPL, "other.gpl")
    (tmp_path / "library.gpl").rename(tmp_path / "another.gpl")
    with pytest.raises(AmbiguousInputError, match="several point lists"):
        MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT)
    given = MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT, gpl=tmp_path / "other.gpl")
    np.testing.assert_array_equal(given.targets_px, protocol.targets_px)


@pytest.mark.parametrize(
    ("indices", "name", "groups"),
    [
        ("0", "", (0,)),
        ("1", "Point 0", (0,)),  # the names show that rows count from 1
        ("1", "Point 1", (1,)),  # ... or as the list does
        ("1", "", (0,)),
        ("", "Both", (0, 2)),
    ],
)
def test_numbers_are_resolved_by_the_list(tmp_path, indices, name, groups):
    write(tmp_path, GPL, "a.gpl")
    path = write(tmp_path, series(row(indices=indices, name=name, order=TOGETHER), saved=False), "a.xml")
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT)
    assert protocol.extra["point_numbers"] == list(groups)


def test_points_that_the_list_does_not_hold(tmp_path):
    write(tmp_path, GPL, "a.gpl")
    path = write(tmp_path, series(row(indices="1,9"), saved=False), "a.xml")
    with pytest.raises(FormatError, match="row 1 names the points 1, 9, which the .gpl of 3 points"):
        MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT)
    write(tmp_path, GPL.replace('Index="2"', 'Index="1"'), "a.gpl")
    with pytest.raises(FormatError, match="several points one Index"):
        MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT)


def test_a_point_list_by_itself(tmp_path):
    path = write(tmp_path, GPL, "a.gpl")
    assert find_reader(path, "photostim").name == "markpoints"
    (inspection,) = inspect_path(path)
    assert (inspection.facts["n_points"], inspection.facts["n_groups"], inspection.facts["x_v"]) == (3, 1, [-2, 2])
    with pytest.raises(ParameterError, match="galvo_extent_v"):
        MarkPointsReader().open(path, image_shape_px=SHAPE)
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE, galvo_extent_v=EXTENT)
    assert (protocol.n_targets, protocol.groups, protocol.rows) == (3, ((0, 2),), ())
    assert "no-rows" in codes(protocol)


def test_the_calibration_of_the_packer_lab_is_recognised_by_what_it_gives():
    assert SpiralCalibration().explains(0.047535)
    assert not SpiralCalibration().explains(0.3)


def make_scan(folder, kind="TSeries Timed Element"):
    frames = "".join(
        f'<Frame relativeTime="{number / 30}" absoluteTime="{number / 30}" index="{number + 1}"><File channel="2" '
        f'channelName="Ch2" page="1" filename="t-001_Cycle00001_Ch2_{number + 1:06d}.ome.tif" /></Frame>'
        for number in range(3)
    )
    folder.mkdir(exist_ok=True)
    (folder / "t-001.xml").write_text(
        '<?xml version="1.0"?><PVScan version="5.5.64.100" date="1/2/2021 3:04:05 PM"><PVStateShard>'
        '<PVStateValue key="linesPerFrame" value="100" /><PVStateValue key="pixelsPerLine" value="200" />'
        '<PVStateValue key="micronsPerPixel"><IndexedValue index="XAxis" value="2" /><IndexedValue index="YAxis" value="2" />'
        f'</PVStateValue></PVStateShard><Sequence type="{kind}" cycle="1">{frames}</Sequence></PVScan>'
    )


def test_the_image_is_that_of_the_scan_in_the_folder(tmp_path):
    make_scan(tmp_path)
    path = write(tmp_path, series(row((1, 0.5, 0.25))).replace(' SpiralSizeInMicrons="15"', ""))
    for place in (path, tmp_path):
        protocol = read_photostim(place)
        assert protocol.image_shape_px == (100, 200)
        assert protocol.targets_px.tolist() == [[0, 24.5, 99.5]]
        assert protocol.spiral_diameter_um == pytest.approx(0.02 * 200 * 2)  # SpiralWidth is a fraction of the frame's width


def test_a_line_scan_is_no_image(tmp_path):
    make_scan(tmp_path, "Linescan")
    write(tmp_path, series(row((1, 0.5, 0.25))))
    with pytest.raises(ParameterError, match="is a line scan"):
        read_photostim(tmp_path)


def test_one_series_a_cycle(tmp_path):
    make_scan(tmp_path)
    for cycle in (1, 2, 3):
        write(tmp_path, series(row((1, 0.5, 0.25)), iterations=2), f"t-001_Cycle{cycle:05d}_MarkPoints.xml")
    protocol = read_photostim(tmp_path)
    assert protocol.n_stims == 6
    assert "one-series-a-cycle" in codes(protocol)
    write(tmp_path, series(row((1, 0.9, 0.25)), iterations=2), "t-001_Cycle00004_MarkPoints.xml")
    with pytest.raises(AmbiguousInputError, match="4 MarkPoints series that differ"):
        read_photostim(tmp_path)
    assert "unreadable" in [finding.code for finding in MarkPointsReader().inspect(tmp_path).findings]


def test_a_series_of_naparm_is_left_to_its_reader(tmp_path):
    path = write(tmp_path, series(row((1, 0.5, 0.25)), root='Category="NAPARM" Name="1Patterns_1Repeats_x2ShotPerPattern"'))
    assert not MarkPointsReader().detect(tmp_path)
    with pytest.raises(ParameterError, match="the middles of the groups, not the targets"):
        MarkPointsReader().open(path, image_shape_px=SHAPE)


def test_what_is_missing(tmp_path):
    with pytest.raises(MissingFileError, match="There is no file or folder"):
        MarkPointsReader().open(tmp_path / "none.xml")
    path = write(tmp_path, series(row((1, 0.5, 0.25))))
    with pytest.raises(ParameterError, match=r"Give it: image_shape_px=\(height, width\)"):
        MarkPointsReader().open(path)
    for shape in ((0, 5), (1, 2, 3), "ab", (float("nan"), 1)):
        with pytest.raises(ParameterError, match="image_shape_px"):
            MarkPointsReader().open(path, image_shape_px=shape)
    protocol = MarkPointsReader().open(path, image_shape_px=SHAPE)
    assert "targets-outside-image" not in codes(protocol)
    far = write(tmp_path, series(row((1, 1.5, 0.25))), "far.xml")
    assert "targets-outside-image" in codes(MarkPointsReader().open(far, image_shape_px=SHAPE))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_give_only_our_errors(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("bad")
    make_scan(folder)
    rows = row((1, 0.5, 0.25), (2, 0.1, 0.2), order=ONE_BY_ONE, trigger="Every Repetition"), row(indices="1-2", name="Both")
    paths = [write(folder, series(*rows)), write(folder, GPL, "a.gpl")]
    path = paths[data.draw(st.integers(0, 1))]
    raw = path.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        piece = data.draw(
            st.sampled_from([b"9", b"99999999", b"-", b"NaN", b"\xe2\x88\x9e", b'"', b"<", b"1e308", b"0-99999", b""])
        )
        raw = raw[:at] + piece + raw[at + data.draw(st.integers(0, 12)) :]
    path.write_bytes(raw)
    with only_our_errors():
        if MarkPointsReader().detect(folder):
            MarkPointsReader().inspect(folder)
        MarkPointsReader().open(paths[0], galvo_extent_v=EXTENT).shots()


PIXELS = st.integers(-8, 800).map(lambda value: value / 4)
MILLISECONDS = st.integers(1, 40_000).map(lambda value: value / 1000)


@st.composite
def protocols(draw):
    count = draw(st.integers(1, 6))
    places = draw(
        st.lists(st.tuples(st.sampled_from([0.0, 12.5, -30.0]), PIXELS, PIXELS), min_size=count, max_size=count, unique=True)
    )
    members = st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True).map(tuple)
    groups = draw(st.lists(members, min_size=1, max_size=4, unique=True))
    rows = [
        PhotostimRow(
            group=draw(st.integers(0, len(groups) - 1)),
            n_shots=draw(st.integers(1, 9)),
            shot_duration_s=draw(MILLISECONDS) / 1000,
            inter_shot_s=draw(MILLISECONDS) / 1000,
            initial_delay_s=draw(MILLISECONDS) / 1000,
            power=draw(st.none() | st.floats(0, 1000)),
            all_at_once=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 5)))
    ]
    return PhotostimProtocol(
        targets_px=np.array(places),
        image_shape_px=(draw(st.integers(1, 300)), draw(st.integers(1, 300))),
        groups=groups,
        rows=rows,
        n_stims=draw(st.integers(0, 100)),
        trigger=draw(st.sampled_from(["once", "each"])),
        spiral_diameter_um=draw(st.none() | st.floats(1, 60)),
    )


@settings(max_examples=40, deadline=None)
@given(protocols())
def test_a_protocol_survives_writing_and_reading(tmp_path_factory, given):
    folder = tmp_path_factory.mktemp("series")
    first = MarkPointsReader().open(
        write_markpoints(folder / "a.xml", series_of_protocol(given)), image_shape_px=given.image_shape_px
    )
    places = [[given.targets_px[target].tolist() for target in given.groups[row.group]] for row in given.rows]
    for row, old, expected in zip(first.rows, given.rows, places, strict=True):
        np.testing.assert_allclose(first.targets_px[list(first.groups[row.group])], expected, atol=1e-9)
        for name in ("n_shots", "shot_duration_s", "inter_shot_s", "initial_delay_s"):
            assert getattr(row, name) == pytest.approx(getattr(old, name), rel=1e-12)
        assert row.power == old.power
        assert row.all_at_once == (old.all_at_once or len(expected) == 1)
    assert (first.n_stims, first.spiral_diameter_um) == (given.n_stims, given.spiral_diameter_um)
    assert first.trigger == (given.trigger if len(given.rows) > 1 else "once")
    second = MarkPointsReader().open(
        write_markpoints(folder / "b.xml", series_of_protocol(first)), image_shape_px=given.image_shape_px
    )
    np.testing.assert_allclose(second.targets_px, first.targets_px, atol=1e-9)
    assert (second.rows, second.groups, second.n_stims, second.trigger) == (
        first.rows,
        first.groups,
        first.n_stims,
        first.trigger,
    )
    assert [finding.code for finding in second.findings] == [finding.code for finding in first.findings]


def test_what_a_series_can_not_hold(tmp_path):
    made = PhotostimProtocol(
        targets_px=np.zeros((1, 3)), image_shape_px=(4, 4), groups=((0,),), rows=(), lead_in_s=0.001, n_stims=1
    )
    with pytest.raises(ParameterError, match="lead_in_s be 0"):
        series_of_protocol(made)
    path = write_gpl(tmp_path / "a.gpl", [])
    with pytest.raises(ParameterError, match="never overwritten"):
        write_gpl(path, [])
