"""Damaged HDF5 files: what would crash the library, or never end, is an error."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.untrusted import hdf5_trial
from packerlabimaging.io.untrusted.hdf5 import open_hdf5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made["numbers"] = np.arange(5)
        made.attrs["names"] = ["one", "two", "three"]
        made.create_dataset("words", data=["four", "five"], dtype=h5py.string_dtype())
    return path


def read(path: Path) -> list[int]:
    with open_hdf5(path) as opened:
        found: list[int] = opened["numbers"][()].tolist()
    return found


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another program in the place of the one that walks through files."""
    path = tmp_path / "program.py"
    monkeypatch.setattr(hdf5_trial, "PROGRAM", path)
    monkeypatch.setattr(hdf5_trial, "LONGEST_S", 5.0)
    walker = hdf5_trial._Walker()
    monkeypatch.setattr(hdf5_trial, "_walker", walker)
    hdf5_trial._survives.cache_clear()
    yield path
    walker.stop()
    hdf5_trial._survives.cache_clear()


@pytest.mark.parametrize("far", [0, 40 << 20], ids=["at the start", "at the end of a large file"])
def test_a_text_without_length_never_ends_the_library_and_is_refused(file: Path, far: int) -> None:
    if far:
        with h5py.File(file, "a") as made:
            made["many"] = np.zeros(far, np.uint8)
            made.attrs["last"] = ["six"] * 600  # more than the first heap has room for
    assert read(file) == [0, 1, 2, 3, 4]
    content = bytearray(file.read_bytes())
    heap = content.rindex(b"GCOL")
    assert heap > far
    content[heap + 16 : heap + 32] = bytes(16)
    file.write_bytes(content)
    with pytest.raises(FormatError, match="is damaged: a text at byte .* takes no space. Copy it again"):
        read(file)


@pytest.mark.parametrize("end", ["os.abort()", "sys.exit()", "os._exit(3)"])
def test_a_file_that_crashes_the_library_is_refused_and_the_next_is_read(file: Path, program: Path, end: str) -> None:
    program.write_text(
        "import os, sys\nprint('ready', flush=True)\n"
        f"for line in sys.stdin:\n    if 'bad' in line: {end}\n    print('done', flush=True)\n"
    )
    bad = file.with_name("bad.h5")
    bad.write_bytes(file.read_bytes())
    assert read(file) == [0, 1, 2, 3, 4]
    for _ in range(2):
        with pytest.raises(FormatError, match="bad.h5' is damaged: the HDF5 library crashes on it or does not come to an end"):
            read(bad)
    other = file.with_name("other.h5")
    other.write_bytes(file.read_bytes())
    assert read(other) == [0, 1, 2, 3, 4]


def test_a_file_that_never_ends_is_refused(file: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_trial, "LONGEST_S", 1.0)
    program.write_text("import sys, time\nprint('ready', flush=True)\nsys.stdin.readline()\ntime.sleep(100)\n")
    start = time.monotonic()
    with pytest.raises(FormatError, match="does not come to an end"):
        read(file)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("text", ["raise SystemExit", "print('something else', flush=True)"])
def test_where_no_other_process_can_be_started_files_are_read(file: Path, program: Path, text: str) -> None:
    program.write_text(text)
    assert read(file) == [0, 1, 2, 3, 4]


def test_a_file_is_looked_at_again_only_when_it_changed(file: Path, program: Path) -> None:
    seen = program.with_name("seen")
    program.write_text(
        "import sys\nprint('ready', flush=True)\n"
        f"for line in sys.stdin:\n    open({str(seen)!r}, 'a').write('x')\n    print('done', flush=True)\n"
    )
    read(file), read(file)
    assert seen.read_text() == "x"
    with h5py.File(file, "a") as made:
        made["more"] = np.arange(3000)
    read(file)
    assert seen.read_text() == "xx"


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="There is no file"), open_hdf5(tmp_path / "none.h5"):
        pass
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(FormatError, match="no readable HDF5 file"), open_hdf5(tmp_path / "text.h5"):
        pass
