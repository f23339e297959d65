"""Signals on frames: every sample of a frame counts, once, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging._provenance import history
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.signals import ArrayChannel, Signals
from packerlabimaging.errors import AmbiguousInputError, ParameterError
from packerlabimaging.preprocessing import add_signal
from packerlabimaging.preprocessing.signals import average_over_frames


def oracle(channel, clock, function):
    times = channel.time_of(np.arange(channel.n_samples))
    values = channel.read()
    found = []
    for start, end in zip(clock.starts_s, clock.ends_s, strict=True):
        inside = values[(times >= start - 1e-9) & (times < end - 1e-9)]
        inside = inside[np.isfinite(inside)]
        found.append(function(inside) if len(inside) else np.nan)
    return np.array(found)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), start_s=st.floats(-1, 3), chunk=st.integers(1, 60), rate=st.sampled_from([7.0, 50.0, 100.0]))
def test_equals_a_loop_over_frames_for_any_chunks(seed, start_s, chunk, rate):
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.choice([0.1, 0.11, 0.5], 30))
    clock = FrameClock(starts)
    values = rng.normal(size=300)
    values[rng.random(300) < 0.05] = np.nan
    channel = ArrayChannel("pupil", values, rate_hz=rate, start_s=round(start_s, 2) + 0.0013)

    class Chunked(ArrayChannel):
        def chunks(self, n_samples=chunk):
            return super().chunks(n_samples)

    channel.__class__ = Chunked
    for statistic, function in (("mean", np.mean), ("min", np.min), ("max", np.max)):
        found = average_over_frames(channel, clock, statistic=statistic)
        assert np.allclose(found, oracle(channel, clock, function), equal_nan=True, atol=1e-5)
    found = average_over_frames(channel, clock, statistic="any", threshold=0.5)
    assert np.allclose(found, oracle(channel, clock, lambda v: float((v > 0.5).any())), equal_nan=True)


def make_cells(n=10):
    return AnnData(np.zeros((1, n), np.float32), var=pd.DataFrame(index=[str(i) for i in range(n)]))


def test_adds_a_column_and_its_provenance():
    cells = make_cells()
    channel = ArrayChannel("wheel", np.arange(40, dtype=float), rate_hz=40.0)
    add_signal(cells, channel, FrameClock(np.arange(10) / 10), key_added="speed")
    assert cells.var["speed"].tolist() == [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5, 33.5, 37.5]
    assert history(cells)[-1]["parameters"]["channel"] == "wheel"


def test_a_short_pulse_between_point_samples_is_seen_and_missing_samples_are_nan():
    values = np.zeros(1000)
    values[333] = 5.0
    channel = ArrayChannel("ttl", values, rate_hz=100.0)
    found = average_over_frames(channel, FrameClock(np.arange(12) * 1.0), statistic="any", threshold=2.5)
    assert np.flatnonzero(found == 1).tolist() == [3]
    assert np.isnan(found[10:]).all()


def test_signals_with_one_channel_are_taken_and_with_several_refused():
    one = ArrayChannel("a", np.ones(100), rate_hz=10.0)
    cells = make_cells()
    clock = FrameClock(np.arange(10) * 1.0)
    add_signal(cells, Signals([one]), clock, key_added="a")
    assert (cells.var["a"] == 1).all()
    with pytest.raises(AmbiguousInputError, match="2 channels: a, b"):
        add_signal(cells, Signals([one, ArrayChannel("b", np.ones(3), rate_hz=1.0)]), clock, key_added="a")


def test_refuses_the_wrong_clock_and_a_ttl_without_threshold():
    channel = ArrayChannel("a", np.ones(100), rate_hz=10.0)
    with pytest.raises(ParameterError, match="clock has 9 frames and the table 10"):
        add_signal(make_cells(), channel, FrameClock(np.arange(9) * 1.0), key_added="a")
    with pytest.raises(ParameterError, match="threshold with 'any'"):
        average_over_frames(channel, FrameClock(np.arange(9) * 1.0), statistic="any")
