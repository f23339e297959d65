"""Channels, planes, folders and metadata of the TIFF reader."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import AmbiguousInputError, MissingFileError, ParameterError, UnknownFormatError
from packerlabimaging.io.readers import find_readers, inspect_path, open_movie
from packerlabimaging.io.tiff.numbered import find_gaps, find_series, format_ranges


@pytest.fixture
def volume() -> np.ndarray:
    """Frames by time, plane, channel, y, x; each image tells where it belongs."""
    index = np.arange(4 * 3 * 2).reshape(4, 3, 2)
    return np.broadcast_to(index[..., None, None], (4, 3, 2, 5, 6)).astype(np.uint16)


def test_an_imagej_hyperstack_tells_its_order(tmp_path: Path, volume: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume, imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(AmbiguousInputError, match=r"2 channels: 1, 2\. Choose with channel="):
        open_movie(tmp_path / "a.tif")
    with pytest.raises(AmbiguousInputError, match=r"3 planes: 0 to 2\. Choose with plane="):
        open_movie(tmp_path / "a.tif", channel=1)
    movie = open_movie(tmp_path / "a.tif", channel=2, plane=1)
    np.testing.assert_array_equal(movie.read(0, 4), volume[:, 1, 1])
    assert movie.metadata.n_planes == 3
    with pytest.raises(ParameterError, match=r"channel = 3 is not in .* Its channels: 1, 2"):
        open_movie(tmp_path / "a.tif", channel=3, plane=0)
    with pytest.raises(ParameterError, match=r"plane = 3 is not in .* 0 to 2"):
        open_movie(tmp_path / "a.tif", channel=1, plane=3)


@pytest.mark.parametrize("axes", ["TZCYX", "TCZYX", "ZCTYX", "CTZYX"])
def test_an_ome_stack_tells_its_order(tmp_path: Path, volume: np.ndarray, axes: str) -> None:
    stored = volume.transpose(["TZC".index(axis) for axis in axes[:3]] + [3, 4])
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, metadata={"axes": axes})
    movie = open_movie(tmp_path / "a.ome.tif", channel=1, plane=2)
    np.testing.assert_array_equal(movie.read(0, 4), volume[:, 2, 0])


def test_axes_without_names_are_asked_for(tmp_path: Path, volume: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume[:, 0], metadata={})
    with pytest.raises(AmbiguousInputError, match=r"axes \(4, 2\) .* Pass n_channels= and n_planes="):
        open_movie(tmp_path / "a.tif")
    movie = open_movie(tmp_path / "a.tif", n_channels=2, channel=2)
    np.testing.assert_array_equal(movie.read(0, 4), volume[:, 0, 1])
    tifffile.imwrite(tmp_path / "b.tif", volume[:, 0], metadata={"axes": "TCYX"})
    np.testing.assert_array_equal(open_movie(tmp_path / "b.tif", channel=2).read(0, 4), volume[:, 0, 1])


def test_interleaving_can_be_given(tmp_path: Path, volume: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image in [*volume.reshape(-1, 5, 6), np.zeros((5, 6), np.uint16)]:
            writer.write(image, contiguous=False, metadata=None)
    assert open_movie(tmp_path / "a.tif").n_frames == 25
    movie = open_movie(tmp_path / "a.tif", n_channels=2, n_planes=3, channel=1, plane=1)
    np.testing.assert_array_equal(movie.read(0, 4), volume[:, 1, 0])
    assert [finding.code for finding in movie.findings] == ["incomplete-last-volume"]
    with pytest.raises(ParameterError, match="n_channels = 0"):
        open_movie(tmp_path / "a.tif", n_channels=0)
    with pytest.raises(ParameterError, match="holds 25 images. Expected at least 26"):
        open_movie(tmp_path / "a.tif", n_planes=26)
    with pytest.raises(ParameterError, match="order = 'tcz' orders channels and planes. Give n_channels= or n_planes="):
        open_movie(tmp_path / "a.tif", order="tcz")


def test_other_orders_by_hand(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 9000, (3, 2, 4, 8, 9)).astype(np.uint16)  # z, c, t
    tifffile.imwrite(tmp_path / "a.tif", pixels.reshape(24, 8, 9), photometric="minisblack", metadata=None)
    movie = open_movie(tmp_path / "a.tif", n_channels=2, n_planes=3, order="zct", channel=2, plane=1)
    np.testing.assert_array_equal(movie.read(0, 4), pixels[1, 1])
    with pytest.raises(ParameterError, match="order = 'zzt'"):
        open_movie(tmp_path / "a.tif", n_channels=2, order="zzt")


def test_a_bruker_master_file_alone_is_one_frame_and_opens_no_sister(tmp_path: Path) -> None:
    frames = np.arange(3 * 16, dtype=np.uint16).reshape(3, 4, 4)
    ome = '<?xml version="1.0"?><OME><Image><Pixels DimensionOrder="XYCZT" SizeX="4" SizeY="4" SizeC="2" SizeZ="1" SizeT="3000">'
    tifffile.imwrite(tmp_path / "a_Cycle00001_Ch2_000001.ome.tif", frames[0], description=ome + "</Pixels></Image></OME>")
    movie = open_movie(tmp_path / "a_Cycle00001_Ch2_000001.ome.tif")
    np.testing.assert_array_equal(movie.read(0, 1), frames[:1])


# Metadata --------------------------------------------------------------------------------------------------------------


def test_rate_and_pixel_size_of_imagej_are_read(tmp_path: Path) -> None:
    stack = np.zeros((10, 8, 8), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stack,
        imagej=True,
        resolution=(0.5, 0.25),
        metadata={"axes": "TYX", "unit": "um", "finterval": 0.04},
    )
    metadata = open_movie(tmp_path / "a.tif").metadata
    assert metadata.frame_rate_hz == pytest.approx(25.0)
    assert metadata.frame_rate_source == "nominal"
    assert metadata.pixel_size_um == pytest.approx((4.0, 2.0))


def test_metadata_given_by_hand(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((10, 8, 9), np.uint16))
    movie = open_movie(tmp_path / "a.tif", frame_rate_hz=30, pixel_size_um=(1.5, 2))
    assert (movie.metadata.frame_rate_hz, movie.metadata.frame_rate_source) == (30, "given")
    assert movie.metadata.pixel_size_um == (1.5, 2)
    assert open_movie(tmp_path / "a.tif", pixel_size_um=2.0).metadata.pixel_size_um == (2.0, 2.0)
    assert open_movie(tmp_path / "a.tif").metadata.frame_rate_hz is None
    given_by_hand = ImagingMetadata(frame_shape_px=(8, 9), frame_rate_hz=7, program="ours")
    found = open_movie(tmp_path / "a.tif", metadata=given_by_hand).metadata
    assert (found.n_frames, found.program, found.frame_rate_hz) == (10, "ours", 7)
    with pytest.raises(ParameterError, match=r"frames of \(9, 8\)\. Expected \(8, 9\)"):
        open_movie(tmp_path / "a.tif", metadata=ImagingMetadata(frame_shape_px=(9, 8)))
    with pytest.raises(ParameterError, match="times of 3 frames"):
        open_movie(tmp_path / "a.tif", metadata=ImagingMetadata(frame_shape_px=(8, 9), frame_times_s=[0, 1, 2]))


# Folders ---------------------------------------------------------------------------------------------------------------


def write(folder: Path, *names: str, value: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for offset, name in enumerate(names):
        tifffile.imwrite(folder / name, np.full((4, 4), value + offset, np.uint16), metadata=None)


def test_files_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write(tmp_path / "a", "f_2.tif", "f_10.tif", "f_1.tif", "f_3.tif", *[f"f_{n}.tif" for n in range(4, 10)])
    movie = open_movie(tmp_path / "a")
    assert movie.read(0, 10)[:, 0, 0].tolist() == [2, 0, 3, 4, 5, 6, 7, 8, 9, 1]
    assert movie.frame_source(9) == (tmp_path / "a" / "f_10.tif", 0)


def test_a_missing_number_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path / "a", "f_01.tif", "f_02.tif", "f_05.tif", "f_06.tif", "f_08.tif")
    with pytest.raises(MissingFileError, match=r"3 files are missing in the numbering of 'f_\*\.tif': 3-4, 7"):
        open_movie(tmp_path / "a")
    movie = open_movie(tmp_path / "a", allow_gaps=True)
    assert movie.n_frames == 5
    assert movie.findings[0].code == "missing-frames"
    assert movie.findings[0].evidence["missing"] == [3, 4, 7]


def test_several_series_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "a", "x_red_1.tif", "x_red_2.tif", value=10)
    write(tmp_path / "a", "x_green_1.tif", "x_green_2.tif", value=20)
    with pytest.raises(AmbiguousInputError, match=r"2 kinds: x_green_\*\.tif \(2 files\); x_red_\*\.tif \(2 files\).*pattern="):
        open_movie(tmp_path / "a")
    assert open_movie(tmp_path / "a", pattern="*green*").read(0, 2)[:, 0, 0].tolist() == [20, 21]
    with pytest.raises(UnknownFormatError, match="no TIFF files that match"):
        open_movie(tmp_path / "a", pattern="*blue*")


def test_the_number_that_varies_counts(tmp_path: Path) -> None:
    write(tmp_path / "a", "run7_t001_ch2.tif", "run7_t002_ch2.tif", "run7_t003_ch2.tif")
    assert find_series(tmp_path / "a", [file.name for file in (tmp_path / "a").iterdir()]).numbers == (1, 2, 3)


def test_a_folder_of_stacks_is_joined(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    frames = np.random.default_rng(0).integers(0, 99, (12, 4, 5)).astype(np.uint16)
    for number, (start, stop) in enumerate([(0, 5), (5, 6), (6, 12)]):
        tifffile.imwrite(
            tmp_path / "a" / f"file_{number:03d}.tif", frames[start:stop], imagej=number == 2, metadata={"axes": "TYX"}
        )
    movie = open_movie(tmp_path / "a")
    np.testing.assert_array_equal(movie.read(0, 12), frames)
    np.testing.assert_array_equal(movie.read(4, 8), frames[4:8])


def test_one_reader_detects_each_path(tmp_path: Path) -> None:
    write(tmp_path / "plain", "f_1.tif", "f_2.tif")
    write(tmp_path / "bruker", "a_Cycle00001_Ch2_000001.ome.tif")
    stack = tmp_path / "bruker" / "a_Cycle00001_Ch2_000001.ome.tif"
    assert [reader.name for reader in find_readers(tmp_path / "plain", "movie")] == ["tiff"]
    assert [reader.name for reader in find_readers(tmp_path / "bruker", "movie")] == ["prairieview"]
    assert [reader.name for reader in find_readers(stack, "movie")] == ["tiff"]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=20, unique=True).map(sorted))
def test_gaps_are_the_numbers_that_are_not_there(numbers: list[int]) -> None:
    steps = np.diff(numbers)
    step = int(steps.min()) if len(steps) else 1
    missing = [n for gap in find_gaps(numbers) for n in gap]
    assert not set(missing) & set(numbers)
    if step == 1:
        assert sorted([*missing, *numbers]) == list(range(numbers[0], numbers[-1] + 1))


@given(st.sets(st.integers(0, 40), min_size=1))
def test_ranges_name_every_number(numbers: set[int]) -> None:
    named: set[int] = set()
    for part in format_ranges(numbers, limit=100).split(", "):
        first, _, last = part.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == numbers


# Inspection ------------------------------------------------------------------------------------------------------------


def test_inspection_is_json_and_names_what_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((10, 8, 9), np.uint16), imagej=True, metadata={"axes": "TYX"})
    (found,) = inspect_path(tmp_path / "a.tif")
    facts = json.loads(json.dumps(found.facts))
    assert (facts["images"], facts["frame_shape_px"], facts["dtype"], facts["stored"]) == (10, [8, 9], "uint16", "uncompressed")
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    (found,) = inspect_path(tmp_path / "a.tif")
    assert found.findings[0].severity == "error"
    assert "is cut" in found.findings[0].message


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_damaged_files_raise_our_errors_only(tmp_path_factory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("a")
    options = data.draw(st.sampled_from([{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}, {"imagej": True}]))
    tifffile.imwrite(folder / "a.tif", np.arange(5 * 64, dtype=np.uint16).reshape(5, 8, 8), **options)
    damaged = bytearray((folder / "a.tif").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.tif").write_bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))])
    with only_our_errors():
        movie = open_movie(folder / "a.tif", reader="tiff")
        if movie.nbytes < 1 << 24:
            movie.read(0, movie.n_frames)
