"""Peri-stim averages, against averages computed here frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

import packerlabimaging.plotting as pl
from packerlabimaging.errors import ParameterError

pytest.importorskip("packerlabimaging.analysis.snippets")


def lines(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def expected_average(recording, rows, *, pre_s, post_s, baseline_s):
    """Mean over stims of the mean over ROIs, frames taken relative to the stim's frame; NaN where a value lacks."""
    first, _ = recording.clock.frames_at(recording.onsets)
    before, after = round(pre_s * recording.clock.rate_hz), round(post_s * recording.clock.rate_hz)
    offsets = np.arange(-before, after)
    dff = np.asarray(recording.cells.X)[rows].mean(axis=0) * 100
    snippets = dff[first[:, None] + offsets]
    in_baseline = (offsets < 0) & (offsets >= -round(baseline_s * recording.clock.rate_hz) + 1)
    snippets = snippets - snippets[:, in_baseline].mean(axis=1, keepdims=True)
    return offsets, snippets


def test_average_is_per_cent_over_stims(recording):
    rows = np.arange(recording.n_targets)
    ax = pl.peristim_average(recording.cells, stims=recording.responses, groups={"target": rows}, pre_s=1.0, post_s=3.0)
    (line,) = lines(ax)
    offsets, snippets = expected_average(recording, rows, pre_s=1.0, post_s=3.0, baseline_s=0.5)
    late = (line.get_xdata() > 0.8) & (line.get_xdata() < 2.9)
    expected = np.interp(line.get_xdata()[late], offsets / recording.clock.rate_hz, snippets.mean(axis=0))
    np.testing.assert_allclose(line.get_ydata()[late], expected, atol=4.0)
    assert ax.get_xlabel() == "time from stim onset (s)" and "%" in ax.get_ylabel()


def test_light_is_shaded_and_breaks_the_line(recording):
    ax = pl.peristim_average(recording.cells, stims=recording.responses)
    (line,) = lines(ax)
    within = (line.get_xdata() > 0.05) & (line.get_xdata() < 0.45)
    assert within.any() and np.all(np.isnan(line.get_ydata()[within]))
    span = next(c for c in ax.collections if c.get_label() == "stim (500 ms)")
    np.testing.assert_allclose(np.unique(span.get_paths()[0].vertices[:, 0]), [0.0, 0.5])


def test_groups_by_label_are_counted_and_empty_ones_left_out(recording):
    ax = pl.peristim_average(recording.cells, stims=recording.responses, groups=recording.responses.obs["population"])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:2] == ["target (4 ROIs, 5 stims)", "other (10 ROIs, 5 stims)"]
    groups = {"none": np.zeros(14, bool), "all": np.ones(14, bool)}
    assert len(lines(pl.peristim_average(recording.cells, stims=recording.responses, groups=groups))) == 1


def test_catch_stims_are_left_out(recording):
    stims = recording.responses.var.copy()
    stims["catch"] = [True, False, False, False, True]
    ax = pl.peristim_average(recording.cells, stims=stims)
    assert ax.get_legend().get_texts()[0].get_text() == "all ROIs (14 ROIs, 3 stims)"


def test_heatmap_has_targets_on_top_and_grey_where_there_is_light(recording):
    found = pl.peristim_heatmap(recording.cells, stims=recording.responses)
    values = found["heatmap"].images[0].get_array()
    assert len(values) == recording.cells.obs["iscell"].sum()
    left, right, *_ = found["heatmap"].images[0].get_extent()
    time = left + (np.arange(values.shape[1]) + 0.5) * (right - left) / values.shape[1]
    soon = (time > 0.7) & (time < 1.2)
    assert values[: recording.n_targets, soon].mean() > 20 > values[recording.n_targets :, soon].mean()
    assert np.all(values.mask[:, (time > 0.05) & (time < 0.45)])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stims": np.zeros(0)}, "no stim with light"),
        ({"stims": [3.0], "groups": {"none": np.zeros(14, bool)}}, "No group has any ROI"),
        ({"stims": [3.0], "groups": ["a", "b"]}, "groups has 2 items"),
        ({"stims": [3.0], "groups": {"half": np.zeros(7, bool)}}, "group 'half' has 7 items"),
    ],
)
def test_what_can_not_be_averaged_is_refused(recording, options, match):
    with pytest.raises(ParameterError, match=match):
        pl.peristim_average(recording.cells, **options)


def test_no_roi_to_show_is_refused(recording):
    with pytest.raises(ParameterError, match="no ROI to show"):
        pl.peristim_heatmap(recording.cells, stims=recording.responses, rois=np.zeros(14, bool))
