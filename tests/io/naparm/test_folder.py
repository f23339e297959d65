"""NAPARM folders: read as the rig meant them, written as the rig would, and every mismatch told."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io import read_photostim
from packerlabimaging.io.naparm import NaparmReader, write_naparm

ROW = (
    '<PVMarkPointElement Repetitions="{shots}" UncagingLaser="Satsuma" UncagingLaserPower="{power}" TriggerFrequency="{trigger}" '
    'TriggerSelection="PFI1" TriggerCount="1" AsyncSyncFrequency="None" VoltageOutputCategoryName="None" '
    'VoltageRecCategoryName="None" parameterSet="CurrentSettings" ><PVGalvoPointElement InitialDelay="{delay}" '
    'InterPointDelay="{pause}" Duration="{duration}" SpiralRevolutions="3" Points="Point {point}" Indices="{point}" />'
    "</PVMarkPointElement>"
)
DUMMY = ROW.format(shots=1, power=0, trigger="None", delay=0, pause=0, duration=1, point=1)
GPL_POINT = (
    '<PVGalvoPoint X="{x}" Y="0" Name="Point {point}" Index="{index}" ActivityType="MarkPoints" UncagingLaser="Uncaging" '
    'UncagingLaserPower="0" Duration="10" IsSpiral="True" SpiralSize="{size}" SpiralRevolutions="3" Z="0" />'
)


def make_folder(folder, *, rows, name, points, n_trials=100, sizes=("0.047535",), shape=(40, 60), dummy=False, images=True):
    """A folder as the MATLAB program writes it, without our writer."""
    identifier = folder.name
    (folder / "Targets").mkdir(parents=True)
    body = (DUMMY if dummy else "") + "".join(ROW.format(**row) for row in rows)
    (folder / f"{identifier}.xml").write_text(
        f'<PVSavedMarkPointSeriesElements Category="NAPARM" Name="{name}" Iterations="{n_trials}" IterationDelay="0" >'
        f"{body}</PVSavedMarkPointSeriesElements>"
    )
    gpl = "".join(GPL_POINT.format(x=0.1 * index, point=index + 1, index=index, size=size) for index, size in enumerate(sizes))
    (folder / f"{identifier}.gpl").write_text(f"<PVGalvoPointList>{gpl}</PVGalvoPointList>")
    savemat(folder / f"{identifier}_Points.mat", {"points": points}, oned_as="row")
    if images:
        for group in np.unique(points["Group"]).astype(int):
            image = np.zeros(shape, np.uint8)
            lit = points["Group"] == group
            weight = points.get("Weight", np.ones(len(lit)))
            image[points["Y"][lit].astype(int) - 1, points["X"][lit].astype(int) - 1] = np.round(
                255 * np.nan_to_num(weight[lit], nan=1.0)
            )
            tifffile.imwrite(folder / "Targets" / f"FOVTargets_{group:03d}_{identifier}.tif", image)
        everything = np.zeros(shape, np.uint8)
        everything[points["Y"].astype(int) - 1, points["X"].astype(int) - 1] = 255
        tifffile.imwrite(folder / "Targets" / f"AllFOVTargets_{identifier}.tif", everything)
        for number, plane in enumerate(np.unique(points.get("Z", np.ones(1))), 1):
            image = np.zeros(shape, np.uint8)
            lit = points.get("Z", np.ones(len(points["X"]))) == plane
            image[points["Y"][lit].astype(int) - 1, points["X"][lit].astype(int) - 1] = 255
            tifffile.imwrite(folder / "Targets" / f"AllFOVTargets_Plane{number}_{identifier}.tif", image)
        tifffile.imwrite(folder / "Targets" / f"SLMTargets_001_{identifier}.tif", np.ones((512, 512), np.uint8))
    return folder


def row(point, *, shots=10, power=50, trigger="None", delay=0, pause="5", duration="20"):
    return locals()


def two_group_points():
    """Unequal groups: 3 and 2 targets."""
    return {
        "X": np.array([1.0, 60, 30, 15, 16]),
        "Y": np.array([1.0, 40, 10, 20, 21]),
        "Z": np.array([1.0, 1, 1, 2, 2]),
        "Zum": np.array([0.0, 0, 0, 35.5, 35.5]),
        "Group": np.array([1.0, 1, 1, 2, 2]),
        "Weight": np.array([1.0, 0.5, 1, 0.25, np.nan]),
        "Counter": 5.0,
        "Selected": np.zeros(5),
    }


@pytest.fixture
def folder(tmp_path):
    rows = [row(1, trigger="First Repetition", delay=10), row(2, delay=50), row(1, delay=50), row(2, delay=50)]
    return make_folder(
        tmp_path / "2021_RL109_ps_014",
        rows=rows,
        name="2Patterns_2Repeats_x10ShotPerPattern",
        points=two_group_points(),
        sizes=("0.047535", "0.047535"),
    )


def codes(protocol):
    return [finding.code for finding in protocol.findings]


def edit(folder, suffix, old, new, count=-1):
    path = folder / f"{folder.name}{suffix}"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_reads_what_the_program_writes(folder):
    assert NaparmReader().detect(folder)
    protocol = NaparmReader().open(folder)
    np.testing.assert_array_equal(
        protocol.targets_px, [[0, 0, 0], [0, 39, 59], [0, 9, 29], [35.5, 19, 14], [35.5, 20, 15]]
    )  # (z, y, x): x is the column, and MATLAB counts from 1
    assert protocol.image_shape_px == (40, 60)
    assert protocol.groups == ((0, 1, 2), (3, 4))
    np.testing.assert_array_equal(protocol.weights, [1, 0.5, 1, 0.25, 1])
    assert [made.group for made in protocol.rows] == [0, 1, 0, 1]
    assert {made.n_shots for made in protocol.rows} == {10}
    assert [made.initial_delay_s for made in protocol.rows] == [0.01, 0.05, 0.05, 0.05]
    assert protocol.rows[0].shot_duration_s == 0.02
    assert protocol.rows[0].inter_shot_s == 0.005
    assert protocol.rows[0].power == 50
    assert protocol.rows[0].power_mw is None
    assert protocol.n_stims == 100
    assert protocol.trigger == "once"
    assert protocol.lead_in_s == 0
    assert protocol.spiral_diameter_um == 10
    assert protocol.extra["target_planes"] == [1, 1, 1, 2, 2]
    assert codes(protocol) == ["z-sign-assumed"]


def test_onsets_follow_the_change_of_patterns(folder):
    """Row k's first light is ChangePatternEvery x (k - 1) after the first row's: 300 ms = 50 + 10 x (20 + 5)."""
    shots = NaparmReader().open(folder).shots()
    first = [shots.onset_s[shots.row == number][0] for number in range(4)]
    np.testing.assert_allclose(first, 0.01 + 0.3 * np.arange(4))


def test_dummy_row(tmp_path):
    rows = [row(1, trigger="First Repetition"), row(2)]
    options = {"name": "2Patterns_1Repeats_x10ShotPerPattern", "points": two_group_points(), "sizes": ("0.1", "0.1")}
    plain = NaparmReader().open(make_folder(tmp_path / "plain_001", rows=rows, **options))
    dummy = NaparmReader().open(make_folder(tmp_path / "dummy_001", rows=rows, dummy=True, **options))
    assert (len(dummy.rows), dummy.lead_in_s) == (2, 0.001)
    np.testing.assert_allclose(dummy.shots().onset_s, plain.shots().onset_s + 0.001)
    assert codes(dummy) == codes(plain)


def test_trigger_each_row(folder):
    edit(folder, ".xml", 'TriggerFrequency="None"', 'TriggerFrequency="First Repetition"')
    protocol = NaparmReader().open(folder)
    assert (protocol.trigger, protocol.pulses_per_stim) == ("each", 4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('TriggerFrequency="None"', 'TriggerFrequency="First Repetition"', r"triggers on the rows \[1, 2\] of 4"),
        ('TriggerFrequency="None"', 'TriggerFrequency="Every Repetition"', r"triggers on the rows \[1, 2\] of 4"),
        ('TriggerFrequency="None"', 'TriggerFrequency="Full Moon"', "triggered at 'Full Moon'"),
        ('Indices="2"', 'Indices="3"', r"rows for the groups \[3\], but the targets are in 2 groups"),
        ('Indices="2"', 'Indices="1,2"', "names 2 points"),
        ('Indices="2"', 'Indices="two"', "'two' is not a list of points"),
        ('Repetitions="10"', 'Repetitions="0"', "Repetitions = 0 is out of range"),
        ('Repetitions="10"', 'Repetitions="1e30"', "Repetitions = 1e\\+30 is out of range"),
        ('Duration="20"', 'Duration="NaN"', "no usable Duration"),
        ('Duration="20"', 'Duration="0"', "a shot of 0 ms"),
        ('Duration="20"', 'Duration="abc"', "Duration = 'abc' is not a number"),
        ('Iterations="100"', 'Iterations="1.5"', "Iterations = 1.5 is not a whole number"),
        ("<PVGalvoPointElement", "<!DOCTYPE x><PVGalvoPointElement", "not well-formed"),
        ("</PVSavedMarkPointSeriesElements>", "", "not well-formed"),
    ],
)
def test_rows_that_make_no_sense(folder, old, new, message):
    edit(folder, ".xml", old, new, 1)
    with pytest.raises(FormatError, match=message):
        NaparmReader().open(folder)


@pytest.mark.parametrize(
    ("suffix", "old", "new", "code"),
    [
        (".xml", "2Patterns_2Repeats", "2Patterns_3Repeats", "name-differs"),
        (".xml", "2Patterns_2Repeats_x10ShotPerPattern", "my series", "unusual-name"),
        (".xml", "First Repetition", "None", "no-trigger"),
        (".xml", 'InitialDelay="50"', 'InitialDelay="-50"', "negative-delay"),
        (".gpl", 'SpiralSize="0.047535" SpiralRevolutions="3" Z="0" /></PV', 'SpiralSize="0.06" /></PV', "spiral-sizes-differ"),
        (".gpl", "0.047535", "4.7535", "implausible-spiral"),
    ],
)
def test_what_is_tolerated_is_told(folder, suffix, old, new, code):
    edit(folder, suffix, old, new)
    assert code in codes(NaparmReader().open(folder))


def test_group_never_lit(folder):
    edit(folder, ".xml", 'Indices="2"', 'Indices="1"')
    assert codes(NaparmReader().open(folder)) == ["z-sign-assumed", "groups-not-lit"]


def test_rows_without_indices_follow_the_name(folder):
    edit(folder, ".xml", ' Indices="1"', "")
    edit(folder, ".xml", ' Indices="2"', "")
    protocol = NaparmReader().open(folder)
    assert [made.group for made in protocol.rows] == [0, 1, 0, 1]
    assert "groups-by-name" in codes(protocol)
    edit(folder, ".xml", "2Patterns_2Repeats_x10ShotPerPattern", "x")
    with pytest.raises(FormatError, match="which group each row lights"):
        NaparmReader().open(folder)


def test_rows_that_count_from_zero(folder):
    edit(folder, ".xml", 'Indices="1"', 'Indices="0"')
    edit(folder, ".xml", 'Indices="2"', 'Indices="1"')
    assert [made.group for made in NaparmReader().open(folder).rows] == [0, 1, 0, 1]


def test_point_list_that_counts_from_one(folder):
    edit(folder, ".gpl", 'Index="1"', 'Index="2"')
    edit(folder, ".gpl", 'Index="0"', 'Index="1"')
    assert [made.group for made in NaparmReader().open(folder).rows] == [0, 1, 0, 1]


def test_micrometres_are_preferred_to_volts(folder):
    edit(folder, ".gpl", 'SpiralSize="0.047535"', 'SpiralSize="0.3" SpiralSizeInMicrons="20"')
    assert NaparmReader().open(folder).spiral_diameter_um == 20


def test_calibration_is_a_parameter(folder):
    edit(folder, ".gpl", "0.047535", "0.3 -0.3")  # older files hold two numbers
    assert NaparmReader().open(folder, v_per_um=0.03, offset_v=0).spiral_diameter_um == 10
    with pytest.raises(ParameterError, match="Did you mean 'v_per_um'"):
        read_photostim(folder, v_pr_um=0.03)
    with pytest.raises(ParameterError, match="without v_per_um"):
        NaparmReader().open(folder, offset_v=0.1)


def test_targets_from_images_where_the_points_are_missing(folder):
    from_points = NaparmReader().open(folder)
    (folder / f"{folder.name}_Points.mat").unlink()
    protocol = NaparmReader().open(folder)
    assert protocol.groups == ((0, 1, 2), (3, 4))
    for group in (0, 1):
        places = [set(map(tuple, made.targets_px[list(made.groups[group]), 1:])) for made in (protocol, from_points)]
        assert places[0] == places[1]
    np.testing.assert_allclose(sorted(protocol.weights), [64 / 255, 128 / 255, 1, 1, 1])
    assert "targets-from-images" in codes(protocol)
    shutil.rmtree(folder / "Targets")
    with pytest.raises(FormatError, match="neither a _Points.mat nor target images"):
        NaparmReader().open(folder)


def test_low_weights_are_low_pixel_values(folder):
    (folder / f"{folder.name}_Points.mat").unlink()
    image = np.zeros((40, 60), np.uint8)
    image[5, 7], image[9, 11] = 3, 255
    tifffile.imwrite(folder / "Targets" / f"FOVTargets_002_{folder.name}.tif", image)
    protocol = NaparmReader().open(folder)
    assert protocol.targets_px[3:].tolist() == [[0, 5, 7], [0, 9, 11]]
    np.testing.assert_allclose(protocol.weights[3:], [3 / 255, 1])


def test_more_than_nine_groups(tmp_path):
    count = 12
    points = {"X": np.arange(1.0, count + 1), "Y": np.arange(1.0, count + 1)[::-1], "Group": np.arange(1.0, count + 1)}
    rows = [row(number, trigger="First Repetition" if number == 1 else "None") for number in range(1, count + 1)]
    made = make_folder(
        tmp_path / "a_001", rows=rows, name="12Patterns_1Repeats_x10ShotPerPattern", points=points, sizes=["0.1"] * count
    )
    for keep_points in (True, False):
        protocol = NaparmReader().open(made)
        assert protocol.groups == tuple((number,) for number in range(count))
        np.testing.assert_array_equal(protocol.targets_px[:, 2], np.arange(count))
        if keep_points:
            (made / "a_001_Points.mat").unlink()


def test_image_size(folder):
    assert NaparmReader().open(folder, image_shape_px=(40, 60)).image_shape_px == (40, 60)
    with pytest.raises(ParameterError, match=r"but the target images of .* are \(40, 60\)"):
        NaparmReader().open(folder, image_shape_px=(512, 512))
    shutil.rmtree(folder / "Targets")
    protocol = NaparmReader().open(folder)
    assert protocol.image_shape_px == (512, 512)  # NAPARM's own field
    assert {"image-size-assumed", "no-target-images"} <= set(codes(protocol))
    assert NaparmReader().open(folder, image_shape_px=(300, 400)).image_shape_px == (300, 400)
    assert "targets-outside-image" in codes(NaparmReader().open(folder, image_shape_px=(30, 30)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Y": np.zeros(3)}, "5 X but 3 Y"),
        ({"Weight": np.zeros(3)}, "5 X but 3 Weight"),
        ({"X": np.array([1, 2, np.nan, 3, 4])}, "NaN or infinity"),
        ({"Group": np.array([1.0, 1, 1, 3, 3])}, "the groups 1, 3"),
        ({"Weight": np.array([1.0, 1, 1, -3, 3])}, "negative weight"),
    ],
)
def test_points_that_make_no_sense(folder, changes, message):
    savemat(folder / f"{folder.name}_Points.mat", {"points": {**two_group_points(), **changes}}, oned_as="row")
    with pytest.raises(FormatError, match=message):
        NaparmReader().open(folder)


def test_points_without_a_group_are_left_out(folder):
    points = two_group_points()
    points["Group"][1] = np.nan
    savemat(folder / f"{folder.name}_Points.mat", {"points": points}, oned_as="row")
    protocol = NaparmReader().open(folder)
    assert protocol.groups == ((0, 1), (2, 3))
    assert "targets-without-group" in codes(protocol)


def test_damaged_points_file(folder):
    path = folder / f"{folder.name}_Points.mat"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match="damaged MATLAB file"):
        NaparmReader().open(folder)


def test_missing_and_ambiguous_files(folder, tmp_path):
    (folder / f"{folder.name}.gpl").unlink()
    protocol = NaparmReader().open(folder)
    assert protocol.spiral_diameter_um is None
    assert "no-gpl" in codes(protocol)
    xml = folder / f"{folder.name}.xml"
    for name in ("a.xml", "b.xml"):
        shutil.copy(xml, folder / name)
    assert NaparmReader().open(folder).name == folder.name  # the one of the folder's name
    xml.unlink()
    with pytest.raises(AmbiguousInputError, match="several MarkPoints series: a.xml, b.xml"):
        NaparmReader().open(folder)
    for name in ("a.xml", "b.xml"):
        (folder / name).unlink()
    with pytest.raises(MissingFileError, match="holds no MarkPoints series"):
        NaparmReader().open(folder)
    with pytest.raises(MissingFileError, match="There is no folder"):
        NaparmReader().open(tmp_path / "none")


def test_other_folders_are_not_detected(tmp_path, folder):
    assert not NaparmReader().detect(tmp_path)
    assert not NaparmReader().detect(folder / f"{folder.name}.xml")
    (tmp_path / "series.xml").write_text('<PVSavedMarkPointSeriesElements Iterations="1" />')
    assert not NaparmReader().detect(tmp_path)


def test_inspect(folder):
    facts = NaparmReader().inspect(folder).facts
    assert (facts["n_targets"], facts["n_groups"], facts["n_stims"]) == (5, 2, 100)
    assert facts["stim_duration_s"] == pytest.approx(1.16)


def same(first, second):
    np.testing.assert_array_equal(first.targets_px, second.targets_px)
    np.testing.assert_array_equal(first.weights, second.weights)
    names = [
        "image_shape_px",
        "groups",
        "rows",
        "n_stims",
        "trigger",
        "lead_in_s",
        "stim_interval_s",
        "row_interval_s",
        "target_ids",
        "spiral_diameter_um",
    ]
    for name in (*names, "name", "extra"):
        assert getattr(first, name) == getattr(second, name), name
    assert [(item.code, item.message) for item in first.findings] == [(item.code, item.message) for item in second.findings]


def test_a_folder_of_the_rig_survives_writing(folder, tmp_path):
    first = NaparmReader().open(folder)
    again = NaparmReader().open(write_naparm(tmp_path / "copy" / folder.name, first, pixel_size_um=2.0))
    same(first, again)


times = st.integers(1, 40_000).map(lambda value: value / 40_000)
delays = st.integers(0, 40_000).map(lambda value: value / 40_000)


@st.composite
def protocols(draw):
    height, width = draw(st.integers(4, 80)), draw(st.integers(4, 80))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=11))
    count = sum(sizes)
    at = [draw(st.lists(st.floats(0, limit - 1, width=32), min_size=count, max_size=count)) for limit in (height, width)]
    z = draw(st.lists(st.sampled_from([0.0, -30.0, 45.5]), min_size=count, max_size=count))
    order = np.array(draw(st.permutations(range(count))))
    groups = tuple(tuple(sorted(part.tolist())) for part in np.split(order, np.cumsum(sizes)[:-1]))
    n_shots = draw(st.integers(1, 12))
    rows = [
        PhotostimRow(
            group=group,
            n_shots=n_shots,
            shot_duration_s=draw(times),
            inter_shot_s=draw(delays),
            initial_delay_s=draw(delays),
            power=draw(st.floats(0, 1000)),
        )
        for _ in range(draw(st.integers(1, 3)))
        for group in draw(st.permutations(range(len(sizes))))
    ]
    return PhotostimProtocol(
        targets_px=np.column_stack([z, *at]),
        image_shape_px=(height, width),
        groups=groups,
        rows=rows,
        n_stims=draw(st.integers(0, 6)),
        trigger=draw(st.sampled_from(["once", "each"])),
        lead_in_s=draw(st.sampled_from([0.0, 0.001])),
        stim_interval_s=draw(st.none() | st.integers(1500, 2000).map(lambda value: value / 1000)),
        weights=draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)),
        spiral_diameter_um=draw(st.floats(1, 60)),
    )


@settings(max_examples=20, deadline=None)
@given(protocols())
def test_write_read_write_read(tmp_path_factory, given):
    root = tmp_path_factory.mktemp("naparm")
    first = NaparmReader().open(write_naparm(root / "a" / "expt_001", given, pixel_size_um=(1.0, 2.0)))
    np.testing.assert_allclose(first.targets_px, given.targets_px, atol=1e-9)
    np.testing.assert_array_equal(first.weights, given.weights)
    assert first.groups == given.groups
    assert (first.n_stims, first.lead_in_s) == (given.n_stims, given.lead_in_s)
    assert first.image_shape_px == given.image_shape_px
    assert first.stim_interval_s == (given.stim_interval_s if given.n_stims > 1 and first.trigger == "once" else None)
    assert first.trigger == (given.trigger if len(given.rows) > 1 else "once")
    assert first.spiral_diameter_um == pytest.approx(given.spiral_diameter_um, abs=1e-6)
    for ours, theirs in zip(first.rows, given.rows, strict=True):
        assert (ours.group, ours.n_shots) == (theirs.group, theirs.n_shots)
        for name in ("shot_duration_s", "inter_shot_s", "initial_delay_s", "power"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-12, abs=1e-15)
    same(first, NaparmReader().open(write_naparm(root / "b" / "expt_001", first, pixel_size_um=(1.0, 2.0))))


def test_files_are_the_rigs(folder, tmp_path):
    made = write_naparm(tmp_path / "copy" / folder.name, NaparmReader().open(folder), pixel_size_um=2.0)
    text = (made / f"{folder.name}.xml").read_text()
    assert text.startswith('<PVSavedMarkPointSeriesElements Category="NAPARM" Name="2Patterns_2Repeats_x10ShotPerPattern"')
    assert "\n" not in text
    points = loadmat(made / f"{folder.name}_Points.mat")["points"][0, 0]
    original = loadmat(folder / f"{folder.name}_Points.mat")["points"][0, 0]
    for name in ("X", "Y", "Z", "Zum", "Group"):
        np.testing.assert_array_equal(points[name], original[name])
    for path in (folder / "Targets").glob("FOVTargets*.tif"):
        ours, theirs = (tifffile.imread(parent / "Targets" / path.name) for parent in (made, folder))
        np.testing.assert_array_equal(ours > 0, theirs > 0)
    assert sorted(path.name for path in (made / "Targets").iterdir()) == [
        f"AllFOVTargets_{folder.name}.tif",
        f"AllFOVTargets_Plane1_{folder.name}.tif",
        f"AllFOVTargets_Plane2_{folder.name}.tif",
        f"FOVTargets_001_{folder.name}.tif",
        f"FOVTargets_002_{folder.name}.tif",
    ]


def test_what_naparm_can_not_hold(tmp_path):
    values = {"targets_px": np.full((2, 3), 200.0), "image_shape_px": (64, 64), "groups": ((0, 1), (1,)), "lead_in_s": 0.5}
    rows = [PhotostimRow(group=0, n_shots=2, shot_duration_s=1, all_at_once=False)]
    with pytest.raises(ParameterError, match="can't hold this protocol") as caught:
        write_naparm(tmp_path / "x", PhotostimProtocol(rows=rows, **values), pixel_size_um=1)
    for part in ("exactly one group", "no multiple of", "lit together", "n_stims", "lead_in_s", "within the image"):
        assert part in str(caught.value)
    assert not (tmp_path / "x").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    with pytest.raises(ParameterError, match="never overwritten"):
        write_naparm(tmp_path / "full", PhotostimProtocol(rows=rows, **values), pixel_size_um=1)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_folders_raise_only_our_errors(tmp_path_factory, data):
    folder = make_folder(
        tmp_path_factory.mktemp("bad") / "a_001",
        rows=[row(1, trigger="First Repetition"), row(2)],
        name="2Patterns_1Repeats_x10ShotPerPattern",
        points=two_group_points(),
        sizes=("0.1", "0.1"),
    )
    path = data.draw(st.sampled_from(sorted(item for item in folder.rglob("*") if item.is_file())))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    with only_our_errors():
        if NaparmReader().detect(folder):
            NaparmReader().inspect(folder)
