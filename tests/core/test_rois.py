"""ROIs: pixel lists that keep order, weights and names through every conversion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError

SHAPE = (12, 20)  # not square, so that swapped axes show


@st.composite
def roi_sets(draw):
    n_rois = draw(st.integers(1, 5))
    pixels, weights = [], []
    for _ in range(n_rois):
        flat = np.array(sorted(draw(st.sets(st.integers(0, SHAPE[0] * SHAPE[1] - 1), min_size=1, max_size=15))))
        pixels.append((flat // SHAPE[1], flat % SHAPE[1]))
        weights.append(np.array(draw(st.lists(st.integers(1, 9), min_size=len(flat), max_size=len(flat))), np.float32))
    return RoiSet.from_pixels(SHAPE, pixels, weights=weights, ids=[f"cell {i}" for i in range(n_rois)])


@given(roi_sets())
def test_sparse_round_trip(rois):
    back = RoiSet.from_sparse(rois.to_sparse(), SHAPE, ids=rois.ids)
    dense = rois.to_sparse().toarray()
    np.testing.assert_array_equal(back.to_sparse().toarray(), dense)
    for index in range(len(rois)):
        y, x, weights = rois.pixels(index)
        np.testing.assert_array_equal(dense[index].reshape(SHAPE)[y, x], weights)


@given(roi_sets())
def test_centroids_are_weighted_means(rois):
    for index in range(len(rois)):
        y, x, weights = rois.pixels(index)
        expected = [np.average(y, weights=weights), np.average(x, weights=weights)]
        np.testing.assert_allclose(rois.centroids_px[index], expected, rtol=1e-6)


def test_labels_round_trip():
    labels = np.zeros(SHAPE, int)
    labels[1:3, 4:8] = 7
    labels[8:11, 15:19] = 2
    rois = RoiSet.from_labels(labels)
    assert rois.n_pixels.tolist() == [12, 8]  # ascending labels: 2, then 7
    np.testing.assert_array_equal(rois.to_labels() > 0, labels > 0)


def test_a_disc_holds_the_pixels_within_its_radius_and_is_cut_at_the_border():
    rois = RoiSet.from_discs(np.array([[0.0, 19.0], [6.0, 10.0]]), 3.0, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for index, (cy, cx) in enumerate([(0, 19), (6, 10)]):
        expected = (y - cy) ** 2 + (x - cx) ** 2 <= 9
        np.testing.assert_array_equal(rois.subset(np.array([index])).to_labels() > 0, expected)


def test_subset_keeps_names_and_order():
    rois = RoiSet.from_discs(np.array([[3.0, 3.0], [6.0, 10.0], [8.0, 15.0]]), 1.5, SHAPE, ids=["a", "b", "c"])
    assert rois.subset(np.array([2, 0])).ids == ("c", "a")
    assert rois.subset(np.array([True, False, True])).ids == ("a", "c")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([([15], [3])], "swapped"),
        ([([], [])], "no pixels"),
        ([([1, 1], [2, 2])], "same pixel twice"),
        ([([-1], [2])], "outside"),
    ],
)
def test_bad_pixels_are_refused(pixels, message):
    with pytest.raises(ParameterError, match=message):
        RoiSet.from_pixels(SHAPE, [(np.array(y, int), np.array(x, int)) for y, x in pixels])


def test_ids_must_differ_and_weights_be_positive():
    with pytest.raises(ParameterError, match="same id"):
        RoiSet.from_discs(np.array([[3.0, 3.0], [6.0, 6.0]]), 1, SHAPE, ids=["a", "a"])
    with pytest.raises(ParameterError, match="> 0"):
        RoiSet.from_pixels(SHAPE, [(np.array([1]), np.array([1]))], weights=[np.array([0.0])])
