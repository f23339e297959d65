"""Bare pixels: written as they are or refused, and read from any place."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core import ArrayMovie, stream
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io import find_reader, open_movie
from packerlabimaging.io.binary import BinaryMovie, BinaryWriter
from packerlabimaging.io.binary.reader import BinaryReader, PrairieLinkReader

RNG = np.random.default_rng(5)


def frames(n_frames: int, dtype: str = "uint16", high: int = 8192) -> np.ndarray:
    return RNG.integers(0, high, (n_frames, 5, 7)).astype(dtype)


@given(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["<i2", ">i2", "u1", "<f4"]), st.integers(0, 69))
@settings(max_examples=50)
def test_any_range_is_the_same_slice(
    tmp_path_factory: pytest.TempPathFactory, first: int, second: int, dtype: str, rest: int
) -> None:
    path = tmp_path_factory.mktemp("bin") / "movie.bin"
    pixels = RNG.integers(0, 100, (12, 5, 7)).astype(dtype)
    path.write_bytes(pixels.tobytes() + b"\0" * (rest % (35 * np.dtype(dtype).itemsize)))
    movie = BinaryMovie(path, frame_shape_px=(5, 7), dtype=dtype)
    start, stop = sorted((first, second))
    np.testing.assert_array_equal(movie.read(start, stop), pixels[start:stop])
    assert movie.dtype == np.dtype(dtype)
    assert bool(movie.findings) == bool(rest % (35 * np.dtype(dtype).itemsize))


def test_a_movie_pickles_as_its_path(tmp_path: Path) -> None:
    pixels = frames(40, "int16")
    pixels.tofile(tmp_path / "movie.bin")
    movie = BinaryMovie(tmp_path / "movie.bin", frame_shape_px=(5, 7))
    data = pickle.dumps(movie.frames(3, 20))
    assert len(data) < 1500
    np.testing.assert_array_equal(pickle.loads(data).read(0, 17), pixels[3:20])  # noqa: S301 - our own bytes


def test_a_huge_file_opens_without_being_read(tmp_path: Path) -> None:
    with open(tmp_path / "huge.bin", "wb") as file:
        file.truncate(1 << 40)
    movie = BinaryMovie(tmp_path / "huge.bin", frame_shape_px=(512, 512))
    assert movie.n_frames == (1 << 40) // (512 * 512 * 2)
    assert movie.read(movie.n_frames - 1, movie.n_frames).sum() == 0


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint8", "int32", "bool"])
@pytest.mark.parametrize("workers", [1, 3])
def test_integers_are_written_unchanged(tmp_path: Path, dtype: str, workers: int) -> None:
    pixels = frames(23, dtype, 2 if dtype == "bool" else 255 if dtype == "uint8" else 8192)
    written = stream(ArrayMovie(pixels), {"file": BinaryWriter(tmp_path / "a.bin")}, chunk_frames=4, workers=workers)
    assert written == {"file": 23}
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.bin", "int16").reshape(23, 5, 7), pixels.astype("int64"))


def test_values_that_do_not_fit_are_refused_or_moved(tmp_path: Path) -> None:
    pixels = frames(6)
    pixels[4, 2, 3] = 32767
    with pytest.raises(ParameterError, match=r"Frame 4 has the pixel value 32767.*never scaled.*offset"):
        stream(ArrayMovie(pixels), {"file": BinaryWriter(tmp_path / "a.bin")}, chunk_frames=2)
    pixels[4, 2, 3] = 65534
    stream(ArrayMovie(pixels), {"file": BinaryWriter(tmp_path / "b.bin", offset=32768)}, chunk_frames=2)
    written = np.fromfile(tmp_path / "b.bin", "int16").reshape(6, 5, 7)
    np.testing.assert_array_equal(written.astype("int64") + 32768, pixels)
    with pytest.raises(ParameterError, match=r"pixel value 65535.*after the offset 32768"):
        BinaryWriter(tmp_path / "c.bin", offset=32768).update(np.full((1, 5, 7), 65535, "uint16"), 0)
    with pytest.raises(ParameterError, match="pixel value -40000"):
        BinaryWriter(tmp_path / "d.bin").update(np.full((1, 5, 7), -40000, "int32"), 0)
    with pytest.raises(ParameterError, match="float32 don't go into int16|float32 can't be written"):
        BinaryWriter(tmp_path / "e.bin").update(np.zeros((1, 5, 7), "float32"), 0)


def test_a_file_is_written_once_and_in_order(tmp_path: Path) -> None:
    writer = BinaryWriter(tmp_path / "a.bin")
    writer.update(frames(2), 0)
    with pytest.raises(ParameterError, match="Frame 3 .*frame 2 is next"):
        writer.update(frames(2), 3)
    with pytest.raises(ParameterError, match="exists already and is not overwritten"):
        BinaryWriter(tmp_path / "a.bin").update(frames(2), 0)
    with pytest.raises(ParameterError, match="one writer"):
        writer.fresh()
    with pytest.raises(ParameterError, match="one writer"):
        writer.merge(BinaryWriter(tmp_path / "b.bin"))


def test_the_reader_knows_suite2p_files_and_asks_about_others(tmp_path: Path) -> None:
    reader, path = BinaryReader(), tmp_path / "data.bin"
    pixels = frames(9, "int16")
    pixels.tofile(path)
    assert not reader.detect(path)
    with pytest.raises(ParameterError, match="Give frame_shape_px"):
        reader.open(path)
    with pytest.raises(ParameterError, match="Give dtype="):
        reader.open(path, frame_shape_px=(5, 7))
    np.testing.assert_array_equal(reader.open(path, frame_shape_px=(5, 7), dtype="int16").read(0, 9), pixels)
    np.save(tmp_path / "ops.npy", {"Ly": 5, "Lx": 7, "fs": 29.5, "suite2p_version": "0.14.0"})  # type: ignore[arg-type]
    assert reader.detect(path)
    movie = reader.open(path)
    assert movie.shape == (9, 5, 7)
    assert (movie.metadata.frame_rate_hz, movie.metadata.frame_rate_source) == (29.5, "nominal")
    assert reader.inspect(path).facts["n_frames"] == 9
    with pytest.raises(ParameterError, match="channel = 2 is not in"):
        reader.open(path, channel=2)
    with pytest.raises(ParameterError, match="no option 'shape'"):
        open_movie(path, shape=(5, 7))
    with pytest.raises(MissingFileError, match="no file"):
        reader.open(tmp_path / "other.bin", frame_shape_px=(5, 7), dtype="int16")
    with pytest.raises(ParameterError, match="makes no sense"):
        BinaryMovie(path, frame_shape_px=(0, 7))


@given(st.integers(1, 3), st.integers(1, 3), st.permutations("tzc"), st.integers(0, 20), st.sampled_from(["<u2", ">i2", "<f4"]))
@settings(max_examples=40, deadline=None)
def test_interleaved_frames_after_a_header(
    tmp_path_factory: pytest.TempPathFactory, n_channels: int, n_planes: int, axes: list[str], offset: int, dtype: str
) -> None:
    path, order = tmp_path_factory.getbasetemp() / "interleaved.raw", "".join(axes)
    sizes = {"t": 4, "z": n_planes, "c": n_channels}
    pixels = RNG.integers(0, 100, (*(sizes[axis] for axis in order), 5, 7)).astype(dtype)
    path.write_bytes(bytes(offset) + pixels.tobytes())
    layout = {"n_channels": n_channels, "n_planes": n_planes, "order": order, "offset_bytes": offset}
    movie = BinaryReader().open(
        path, frame_shape_px=(5, 7), dtype=dtype, channel=n_channels, plane=n_planes - 1, frame_rate_hz=20.0, **layout
    )
    expected = pixels.transpose([order.index(axis) for axis in "tzc"] + [3, 4])[:, -1, -1]
    np.testing.assert_array_equal(movie.read(0, 4), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(movie)).read(1, 3), expected[1:3])  # noqa: S301 - our own bytes
    assert movie.metadata.n_planes == n_planes and movie.metadata.frame_rate_hz == 20.0


def test_prairielink_streams_say_their_frame_size(tmp_path: Path) -> None:
    path, pixels = tmp_path / "t-001.bin", RNG.integers(0, 8192, (6, 16, 24)).astype("<u2")
    path.write_bytes(np.array([24, 16], "<u2").tobytes() + pixels.tobytes())
    assert find_reader(path, "movie").name == "prairielink"
    movie = open_movie(path, frame_rate_hz=30.0, pixel_size_um=1.5)
    np.testing.assert_array_equal(movie.read(0, 6), pixels)
    assert movie.metadata.frame_rate_source == "given" and movie.metadata.program == "PrairieLink"
    np.testing.assert_array_equal(open_movie(path, n_channels=2, channel=2).read(0, 3), pixels[1::2])
    path.write_bytes(path.read_bytes()[:-10])
    assert not PrairieLinkReader().detect(path)
    cut = open_movie(path, reader="prairielink")
    assert cut.n_frames == 5 and [finding.code for finding in cut.findings] == ["cut-frame"]
    for content in (b"", b"abc", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="no PrairieLink stream"):
            open_movie(path, reader="prairielink")


@pytest.mark.parametrize(
    "options",
    [
        {"frame_shape_px": (5, 0)},
        {"frame_shape_px": (5, float("nan"))},
        {"frame_shape_px": 5},
        {"frame_shape_px": (5, 7), "dtype": "object"},
        {"frame_shape_px": (5, 7), "dtype": "nonsense"},
        {"frame_shape_px": (5, 7), "offset_bytes": -1},
        {"frame_shape_px": (5, 7), "n_channels": 100},
        {"frame_shape_px": (5, 7), "n_planes": 1 << 60},
        {"frame_shape_px": (1 << 40, 1 << 40)},
    ],
)
def test_sizes_that_make_no_sense(tmp_path: Path, options: dict) -> None:
    frames(9).tofile(tmp_path / "a.raw")
    with pytest.raises(ParameterError):
        movie = BinaryReader().open(tmp_path / "a.raw", **{"dtype": "uint16", "channel": 1, "plane": 0, **options})
        movie.read(0, max(1, movie.n_frames))
