"""Inspecting folders: one damaged recording does not hide the others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from packerlabimaging.errors import MissingFileError, UnknownFormatError
from packerlabimaging.io import write_paq
from packerlabimaging.io.readers import Reader, readers
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
    (tmp_path / "receipts").mkdir()
    (tmp_path / "experiment.json").write_text("[1, 2")
    (found,) = inspect_all(tmp_path)
    assert [(finding.code, finding.severity) for finding in found.findings][0] == ("damaged-results", "error")


def test_an_experiment_json_of_another_program_hides_nothing(tmp_path):
    for content in ('{"mouse": 7}', "[1, 2", "7"):
        (tmp_path / "experiment.json").write_text(content)
        write_paq(tmp_path / f"{len(content)}.paq", np.zeros((10, 1), np.float32), rate_hz=10, names=["frame_clock"])
        assert "packio" in {found.format for found in inspect_all(tmp_path)}


def test_nothing_and_unknown_are_told_apart(tmp_path):
    with pytest.raises(MissingFileError, match="no file or folder"):
        inspect_all(tmp_path / "nowhere")
    (tmp_path / "odd.xyz").write_text("hello")
    with pytest.raises(UnknownFormatError, match="packio"):
        inspect_all(tmp_path / "odd.xyz")


def test_run_json_of_another_program_hides_nothing(tmp_path):
    (tmp_path / "run.json").write_text('{"mouse": 7}')
    write_paq(tmp_path / "good.paq", np.zeros((10, 1), np.float32), rate_hz=10, names=["frame_clock"])
    assert [found.format for found in inspect_all(tmp_path)] == ["packio", "json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_opened(tmp_path):
    write_paq(tmp_path / "good.paq", np.zeros((10, 1), np.float32), rate_hz=10, names=["frame_clock"])
    names = ["a.paq", "a.tif", "a.xml", "Experiment.xml", "run.json", "stat.npy", "data.bin", "zarr.json", "a_Points.mat", "a.h5"]
    for name in names:
        os.mkfifo(tmp_path / name)
        with pytest.raises(UnknownFormatError):
            inspect_all(tmp_path / name)
    found = {Path(item.path).name: item for item in inspect_all(tmp_path)}
    assert found["good.paq"].format == "packio"
    assert all("pipe" in found[name].findings[0].message for name in names)


def test_unknown_things_are_listed(tmp_path):
    (tmp_path / "what.xyz").write_bytes(b"123")
    (tmp_path / "notes.txt").write_bytes(b"\0\1\2")
    (tmp_path / "broken.paq").symlink_to(tmp_path / "nowhere")
    found = {Path(item.path).name: item for item in inspect_all(tmp_path)}
    assert {name: item.format for name, item in found.items()} == dict.fromkeys(
        ("what.xyz", "notes.txt", "broken.paq"), "unknown"
    )
    assert found["what.xyz"].facts == {"size_bytes": 3}
    assert "broken link" in found["broken.paq"].findings[0].message


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(UnknownFormatError, match="is empty"):
        inspect_all(tmp_path)


def test_a_folder_that_can_not_be_read_hides_nothing(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    write_paq(tmp_path / "good.paq", np.zeros((10, 1), np.float32), rate_hz=10, names=["frame_clock"])
    scandir = os.scandir

    def refuse(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = {Path(item.path).name: item for item in inspect_all(tmp_path)}
    assert found["good.paq"].facts["channels"] == ["frame_clock"]
    assert "Permission denied" in found["closed"].findings[0].message


def test_a_reader_that_fails_hides_nothing(tmp_path, monkeypatch):
    write_paq(tmp_path / "good.paq", np.zeros((10, 1), np.float32), rate_hz=10, names=["frame_clock"])
    (tmp_path / "lab.odd").write_bytes(b"1")

    class Broken(Reader):
        name, kind, description = "broken", "signals", "fails"

        def detect(self, path):
            if path.suffix == ".odd":
                raise ZeroDivisionError("oh")
            return path.suffix == ".paq"

        def open(self, path, **options):
            raise KeyError("never")

        def inspect(self, path):
            raise KeyError("defect")

    monkeypatch.setitem(readers._registered, "broken", Broken)
    found = inspect_all(tmp_path)
    assert {item.format for item in found} == {"packio", "broken", "unknown"}
    assert {finding.code for item in found for finding in item.findings} == {"reader-failed", "not-looked-at"}


def test_what_is_no_recording_is_named(tmp_path):
    """One file of each kind, made by hand after the formats' descriptions."""
    harp = bytes([1, 4, 44, 255, 1])
    contents = {
        "notes.txt": (b"the mouse was calm", "text"),
        "register.bin": (harp + bytes([sum(harp) & 0xFF]), "harp"),
        "poseDLC_resnet50.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "deeplabcut"),
        "pose.csv": (b"scorer,DLC,DLC\n", "deeplabcut"),
        "session.txt": (b"I Experiment name : x\n", "pycontrol"),
        "other.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "hdf5"),
        "camera.avi": (b"RIFF", "video"),
        "a.env": (b"\xef\xbb\xbf<?xml version='1.0'?><Environment/>", "prairieview-environment"),
        "header.json": (b'[{"SI.VERSION_MAJOR": 2020}]', "scanimage-header"),
        "Thumbs.db": (b"\xd0\xcf", "system"),
    }
    for name, (content, _) in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "store.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    (tmp_path / "elsewhere").symlink_to(tmp_path / "store.zarr", target_is_directory=True)
    got = {Path(item.path).name: item.format for item in inspect_all(tmp_path)}
    got.pop("store.zarr")  # a reader may open what it holds
    assert got.pop("elsewhere") == "link"
    readers_of_hdf5 = {name for name in got if name.endswith(".h5") and got[name] in readers.all()}
    assert {name: format for name, format in got.items() if name not in readers_of_hdf5} == {
        name: format for name, (_, format) in contents.items() if name not in readers_of_hdf5
    }


@pytest.mark.slow
def test_fifty_thousand_frames_take_seconds(tmp_path):
    """A folder of 50,000 images of one series and another of 50,000 pictures of a camera: names only, no second look."""
    movie, camera = tmp_path / "t-001", tmp_path / "camera"
    movie.mkdir()
    camera.mkdir()
    tifffile.imwrite(movie / "t-001_Cycle00001_Ch2_000001.ome.tif", np.zeros((4, 5), np.uint16), metadata=None)
    for number in range(2, 50_001):
        os.link(movie / "t-001_Cycle00001_Ch2_000001.ome.tif", movie / f"t-001_Cycle00001_Ch2_{number:06d}.ome.tif")
    (camera / "00001.jpg").write_bytes(b"\xff\xd8\xff")
    for number in range(2, 50_001):
        os.link(camera / "00001.jpg", camera / f"{number:05d}.jpg")
    start = time.process_time()  # other programs may be busy
    found = inspect_all(tmp_path)
    assert time.process_time() - start < 10
    assert len(next(item for item in found if item.format == "prairieview").files["tiff"]) == 50_000
    assert sum(item.format == "picture" for item in found) == 50_000
