"""Extractors of the package roiextractors as movies and segmentations."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError, UnknownFormatError
from packerlabimaging.io.readers import open_movie, open_segmentation
from packerlabimaging.io.roiextractors import ExtractorMovieReader, movie_of_extractor, segmentation_of_extractor

roiextractors = pytest.importorskip("roiextractors")
FRAMES = np.random.default_rng(0).integers(0, 4000, (20, 9, 14)).astype(np.uint16)
OPTIONS: dict[str, Any] = {"reader": "roiextractors", "extractor": "NumpyImagingExtractor", "sampling_frequency": 15.0}


def test_a_movie(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", FRAMES[..., None])
    movie = open_movie(tmp_path / "movie.npy", **OPTIONS)
    assert movie.shape == FRAMES.shape and movie.dtype == FRAMES.dtype and movie.metadata.frame_rate_hz == 15.0
    np.testing.assert_array_equal(movie.read(3, 11), FRAMES[3:11])
    recipe = pickle.dumps(movie)
    assert len(recipe) < 1000
    np.testing.assert_array_equal(pickle.loads(recipe).read(0, 20), FRAMES)  # noqa: S301 - made by the line above
    with pytest.raises(UnknownFormatError):
        open_movie(tmp_path / "movie.npy")


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", FRAMES)
    path = tmp_path / "movie.npy"
    with pytest.raises(ParameterError, match="Say which extractor reads .*NumpyImagingExtractor"):
        open_movie(path, reader="roiextractors")
    with pytest.raises(ParameterError, match="extractor = 'NumpyImaging' is not possible.*Did you mean"):
        open_movie(path, reader="roiextractors", extractor="NumpyImaging")
    with pytest.raises(ParameterError, match="has no argument 'rate'. It has: timeseries, sampling_frequency"):
        open_movie(path, **OPTIONS, rate=3)
    with pytest.raises(FormatError, match="can't be read by roiextractors: TypeError.*sampling_frequency"):
        open_movie(path, reader="roiextractors", extractor="NumpyImagingExtractor")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(FormatError, match="can't be read by roiextractors"):
        open_movie(path, **OPTIONS)
    assert "TiffImagingExtractor" in ExtractorMovieReader().inspect(path).facts["extractors"]


class Volume(roiextractors.ImagingExtractor):
    """An extractor of somebody's own, of 3 planes, with frame times that were measured."""

    def __init__(self, times_s: Any = None) -> None:
        super().__init__()
        self.is_volumetric = True
        self.times_s = times_s

    def get_image_shape(self) -> tuple[int, int]:
        return 9, 14

    def get_num_planes(self) -> int:
        return 3

    def get_num_samples(self) -> int:
        return 20

    def get_sampling_frequency(self) -> float:
        return 10.0

    def get_native_timestamps(self, start_sample: Any = None, end_sample: Any = None) -> Any:
        return self.times_s

    def get_series(self, start_sample: Any = None, end_sample: Any = None) -> np.ndarray:
        return np.stack([FRAMES + plane for plane in range(3)], axis=-1)[start_sample:end_sample]


def test_an_extractor_of_ones_own() -> None:
    with pytest.raises(AmbiguousInputError, match="3 planes, 0 to 2"):
        movie_of_extractor(Volume())
    movie = movie_of_extractor(Volume(), plane=2)
    np.testing.assert_array_equal(movie.read(4, 6), FRAMES[4:6] + 2)
    assert movie.metadata.n_planes == 3 and movie.metadata.frame_rate_source == "nominal"
    with pytest.raises(ParameterError, match="does not say what it was made from"):
        pickle.dumps(movie)
    timed = movie_of_extractor(Volume(100 + np.arange(20) / 8), plane=0)
    assert timed.metadata.frame_rate_source == "frame times" and timed.metadata.frame_rate_hz == pytest.approx(8)
    assert movie_of_extractor(Volume(np.zeros(20)), plane=0).findings[0].code == "frame-times"


def test_a_segmentation(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    masks = np.zeros((9, 14, 3), np.float32)
    masks[1:4, 2:6, 0] = rng.uniform(1, 2, (3, 4))
    masks[5:8, 9:12, 2] = 1
    traces = {name: rng.random((40, 3)).astype(np.float32) for name in ("raw", "neuropil", "deconvolved", "dff")}
    for name, values in {"masks": masks, **traces}.items():
        np.save(tmp_path / f"{name}.npy", values)
    paths = {name: str(tmp_path / f"{name}.npy") for name in traces}
    options = {"extractor": "NumpySegmentationExtractor", "sampling_frequency": 12.0, **paths}
    found = open_segmentation(tmp_path / "masks.npy", reader="roiextractors-segmentation", **options)
    assert found.rois.frame_shape_px == (9, 14) and len(found.rois) == 2
    assert [finding.code for finding in found.findings] == ["rois-without-pixels"]
    for roi, index in enumerate((0, 2)):
        y, x, weights = found.rois.pixels(roi)
        image = np.zeros((9, 14), np.float32)
        image[y, x] = weights
        np.testing.assert_array_equal(image, masks[..., index])
    np.testing.assert_array_equal(found.F, traces["raw"].T[[0, 2]])
    np.testing.assert_array_equal(found.Fneu, traces["neuropil"].T[[0, 2]])
    np.testing.assert_array_equal(found.spks, traces["deconvolved"].T[[0, 2]])
    np.testing.assert_array_equal(found.other_traces["dff"], traces["dff"].T[[0, 2]])
    assert found.obs is not None and found.obs["roi_id"].tolist() == ["0", "2"]
    own = segmentation_of_extractor(roiextractors.NumpySegmentationExtractor(image_masks=masks, dff=traces["dff"]))
    assert not own.has_traces and own.findings[-1].code == "no-traces"


def test_extractors_that_unpickle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="reads pickles.*reader='suite2p'"):
        open_segmentation(tmp_path, reader="roiextractors-segmentation", extractor="Suite2pSegmentationExtractor")
