"""Inspecting folders: one damaged recording does not hide the others."""

from __future__ import annotations

import os

import numpy as np
import pytest

from packerlabimaging.errors import MissingFileError, StoreError, UnknownFormatError
from packerlabimaging.io import write_paq
from packerlabimaging.pipeline.inspection import inspect_all


def test_a_damaged_recording_is_told_beside_the_others(tmp_path):
    write_paq(tmp_path / "good.paq", np.zeros((10, 1), np.float32), rate_hz=10, names=["frame_clock"])
    (tmp_path / "bad.paq").write_bytes(b"\0" * 64)
    bad, good = inspect_all(tmp_path)
    assert [finding.code for finding in bad.findings] == ["unreadable"]
    assert "sampling rate" in bad.findings[0].message
    assert bad.findings[0].severity == "error"
    assert good.facts["channels"] == ["frame_clock"]


def test_a_results_folder_is_described_without_knowing_its_trial_types(tmp_path):
    (tmp_path / "experiment.json").write_text('{"id": "e", "trial": [{"id": "t-1", "type": "elsewhere:PupilTrial"}]}')
    (found,) = inspect_all(tmp_path)
    assert found.kind == "results"
    assert found.facts == {"experiment": "e", "trials": ["t-1"], "finished_steps": []}
    (tmp_path / "experiment.json").write_text("[1, 2")
    with pytest.raises(StoreError, match=r"experiment\.json' is damaged"):
        inspect_all(tmp_path)


def test_nothing_and_unknown_are_told_apart(tmp_path):
    with pytest.raises(MissingFileError, match="no file or folder"):
        inspect_all(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UnknownFormatError, match="packio"):
        inspect_all(tmp_path / "notes.txt")


def test_run_json_of_another_program_hides_nothing(tmp_path):
    (tmp_path / "run.json").write_text('{"mouse": 7}')
    write_paq(tmp_path / "good.paq", np.zeros((10, 1), np.float32), rate_hz=10, names=["frame_clock"])
    assert [found.format for found in inspect_all(tmp_path)] == ["packio"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_opened(tmp_path):
    for name in ("a.paq", "a.tif", "a.xml"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UnknownFormatError):
            inspect_all(tmp_path / name)
