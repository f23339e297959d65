"""Responses and target match."""

from __future__ import annotations

import numpy as np
import pytest

import packerlabimaging.plotting as pl
from packerlabimaging.errors import ParameterError


def test_raster_is_sorted_by_mean_in_per_cent_and_symmetric_about_zero(recording):
    found = pl.response_raster(recording.responses)
    (shown,) = found["raster"].images
    values = np.asarray(shown.get_array())
    scores = np.asarray(recording.responses.X) * 100
    np.testing.assert_allclose(values, scores[np.argsort(-scores.mean(axis=1))], rtol=1e-5)
    low, high = shown.get_clim()
    assert low == -high
    assert found["colours"].get_ylabel() == "ΔF/F (%)"
    assert found["raster"].get_ylim()[0] > found["raster"].get_ylim()[1]  # the strongest on top


def test_stims_without_a_score_are_grey_and_rois_without_any_come_last(recording):
    responses = recording.responses.copy()
    responses.X[:, 1] = np.nan
    responses.X[0] = np.nan
    shown = pl.response_raster(responses)["raster"].images[0].get_array()
    assert np.all(shown.mask[:, 1]) and np.all(shown.mask[-1])
    assert not np.any(shown.mask[:-1, 0])


def test_side_bars_count_calls_and_populations(recording):
    found = pl.response_raster(recording.responses)
    labels = [text.get_text() for text in found["colours"].get_legend().get_texts()]
    assert labels[:4] == ["calls:", "excited (4)", "not called (9)", "suppressed (1)"]
    assert labels[4:] == ["population:", "other (10)", "target (4)"]
    assert len(found["calls"].images[0].get_array()) == recording.responses.n_obs


def test_a_score_that_is_no_fraction_keeps_its_unit(recording):
    responses = recording.responses.copy()
    responses.uns["packerlabimaging"] = {**responses.uns["packerlabimaging"], "unit": "z"}
    found = pl.response_raster(responses)
    assert found["colours"].get_ylabel() == "z"
    np.testing.assert_allclose(
        np.sort(found["raster"].images[0].get_array().data.ravel()), np.sort(responses.X.ravel()), rtol=1e-6
    )


def test_an_empty_table_is_refused(recording):
    with pytest.raises(ParameterError, match="at least one ROI and one stim"):
        pl.response_raster(recording.responses[:, :0])


def test_volcano_counts_and_names_what_it_needs(recording):
    ax = pl.response_volcano(recording.responses)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["not called (9)", "excited (4)", "suppressed (1)"]
    responses = recording.responses.copy()
    del responses.obs["pvalue_adjusted"]
    with pytest.raises(ParameterError, match="pvalue_adjusted"):
        pl.response_volcano(responses)


def test_an_roi_without_a_p_value_is_not_drawn_and_a_p_of_zero_is(recording):
    responses = recording.responses.copy()
    responses.obs.loc[responses.obs_names[:2], "pvalue_adjusted"] = [np.nan, 0.0]
    ax = pl.response_volcano(responses)
    excited = ax.collections[1].get_offsets()
    assert np.ma.getmaskarray(excited)[0].any() or np.isnan(np.asarray(excited)[0, 1])
    assert np.asarray(excited)[1, 1] == pytest.approx(2.0)
    assert ax.get_title("left") == "1 ROIs without a corrected p"


def test_rois_that_were_not_tested_are_told_from_those_not_called(recording):
    responses = recording.responses.copy()
    quiet = responses.obs_names[~(responses.obs["excited"] | responses.obs["suppressed"]).to_numpy(bool)]
    responses.obs.loc[quiet[:3], "pvalue_adjusted"] = np.nan  # not taken for cells: in no family of tests
    labels = [text.get_text() for text in pl.response_raster(responses)["colours"].get_legend().get_texts()]
    assert labels[1:5] == ["excited (4)", "not called (6)", "not tested (3)", "suppressed (1)"]
    labels = [text.get_text() for text in pl.response_volcano(responses).get_legend().get_texts()]
    assert labels == ["not called (6)", "excited (4)", "suppressed (1)"]


def test_target_match_counts_each_status(recording):
    ax = pl.target_match(recording.targets, gate_um=10.0)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(labels) == {
        "gate, 10 µm",
        "matched (3)",
        "unmatched (1, 1 without a distance)",
    }
    assert sum(patch.get_height() for patch in ax.patches) == 3
