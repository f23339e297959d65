"""Images: orientation, scale, outlines, targets."""

from __future__ import annotations

import numpy as np
import pytest

import packerlabimaging.plotting as pl
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError


def bar_length_px(ax):
    line = next(line for line in ax.lines if len(line.get_xdata()) == 2)
    return abs(float(np.diff(line.get_xdata())[0]))


def test_y_is_down_and_pixel_centres_are_integers():
    image = np.zeros((3, 5))
    image[2, 4] = 1.0
    ax = pl.image(image, percentiles=(0, 100))
    assert ax.get_ylim() == (2.5, -0.5) and ax.get_xlim() == (-0.5, 4.5)
    assert ax.images[0].get_extent() == [-0.5, 4.5, 2.5, -0.5]
    assert ax.get_xlabel() == "x (px)" and ax.get_ylabel() == "y (px)"


def test_scale_bar_has_its_length_in_the_x_pixel_size():
    ax = pl.image(np.random.default_rng(0).random((64, 100)), pixel_size_um=(4.0, 2.0), scale_bar_um=50.0)
    assert bar_length_px(ax) == pytest.approx(25.0)
    assert [text.get_text() for text in ax.texts] == ["50 µm"]
    assert ax.get_aspect() == pytest.approx(2.0)


def test_scale_bar_is_a_round_number_by_default():
    ax = pl.image(np.random.default_rng(0).random((512, 512)), pixel_size_um=(2.18458, 2.18458))
    assert ax.texts[0].get_text() == "200 µm"  # a fifth of 1118 um is 224
    assert bar_length_px(ax) == pytest.approx(200 / 2.18458)


def test_nan_pixels_are_masked_and_a_flat_image_is_shown():
    image = np.full((4, 4), 3.0)
    image[0, 0] = np.nan
    shown = pl.image(image).images[0]
    assert shown.get_array().mask[0, 0] and not shown.get_array().mask[1, 1]
    assert shown.get_clim()[0] < shown.get_clim()[1]


@pytest.mark.parametrize(
    ("image", "match"), [(np.zeros((2, 3, 4)), "2 dimensions"), (np.full((2, 2), np.nan), "no finite pixel")]
)
def test_what_is_no_image_is_refused(image, match):
    with pytest.raises(ParameterError, match=match):
        pl.image(image)


def outline_points(ax):
    segments = [path.vertices for collection in ax.collections for path in collection.get_paths()]
    return np.concatenate(segments)


def test_outlines_lie_around_the_pixels_also_at_the_border():
    rois = RoiSet.from_pixels((20, 30), [(np.array([0, 0, 1, 1]), np.array([28, 29, 28, 29]))])
    ax = pl.image(np.random.default_rng(0).random((20, 30)))
    pl.roi_outlines(rois, ax=ax)
    points = outline_points(ax)
    assert points[:, 0].min() == 27.5 and points[:, 0].max() == 29.5
    assert points[:, 1].min() == -0.5 and points[:, 1].max() == 1.5


def test_a_hole_has_an_outline_of_its_own():
    y, x = np.nonzero(np.pad(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]), 3))
    ax = pl.image(np.random.default_rng(0).random((9, 9)))
    pl.roi_outlines(RoiSet.from_pixels((9, 9), [(y, x)]), ax=ax)
    assert len(ax.collections[0].get_paths()) == 2


def ellipses(ax):
    from matplotlib.collections import EllipseCollection

    return [collection for collection in ax.collections if isinstance(collection, EllipseCollection)]


def test_targets_stand_at_their_place_with_their_size(recording):
    ax = pl.fov(
        recording.image, rois=recording.rois, targets=np.array([[10.0, 90.0]]), pixel_size_um=(1.2, 1.2), target_diameter_um=24.0
    )
    (ring,) = ellipses(ax)
    np.testing.assert_array_equal(ring.get_offsets(), [[90.0, 10.0]])
    assert ring.get_widths()[0] == pytest.approx(20.0) and ring.get_heights()[0] == pytest.approx(20.0)


def test_groups_have_colours_and_the_legend_counts(recording):
    ax = pl.fov(recording.image, rois=recording.rois, targets=recording.targets)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["ROIs (n = 14)", "group 0 (n = 2)", "group 1 (n = 2)", "matched (n = 3)", "unmatched (n = 1)"]
    colors = {tuple(color) for ring in ellipses(ax) for color in ring.get_edgecolors()}
    assert len(colors) == 2


def test_unmatched_targets_are_crossed_out(recording):
    ax = pl.fov(recording.image, targets=recording.targets)
    from matplotlib.collections import PathCollection

    (crosses,) = [collection for collection in ax.collections if isinstance(collection, PathCollection)]
    lost = recording.targets.obs[recording.targets.obs["status"] == "unmatched"]
    np.testing.assert_allclose(crosses.get_offsets(), lost[["x_px", "y_px"]])


def test_groups_are_listed_by_number():
    import pandas as pd

    targets = pd.DataFrame({"y_px": np.arange(12.0), "x_px": np.arange(12.0), "group": [str(index) for index in range(12)]})
    ax = pl.fov(np.random.default_rng(0).random((20, 20)), targets=targets)
    labels = [text.get_text().split(" (")[0] for text in ax.get_legend().get_texts()]
    assert labels == [f"group {index}" for index in range(12)]


def test_rois_of_another_frame_size_are_refused(recording):
    with pytest.raises(ParameterError, match=r"frames of \(96, 128\) px, the image has \(128, 96\)"):
        pl.fov(recording.image.T, rois=recording.rois)


def test_bad_targets_are_refused(recording):
    with pytest.raises(ParameterError, match=r"shape \(4, 5\)"):
        pl.fov(recording.image, targets=np.zeros((4, 5)))
    with pytest.raises(ParameterError, match="no column x_px"):
        pl.fov(recording.image, targets=recording.targets.obs[["y_px"]])


def test_comparison_counts_and_refuses_unequal_lengths(recording):
    given = {"true_rois": recording.rois, "found_rois": recording.rois.subset(np.arange(10))}
    found = pl.comparison(
        recording.image, **given, true_response=[0.0, 0.0, 0.5, 0.4], measured_response=[0.1, 0.3, 0.4, 0.0],
        driven=[False, False, True, True], called=[False, True, True, False],
    )  # fmt: skip
    labels = [text.get_text() for text in found["responses"].get_legend().get_texts()]
    assert labels[:4] == ["not driven, not called (1)", "driven, missed (1)", "driven, called (1)", "not driven, but called (1)"]
    called = found["responses"].collections[2].get_offsets()
    np.testing.assert_allclose(called, [[50.0, 40.0]])
    with pytest.raises(ParameterError, match="called has 1 items"):
        pl.comparison(
            recording.image, **given, true_response=[0.0, 1.0], measured_response=[0.0, 1.0], driven=[True, False], called=[True]
        )


@pytest.mark.parametrize("wrong", [{"mean": np.zeros((3, 3))}, "mean.tif"])
def test_what_is_no_image_is_told(wrong):
    with pytest.raises(ParameterError, match="not an array of numbers .* trial.images"):
        pl.fov(wrong)
