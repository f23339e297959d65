from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate import SimulationParameters
from packerlabimaging.simulate.parameters import max_stims


def test_the_standard_size_is_the_fixed_benchmark():
    p = SimulationParameters.of_size("standard")
    assert (p.frame_shape_px, p.nominal_rate_hz, p.n_frames) == ((512, 512), 30.0, 3000)
    assert p.n_cells >= 150 and (p.dim_fraction, p.overlapping_fraction) == (0.2, 0.1)
    assert (p.n_targets, p.n_groups, p.n_empty_targets, p.n_stims) == (36, 4, 4, 20)
    assert p.n_unresponsive_targets > 0 and p.n_network_cells > 0
    assert p == SimulationParameters()


def test_counts_follow_the_field_of_view_and_the_length():
    small = SimulationParameters.of_size(frame_shape_px=(128, 128))
    assert small.n_cells == 10  # 160 / 16
    assert small.n_targets == 2 and small.n_groups == 2 and small.n_stims == 20
    long = SimulationParameters.of_size(frame_shape_px=(128, 128), n_frames=30_000)
    assert long.n_stims > 200 and long.n_cells == 10
    assert SimulationParameters.of_size(frame_shape_px=(128, 128), n_cells=16, n_targets=8).n_targets == 8


@given(st.integers(300, 20_000), st.floats(20.0, 60.0), st.floats(1.6, 20.0))
@settings(max_examples=50)
def test_as_many_stims_as_fit(n_frames: int, rate_hz: float, interval_s: float):
    base = {"n_frames": n_frames, "true_rate_hz": rate_hz, "stim_interval_s": interval_s, "baseline_s": 2.0}
    p = SimulationParameters.of_size("standard", **base)
    last_end_s = 2.0 + (p.n_stims - 1) * interval_s + p.stim_duration_s
    assert last_end_s + 0.5 <= n_frames / rate_hz
    assert last_end_s + interval_s + 0.5 > n_frames / rate_hz - 0.2
    with pytest.raises(ParameterError, match="don't fit into"):
        SimulationParameters.of_size("standard", **base, n_stims=max_stims(vars(p)) + 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"n_cell": 3}, "'n_cell' is not a parameter.*Did you mean 'n_cells'"),
        ({"n_frames": 0}, "n_frames = 0 is out of range"),
        ({"dim_fraction": 1.5}, "dim_fraction = 1.5 is out of range"),
        ({"frame_shape_px": (100,)}, "frame_shape_px .* Give two positive numbers"),
        ({"n_cells": 5, "n_targets": 9, "n_empty_targets": 1}, "8 targets with a cell need as many cells"),
        ({"n_targets": 4, "n_empty_targets": 3, "n_unresponsive_targets": 2}, "is more than n_targets = 4"),
        ({"n_targets": 3, "n_groups": 4}, "can't form n_groups = 4"),
        ({"stim_interval_s": 1.2}, "stim_interval_s = 1.2 is too short"),
    ],
)
def test_impossible_parameters_are_refused(overrides: dict, message: str):
    with pytest.raises(ParameterError, match=message):
        SimulationParameters.of_size("standard", **overrides)


def test_an_unknown_size_is_refused():
    with pytest.raises(ParameterError, match="size = 'tinny' is not possible.*Did you mean 'tiny'"):
        SimulationParameters.of_size("tinny")
