"""NWB files, written by pynwb or by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError
from packerlabimaging.io.nwb import NwbReader
from packerlabimaging.io.readers import find_readers, open_segmentation

HEIGHT, WIDTH, N_FRAMES = 9, 14, 30
RNG = np.random.default_rng(5)
MASKS = np.zeros((3, HEIGHT, WIDTH), np.float32)
for number, (top, left) in enumerate([(0, 0), (5, 9), (2, 4)]):
    MASKS[number, top : top + 3, left : left + 4] = RNG.uniform(0.5, 2, (3, 4))
TRACES = {name: RNG.normal(size=(3, N_FRAMES)).astype(np.float32) for name in ("raw", "neuropil", "deconvolved", "dff")}


def write(
    path: Path,
    *,
    masks: str = "image_mask",
    series: tuple[str, ...] = ("raw", "neuropil", "deconvolved", "dff"),
    tables: int = 1,
    description: str = "a session",
    rows: list[int] | None = None,
    dimension: tuple[int, int] | None = None,
    planes: tuple[int, ...] = (0, 0, 0),
    swap: bool = False,
    timestamps: np.ndarray | None = None,
) -> Path:
    pynwb = pytest.importorskip("pynwb")
    from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel

    start = datetime(2024, 3, 1, tzinfo=UTC)
    file = pynwb.NWBFile(session_description=description, identifier="x", session_start_time=start)
    imaging = file.create_imaging_plane(
        name="ImagingPlane",
        optical_channel=OpticalChannel(name="green", description="", emission_lambda=520.0),
        description="",
        device=file.create_device(name="scope"),
        excitation_lambda=920.0,
        indicator="GCaMP",
        location="V1",
    )
    if dimension is not None:
        file.add_acquisition(
            pynwb.ophys.TwoPhotonSeries(
                name="movie", imaging_plane=imaging, timestamps=np.arange(3.0), dimension=dimension,
                external_file=["a.tif"], unit="n.a.",
                format="external", starting_frame=[0],
            )
        )  # fmt: skip
    module = file.create_processing_module(name="ophys", description="")
    segmentation = ImageSegmentation()
    module.add(segmentation)
    for number in range(tables):
        table = segmentation.create_plane_segmentation(name=f"Rois{number}", description="", imaging_plane=imaging)
        table.add_column(name="Accepted", description="")
        for roi, mask in enumerate(MASKS):
            y, x = np.nonzero(mask)
            pairs = zip(*((y, x) if swap else (x, y)), strict=True)
            given: Any = mask.T
            if masks == "pixel_mask":
                given = [(a, b, mask[y[k], x[k]]) for k, (a, b) in enumerate(pairs)]
            elif masks == "voxel_mask":
                given = [(a, b, planes[roi], mask[y[k], x[k]]) for k, (a, b) in enumerate(pairs)]
            table.add_roi(**{masks: given}, Accepted=roi != 1)
    chosen = rows or [0, 1, 2]
    fluorescence, dff = Fluorescence(), DfOverF()
    module.add(fluorescence)
    if "dff" in series:
        module.add(dff)
    names = {"raw": "RoiResponseSeries", "neuropil": "Neuropil", "deconvolved": "Deconvolved", "dff": "RoiResponseSeries"}
    for name in series:
        region = table.create_roi_table_region(region=chosen, description="")
        when = {"rate": 10.0} if timestamps is None else {"timestamps": timestamps}
        (dff if name == "dff" else fluorescence).create_roi_response_series(
            name=names.get(name, name), data=TRACES.get(name, TRACES["raw"])[chosen].T, rois=region, unit="lumens", **when
        )
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def check_rois(found: Any, masks: np.ndarray = MASKS) -> None:
    assert len(found.rois) == len(masks)
    for roi, mask in enumerate(masks):
        y, x, weights = found.rois.pixels(roi)
        image = np.zeros_like(mask)
        image[y, x] = weights
        np.testing.assert_allclose(image, mask)


@pytest.mark.parametrize("masks", ["image_mask", "pixel_mask", "voxel_mask"])
def test_masks_and_traces(tmp_path: Path, masks: str) -> None:
    path = write(tmp_path / "a.nwb", masks=masks, dimension=(WIDTH, HEIGHT))
    assert [reader.name for reader in find_readers(path)] == ["nwb"]
    found = open_segmentation(path)
    assert found.rois.frame_shape_px == (HEIGHT, WIDTH)
    check_rois(found)
    np.testing.assert_array_equal(found.F, TRACES["raw"])
    np.testing.assert_array_equal(found.Fneu, TRACES["neuropil"])
    np.testing.assert_array_equal(found.spks, TRACES["deconvolved"])
    np.testing.assert_array_equal(found.other_traces["dff"], TRACES["dff"])
    np.testing.assert_array_equal(found.iscell, [True, False, True])
    assert found.extra["rate_hz"] == 10.0
    assert [finding.code for finding in found.findings] == ["axes-assumed"]


def test_the_size_of_the_frame_is_not_guessed_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nwb", masks="pixel_mask")
    found = open_segmentation(path)
    assert found.rois.frame_shape_px == (8, 13) and "frame-size-unknown" in [finding.code for finding in found.findings]
    assert open_segmentation(path, frame_shape_px=(HEIGHT, WIDTH)).rois.frame_shape_px == (HEIGHT, WIDTH)
    with pytest.raises(FormatError, match="written the other way round.*axes='yx'"):
        open_segmentation(path, frame_shape_px=(WIDTH, HEIGHT))


def test_suite2p_writes_y_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nwb", masks="pixel_mask", swap=True, description="suite2p_proc")
    found = open_segmentation(path, frame_shape_px=(HEIGHT, WIDTH))
    check_rois(found)
    assert "Suite2p's own export" in found.findings[-1].message
    found = open_segmentation(write(tmp_path / "b.nwb", masks="pixel_mask", swap=True), axes="yx", frame_shape_px=(HEIGHT, WIDTH))
    check_rois(found)
    assert found.findings == ()


def test_planes_tables_and_series_are_never_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nwb", masks="voxel_mask", planes=(0, 3, 0))
    with pytest.raises(AmbiguousInputError, match=r"on planes \[0, 3\]"):
        open_segmentation(path)
    found = open_segmentation(path, plane=3, frame_shape_px=(HEIGHT, WIDTH))
    check_rois(found, MASKS[1:2])
    np.testing.assert_array_equal(found.F, TRACES["raw"][1:2])
    assert found.rois.ids == ("roi-0001",) and found.iscell is not None and not found.iscell.any()
    path = write(tmp_path / "b.nwb", tables=2)
    with pytest.raises(AmbiguousInputError, match="several tables of ROIs: .*Rois0, .*Rois1"):
        open_segmentation(path)
    assert not open_segmentation(path, table="Rois0").has_traces
    assert open_segmentation(path, table="Rois1").has_traces
    with pytest.raises(ParameterError, match="names 0 tables"):
        open_segmentation(path, table="Rois7")
    path = write(tmp_path / "c.nwb", series=("raw", "other"))
    with pytest.raises(AmbiguousInputError, match="several fluorescences"):
        open_segmentation(path)
    np.testing.assert_array_equal(open_segmentation(path, traces="other").F, TRACES["raw"])


def test_series_of_some_rois_in_another_order(tmp_path: Path) -> None:
    found = open_segmentation(write(tmp_path / "a.nwb", rows=[2, 0]))
    np.testing.assert_array_equal(found.F, TRACES["raw"][[0, 2]])
    check_rois(found, MASKS[[0, 2]])
    assert "rois-without-traces" in [finding.code for finding in found.findings]


def test_rois_without_fluorescence(tmp_path: Path) -> None:
    found = open_segmentation(write(tmp_path / "a.nwb", series=("dff",)))
    assert not found.has_traces and "no-traces" in [finding.code for finding in found.findings]
    times = np.arange(N_FRAMES) / 20 + 3
    assert open_segmentation(write(tmp_path / "b.nwb", timestamps=times)).extra["rate_hz"] == pytest.approx(20)


def test_files_without_segmentation_and_damaged_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.nwb"
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file.create_group("acquisition/movie").attrs["neurodata_type"] = "TwoPhotonSeries"
    with pytest.raises(FormatError, match="holds no segmentation.*TwoPhotonSeries 'acquisition/movie'"):
        open_segmentation(path)
    assert NwbReader().inspect(path).findings[0].code == "no-segmentation"
    with h5py.File(path, "w") as file:
        file["nwb_version"] = "NWB-1.0.6"
    with pytest.raises(FormatError, match="version NWB-1.0.6 of NWB"):
        open_segmentation(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(FormatError, match="HDF5 but not NWB"):
        open_segmentation(path)
    path = write(tmp_path / "b.nwb")
    with h5py.File(path, "r+") as file:
        region = file["processing/ophys/Fluorescence/RoiResponseSeries/rois"]
        region[0] = 77
    with pytest.raises(FormatError, match="names ROIs that there are not"):
        open_segmentation(path)


@pytest.mark.realdata
def test_old_real_files_get_a_clear_answer(realdata: Path) -> None:
    folder = realdata / "NeurodataWithoutBorders__pynwb" / "tests" / "back_compat"
    versions = {}
    for path in sorted(folder.glob("*.nwb")):
        inspection = NwbReader().inspect(path)
        versions[path.name] = inspection.facts["nwb_version"]
        assert inspection.findings[0].code == "no-segmentation"
        with pytest.raises(FormatError, match="holds no segmentation"):
            open_segmentation(path)
    assert list(versions.values()) == ["2.0b", "2.3.0", "2.5.0"]
