"""Decimation: nothing that stands out may get lost, whatever the lengths and chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core import signals
from packerlabimaging.core.signals import ArrayChannel
from packerlabimaging.plotting import _envelope
from packerlabimaging.plotting._envelope import bin_edges, channel_envelope, envelope, trace_line, zigzag

VALUES = st.lists(st.one_of(st.floats(-100, 100, width=32), st.just(np.nan)), min_size=1, max_size=300).map(np.array)


@given(n_samples=st.integers(1, 10_000), n_bins=st.integers(1, 500))
def test_bins_cover_all_samples_once_and_none_is_empty(n_samples, n_bins):
    edges = bin_edges(n_samples, n_bins)
    assert edges[0] == 0 and edges[-1] == n_samples
    assert np.all(np.diff(edges) >= 1)
    assert len(edges) - 1 == min(n_samples, n_bins)


@given(values=VALUES, n_bins=st.integers(1, 40))
def test_envelope_is_the_extremes_of_each_bin(values, n_bins):
    edges, low, high = envelope(values, n_bins)
    for index, (first, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        finite = [value for value in values[first:stop] if not np.isnan(value)]
        if finite:
            assert low[index] == min(finite) and high[index] == max(finite)
        else:
            assert np.isnan(low[index]) and np.isnan(high[index])


@settings(deadline=None)
@given(values=VALUES, n_bins=st.integers(1, 40), chunk=st.integers(1, 50), data=st.data())
def test_reading_in_chunks_gives_the_same(values, n_bins, chunk, data):
    start = data.draw(st.integers(0, len(values) - 1))
    stop = data.draw(st.integers(start + 1, len(values)))
    channel = ArrayChannel("c", values, rate_hz=10.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_envelope, "CHUNK_SAMPLES", chunk)
        edges, low, high = channel_envelope(channel, start, stop, n_bins)
    expected_edges, expected_low, expected_high = envelope(values[start:stop].astype(np.float32), n_bins)
    np.testing.assert_array_equal(edges, expected_edges + start)
    np.testing.assert_array_equal(low, expected_low)
    np.testing.assert_array_equal(high, expected_high)


def test_a_channel_is_never_read_whole():
    longest = 0

    class Watched(ArrayChannel):
        def _read(self, start, stop):
            nonlocal longest
            longest = max(longest, stop - start)
            return super()._read(start, stop)

    values = np.zeros(3 * signals.CHUNK_SAMPLES + 17, np.float32)
    values[2 * signals.CHUNK_SAMPLES + 5] = 5.0
    _, _, high = channel_envelope(Watched("c", values, rate_hz=1000.0), 0, len(values))
    assert longest == signals.CHUNK_SAMPLES
    assert np.sum(high == 5.0) == 1


def test_zigzag_passes_every_minimum_and_maximum():
    x, y = zigzag(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.testing.assert_array_equal(x, [0, 0, 1, 1])
    np.testing.assert_array_equal(y, [1, 3, 2, 4])


@pytest.mark.parametrize("n_bins", [1000, 20])
def test_a_line_breaks_at_gaps_in_time(n_bins):
    times = np.concatenate([np.arange(100) * 0.1, 60 + np.arange(100) * 0.1])
    x, y = trace_line(times, np.ones(200), gap_s=0.15, n_bins=n_bins)
    between = np.flatnonzero(np.isnan(y))[0]
    assert x[between] < 10 and x[between + 1] >= 60
    assert np.nanmax(x) <= times[-1]


def test_a_short_trace_is_drawn_as_it_is_with_its_nan():
    times, values = np.arange(5.0), np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    x, y = trace_line(times, values, gap_s=1.5)
    np.testing.assert_array_equal(x[:5], times)
    np.testing.assert_array_equal(y[:5], values)


def test_one_peak_in_a_long_trace_survives():
    values = np.zeros(100_000)
    values[54_321] = 7.0
    x, y = trace_line(np.arange(100_000) * 0.03, values, gap_s=0.05)
    assert np.nanmax(y) == 7.0
    assert len(x) < 4_000
    assert abs(x[np.nanargmax(y)] - 54_321 * 0.03) < 100_000 * 0.03 / 1000
