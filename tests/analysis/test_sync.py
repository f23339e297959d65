"""The audit: clock, stims and frames agree with how the recording was made, and what does not fit is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis.sync import SyncAudit, audit_sync
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.core.signals import ArrayChannel, Signals
from packerlabimaging.errors import MissingInputError, ParameterError, SyncError

RATE = 5000
FRAME = 167  # samples a frame: 29.94 Hz


def ttl(name, n_samples, onsets, width=25, high=5.0):
    values = np.random.default_rng(0).normal(0, 0.01, n_samples)
    for onset in onsets:
        values[onset : onset + width] += high
    return ArrayChannel(name, values, rate_hz=RATE, unit="V")


def recording(*, n_frames=200, n_live=0, n_extra=0, stims=(), n_samples=60_000, pulse=25):
    """Signals with a frame clock from sample 5000 on; returns them and the sample of each saved frame."""
    frames = 5000 + FRAME * np.arange(n_frames + n_extra)
    live = 1000 + FRAME * np.arange(n_live)
    channels = [ttl("frame_clock", n_samples, [*live, *frames]), ttl("markpoints2packio", n_samples, stims, pulse, 3.3)]
    return Signals(channels, source="test.paq"), frames[:n_frames]


def protocol(*, n_stims=3, trigger="once", n_groups=2, **changes):
    rows = [
        PhotostimRow(group=group, n_shots=4, shot_duration_s=0.01, inter_shot_s=0.005, power=100.0) for group in range(n_groups)
    ]
    values = {
        "targets_px": np.zeros((n_groups * 2, 3)),
        "image_shape_px": (64, 64),
        "groups": tuple((2 * group, 2 * group + 1) for group in range(n_groups)),
        "rows": rows,
        "n_stims": n_stims,
        "trigger": trigger,
    }
    return PhotostimProtocol(**{**values, **changes})


def codes(audit, severity=None):
    return [finding.code for finding in audit.findings if severity in (None, finding.severity)]


def test_clean_recording_passes():
    signals, frames = recording(stims=[10_000, 20_000, 30_000])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol())
    assert (audit.verdict, audit.findings) == ("pass", ())
    np.testing.assert_array_equal(audit.clock.starts_s, frames / RATE)
    assert audit.clock.source == "hardware"
    stims = audit.stims
    assert stims.index.tolist() == ["stim-000", "stim-001", "stim-002"]
    np.testing.assert_array_equal(stims["onset_s"], [2, 4, 6])
    np.testing.assert_allclose(stims["end_s"], np.array([2, 4, 6]) + 7 * 0.015 + 0.01)
    assert stims["frame"].tolist() == [(sample - 5000) // FRAME for sample in (10_000, 20_000, 30_000)]
    assert stims["valid"].all()
    assert stims["n_shots"].tolist() == [8, 8, 8]
    assert stims["repeat"].tolist() == [0, 1, 2]
    assert stims["group"].isna().all()  # two groups a stim: see the rows
    assert not stims["catch"].any()


def test_rows_have_their_own_onsets():
    signals, frames = recording(stims=[10_000, 20_000, 30_000])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol())
    rows = audit.rows
    assert rows["stim"].tolist() == [f"stim-{number:03d}" for number in (0, 0, 1, 1, 2, 2)]
    assert rows["group"].tolist() == [0, 1] * 3
    np.testing.assert_allclose(rows["onset_s"], [2, 2.06, 4, 4.06, 6, 6.06])
    np.testing.assert_allclose(rows["end_s"] - rows["onset_s"], 3 * 0.015 + 0.01)
    samples = np.round(rows["onset_s"].to_numpy() * RATE).astype(int)
    assert rows["frame"].tolist() == [int(np.flatnonzero(frames <= sample)[-1]) for sample in samples]
    assert rows["n_shots"].tolist() == [4] * 6


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(5000, 38_000), min_size=2, max_size=8, unique_by=lambda sample: sample // 1000))
def test_a_stim_lies_in_the_frame_that_holds_its_sample(samples):
    samples = sorted(samples)
    if min(np.diff(samples), default=1000) < 100:
        samples = samples[:1] + [samples[0] + 2000]
    signals, frames = recording(stims=samples)
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200)
    expected = [int(np.searchsorted(frames, sample, side="right")) - 1 for sample in samples]
    assert audit.stims["frame"].tolist() == expected


def test_a_stim_on_a_tick_belongs_to_that_ticks_frame():
    frames = [0, 50, 199]
    ticks = [5000 + FRAME * frame for frame in frames]
    signals, _ = recording(stims=ticks)
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200)
    assert audit.stims["frame"].tolist() == frames
    signals, _ = recording(stims=[tick - 1 for tick in ticks])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200)
    assert audit.stims["frame"].tolist()[1:] == [49, 198]
    assert audit.stims["frame"].isna().tolist() == [True, False, False]


def test_live_scan_and_extra_pulses():
    signals, frames = recording(n_live=7, n_extra=12, stims=[10_000, 20_000, 30_000])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol())
    np.testing.assert_array_equal(audit.clock.starts_s, frames / RATE)
    assert codes(audit) == ["other-pulse-blocks", "extra-pulses"]
    assert audit.verdict == "warn"


def test_stims_outside_the_recording_are_kept():
    last = 5000 + FRAME * 200
    signals, _ = recording(stims=[2000, 10_000, last - 50, last + 3000])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol(n_stims=4))
    assert audit.n_stims == 4
    assert audit.stims["valid"].tolist() == [False, True, False, False]
    assert audit.stims["frame"].isna().tolist() == [True, False, False, True]
    assert audit.stims["reason"].tolist() == [
        "before the first frame",
        "",
        "cut by the end or a pause of the recording",
        "after the last frame",
    ]
    assert codes(audit) == ["stims-outside-recording"]


@pytest.mark.parametrize(
    ("n_stims", "trigger", "n_pulses", "code", "severity"),
    [
        (3, "once", 3, None, None),
        (4, "once", 3, "fewer-stims-than-protocol", "warning"),
        (2, "once", 3, "more-stims-than-protocol", "error"),
        (2, "each", 4, None, None),
        (4, "each", 4, "fewer-stims-than-protocol", "warning"),
        (3, "each", 5, "incomplete-stim", "error"),
    ],
)
def test_pulses_against_the_protocol(n_stims, trigger, n_pulses, code, severity):
    signals, _ = recording(stims=[8000 + 5000 * number for number in range(n_pulses)])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol(n_stims=n_stims, trigger=trigger))
    assert codes(audit) == ([] if code is None else [code])
    assert codes(audit, severity) == codes(audit)
    assert audit.verdict == {None: "pass", "warning": "warn", "error": "fail"}[severity]
    assert len(audit.triggers_s) == n_pulses


def test_a_pulse_a_row():
    signals, _ = recording(stims=[8000, 11_000, 20_000, 23_000])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol(n_stims=2, trigger="each"))
    np.testing.assert_allclose(audit.stims["onset_s"], [1.6, 4.0])
    np.testing.assert_allclose(audit.rows["onset_s"], [1.6, 2.2, 4.0, 4.6])
    assert audit.rows["group"].tolist() == [0, 1, 0, 1]


def test_one_group_one_power_and_catch_stims():
    signals, _ = recording(stims=[10_000, 20_000])
    row = PhotostimRow(group=0, n_shots=2, shot_duration_s=0.01, power=0.0, power_mw=0.0, all_at_once=False)
    made = protocol(n_groups=1, rows=[row], n_stims=2)
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=made)
    assert audit.stims["group"].tolist() == [0, 0]
    assert audit.stims["n_shots"].tolist() == [2, 2]  # two points lit one after another are one shot
    assert audit.stims["catch"].all()
    assert audit.stims["power_mw"].tolist() == [0, 0]


def test_stims_that_overlap_are_told():
    signals, _ = recording(stims=[10_000, 10_300, 20_000])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol())
    assert codes(audit) == ["stims-overlap"]


def test_analogue_channels_and_single_pulses_give_no_stims():
    signals, _ = recording(stims=[10_000])
    wave = ArrayChannel("x_galvo", np.sin(np.arange(60_000) / 500), rate_hz=RATE)
    signals = Signals([*signals.values(), wave])
    audit = audit_sync(signals, stim="x_galvo", n_frames=200, protocol=protocol())
    assert (audit.n_stims, audit.verdict, codes(audit)) == (0, "fail", ["not-two-levels"])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol())
    assert (audit.n_stims, audit.verdict) == (0, "fail")
    assert "no-repeated-pulses" in codes(audit)
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol(n_stims=1))
    assert (audit.n_stims, audit.verdict) == (1, "pass")
    audit = audit_sync(signals, frame_clock="x_galvo", n_frames=200)
    assert (audit.verdict, audit.matched_clock) == ("fail", None)
    with pytest.raises(SyncError, match="not-two-levels"):
        _ = audit.clock


def test_pulses_without_a_protocol_are_stims():
    signals, _ = recording(stims=[10_000, 20_000], pulse=100)
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200)
    np.testing.assert_allclose(audit.stims["end_s"] - audit.stims["onset_s"], 0.02)
    assert audit.light is None
    assert len(audit.rows) == 0
    assert audit.stims["n_shots"].isna().all()


def test_protocol_without_triggers_fails():
    signals, _ = recording()
    assert codes(audit_sync(signals, n_frames=200, protocol=protocol()), "error") == ["no-stim-times"]
    audit = audit_sync(signals, n_frames=200)
    assert (audit.n_stims, audit.verdict) == (0, "pass")


def test_without_pulses_the_programs_times_are_used_and_told():
    times = np.arange(200) / 29.7
    metadata = ImagingMetadata(frame_shape_px=(64, 64), frame_times_s=times, frame_rate_hz=30.0)
    audit = audit_sync(None, n_frames=200, metadata=metadata)
    np.testing.assert_array_equal(audit.clock.starts_s, times)
    assert (audit.clock.source, audit.verdict, codes(audit)) == ("acquisition program", "warn", ["no-frame-clock"])
    nominal = audit_sync(None, n_frames=200, metadata=metadata.replace(frame_times_s=None))
    assert (nominal.clock.source, nominal.clock.rate_hz) == ("nominal", pytest.approx(30))
    assert codes(nominal, "warning") == ["nominal-frame-times"]
    nothing = audit_sync(None, n_frames=200)
    assert (nothing.verdict, nothing.matched_clock) == ("fail", None)


def test_stims_are_not_placed_on_another_clocks_frames():
    signals, _ = recording(stims=[10_000, 20_000, 30_000])
    metadata = ImagingMetadata(frame_shape_px=(64, 64), frame_rate_hz=30.0)
    audit = audit_sync(signals, frame_clock=None, stim="markpoints2packio", n_frames=200, metadata=metadata, protocol=protocol())
    assert audit.verdict == "fail"
    assert "no-common-time-base" in codes(audit, "error")
    assert audit.stims["frame"].isna().all()
    assert not audit.stims["valid"].any()
    np.testing.assert_array_equal(audit.stims["onset_s"], [2, 4, 6])


def test_planes():
    signals, ticks = recording(n_frames=200, stims=[10_000, 20_000])
    for plane in (0, 1):
        audit = audit_sync(signals, stim="markpoints2packio", n_frames=100, n_planes=2, plane=plane)
        np.testing.assert_array_equal(audit.clock.starts_s, ticks[plane::2] / RATE)
        expected = [int(np.searchsorted(ticks[plane::2], sample, side="right")) - 1 for sample in (10_000, 20_000)]
        assert audit.stims["frame"].tolist() == expected
    with pytest.raises(ParameterError, match="plane = 2 does not exist"):
        audit_sync(signals, n_frames=100, n_planes=2, plane=2)
    times = np.arange(200).reshape(100, 2) / 30.0
    metadata = ImagingMetadata(frame_shape_px=(64, 64), n_planes=2, frame_times_s=times)
    audit = audit_sync(None, n_frames=100, n_planes=2, plane=1, metadata=metadata)
    np.testing.assert_array_equal(audit.clock.starts_s, times[:, 1])


def test_channels_that_do_not_exist():
    signals, _ = recording()
    with pytest.raises(MissingInputError, match="Did you mean 'frame_clock'"):
        audit_sync(signals, frame_clock="frameclock", n_frames=200)
    with pytest.raises(MissingInputError, match="no channel 'packio2markpoints'"):
        audit_sync(signals, stim="packio2markpoints", n_frames=200)


@pytest.mark.parametrize("with_protocol", [True, False])
def test_saved_and_read_again(with_protocol):
    signals, _ = recording(n_extra=3, stims=[2000, 10_001, 20_000])
    audit = audit_sync(signals, stim="markpoints2packio", n_frames=200, protocol=protocol() if with_protocol else None)
    again = SyncAudit.from_dict(json.loads(json.dumps(audit.to_dict())))
    np.testing.assert_array_equal(again.clock.starts_s, audit.clock.starts_s)
    assert (again.clock.source, again.clock.period_s) == (audit.clock.source, audit.clock.period_s)
    assert again.findings == audit.findings
    assert again.verdict == audit.verdict
    assert again.stims.equals(audit.stims)
    assert again.stims.dtypes.equals(audit.stims.dtypes)
    assert again.rows.equals(audit.rows)
    np.testing.assert_array_equal(again.triggers_s, audit.triggers_s)
    failed = audit_sync(None, n_frames=200)
    assert SyncAudit.from_dict(json.loads(json.dumps(failed.to_dict()))).verdict == "fail"
