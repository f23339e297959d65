"""Target images and points of a NAPARM folder: what one tells of the other, planes, and sizes that are not believed."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy.io import loadmat, savemat

from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.naparm import NaparmReader, write_naparm


def protocol(places, groups, weights=None):
    return PhotostimProtocol(
        targets_px=np.array(places, float),
        image_shape_px=(40, 60),
        groups=groups,
        rows=[PhotostimRow(group, 2, 0.02, 0.005, power=50) for group in range(len(groups))],
        n_stims=3,
        weights=weights,
        spiral_diameter_um=10.0,
    )


def codes(folder, **options):
    return [finding.code for finding in NaparmReader().open(folder, **options).findings]


@pytest.fixture
def folder(tmp_path):
    places = [(0, 5, 5), (0, 9, 9), (30, 20, 30), (30, 22, 31)]
    return write_naparm(tmp_path / "a_001", protocol(places, ((0, 1, 2), (3,))), pixel_size_um=2.0)


def draw(folder, name, *pixels, value=255, shape=(40, 60), dtype=np.uint8):
    image = np.zeros(shape, dtype)
    for pixel in pixels:
        image[pixel] = value
    tifffile.imwrite(folder / "Targets" / f"{name}_a_001.tif", image)


def test_equal_images_say_nothing(folder):
    assert codes(folder) == ["z-sign-assumed"]


def test_other_places_than_the_points(folder):
    draw(folder, "FOVTargets_002", (1, 1))
    findings = NaparmReader().open(folder).findings
    (finding,) = [finding for finding in findings if finding.code == "images-differ"]
    assert (finding.severity, finding.evidence) == ("error", {"groups": [2]})


def test_more_images_than_groups(folder):
    draw(folder, "FOVTargets_003", (1, 1))
    assert "images-differ" in codes(folder)


def test_another_image_of_all_and_other_planes(folder):
    draw(folder, "AllFOVTargets", (1, 1))
    draw(folder, "AllFOVTargets_Plane3", (1, 1))
    assert {"all-targets-differ", "planes-differ"} <= set(codes(folder))


def test_targets_on_one_pixel(tmp_path):
    """0-based 5.5 is MATLAB's 6.5, rounded to 7: pixel 6."""
    folder = write_naparm(tmp_path / "a_001", protocol([(0, 5.5, 5), (0, 6.4, 5)], ((0, 1),)), pixel_size_um=2.0)
    assert np.argwhere(tifffile.imread(folder / "Targets" / "FOVTargets_001_a_001.tif")).tolist() == [[6, 5]]
    assert codes(folder) == ["targets-merged"]
    (folder / "a_001_Points.mat").unlink()
    assert NaparmReader().open(folder).n_targets == 1


def test_a_weight_too_low_to_be_drawn_is_no_difference(tmp_path):
    folder = write_naparm(tmp_path / "a_001", protocol([(0, 5, 5), (0, 9, 9)], ((0, 1),), [1, 0.001]), pixel_size_um=2.0)
    assert codes(folder) == []


def test_planes_of_images_without_points(folder):
    (folder / "a_001_Points.mat").unlink()
    read = NaparmReader().open(folder)
    assert read.extra["target_planes"] == [1, 1, 2, 2]
    assert {finding.code: finding.severity for finding in read.findings}["depths-unknown"] == "error"
    given = NaparmReader().open(folder, plane_z_um=[0, 30])
    assert given.targets_px[:, 0].tolist() == [0, 0, 30, 30]
    assert [finding.code for finding in given.findings] == ["targets-from-images"]
    with pytest.raises(ParameterError, match="lie in 2 planes"):
        NaparmReader().open(folder, plane_z_um=[0])
    draw(folder, "AllFOVTargets_Plane2", (5, 5))
    assert "planes-differ" in codes(folder)


@pytest.mark.parametrize(("dtype", "value", "weight"), [(np.float32, 0.25, 0.25), (np.uint16, 65535, 1), (bool, True, 1)])
def test_images_of_other_types(folder, dtype, value, weight):
    (folder / "a_001_Points.mat").unlink()
    draw(folder, "FOVTargets_002", (22, 31), dtype=dtype, value=value)
    assert NaparmReader().open(folder).weights[-1] == weight


def test_images_that_are_none(folder):
    (folder / "a_001_Points.mat").unlink()
    draw(folder, "FOVTargets_002", (22, 31), dtype=np.float32, value=np.nan)
    with pytest.raises(FormatError, match="no weights"):
        NaparmReader().open(folder)
    tifffile.imwrite(folder / "Targets" / "FOVTargets_002_a_001.tif", np.zeros((40, 60, 3), np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match=r"the shape \(40, 60, 3\)"):
        NaparmReader().open(folder)
    draw(folder, "FOVTargets_002", *[(y, x) for y in range(300) for x in range(400)], shape=(300, 400))
    with pytest.raises(FormatError, match="more than 100,000 targets"):
        NaparmReader().open(folder)


def test_field_of_the_offsets(folder):
    for path in (folder / "Targets").iterdir():
        path.unlink()
    read = NaparmReader().open(folder)
    assert read.image_shape_px == (40, 60)
    (finding,) = [finding for finding in read.findings if finding.code == "image-size-assumed"]
    assert "offsets" in finding.message
    points = loadmat(folder / "a_001_Points.mat")["points"][0, 0]
    kept = {name: points[name] for name in ("X", "Y", "Group")}
    savemat(folder / "a_001_Points.mat", {"points": kept}, oned_as="row")
    assert NaparmReader().open(folder).image_shape_px == (512, 512)
    savemat(folder / "a_001_Points.mat", {"points": {**kept, "X": kept["X"] + 600}}, oned_as="row")
    with pytest.raises(ParameterError, match=r"Give it: image_shape_px"):
        NaparmReader().open(folder)


def test_size_of_other_images(folder):
    for path in (folder / "Targets").iterdir():
        path.unlink()
    draw(folder, "SLMTargets_001", (1, 1), shape=(44, 66))
    assert NaparmReader().open(folder).image_shape_px == (44, 66)


def test_planes_at_one_depth_are_told(folder):
    points = loadmat(folder / "a_001_Points.mat")["points"][0, 0]
    values = {name: points[name] for name in points.dtype.names}
    savemat(folder / "a_001_Points.mat", {"points": {**values, "Zum": np.zeros(4)}}, oned_as="row")
    assert "depths-unknown" in codes(folder)
    assert NaparmReader().open(folder, plane_z_um=[0, 25]).targets_px[:, 0].tolist() == [0, 0, 25, 25]
    savemat(folder / "a_001_Points.mat", {"points": {**values, "Zum": np.array([0, np.nan, 0, 1])}}, oned_as="row")
    assert "depths-unknown" in codes(folder)


def test_configuration_of_another_experiment(folder):
    savemat(folder / "a_001_Config.mat", {"parameters": {"ExperimentIdentifier": "b_002"}})
    read = NaparmReader().open(folder)
    assert read.extra["identifier"] == "b_002"
    assert "identifier-differs" in [finding.code for finding in read.findings]
    (folder / "a_001_Config.mat").write_bytes(b"x" * 200)
    assert "config-unreadable" in codes(folder)


def test_groups_in_turn(folder):
    """One row that names both groups, AllPointsAtOnce="False": each has its own onset."""
    path = folder / "a_001.xml"
    text = path.read_text()
    head, first = (
        text[: text.index("<PVMarkPointElement")],
        text[text.index("<PVMarkPointElement") :].split("</PVMarkPointElement>")[0],
    )
    first = first.replace('Indices="1"', 'Indices="1-2" AllPointsAtOnce="False"')
    path.write_text(f"{head}{first}</PVMarkPointElement></PVSavedMarkPointSeriesElements>")
    read = NaparmReader().open(folder)
    shots = read.shots()
    np.testing.assert_allclose(shots.onset_s, [0, 0.025, 0.05, 0.075])
    assert shots.group.tolist() == [0, 1, 0, 1]
    assert {"groups-in-turn", "name-differs"} <= {finding.code for finding in read.findings}
    path.write_text(path.read_text().replace(' AllPointsAtOnce="False"', ""))
    with pytest.raises(FormatError, match="names 2 points"):
        NaparmReader().open(folder)


def test_power_of_the_groups(folder):
    read = NaparmReader().open(folder, power_calibration=[(0, 0), (100, 60)])
    assert [row.power_mw for row in read.rows] == [10, 30]  # 50 units are 30 mW, shared by 3 targets, or for one
    np.testing.assert_allclose(read.target_powers_mw(0), [10, 10, 10])


def test_inspection_of_a_damaged_folder(folder):
    (folder / "a_001_Points.mat").write_bytes(b"")
    inspection = NaparmReader().inspect(folder)
    assert inspection.facts["n_rows"] == 2
    assert [finding.code for finding in inspection.findings] == ["unreadable"]
