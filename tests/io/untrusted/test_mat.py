"""MATLAB files: the same values that scipy reads, and no crash on damaged ones (scipy's compiled reader has some)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.untrusted.mat import read_mat

VALUES = {
    "whole": np.arange(6, dtype=np.int16).reshape(2, 3),
    "real": np.linspace(0, 1, 5),
    "large": np.array([[2.0**40, -1.5]]),
    "text": "hällo",
    "rows": np.array(["1.0", "2.5"]),
    "empty": np.zeros((0, 0)),
    "flag": np.array([[True, False]]),
    "inner": {"x": 1, "deeper": {"y": np.array([1, 2], np.uint8)}},
    "cells": np.array(["a", 3.0, np.eye(2)], dtype=object),
    "structs": np.array([(1.0, 2.0), (3.0, 4.0)], dtype=[("x", float), ("y", float)]),
}


def same(ours, theirs):
    """Compare with scipy's value, squeezed by ``simplify_cells``."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(same(mine, other) for mine, other in zip(ours, theirs, strict=True))
    if isinstance(ours, str):
        return ours.split("\n") == [str(row) for row in np.atleast_1d(theirs)]
    return (np.array_equal(np.squeeze(ours), theirs) or ours.size == np.size(theirs) == 0) and ours.dtype.kind == np.asarray(
        theirs
    ).dtype.kind


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_values_as_scipy(tmp_path, packed):
    path = tmp_path / "a.mat"
    savemat(path, {"before": np.arange(1000), "info": VALUES}, do_compression=packed)
    ours, theirs = read_mat(path, "info"), loadmat(path, simplify_cells=True)["info"]
    assert same(ours, theirs)
    assert ours["whole"].shape == (2, 3) and ours["whole"].dtype == np.int16 and ours["real"].shape == (1, 5)
    assert read_mat(path, "other") is None


@given(st.integers(0, 10**9), st.integers(1, 6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_our_errors_only(tmp_path_factory, seed, n_changes, packed):
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    savemat(path, {"info": VALUES}, do_compression=packed)
    content, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in rng.integers(116, len(content), n_changes):
        content[place] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
    path.write_bytes(content[: rng.integers(100, len(content) + 1)] if seed % 3 == 0 else content)
    try:
        read_mat(path, "info")
    except FormatError as error:
        assert "damaged.mat" in str(error)


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"info": np.zeros(100)})
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<ii", 1, 100))
    content[place : place + 8] = struct.pack("<ii", 1 << 30, 1 << 30)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="an array of 1,152,921,504,606,846,976 numbers has 800 bytes"):
        read_mat(path, "info")
    bomb = zlib.compress(bytes(200 << 20))
    path.write_bytes(bytes(content[:128]) + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(FormatError, match="unpacks to more than"):
        read_mat(path, "info")
    with pytest.raises(FormatError, match="Expected at most 1,000"):
        read_mat(path, "info", most_bytes=1000)


def test_deep_and_other_files(tmp_path):
    value = {"x": 1}
    for _ in range(60):
        value = {"x": value}
    savemat(tmp_path / "deep.mat", {"info": value})
    with pytest.raises(FormatError, match="more than 32 deep"):
        read_mat(tmp_path / "deep.mat", "info")
    (tmp_path / "text.mat").write_text("hello")
    with pytest.raises(FormatError, match="no MATLAB file"):
        read_mat(tmp_path / "text.mat", "info")
    with pytest.raises(MissingFileError, match="no file"):
        read_mat(tmp_path / "nothing.mat", "info")
