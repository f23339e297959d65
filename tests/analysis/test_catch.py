"""Thresholds from catch stims: the rate that they promise, in fresh stims, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from packerlabimaging._provenance import UNS_KEY
from packerlabimaging.analysis import compute_responses
from packerlabimaging.analysis.catch import calibrate_thresholds
from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate.traces import simulate_traces


@pytest.mark.parametrize("n_catch", [10, 20, 50])
def test_fresh_stims_pass_at_the_stated_rate(n_catch):
    rates = []
    for session in range(8):
        rng = np.random.default_rng(session)
        scores = rng.gamma(2.0, 1.0, (200, n_catch + 50)) * rng.uniform(0.5, 3, (200, 1)) + rng.normal(0, 2, (200, 1))
        limits = calibrate_thresholds(scores[:, :n_catch], rng=rng)
        fresh = scores[:, n_catch:]
        rates.append([np.mean(fresh > limits.high[:, None]), np.mean(fresh < limits.low[:, None])])
    assert np.all(np.abs(np.mean(rates, axis=0) - 0.05) < 0.02)


def test_thresholds_are_mean_and_scaled_sd_of_the_catch_scores():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(100, 20))
    limits = calibrate_thresholds(scores, rng=rng)
    assert np.allclose(limits.high, scores.mean(axis=1) + limits.scale_high * scores.std(axis=1, ddof=1))
    assert np.allclose(limits.low, scores.mean(axis=1) - limits.scale_low * scores.std(axis=1, ddof=1))
    assert 1.5 < limits.scale_high < 2.2  # 1.645 for a known sd


def test_rois_and_stims_without_scores_take_no_part():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 12))
    whole = calibrate_thresholds(scores, rng=np.random.default_rng(1))
    scores = np.vstack([scores, np.zeros((1, 12)), np.full((1, 12), np.nan)])
    scores = np.column_stack([scores, np.full(52, np.nan)])
    part = calibrate_thresholds(scores, rng=np.random.default_rng(1))
    assert np.array_equal(part.high[:50], whole.high) and part.n_catch == 12
    assert np.isnan(part.high[50:]).all()


def test_too_few_catch_stims_and_impossible_rates_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ParameterError, match=r"There are 4 catch stims.*at least 5"):
        calibrate_thresholds(rng.normal(size=(50, 4)), rng=rng)
    spikes = np.zeros((200, 20))
    spikes[np.arange(200), rng.integers(0, 20, 200)] = 1.0
    with pytest.raises(ParameterError, match="No threshold from 1 to 3 sd gives 5% false positives"):
        calibrate_thresholds(spikes, rng=rng)


def codes(table):
    return [json.loads(finding)["code"] for finding in table.uns[UNS_KEY]["findings"]]


def test_the_preset_calls_single_stims_and_no_roi():
    traces = simulate_traces(n_cells=40, n_stims=40, catch_fraction=0.5, responder_fraction=0.2, response_dff=1.5, seed=3)
    table = compute_responses(traces.to_cells(), traces.stims, preset="dalgleish2020", overrides={"post_start_s": 0.6})
    catch, responds = traces.stims["catch"].to_numpy(), traces.truth["responds"].to_numpy()
    called = table.layers["responded"] & (table.X > 0)
    assert called[responds][:, ~catch].mean() > 0.4
    assert 0.01 < called[~responds][:, ~catch].mean() < 0.12
    assert not table.obs["excited"].any() and table.obs["pvalue"].isna().all()
    assert (table.obs["n_valid"] == 20).all() and "thresholds-from-catch" in codes(table)
    times, F = traces.clock.starts_s, traces.F[0] - 0.7 * traces.Fneu[0]
    onset = traces.stims["onset_s"].iloc[5]
    pre = F[(times >= onset - 1.0) & (times < times[times <= onset].max()) & ~traces.artefact]
    post = F[(times >= onset + 0.6) & (times < onset + 1.0) & ~traces.artefact]
    assert table.X[0, 5] == pytest.approx((post.mean() - pre.mean()) / pre.std(), rel=1e-3)


def test_catch_stims_are_demanded_few_are_told_and_shams_take_their_place_only_when_asked():
    traces = simulate_traces(n_cells=20, n_stims=12, responder_fraction=0.0)
    cells = traces.to_cells()
    with pytest.raises(ParameterError, match=r"There are 0 catch stims.*catch_source = 'sham'"):
        compute_responses(cells, traces.stims, preset="dalgleish2020")
    table = compute_responses(cells, traces.stims, preset="dalgleish2020", overrides={"catch_source": "sham"})
    assert "thresholds-from-sham" in codes(table)
    few = traces.stims.assign(catch=np.arange(12) < 7)
    assert "few-catch-stims" in codes(compute_responses(cells, few, preset="dalgleish2020"))


def test_light_in_the_window_is_refused_by_name():
    traces = simulate_traces(n_cells=5, n_stims=6, stim_duration_s=0.8, catch_fraction=0.5, responder_fraction=0.0)
    with pytest.raises(ParameterError, match=r"lasts 0\.800 s.*opens 0\.6 s after its onset.*Override post_start_s"):
        compute_responses(traces.to_cells(), traces.stims, preset="dalgleish2020")
