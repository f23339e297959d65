"""Movies in HDF5 and Zarr: any axes, any chunks, read as numpy would slice the array."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys

import h5py
import numpy as np
import pytest
import zarr

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io import find_reader, inspect_path, open_movie
from packerlabimaging.io.readers import find_readers

PIXELS = np.random.default_rng(1).integers(0, 60000, (4, 3, 2, 5, 7)).astype(np.uint16)  # t, z, c, y, x
FRAMES = PIXELS.reshape(24, 5, 7)


def write(path, array, kind, **options):
    """Write one array by the format's own package."""
    if kind == "hdf5":
        with h5py.File(path / "a.h5", "w") as file:
            file.create_dataset("data", data=array, **options)
        return path / "a.h5"
    stored = zarr.create_array(str(path / "a.zarr"), shape=array.shape, dtype=array.dtype, **options)
    stored[...] = array
    return path / "a.zarr"


KINDS = pytest.mark.parametrize("kind", ["hdf5", "zarr"])


@KINDS
@pytest.mark.parametrize("axes", ["tyx", "yxt", "ytx", "tzyx", "czyx", "tczyx", "yxzct", "zyx"])
def test_axes_in_any_order(tmp_path, kind, axes):
    index = tuple(slice(None) if axis in axes else 0 for axis in "tzcyx")
    kept = [axis for axis in "tzcyx" if axis in axes]
    array = PIXELS[index].transpose([kept.index(axis) for axis in axes])
    path = write(tmp_path, np.ascontiguousarray(array), kind, chunks=(2,) * len(axes))
    for plane, channel in itertools.product(range(3 if "z" in axes else 1), range(2 if "c" in axes else 1)):
        movie = open_movie(path, axes=axes, plane=plane, channel=channel + 1)
        expected = PIXELS[:, plane, channel] if "t" in axes else PIXELS[:1, plane, channel]
        assert movie.shape == expected.shape and movie.dtype == np.uint16
        np.testing.assert_array_equal(movie.read(0, movie.n_frames), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(movie)).frames(0, 1).read(0, 1), expected[:1])  # noqa: S301
    assert (movie.metadata.n_planes, len(movie.metadata.channels)) == (3 if "z" in axes else 1, 2 if "c" in axes else 0)


@KINDS
@pytest.mark.parametrize("order", ["tzc", "tcz", "ztc", "czt"])
def test_interleaved_images(tmp_path, kind, order):
    array = PIXELS.transpose(["tzc".index(axis) for axis in order] + [3, 4]).reshape(24, 5, 7)
    path = write(tmp_path, array, kind, chunks=(7, 5, 7))
    movie = open_movie(path, n_channels=2, n_planes=3, order=order, channel=2, plane=1, frame_rate_hz=5.0, pixel_size_um=(1, 2))
    np.testing.assert_array_equal(movie.read(1, 4), PIXELS[1:4, 1, 1])
    assert movie.metadata.frame_rate_hz == 5.0 and movie.metadata.pixel_size_um == (1.0, 2.0)
    with pytest.raises(AmbiguousInputError, match="has 2 channels"):
        open_movie(path, n_channels=2)
    with pytest.raises(ParameterError, match="holds 24 images. Expected at least 100"):
        open_movie(path, n_channels=100)
    (tmp_path / "volumes").mkdir()
    with pytest.raises(ParameterError, match="axes of its own"):
        open_movie(write(tmp_path / "volumes", PIXELS[0], kind), axes="zcyx", n_planes=3)


@KINDS
def test_nothing_is_guessed(tmp_path, kind):
    path = write(tmp_path, PIXELS, kind)
    with pytest.raises(AmbiguousInputError, match=r"what the axes of '.*' \(4 x 3 x 2 x 5 x 7, uint16\) are. Give axes="):
        open_movie(path)
    for axes in ("tyx", "tzcy", "tzcyy", "tzcyq", "tzctx"):
        with pytest.raises(ParameterError, match=f"axes = '{axes}' does not fit"):
            open_movie(path, axes=axes)
    with pytest.raises(ParameterError, match="key = 'dat' is no array"):
        open_movie(path, key="dat")
    with pytest.raises(ParameterError, match="no option 'axis'. Did you mean 'axes'"):
        open_movie(path, axis="tyx")
    with pytest.raises(ParameterError, match="metadata are for frames of"):
        open_movie(path, axes="tzcyx", plane=0, channel=1, metadata=ImagingMetadata(frame_shape_px=(7, 5)))


def test_datasets_of_a_file_are_listed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw/movie"] = FRAMES
        file["masks"] = FRAMES[:3].astype(np.float32)
        file["mean"] = FRAMES.mean(axis=0)
        file["names"] = np.array([b"a", b"b"])
        file["elsewhere"] = h5py.ExternalLink("other.h5", "data")
        file["again"] = h5py.SoftLink("/raw")
    with pytest.raises(AmbiguousInputError, match=r"several arrays: 'masks' \(3 x 5 x 7, float32\), 'raw/movie' \(24"):
        open_movie(tmp_path / "a.h5")
    np.testing.assert_array_equal(open_movie(tmp_path / "a.h5", key="/raw/movie").read(3, 5), FRAMES[3:5])
    with pytest.raises(ParameterError, match=r"'mean' \(5 x 7, float64\) in .* can't be a movie"):
        open_movie(tmp_path / "a.h5", key="mean")
    with pytest.raises(ParameterError, match="key = 'elsewhere' is no array"):
        open_movie(tmp_path / "a.h5", key="elsewhere")
    assert inspect_path(tmp_path / "a.h5")[0].facts["arrays"]["raw/movie"] == {"shape": [24, 5, 7], "dtype": "uint16"}


def test_axes_that_the_file_names(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.moveaxis(FRAMES, 0, 2)
        for axis, label in enumerate(("height", "width", "frame")):
            file["data"].dims[axis].label = label
    np.testing.assert_array_equal(open_movie(tmp_path / "a.h5").read(0, 24), FRAMES)
    group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w", zarr_format=2)
    stored = group.create_array("movie", shape=(5, 7, 24), dtype="u2", attributes={"_ARRAY_DIMENSIONS": ["y", "x", "time"]})
    stored[...] = np.moveaxis(FRAMES, 0, 2)
    np.testing.assert_array_equal(open_movie(tmp_path / "x.zarr").read(0, 24), FRAMES)


def test_matlab_arrays_are_transposed_and_it_is_said(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["movie"] = FRAMES.transpose(0, 2, 1)  # MATLAB's (y, x, time), as HDF5 sees it
        file["movie"].attrs["MATLAB_class"] = np.bytes_("uint16")
    movie = open_movie(tmp_path / "a.mat")
    np.testing.assert_array_equal(movie.read(0, 24), FRAMES)
    assert [(finding.code, finding.severity) for finding in movie.findings] == [("axes-assumed", "info")]


def test_an_nwb_file_needs_its_axes(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file["acquisition/TwoPhotonSeries/data"] = FRAMES.transpose(0, 2, 1)
    assert "hdf5" not in [reader.name for reader in find_readers(tmp_path / "a.nwb", "movie")]
    with pytest.raises(AmbiguousInputError, match=r"standard order is \(time, x, y\)"):
        open_movie(tmp_path / "a.nwb", reader="hdf5")
    np.testing.assert_array_equal(open_movie(tmp_path / "a.nwb", reader="hdf5", axes="txy").read(0, 24), FRAMES)


def test_an_ome_zarr_image_opens_at_full_resolution(tmp_path):
    axes = [{"name": "t"}, {"name": "c"}, *({"name": name, "unit": "micrometer"} for name in "yx")]
    scale = [{"type": "scale", "scale": [1, 1, 0.5, 0.25]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}, {"path": "1"}]
    for version, attributes in ((2, {"multiscales": [{}]}), (3, {"ome": {"multiscales": [{}]}})):
        (attributes.get("ome") or attributes)["multiscales"][0] = {"axes": axes, "datasets": datasets}
        path = tmp_path / f"{version}.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=version, attributes=attributes)
        group.create_array("0", shape=(12, 2, 5, 7), dtype="u2", chunks=(1, 1, 5, 7))[...] = FRAMES.reshape(12, 2, 5, 7)
        group.create_array("1", shape=(12, 2, 2, 3), dtype="u2")[...] = 1
        movie = open_movie(path, channel=2)
        np.testing.assert_array_equal(movie.read(0, 12), FRAMES[1::2])
        assert movie.metadata.pixel_size_um == (0.5, 0.25) and not movie.findings
        assert open_movie(path, channel=2, key="1").metadata.pixel_size_um is None


def test_other_byte_orders_and_real_numbers(tmp_path):
    for index, dtype in enumerate((">u2", ">f4", "<f8", "i1")):
        folder = tmp_path / str(index)
        folder.mkdir()
        array = (FRAMES % 100).astype(dtype)
        for kind, options in (("hdf5", {}), ("zarr", {"zarr_format": 2})):
            movie = open_movie(write(folder, array, kind, **options))
            assert movie.dtype == np.dtype(dtype).newbyteorder("=") and movie.dtype.isnative
            np.testing.assert_array_equal(movie.read(2, 20), array[2:20])


def test_sharded_and_compressed_zarr(tmp_path):
    stored = zarr.create_array(str(tmp_path / "a.zarr"), shape=FRAMES.shape, dtype="u2", chunks=(2, 5, 7), shards=(8, 5, 7))
    stored[...] = FRAMES
    np.testing.assert_array_equal(open_movie(tmp_path / "a.zarr").read(5, 19), FRAMES[5:19])


@KINDS
def test_pieces_that_were_never_written_are_told(tmp_path, kind):
    if kind == "hdf5":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("data", (24, 5, 7), "u2", chunks=(6, 5, 7))[:12] = FRAMES[:12] + 1
        path = tmp_path / "a.h5"
    else:
        path = write(tmp_path, FRAMES | 1, "zarr", chunks=(6, 5, 7), zarr_format=2)
        (path / "2.0.0").unlink()
        (path / "3.0.0").unlink()
    for found in (open_movie(path), inspect_path(path)[0]):
        assert [finding.code for finding in found.findings] == ["chunks-not-stored"]
        assert found.findings[0].evidence == {"n_stored": 2, "n_expected": 4}


def test_a_virtual_dataset_needs_its_files(tmp_path):
    layout = h5py.VirtualLayout((48, 5, 7), "u2")
    for part in range(2):
        with h5py.File(tmp_path / f"part{part}.h5", "w") as file:
            file["data"] = FRAMES
        layout[part * 24 : (part + 1) * 24] = h5py.VirtualSource(f"part{part}.h5", "data", (24, 5, 7))
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    np.testing.assert_array_equal(open_movie(tmp_path / "whole.h5").read(20, 30), np.concatenate([FRAMES[20:], FRAMES[:6]]))
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(MissingFileError, match="made of files that are not there: part1.h5"):
        open_movie(tmp_path / "whole.h5")  # HDF5 would give zeros


def test_huge_claims_open_but_are_not_believed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (1 << 22, 512, 512), "u2", chunks=(1, 512, 512))  # 2 TB, nothing written
    movie = open_movie(tmp_path / "a.h5")
    assert movie.nbytes == 1 << 41 and movie.findings[0].code == "chunks-not-stored"
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("data", (10, 1 << 20, 1 << 20), "u2", chunks=(1, 64, 64))
    with pytest.raises(FormatError, match=r"claims frames of 1048576 x 1048576 .* but takes"):
        open_movie(tmp_path / "b.h5")
    path = write(tmp_path, FRAMES, "zarr", zarr_format=2)
    values = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps({**values, "chunks": [1 << 20, 1 << 20, 7]}))
    with pytest.raises(FormatError, match="claims pieces of"):
        open_movie(path)


def test_a_cut_file_is_told_before_it_is_read(tmp_path):
    path = write(tmp_path, np.zeros((50, 64, 64), "u2") + 3, "hdf5")
    os.truncate(path, path.stat().st_size - 5000)
    with pytest.raises(FormatError, match="can't be read as HDF5|is no readable HDF5|is cut"):
        open_movie(path, reader="hdf5")


class Exploit:
    def __reduce__(self):
        return os.mkdir, ("exploited",)


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_a_zarr_folder_can_run_no_code(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, FRAMES, "zarr", zarr_format=2, chunks=FRAMES.shape)
    values = json.loads((path / ".zarray").read_text())
    codec = {"id": "pickle", "protocol": 5}
    (path / ".zarray").write_text(
        json.dumps({**values, "filters": None, "compressor": None, place: [codec] if place == "filters" else codec})
    )
    (path / "0.0.0").write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(FormatError, match="codec 'pickle', which is not accepted"):
        open_movie(path, reader="zarr")
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [24, -5, 7]}, "shape"),
        ({"shape": "x"}, "shape"),
        ({"shape": [24, 5, 7, 1e400]}, "shape|no JSON"),
        ({"chunks": [0, 5, 7]}, "stored in pieces"),
        ({"chunks": None}, "stored in pieces"),
        ({"dtype": "|O"}, "no array that can be a movie"),
        ({"dtype": [["a", "<u2"]]}, "no array that can be a movie"),
        ({"compressor": {"id": {"a": 1}}}, "not accepted"),
    ],
)
def test_damaged_metadata(tmp_path, change, message):
    path = write(tmp_path, FRAMES, "zarr", zarr_format=2)
    values = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps({**values, **change}))
    with pytest.raises((FormatError, ParameterError), match=message):
        open_movie(path, reader="zarr").read(0, 24)
    (path / ".zarray").write_text("[" * 100_000)
    with pytest.raises(FormatError, match="no JSON"):
        open_movie(path, reader="zarr")


def test_a_results_table_is_no_movie(tmp_path):
    group = zarr.open_group(str(tmp_path / "cells.zarr"), mode="w")
    group.create_array("X", shape=(50, 200), dtype="f4")
    assert not find_readers(tmp_path / "cells.zarr", "movie")


@pytest.mark.slow
@KINDS
def test_streaming_takes_bounded_memory(tmp_path, kind):
    """200 MB of compressed pixels pass through a process that may grow by much less."""
    shape = (400, 512, 512)
    frame = (np.arange(512 * 512) % 251).reshape(512, 512).astype(np.uint16)
    if kind == "hdf5":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            data = file.create_dataset("data", shape, "u2", chunks=(16, 256, 256), compression="gzip", compression_opts=1)
            for start in range(0, 400, 16):
                data[start : start + 16] = frame
        path = tmp_path / "a.h5"
    else:
        path = tmp_path / "a.zarr"
        stored = zarr.create_array(str(path), shape=shape, dtype="u2", chunks=(16, 512, 512))
        for start in range(0, 400, 16):
            stored[start : start + 16] = np.broadcast_to(frame, (16, 512, 512))
    code = (
        "import resource; from packerlabimaging.io import open_movie\n"
        "from packerlabimaging.core import ArrayMovie, Projections, stream\n"
        f"movie = open_movie({str(path)!r})\n"
        "stream(ArrayMovie(movie.read(0, 1)), {'p': Projections()}, progress=False)  # what it compiles is no matter here\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = stream(movie, {'p': Projections()}, progress=False)['p']\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, float(found['mean'][0, 250]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    grown_mb, value = map(float, done.stdout.split())
    assert value == frame[0, 250] and grown_mb < 100


def test_the_reader_gives_way(tmp_path):
    """A format that is stored as HDF5 and has a reader of its own goes to that one."""
    assert find_reader(write(tmp_path, FRAMES, "hdf5"), "movie").generic
