from __future__ import annotations

import math

import numpy as np
import pytest

from packerlabimaging.core import ArrayMovie, RoiSet
from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.binning import MAX_BINNED_BYTES, bin_movie, choose_frames_per_bin
from packerlabimaging.segmentation.detection import Detection, active_sd, find_rois
from packerlabimaging.segmentation.evidence import measure_compactness, measure_halo
from packerlabimaging.segmentation.flattening import correlation_image, flatten

DIAMETER = (9.0, 9.0)
SHAPE = (72, 88)


def disc(center: tuple[float, float], radius: float = 4.5, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - center[0], x - center[1]) <= radius


def recording(footprints: list[np.ndarray], *, height: float = 3.0, n_bins: int = 240, seed: int = 0) -> np.ndarray:
    """Unit noise plus transients of each footprint at random times."""
    rng = np.random.default_rng(seed)
    bins = rng.standard_normal((n_bins, *footprints[0].shape))
    for footprint in footprints:
        trace = np.zeros(n_bins)
        for onset in rng.choice(n_bins - 6, 10, replace=False):
            trace[onset : onset + 6] += height * np.exp(-np.arange(6) / 2.0)
        bins += trace[:, None, None] * footprint
    return bins.astype(np.float16)


def search(bins: np.ndarray, **options: object) -> Detection:
    flatten(bins, DIAMETER, highpass_bins=80)
    arguments = {"diameter_px": DIAMETER, "valid": np.ones(bins.shape[1:], bool), "min_score": 9.0, "max_rois": 50, **options}
    return find_rois(bins, **arguments)  # type: ignore[arg-type]


def iou(rois: RoiSet, mask: np.ndarray) -> np.ndarray:
    """Of each ROI with a mask, counted pixel by pixel."""
    values = []
    for index in range(len(rois)):
        own = np.zeros(mask.shape, bool)
        own[rois.pixels(index)[:2]] = True
        values.append((own & mask).sum() / (own | mask).sum())
    return np.array(values)


def test_separate_cells_are_found_with_their_outlines() -> None:
    masks = [disc((20, 20)), disc((20, 60)), disc((52, 40))]
    found = search(recording([mask.astype(float) for mask in masks]))
    assert len(found.rois) == 3
    for mask in masks:
        assert iou(found.rois, mask).max() > 0.75
    for evidence in found.evidence:
        assert evidence.compactness < 1.1
        assert evidence.halo < 0.1
        assert evidence.reliability > 0.7


def test_overlapping_cells_are_told_apart() -> None:
    masks = [disc((36, 40)), disc((36, 47))]
    assert 0.1 < (masks[0] & masks[1]).sum() / masks[0].sum() < 0.4
    found = search(recording([mask.astype(float) for mask in masks], height=4.0))
    for mask in masks:
        assert iou(found.rois, mask).max() > 0.6


def test_noise_holds_no_cells() -> None:
    for seed in range(3):
        assert len(search(recording([np.zeros(SHAPE)], seed=seed)).rois) == 0


def test_blurred_source_is_no_compact_cell_in_focus() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    blob = np.exp(-0.5 * np.hypot(y - 36, x - 44) ** 2 / 8.0**2)
    for evidence in search(recording([blob])).evidence:
        assert evidence.compactness > 1.1 or evidence.halo > 0.15


def test_common_neuropil_is_no_cell() -> None:
    bins = recording([np.ones(SHAPE), disc((30, 30)).astype(float)], height=4.0)
    found = search(bins)
    assert iou(found.rois, disc((30, 30))).max() > 0.7
    assert len(found.rois) == 1


def test_cell_at_the_border_and_forbidden_border() -> None:
    mask = disc((2, 44))
    assert iou(search(recording([mask.astype(float)])).rois, mask).max() > 0.6
    valid = np.ones(SHAPE, bool)
    valid[:10] = False
    assert len(search(recording([mask.astype(float)]), valid=valid).rois) == 0


def test_search_ends_at_the_largest_number_of_rois() -> None:
    masks = [disc((20, 20)).astype(float), disc((20, 60)).astype(float)]
    assert len(search(recording(masks), max_rois=1).rois) == 1


def test_number_of_threads_changes_nothing() -> None:
    masks = [disc((20, 20)).astype(float), disc((20, 60)).astype(float)]
    outcomes = []
    for workers in (1, 3):
        bins = recording(masks)
        flatten(bins, DIAMETER, highpass_bins=80, workers=workers)
        outcomes.append(
            find_rois(bins, diameter_px=DIAMETER, valid=np.ones(SHAPE, bool), min_score=9.0, max_rois=50, workers=workers)
        )
    np.testing.assert_array_equal(outcomes[0].rois.flat_index, outcomes[1].rois.flat_index)
    np.testing.assert_array_equal(outcomes[0].images["score"], outcomes[1].images["score"])


def test_dead_pixels_and_constant_movies_are_survived() -> None:
    bins = recording([disc((30, 30)).astype(float)])
    bins[:, :, :8] = 0
    found = search(bins)
    assert np.isfinite(found.images["score"]).all()
    assert iou(found.rois, disc((30, 30))).max() > 0.7
    assert len(search(np.zeros((20, *SHAPE), np.float16)).rois) == 0


def test_correlation_image_is_the_correlation_with_the_neighbours() -> None:
    bins = recording([disc((12, 12), shape=(24, 26)).astype(float)], n_bins=60)
    image = correlation_image(bins)
    values = bins.astype(np.float64)
    for y, x in ((12, 12), (5, 20), (1, 1)):
        around = (values[:, y - 1 : y + 2, x - 1 : x + 2].sum(axis=(1, 2)) - values[:, y, x]) / 8
        assert image[y, x] == pytest.approx(np.corrcoef(around, values[:, y, x])[0, 1], abs=1e-3)


def test_flattening_gives_unit_noise_without_slow_changes() -> None:
    rng = np.random.default_rng(0)
    bins = 5.0 * rng.standard_normal((200, 40, 40)) + np.linspace(0, 60, 200)[:, None, None]
    bins = bins.astype(np.float16)
    flatten(bins, DIAMETER, highpass_bins=50)
    assert bins.astype(float).std() == pytest.approx(1.0, abs=0.05)
    assert abs(bins[:20].astype(float).mean()) < 0.05


def test_shape_measures() -> None:
    square = np.zeros((40, 40), bool)
    square[5:35, 18:22] = True
    assert measure_compactness(disc((20, 20), 9.0, (40, 40)), DIAMETER) == pytest.approx(1.0, abs=0.01)
    assert measure_compactness(square, DIAMETER) > 1.5
    y, x = np.mgrid[:80, :40]
    ellipse = ((y - 40) / 20) ** 2 + ((x - 20) / 10) ** 2 <= 1
    assert measure_compactness(ellipse, (20.0, 10.0)) == pytest.approx(1.0, abs=0.01)  # round in micrometres
    mask = disc((36, 44))
    assert measure_halo(mask.astype(float), mask, DIAMETER) == 0
    assert measure_halo(np.ones(SHAPE), mask, DIAMETER) == pytest.approx(1.0)


def test_bins_are_means_of_usable_frames() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(100, 200, (47, 6, 8)).astype(np.uint16)
    exclude = np.zeros(47, bool)
    exclude[[3, 4, 20]] = True
    frames[exclude] = 60000
    binned = bin_movie(ArrayMovie(frames), exclude=exclude, frames_per_bin=10, workers=2)
    usable = frames[~exclude].astype(float)
    assert binned.bins.shape == (4, 6, 8)
    for number, (start, stop) in enumerate([(0, 10), (10, 20), (20, 30), (30, 44)]):
        mean = binned.bins[number].astype(float) * binned.scale + binned.offset
        np.testing.assert_allclose(mean, usable[start:stop].mean(axis=0), atol=0.05)
    np.testing.assert_allclose(binned.mean, usable.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(binned.max, usable.max(axis=0))


def test_bins_do_not_depend_on_chunks_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).integers(0, 1000, (53, 6, 8)).astype(np.uint16)
    whole = bin_movie(ArrayMovie(frames), exclude=np.zeros(53, bool), frames_per_bin=7)
    monkeypatch.setattr("packerlabimaging.core.streaming.CHUNK_BYTES", 6 * 8 * 2 * 3)
    pieces = bin_movie(ArrayMovie(frames), exclude=np.zeros(53, bool), frames_per_bin=7, workers=3)
    np.testing.assert_array_equal(whole.bins, pieces.bins)


def test_mean_sub_pixel_shift_of_a_bin_is_undone() -> None:
    ramp = np.tile(np.arange(20.0), (12, 1)) * 10 + 100
    frames = np.stack([ramp - 10 * 0.4] * 10 + [ramp] * 10).astype(np.float32)  # content 0.4 px to the right, then in place
    residuals = np.repeat([[0.0, 0.4], [0.0, 0.0]], 10, axis=0)
    binned = bin_movie(ArrayMovie(frames), exclude=np.zeros(20, bool), frames_per_bin=10, residuals_px=residuals)
    first, second = (bin.astype(float) * binned.scale + binned.offset for bin in binned.bins)
    np.testing.assert_allclose(first[:, 1:-1], second[:, 1:-1], atol=0.02)


def test_mostly_empty_frame_keeps_its_signal() -> None:
    frames = np.zeros((40, 20, 20), np.uint16)
    frames[:, 8:12, 8:12] = np.random.default_rng(0).poisson(1000, (40, 4, 4))
    frames[20:30, 8:12, 8:12] += 500
    binned = bin_movie(ArrayMovie(frames), exclude=np.zeros(40, bool), frames_per_bin=10)
    values = binned.bins.astype(float) * binned.scale + binned.offset
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[2, 8:12, 8:12], frames[20:30, 8:12, 8:12].mean(axis=0), rtol=1e-2)


def test_movie_with_nan_is_refused() -> None:
    frames = np.ones((10, 6, 6), np.float32)
    frames[4, 2, 2] = np.nan
    with pytest.raises(ParameterError, match="NaN or infinite"):
        bin_movie(ArrayMovie(frames), exclude=np.zeros(10, bool), frames_per_bin=2)


@pytest.mark.parametrize("n_frames", [100, 3000, 54_000, 10_000_000])
def test_binned_movie_is_bounded_whatever_the_length(n_frames: int) -> None:
    per_bin = choose_frames_per_bin(n_frames, (512, 512), 10)
    assert per_bin >= 10
    assert 2 * 512 * 512 * (n_frames / per_bin) <= MAX_BINNED_BYTES


@pytest.mark.parametrize("n_bins", [20, 300, 2000])
def test_noise_passes_for_active_as_often_in_long_as_in_short_recordings(n_bins: int) -> None:
    sd = float(active_sd(n_bins))
    expected = n_bins * 0.5 * math.erfc(sd / math.sqrt(2))
    assert expected <= 0.5
    assert sd == pytest.approx(3.0, abs=0.01) if n_bins == 300 else sd >= 2


def test_noise_of_a_long_recording_holds_no_cells() -> None:
    assert len(search(recording([np.zeros(SHAPE)], n_bins=1500)).rois) == 0
