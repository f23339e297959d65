"""Pixels, cuts and laziness of TIFF movies, against tifffile."""

from __future__ import annotations

import pickle
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core.streaming import Projections, stream
from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.readers import open_movie
from packerlabimaging.io.tiff import TiffReader, files


def frames_of(n: int, height: int = 6, width: int = 5, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (n, height, width)).astype(dtype)


def write_pages(path: Path, frames: np.ndarray, **options: object) -> None:
    """Write a stack whose pages each have their pixels beside their directory, as programs do that append frame by frame."""
    with tifffile.TiffWriter(
        path, bigtiff=bool(options.pop("bigtiff", False)), byteorder=options.pop("byteorder", "<")
    ) as writer:
        for frame in frames:
            writer.write(frame, contiguous=False, metadata=None, **options)


WAYS = {
    "contiguous": lambda path, frames: tifffile.imwrite(path, frames),
    "contiguous-truncated": lambda path, frames: tifffile.imwrite(path, frames, metadata={"truncated": True}, truncate=True),
    "imagej": lambda path, frames: tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"}),
    "imagej-called-channels": lambda path, frames: tifffile.imwrite(path, frames, imagej=True),
    "imagej-one-directory": lambda path, frames: tifffile.imwrite(path, frames, imagej=True, truncate=True),
    "pages": write_pages,
    "big-endian": lambda path, frames: write_pages(path, frames, byteorder=">"),
    "bigtiff": lambda path, frames: write_pages(path, frames, bigtiff=True),
    "bigtiff-big-endian": lambda path, frames: write_pages(path, frames, bigtiff=True, byteorder=">"),
    "strips": lambda path, frames: write_pages(path, frames, rowsperstrip=2),
    "deflate": lambda path, frames: write_pages(path, frames, compression="zlib"),
    "tiles": lambda path, frames: write_pages(path, frames, tile=(16, 16)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_every_layout_gives_the_pixels_of_tifffile(tmp_path: Path, way: str, dtype: str) -> None:
    if way.startswith("imagej") and dtype == "int16":
        pytest.skip("ImageJ has no int16")
    frames = frames_of(7, dtype=dtype)
    WAYS[way](tmp_path / "a.tif", frames)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), frames)  # what was written is what we think
    movie = open_movie(tmp_path / "a.tif")
    assert movie.shape == frames.shape
    assert movie.dtype == np.dtype(dtype)
    assert movie.dtype.isnative
    np.testing.assert_array_equal(movie.read(0, 7), frames)
    np.testing.assert_array_equal(movie.read(2, 5), frames[2:5])


@pytest.mark.parametrize("way", ["pages", "imagej-one-directory", "big-endian"])
def test_reading_without_preadv_gives_the_same(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(5)
    WAYS[way](tmp_path / "a.tif", frames)
    monkeypatch.setattr(files, "HAS_PREADV", False)
    np.testing.assert_array_equal(open_movie(tmp_path / "a.tif").read(0, 5), frames)


def write_series(folder: Path, frames: np.ndarray, **options: object) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"frame_{index:04d}.tif" for index in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        tifffile.imwrite(path, frame, metadata=None, **options)
    return paths


@pytest.mark.parametrize("has_preadv", [True, False])
def test_a_folder_of_single_pages_is_one_movie_even_where_offsets_differ(
    tmp_path: Path, has_preadv: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HAS_PREADV", has_preadv)
    frames = frames_of(9)
    paths = write_series(tmp_path / "a", frames)
    tifffile.imwrite(paths[0], frames[0], description="x" * 5000, metadata=None)  # the first carries a long text
    tifffile.imwrite(paths[4], frames[4], byteorder=">", metadata=None)
    tifffile.imwrite(paths[5], frames[5], compression="zlib", metadata=None)
    tifffile.imwrite(paths[6], frames[6], rowsperstrip=2, metadata=None)
    movie = open_movie(tmp_path / "a")
    for _ in range(2):  # the second time a layout is known
        np.testing.assert_array_equal(movie.read(0, 9), frames)
    np.testing.assert_array_equal(movie.read(5, 6), frames[5:6])


def test_pages_of_every_length_and_start(tmp_path: Path) -> None:
    frames = frames_of(20)
    write_pages(tmp_path / "a.tif", frames)
    movie = open_movie(tmp_path / "a.tif")
    for start in range(20):
        np.testing.assert_array_equal(movie.read(start, 20), frames[start:])


@given(
    counts=st.lists(st.integers(0, 3), min_size=2, max_size=12),
    big=st.booleans(),
    order=st.sampled_from("<>"),
    lengths=st.lists(st.integers(0, 300), min_size=12, max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_directories_at_any_distance(tmp_path_factory, counts: list[int], big: bool, order: str, lengths: list[int]) -> None:
    """Descriptions of changing length put the directories at regular and irregular distances."""
    path = tmp_path_factory.mktemp("a") / "a.tif"
    frames = frames_of(len(counts), 2, 3)
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as writer:
        for count, frame, length in zip(counts, frames, lengths, strict=False):
            text = "" if count else "x" * length
            writer.write(frame, contiguous=False, metadata=None, description=text or None)
    movie = TiffReader().open(path)
    np.testing.assert_array_equal(movie.read(0, len(frames)), frames)


def test_movies_pickle_as_a_recipe(tmp_path: Path) -> None:
    frames = frames_of(50, 64, 64)
    write_pages(tmp_path / "a.tif", frames)
    write_series(tmp_path / "s", frames)
    for path in (tmp_path / "a.tif", tmp_path / "s"):
        movie = open_movie(path)
        movie.read(0, 1)
        recipe = pickle.dumps(movie.frames(10, 40))
        assert len(recipe) < 5000
        np.testing.assert_array_equal(pickle.loads(recipe).read(0, 30), frames[10:40])  # noqa: S301


def test_threads_give_the_same(tmp_path: Path) -> None:
    frames = frames_of(40, 32, 32)
    write_series(tmp_path / "s", frames)
    movie = open_movie(tmp_path / "s")
    result = stream(movie, {"p": Projections()}, chunk_frames=3, workers=3)["p"]
    np.testing.assert_allclose(result["mean"], frames.mean(axis=0), rtol=1e-6)


# Cut and damaged files -------------------------------------------------------------------------------------------------


def test_a_cut_stack_names_file_page_and_bytes(tmp_path: Path) -> None:
    frames = frames_of(10, 32, 32)
    tifffile.imwrite(tmp_path / "a.tif", frames, imagej=True, truncate=True)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) - 3 * 2048 - 100])
    with pytest.raises(FormatError, match=r"a\.tif' is cut: page 7 needs 2,048 bytes .* found 1,948"):
        open_movie(tmp_path / "a.tif")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_stack_of_pages_cut_anywhere_is_refused(tmp_path: Path, share: float) -> None:
    write_pages(tmp_path / "a.tif", frames_of(10, 32, 32))
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FormatError, match=r"a\.tif' .*(is cut|holds no page)"):
        open_movie(tmp_path / "a.tif")


def test_a_cut_file_of_a_series_is_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "s", frames_of(10, 32, 32))
    paths[7].write_bytes(paths[7].read_bytes()[:1500])
    with pytest.raises(FormatError, match=r"frame_0007\.tif' is cut: page 1 needs 2,048 bytes .* has 1,500"):
        open_movie(tmp_path / "s")


def test_a_file_of_a_series_cut_after_opening_is_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "s", frames_of(10, 32, 32))
    movie = open_movie(tmp_path / "s")
    paths[7].write_bytes(paths[7].read_bytes()[:-10])
    with pytest.raises(FormatError, match=r"frame_0007\.tif' is cut: page 1 needs 2,048 bytes .* found 2,038"):
        movie.read(0, 10)
    paths[7].unlink()
    with pytest.raises(MissingFileError, match=r"frame_0007\.tif' is not there"):
        movie.read(0, 10)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "s", frames_of(4, 32, 32))
    movie = open_movie(tmp_path / "s")
    tifffile.imwrite(paths[2], np.zeros((32, 33), np.uint16))
    with pytest.raises(FormatError, match=r"frame_0002\.tif' page 1 is 32 x 33 uint16\. Expected 32 x 32 uint16"):
        movie.read(0, 4)
    tifffile.imwrite(paths[2], np.zeros((32, 32), np.int16))
    with pytest.raises(FormatError, match=r"is 32 x 32 int16\. Expected 32 x 32 uint16"):
        movie.read(0, 4)
    write_pages(paths[2], np.zeros((2, 32, 32), np.uint16))
    with pytest.raises(FormatError, match="has several pages"):
        movie.read(0, 4)


def test_a_circle_of_pages_is_refused(tmp_path: Path) -> None:
    write_pages(tmp_path / "a.tif", frames_of(3))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        last, first = tiff.pages[2].offset, tiff.pages[0].offset
        n_tags = len(tiff.pages[2].tags)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = last + 2 + 12 * n_tags
    data[place : place + 4] = first.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(FormatError, match="circle"):
        open_movie(tmp_path / "a.tif")


def test_colour_pictures_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match="3 samples per pixel"):
        open_movie(tmp_path / "a.tif")


def test_only_tiff_files_are_detected(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"not a picture")
    (tmp_path / "empty.tif").write_bytes(b"")
    assert not TiffReader().detect(tmp_path / "a.tif")
    assert not TiffReader().detect(tmp_path / "empty.tif")
    with pytest.raises(FormatError, match="is not a TIFF file"):
        TiffReader().open(tmp_path / "a.tif")


# A terabyte ------------------------------------------------------------------------------------------------------------


def open_and_measure(path: Path) -> tuple[object, float, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    movie = open_movie(path)
    return movie, time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files")
def test_a_terabyte_under_one_directory_opens_from_its_header(tmp_path: Path) -> None:
    n_frames = (1 << 40) // (512 * 512 * 2)
    path = tmp_path / "a.tif"
    text = f"ImageJ=1.54f\nimages={n_frames}\nframes={n_frames}\n"
    tifffile.imwrite(path, np.full((512, 512), 7, np.uint16), bigtiff=True, description=text, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[0]
    with path.open("r+b") as file:
        file.truncate(start + n_frames * 512 * 512 * 2)
    movie, seconds, megabytes = open_and_measure(path)
    assert movie.n_frames == n_frames
    assert movie.nbytes == 1 << 40
    assert seconds < 2
    assert megabytes < 50
    assert movie.read(0, 1).min() == 7
    assert movie.read(n_frames - 1, n_frames).max() == 0
    assert len(pickle.dumps(movie)) < 5000


@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files")
def test_a_terabyte_of_pages_opens_from_some_of_its_directories(tmp_path: Path) -> None:
    """Directories at equal distances: a search finds the last one; each is checked when its page is read."""
    height, width, n_frames = 8192, 8192, 8192
    path = tmp_path / "a.tif"
    write_pages(path, np.full((3, 16, 16), 9, np.uint16), bigtiff=True)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        directory = bytearray(path.read_bytes()[page.offset : page.offset + 8 + 20 * len(page.tags) + 8])
        places = {tag.code: 8 + 20 * index for index, tag in enumerate(page.tags)}
    stride = height * width * 2 + 4096
    with path.open("wb") as file:
        file.write(b"II" + (43).to_bytes(2, "little") + (8).to_bytes(2, "little") + bytes(2) + (4096).to_bytes(8, "little"))
        for frame in range(n_frames):
            offset = 4096 + frame * stride
            values = {256: width, 257: height, 273: offset + 1024, 278: height, 279: height * width * 2}
            for code, value in values.items():
                size = {3: 2, 4: 4, 16: 8}[int.from_bytes(directory[places[code] + 2 : places[code] + 4], "little")]
                directory[places[code] + 12 : places[code] + 20] = value.to_bytes(size, "little").ljust(8, b"\0")
            directory[-8:] = (offset + stride if frame + 1 < n_frames else 0).to_bytes(8, "little")
            file.seek(offset)
            file.write(directory)
        file.truncate(4096 + n_frames * stride)
    movie, seconds, megabytes = open_and_measure(path)
    assert movie.shape == (n_frames, height, width)
    assert movie.nbytes == 1 << 40
    assert seconds < 2
    assert megabytes < 50
    assert movie.read(n_frames - 1, n_frames).max() == 0


def test_a_description_larger_than_the_file_is_a_cut_file(tmp_path: Path) -> None:
    text = "ImageJ=1.54f\nimages=1000000\nframes=1000000\n"
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint16), description=text, metadata=None)
    with pytest.raises(FormatError, match="is cut: page 2 needs 128 bytes"):
        open_movie(tmp_path / "a.tif")
