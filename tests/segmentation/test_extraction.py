from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core import ArrayMovie, RoiSet
from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.extraction import find_neuropil, own_pixels, write_traces

FRAME = (40, 50)


def masks_of(rois: RoiSet) -> list[np.ndarray]:
    masks = []
    for index in range(len(rois)):
        mask = np.zeros(rois.frame_shape_px, bool)
        mask[rois.pixels(index)[:2]] = True
        masks.append(mask)
    return masks


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 49)), min_size=1, max_size=12),
    st.integers(0, 3),
    st.integers(1, 400),
)
def test_neuropil_is_the_nearest_free_pixels(centers: list[tuple[int, int]], gap: int, wanted: int) -> None:
    rois = RoiSet.from_discs(np.array(centers, float), 4.0, FRAME)
    found = find_neuropil(rois, gap_px=gap, n_pixels=wanted)
    assert found is not None
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    grid = np.stack([y.ravel(), x.ravel()], axis=1)

    def distance_to(mask: np.ndarray) -> np.ndarray:
        return np.sqrt(((grid[:, None] - np.argwhere(mask)[None]) ** 2).sum(axis=2).min(axis=1)).reshape(FRAME)

    masks = masks_of(rois)
    free = distance_to(np.any(masks, axis=0)) > gap
    for mask, ring in zip(masks, masks_of(found), strict=True):
        assert not (ring & ~free).any()
        away = distance_to(mask)
        limit = np.sort(away[free])[min(wanted, free.sum()) - 1]
        np.testing.assert_array_equal(ring, free & (away <= limit + 1e-9))


def test_neuropil_keeps_to_valid_pixels_and_ids() -> None:
    rois = RoiSet.from_discs(np.array([[20.0, 20.0]]), 4.0, FRAME, ids=["a"])
    valid = np.zeros(FRAME, bool)
    valid[:, 30:] = True
    found = find_neuropil(rois, gap_px=1, n_pixels=50, valid=valid)
    assert found is not None
    assert found.ids == ("a",)
    assert found.x_px.min() >= 30


def test_no_free_pixel_means_no_neuropil() -> None:
    assert find_neuropil(RoiSet.from_labels(np.ones((5, 5), int)), gap_px=0, n_pixels=10) is None


def test_neuropil_of_no_pixels_is_refused() -> None:
    with pytest.raises(ParameterError, match="n_pixels"):
        find_neuropil(RoiSet.from_discs(np.array([[5.0, 5.0]]), 2.0, FRAME), gap_px=1, n_pixels=0)


def test_shared_pixels_are_left_out() -> None:
    rois = RoiSet.from_discs(np.array([[20.0, 20.0], [20.0, 26.0], [5.0, 45.0]]), 4.0, FRAME, ids=["a", "b", "c"])
    first, second, third = masks_of(rois)
    own = masks_of(own_pixels(rois))
    np.testing.assert_array_equal(own[0], first & ~second)
    np.testing.assert_array_equal(own[1], second & ~first)
    np.testing.assert_array_equal(own[2], third)


def test_roi_within_another_keeps_its_pixels() -> None:
    rois = RoiSet.from_discs(np.array([[20.0, 20.0], [20.0, 20.0]]), 4.0, FRAME)
    assert own_pixels(rois).n_pixels.tolist() == rois.n_pixels.tolist()


def test_traces_are_weighted_means_whatever_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 4000, (150, *FRAME)).astype(np.uint16)
    weights = [rng.random(4).astype(np.float32) + 0.1, rng.random(3).astype(np.float32) + 0.1]
    pixels = [(np.array([1, 2, 3, 4]), np.array([5, 6, 7, 8])), (np.array([10, 11, 12]), np.array([0, 1, 2]))]
    rois = RoiSet.from_pixels(FRAME, pixels, weights=weights)
    monkeypatch.setattr("packerlabimaging.segmentation.extraction.BLOCK_BYTES", 1)
    reports: list[tuple[int, int]] = []
    write_traces(ArrayMovie(frames), {"F": rois}, tmp_path, workers=2, progress=lambda done, total: reports.append((done, total)))
    traces = np.load(tmp_path / "F.npy", mmap_mode="r", allow_pickle=False)
    assert traces.dtype == np.float32
    for trace, (y, x), weight in zip(traces, pixels, weights, strict=True):
        np.testing.assert_allclose(trace, (frames[:, y, x] * weight).sum(axis=1) / weight.sum(), rtol=1e-5)
    assert reports == sorted(reports)
    assert reports[-1] == (150, 150)


def test_no_rois_give_empty_traces(tmp_path: Path) -> None:
    write_traces(ArrayMovie(np.zeros((7, *FRAME), np.uint16)), {"F": RoiSet.from_pixels(FRAME, [])}, tmp_path)
    assert np.load(tmp_path / "F.npy", mmap_mode="r").shape == (0, 7)
