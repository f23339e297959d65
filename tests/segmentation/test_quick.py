"""The embedded engines end to end."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_movies import LazyCells

from packerlabimaging.core import ArrayMovie, RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import ParameterError, StoreError
from packerlabimaging.segmentation import EngineJob, load_run, run_engine
from packerlabimaging.testing import make_tiny_job

TINY = {"diameter_um": 10.0, "workers": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Segmentation]:
    folder = tmp_path_factory.mktemp("quick") / "run"
    return folder, run_engine("quick", make_tiny_job(), folder, settings=TINY)


def test_files_hold_no_pickles_and_traces_are_maps(finished: Any) -> None:
    folder, outcome = finished
    for path in [*folder.rglob("*.npy"), *folder.rglob("*.npz")]:
        loaded = np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            for name in loaded.files:
                assert loaded[name].dtype.kind in "biufU"
    assert isinstance(outcome.F, np.memmap)
    assert isinstance(outcome.Fneu, np.memmap)
    assert {"mean", "max", "correlation", "score"} <= outcome.images.keys()


def test_evidence_stands_in_the_table(finished: Any) -> None:
    _, outcome = finished
    assert outcome.obs is not None
    assert {"score", "snr", "reliability", "peak_correlation", "area", "compactness", "halo"} <= set(outcome.obs.columns)
    assert (outcome.obs["score"] >= 9).all()
    assert outcome.iscell.sum() == 4


def test_shifts_are_cut_to_the_trial(finished: Any) -> None:
    _, outcome = finished
    assert outcome.extra["shifts_px"].shape == (400, 2)
    np.testing.assert_array_equal(outcome.of_trial("second").extra["shifts_px"], outcome.extra["shifts_px"][260:])


def test_pixels_come_from_the_registered_movie(finished: Any) -> None:
    """Traces by hand: shift each frame back, mean over the pixels that no other ROI has."""
    _, outcome = finished
    job = make_tiny_job()
    frames = np.concatenate([movie.read(0, movie.n_frames) for movie in job.movies.values()])
    shifts = np.rint(outcome.extra["shifts_px"]).astype(int)
    index = int(np.flatnonzero(outcome.iscell)[0])
    y, x, weights = outcome.rois.pixels(index)
    for frame in (0, 57, 399):
        dy, dx = shifts[frame]
        values = frames[frame][np.clip(y + dy, 0, 63), np.clip(x + dx, 0, 95)]
        assert outcome.F[index, frame] == pytest.approx((values * weights).sum() / weights.sum(), rel=1e-5)


def test_artefact_does_not_reach_images(finished: Any) -> None:
    _, outcome = finished
    assert outcome.images["max"].max() < 4000


def test_cell_size_must_be_known(tmp_path: Path) -> None:
    job = dataclasses.replace(make_tiny_job(), pixel_size_um=None)
    with pytest.raises(ParameterError, match="size of a pixel is unknown.*diameter_px"):
        run_engine("quick", job, tmp_path / "a")
    assert run_engine("quick", job, tmp_path / "b", settings={"diameter_px": 10, "workers": 1}).iscell.sum() == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"diameter_um": 1.0}, "too small"),
        ({"diameter_px": [10, 10, 10]}, "one number or two"),
        ({"bin_s": 0}, "bin_s"),
        ({"min_score": -1}, "min_score"),
        ({"workers": -1}, "workers"),
        ({"workers": 1.5}, "workers"),
        ({"max_shift_fraction": 0.7}, "max_shift_fraction"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        run_engine("quick", make_tiny_job(), tmp_path / "run", settings=settings)


def test_empty_field_of_view_gives_an_empty_run_and_says_so(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).poisson(100, (200, 48, 48)).astype(np.uint16)
    job = EngineJob(movies={"a": ArrayMovie(frames)}, rate_hz=10.0, pixel_size_um=(1.2, 1.2))
    outcome = run_engine("quick", job, tmp_path / "run", settings={"register": False})
    assert len(outcome.rois) == 0
    assert outcome.F.shape == (0, 200)
    assert [finding.code for finding in outcome.findings] == ["no-rois"]


def test_too_short_movie_is_refused(tmp_path: Path) -> None:
    job = EngineJob(movies={"a": ArrayMovie(np.ones((1, 32, 32), np.uint16))}, rate_hz=10.0, pixel_size_um=(1.2, 1.2))
    with pytest.raises(ParameterError, match="1 frames without artefact are too few"):
        run_engine("quick", job, tmp_path / "run")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_pixel_types(tmp_path: Path, dtype: type) -> None:
    job = make_tiny_job()
    movies = {}
    for name, movie in job.movies.items():
        frames = movie.read(0, movie.n_frames).astype(float)
        scaled = {"uint8": np.clip(frames / 6, 0, 255), "int16": frames - 400, "float32": frames * 1e-6}[np.dtype(dtype).name]
        movies[name] = ArrayMovie(scaled.astype(dtype))
    outcome = run_engine("quick", dataclasses.replace(job, movies=movies), tmp_path / "run", settings=TINY)
    assert outcome.iscell.sum() == 4


def test_number_of_threads_changes_nothing(finished: Any, tmp_path: Path) -> None:
    _, outcome = finished
    again = run_engine("quick", make_tiny_job(), tmp_path / "run", settings={**TINY, "workers": 3})
    np.testing.assert_array_equal(again.rois.flat_index, outcome.rois.flat_index)
    np.testing.assert_array_equal(again.F, outcome.F)
    np.testing.assert_array_equal(again.Fneu, outcome.Fneu)


def test_memory_does_not_grow_with_the_movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times the frames: the traces that are loaded are maps, so nothing may grow but the shifts and masks."""
    monkeypatch.setattr("packerlabimaging.core.streaming.CHUNK_BYTES", 20 * 56 * 56 * 2)
    monkeypatch.setattr("packerlabimaging.segmentation.binning.MAX_BINNED_BYTES", 100 * 56 * 56 * 2)
    monkeypatch.setattr("packerlabimaging.segmentation.extraction.BLOCK_BYTES", 1000)

    def peak(n_frames: int) -> int:
        job = EngineJob(movies={"a": LazyCells(n_frames, (56, 56))}, rate_hz=30.0, pixel_size_um=(1.6, 1.6))
        settings = {"workers": 1, "reference_frames": 40}
        tracemalloc.start()
        run_engine("quick", job, tmp_path / str(n_frames), settings=settings)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(200)  # imports
    short, long = peak(400), peak(2000)
    assert long - short < 1600 * 48  # bytes per further frame, whose pixels are 6272: shifts, masks, bin numbers


def test_masks_engine_reads_given_pixels(tmp_path: Path) -> None:
    job = make_tiny_job(with_rois=True)
    outcome = run_engine("masks", job, tmp_path / "run", settings={"register": False, "neuropil_pixels": 0})
    frames = np.concatenate([movie.read(0, movie.n_frames) for movie in job.movies.values()])
    assert job.rois is not None
    for index in range(4):
        y, x, _ = job.rois.pixels(index)
        np.testing.assert_allclose(outcome.F[index], frames[:, y, x].mean(axis=1), rtol=1e-6)
    assert outcome.Fneu is None
    assert "shifts_px" not in outcome.extra
    assert outcome.iscell.all()


def test_masks_engine_needs_rois(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="'masks' needs ROIs"):
        run_engine("masks", make_tiny_job(), tmp_path / "run")


def test_masks_that_cover_the_frame_have_no_neuropil(tmp_path: Path) -> None:
    rois = RoiSet.from_labels(np.repeat(np.arange(1, 65)[:, None], 96, axis=1))
    job = dataclasses.replace(make_tiny_job(), rois=rois)
    outcome = run_engine("masks", job, tmp_path / "run", settings={"register": False})
    assert outcome.Fneu is None
    assert [finding.code for finding in outcome.findings] == ["no-neuropil"]


@pytest.mark.parametrize("name", ["rois.npz", "roi_columns.npz", "F.npy"])
def test_damaged_run_names_the_file(finished: Any, tmp_path: Path, name: str) -> None:
    import shutil

    folder, _ = finished
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes()[:40])
    with pytest.raises(StoreError, match=f"{name}' is damaged"):
        load_run(copy)
    (copy / name).unlink()
    with pytest.raises(StoreError, match=f"{name}' is missing"):
        load_run(copy)


def test_masks_engine_works_where_every_frame_is_an_artefact(tmp_path: Path) -> None:
    job = make_tiny_job(with_rois=True)
    everywhere = {trial: np.ones(movie.n_frames, bool) for trial, movie in job.movies.items()}
    outcome = run_engine("masks", dataclasses.replace(job, artefacts=everywhere), tmp_path / "run", settings={"register": False})
    assert outcome.F.shape == (4, 400)
    assert dict(outcome.images) == {}
