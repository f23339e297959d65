"""Scanbox: written as its own reader (sbxread.m) expects, read by channel and plane."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import rig_samples

from packerlabimaging.core import Projections, stream
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io import inspect_path, open_movie
from packerlabimaging.io.scanbox import read_scanbox_events

PIXELS = np.random.default_rng(9).integers(0, 65536, (10, 6, 9, 2)).astype(np.uint16)


def test_pixels_by_channel(tmp_path):
    path = rig_samples.write_scanbox(tmp_path / "a_000.sbx", PIXELS)
    for channel, place in (("pmt0", 0), ("pmt1", 1), (2, 1)):
        movie = open_movie(path, channel=channel)
        np.testing.assert_array_equal(movie.read(0, 10), PIXELS[..., place])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(movie)).read(3, 7), PIXELS[3:7, ..., place])  # noqa: S301
    assert movie.metadata.frame_rate_hz == pytest.approx(7930 / 6) and movie.metadata.pixel_size_um == (1.0, 0.75)
    assert movie.metadata.zoom == 2.0 and movie.metadata.pmt_gain == {"pmt0": 0.77, "pmt1": 0.0}
    assert movie.metadata.channels == ("pmt0", "pmt1") and not movie.findings
    with pytest.raises(AmbiguousInputError, match=r"2 channels: pmt0 \(1\), pmt1 \(2\)"):
        open_movie(path)
    found = stream(movie, {"p": Projections()}, progress=False)["p"]
    np.testing.assert_array_equal(found["max"], PIXELS[..., 1].max(axis=0))


@pytest.mark.parametrize(
    ("changes", "channels"),
    [
        ({"channels": 2}, ("pmt0",)),
        ({"channels": 3}, ("pmt1",)),
        ({"scanbox_version": 3, "chan": {"nchan": 1, "save": np.array([0, 1])}}, ("pmt1",)),
        ({"scanbox_version": 3, "chan": {"nchan": 1}, "channels": 1}, ("pmt0",)),
    ],
)
def test_one_channel(tmp_path, changes, channels):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS[..., :1], **changes)
    movie = open_movie(path)
    assert movie.metadata.channels == channels
    np.testing.assert_array_equal(movie.read(0, 10), PIXELS[..., 0])


def test_both_directions(tmp_path):
    """Half of the lines are records of their own then; older files name records only."""
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS, scanmode=0, recordsPerBuffer=3)
    movie = open_movie(path, channel=1)
    assert movie.metadata.frame_rate_hz == pytest.approx(2 * 7930 / 6) and movie.metadata.sequence_type == "bidirectional"
    path = rig_samples.write_scanbox(tmp_path / "b.sbx", PIXELS, sz=np.array([512, 9]))
    movie = open_movie(path, channel=1)
    np.testing.assert_array_equal(movie.read(0, 10), PIXELS[..., 0])
    assert [finding.code for finding in movie.findings] == ["lines-disagree"]


@pytest.mark.parametrize(
    "changes",
    [
        {"volscan": 1, "otwave": np.array([10.0, 20, 30])},
        {"volscan": None, "otwave": np.array([10.0, 20, 30])},
        {"volscan": 1, "scanbox_version": 3, "etl_table": np.array([[10.0, 1], [20, 1], [30, 1]])},
    ],
)
def test_volumes(tmp_path, changes):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS, **changes)
    movie = open_movie(path, channel=2, plane=1)
    np.testing.assert_array_equal(movie.read(0, 3), PIXELS[1:9:3, ..., 1])
    assert movie.metadata.n_planes == 3 and movie.metadata.frame_rate_hz == pytest.approx(7930 / 6 / 3)
    assert [finding.code for finding in movie.findings] == ["incomplete-last-volume"]
    with pytest.raises(AmbiguousInputError, match="3 planes"):
        open_movie(path, channel=1)


def test_a_volume_of_unknown_planes_is_not_guessed(tmp_path):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS, volscan=1, otparam=np.array([0.0, 100, 30]))
    with pytest.raises(AmbiguousInputError, match="not of how many planes.*Pass n_planes="):
        open_movie(path, channel=1)
    assert open_movie(path, channel=1, n_planes=5, plane=0).n_frames == 2
    inspection = inspect_path(path)[0]
    assert inspection.facts["n_planes"] is None and inspection.findings


def test_a_wave_that_was_not_used_makes_no_volume(tmp_path):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS, volscan=0, otwave=np.array([10.0, 20, 30]))
    assert open_movie(path, channel=1).metadata.n_planes == 1


def test_other_calibrations(tmp_path):
    tables = {"dxcalibration": np.array([3.0, 1.5]), "dycalibration": np.array([4.0, 2.0])}
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS, calibration=None, **tables)
    assert open_movie(path, channel=1).metadata.pixel_size_um == (2.0, 1.5)
    path = rig_samples.write_scanbox(tmp_path / "b.sbx", PIXELS, calibration=None)
    assert open_movie(path, channel=1).metadata.pixel_size_um is None


def test_a_cut_file_and_missing_files(tmp_path):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS)
    path.write_bytes(path.read_bytes()[:-1])
    movie = open_movie(path, channel=1)
    assert movie.n_frames == 9 and [finding.code for finding in movie.findings] == ["cut-frame"]
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="holds 0 frames"):
        open_movie(path, channel=1)
    assert inspect_path(path)[0].findings[-1].code == "unreadable"
    path.with_suffix(".mat").unlink()
    with pytest.raises(MissingFileError, match="Scanbox writes it beside"):
        open_movie(path, reader="scanbox", channel=1)


def test_a_file_of_a_terabyte_opens_by_its_size(tmp_path):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", np.zeros((1, 512, 796, 1), np.uint16))
    os.truncate(path, 1 << 40)
    movie = open_movie(path)
    assert movie.n_frames == (1 << 40) // (512 * 796 * 2)
    assert np.all(movie.read(movie.n_frames - 1, movie.n_frames) == 65535)


def test_events(tmp_path):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS)
    events = read_scanbox_events(path)
    frame_s = 6 / 7930
    np.testing.assert_allclose(events["1"].onsets_s, np.array([1, 65534, 65536 + 2 + 1 / 6]) * frame_s)
    np.testing.assert_allclose(events["2"].onsets_s, np.array([3.5]) * frame_s)
    assert inspect_path(path)[0].facts["n_events"] == {"1": 3, "2": 1}
    path = rig_samples.write_scanbox(tmp_path / "b.sbx", PIXELS, frame=np.zeros(0), line=np.zeros(0), event_id=np.zeros(0))
    assert read_scanbox_events(path) == {}
    path = rig_samples.write_scanbox(tmp_path / "c.sbx", PIXELS, resfreq=None)
    with pytest.raises(FormatError, match="does not say how fast"):
        read_scanbox_events(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sz": np.array([6.0, np.nan])}, "info.sz"),
        ({"sz": np.array([6, -9])}, "info.sz"),
        ({"sz": np.array([10**9, 10**9]), "scanbox_version": 3}, "info.sz"),
        ({"channels": 7}, "which channels were saved"),
        ({"channels": None}, "which channels were saved"),
        ({"volscan": 1, "otwave": np.arange(10_000.0)}, "10000 planes"),
    ],
)
def test_numbers_that_make_no_sense(tmp_path, changes, message):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS, **changes)
    with pytest.raises(FormatError, match=message):
        open_movie(path, channel=1)


def test_other_matlab_files_are_refused(tmp_path):
    import h5py
    from scipy.io import savemat

    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS)
    savemat(tmp_path / "a.mat", {"other": 1})
    with pytest.raises(FormatError, match="no struct 'info'"):
        open_movie(path, channel=1)
    (tmp_path / "a.mat").write_bytes(b"nonsense" * 100)
    with pytest.raises(FormatError, match="a.mat"):
        open_movie(path, channel=1)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["info"] = 1
    with open(tmp_path / "a.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    with pytest.raises(FormatError, match="7.3"):
        open_movie(path, channel=1)


def test_options_are_checked(tmp_path):
    path = rig_samples.write_scanbox(tmp_path / "a.sbx", PIXELS)
    with pytest.raises(ParameterError, match="channel = 'red' is not in"):
        open_movie(path, channel="red")
    with pytest.raises(ParameterError, match="no option 'n_plane'. Did you mean 'n_planes'"):
        open_movie(path, channel=1, n_plane=2)
    with pytest.raises(ParameterError, match="n_planes"):
        open_movie(path, channel=1, n_planes=0)
