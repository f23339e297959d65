"""Suite2p folders of every version, made by hand with numpy, and two real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, MissingInputError, ParameterError
from packerlabimaging.io.readers import open_segmentation
from packerlabimaging.io.suite2p import Suite2pReader, find_frames, frames_of_files

HEIGHT, WIDTH, N_FRAMES = 20, 30, 50
CROP = ([2, 18], [3, 29])


def make_stat(n_rois: int = 4) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    stat = []
    for index in range(n_rois):
        n = 3 + index  # ragged
        y, x = np.unravel_index(rng.choice(HEIGHT * WIDTH, n, replace=False), (HEIGHT, WIDTH))
        stat.append(
            {
                "ypix": y.astype(np.int32),
                "xpix": x.astype(np.int64),
                "lam": rng.uniform(0.5, 2, n).astype(np.float32),
                "med": [int(np.median(y)), int(np.median(x))],
                "npix": n,
                "skew": np.float32(index / 2),
                "footprint": 1.0 if index else 2,
                "overlap": np.zeros(n, bool),
            }
        )
    return stat


def make_plane(folder: Path, version: str = "0.12", n_rois: int = 4, **changes: Any) -> dict[str, Any]:
    """Write one plane as Suite2p of that version does, and return what is in it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(2)
    written: dict[str, Any] = {name: rng.normal(size=(n_rois, N_FRAMES)).astype("f4") for name in ("F", "Fneu", "spks")}
    written["iscell"] = np.stack([np.arange(n_rois) % 2, np.linspace(0, 1, n_rois)], axis=1).astype(float)
    written["stat"] = make_stat(n_rois)
    images = {"meanImg": rng.random((HEIGHT, WIDTH)), "max_proj": rng.random((16, 26)), "Vcorr": rng.random((16, 26))}
    outputs = {"yrange": CROP[0], "xrange": CROP[1], "xoff": np.zeros(N_FRAMES), "meanImg": images["meanImg"]}
    found = {"max_proj": images["max_proj"], "Vcorr": images["Vcorr"]}
    files = ["D:\\raw\\t-001\\t-001_a.tif", "D:\\raw\\t-001\\t-001_b.tif", "D:\\raw\\t-002\\x.tif"]
    inputs = {"Ly": HEIGHT, "Lx": WIDTH, "nframes": N_FRAMES, "frames_per_file": np.array([10, 15, 25])}
    if version.startswith("0"):
        settings = {"suite2p_version": version, "fs": 15.0, "tau": 1.5, "neucoeff": 0.7, "filelist": files}
        dictionaries = {"ops": {**inputs, **settings, **outputs, **found}}
    else:
        sections = {"extraction": {"neuropil_coefficient": 0.6, "neuropil_extract": True}, "run": {"do_deconvolution": True}}
        dictionaries = {
            "db": {**inputs, "file_list": files},
            "settings": {"version": version, "fs": 15.0, "tau": 1.5, **sections},
            "reg_outputs": outputs,
            "detect_outputs": found,
        }
    for name, value in changes.items():
        if name in written:
            written[name] = value
        else:
            for values in dictionaries.values():
                values.pop(name, None)
            if value is not None:
                next(iter(dictionaries.values()))[name] = value
    for name, values in dictionaries.items():
        np.save(folder / f"{name}.npy", values)  # type: ignore[arg-type]
    for name, array in written.items():
        if array is not None:
            np.save(folder / f"{name}.npy", np.array(array, dtype=object) if name == "stat" else array)
    return {**written, **images, "files": files}


@pytest.mark.parametrize("version", ["0.7.5", "0.14.0", "1.1.0"])
def test_every_version_gives_the_same_segmentation(tmp_path: Path, version: str) -> None:
    truth = make_plane(tmp_path / "run" / "suite2p" / "plane0", version)
    reader = Suite2pReader()
    for path in (tmp_path / "run", tmp_path / "run" / "suite2p", tmp_path / "run" / "suite2p" / "plane0"):
        assert reader.detect(path)
        found = reader.open(path)
        assert found.engine == f"suite2p {version}"
        assert found.source == str(path)
        for name in ("F", "Fneu", "spks"):
            assert isinstance(getattr(found, name), np.memmap)
            np.testing.assert_array_equal(getattr(found, name), truth[name])
        np.testing.assert_array_equal(found.iscell, [False, True, False, True])
        assert found.rois.frame_shape_px == (HEIGHT, WIDTH)
        for index, roi in enumerate(truth["stat"]):
            order = np.lexsort((roi["xpix"], roi["ypix"]))
            y, x, weights = found.rois.pixels(index)
            np.testing.assert_array_equal((y, x), (roi["ypix"][order], roi["xpix"][order]))
            np.testing.assert_array_equal(weights, roi["lam"][order])
        assert found.obs is not None
        assert set(found.obs.columns) == {"iscell_probability", "npix", "skew", "footprint"}
        np.testing.assert_array_equal(found.obs["npix"], [3, 4, 5, 6])
        np.testing.assert_array_equal(found.obs["footprint"], [2, 1, 1, 1])
        np.testing.assert_allclose(found.obs["iscell_probability"], np.linspace(0, 1, 4))
        assert found.extra["rate_hz"] == 15.0 and found.extra["tau_s"] == 1.5 and found.extra["motion_recorded"] is True
        assert found.extra["neuropil_coefficient"] == (0.7 if version.startswith("0") else 0.6)
        assert found.findings == ()
        np.testing.assert_array_equal(found.images["mean"], truth["meanImg"].astype("f4"))
        for ours, theirs in (("max", "max_proj"), ("correlation", "Vcorr")):
            np.testing.assert_array_equal(found.images[ours][2:18, 3:29], truth[theirs].astype("f4"))
            assert np.isnan(found.images[ours]).sum() == HEIGHT * WIDTH - 16 * 26


def test_frames_are_given_to_files_in_the_order_of_the_run(tmp_path: Path) -> None:
    truth = make_plane(tmp_path / "plane0")
    found = Suite2pReader().open(tmp_path)
    assert frames_of_files(found) == dict(zip(truth["files"], [(0, 10), (10, 25), (25, 50)], strict=True))
    assert find_frames(found, "/mnt/elsewhere/t-001") == (0, 25)
    assert find_frames(found, Path("raw/t-001/t-001_b.tif")) == (10, 25)
    assert find_frames(found, "E:\\raw\\t-002") == (25, 50)
    with pytest.raises(MissingInputError, match=r"did not read '/raw/t-003'.*t-001_a"):
        find_frames(found, "/raw/t-003")


def test_files_of_one_name_and_files_apart_are_ambiguous(tmp_path: Path) -> None:
    files = ["/a/2020/t-001/x.tif", "/a/2021/t-001/x.tif", "/a/2020/t-001/y.tif"]
    make_plane(tmp_path / "plane0", filelist=files)
    found = Suite2pReader().open(tmp_path)
    with pytest.raises(AmbiguousInputError, match=r"several recordings.*2020/t-001, .*2021/t-001"):
        find_frames(found, "t-001")
    assert find_frames(found, "2021/t-001") == (10, 25)
    with pytest.raises(AmbiguousInputError, match="not next to each other"):
        find_frames(found, "/b/2020/t-001")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames_per_file": None}, "does not record how many frames each of its 3 files"),
        ({"frames_per_file": np.array([10, 15])}, "does not record"),
        ({"filelist": None}, "each of its 0 files"),
        ({"frames_per_file": np.array([10, 15, 24])}, "have 49 frames, its traces 50"),
        ({"filelist": ["a", "a", "b"]}, "names the file 'a' twice"),
    ],
)
def test_missing_or_wrong_accounting_is_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    make_plane(tmp_path / "plane0", **changes)
    found = Suite2pReader().open(tmp_path)
    with pytest.raises(FormatError, match=message):
        frames_of_files(found)
    assert [finding.code for finding in found.findings] == (["frame-accounting"] if "49" in message else [])


def test_one_file_needs_no_count(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0", filelist=["movie.tif"], frames_per_file=None)
    assert frames_of_files(Suite2pReader().open(tmp_path)) == {"movie.tif": (0, N_FRAMES)}


def test_planes_are_never_guessed(tmp_path: Path) -> None:
    for plane in (0, 2, 10):
        make_plane(tmp_path / "suite2p" / f"plane{plane}", n_rois=plane + 1)
    make_plane(tmp_path / "suite2p" / "combined", n_rois=14)
    reader = Suite2pReader()
    with pytest.raises(AmbiguousInputError, match=r"several planes: 0, 2, 10\. Say which with plane="):
        reader.open(tmp_path)
    with pytest.raises(MissingFileError, match=r"no plane 1\. It holds: 0, 2, 10"):
        reader.open(tmp_path, plane=1)
    found = reader.open(tmp_path, plane=10)
    assert len(found.rois) == 11 and found.extra["plane"] == 10
    np.testing.assert_array_equal(found.rois.planes, np.full(11, 10))
    assert reader.inspect(tmp_path).facts["n_planes"] == 3
    assert reader.inspect(tmp_path).facts["plane2_n_rois"] == 3
    with pytest.raises(ParameterError, match="no option 'channel'"):
        open_segmentation(tmp_path, channel=1)


def test_missing_files_are_named(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0")
    for name in ("iscell", "Fneu", "spks"):
        (tmp_path / "plane0" / f"{name}.npy").unlink()
    found = Suite2pReader().open(tmp_path)
    assert found.Fneu is None and found.spks is None and found.iscell is not None and found.iscell.all()
    assert [finding.code for finding in found.findings] == ["no-iscell"]
    (tmp_path / "plane0" / "F.npy").rename(tmp_path / "F.npy")
    found = Suite2pReader().open(tmp_path)
    assert not found.has_traces and len(found.rois) == 4
    assert [finding.code for finding in found.findings] == ["no-traces", "no-iscell"]
    (tmp_path / "plane0" / "stat.npy").unlink()
    assert not Suite2pReader().detect(tmp_path)
    with pytest.raises(MissingFileError, match="holds no Suite2p results"):
        Suite2pReader().open(tmp_path)


def test_traces_without_rois_get_a_clear_answer(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0")
    for name in ("stat", "ops"):
        (tmp_path / "plane0" / f"{name}.npy").unlink()
    assert Suite2pReader().detect(tmp_path)
    with pytest.raises(MissingFileError, match=r"lacks stat\.npy, .*Found: F\.npy, Fneu\.npy, iscell\.npy, spks\.npy"):
        Suite2pReader().open(tmp_path)


@pytest.mark.parametrize("version", ["0.12", "1.1.0"])
def test_a_run_without_settings(tmp_path: Path, version: str) -> None:
    truth = make_plane(tmp_path / "plane0", version)
    for name in ("ops", "db", "settings", "reg_outputs", "detect_outputs"):
        (tmp_path / "plane0" / f"{name}.npy").unlink(missing_ok=True)
    found = Suite2pReader().open(tmp_path)
    assert found.rois.frame_shape_px == tuple(max(int(roi[k].max()) + 1 for roi in truth["stat"]) for k in ("ypix", "xpix"))
    assert [finding.code for finding in found.findings] == ["frame-size-unknown"]
    given = Suite2pReader().open(tmp_path, frame_shape_px=(HEIGHT, WIDTH))
    assert (
        given.rois.frame_shape_px == (HEIGHT, WIDTH) and given.findings == () and given.engine == "suite2p (version not recorded)"
    )
    np.testing.assert_array_equal(found.F, truth["F"])
    with pytest.raises(FormatError, match="pixels outside the 5 x 5 frame"):
        Suite2pReader().open(tmp_path, frame_shape_px=(5, 5))


def test_two_channels(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0")
    red = np.random.default_rng(5).random((4, N_FRAMES)).astype("f4")
    np.save(tmp_path / "plane0" / "F_chan2.npy", red)
    np.save(tmp_path / "plane0" / "redcell.npy", np.array([[0, 0.1], [1, 0.9], [0, 0.2], [0, 0.3]]))
    found = Suite2pReader().open(tmp_path)
    np.testing.assert_array_equal(found.other_traces["F_chan2"], red)
    np.save(tmp_path / "plane0" / "F_chan2.npy", red[:, :7])
    with pytest.raises(FormatError, match=r"not of one run: F_chan2\.npy has 7 frames"):
        Suite2pReader().open(tmp_path)


def test_a_tiled_picture_of_planes_is_not_taken_for_a_plane(tmp_path: Path) -> None:
    make_plane(tmp_path / "suite2p" / "combined")
    with pytest.raises(FormatError, match="tiled into one picture.*plane="):
        Suite2pReader().open(tmp_path / "suite2p" / "combined")
    assert not Suite2pReader().detect(tmp_path)


def test_a_cut_iscell_is_said_to_be_cut(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0")
    path = tmp_path / "plane0" / "iscell.npy"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FormatError, match=r"iscell\.npy' is cut"):
        Suite2pReader().open(tmp_path)
    np.save(path, np.ones((4, 3)))
    with pytest.raises(FormatError, match=r"shape \(4, 3\). Expected \(n_rois, 2\)"):
        Suite2pReader().open(tmp_path)


def test_frames_counted_by_folder_or_by_channel(tmp_path: Path) -> None:
    files = [f"D:\\raw\\t-{t}\\a_{n}.tif" for t in (2, 1) for n in (1, 2)]
    changes = {"filelist": files, "frames_per_file": None, "frames_per_folder": np.array([20, 30])}
    make_plane(tmp_path / "a" / "plane0", **changes, first_tiffs=np.array([True, False, True, False]))
    assert frames_of_files(Suite2pReader().open(tmp_path / "a")) == {"D:/raw/t-2": (0, 20), "D:/raw/t-1": (20, 50)}
    files = [f"/raw/t-{t}/x_Cycle00001_Ch{c}_000001.ome.tif" for c in (1, 2) for t in (1, 2)]
    make_plane(tmp_path / "b" / "plane0", filelist=files, frames_per_file=np.array([15, 35]))
    found = Suite2pReader().open(tmp_path / "b")
    assert find_frames(found, "/raw/t-1") == (0, 15) and find_frames(found, "/raw/t-2") == (15, 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Ly": 10**9}, "frames are 1e.09 x 30 pixels large"),
        ({"Ly": -3}, "frames are -3 x 30"),
        ({"Ly": 2.5}, "frames are 2.5 x 30"),
        ({"frames_per_file": np.array([10, -15, 55])}, "does not record"),
        ({"frames_per_file": [10, "x", 25]}, "does not record"),
        ({"filelist": [1, 2, 3]}, "each of its 0 files"),
    ],
)
def test_impossible_settings(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    make_plane(tmp_path / "plane0", **changes)
    with pytest.raises(FormatError, match=message):
        frames_of_files(Suite2pReader().open(tmp_path))


@pytest.mark.parametrize(
    "pixels", [np.array([1.5, 2, 3]), np.array([np.nan, 2, 3]), ["a", "b", "c"], None, [], np.array([1e12, 2, 3])]
)
def test_pixels_that_are_none(tmp_path: Path, pixels: Any) -> None:
    stat = make_stat()
    stat[0]["ypix"] = pixels
    make_plane(tmp_path / "plane0", stat=stat)
    with pytest.raises(FormatError, match="ROI 0 in .* has no pixels, or lists of different lengths"):
        Suite2pReader().open(tmp_path)


def test_files_of_different_runs_are_refused(tmp_path: Path) -> None:
    make_plane(tmp_path / "a" / "plane0", F=np.zeros((3, N_FRAMES), "f4"), spks=np.zeros((4, 7), "f4"))
    with pytest.raises(FormatError, match=r"not of one run: F\.npy has 3 ROIs, spks\.npy has 7 frames"):
        Suite2pReader().open(tmp_path / "a")
    stat = make_stat()
    stat[2]["ypix"][1] = HEIGHT
    make_plane(tmp_path / "b" / "plane0", stat=stat)
    with pytest.raises(FormatError, match="ROI 2 .* outside the 20 x 30 frame"):
        Suite2pReader().open(tmp_path / "b")
    stat = make_stat()
    stat[1]["lam"] = stat[1]["lam"][:-1]
    make_plane(tmp_path / "c" / "plane0", stat=stat)
    with pytest.raises(FormatError, match="ROI 1 in .*different lengths"):
        Suite2pReader().open(tmp_path / "c")


def test_the_size_of_the_mean_image_will_do(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0", Ly=None, Lx=None)
    assert Suite2pReader().open(tmp_path).rois.frame_shape_px == (HEIGHT, WIDTH)


def test_odd_pixels_are_mended_and_told(tmp_path: Path) -> None:
    stat = make_stat(3)
    stat[0].update(ypix=np.array([4, 4, 5, 6]), xpix=np.array([7, 7, 8, 9]), lam=np.array([1, 2, 3, 0], "f4"))
    stat[1].update(lam=np.zeros(4, "f4"))  # drawn by hand
    del stat[1]["skew"]
    make_plane(tmp_path / "plane0", n_rois=3, stat=stat)
    found = Suite2pReader().open(tmp_path)
    y, x, weights = found.rois.pixels(0)
    np.testing.assert_array_equal((y, x, weights), ([4, 5], [7, 8], [3, 3]))
    np.testing.assert_array_equal(found.rois.pixels(1)[2], np.ones(4))
    assert "1 pixels without weight are left out, 1 named twice" in found.findings[0].message
    assert found.obs is not None
    np.testing.assert_array_equal(found.obs["skew"], [0, np.nan, 1])


def test_zeros_that_are_no_result_are_left_out(tmp_path: Path) -> None:
    make_plane(tmp_path / "a" / "plane0", spikedetect=False, neuropil_extract=0.0)
    found = Suite2pReader().open(tmp_path / "a")
    assert found.spks is None and found.Fneu is None
    assert [finding.code for finding in found.findings] == ["no-deconvolution", "no-neuropil"]
    make_plane(tmp_path / "b" / "plane0", "1.1.0", run={"do_deconvolution": False}, spks=np.zeros((4, N_FRAMES), "f4"))
    assert Suite2pReader().open(tmp_path / "b").spks is None


def test_red_cells_and_labels_in_one_column(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0", iscell=np.array([1.0, 0, 0, 1]))
    np.save(tmp_path / "plane0" / "redcell.npy", np.array([[0, 0.1], [1, 0.9], [0, 0.2], [0, 0.3]]))
    found = Suite2pReader().open(tmp_path)
    np.testing.assert_array_equal(found.iscell, [True, False, False, True])
    assert found.obs is not None
    np.testing.assert_array_equal(found.obs["redcell"], [False, True, False, False])
    np.testing.assert_array_equal(found.obs["redcell_probability"], [0.1, 0.9, 0.2, 0.3])
    np.save(tmp_path / "plane0" / "iscell.npy", np.array([[1, 0.5], [np.nan, 0], [0, 0], [0, 0]]))
    with pytest.raises(FormatError, match="labels that are not numbers"):
        Suite2pReader().open(tmp_path)


def test_images_that_fit_nowhere_are_told(tmp_path: Path) -> None:
    make_plane(tmp_path / "plane0", max_proj=np.zeros((5, 5)), Vmap=0, refImg=np.zeros((HEIGHT, WIDTH), "i2"))
    found = Suite2pReader().open(tmp_path)
    assert set(found.images) == {"mean", "correlation", "reference"}
    assert "'max_proj' has the shape (5, 5)" in found.findings[0].message


def test_a_hostile_folder_runs_nothing(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (eval, (f"open({str(tmp_path / 'harm')!r}, 'w')",))

    make_plane(tmp_path / "plane0", stat=[{**make_stat(1)[0], "manual": Harm()}], n_rois=1)
    with pytest.raises(FormatError, match=r"stat\.npy' holds 'builtins\.eval'"):
        Suite2pReader().open(tmp_path)
    assert Suite2pReader().inspect(tmp_path).findings[0].severity == "error"
    assert not (tmp_path / "harm").exists()


def test_detection_is_quiet_about_anything_else(tmp_path: Path) -> None:
    reader = Suite2pReader()
    (tmp_path / "plane0").mkdir()
    (tmp_path / "suite2p").write_text("a file")
    (tmp_path / "stat.npy").write_bytes(b"")
    assert not reader.detect(tmp_path)
    assert not reader.detect(tmp_path / "stat.npy")
    assert not reader.detect(tmp_path / "nothing")


@pytest.mark.realdata
def test_a_real_run_of_suite2p_0_11(realdata: Path) -> None:
    folder = realdata / "pynapple-org__pynapple"
    found = Suite2pReader().open(folder)
    plane = folder / "suite2p" / "plane0"
    iscell = np.load(plane / "iscell.npy")
    assert found.F.shape == (219, 2000) and len(found.rois) == 219
    assert found.iscell is not None and found.iscell.sum() == int(iscell[:, 0].sum()) == 20
    np.testing.assert_array_equal(found.F[::17, ::31], np.load(plane / "F.npy")[::17, ::31])
    assert found.extra["rate_hz"] == 10.0 and found.engine == "suite2p 0.11.1"
    assert {image.shape for image in found.images.values()} == {(608, 608)}
    # the crop of 0.11.1 is rows 1 to 607; a bright spot of the maximum lies on one of the mean image
    assert np.isnan(found.images["max"][[0, 607]]).all() and not np.isnan(found.images["max"][1:607]).any()
    assert frames_of_files(found) == {"/mnt/Data/Suite2P/A0662/2022_08_08/movie.tif": (0, 2000)}
    trusted = np.load(plane / "stat.npy", allow_pickle=True)  # a file of our own collection
    assert found.obs is not None
    np.testing.assert_array_equal(found.obs["npix"], [roi["npix"] for roi in trusted])
    centres = [np.average([roi["ypix"], roi["xpix"]], axis=1, weights=roi["lam"]) for roi in trusted]
    np.testing.assert_allclose(found.rois.centroids_px, centres, atol=1e-3)


@pytest.mark.realdata
def test_a_real_run_without_traces(realdata: Path) -> None:
    folder = realdata / "darikoneil__CalSciPy" / "tests" / "testing_samples" / "suite2p"
    with pytest.raises(AmbiguousInputError, match="several planes: 0, 1"):
        Suite2pReader().open(folder)
    found = Suite2pReader().open(folder, plane=0)
    trusted = np.load(folder / "plane0" / "stat.npy", allow_pickle=True)  # a file of our own collection
    assert len(found.rois) == len(trusted) and not found.has_traces
    assert [finding.code for finding in found.findings if finding.severity != "info"] == ["no-traces"]
