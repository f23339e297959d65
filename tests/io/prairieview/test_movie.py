"""Opening recordings with an XML: frames, planes, channels, times, rate, missing files."""

from __future__ import annotations

import json
import pickle
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io.prairieview import open_prairieview, read_prairieview_metadata
from packerlabimaging.io.readers import inspect_path, open_movie


def codes(movie: object) -> list[str]:
    return [finding.code for finding in movie.findings]  # type: ignore[attr-defined]


def test_a_t_series_is_one_movie_with_its_metadata(t_series: Path, frames: np.ndarray) -> None:
    for path in (t_series, t_series / "t-001.xml"):
        movie = open_movie(path)
        assert movie.shape == (12, 6, 8)
        np.testing.assert_array_equal(movie.read(0, 12), frames)
        np.testing.assert_array_equal(movie.read(3, 9), frames[3:9])
    found = movie.metadata
    assert found.frame_rate_hz == pytest.approx(10.0)
    assert found.frame_rate_source == "frame times"
    np.testing.assert_allclose(found.frame_times_s, np.arange(12) / 10, atol=1e-12)
    assert found.pixel_size_um == (1.5, 1.25)  # (y, x)
    assert found.scan_center_v == (0.5, -0.25)  # (y, x)
    assert (found.bit_depth, found.zoom, found.objective) == (13, 2.0, "16X")
    assert (found.laser_power, found.pmt_gain) == ({"Mira": 30.5}, {"Ch 1 HV": 700.0})
    assert found.acquired == datetime(2019, 1, 14, 0, 12, 36)  # 12 AM is midnight
    assert found.plane_z_um == (-87.5,)
    assert (found.program, found.program_version, found.sequence_type) == ("PrairieView", "5.5.64.600", "TSeries Timed Element")
    assert codes(movie) == []


def test_it_pickles_as_a_recipe(t_series: Path, frames: np.ndarray) -> None:
    movie = open_movie(t_series)
    again = pickle.loads(pickle.dumps(movie))  # noqa: S301
    np.testing.assert_array_equal(again.read(0, 12), frames)
    assert again.metadata.frame_rate_hz == movie.metadata.frame_rate_hz
    assert (again.channel, again.plane) == (2, 0)


def test_missing_frames_are_named_never_filled(t_series: Path) -> None:
    for number in (3, 7, 8, 9):
        (t_series / f"t-001_Cycle00001_Ch2_{number:06d}.ome.tif").unlink()
    with pytest.raises(
        MissingFileError, match=r"4 of 12 frames of channel 2 \(Ch2\) have no image .*: frames 3, 7-9 \(first: 't-001_"
    ):
        open_movie(t_series)
    assert read_prairieview_metadata(t_series).n_frames == 12
    (found,) = inspect_path(t_series)
    assert found.facts["files_missing"] == 4
    assert [finding.severity for finding in found.findings] == ["error"]
    assert "4 of 12 image files that the XML lists are not there: frames 3, 7-9 (first:" in found.findings[0].message


def test_cut_images_are_named(t_series: Path) -> None:
    path = t_series / "t-001_Cycle00001_Ch2_000005.ome.tif"
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(FormatError, match=r"Ch2_000005\.ome\.tif' is cut: page 1 needs 96 bytes of pixels, .* ends after 80"):
        open_movie(t_series)


# Channels --------------------------------------------------------------------------------------------------------------


def test_channels_are_chosen_by_number_or_name(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    folder = rig.write_t_series(tmp_path / "t-001", frames, channels=(2, 3))
    with pytest.raises(AmbiguousInputError, match=r"2 channels: 2 \(Ch2\), 3 \(Ch3\)\. Choose with channel="):
        open_movie(folder)
    for channel in (3, "Ch3", "3", "ch3"):
        np.testing.assert_array_equal(open_movie(folder, channel=channel).read(0, 12), frames + 1)
    with pytest.raises(ParameterError, match=r"channel = 1 is not in .* 2 \(Ch2\), 3 \(Ch3\)"):
        open_movie(folder, channel=1)
    for file in folder.glob("*Ch2*"):
        file.unlink()
    np.testing.assert_array_equal(open_movie(folder).read(0, 12), frames + 1)  # only one has images


# Stacks and pages ------------------------------------------------------------------------------------------------------


def test_a_stack_beside_the_xml_stands_for_its_files(t_series: Path, frames: np.ndarray) -> None:
    for file in t_series.glob("*.tif"):
        file.unlink()
    tifffile.imwrite(t_series / "t-001_Cycle00001_Ch2.tif", frames)
    movie = open_movie(t_series)
    np.testing.assert_array_equal(movie.read(0, 12), frames)
    assert movie.metadata.frame_rate_hz == pytest.approx(10.0)
    assert codes(movie) == ["stacked-images"]
    alone = open_movie(t_series / "t-001_Cycle00001_Ch2.tif")
    assert codes(alone) == ["xml-beside"]
    np.testing.assert_array_equal(alone.read(0, 12), frames)
    assert alone.metadata.frame_rate_hz is None
    tifffile.imwrite(t_series / "t-001_Cycle00001_Ch2.tif", frames, imagej=True, metadata={"axes": "TYX"}, truncate=True)
    np.testing.assert_array_equal(open_movie(t_series).read(0, 12), frames)


@pytest.mark.parametrize(
    ("n_images", "message"), [(10, "10 images, but the XML lists 12 .*frames 11-12 are missing"), (13, "too many")]
)
def test_a_stack_of_another_length_is_refused(t_series: Path, frames: np.ndarray, n_images: int, message: str) -> None:
    for file in t_series.glob("*.tif"):
        file.unlink()
    tifffile.imwrite(t_series / "t-001_Cycle00001_Ch2.tif", np.resize(frames, (n_images, 6, 8)), photometric="minisblack")
    with pytest.raises(FormatError, match=message):
        open_movie(t_series)


def test_several_pages_per_file_with_times_of_their_own(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    """Version 5.8: pages of two files, channels one after the other."""
    folder = tmp_path / "t-001"
    folder.mkdir()
    listed = []
    for index in range(12):
        number, page = divmod(index, 6)
        files = [
            rig.file_xml(
                f"t_Cycle00001_Ch{c}_{number + 1:06d}.ome.tif",
                c,
                f'page="{page + 1}" relativeTime="0" absoluteTime="{index + c / 4!r}"',
            )
            for c in (1, 2)
        ]
        listed.append(rig.frame_xml(files, float(index), index + 1))
    for channel in (1, 2):
        for number in range(2):
            tifffile.imwrite(
                folder / f"t_Cycle00001_Ch{channel}_{number + 1:06d}.ome.tif",
                frames[6 * number : 6 * number + 6] + channel,
                metadata=None,
            )
    (folder / "t.xml").write_text(rig.scan_xml(rig.sequence_xml(listed), period="0"))
    movie = open_movie(folder, channel=2)
    np.testing.assert_array_equal(movie.read(0, 12), frames + 2)
    np.testing.assert_array_equal(movie.read(4, 8), frames[4:8] + 2)
    assert movie.metadata.frame_rate_hz == pytest.approx(1.0)
    assert codes(movie) == []  # a framePeriod of 0 says nothing
    path = folder / "t_Cycle00001_Ch2_000002.ome.tif"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(FormatError, match=r"000002\.ome\.tif' is cut: page 5 needs 96"):
        open_movie(folder, channel=2)


def test_one_file_a_volume(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    """Version 5.8: the planes of a volume are the pages of its file."""
    folder = tmp_path / "t-001"
    folder.mkdir()
    sequences = []
    for volume in range(4):
        name = f"t_Cycle{volume + 1:05d}_Ch2_000001.ome.tif"
        tifffile.imwrite(folder / name, frames[3 * volume : 3 * volume + 3], metadata=None, photometric="minisblack")
        listed = [
            rig.frame_xml([rig.file_xml(name, 2, f'page="{plane + 1}"')], 0.3 * volume + 0.1 * plane, plane + 1)
            for plane in range(3)
        ]
        sequences.append(rig.sequence_xml(listed, volume + 1, "TSeries ZSeries Element"))
    (folder / "t.xml").write_text(rig.scan_xml("".join(sequences)))
    for plane in range(3):
        np.testing.assert_array_equal(open_movie(folder, plane=plane).read(0, 4), frames[plane::3])


def test_an_image_listed_for_two_frames_is_refused(t_series: Path) -> None:
    text = (t_series / "t-001.xml").read_text(encoding="utf-8-sig")
    (t_series / "t-001.xml").write_text(text.replace("Ch2_000004", "Ch2_000003"))
    with pytest.raises(FormatError, match=r"lists 't-001_Cycle00001_Ch2_000003\.ome\.tif' \(page 1\) for several frames"):
        open_movie(t_series)


def test_images_that_the_xml_does_not_list_are_reported(t_series: Path, frames: np.ndarray) -> None:
    tifffile.imwrite(t_series / "t-001_Cycle00001_Ch2_000013.ome.tif", frames[0])
    movie = open_movie(t_series)
    assert movie.n_frames == 12
    assert codes(movie) == ["unlisted-images"]
    (found,) = inspect_path(t_series)
    assert [finding.code for finding in found.findings] == ["unlisted-images"]
    assert (
        "1 images are there that the XML does not list (first: 't-001_Cycle00001_Ch2_000013.ome.tif')"
        in found.findings[0].message
    )


def test_raw_data_not_yet_converted_are_known(t_series: Path) -> None:
    for file in t_series.glob("*.tif"):
        file.unlink()
    (t_series / "CYCLE_000001_RAWDATA_000001").touch()
    with pytest.raises(MissingFileError, match="frames 1-12 .* Convert the RAWDATA files with PrairieView"):
        open_movie(t_series)


# Cycles and volumes ----------------------------------------------------------------------------------------------------


def test_cycles_of_a_t_series_follow_each_other(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    movie = open_movie(rig.write_cycles(tmp_path / "a", [5, 4, 3], frames, type="TSeries Timed Element", pause=2.0))
    np.testing.assert_array_equal(movie.read(0, 12), frames)
    assert movie.metadata.frame_rate_hz == pytest.approx(10.0)  # the pauses are left out
    assert movie.metadata.frame_times_s[5] == pytest.approx(2.5)
    assert codes(movie) == ["pauses-between-cycles"]
    assert movie.findings[0].evidence["before_frames"] == [5, 9]


def test_only_complete_volumes_count(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    folder = rig.write_cycles(tmp_path / "a", [3, 3, 3, 2], frames, type="TSeries ZSeries Element")
    with pytest.raises(AmbiguousInputError, match=r"3 planes: 0 to 2\. Choose with plane="):
        open_movie(folder)
    movie = open_movie(folder, plane=1)
    np.testing.assert_array_equal(movie.read(0, 3), frames[[1, 4, 7]])
    found = movie.metadata
    assert (found.n_frames, found.n_planes, found.plane_z_um) == (3, 3, (0.0, 10.0, 20.0))
    assert found.frame_rate_hz == pytest.approx(1 / 0.3)
    np.testing.assert_allclose(found.frame_times_s, np.arange(9).reshape(3, 3) / 10, atol=1e-12)
    assert codes(movie) == ["incomplete-last-volume"]
    assert movie.findings[0].evidence["cycles"] == [4]
    with pytest.raises(ParameterError, match="plane = 3"):
        open_movie(folder, plane=3)


def test_volumes_lost_in_between_are_a_warning(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    movie = open_movie(rig.write_cycles(tmp_path / "a", [3, 2, 3, 3], frames, type="TSeries ZSeries Element"), plane=0)
    np.testing.assert_array_equal(movie.read(0, 3), frames[[0, 5, 8]])
    assert {finding.code: finding.severity for finding in movie.findings}["incomplete-volumes"] == "warning"


def test_planes_scanned_to_and_fro_are_put_in_order(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    folder = rig.write_cycles(tmp_path / "a", [3, 3, 3], frames, type="TSeries ZSeries Element", more='bidirectionalZ="True"')
    np.testing.assert_array_equal(open_movie(folder, plane=0).read(0, 3), frames[[0, 5, 6]])
    movie = open_movie(folder, plane=2)
    np.testing.assert_array_equal(movie.read(0, 3), frames[[2, 3, 8]])
    assert "bidirectional-z" in codes(movie)
    assert movie.metadata.frame_times_s[1].tolist() == pytest.approx([0.5, 0.4, 0.3])


def test_a_z_series_is_one_volume(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    folder = rig.write_cycles(tmp_path / "a", [5], frames, type="ZSeries")
    movie = open_movie(folder, plane=3)
    np.testing.assert_array_equal(movie.read(0, 1), frames[3:4])
    assert movie.metadata.frame_rate_hz is None


def test_mixed_and_empty_recordings_say_so(tmp_path: Path, rig: SimpleNamespace) -> None:
    timed, volume = (
        rig.sequence_xml([rig.frame_xml([rig.file_xml("a.tif")], 1.0, 1)], 1, f"TSeries {kind} Element")
        for kind in ("Timed", "ZSeries")
    )
    (tmp_path / "a.xml").write_text(rig.scan_xml(timed + volume))
    with pytest.raises(AmbiguousInputError, match="mixes sequences of volumes and of single frames"):
        open_movie(tmp_path)
    (tmp_path / "a.xml").write_text(
        rig.scan_xml('<Sequence type="VoltageRecording" cycle="1"><VoltageRecording name="LIVE" /></Sequence>')
    )
    with pytest.raises(FormatError, match=r"holds no frames \(sequences: VoltageRecording\)"):
        open_movie(tmp_path)
    (found,) = inspect_path(tmp_path)
    assert found.facts["frames_listed"] == 0
    (tmp_path / "b.xml").write_text(rig.scan_xml(timed))
    with pytest.raises(AmbiguousInputError, match=r"2 scans: a\.xml, b\.xml\. Pass the XML"):
        open_movie(tmp_path)


# Times and rate --------------------------------------------------------------------------------------------------------


def test_the_rate_is_that_of_the_frame_times(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    movie = open_movie(rig.write_t_series(tmp_path / "a", frames, times=lambda index: index / 29.75, period=str(1 / 30.19)))
    assert movie.metadata.frame_rate_hz == pytest.approx(29.75)
    assert codes(movie) == ["frame-period-differs"]
    assert movie.findings[0].evidence["measured_s"] == pytest.approx(1 / 29.75)


def test_dropped_frames_are_found_in_the_times(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    movie = open_movie(rig.write_t_series(tmp_path / "a", frames, times=lambda index: 0.1 * (index + 3 * (index >= 8))))
    assert movie.metadata.frame_rate_hz == pytest.approx(10.0)
    assert codes(movie) == ["irregular-frame-times"]
    assert (movie.findings[0].evidence["before_frames"], movie.findings[0].evidence["frames_missing"]) == ([8], [3])
    assert "first before frame 8: 0.4 s); 3 frames seem to be missing" in movie.findings[0].message
    assert movie.metadata.frame_times_s[8] == pytest.approx(1.1)


@pytest.mark.parametrize("times", [lambda index: 0.1 * (index % 6), lambda index: float("nan")])
def test_without_usable_times_the_rate_is_nominal_and_flagged(
    tmp_path: Path, frames: np.ndarray, times: object, rig: SimpleNamespace
) -> None:
    movie = open_movie(rig.write_t_series(tmp_path / "a", frames, times=times))  # type: ignore[arg-type]
    assert (movie.metadata.frame_rate_hz, movie.metadata.frame_rate_source) == (10.0, "nominal")
    assert movie.metadata.frame_times_s is None
    assert "no-frame-times" in codes(movie)


def test_metadata_can_be_given_by_hand(t_series: Path) -> None:
    movie = open_movie(t_series, frame_rate_hz=12.0, pixel_size_um=2.0)
    assert (movie.metadata.frame_rate_hz, movie.metadata.frame_rate_source) == (12.0, "given")
    assert movie.metadata.pixel_size_um == (2.0, 2.0)
    assert codes(movie) == ["given-rate-differs"]
    given = ImagingMetadata(frame_shape_px=(6, 8), frame_rate_hz=5.0)
    assert open_movie(t_series, metadata=given).metadata.frame_rate_hz == 5.0
    with pytest.raises(ParameterError, match="are for folders without an XML"):
        open_prairieview(t_series, n_planes=2)


def test_images_of_another_size_than_the_xml_says_are_reported(t_series: Path) -> None:
    for file in t_series.glob("*.tif"):
        tifffile.imwrite(file, np.zeros((4, 8), np.uint16))
    movie = open_movie(t_series)
    assert movie.frame_shape_px == movie.metadata.frame_shape_px == (4, 8)
    assert codes(movie) == ["frame-shape-differs"]
    assert movie.metadata.pixel_size_um is None  # binned or cropped? the XML's size would be wrong if binned
    assert open_movie(t_series, pixel_size_um=2.0).metadata.pixel_size_um == (2.0, 2.0)


@pytest.mark.parametrize("bad", ["x", "12", (1.0,), (1.0, "y"), -1.0])
def test_a_pixel_size_that_makes_no_sense_is_refused(t_series: Path, bad: object) -> None:
    with pytest.raises(ParameterError, match="pixel_size_um"):
        open_movie(t_series, pixel_size_um=bad)


def test_a_rate_or_option_that_makes_no_sense_is_refused(t_series: Path) -> None:
    with pytest.raises(ParameterError, match="frame_rate_hz = 'x' is not a number"):
        open_movie(t_series, frame_rate_hz="x")
    with pytest.raises(ParameterError, match="'prairieview'.* has no option 'frame_rate'. Did you mean 'frame_rate_hz'"):
        open_movie(t_series, frame_rate=3.0)


@pytest.mark.parametrize(
    ("image", "message"),
    [(np.zeros((6, 8), np.uint8), "is 6 x 8 uint8"), (np.zeros((2, 8), np.uint16), "is 2 x 8 uint16")],
)
def test_a_small_file_of_another_kind_is_not_called_cut(t_series: Path, image: np.ndarray, message: str) -> None:
    files = sorted(t_series.glob("*.tif"))
    for file in files:
        tifffile.imwrite(file, np.full((64, 80), 7, np.uint16))
    tifffile.imwrite(files[2], image)
    with pytest.raises(FormatError, match=message):
        open_movie(t_series)
    tifffile.imwrite(files[2], np.full((64, 80), 8, np.uint16), compression="zlib")
    assert open_movie(t_series).read(1, 4)[:, 0, 0].tolist() == [7, 8, 7]


def test_optional_values_may_be_absent(tmp_path: Path, frames: np.ndarray, rig: SimpleNamespace) -> None:
    rig.write_t_series(tmp_path / "a", frames)
    text = (tmp_path / "a" / "t-001.xml").read_text(encoding="utf-8-sig")
    start, end = text.index("<PVStateShard>"), text.index("</PVStateShard>") + len("</PVStateShard>")
    (tmp_path / "a" / "t-001.xml").write_text(text[:start] + text[end:])
    movie = open_movie(tmp_path / "a")
    found = movie.metadata
    assert found.frame_rate_hz == pytest.approx(10.0)
    assert (found.pixel_size_um, found.zoom, found.scan_center_v, found.bit_depth) == (None, None, None, None)
    assert codes(movie) == ["no-pixel-size"]
    with pytest.raises(FormatError, match="does not tell the frame size"):
        read_prairieview_metadata(tmp_path / "a")


def test_previews_are_never_frames(t_series: Path, frames: np.ndarray) -> None:
    for folder in ("References", "MIP"):
        (t_series / folder).mkdir()
        tifffile.imwrite(t_series / folder / "t-001_Cycle00001_Ch2_000099.ome.tif", frames[0])
    for name in ("t-001-Cycle00001_Ch2Source.tif", "t-001-Window2-Ch2-8bit-Reference.tif", "t-001-Ch2-16bit-Reference.tif"):
        tifffile.imwrite(t_series / name, frames[0])
    np.testing.assert_array_equal(open_movie(t_series).read(0, 12), frames)
    (t_series / "t-001.xml").unlink()
    np.testing.assert_array_equal(open_movie(t_series).read(0, 12), frames)


def test_inspection_is_json(t_series: Path) -> None:
    (found,) = inspect_path(t_series)
    facts = json.loads(json.dumps(found.facts))
    assert (facts["recording"], facts["n_frames"], facts["channels"]) == ("t-series", 12, ["Ch2"])
    assert facts["frame_rate_hz"] == pytest.approx(10.0)
    assert facts["acquired"] == "2019-01-14T00:12:36"
