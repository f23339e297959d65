"""Fingerprints: what they notice, what they don't mind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from packerlabimaging.errors import MissingFileError
from packerlabimaging.trials.fingerprint import fingerprint


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "t-001"
    (folder / "References").mkdir(parents=True)
    for number in range(5):
        (folder / f"a_{number}.tif").write_bytes(bytes([number]) * 1000)
    (folder / "a.xml").write_text("<PVScan/>")
    (folder / "References" / "b.tif").write_bytes(b"b")
    return folder


def test_a_moved_folder_keeps_its_fingerprint(recording: Path, tmp_path: Path) -> None:
    before = fingerprint(recording)
    assert before.startswith("folder:7:")
    assert fingerprint(shutil.copytree(recording, tmp_path / "elsewhere" / "x")) == before
    os.utime(recording / "a.xml", (0, 0))
    assert fingerprint(recording) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a_3.tif").unlink(),
        lambda folder: (folder / "a_3.tif").rename(folder / "a_7.tif"),
        lambda folder: (folder / "a_3.tif").write_bytes(b"3" * 999),
        lambda folder: (folder / "a.xml").write_text("<PVScaN/>"),
        lambda folder: (folder / "References" / "c.tif").write_bytes(b""),
        lambda folder: (folder / "References").rename(folder / "references2"),
    ],
)
def test_a_change_is_noticed(recording: Path, change: Callable[[Path], object]) -> None:
    before = fingerprint(recording)
    change(recording)
    assert fingerprint(recording) != before


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="There is no file or folder '.*none'"):
        fingerprint(tmp_path / "none")
