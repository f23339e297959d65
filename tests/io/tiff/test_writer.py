"""Stacks that we write, read back by tifffile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import ArrayMovie
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.readers import open_movie
from packerlabimaging.io.tiff import TiffStackWriter, write_tiff_stack, writer

DTYPES = st.sampled_from(["u1", "i1", "<u2", ">u2", "<i2", "<u4", "<i4", "<f4", ">f4", "<f8"])


@given(
    frames=hnp.arrays(DTYPES, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements={"allow_nan": False}),
    cut=st.integers(0, 6),
)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read_by_tifffile_and_by_us(tmp_path_factory, frames: np.ndarray, cut: int) -> None:
    path = tmp_path_factory.mktemp("a") / "a.tif"
    assert write_tiff_stack(path, [frames[:cut], frames[cut:]]) == path
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == len(frames)
        np.testing.assert_array_equal(np.stack([page.asarray() for page in tiff.pages]), frames)
    np.testing.assert_array_equal(tifffile.imread(path).reshape(frames.shape), frames)
    np.testing.assert_array_equal(open_movie(path).read(0, len(frames)), frames)
    assert [file.name for file in path.parent.iterdir()] == ["a.tif"]


def test_a_large_stack_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.arange(5 * 12, dtype=np.uint16).reshape(5, 3, 4)
    monkeypatch.setattr(writer, "_CLASSIC_LIMIT", 100)
    write_tiff_stack(tmp_path / "a.tif", [frames])
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), frames)
    np.testing.assert_array_equal(open_movie(tmp_path / "a.tif").read(0, 5), frames)


def test_rate_and_pixel_size_survive(tmp_path: Path) -> None:
    metadata = ImagingMetadata(frame_shape_px=(3, 4), frame_rate_hz=29.75, pixel_size_um=(2.18458479264539, 0.4))
    write_tiff_stack(tmp_path / "a.tif", ArrayMovie(np.zeros((5, 3, 4), np.uint16), metadata=metadata))
    found = open_movie(tmp_path / "a.tif").metadata
    assert found.frame_rate_hz == pytest.approx(29.75, rel=1e-12)
    assert found.pixel_size_um == pytest.approx((2.18458479264539, 0.4), rel=1e-9)


def test_nothing_is_overwritten_or_left_half_done(tmp_path: Path) -> None:
    frames = np.zeros((2, 3, 4), np.uint16)
    write_tiff_stack(tmp_path / "a.tif", [frames])
    with pytest.raises(ParameterError, match=r"a\.tif' exists\. Pass overwrite=True"):
        write_tiff_stack(tmp_path / "a.tif", [frames + 1])
    write_tiff_stack(tmp_path / "a.tif", [frames + 1], overwrite=True)
    assert tifffile.imread(tmp_path / "a.tif").max() == 1

    def breaks():
        yield frames + 2
        raise RuntimeError("the source ended")

    with pytest.raises(RuntimeError, match="the source ended"):
        write_tiff_stack(tmp_path / "a.tif", breaks(), overwrite=True)
    assert tifffile.imread(tmp_path / "a.tif").max() == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="No frame was given"):
        write_tiff_stack(tmp_path / "a.tif", [])
    with pytest.raises(ParameterError, match="can't be written. Expected"):
        write_tiff_stack(tmp_path / "a.tif", [np.zeros((1, 2, 3), complex)])
    with pytest.raises(ParameterError, match=r"Frames are \(2, 4\) uint16\. Expected \(2, 3\) uint16"):
        write_tiff_stack(tmp_path / "a.tif", [np.zeros((1, 2, 3), np.uint16), np.zeros((1, 2, 4), np.uint16)])
    with pytest.raises(ParameterError, match="is not open"):
        TiffStackWriter(tmp_path / "a.tif").write(np.zeros((1, 2, 3), np.uint16))
    assert list(tmp_path.iterdir()) == []
