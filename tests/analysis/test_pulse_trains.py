"""Trains of pulses: against a plain loop, and on the flashes of an LED."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import packerlabimaging as pli
from packerlabimaging.analysis.pulse_trains import group_pulses
from packerlabimaging.analysis.pulses import detect_pulses
from packerlabimaging.core.events import Events
from packerlabimaging.core.signals import ArrayChannel
from packerlabimaging.errors import ParameterError


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 20)), max_size=40),
    st.integers(1, 40),
    st.sampled_from([1.0, 1000.0, 20_000.0]),
)
def test_equals_a_plain_loop(steps, gap, rate):
    """Pauses and widths are whole samples, so that pauses as long as the gap occur."""
    trains, onset = [], 0
    end = -(10**6)
    for pause, width in steps:
        onset = max(end, 0) + pause
        if pause > gap or not trains:
            trains.append([])
        end = onset + width
        trains[-1].append((onset, end))
    pulses = [pulse for train in trains for pulse in train]
    times = np.array(pulses, float).reshape(-1, 2) / rate
    grouped = group_pulses(Events(times[:, 0], times[:, 1], "led"), gap_s=gap / rate)
    assert grouped.n_pulses.tolist() == [len(train) for train in trains]
    np.testing.assert_array_equal(grouped.onsets_s, [train[0][0] / rate for train in trains])
    np.testing.assert_array_equal(grouped.ends_s, [train[-1][1] / rate for train in trains])
    for train, width, per_second in zip(trains, grouped.pulse_width_s, grouped.rate_hz, strict=True):
        assert width == pytest.approx(np.median([end - onset for onset, end in train]) / rate)
        if len(train) == 1:
            assert np.isnan(per_second)
        else:
            assert per_second == pytest.approx((len(train) - 1) * rate / (train[-1][0] - train[0][0]))


def test_flashes_of_an_led_in_a_recording():
    rate, onsets = 5000.0, np.concatenate([start + np.arange(10) * 250 for start in (10_000, 60_000, 110_000)])
    values = np.zeros(150_000)
    for onset in onsets:
        values[onset : onset + 50] = 0.8
    flashes = detect_pulses(ArrayChannel("opto_loopback", values, rate_hz=rate, unit="V"))
    trains = pli.tl.group_pulses(flashes, gap_s=1.0)
    np.testing.assert_allclose(trains.onsets_s, [2.0, 12.0, 22.0])
    np.testing.assert_allclose(trains.ends_s, [2.0 + 0.46, 12.46, 22.46])
    assert trains.to_frame().columns.tolist() == ["onset_s", "end_s", "n_pulses", "pulse_width_s", "rate_hz"]
    assert trains.to_frame()["n_pulses"].tolist() == [10, 10, 10]
    np.testing.assert_allclose(trains.pulse_width_s, 0.01)
    np.testing.assert_allclose(trains.rate_hz, 20.0)
    assert (trains.name, trains.findings) == ("opto_loopback", ())


def test_what_is_odd_about_trains_is_told():
    onsets = np.concatenate([np.arange(5), 20 + np.arange(5), 40 + np.arange(4)]) * 1.0
    trains = group_pulses(Events(onsets, onsets + 0.1), gap_s=2)
    (finding,) = trains.findings
    assert (finding.code, finding.evidence["trains"], finding.evidence["n_pulses"]) == ("unequal-trains", [2], [4])
    onsets = np.array([0, 1, 2.5, 3.5])
    assert [finding.code for finding in group_pulses(Events(onsets, onsets + 0.1), gap_s=1).findings] == ["gap-not-clear"]


def test_pulses_without_ends_and_none_at_all():
    trains = group_pulses(Events(np.array([0, 1, 5.0])), gap_s=2)
    assert (trains.onsets_s.tolist(), trains.ends_s.tolist(), trains.pulse_width_s.tolist()) == ([0, 5], [1, 5], [0, 0])
    assert len(group_pulses(Events(np.zeros(0)), gap_s=2)) == 0
    with pytest.raises(ParameterError, match="gap_s"):
        group_pulses(Events(np.zeros(0)), gap_s=0)
