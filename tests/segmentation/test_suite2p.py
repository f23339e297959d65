"""Suite2p as an engine: what it is given, what it leaves, and what it must not do."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packerlabimaging.core import ArrayMovie
from packerlabimaging.errors import EngineError, MissingDependencyError, ParameterError
from packerlabimaging.io import open_movie, open_segmentation
from packerlabimaging.segmentation.engine import EngineJob, complete_settings, get_engine, load_run, run_engine
from packerlabimaging.segmentation.suite2p.artefacts import artefact_findings, bridged
from packerlabimaging.segmentation.suite2p.log import TOTAL, ProgressHandler
from packerlabimaging.segmentation.suite2p.registration import choose_frames
from packerlabimaging.testing import EngineContract

HEIGHT, WIDTH, RATE_HZ = 96, 80, 30.0
LENGTHS = {"t-001": 300, "t-002": 500}
CENTERS = [(18, 15), (20, 40), (22, 64), (48, 14), (46, 42), (50, 66), (76, 20), (74, 60)]
MASK = np.zeros(300, bool)
MASK[40:260:20] = True


@pytest.fixture(scope="session")
def suite2p() -> Any:
    """Suite2p as the adapter imports it; skipped, visibly, where it is not installed."""
    from packerlabimaging.segmentation.suite2p.program import import_suite2p

    try:
        return import_suite2p()
    except MissingDependencyError as error:
        pytest.skip(str(error))


def make_movie() -> tuple[np.ndarray, np.ndarray]:
    """Eight discs that flash by themselves on a textured, slightly moving background; returns pixels and traces."""
    rng = np.random.default_rng(3)
    n_frames = sum(LENGTHS.values())
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    still = 200 + 40 * np.sin(y / 3.1) * np.cos(x / 4.3) + 30 * np.sin(x * y / 120)
    traces = np.zeros((len(CENTERS), n_frames))
    for trace in traces:
        for start in rng.integers(5, n_frames - 5, 10):
            trace[start:] += np.exp(-np.arange(n_frames - start) / 15)
    frames = np.repeat(still[None], n_frames, axis=0)
    for (cy, cx), trace in zip(CENTERS, traces, strict=True):
        frames += ((y - cy) ** 2 + (x - cx) ** 2 < 30) * (60 + 500 * trace)[:, None, None]
    shifts = rng.integers(-1, 2, (n_frames, 2))
    frames = np.stack([np.roll(frame, shift, (0, 1)) for frame, shift in zip(frames, shifts, strict=True)])
    pixels = rng.poisson(frames).astype(np.uint16)
    pixels[:300][MASK] += np.uint16(4000)  # stimulation light
    return pixels, traces


@pytest.fixture(scope="session")
def finished(suite2p: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of two trials, with home and working folder watched."""
    base = tmp_path_factory.mktemp("suite2p")
    home, here = base / "home", base / "here"
    home.mkdir()
    here.mkdir()
    pixels, traces = make_movie()
    job = EngineJob(
        movies={"t-001": ArrayMovie(pixels[:300], source="raw/t-001"), "t-002": ArrayMovie(pixels[300:], source="raw/t-002")},
        artefacts={"t-001": MASK},
        rate_hz=RATE_HZ,
        pixel_size_um=(1.3, 1.0),
    )
    told: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        found = run_engine(
            "suite2p",
            job,
            base / "run",
            settings={"tau": 0.5, "keep_raw": True},
            progress=lambda done, total: told.append((done, total)),
        )
    return {"run": base / "run", "found": found, "told": told, "pixels": pixels, "traces": traces, "left": [home, here]}


@pytest.mark.suite2p
@pytest.mark.usefixtures("suite2p")
class TestSuite2pContract(EngineContract):
    name = "suite2p"
    settings = {"diameter_um": 10.0, "tau": 0.6}
    finds_cells = False  # the classifier knows cells among others, not four discs; see below for a movie with cells


@pytest.mark.suite2p
def test_frames_reach_suite2p_and_return_to_their_trials(finished: dict[str, Any]) -> None:
    found, plane = finished["found"], finished["run"] / "suite2p" / "plane0"
    raw = np.fromfile(plane / "data_raw.bin", np.int16).reshape(-1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(raw, finished["pixels"])
    assert found.trial_frames == {"t-001": (0, 300), "t-002": (300, 800)}
    assert found.of_trial("t-002").F.shape == (len(found.rois), 500)
    assert found.extra["files"] == ("raw/t-001", "raw/t-002") and found.extra["frames_per_file"] == (300, 500)
    np.testing.assert_array_equal(np.load(finished["run"] / "bad_frames.npy"), np.flatnonzero(MASK))
    reg = np.load(plane / "reg_outputs.npy", allow_pickle=True).item()  # of our own run
    good = ~np.concatenate([MASK, np.zeros(500, bool)])
    assert abs(reg["yoff"][good].mean()) < 0.6 and abs(reg["xoff"][good].mean()) < 0.6, "ROIs lie where the frames do"
    assert reg["badframes"][:300][MASK].all() and reg["refImg"].mean() < 400, "light is not part of the reference"


@pytest.mark.suite2p
def test_cells_are_found_with_their_activity(finished: dict[str, Any]) -> None:
    found, quiet = finished["found"], np.ones(800, bool)
    quiet[:300] = ~MASK
    centers = found.rois.centroids_px
    for center, trace in zip(CENTERS, finished["traces"], strict=True):
        nearest = int(np.argmin(np.hypot(*(centers - center).T)))
        assert np.hypot(*(centers[nearest] - center)) < 3
        measured = found.F[nearest] - 0.7 * found.Fneu[nearest]
        assert np.corrcoef(measured[quiet], trace[quiet])[0, 1] > 0.9
    assert found.extra["rate_hz"] == RATE_HZ and found.extra["tau_s"] == 0.5
    np.testing.assert_array_equal(found.iscell, found.obs["iscell_probability"] >= 0.2)
    labels = np.load(finished["run"] / "suite2p" / "plane0" / "iscell.npy")
    np.testing.assert_array_equal(labels[:, 0] > 0, found.iscell)  # Suite2p's own program shows the same cells
    settings = np.load(finished["run"] / "suite2p" / "plane0" / "settings.npy", allow_pickle=True).item()
    assert settings["classification"]["use_builtin_classifier"] is True and settings["torch_device"] == "cpu"
    np.testing.assert_allclose(settings["diameter"], [10, 13])
    assert settings["registration"]["block_size"] == (48, 40)


@pytest.mark.suite2p
def test_artefacts_are_left_out_of_what_follows_detection(finished: dict[str, Any]) -> None:
    from scipy.stats import kurtosis, skew

    found, quiet = finished["found"], np.ones(800, bool)
    quiet[:300] = ~MASK
    corrected = found.F[:, quiet] - 0.7 * found.Fneu[:, quiet]
    np.testing.assert_allclose(found.obs["skew"], skew(corrected, axis=1), rtol=1e-3)
    np.testing.assert_allclose(found.obs["std"], corrected.std(axis=1), rtol=1e-4)
    assert found.F[:, :300][:, MASK].min() > 3000, "F stays as measured"
    assert np.median(found.spks[:, :300][:, MASK]) < np.median(found.spks[:, quiet].max(axis=1)) / 4
    assert kurtosis(found.spks, axis=1).min() > 0
    assert [finding.code for finding in found.findings] == ["artefact-frames"]


@pytest.mark.suite2p
def test_nothing_is_written_elsewhere_or_said(finished: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    assert [list(folder.rglob("*")) for folder in finished["left"]] == [[], []]
    run = finished["run"]
    assert {path.name for path in run.iterdir()} == {"run.json", "bad_frames.npy", "suite2p.log", "suite2p"}
    log = (run / "suite2p.log").read_text()
    assert "ROI DETECTION" in log and "badframes" in log
    done = [value for value, total in finished["told"] if total == TOTAL]
    assert done == sorted(done) and done[-1] == TOTAL and len(done) > 8
    assert logging.getLogger("suite2p").handlers == [] and logging.getLogger("suite2p").propagate
    assert "suite2p" in json.loads((run / "run.json").read_text())["versions"]


@pytest.mark.suite2p
@pytest.mark.slow  # a run of its own: Suite2p 1.1 dies of a segmentation fault if it is given mapped frames here
def test_scan_lines_that_are_apart_are_brought_together(suite2p: Any, tmp_path: Path) -> None:
    pixels = make_movie()[0][300:]
    pixels[:, 1::2] = np.roll(pixels[:, 1::2], 3, axis=2)
    job = EngineJob(movies={"a": ArrayMovie(pixels)}, rate_hz=RATE_HZ, pixel_size_um=(1.3, 1.0))
    settings = {"tau": 0.5, "registration": {"do_bidiphase": True}}
    found = run_engine("suite2p", job, tmp_path / "run", settings=settings)
    reference = found.images["reference"]
    between = (reference[:-2:2] + reference[2::2]) / 2
    assert np.corrcoef(reference[1:-1:2].ravel(), between.ravel())[0, 1] > 0.9
    assert np.hypot(*(found.rois.centroids_px[:, None] - np.array(CENTERS)).T).min(axis=1).max() < 3


@pytest.mark.suite2p
def test_a_run_loads_again_and_opens_as_suite2p_output(finished: dict[str, Any], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    finished["run"].rename(moved)
    try:
        again = load_run(moved)
        np.testing.assert_array_equal(again.F, finished["found"].F)
        assert again.trial_frames == finished["found"].trial_frames
        adopted = open_segmentation(moved, reader="suite2p")
        np.testing.assert_array_equal(adopted.F, again.F)
        registered = open_movie(moved / "suite2p" / "plane0" / "data.bin", reader="binary")
        assert registered.shape == (800, HEIGHT, WIDTH)
    finally:
        moved.rename(finished["run"])


@pytest.mark.suite2p
def test_suite2p_itself_reads_the_folder(finished: dict[str, Any]) -> None:
    gui = pytest.importorskip("suite2p.gui.io", reason="Suite2p's program needs Qt", exc_type=ImportError)
    loaded = gui.load_files(str(finished["run"] / "suite2p" / "plane0" / "stat.npy"))
    np.testing.assert_array_equal(loaded[2], finished["found"].F)


@pytest.mark.suite2p
def test_without_registration_and_with_an_offset(suite2p: Any, finished: dict[str, Any], tmp_path: Path) -> None:
    pixels = finished["pixels"][300:].astype(np.uint16) + np.uint16(40000)
    job = EngineJob(movies={"a": ArrayMovie(pixels)}, rate_hz=RATE_HZ, pixel_size_um=(1.0, 1.0))
    with pytest.raises(ParameterError, match=r"never scaled; give an offset"):
        run_engine("suite2p", job, tmp_path / "refused")
    settings = {"run": {"do_registration": False, "do_deconvolution": False}, "pixel_offset": 32768, "tau": 0.5}
    found = run_engine("suite2p", job, tmp_path / "run", settings=settings | {"keep_registered": False})
    assert found.spks is None and found.findings[0].code == "no-deconvolution"
    assert not list((tmp_path / "run").rglob("*.bin"))
    # F is a mean of pixels of the movie as it was, weighted by lam where ROIs do not overlap
    y, x, weights = found.rois.pixels(0)
    np.testing.assert_allclose(found.F[0], np.average(pixels[:, y, x].astype(float), axis=1, weights=weights), rtol=2e-3)


@pytest.mark.suite2p
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"theshold_scaling": 1}, "'theshold_scaling' is not a setting"),
        ({"detection": {"treshold_scaling": 1}}, r"'detection\.treshold_scaling' .*Did you mean 'threshold_scaling'"),
        ({"fs": 20}, "'fs' is not a setting"),
        ({"detection": 3}, "'detection' is a section"),
    ],
)
def test_mistyped_settings_are_refused(suite2p: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        complete_settings(get_engine("suite2p"), given)


@pytest.mark.suite2p
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cell_probability": 1.5}, r"cell_probability = 1\.5 is out of range"),
        ({"tau": -1}, r"tau = -1 is out of range: 0\.0 to 10\.0"),
        ({"detection": {"max_overlap": 1.5}}, r"detection\.max_overlap = 1\.5 is out of range"),
        ({"diameter": [0, 5]}, r"diameter = \[0, 5\] is out of range"),
        ({"classification": {"classifier_path": "nowhere.npy"}}, "'nowhere.npy' is not there"),
        ({"torch_device": "abacus"}, "torch_device = 'abacus' can't be used"),
    ],
)
def test_impossible_settings_are_refused_before_anything_runs(
    suite2p: Any, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    job = EngineJob(movies={"a": ArrayMovie(np.zeros((60, 64, 64), np.uint16))}, rate_hz=30.0, pixel_size_um=(1.0, 1.0))
    with pytest.raises(ParameterError, match=message):
        run_engine("suite2p", job, tmp_path / "run", settings=given)
    assert not (tmp_path / "run" / "suite2p").exists()


@pytest.mark.suite2p
def test_a_device_that_is_not_there_is_refused(suite2p: Any) -> None:
    import torch

    from packerlabimaging.segmentation.suite2p.settings import check_device

    if torch.cuda.is_available():
        assert check_device("cuda") == "cuda"
    else:
        with pytest.raises(ParameterError, match="torch_device = 'cuda' can't be used"):
            check_device("cuda")


@pytest.mark.suite2p
def test_jobs_that_can_not_work_are_refused(suite2p: Any, tmp_path: Path) -> None:
    pixels = np.zeros((60, 64, 64), np.uint16)
    with pytest.raises(EngineError, match="49 frames together. Suite2p needs at least 50"):
        run_engine(
            "suite2p", EngineJob(movies={"a": ArrayMovie(pixels[:49])}, rate_hz=30.0, pixel_size_um=(1, 1)), tmp_path / "a"
        )
    job = EngineJob(movies={"a": ArrayMovie(pixels)}, artefacts={"a": np.ones(60, bool)}, rate_hz=30.0, pixel_size_um=(1.0, 1.0))
    with pytest.raises(EngineError, match="Every frame is marked"):
        run_engine("suite2p", job, tmp_path / "b")


@pytest.mark.suite2p
def test_an_unknown_pixel_size_is_told(suite2p: Any) -> None:
    from packerlabimaging.segmentation.suite2p.settings import suite2p_settings

    engine = get_engine("suite2p")
    job = EngineJob(movies={"a": ArrayMovie(np.zeros((60, 256, 300), np.uint16))}, rate_hz=30.0, indicator_decay_s=1.0)
    with pytest.warns(UserWarning, match="pixel size is not known"):
        own = suite2p_settings(suite2p, complete_settings(engine, {}), job)
    assert own["diameter"] == [12.0, 12.0] and own["detection"]["sparsery_settings"]["spatial_scale"] == 0
    own = suite2p_settings(suite2p, complete_settings(engine, {"diameter": 9}), job)
    assert own["diameter"] == [9.0, 9.0] and own["fs"] == 30.0
    assert own["registration"]["block_size"] == (128, 128) and own["registration"]["nonrigid"] is True


@pytest.mark.suite2p
def test_tau_is_the_decay_of_the_indicator(suite2p: Any) -> None:
    from packerlabimaging.segmentation.suite2p.settings import suite2p_settings

    engine, movies = get_engine("suite2p"), {"a": ArrayMovie(np.zeros((60, 256, 300), np.uint16))}
    known = EngineJob(movies=movies, rate_hz=30.0, pixel_size_um=(1.0, 1.0), indicator_decay_s=0.7)
    assert suite2p_settings(suite2p, complete_settings(engine, {}), known)["tau"] == 0.7
    assert suite2p_settings(suite2p, complete_settings(engine, {"tau": 0.4}), known)["tau"] == 0.4
    unknown = EngineJob(movies=movies, rate_hz=30.0, pixel_size_um=(1.0, 1.0))
    with pytest.warns(UserWarning, match=r"tau = 1.0 s, .* Give indicator_decay_s"):
        assert suite2p_settings(suite2p, complete_settings(engine, {}), unknown)["tau"] == 1.0


@pytest.mark.suite2p
@pytest.mark.parametrize(
    ("given", "pixel_um", "scale"),
    [
        ({}, 1.2, 2),  # 10.8 px: nearest to 12
        ({}, 2.5, 1),
        ({}, 0.6, 3),
        ({}, 0.1, 4),
        ({"diameter": 12}, None, 2),
        ({"detection": {"sparsery_settings": {"spatial_scale": 0}}}, 1.2, 0),
        ({"detection": {"sparsery_settings": {"spatial_scale": 3}}}, 1.2, 3),
    ],
)
def test_the_scale_of_detection_is_that_of_the_cells(
    suite2p: Any, given: dict[str, Any], pixel_um: float | None, scale: int
) -> None:
    from packerlabimaging.segmentation.suite2p.settings import suite2p_settings

    size = None if pixel_um is None else (pixel_um, pixel_um)
    job = EngineJob(movies={"a": ArrayMovie(np.zeros((1, 256, 256), np.uint16))}, rate_hz=30.0, pixel_size_um=size)
    own = suite2p_settings(suite2p, complete_settings(get_engine("suite2p"), given), job)
    assert own["detection"]["sparsery_settings"]["spatial_scale"] == scale


@pytest.mark.suite2p
@pytest.mark.parametrize(
    ("shape", "blocks", "nonrigid"),
    [((512, 512), (128, 128), True), ((128, 512), (64, 128), True), ((129, 64), (128, 32), True), ((40, 512), (20, 128), False)],
)
def test_blocks_are_smaller_than_the_frame(suite2p: Any, shape: tuple[int, int], blocks: tuple[int, int], nonrigid: bool) -> None:
    from packerlabimaging.segmentation.suite2p.settings import suite2p_settings

    job = EngineJob(movies={"a": ArrayMovie(np.zeros((1, *shape), np.uint16))}, rate_hz=30.0, pixel_size_um=(1.0, 1.0))
    own = suite2p_settings(suite2p, complete_settings(get_engine("suite2p"), {}), job)
    assert (own["registration"]["block_size"], own["registration"]["nonrigid"]) == (blocks, nonrigid)


@pytest.mark.suite2p
@pytest.mark.slow  # a fresh interpreter imports torch
def test_the_import_works_beside_a_foreign_torchvision_and_touches_no_home(suite2p: Any, tmp_path: Path) -> None:
    program = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from packerlabimaging.segmentation.suite2p.program import import_suite2p\n"
        "module = import_suite2p()\n"
        "import os; print(module.__name__, os.environ['HOME'])\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["suite2p", str(tmp_path)] and done.stderr == ""
    assert {path.name for path in tmp_path.iterdir()} <= {"mpl"}


def test_mend_torchvision_does_nothing_where_it_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from packerlabimaging.segmentation.suite2p import program

    outcomes = {"missing": ModuleNotFoundError("torchvision"), "other": RuntimeError("no space left on device")}
    for error in outcomes.values():

        def fail(name: str, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(program.importlib, "import_module", fail)
        assert program.mend_torchvision() is False
    monkeypatch.setattr(program.importlib, "import_module", lambda name: None)
    assert program.mend_torchvision() is False


def test_a_missing_suite2p_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from packerlabimaging.segmentation.suite2p import program

    monkeypatch.setitem(sys.modules, "torch", None)
    program.import_suite2p.cache_clear()
    with pytest.raises(MissingDependencyError, match=r'pip install "packerlabimaging\[suite2p\]"'):
        program.import_suite2p()


def test_an_old_suite2p_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from packerlabimaging.segmentation.suite2p import program

    for name in ("torch", "suite2p"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setattr(program, "mend_torchvision", lambda: False)
    program.import_suite2p.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match=r"older than 1\.1.*--upgrade"):
            program.import_suite2p()
    finally:
        program.import_suite2p.cache_clear()


def test_bridged_frames_lie_on_a_line() -> None:
    mask = np.array([True, False, False, True, True, False, True])
    traces = np.array([[9, 1, 2, 9, 9, 5, 9], [0, 4, 4, 0, 0, 4, 0]], float)
    np.testing.assert_allclose(bridged(traces, mask), [[1, 1, 2, 3, 4, 5, 5], [4] * 7])


def test_reference_frames_are_spread_over_the_good_ones() -> None:
    mask = np.zeros(1000, bool)
    mask[::2] = True
    chosen = choose_frames(mask, 100)
    assert len(set(chosen.tolist())) == 100 and not mask[chosen].any()
    assert chosen[0] < 10 and chosen[-1] > 990 and np.diff(chosen).max() <= 14
    np.testing.assert_array_equal(choose_frames(np.array([True, False, False]), 50), [1, 2])


def test_crowded_artefacts_are_told() -> None:
    mask = np.zeros(2000, bool)
    mask[500:760] = True
    codes = [finding.code for finding in artefact_findings(mask, Path("run"))]
    assert codes == ["artefact-frames", "artefacts-in-detection"]
    assert "260 of 2000" in artefact_findings(mask, Path("run"))[0].message
    assert len(artefact_findings(np.arange(2000) % 4 == 0, Path("run"))) == 1


def test_progress_never_goes_back() -> None:
    told: list[int] = []
    handler = ProgressHandler(lambda done, total: told.append(done))
    logger = logging.getLogger("test of progress")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for message in (
        "----------- REGISTRATION", "Reference image of 100 frames", "50%|#####     | 4/8 [00:02<00:02,  1.75it/s]",
        " 12%|#  | 1/8 [00:02<00:02,  1.75it/s]", "nothing to see", "----------- ROI DETECTION",
        "ROIs: 1000,\t last score: 14.70", "Extracting fluorescence from 800 frames in 2 batches", "0%|   | 0/0 [00:00<?]",
        "----------- REGISTRATION",
    ):  # fmt: skip
        logger.info(message)
    assert told == sorted(set(told)) and told[0] > 0 and told[-1] < TOTAL and len(told) >= 6
