"""The contract test of a segmentation engine: subclass :class:`EngineContract` and name the engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from packerlabimaging._provenance import to_plain
from packerlabimaging.core.movie import ArrayMovie
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import ParameterError, StoreError
from packerlabimaging.segmentation.engine import (
    Engine,
    EngineJob,
    Setting,
    complete_settings,
    get_engine,
    load_run,
    run_engine,
)

TINY_CENTERS_PX = ((16, 18), (18, 70), (44, 30), (46, 66))
"""Centres ``(y, x)`` of the cells of :func:`make_tiny_job`, discs of radius 5 pixels."""

TINY_TRIALS = {"first": 260, "second": 140}
"""Frames of each trial of :func:`make_tiny_job`."""


def make_tiny_job(*, seed: int = 0, with_rois: bool = False) -> EngineJob:
    """Make a job of two short trials: four flickering discs of 10 micrometres on a textured, trembling, noisy background.

    Parameters
    ----------
    seed
        Of everything random.
    with_rois
        Whether the true discs are given as ``rois``.

    Returns
    -------
    EngineJob
        400 frames of 64 x 96 uint16 pixels of 1 micrometre at 10 Hz; frames 100 to 104 of the first trial are an artefact.
    """
    rng = np.random.default_rng(seed)
    height, width, margin = 64, 96, 4
    n_frames = sum(TINY_TRIALS.values())
    y, x = np.mgrid[-margin : height + margin, -margin : width + margin]
    discs = np.stack([np.hypot(y - row, x - column) <= 5 for row, column in TINY_CENTERS_PX])
    background = 200.0 + 60.0 * np.sin(x / 3.1) * np.cos(y / 4.3) + 40.0 * rng.random(y.shape)
    activity = np.zeros((len(discs), n_frames))
    for trace in activity:
        for onset in rng.choice(n_frames - 20, 12, replace=False):
            trace[onset : onset + 20] += 250.0 * np.exp(-np.arange(20) / 6.0)
    frames = np.empty((n_frames, height, width), np.uint16)
    for index in range(n_frames):
        dy, dx = rng.integers(-2, 3, 2)
        scene = background + 150.0 * discs.any(axis=0) + np.tensordot(activity[:, index], discs, 1)
        part = scene[margin + dy : margin + dy + height, margin + dx : margin + dx + width]
        frames[index] = rng.poisson(part)
    frames[100:105] += 4000
    artefact = np.zeros(TINY_TRIALS["first"], bool)
    artefact[100:105] = True
    first = TINY_TRIALS["first"]
    return EngineJob(
        movies={"first": ArrayMovie(frames[:first]), "second": ArrayMovie(frames[first:])},
        artefacts={"first": artefact},
        rate_hz=10.0,
        pixel_size_um=(1.0, 1.0),
        rois=RoiSet.from_discs(np.array(TINY_CENTERS_PX, float), 5.0, (height, width)) if with_rois else None,
    )


class EngineContract:
    """What every engine must do. Subclass it in your tests, and set ``name``::

        class TestMyEngine(EngineContract):
            name = "my-engine"
            settings = {"diameter_um": 10.0}

    Attributes
    ----------
    name
        Name of the engine, which must be installed or registered.
    settings
        Settings that suit :func:`make_tiny_job`, where they differ from the defaults.
    finds_cells
        Whether it is expected to find the cells of the tiny job.
    """

    name: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]] = {}
    finds_cells: ClassVar[bool] = True
    _finished: ClassVar[tuple[Path, Segmentation, list[tuple[int, int]]]]

    def make_job(self) -> EngineJob:
        """Return the job that the engine is run on; override it where the engine needs more."""
        return make_tiny_job()

    @pytest.fixture
    def finished(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Segmentation, list[tuple[int, int]]]:
        """Run the engine, once for all tests of the class: the folder, the outcome, and what it reported as progress."""
        cls = type(self)
        if "_finished" not in vars(cls):
            folder = tmp_path_factory.mktemp("contract") / "run"
            reports: list[tuple[int, int]] = []

            def note(done: int, total: int) -> None:
                reports.append((done, total))

            outcome = run_engine(self.name, self.make_job(), folder, settings=self.settings, progress=note)
            cls._finished = folder, outcome, reports
        return cls._finished

    def test_declares_itself(self) -> None:
        engine = get_engine(self.name)
        assert isinstance(engine, Engine)
        assert engine.name == self.name
        assert len(engine.description.splitlines()) == 1
        assert isinstance(engine.version, int)
        assert "packerlabimaging" in engine.versions()
        assert vars(engine) == {}, "an engine keeps no state"

    def test_settings_have_help_and_plain_defaults(self) -> None:
        def check(section: Mapping[str, Any]) -> None:
            for name, setting in section.items():
                if isinstance(setting, Setting):
                    assert setting.help.strip(), f"{name} has no help"
                    json.dumps(to_plain(setting.default))
                else:
                    check(setting)

        check(get_engine(self.name).settings())

    def test_mistyped_setting_is_refused(self) -> None:
        with pytest.raises(ParameterError, match="not_a_setting_at_all"):
            complete_settings(get_engine(self.name), {"not_a_setting_at_all": 1})

    def test_outcome_fits_the_movies(self, finished: Any) -> None:
        _, outcome, _ = finished
        job = self.make_job()
        assert outcome.n_frames == job.n_frames
        assert dict(outcome.trial_frames) == job.trial_frames
        assert outcome.rois.frame_shape_px == next(iter(job.movies.values())).frame_shape_px
        assert outcome.F.dtype == np.float32
        assert outcome.engine.startswith(self.name)
        for traces in (outcome.F, outcome.Fneu, outcome.spks):
            assert traces is None or np.all(np.isfinite(traces))
        for image in outcome.images.values():
            assert image.shape == outcome.rois.frame_shape_px

    def test_finds_the_cells(self, finished: Any) -> None:
        if not self.finds_cells:
            pytest.skip("this engine is not expected to find the cells of the tiny movie")
        _, outcome, _ = finished
        centers = outcome.rois.centroids_px[outcome.iscell]
        for center in TINY_CENTERS_PX:
            assert np.linalg.norm(centers - center, axis=1).min() < 3.0

    def test_progress_never_goes_back(self, finished: Any) -> None:
        _, _, reports = finished
        done, totals = zip(*reports, strict=True)
        assert list(done) == sorted(done)
        assert len(set(totals)) == 1
        assert done[-1] == totals[-1]

    def test_run_can_be_moved_and_loaded(self, finished: Any, tmp_path: Path) -> None:
        folder, outcome, _ = finished
        moved = shutil.copytree(folder, tmp_path / "elsewhere")
        again = load_run(moved)
        assert again.rois.ids == outcome.rois.ids
        np.testing.assert_array_equal(again.rois.flat_index, outcome.rois.flat_index)
        np.testing.assert_array_equal(again.F, outcome.F)
        np.testing.assert_array_equal(again.iscell, outcome.iscell)
        assert dict(again.trial_frames) == dict(outcome.trial_frames)

    def test_same_job_same_outcome(self, finished: Any, tmp_path: Path) -> None:
        _, outcome, _ = finished
        again = run_engine(self.name, self.make_job(), tmp_path / "again", settings=self.settings)
        np.testing.assert_array_equal(again.rois.flat_index, outcome.rois.flat_index)
        np.testing.assert_array_equal(again.F, outcome.F)

    def test_unfinished_run_is_refused(self, finished: Any, tmp_path: Path) -> None:
        folder, _, _ = finished
        cut = shutil.copytree(folder, tmp_path / "cut")
        description = json.loads((cut / "run.json").read_text())
        (cut / "run.json").write_text(json.dumps({**description, "finished": None}))
        with pytest.raises(StoreError, match="did not finish"):
            load_run(cut)
