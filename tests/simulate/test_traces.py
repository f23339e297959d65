"""Simulated traces: transients against their definition, truth against the traces themselves, what is added on top."""

from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.core.schema import check_table
from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate.activity import Events, transient
from packerlabimaging.simulate.traces import REST, TraceParameters, _filtered, simulate_traces

QUIET = {
    "burst_rate_hz": 0.0,
    "population_event_rate_hz": 0.0,
    "neuropil_dff": 0.0,
    "contamination": 0.0,
    "noise_dff": 0.0,
    "drift_dff": 0.0,
    "bleaching": 0.0,
    "artefact_dff": 0.0,
    "bleed_dff": 0.0,
}
"""Leaves nothing but the responses (0.1 sd of contamination over cells is of a neuropil at rest)."""


def test_filtered_traces_are_the_sum_of_all_transients():
    rng = np.random.default_rng(0)
    n = 60
    source, time_s = rng.integers(0, 3, n), rng.uniform(-3.0, 21.0, n)
    amplitude, none = rng.uniform(-1, 1, n), np.full(n, -1)
    decay, times = np.array([0.4, 0.7, 1.5]), np.arange(600) / 30 + 0.0123
    found = _filtered(Events(source, time_s, amplitude, none, none), decay, 0.05, times)
    for cell in range(3):
        expected = sum(
            amplitude[i] * transient(times - time_s[i], rise_s=0.05, decay_s=decay[cell]) for i in np.flatnonzero(source == cell)
        )
        assert np.allclose(found[cell], expected, atol=1e-5)


def test_the_truth_is_what_the_windows_of_noiseless_traces_show():
    traces = simulate_traces(n_cells=40, n_stims=12, n_groups=2, responder_fraction=0.2, failure_probability=0.3, **QUIET)
    times, F = traces.clock.starts_s, traces.F / np.float32(REST)
    F = F - F[:, :1]  # the neuropil at rest is constant
    for group in (0, 1):
        changes = []
        for _, stim in traces.stims[traces.stims["group"] == group].iterrows():
            onset = times[times <= stim["onset_s"]].max()
            pre = (times >= onset - 0.5 - 1e-6) & (times < onset - 1e-6)
            post = (times >= stim["end_s"]) & (times < stim["end_s"] + 0.5 - 1e-6)
            changes.append(F[:, post].mean(axis=1) - F[:, pre].mean(axis=1))
        truth = traces.truth[traces.truth["group"] == group]
        assert np.allclose(np.mean(changes, axis=0), truth["effect_dff"], rtol=0.15, atol=2e-3)  # saturation, one frame at most
        assert (truth["effect_dff"] > 0).sum() == truth["responds"].sum() == 8


def test_kinds_are_drawn_as_asked_and_told_apart():
    traces = simulate_traces(
        n_cells=100, n_stims=10, responder_fraction=0.2, network_fraction=0.25, suppressed_fraction=0.4, contaminated_fraction=0.1
    )
    truth = traces.truth
    assert truth["kind"].value_counts().to_dict() == {"none": 70, "direct": 15, "contamination": 10, "network": 5}
    assert truth["responds"].sum() == 20 and truth["network_driven"].sum() == 5
    assert (truth.loc[truth["kind"] == "network", "effect_dff"] < 0).sum() == 2
    assert (truth.loc[truth["kind"] == "none", "effect_dff"] == 0).all()
    assert (truth.loc[truth["kind"] == "contamination", "effect_dff"] != 0).any()


def test_light_lifts_its_frames_and_the_guard_frame_and_catch_stims_have_none():
    traces = simulate_traces(n_cells=10, n_stims=10, catch_fraction=0.3, responder_fraction=0.5, **QUIET | {"artefact_dff": 5.0})
    stims = traces.stims
    assert stims["catch"].sum() == 3
    for _, stim in stims.iterrows():
        first, _ = traces.clock.frames_at(np.array([stim["onset_s"], stim["end_s"]]))[0]
        lit = traces.F[:, first + 1].mean() - traces.F[:, first - 2].mean() > 3 * REST
        assert lit == (not stim["catch"]) == traces.artefact[first + 1]
    bled = simulate_traces(n_cells=10, n_stims=3, responder_fraction=0.0, **QUIET | {"bleed_dff": 2.0})
    assert np.array_equal(
        np.flatnonzero(bled.F[0] > 1.5 * bled.F[0, 0]), np.flatnonzero(np.diff(bled.artefact.astype(int)) == -1)
    )


def test_seeds_decide_everything_and_the_table_is_valid():
    first, again, other = (simulate_traces(n_cells=10, n_stims=3, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.F, again.F) and first.truth.equals(again.truth)
    assert not np.array_equal(first.F[:, :100], other.F[:, :100])
    table = check_table(first.to_cells(), "cells")
    assert np.array_equal(table.layers["F"], first.F) and abs(np.median(table.X)) < 0.05


def test_nulls_are_skewed_shared_and_bleach():
    traces = simulate_traces(n_cells=60, n_stims=10, responder_fraction=0.0, bleaching=0.3)
    dark = ~traces.artefact
    F = traces.F[:, dark] - 0.7 * traces.Fneu[:, dark]
    z = (F - F.mean(axis=1, keepdims=True)) / F.std(axis=1, keepdims=True)
    assert np.median((z**3).mean(axis=1)) > 0.3
    neuropil = np.corrcoef(traces.Fneu[:, dark])
    assert np.median(neuropil) > 0.5
    assert traces.F[:, dark][:, -300:].mean() / traces.F[:, dark][:, :300].mean() == pytest.approx(0.72, abs=0.06)


def test_tells_faults():
    with pytest.raises(ParameterError, match="Did you mean 'n_stims'"):
        simulate_traces(n_stim=3)
    with pytest.raises(ParameterError, match="responder_fraction = 2"):
        TraceParameters(responder_fraction=2.0)
    with pytest.raises(ParameterError, match="not both"):
        simulate_traces(TraceParameters(), n_cells=3)
    with pytest.raises(ParameterError, match="more than 1 together"):
        TraceParameters(responder_fraction=0.7, contaminated_fraction=0.5)
