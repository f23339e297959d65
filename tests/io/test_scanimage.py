"""ScanImage: headers in every place where its versions write them, and pages arranged as the header says."""

from __future__ import annotations

import json
import pickle
import struct
from datetime import datetime

import numpy as np
import pytest
import rig_samples
import tifffile

from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError
from packerlabimaging.io import find_reader, inspect_path, open_movie
from packerlabimaging.io.scanimage import read_scanimage_header
from packerlabimaging.io.scanimage.arrangement import arrange, imaging_rois, pixel_size
from packerlabimaging.io.scanimage.header import ScanImageHeader

PAGES = np.random.default_rng(2).integers(-200, 8000, (24, 8, 10)).astype(np.int16)
VOLUME = {
    "hStackManager__enable": True,
    "hFastZ__enable": True,
    "hStackManager__numSlices": 11,  # stale, as in real files
    "hStackManager__actualNumSlices": 3,
    "hStackManager__framesPerSlice": 1,
    "hStackManager__numFramesPerVolume": 3,
    "hStackManager__numFramesPerVolumeWithFlyback": 4,
    "hStackManager__actualNumVolumes": 3,
    "hStackManager__stackMode": "fast",
    "hStackManager__zs": [10, 20, 30],
    "hChannels__channelSave": [1, 3],
}


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_movie_of_one_channel(tmp_path, bigtiff):
    path = tmp_path / "m_00001.tif"
    rig_samples.write_scanimage(
        path, PAGES, rig_samples.scanimage_header(), rig_samples.page_texts(range(1, 25)), bigtiff=bigtiff
    )
    if bigtiff:
        with path.open("rb") as file:
            values, *_ = tifffile.read_scanimage_metadata(file)
        assert values["SI.VERSION_MAJOR"] == 2020  # tifffile reads the sample as ScanImage's too
    movie = open_movie(path)
    np.testing.assert_array_equal(movie.read(0, 24), PAGES)
    metadata = movie.metadata
    assert metadata.frame_rate_hz == pytest.approx(30) and metadata.frame_rate_source == "frame times"
    assert (metadata.program, metadata.program_version, metadata.zoom) == ("ScanImage", "2020.1", 2.5)
    assert metadata.pixel_size_um == (400 / 8, 500 / 10) and metadata.channels == ("Channel 1",)
    assert metadata.acquired == datetime(2021, 2, 12, 10, 31, 4, 125000) and not movie.findings
    np.testing.assert_allclose(movie.read_frame_times(), np.arange(24) / 30, atol=1e-8)
    np.testing.assert_allclose(open_movie(path, frame_times=True).metadata.frame_times_s, np.arange(24) / 30, atol=1e-8)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(movie)).read(3, 9), PAGES[3:9])  # noqa: S301
    assert find_reader(path, "movie").name == "scanimage"


def test_channels_and_planes_with_flyback(tmp_path):
    texts = rig_samples.page_texts(range(1, 13), n_channels=2)
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, rig_samples.scanimage_header(**VOLUME), texts)
    by_place = PAGES.reshape(3, 4, 2, 8, 10)
    for plane in range(3):
        for channel, place in ((1, 0), (3, 1), ("channel 3", 1)):
            movie = open_movie(path, channel=channel, plane=plane)
            np.testing.assert_array_equal(movie.read(0, 3), by_place[:, plane, place])
    assert movie.metadata.frame_rate_hz == pytest.approx(30 / 4) and movie.metadata.plane_z_um == (10, 20, 30)
    assert not movie.findings
    np.testing.assert_allclose(
        open_movie(path, channel=1, plane=1, frame_times=True).metadata.frame_times_s, np.arange(3) * 4 / 30
    )
    with pytest.raises(AmbiguousInputError, match=r"2 channels: Channel 1 \(1\), Channel 3 \(3\)"):
        open_movie(path, plane=0)
    with pytest.raises(AmbiguousInputError, match="3 planes"):
        open_movie(path, channel=1)
    facts = inspect_path(path)[0].facts
    assert (facts["n_planes"], facts["n_flyback_frames"], facts["n_frames"], facts["images"]) == (3, 1, 3, 24)


def test_flyback_that_was_not_saved_shows_in_the_frame_numbers(tmp_path):
    numbers = [number for number in range(1, 17) if number % 4]
    texts = rig_samples.page_texts(numbers, n_channels=2)
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, rig_samples.scanimage_header(**VOLUME), texts)
    movie = open_movie(path, channel=3, plane=1)
    np.testing.assert_array_equal(movie.read(0, 4), PAGES.reshape(4, 3, 2, 8, 10)[:, 1, 1])
    assert [finding.code for finding in movie.findings] == ["flyback-not-saved"]
    assert movie.metadata.frame_rate_hz == pytest.approx(30 / 4)  # the flight back takes its time all the same


def test_missing_frames_are_told(tmp_path):
    numbers = [number for number in range(1, 27) if number not in (7, 8)]
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, rig_samples.scanimage_header(), rig_samples.page_texts(numbers))
    movie = open_movie(path)
    assert [finding.code for finding in movie.findings] == ["missing-frames"] and movie.findings[0].evidence["n_missing"] == 2
    assert movie.metadata.frame_rate_hz == pytest.approx(30)


def test_the_times_are_believed_more_than_the_settings(tmp_path):
    path = rig_samples.write_scanimage(
        tmp_path / "m.tif", PAGES, rig_samples.scanimage_header(), rig_samples.page_texts(range(1, 25), rate_hz=28.0)
    )
    movie = open_movie(path)
    assert movie.metadata.frame_rate_hz == pytest.approx(28) and [f.code for f in movie.findings] == ["rate-disagrees"]
    path = rig_samples.write_scanimage(tmp_path / "n.tif", PAGES, rig_samples.scanimage_header(), [""] * 24)
    movie = open_movie(path)
    assert movie.metadata.frame_rate_source == "nominal" and [f.code for f in movie.findings] == ["rate-nominal"]
    with pytest.raises(FormatError, match="page 1 has no time"):
        movie.read_frame_times()
    assert open_movie(path, frame_rate_hz=3, pixel_size_um=2).metadata.frame_rate_source == "given"


def test_averaged_frames(tmp_path):
    header = rig_samples.scanimage_header(hScan2D__logAverageFactor=4)
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, header, [""] * 24)
    assert open_movie(path).metadata.frame_rate_hz == pytest.approx(7.5)
    texts = rig_samples.page_texts(range(1, 97, 4))  # numbers and times of the first frame of each group
    path = rig_samples.write_scanimage(tmp_path / "n.tif", PAGES, header, texts)
    movie = open_movie(path)
    assert movie.metadata.frame_rate_hz == pytest.approx(7.5) and not movie.findings


def test_a_slow_stack_has_no_single_rate(tmp_path):
    slow = {"hFastZ__enable": False, "hStackManager__stackMode": "slow", "hChannels__channelSave": [2]}
    frames = {"hStackManager__numFramesPerVolume": 12, "hStackManager__numFramesPerVolumeWithFlyback": 12}
    header = rig_samples.scanimage_header(**{**VOLUME, **slow, **frames, "hStackManager__framesPerSlice": 4})
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, header, rig_samples.page_texts(range(1, 25)))
    movie = open_movie(path, plane=1)
    np.testing.assert_array_equal(movie.read(0, 8), PAGES[[4, 5, 6, 7, 16, 17, 18, 19]])
    assert movie.metadata.frame_rate_hz is None and "no-single-rate" in [finding.code for finding in movie.findings]


def write_series(folder, starts):
    for index, start in enumerate(starts):
        pages = PAGES[index * 8 : index * 8 + 8]
        texts = rig_samples.page_texts(range(start, start + 8))
        rig_samples.write_scanimage(folder / f"m_00001_{index + 1:05}.tif", pages, rig_samples.scanimage_header(), texts)


def test_the_files_of_one_acquisition(tmp_path):
    write_series(tmp_path, (1, 9, 17))
    movie = open_movie(tmp_path)
    np.testing.assert_array_equal(movie.read(0, 24), PAGES)
    np.testing.assert_allclose(movie.read_frame_times(), np.arange(24) / 30, atol=1e-8)
    assert not movie.findings and find_reader(tmp_path, "movie").name == "scanimage"
    assert inspect_path(tmp_path)[0].facts["files"] == 3
    np.testing.assert_array_equal(open_movie(tmp_path / "m_00001_00002.tif").read(0, 8), PAGES[8:16])


def test_files_of_several_acquisitions_are_told(tmp_path):
    write_series(tmp_path, (1, 1, 9))
    findings = open_movie(tmp_path).findings
    assert [finding.code for finding in findings] == ["several-acquisitions"]
    assert findings[0].evidence["files"] == ["m_00001_00002.tif"]


@pytest.mark.parametrize(
    ("prefix", "lines"),
    [
        ("scanimage.SI4", {"versionMajor": 4.2, "channelsSave": "[1;2]", "scanFramePeriod": 0.1, "scanZoomFactor": 3}),
        ("scanimage.SI5", {"channelsSave": "[1;2]", "scanFrameRate": 10, "scanZoomFactor": 3}),
        ("scanimage.SI", {"VERSION_MAJOR": "'2015'", "hChannels.channelSave": "[1;2]", "hRoiManager.scanFrameRate": 10,
                          "hRoiManager.scanZoomFactor": 3}),
        ("state", {"software.version": 3.8, "acq.savingChannel1": 1, "acq.savingChannel2": 1, "acq.savingChannel3": 0,
                   "acq.frameRate": 10, "acq.zoomFactor": 3, "acq.numberOfZSlices": 1}),
    ],
)  # fmt: skip
def test_older_versions_write_into_each_description(tmp_path, prefix, lines):
    end = "\r" if prefix == "state" else "\n"
    sign = "=" if prefix == "state" else " = "
    header = end.join(f"{prefix}.{key}{sign}{value}" for key, value in lines.items())
    texts = [f"Frame Number = {n // 2 + 1}\nFrame Timestamp(s) = {n // 2 / 10:.6f}\n{header}" for n in range(24)]
    if prefix == "state":
        texts = [header] * 24
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, "", texts)
    movie = open_movie(path, channel=2)
    np.testing.assert_array_equal(movie.read(0, 12), PAGES[1::2])
    assert movie.metadata.frame_rate_hz == pytest.approx(10) and movie.metadata.zoom == 3
    assert movie.metadata.frame_rate_source == ("nominal" if prefix == "state" else "frame times")
    assert find_reader(path, "movie").name == "scanimage" and read_scanimage_header(path).version


def test_version_4_volumes(tmp_path):
    lines = {"channelsSave": "1", "scanFrameRate": 40, "fastZEnable": "true", "stackNumSlices": 3,
             "fastZDiscardFlybackFrames": "true", "fastZNumDiscardFrames": 1}  # fmt: skip
    header = "\n".join(f"scanimage.SI4.{key} = {value}" for key, value in lines.items())
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, "", [header] * 24)
    movie = open_movie(path, plane=2)
    np.testing.assert_array_equal(movie.read(0, 6), PAGES[2::4])
    assert movie.metadata.frame_rate_hz == pytest.approx(10)
    np.testing.assert_array_equal(open_movie(path, plane=2, n_flyback=0).read(0, 8), PAGES[2::3])


@pytest.mark.realdata
def test_a_real_header_of_a_mesoscope(realdata):
    folder = realdata / "AllenNeuralDynamics__aind-metadata-mapper/tests/resources/mesoscope"
    values, rois, *_ = json.loads((folder / "example_timeseries_meta.json").read_text())
    text = {key.removeprefix("SI."): rig_samples.matlab_text(value) for key, value in values.items()}
    header = ScanImageHeader("meta.json", "SI", text, rois)
    found = arrange(header)
    assert (found.channels, found.channel_numbers) == (("Channel 1", "Channel 2"), (1, 2))
    layout = found.interleaving
    assert (layout.n_planes, layout.n_flyback, layout.n_repeats) == (4, 0, 1)  # numSlices says 1
    assert found.frame_rate_hz / found.frames_per_volume == pytest.approx(values["SI.hRoiManager.scanVolumeRate"], rel=1e-5)
    assert header.version == "2020.1.4" and not found.slow_stack and found.n_volumes == 200_000
    assert len(imaging_rois(header)) == len(rois["RoiGroups"]["imagingRoiGroup"]["rois"]) > 1
    # 2.548 degrees of 157 um over 512 px; the platform's own file calls the field 400 um
    np.testing.assert_allclose(pixel_size(header, (512, 512)), 2.547770701 * 157 / 512)


def test_regions_are_told(tmp_path):
    fields = {"sizeXY": [2.0, 4.0], "pixelResolutionXY": [10, 4], "centerXY": [0, 0]}
    rois = {"RoiGroups": {"imagingRoiGroup": {"rois": [{"scanfields": fields}, {"scanfields": [fields]}]}}}
    header = rig_samples.scanimage_header(hRoiManager__mroiEnable=1, hRoiManager__imagingFovUm=[], objectiveResolution=10)
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as tiff:
        for page in PAGES:
            tiff.write(page, photometric="minisblack", software=header, metadata=None, contiguous=False,
                       extratags=[(315, 2, 0, json.dumps(rois), True)])  # fmt: skip
    movie = open_movie(path)
    assert "several-regions" in [finding.code for finding in movie.findings]
    assert movie.metadata.pixel_size_um == (10.0, 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hChannels__channelSave": []}, "which channels were saved"),
        ({"hChannels__channelSave": [1, 1]}, "which channels were saved"),
        ({**VOLUME, "hStackManager__numFramesPerVolume": 7}, "contradicts itself: 3 slices, 7 frames"),
        ({**VOLUME, "hStackManager__numFramesPerVolumeWithFlyback": 2}, "contradicts itself"),
        ({**VOLUME, "hStackManager__actualNumSlices": 1 << 39, "hStackManager__numFramesPerVolume": 1 << 39,
          "hStackManager__numFramesPerVolumeWithFlyback": 1 << 39}, "at least one volume"),
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense(tmp_path, changes, message):
    path = rig_samples.write_scanimage(tmp_path / "m.tif", PAGES, rig_samples.scanimage_header(**changes), [""] * 24)
    with pytest.raises(FormatError, match=message):
        open_movie(path, channel=1, plane=0)


def test_a_header_longer_than_its_file_is_refused(tmp_path):
    path = tmp_path / "m.tif"
    rig_samples.write_scanimage(path, PAGES, rig_samples.scanimage_header(), [""] * 24, bigtiff=True)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", 1 << 31)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="claims a header of"):
        open_movie(path, reader="scanimage")


def test_other_tiff_files_are_not_scanimages(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PAGES, photometric="minisblack", software="SI.something = 1")
    assert find_reader(tmp_path / "a.tif", "movie").name == "tiff"
    with pytest.raises(FormatError, match="has no header of ScanImage"):
        open_movie(tmp_path / "a.tif", reader="scanimage")
    path = rig_samples.write_scanimage(tmp_path / "b.tif", PAGES, rig_samples.scanimage_header(), [""] * 24)
    assert open_movie(path, reader="tiff", n_channels=2, channel=2).n_frames == 12
    with pytest.raises(ParameterError, match="no option 'n_channels'"):
        open_movie(path, n_channels=2)


def test_a_folder_is_no_header(tmp_path):
    with pytest.raises(FormatError, match="is no file. Expected a TIFF file"):
        read_scanimage_header(tmp_path)
