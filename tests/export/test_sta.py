"""The files of a stimulus-triggered average hold its numbers, and none is overwritten."""

from __future__ import annotations

import numpy as np
import pytest
from tifffile import TiffFile, imread

from packerlabimaging.analysis.sta import StaSettings, compute_sta
from packerlabimaging.core import ArrayMovie, FrameClock
from packerlabimaging.errors import ParameterError, StoreError
from packerlabimaging.export import write_sta
from packerlabimaging.export.sta import colour_by_kind, colour_by_time

RATE_HZ = 20.0


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(2)
    pixels = rng.normal(500.0, 5.0, (400, 7, 9))
    clock = FrameClock.nominal(400, RATE_HZ)
    onsets = 1.0 + 1.9 * np.arange(10)
    kinds = [1, 2] * 5
    for onset, kind in zip(onsets, kinds, strict=True):
        first = int(np.ceil(onset * RATE_HZ - 1e-9))
        pixels[first + 2 : first + 12, 3, 4 if kind == 1 else 6] += 200
    movie = ArrayMovie(pixels.astype(np.uint16))
    settings = StaSettings(pre_s=0.5, post_s=1.0, average_start_s=0.1, average_stop_s=0.6)
    return movie, compute_sta(movie, clock, onsets, kinds=kinds, settings=settings)


def test_files_have_stamoviemakers_names_and_the_averages_numbers(made, tmp_path):
    movie, sta = made
    files = write_sta(tmp_path / "sta", sta, name="t-001", movie=movie, pixel_size_um=(1.5, 1.5))
    names = {path.name for path in files}
    assert {path.name for path in (tmp_path / "sta").iterdir()} == names
    suffixes = ("raw", "dFF", "AvgImage", "Corr", "TimePeak", "tMap", "qMap", "All5Trials")
    expected = {f"t-001_Stim{kind}_STA_Plane1_{suffix}.tif" for kind in (1, 2) for suffix in suffixes}
    assert names == expected | {"t-001_STA_Plane1_MaxResponseImage.tif", "t-001_STA_Plane1_PrefImage.tif"}
    read = {path.name.split("Plane1_")[1]: imread(path) for path in files if "Stim1" in path.name}
    np.testing.assert_array_equal(read["raw.tif"], sta.movie(0, method="raw"))
    np.testing.assert_allclose(read["dFF.tif"], 100 * sta.movie(0), rtol=1e-6)
    np.testing.assert_allclose(read["AvgImage.tif"][3, 4], 40.0, atol=2)
    assert read["qMap.tif"][3, 4] < 0.01 and read["TimePeak.tif"].shape == (7, 9, 3)
    assert read["All5Trials.tif"].shape == (5 * 30, 7, 9)
    np.testing.assert_array_equal(read["All5Trials.tif"][:30], movie.read(10, 40))
    with TiffFile(tmp_path / "sta" / "t-001_Stim1_STA_Plane1_dFF.tif") as file:
        assert file.imagej_metadata["finterval"] == pytest.approx(1 / RATE_HZ)


def test_nothing_is_overwritten(made, tmp_path):
    _, sta = made
    (tmp_path / "sta_Stim2_STA_Plane1_raw.tif").write_text("mine")
    with pytest.raises(StoreError, match="sta_Stim2_STA_Plane1_raw.tif already"):
        write_sta(tmp_path, sta)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ParameterError, match="method = 'raw' is not possible"):
        write_sta(tmp_path / "new", sta, method="raw")
    assert not (tmp_path / "new").exists()


def test_colours_tell_kind_and_time(made):
    _, sta = made
    kinds = colour_by_kind(sta, threshold=0.1)
    assert kinds[3, 4].argmax() == 0 and kinds[3, 6, 1] == kinds[3, 6, 2] > 0  # red and cyan
    assert kinds[0, 0].tolist() == [0, 0, 0]
    times = colour_by_time(sta, 0, threshold=0.1)
    assert times[3, 4].max() > 200 and times[0, 0].max() == 0


def test_thresholds_leave_what_is_above(made, tmp_path):
    _, sta = made
    write_sta(tmp_path, sta, threshold=0.1)
    image = imread(tmp_path / "sta_Stim1_STA_Plane1_AvgImage.tif")
    assert image[3, 4] > 10 and (image > 0).sum() == 1


def test_videos_are_written(made, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    _, sta = made
    files = write_sta(tmp_path, sta, mp4=True)
    videos = [path for path in files if path.suffix == ".mp4"]
    assert [path.name for path in videos] == ["sta_Stim1_STA_Plane1.mp4", "sta_Stim2_STA_Plane1.mp4"]
    assert imageio_ffmpeg.count_frames_and_secs(str(videos[0]))[0] == 30
