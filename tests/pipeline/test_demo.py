"""The demonstration tells what is wrong with its arguments before it simulates."""

from __future__ import annotations

import sys

import pytest

from packerlabimaging.errors import MissingDependencyError, StoreError, UnknownFormatError
from packerlabimaging.pipeline import run_demo


def test_a_mistyped_engine_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownFormatError, match="Did you mean 'quick'"):
        run_demo(tmp_path / "demo", engine="quik", size="tiny", progress=False)
    assert not (tmp_path / "demo").exists()


def test_an_engine_that_is_not_installed_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="'suite2p' needs the package 'torch'"):
        run_demo(tmp_path / "demo", engine="suite2p", size="tiny", progress=False)
    assert not (tmp_path / "demo").exists()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists and is not empty"):
        run_demo(tmp_path, size="tiny", progress=False)
