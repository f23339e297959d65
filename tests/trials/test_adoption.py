"""Adopting a Suite2p run of several recordings: every trial gets its own frames, or an error that names what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingInputError, ParameterError
from packerlabimaging.trials import Experiment, ExperimentConfig, TwoPhotonImagingTrial

LENGTHS = {"t-002": 45, "t-001": 60}  # the run joined the second first
SHAPE = (24, 30)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A Suite2p run of two recordings; ROI ``i`` of frame ``k`` has the value ``1000 (i + 1) + k``."""
    plane = tmp_path / "suite2p" / "plane0"
    plane.mkdir(parents=True)
    stat = np.empty(3, object)
    for index in range(3):
        y, x = np.mgrid[2 + 7 * index : 6 + 7 * index, 5:9]
        stat[index] = {"ypix": y.ravel(), "xpix": x.ravel(), "lam": np.ones(16, np.float32)}
    n_frames = sum(LENGTHS.values())
    F = 1000.0 * np.arange(1, 4)[:, None] + np.arange(n_frames)
    np.save(plane / "stat.npy", stat, allow_pickle=True)
    np.save(plane / "F.npy", F.astype(np.float32))
    np.save(plane / "iscell.npy", np.ones((3, 2)))
    write_ops(plane, [f"D:\\raw\\{trial}\\{trial}.tif" for trial in LENGTHS], list(LENGTHS.values()))
    return tmp_path / "suite2p"


def write_ops(plane: Path, files: list[str], counts: list[int]) -> None:
    ops = {"Ly": SHAPE[0], "Lx": SHAPE[1], "fs": 10.0, "filelist": files, "frames_per_file": np.array(counts)}
    np.save(plane / "ops.npy", ops, allow_pickle=True)  # type: ignore[arg-type]


def experiment(folder: Path, trials: list[str], movies: dict[str, int] | None = None) -> Experiment:
    made = Experiment("e", output=folder / "out")
    for trial in trials:
        inputs: dict[str, Any] = {}
        if movies is not None:
            path = folder / "raw" / trial / f"{trial}.tif"
            path.parent.mkdir(parents=True)
            frames = np.random.default_rng(0).integers(0, 99, (movies[trial], *SHAPE)).astype(np.uint16)
            tifffile.imwrite(path, frames, photometric="minisblack")
            inputs["movie"] = {"path": path, "options": {"frame_rate_hz": 10.0}}
        made.add(TwoPhotonImagingTrial(trial, inputs=inputs))
    return made


@pytest.mark.parametrize("movies", [None, LENGTHS])
@pytest.mark.parametrize("order", [["t-001", "t-002"], ["t-002", "t-001"], ["t-001"]])
def test_every_trial_has_its_own_frames(tmp_path: Path, run: Path, movies: dict[str, int] | None, order: list[str]) -> None:
    made = experiment(tmp_path, order, movies).run(segmentation=run, progress=False)
    starts = {"t-002": 0, "t-001": 45}
    for trial in order:
        cells = made[trial].cells
        assert cells.shape == (3, LENGTHS[trial])
        expected = 1000.0 * np.arange(1, 4)[:, None] + starts[trial] + np.arange(LENGTHS[trial])
        np.testing.assert_array_equal(np.asarray(cells.layers["F"]), expected)
    unused = [finding["code"] for finding in made.receipts_of(made[order[0]])["segmentation"]["findings"]]
    assert ("run-files-unused" in unused) == (len(order) == 1)


def test_another_number_of_frames_is_refused(tmp_path: Path, run: Path) -> None:
    made = experiment(tmp_path, ["t-001", "t-002"], {"t-001": 59, "t-002": 45})
    with pytest.raises(FormatError, match=r"Trial 't-001' has 59 frames, its 1 files .* have 60"):
        made.run(segmentation=run, progress=False)


def test_a_trial_that_the_run_did_not_read(tmp_path: Path, run: Path) -> None:
    made = experiment(tmp_path, ["t-001", "t-007"], {"t-001": 60, "t-007": 60})
    with pytest.raises(MissingInputError, match=r"did not read .*t-007\.tif' of trial 't-007'. It read: .*t-002"):
        made.run(segmentation=run, progress=False)


def test_rois_without_traces_can_be_extracted_but_not_adopted(tmp_path: Path, run: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:8, 4:9], labels[12:18, 12:18] = 1, 2
    tifffile.imwrite(tmp_path / "drawn.tif", labels)
    made = experiment(tmp_path, ["t-001"], LENGTHS)
    with pytest.raises(ParameterError, match="holds ROIs but no traces.*engine = 'masks'"):
        made.run(segmentation=run_without_traces(run), progress=False)
    made.run(engine="masks", rois=tmp_path / "drawn.tif", engine_settings={"register": False}, progress=False)
    assert made["t-001"].cells.n_obs == 2


def run_without_traces(run: Path) -> Path:
    (run / "plane0" / "F.npy").unlink()
    return run


def test_a_segmentation_of_other_frames_is_refused(tmp_path: Path, run: Path) -> None:
    made = experiment(tmp_path, ["t-001", "t-002"], LENGTHS)
    ops = np.load(run / "plane0" / "ops.npy", allow_pickle=True).item()  # written above
    np.save(run / "plane0" / "ops.npy", {**ops, "Ly": 40})
    with pytest.raises(ParameterError, match=r"is of frames of \(40, 30\) px, the movie of trial 't-001' has \(24, 30\)"):
        made.run(segmentation=run, progress=False)
    (run / "plane0" / "ops.npy").unlink()
    alone = experiment(tmp_path / "alone", ["t-003"], {"t-003": 105}).run(segmentation=run, progress=False)
    assert alone["t-003"].segmentation.rois.frame_shape_px == SHAPE


def test_options_of_the_reader_reach_it_and_are_part_of_the_result(tmp_path: Path, run: Path) -> None:
    other = run / "plane1"
    shutil.copytree(run / "plane0", other)
    np.save(other / "F.npy", 7 + np.load(run / "plane0" / "F.npy"))
    made = experiment(tmp_path, ["t-001"])
    with pytest.raises(AmbiguousInputError, match="plane"):
        made.run(segmentation=run, progress=False)
    with pytest.raises(ParameterError, match="has no option 'plan'. Did you mean 'plane'"):
        made.run(segmentation={"path": run, "options": {"plan": 1}}, progress=False)
    first = made.run(segmentation={"path": run, "options": {"plane": 0}}, progress=False)["t-001"].cells.layers["F"][:]
    chosen = {"path": run, "reader": "suite2p", "options": {"plane": 1}}
    second = made.run(segmentation=chosen, progress=False)["t-001"].cells.layers["F"][:]
    np.testing.assert_array_equal(second, first + 7)
    written = made.config.to_dict(base=tmp_path)["segmentation"]
    assert written == {"path": "suite2p", "reader": "suite2p", "options": {"plane": 1}}
    again = ExperimentConfig.from_dict(
        {"schema": 1, "id": "e", "output": "out", "segmentation": written}, base=tmp_path, source="f"
    )
    assert again.segmentation == made.segmentation_config


def test_a_segmentation_that_is_no_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"segmentation must be a path, or a table with the key 'path', not 3"):
        experiment(tmp_path, ["t-001"]).run(segmentation=3, progress=False)  # type: ignore[arg-type]


def test_the_planes_of_run_and_movie_are_compared(tmp_path: Path, run: Path) -> None:
    shutil.copytree(run / "plane0", run / "plane1")
    path = tmp_path / "raw" / "t-001" / "t-001.tif"
    path.parent.mkdir(parents=True)
    tifffile.imwrite(path, np.zeros((120, *SHAPE), np.uint16), photometric="minisblack")

    def cells_of(*, run_plane: int, movie_plane: int) -> Any:
        options = {"frame_rate_hz": 10.0, "n_planes": 2, "plane": movie_plane}
        made = Experiment("e", output=tmp_path / f"out{run_plane}{movie_plane}")
        made.add(TwoPhotonImagingTrial("t-001", inputs={"movie": {"path": path, "options": options}}))
        made.run(segmentation={"path": run, "options": {"plane": run_plane}}, progress=False)
        return made["t-001"]

    with pytest.raises(ParameterError, match="is of plane 1, the movie of trial 't-001' of plane 0. Give both the same"):
        cells_of(run_plane=1, movie_plane=0)
    codes = [finding.code for finding in cells_of(run_plane=0, movie_plane=1).findings]
    assert "plane-assumed" in codes
    assert "plane-assumed" not in [finding.code for finding in cells_of(run_plane=1, movie_plane=1).findings]
