"""Movies and the one pass: the same numbers whatever the chunks, threads and views."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import ArrayMovie, Movie, concatenate_movies
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.streaming import FovTrace, Projections, Reducer, RoiTraces, stream
from packerlabimaging.errors import ParameterError

SHAPE = (9, 14)


def pixels(n_frames: int, dtype: str = "u2", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8000, (n_frames, *SHAPE)).astype(dtype)


def rois(weighted: bool = False) -> RoiSet:
    found = RoiSet.from_discs(np.array([[3.0, 4.0], [4.0, 5.0], [6.0, 10.0]]), 2.2, SHAPE)
    if not weighted:
        return found
    weights = np.random.default_rng(1).uniform(0.1, 3, found.indptr[-1])
    return RoiSet(SHAPE, found.indptr, found.y_px, found.x_px, weights)


def trace_by_hand(array: np.ndarray, which: RoiSet) -> np.ndarray:
    out = np.empty((len(which), len(array)))
    for index in range(len(which)):
        y, x, weights = which.pixels(index)
        out[index] = np.average(array[:, y, x].astype(float), axis=1, weights=weights.astype(float))
    return out


@settings(max_examples=40, deadline=None)
@given(
    n_frames=st.integers(1, 30),
    chunk=st.integers(1, 12),
    workers=st.integers(1, 3),
    dtype=st.sampled_from(["u2", "i2", "u1", "f4"]),
)
def test_one_pass_agrees_with_plain_numpy(n_frames, chunk, workers, dtype):
    array = pixels(n_frames, dtype)
    reducers = {"images": Projections(), "fov": FovTrace(), "plain": RoiTraces(rois()), "weighted": RoiTraces(rois(True))}
    done = stream(ArrayMovie(array), reducers, chunk_frames=chunk, workers=workers)
    wide = array.astype(np.float64)
    np.testing.assert_allclose(done["images"]["mean"], wide.mean(0), rtol=1e-6)
    np.testing.assert_allclose(done["images"]["std"], wide.std(0), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(done["images"]["max"], array.max(0))
    np.testing.assert_array_equal(done["images"]["min"], array.min(0))
    np.testing.assert_allclose(done["fov"], wide.mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(done["plain"], trace_by_hand(array, rois()), rtol=1e-6)
    np.testing.assert_allclose(done["weighted"], trace_by_hand(array, rois(True)), rtol=1e-5)


def test_threads_give_the_same_bits():
    movie = ArrayMovie(pixels(50, "f4"))
    one, three = (
        stream(movie, {"images": Projections(), "t": RoiTraces(rois(True))}, chunk_frames=7, workers=workers)
        for workers in (1, 3)
    )
    np.testing.assert_array_equal(one["images"]["std"], three["images"]["std"])
    np.testing.assert_array_equal(one["t"], three["t"])


def test_excluded_frames_do_not_count():
    array = pixels(20)
    exclude = np.arange(20) % 3 == 0
    array[exclude] = 65535
    done = stream(ArrayMovie(array), {"images": Projections(exclude=exclude)}, chunk_frames=4)["images"]
    np.testing.assert_array_equal(done["max"], array[~exclude].max(0))
    assert done["n_frames"] == int((~exclude).sum())
    nothing = stream(ArrayMovie(array), {"images": Projections(exclude=np.ones(20, bool))})["images"]
    assert nothing["mean"] is None


def test_merging_twice_the_same_frames_is_refused():
    a, b = FovTrace(), FovTrace()
    a.update(pixels(3), 0)
    b.update(pixels(3), 0)
    with pytest.raises(ParameterError, match="same frames"):
        a.merge(b)


def test_ordered_reducers_see_frames_in_order_with_threads():
    class Order(Reducer):
        ordered = True

        def __init__(self):
            self.starts = []

        def fresh(self):
            raise AssertionError("an ordered reducer is never split")

        def update(self, chunk, start):
            self.starts.append((start, int(chunk[0, 0, 0])))

        def merge(self, other):
            raise AssertionError

        def result(self):
            return self.starts

    array = pixels(23)
    seen = stream(ArrayMovie(array), {"order": Order()}, chunk_frames=5, workers=2)["order"]
    assert seen == [(start, int(array[start, 0, 0])) for start in range(0, 23, 5)]


def test_views_and_concatenation():
    a, b = pixels(10, seed=1), pixels(6, seed=2)
    joined = concatenate_movies([ArrayMovie(a), ArrayMovie(b)])
    both = np.concatenate([a, b])
    np.testing.assert_array_equal(joined.read(7, 13), both[7:13])
    np.testing.assert_array_equal(joined.frames(5, 15).frames(2).read(0, 8), both[7:15])
    with pytest.raises(ParameterError, match="different kinds"):
        concatenate_movies([ArrayMovie(a), ArrayMovie(b.astype("f4"))])
    with pytest.raises(ParameterError, match="has 16 frames"):
        joined.read(10, 17)
    with pytest.raises(ParameterError, match="Expected a contiguous array"):
        joined.read(0, 2, out=np.zeros((2, *SHAPE), "f8"))


def test_views_keep_the_frame_times_of_their_frames():
    metadata = ImagingMetadata(frame_shape_px=SHAPE, n_frames=10, frame_times_s=np.arange(10) / 30)
    part = ArrayMovie(pixels(10), metadata=metadata).frames(4, 8)
    np.testing.assert_allclose(part.metadata.frame_times_s, np.arange(4, 8) / 30)
    assert part.metadata.n_frames == 4


def test_pixels_never_travel():
    with pytest.raises(ParameterError, match="in memory"):
        pickle.dumps(ArrayMovie(pixels(3)))


class Endless(Movie):
    """A movie that makes its frames when asked for, and counts what is asked."""

    def __init__(self, n_frames: int) -> None:
        super().__init__((n_frames, *SHAPE), "u2")
        self.read_frames = 0

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        self.read_frames += stop - start
        out[...] = np.arange(start, stop, dtype=np.uint64)[:, None, None] % 1000


def test_every_frame_is_read_once_for_all_reducers():
    movie = Endless(101)
    done = stream(movie, {"a": FovTrace(), "b": Projections(), "c": RoiTraces(rois())}, chunk_frames=10)
    assert movie.read_frames == 101
    np.testing.assert_array_equal(done["a"], np.arange(101))


def test_rois_of_another_frame_size_are_refused():
    with pytest.raises(ParameterError, match="drawn on"):
        stream(ArrayMovie(np.zeros((2, 5, 5), "u2")), {"t": RoiTraces(rois())})


def test_no_rois_give_an_empty_array_with_all_frames():
    empty = RoiSet.from_pixels(SHAPE, [])
    assert stream(ArrayMovie(pixels(5)), {"t": RoiTraces(empty)})["t"].shape == (0, 5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32"])
@pytest.mark.parametrize("workers", [1, 2])
def test_projections_and_means_are_numpys_for_every_type(dtype, workers):
    rng = np.random.default_rng(4)
    if np.dtype(dtype).kind == "f":
        pixels = rng.normal(0, 100, (61, 37, 41)).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        pixels = rng.integers(max(limits.min, -70_000), min(limits.max, 70_000), (61, 37, 41), endpoint=True).astype(dtype)
    movie = ArrayMovie(pixels)
    found = stream(movie, {"images": Projections(), "fov": FovTrace()}, chunk_frames=9, workers=workers)
    wide = pixels.astype(np.float64)
    np.testing.assert_allclose(found["images"]["mean"], wide.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["images"]["std"], wide.std(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found["images"]["max"], pixels.max(axis=0))
    np.testing.assert_array_equal(found["images"]["min"], pixels.min(axis=0))
    np.testing.assert_allclose(found["fov"], wide.mean(axis=(1, 2)), rtol=1e-6, atol=1e-5)
