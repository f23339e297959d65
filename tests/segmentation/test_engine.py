"""The contract's own rules: jobs, settings, run folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packerlabimaging.core import ArrayMovie, RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import EngineError, ParameterError, StoreError, UnknownFormatError
from packerlabimaging.segmentation import (
    Engine,
    EngineJob,
    Setting,
    complete_settings,
    engines,
    load_run,
    register_engine,
    run_engine,
)


def movie(n_frames: int = 10, shape: tuple[int, int] = (8, 9)) -> ArrayMovie:
    return ArrayMovie(np.zeros((n_frames, *shape), np.uint16))


def job(**changes: Any) -> EngineJob:
    return EngineJob(**{"movies": {"a": movie(10), "b": movie(4)}, "rate_hz": 30.0, **changes})


class ToyEngine(Engine):
    name = "toy"
    description = "writes one number"
    version = 3

    def settings(self) -> Mapping[str, Any]:
        return {
            "level": Setting(1.0, "Value of every trace."),
            "fail": Setting("", "How to fail."),
            "deep": {"quiet": Setting(False, "Say nothing."), "anything": Setting(None, "What you like.")},
        }

    def run(self, job: EngineJob, folder: Path, settings: Mapping[str, Any], progress: Any) -> None:
        if settings["fail"] == "defect":
            raise RuntimeError("the magic smoke came out")
        if settings["fail"] == "diagnosis":
            raise ParameterError("level makes no sense")
        np.save(folder / "F.npy", np.full((1, job.n_frames), settings["level"], np.float32))
        progress(1, 1)

    def load(self, folder: Path) -> Segmentation:
        return Segmentation(rois=RoiSet.from_discs(np.array([[4.0, 4.0]]), 2.0, (8, 9)), F=np.load(folder / "F.npy"))


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    register_engine(ToyEngine)
    yield
    del engines._registered["toy"]


def test_run_is_described_and_loaded(tmp_path: Path) -> None:
    mask = np.arange(10) < 3
    outcome = run_engine("toy", job(artefacts={"a": mask}), str(tmp_path / "run"), settings={"level": 2})
    assert outcome.F.tolist() == [[2.0] * 14]
    assert dict(outcome.trial_frames) == {"a": (0, 10), "b": (10, 14)}
    assert outcome.of_trial("b").n_frames == 4
    assert outcome.engine == "toy 3"
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    assert description["settings"] == {"level": 2, "fail": "", "deep": {"quiet": False, "anything": None}}
    assert description["n_artefact_frames"] == 3
    assert description["finished"] >= description["started"]


def test_run_is_labelled_with_the_version_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_engine("toy", job(), tmp_path / "run")
    monkeypatch.setattr(ToyEngine, "version", 4)
    assert load_run(tmp_path / "run").engine == "toy 3"


def test_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty"):
        run_engine("toy", job(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_failing_engine_leaves_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'toy' failed: RuntimeError: the magic smoke came out.*error.txt") as caught:
        run_engine("toy", job(), tmp_path / "run", settings={"fail": "defect"})
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "magic smoke" in (tmp_path / "run" / "error.txt").read_text()
    with pytest.raises(StoreError, match="did not finish"):
        load_run(tmp_path / "run")


def test_own_diagnosis_keeps_its_type(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="level makes no sense"):
        run_engine("toy", job(), tmp_path / "run", settings={"fail": "diagnosis"})
    assert "level makes no sense" in (tmp_path / "run" / "error.txt").read_text()


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_folder_without_a_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(StoreError, match="holds no segmentation run"):
        load_run(tmp_path)


def test_unknown_engine_lists_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="no segmentation engine called 'quik'.*quick.*Did you mean 'quick'"):
        run_engine("quik", job(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_settings_are_named_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as caught:
        run_engine("toy", job(), tmp_path / "run", settings={"lvel": 1, "fail": 3, "deep": {"quite": True, "quiet": 1}})
    message = str(caught.value)
    assert "'lvel' is not a setting. Did you mean 'level'?" in message
    assert "'deep.quite' is not a setting. Did you mean 'quiet'?" in message
    assert "'fail' = 3 is not possible: How to fail." in message
    assert "'deep.quiet' = 1 is not possible" in message
    assert not (tmp_path / "run").exists()


def test_section_is_no_value() -> None:
    with pytest.raises(ParameterError, match="'deep' is a section"):
        complete_settings(ToyEngine(), {"deep": 1})


@pytest.mark.parametrize(
    ("value", "good"), [(2, True), (2.5, True), (np.float32(1), True), ("2", False), (True, False), (None, False)]
)
def test_numbers_are_told_from_other_values(value: Any, good: bool) -> None:
    if good:
        assert complete_settings(ToyEngine(), {"level": value})["level"] == value
    else:
        with pytest.raises(ParameterError, match="'level'"):
            complete_settings(ToyEngine(), {"level": value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"movies": {}}, "at least one movie"),
        ({"movies": {"a": movie(), "b": movie(shape=(9, 8))}}, "not of one frame size"),
        ({"rate_hz": 0}, "rate_hz"),
        ({"pixel_size_um": (1.0, -1.0)}, "pixel_size_um"),
        ({"artefacts": {"c": np.zeros(10, bool)}}, "mask for 'c'"),
        ({"artefacts": {"a": np.zeros(9, bool)}}, "has 9 items. Expected 10"),
        ({"artefacts": {"a": np.zeros(10, int)}}, "Expected a mask"),
        ({"rois": RoiSet.from_discs(np.array([[4.0, 4.0]]), 2.0, (9, 8))}, "drawn on frames of"),
    ],
)
def test_impossible_jobs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        job(**changes)


def test_job_joins_its_trials() -> None:
    mask = np.zeros(4, bool)
    mask[1] = True
    made = job(artefacts={"b": mask})
    assert made.n_frames == 14
    assert made.trial_frames == {"a": (0, 10), "b": (10, 14)}
    assert np.flatnonzero(made.artefact_mask()).tolist() == [11]
