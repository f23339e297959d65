"""Stimulus-triggered averages equal a plain computation on the whole movie, whatever the chunks and threads."""

from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.core import ArrayMovie, stream
from packerlabimaging.core.stim_averages import StimAverages
from packerlabimaging.errors import ParameterError

N_PRE, N_POST, RESPONSE = 6, 12, (3, 9)
ONSETS = np.array([4, 20, 33, 40, 60, 95, 115])  # the first and the last are cut by the movie
KINDS = np.array([0, 1, 0, 1, 0, 1, 1])


def movie_of(dtype):
    rng = np.random.default_rng(3)
    top = 60_000 if np.dtype(dtype).kind == "u" else 5_000
    return rng.uniform(0, top, (120, 5, 7)).astype(dtype)


def reducer(**changes):
    return StimAverages(ONSETS, KINDS, **{"n_pre": N_PRE, "n_post": N_POST, "response": RESPONSE, **changes})


def expected(pixels, exclude=None):
    """The same with loops over stims and places."""
    values = pixels.astype(np.float64)
    keep = np.ones(len(values), bool) if exclude is None else ~exclude
    means, differences = [], []
    for kind in (0, 1):
        onsets = ONSETS[np.equal(KINDS, kind)]
        mean = np.full((N_PRE + N_POST, *values.shape[1:]), np.nan)
        for place in range(N_PRE + N_POST):
            frames = [onset - N_PRE + place for onset in onsets]
            frames = [frame for frame in frames if 0 <= frame < len(values) and keep[frame]]
            if frames:
                mean[place] = values[frames].mean(axis=0)
        means.append(mean)
        taken = []
        for onset in onsets:
            before = [f for f in range(onset - N_PRE, onset) if 0 <= f < len(values) and keep[f]]
            after = [f for f in range(onset + RESPONSE[0], onset + RESPONSE[1]) if f < len(values) and keep[f]]
            if 2 * len(before) >= N_PRE and 2 * len(after) >= RESPONSE[1] - RESPONSE[0]:
                taken.append(values[after].mean(axis=0) - values[before].mean(axis=0))
        differences.append(np.array(taken))
    return np.array(means), differences


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
@pytest.mark.parametrize("masked", [False, True])
def test_averages_are_those_of_a_plain_computation(dtype, masked):
    pixels = movie_of(dtype) if dtype != "uint8" else (movie_of("uint16") // 300).astype(np.uint8)
    exclude = np.isin(np.arange(120), [19, 20, 21, 58, 59, 96]) if masked else None
    found = stream(ArrayMovie(pixels), {"sta": reducer(exclude=exclude)}, chunk_frames=17)["sta"]
    means, differences = expected(pixels, exclude)
    np.testing.assert_allclose(found.mean, means, rtol=1e-6)
    for kind, taken in enumerate(differences):
        assert found.n_stims[kind] == len(taken)
        np.testing.assert_allclose(found.difference_mean[kind], taken.mean(axis=0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.difference_sd[kind], taken.std(axis=0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("chunk_frames", [1, 7, 50, 500])
@pytest.mark.parametrize("workers", [1, 3])
def test_chunks_and_threads_do_not_change_a_bit(chunk_frames, workers):
    movie = ArrayMovie(movie_of("uint16"))
    whole = stream(movie, {"sta": reducer()}, chunk_frames=120)["sta"]
    found = stream(movie, {"sta": reducer()}, chunk_frames=chunk_frames, workers=workers)["sta"]
    for name in ("mean", "count", "difference_mean", "difference_sd", "n_stims"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


@pytest.mark.parametrize("cut", [1, 18, 33, 61, 119])
def test_parts_that_saw_different_frames_merge(cut):
    pixels = movie_of("uint16")
    first, second = reducer(), reducer()
    first.update(pixels[:cut], 0)
    second.update(pixels[cut:], cut)
    first.merge(second)
    empty = reducer()
    empty.merge(first)
    whole = reducer()
    whole.update(pixels, 0)
    found, whole = empty.result(), whole.result()
    assert empty.result() is found
    np.testing.assert_array_equal(found.mean, whole.mean)
    np.testing.assert_array_equal(found.n_stims, whole.n_stims)
    np.testing.assert_allclose(found.difference_sd, whole.difference_sd, rtol=1e-12)


def test_bad_arguments_are_told():
    with pytest.raises(ParameterError, match="2 onset frames and 1 kinds"):
        StimAverages([1, 2], [0], n_pre=1, n_post=1, response=(0, 1))
    with pytest.raises(ParameterError, match="frames 0 to 13 from the onset, does not lie in the window of 12"):
        reducer(response=(0, 13))
    with pytest.raises(ParameterError, match="No frame was given"):
        reducer().result()
