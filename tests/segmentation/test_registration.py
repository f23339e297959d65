from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_movies import LazyCells, displaced, texture

from packerlabimaging.core import ArrayMovie, Movie
from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.registration import RegisteredMovie, bin_frames, estimate_shifts, make_reference, sample_frames


def moving_movie(shifts: np.ndarray, *, shape: tuple[int, int] = (96, 128), noise: float = 40.0, seed: int = 1) -> ArrayMovie:
    rng = np.random.default_rng(seed)
    image = texture(shape)
    frames = [displaced(image, dy, dx) + rng.normal(0, noise, shape) for dy, dx in shifts]
    return ArrayMovie(np.clip(frames, 0, 65535).astype(np.uint16))


def whole(movie: Movie) -> dict[str, tuple[int, int]]:
    return {"t": (0, movie.n_frames)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_registered_movie_reads_displaced_pixels(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(2, 7), st.integers(2, 7)))
    dy, dx = data.draw(st.tuples(st.integers(1 - height, height - 1), st.integers(1 - width, width - 1)))
    frame = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    read = RegisteredMovie(ArrayMovie(frame[None]), np.array([[dy, dx]])).read(0, 1)[0]
    rows, columns = np.clip(np.arange(height) + dy, 0, height - 1), np.clip(np.arange(width) + dx, 0, width - 1)
    np.testing.assert_array_equal(read, frame[np.ix_(rows, columns)])
    assert read.dtype == frame.dtype


def test_registered_movie_undoes_whole_shifts_and_leaves_the_movie_alone() -> None:
    image = texture((40, 50)).astype(np.float32)
    moved = np.roll(image, (3, -2), axis=(0, 1))
    source = np.stack([image, moved])
    read = RegisteredMovie(ArrayMovie(source), np.array([[0, 0], [3, -2]])).read(0, 2)
    np.testing.assert_array_equal(read[1][4:-4, 4:-4], image[4:-4, 4:-4])
    np.testing.assert_array_equal(source[1], moved)


def test_registered_movie_pickles_as_a_recipe() -> None:
    movie = RegisteredMovie(LazyCells(5), np.array([[index, -index] for index in range(5)]))
    packed = pickle.dumps(movie)
    assert len(packed) < 5000
    np.testing.assert_array_equal(pickle.loads(packed).read(1, 4), movie.read(1, 4))  # noqa: S301


@pytest.mark.parametrize(
    ("shifts", "message"),
    [(np.zeros((2, 2)), "Expected"), (np.full((3, 2), np.nan), "finite"), (np.array([[0, 0], [0, 9], [0, 0]]), "out of view")],
)
def test_registered_movie_refuses_impossible_shifts(shifts: np.ndarray, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        RegisteredMovie(ArrayMovie(np.zeros((3, 8, 8), np.uint8)), shifts)


def test_shifts_are_found_to_a_tenth_of_a_pixel() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(-5, 5, (80, 2))
    movie = moving_movie(true)
    found = estimate_shifts(movie, trial_frames=whole(movie), exclude=np.zeros(80, bool))
    error = found.shifts_px - true
    error -= np.median(error, axis=0)  # the reference's own place is free
    assert np.percentile(np.abs(error), 95) < 0.15
    assert found.measured.all()
    assert found.findings == ()


def test_same_shifts_with_any_number_of_threads() -> None:
    movie = moving_movie(np.random.default_rng(0).uniform(-3, 3, (30, 2)))
    one, two = (
        estimate_shifts(movie, trial_frames=whole(movie), exclude=np.zeros(30, bool), workers=workers).shifts_px
        for workers in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_artefact_frames_get_interpolated_shifts_and_do_not_enter_the_reference() -> None:
    true = np.zeros((60, 2))
    true[:, 0] = np.linspace(-3, 3, 60)
    movie = moving_movie(true)
    frames = movie.read(0, 60)
    exclude = np.zeros(60, bool)
    exclude[20:30] = True
    frames[20:30, :48] = 60000  # light on half of the lines: its edge would be the strongest structure
    found = estimate_shifts(ArrayMovie(frames), trial_frames={"t": (0, 60)}, exclude=exclude)
    error = found.shifts_px - true
    assert np.abs(error - np.median(error, axis=0)).max() < 0.3
    np.testing.assert_array_equal(found.measured, ~exclude)


def test_shifts_are_not_interpolated_between_trials() -> None:
    true = np.repeat([[0.0, 0.0], [6.0, -6.0]], 30, axis=0)
    exclude = np.zeros(60, bool)
    exclude[25:30] = True
    movie = moving_movie(true)
    found = estimate_shifts(movie, trial_frames={"a": (0, 30), "b": (30, 60)}, exclude=exclude)
    relative = found.shifts_px - found.shifts_px[0]
    assert np.abs(relative[25:30]).max() < 0.3
    np.testing.assert_allclose(relative[31:], np.broadcast_to((6.0, -6.0), (29, 2)), atol=0.3)


def test_noise_frames_are_not_believed() -> None:
    rng = np.random.default_rng(3)
    movie = moving_movie(np.zeros((60, 2)))
    frames = movie.read(0, 60)
    frames[10:16] = rng.poisson(300, frames[10:16].shape)
    found = estimate_shifts(ArrayMovie(frames), trial_frames={"t": (0, 60)}, exclude=np.zeros(60, bool))
    assert not found.measured[10:16].any()
    assert np.abs(found.shifts_px - np.median(found.shifts_px, axis=0)).max() < 0.3


def test_movie_without_structure_is_left_alone_and_reported() -> None:
    frames = np.random.default_rng(0).poisson(50, (50, 64, 64)).astype(np.uint16)
    found = estimate_shifts(ArrayMovie(frames), trial_frames={"t": (0, 50)}, exclude=np.zeros(50, bool), reference_frames=25)
    assert [finding.code for finding in found.findings] == ["registration-unreliable"]


def test_constant_movie_has_no_shifts() -> None:
    movie = ArrayMovie(np.full((12, 40, 40), 7, np.uint16))
    found = estimate_shifts(movie, trial_frames=whole(movie), exclude=np.zeros(12, bool))
    np.testing.assert_array_equal(found.shifts_px, 0)
    assert "unregistered" in found.findings[0].message


def test_bin_frames_averages_blocks() -> None:
    frames = np.random.default_rng(0).integers(0, 65535, (2, 7, 9)).astype(np.uint16)
    expected = frames[:, :6, :8].reshape(2, 3, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(bin_frames(frames, 2), expected, rtol=1e-6)


def test_reference_is_sharper_than_the_mean_of_moving_frames() -> None:
    true = np.random.default_rng(5).uniform(-4, 4, (60, 2))
    frames = moving_movie(true).read(0, 60).astype(np.float32)
    assert make_reference(frames, (9, 12)).std() > 1.1 * frames.mean(axis=0).std()


def test_errors() -> None:
    movie = moving_movie(np.zeros((5, 2)))
    with pytest.raises(ParameterError, match="Every frame is marked"):
        estimate_shifts(movie, trial_frames=whole(movie), exclude=np.ones(5, bool))
    with pytest.raises(ParameterError, match="below 0.5"):
        estimate_shifts(movie, trial_frames=whole(movie), exclude=np.zeros(5, bool), max_shift_fraction=0.6)
    broken = np.full((5, 32, 32), np.nan, np.float32)
    with pytest.raises(ParameterError, match="NaN"):
        estimate_shifts(ArrayMovie(broken), trial_frames={"t": (0, 5)}, exclude=np.zeros(5, bool))


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.integers(1, 60))
def test_sample_frames_are_usable_and_distinct(mask: list[bool], wanted: int) -> None:
    exclude = np.array(mask)
    if exclude.all():
        return
    frames = sample_frames(exclude, wanted)
    assert not exclude[frames].any()
    assert len(set(frames.tolist())) == len(frames) == min(wanted, int((~exclude).sum()))


def test_registered_movie_keeps_what_is_known_of_the_movie() -> None:
    movie = moving_movie(np.zeros((3, 2)))
    view = RegisteredMovie(movie, np.zeros((3, 2)))
    assert (view.source, view.metadata, view.shape, view.dtype) == (movie.source, movie.metadata, movie.shape, movie.dtype)
