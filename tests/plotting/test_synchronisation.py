"""Signals and frame clock."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import packerlabimaging.plotting as pl
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.events import Events
from packerlabimaging.core.signals import ArrayChannel, Signals
from packerlabimaging.errors import MissingInputError, ParameterError


def test_every_channel_has_a_panel_with_name_and_unit(recording):
    found = pl.signals(recording.signals)
    assert list(found) == ["frame_clock", "markpoints2packio", "voltage"]
    assert found["voltage"].get_ylabel() == "voltage\n(V)" and found["voltage"].get_xlabel() == "time (s)"


def test_pulses_of_one_sample_stay_visible_in_a_long_recording(recording):
    line = pl.signals(recording.signals, channels=["markpoints2packio"])["markpoints2packio"].lines[0]
    x, y = line.get_xdata(), line.get_ydata()
    assert len(x) < len(recording.signals["markpoints2packio"]) / 10
    peaks = x[y == 5.0]
    assert len(peaks) == len(recording.onsets)
    np.testing.assert_allclose(peaks, recording.onsets, atol=recording.signals.duration_s / 1000)


def test_events_are_ticks_at_their_times_and_very_many_are_bars(recording):
    events = {"frame_clock": recording.clock.starts_s, "markpoints2packio": Events(recording.onsets, recording.ends)}
    found = pl.signals(recording.signals, events=events)
    ticks = [path.vertices[0, 0] for path in found["markpoints2packio"].collections[0].get_paths()]
    np.testing.assert_allclose(ticks, recording.onsets)
    (bar,) = found["frame_clock"].collections[0].get_paths()
    np.testing.assert_allclose(bar.vertices[:, 0], recording.clock.starts_s[[0, -1]])
    assert found["frame_clock"].get_ylabel() == "frame_clock\n(V)\n900 events"


def test_blocks_of_events_are_told_apart(recording):
    ticks = np.concatenate([1.0 + np.arange(400) * 0.03, 18.0 + np.arange(400) * 0.03])
    panel = pl.signals(recording.signals, channels=["frame_clock"], events={"frame_clock": ticks})["frame_clock"]
    bars = [path.vertices[:, 0] for path in panel.collections[0].get_paths()]
    np.testing.assert_allclose(bars, [[1.0, ticks[399]], [18.0, ticks[-1]]])


def test_a_time_range_reads_only_that_range():
    class Guarded(ArrayChannel):
        def _read(self, start, stop):
            assert start >= 1000 and stop <= 2000
            return super()._read(start, stop)

    pl.signals(Signals([Guarded("a", np.zeros(10_000), rate_hz=1000.0)]), start_s=1.0, stop_s=2.0)


def test_a_zoom_is_a_second_column_on_the_same_scale(recording):
    found = pl.signals(recording.signals, zoom_s=(4.0, 5.0))
    assert list(found)[3:] == ["frame_clock (zoom)", "markpoints2packio (zoom)", "voltage (zoom)"]
    assert found["voltage (zoom)"].get_xlim() == (4.0, 5.0)
    assert found["voltage (zoom)"].get_ylim() == found["voltage"].get_ylim()


def test_channels_with_other_rates_and_starts_share_the_time_axis():
    slow = ArrayChannel("slow", np.arange(10), rate_hz=1.0, start_s=100.0)
    found = pl.signals(Signals([ArrayChannel("fast", np.zeros(50_000), rate_hz=1000.0), slow]))
    assert found["slow"].get_xlim() == (0.0, 110.0) == found["fast"].get_xlim()
    np.testing.assert_allclose(found["slow"].lines[0].get_xdata(), 100.0 + np.arange(10))


def test_a_channel_without_samples_in_the_range_says_so():
    found = pl.signals(Signals([ArrayChannel("a", np.zeros(10), rate_hz=10.0)]), start_s=5.0, stop_s=6.0)
    assert found["a"].texts[0].get_text() == "not recorded at this time"


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"channels": ["voltag"]}, MissingInputError, "Did you mean 'voltage'"),
        ({"channels": []}, ParameterError, "no channel to show"),
        ({"events": {"other": [1.0]}}, ParameterError, "'other', which is not shown"),
        ({"start_s": 3.0, "stop_s": 3.0}, ParameterError, "stop_s - start_s"),
        ({"zoom_s": (3.0, 2.0)}, ParameterError, "zoom_s"),
    ],
)
def test_what_does_not_exist_is_refused(recording, options, error, match):
    with pytest.raises(error, match=match):
        pl.signals(recording.signals, **options)


def test_drift_is_measured_minus_nominal():
    clock = FrameClock(10.0 + np.arange(301) / 29.75)
    found = pl.clock(clock, nominal_rate_hz=30.19)
    drift = found["drift"].lines[1]
    assert drift.get_ydata()[0] == 0.0
    assert drift.get_ydata()[300] == pytest.approx(300 / 29.75 - 300 / 30.19)
    assert "30.19 Hz" in found["drift"].get_title("left")


def test_an_audit_is_taken_by_its_clock_and_gaps_are_counted():
    clock = FrameClock(np.concatenate([np.arange(100) / 30, 60 + np.arange(100) / 30, 120 + np.arange(50) / 30]))
    found = pl.clock(SimpleNamespace(clock=clock))
    assert found["histogram"].get_title("left") == "2 gaps"
    assert found["intervals"].get_yscale() == "log"
    counts = [patch.get_height() for patch in found["histogram"].patches]
    assert sum(counts) == 247


def test_a_perfect_clock_is_shown():
    found = pl.clock(FrameClock.nominal(100, 30.0))
    assert "33.333 ms" in found["intervals"].get_title("left")


@pytest.mark.parametrize("clock", [FrameClock.nominal(1, 30.0), [1.0, 2.0]])
def test_what_is_no_clock_is_refused(clock):
    with pytest.raises(ParameterError, match="at least two frames"):
        pl.clock(clock)
