"""ThorImage and ThorSync: what a real Experiment.xml says, and images and signals written as other readers expect them."""

from __future__ import annotations

import pickle
from datetime import datetime
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
import rig_samples
import tifffile

from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io import find_reader, inspect_path, open_movie, open_signals
from packerlabimaging.io.thor import ThorSyncReader, read_experiment

RNG = np.random.default_rng(8)
SHAPE = (5, 7)


def raw(folder, n_images, name="Image_0001_0001.raw"):
    pixels = RNG.integers(0, 16384, (n_images, *SHAPE)).astype("<u2")
    pixels.tofile(folder / name)
    return pixels


@pytest.mark.realdata
def test_a_real_experiment(realdata):
    folder = realdata / "fedeceri85__thorlabsLiveViewer"
    lsm = ElementTree.parse(folder / "Experiment.xml").getroot().find("LSM")
    found = read_experiment(folder)
    assert found.frame_shape_px == (int(lsm.get("pixelY")), int(lsm.get("pixelX"))) == (352, 1024)
    assert found.channels == ("ChanC",) and found.only_enabled_saved
    assert (found.n_planes, found.n_flyback, found.n_images, found.n_averaged) == (1, 0, 30000, 1)  # 53 z-steps were not used
    assert found.frame_rate_hz == float(lsm.get("frameRate"))
    np.testing.assert_allclose(found.metadata.pixel_size_um, float(lsm.get("pixelSizeUM")), rtol=0.001)
    assert found.metadata.acquired == datetime(2024, 3, 14, 9, 49, 55)
    assert (found.metadata.program_version, found.metadata.objective) == ("4.0.2020.2171", "16X Nikon")
    inspection = inspect_path(folder)[0]
    assert inspection.format == "thorimage" and [finding.code for finding in inspection.findings] == ["no-images"]
    assert find_reader(folder / "Experiment.xml", "movie").name == "thorimage"
    with pytest.raises(MissingFileError, match="holds no images of ThorImage"):
        open_movie(folder)


def test_a_movie_of_one_channel(tmp_path):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=6, average=(1, 4))
    pixels = raw(tmp_path, 6)
    for path in (tmp_path, tmp_path / "Experiment.xml", tmp_path / "Image_0001_0001.raw"):
        movie = open_movie(path)
        np.testing.assert_array_equal(movie.read(0, 6), pixels)
    assert movie.metadata.frame_rate_hz == pytest.approx(22.279 / 4) and movie.metadata.frame_rate_source == "nominal"
    assert movie.metadata.pixel_size_um == (0.5, 0.5) and movie.metadata.channels == ("ChanC",) and not movie.findings
    assert movie.metadata.pmt_gain == {"ChanC": 50.0} and movie.metadata.laser_power == {"pockels1": 20.0}
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(movie)).read(2, 4), pixels[2:4])  # noqa: S301


@pytest.mark.parametrize(("only_enabled", "stored"), [("1", 2), ("0", 4), ("0", 2), (None, 4)])
def test_which_channels_a_raw_file_holds(tmp_path, only_enabled, stored):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=6, channels=0b101, only_enabled=only_enabled)
    pixels = raw(tmp_path, 6 * stored)
    places = {"ChanA": 0, "ChanC": 1 if stored == 2 else 2}
    for name, place in places.items():
        np.testing.assert_array_equal(open_movie(tmp_path, channel=name).read(0, 6), pixels[place::stored])
    np.testing.assert_array_equal(open_movie(tmp_path, channel=3).read(0, 6), pixels[places["ChanC"] :: stored])
    with pytest.raises(AmbiguousInputError, match=r"2 channels: ChanA \(1\), ChanC \(3\)"):
        open_movie(tmp_path)
    with pytest.raises(ParameterError, match="channel = 'ChanB' is not in"):
        open_movie(tmp_path, channel="ChanB")


def test_a_stopped_recording_with_unknown_channels_is_not_guessed(tmp_path):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=100, channels=0b11, only_enabled="0", status="Stopped")
    pixels = raw(tmp_path, 40)
    with pytest.raises(AmbiguousInputError, match=r"neither 2 nor 4 times the 100.*Pass n_channels=2 or n_channels=4"):
        open_movie(tmp_path, channel="ChanB")
    movie = open_movie(tmp_path, channel="ChanB", n_channels=4)
    np.testing.assert_array_equal(movie.read(0, 10), pixels[1::4])
    assert [(finding.code, finding.severity) for finding in movie.findings] == [("image-count-differs", "info")]
    with pytest.raises(ParameterError, match="n_channels = 3 is not possible"):
        open_movie(tmp_path, channel="ChanB", n_channels=3)


def test_volumes_with_flyback(tmp_path):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=18, channels=0b11, steps=3, flyback=1, fast_z=1)
    pixels = raw(tmp_path, 36, "Image_001_001.raw").reshape(-1, 2, *SHAPE)
    movie = open_movie(tmp_path, channel="ChanB", plane=2)
    assert movie.n_frames == 4 and movie.metadata.n_planes == 3
    np.testing.assert_array_equal(movie.read(0, 4), pixels[2:16:4, 1])
    assert movie.metadata.frame_rate_hz == pytest.approx(22.279 / 4)
    assert [finding.code for finding in movie.findings] == ["incomplete-last-volume"]
    with pytest.raises(AmbiguousInputError, match="3 planes"):
        open_movie(tmp_path, channel="ChanB")


def test_steps_that_were_not_used_make_no_volume(tmp_path):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=6, steps=53, fast_z=0)
    raw(tmp_path, 6)
    assert open_movie(tmp_path).metadata.n_planes == 1


def test_a_cut_raw_file(tmp_path):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=6)
    pixels = raw(tmp_path, 6)
    path = tmp_path / "Image_0001_0001.raw"
    path.write_bytes(path.read_bytes()[:-30])
    movie = open_movie(tmp_path)
    np.testing.assert_array_equal(movie.read(0, 5), pixels[:5])
    assert {finding.code for finding in movie.findings} == {"cut-frame", "image-count-differs"}
    raw(tmp_path, 3, "Image_0001_0002.raw")
    with pytest.raises(AmbiguousInputError, match="2 raw files: Image_0001_0001.raw, Image_0001_0002.raw"):
        open_movie(tmp_path)


def test_a_raw_file_of_a_terabyte_opens_by_its_header(tmp_path):
    rig_samples.write_thor_xml(tmp_path, (512, 512), frames=1 << 21)
    with open(tmp_path / "Image_0001_0001.raw", "wb") as file:
        file.truncate(1 << 40)
    movie = open_movie(tmp_path)
    assert movie.n_frames == 1 << 21 and movie.read(movie.n_frames - 1, movie.n_frames).sum() == 0


def write_tiffs(folder, channel, times, planes=(1,), width=3):
    frames = {}
    for plane in planes:
        for time in times:
            frame = RNG.integers(0, 16384, SHAPE).astype(np.uint16)
            frames[plane, time] = frame
            number = f"{1:0{width}}_{1:0{width}}_{plane:0{width}}_{time:0{width}}"
            tifffile.imwrite(folder / f"{channel}_{number}.tif", frame, photometric="minisblack", description="<OME/>" * 50)
    return frames


@pytest.mark.parametrize("width", [3, 4])
def test_tiff_files_of_one_frame(tmp_path, width):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=11, channels=0b11)
    expected = {name: write_tiffs(tmp_path, name, range(1, 12), width=width) for name in ("ChanA", "ChanB")}
    (tmp_path / "ChanA_Preview.tif").write_bytes((tmp_path / f"ChanA_{'_'.join(['1'.zfill(width)] * 4)}.tif").read_bytes())
    movie = open_movie(tmp_path, channel="ChanB")
    np.testing.assert_array_equal(movie.read(0, 11), [expected["ChanB"][1, time] for time in range(1, 12)])
    assert not movie.findings and movie.metadata.frame_rate_hz == 22.279
    (tmp_path / f"ChanB_{'_'.join(['1'.zfill(width)] * 3)}_{'5'.zfill(width)}.tif").unlink()
    with pytest.raises(MissingFileError, match=": 5, in"):
        open_movie(tmp_path, channel="ChanB")
    movie = open_movie(tmp_path, channel="ChanB", allow_gaps=True)
    assert movie.n_frames == 10 and {finding.code for finding in movie.findings} == {"missing-frames", "image-count-differs"}


def test_tiff_files_by_plane(tmp_path):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=4, mode=0, steps=3)
    expected = write_tiffs(tmp_path, "ChanC", range(1, 5), planes=(1, 2, 3))
    movie = open_movie(tmp_path, plane=1)
    np.testing.assert_array_equal(movie.read(0, 4), [expected[2, time] for time in range(1, 5)])
    assert movie.metadata.frame_rate_hz is None and movie.metadata.n_planes == 3
    (tmp_path / "ChanC_001_001_003_004.tif").unlink()
    movie = open_movie(tmp_path, plane=0)
    assert movie.n_frames == 3 and "incomplete-last-volume" in {finding.code for finding in movie.findings}


def test_a_tiff_stack(tmp_path):
    rig_samples.write_thor_xml(tmp_path, SHAPE, frames=12, steps=3, flyback=1, fast_z=1)
    pixels = RNG.integers(0, 16384, (12, *SHAPE)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "ChanC_001_001_001_001.tif", pixels, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(open_movie(tmp_path, plane=2).read(0, 3), pixels[2::4])
    assert find_reader(tmp_path, "movie").name == "thorimage"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "does not say which channels were on"),
        ({"frames": -3}, 'Streaming frames="-3"'),
        ({"steps": 10**30}, "ZStage steps"),
        ({"average": (1, 0)}, 'averageNum="0"'),
        ({"frame_rate": "nan"}, None),
        ({"frame_rate": "-1"}, None),
    ],
)
def test_numbers_that_make_no_sense(tmp_path, options, message):
    rig_samples.write_thor_xml(tmp_path, SHAPE, **options)
    raw(tmp_path, 6)
    if message is None:
        assert open_movie(tmp_path).metadata.frame_rate_hz is None
    else:
        with pytest.raises(FormatError, match=message):
            open_movie(tmp_path)


def test_thorsync(tmp_path):
    n = 3000
    pockels = RNG.normal(size=n)
    frame_out = (np.arange(n) % 100 < 60).astype(np.uint32) * 4
    lines = {"AI/Pockels": pockels, "DI/Frame_Out": frame_out, "CI/Frame Counter": np.arange(n) // 100, "DI/Pockels": frame_out}
    path = rig_samples.write_thorsync(tmp_path, lines=lines)
    for place in (path, tmp_path):
        signals = open_signals(place)
        assert set(signals) == {"AI/Pockels", "Frame_Out", "Frame Counter", "DI/Pockels"} and not signals.findings
    np.testing.assert_array_equal(signals["AI/Pockels"].read(), pockels.astype(np.float32))
    np.testing.assert_array_equal(signals["Frame_Out"].read(150, 420), (frame_out[150:420] > 0).astype(np.float32))
    np.testing.assert_array_equal(
        np.concatenate([piece for _, piece in signals["Frame Counter"].chunks(700)]), np.arange(n) // 100
    )
    assert (signals["AI/Pockels"].rate_hz, signals["AI/Pockels"].unit, signals["Frame_Out"].unit) == (30000.0, "V", "")
    facts = inspect_path(tmp_path)[0].facts["episodes"]["Episode001.h5"]
    assert facts["frame_clock"] == ["Frame_Out"] and facts["n_samples"] == n
    channel = signals["Frame_Out"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(channel)).read(), channel.read())  # noqa: S301


def test_the_rate_is_what_the_clock_counted(tmp_path):
    path = rig_samples.write_thorsync(tmp_path, rate_hz=29000.0, written_hz=30000.0)
    signals = open_signals(path)
    assert signals["Frame_Out"].rate_hz == pytest.approx(29000.0, rel=1e-6)
    assert [finding.code for finding in signals.findings] == ["rate-disagrees"]
    assert open_signals(path, rate_hz=123.0)["Frame_Out"].rate_hz == 123.0


def test_lost_samples_are_told(tmp_path):
    clock = np.round(np.arange(3000) * 20e6 / 30000).astype(np.uint64)
    clock[1700:] += 40 * 667
    found = open_signals(rig_samples.write_thorsync(tmp_path, clock=clock)).findings
    assert "samples-uneven" in [finding.code for finding in found]


def test_without_a_clock(tmp_path):
    path = rig_samples.write_thorsync(tmp_path, clock=np.zeros(0))
    assert [finding.code for finding in open_signals(path).findings] == ["rate-nominal"]
    (tmp_path / "ThorRealTimeDataSettings.xml").unlink()
    with pytest.raises(ParameterError, match=r"says the rate. Pass rate_hz="):
        open_signals(path)
    assert open_signals(path, rate_hz=30000.0)["Frame_Out"].duration_s == 0.1


def test_a_clock_that_does_not_run(tmp_path):
    path = rig_samples.write_thorsync(tmp_path, clock=np.zeros(3000, np.uint64))
    with pytest.raises(FormatError, match="does not run on"):
        open_signals(path)


def test_several_episodes_and_odd_lines(tmp_path):
    rig_samples.write_thorsync(tmp_path)
    rig_samples.write_thorsync(tmp_path, name="Episode002.h5", n_samples=100)
    with pytest.raises(AmbiguousInputError, match="2 episodes: 1, 2"):
        open_signals(tmp_path)
    assert open_signals(tmp_path, episode=2)["Frame_Out"].n_samples == 100
    with pytest.raises(ParameterError, match="episode = 3 is not in"):
        open_signals(tmp_path, episode=3)
    with h5py.File(tmp_path / "Episode002.h5", "a") as file:
        file["AI/short"] = np.zeros((50, 1))
        file["AI/text"] = "hello"
    signals = open_signals(tmp_path, episode=2)
    assert "short" not in signals and [finding.code for finding in signals.findings] == ["lines-left-out"]
    with h5py.File(tmp_path / "Episode003.h5", "w") as file:
        file["Global/GCtr"] = np.arange(5)
    with pytest.raises(FormatError, match="holds no lines"):
        open_signals(tmp_path / "Episode003.h5")


def test_an_hdf5_file_of_another_program_is_not_thorsyncs(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["AI/x"] = np.zeros(5)
    assert not ThorSyncReader().detect(tmp_path / "a.h5")
