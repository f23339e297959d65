"""The audit: clock, stims and frames agree with how the recording was made, and what does not fit is told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.analysis.sync import ImagedFrames, audit_pulses, audit_sync
from packerlabimaging.core.events import Events
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import ArrayMovie
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.core.signals import ArrayChannel, Signals
from packerlabimaging.errors import MissingInputError, ParameterError, SyncError

RATE = 5000
FRAME = 167  # samples a frame: 29.94 Hz
FRAMES = ImagedFrames(n_frames=200)


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


def lit_movie(ticks, stims, *, n_shots=8, step=0.015, seed=0):
    """Brightness of each frame as a movie of one pixel: 1 more where a frame of ``FRAME`` samples is lit all the time."""
    light = np.zeros(70_000)
    for stim in stims:
        for shot in range(n_shots):
            light[stim + round(shot * step * RATE) :][: round(0.01 * RATE)] = 1
    mean = np.array([light[tick : tick + FRAME].mean() for tick in ticks])
    return ArrayMovie((5 + mean + np.random.default_rng(seed).normal(0, 0.02, len(ticks)))[:, None, None])


def of_frames(movie, **known):
    return ImagedFrames(n_frames=movie.n_frames, movie=movie, **known)


def codes(audit, severity=None):
    return [finding.code for finding in audit.findings if severity in (None, finding.severity)]


STIMS = [7000 + 2400 * number + 31 * (number % 5) for number in range(12)]


def test_clean_recording_passes():
    signals, frames = recording(stims=STIMS)
    audit = audit_sync(signals, lit_movie(frames, STIMS), stim="markpoints2packio", protocol=protocol(n_stims=12))
    assert (audit.verdict, codes(audit)) == ("pass", ["light-seen", "first-frame"])
    np.testing.assert_array_equal(audit.clock.starts_s, frames / RATE)
    assert audit.stims["frame"].tolist() == [(sample - 5000) // FRAME for sample in STIMS]


def test_live_scan_and_extra_pulses_pass_where_the_movie_shows_the_light():
    signals, frames = recording(n_live=7, n_extra=12, stims=STIMS)
    audit = audit_sync(signals, lit_movie(frames, STIMS), stim="markpoints2packio", protocol=protocol(n_stims=12))
    assert (audit.verdict, codes(audit, "warning")) == ("pass", [])
    np.testing.assert_array_equal(audit.clock.starts_s, frames / RATE)


def test_a_lost_first_pulse_is_found_by_the_light_and_the_clock_can_be_accepted():
    signals, frames = recording(n_frames=201, n_extra=12, stims=STIMS)
    lost = ttl("frame_clock", 60_000, [*frames[1:], *(frames[-1] + FRAME * np.arange(1, 13))])
    movie = lit_movie(frames, STIMS)
    signals = Signals([lost, signals["markpoints2packio"]])
    audit = audit_sync(signals, movie, stim="markpoints2packio", protocol=protocol(n_stims=12))
    assert (audit.verdict, codes(audit, "error")) == ("fail", ["missing-end-pulses"])
    np.testing.assert_allclose(audit.clock.starts_s, frames / RATE)
    blind = audit_sync(signals, ImagedFrames(n_frames=201), stim="markpoints2packio", protocol=protocol(n_stims=12))
    assert (blind.verdict, codes(blind)) == ("warn", ["extra-pulses"])
    np.testing.assert_allclose(blind.clock.starts_s, frames / RATE + FRAME / RATE)  # why it can't pass


@pytest.mark.parametrize("n_missing", [1, 2])
def test_frames_that_were_not_saved_are_found_by_the_light(n_missing):
    signals, frames = recording(stims=STIMS)
    movie = lit_movie(np.delete(frames, 100 + np.arange(n_missing)), STIMS)
    audit = audit_sync(signals, movie, stim="markpoints2packio", protocol=protocol(n_stims=12))
    (moved,) = [finding for finding in audit.findings if finding.code == "light-moves"]
    assert audit.verdict == "fail"
    assert set(moved.evidence["shift_ticks"]) <= {n_missing, -n_missing}


def test_lost_pulses_are_a_warning_where_light_on_both_sides_confirms_their_number():
    signals, frames = recording(stims=STIMS)
    lost = ttl("frame_clock", 60_000, np.delete(frames, 100))
    signals = Signals([lost, signals["markpoints2packio"]])
    audit = audit_sync(signals, lit_movie(frames, STIMS), stim="markpoints2packio", protocol=protocol(n_stims=12))
    assert (audit.verdict, codes(audit, "warning")) == ("warn", ["missing-pulses"])
    np.testing.assert_allclose(audit.clock.starts_s, frames / RATE)
    blind = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(n_stims=12))
    assert codes(blind, "error") == ["missing-pulses"]


def test_a_trigger_without_light_is_told():
    signals, frames = recording(stims=STIMS)
    audit = audit_sync(signals, lit_movie(frames, np.delete(STIMS, 3)), stim="markpoints2packio", protocol=protocol(n_stims=12))
    (finding,) = [finding for finding in audit.findings if finding.code == "stims-without-light"]
    assert finding.evidence["times_s"] == [STIMS[3] / RATE]
    assert audit.verdict == "warn"


def test_stims_without_power_have_no_light_to_look_for():
    signals, frames = recording(stims=STIMS)
    row = PhotostimRow(group=0, n_shots=2, shot_duration_s=0.01, power=0.0)
    made = protocol(n_groups=1, rows=[row], n_stims=12)
    audit = audit_sync(signals, lit_movie(frames, STIMS), stim="markpoints2packio", protocol=made)
    assert codes(audit) == ["light-not-seen", "first-frame-by-count"]
    assert audit.stims["catch"].all()


def test_a_movie_without_light_tells_nothing():
    signals, frames = recording(n_extra=3, stims=STIMS)
    audit = audit_sync(signals, lit_movie(frames, []), stim="markpoints2packio", protocol=protocol(n_stims=12))
    assert codes(audit) == ["light-not-seen", "extra-pulses"]


def test_stims_and_frames_by_the_pulses_alone():
    signals, frames = recording(stims=[10_000, 20_000, 30_000])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol())
    assert (audit.verdict, codes(audit)) == ("warn", ["first-frame-by-count"])
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
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol())
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
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio")
    expected = [int(np.searchsorted(frames, sample, side="right")) - 1 for sample in samples]
    assert audit.stims["frame"].tolist() == expected


def test_a_stim_on_a_tick_belongs_to_that_ticks_frame():
    frames = [0, 50, 199]
    ticks = [5000 + FRAME * frame for frame in frames]
    signals, _ = recording(stims=ticks)
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio")
    assert audit.stims["frame"].tolist() == frames
    signals, _ = recording(stims=[tick - 1 for tick in ticks])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio")
    assert audit.stims["frame"].tolist()[1:] == [49, 198]
    assert audit.stims["frame"].isna().tolist() == [True, False, False]


def test_live_scan_and_extra_pulses_by_the_pulses_alone():
    signals, frames = recording(n_live=7, n_extra=12, stims=[10_000, 20_000, 30_000])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol())
    np.testing.assert_array_equal(audit.clock.starts_s, frames / RATE)
    assert codes(audit) == ["other-pulse-blocks", "extra-pulses"]
    assert audit.verdict == "warn"


def test_stims_outside_the_recording_are_kept():
    last = 5000 + FRAME * 200
    signals, _ = recording(stims=[2000, 10_000, last - 50, last + 3000])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(n_stims=4))
    assert audit.n_stims == 4
    assert audit.stims["valid"].tolist() == [False, True, False, False]
    assert audit.stims["frame"].isna().tolist() == [True, False, False, True]
    assert audit.stims["reason"].tolist() == [
        "before the first frame",
        "",
        "cut by the end or a pause of the recording",
        "after the last frame",
    ]
    assert codes(audit) == ["first-frame-by-count", "stims-outside-recording"]


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
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(n_stims=n_stims, trigger=trigger))
    assert codes(audit) == [*([] if code is None else [code]), "first-frame-by-count"]
    assert severity is None or code in codes(audit, severity)
    assert len(audit.triggers["markpoints2packio"]) == n_pulses


def test_a_pulse_a_row():
    signals, _ = recording(stims=[8000, 11_000, 20_000, 23_000])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(n_stims=2, trigger="each"))
    np.testing.assert_allclose(audit.stims["onset_s"], [1.6, 4.0])
    np.testing.assert_allclose(audit.rows["onset_s"], [1.6, 2.2, 4.0, 4.6])
    assert audit.rows["group"].tolist() == [0, 1, 0, 1]


def test_one_group_one_power_and_catch_stims():
    signals, _ = recording(stims=[10_000, 20_000])
    row = PhotostimRow(group=0, n_shots=2, shot_duration_s=0.01, power=0.0, power_mw=0.0, all_at_once=False)
    made = protocol(n_groups=1, rows=[row], n_stims=2)
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=made)
    assert audit.stims["group"].tolist() == [0, 0]
    assert audit.stims["n_shots"].tolist() == [2, 2]  # two points lit one after another are one shot
    assert audit.stims["catch"].all()
    assert audit.stims["power_mw"].tolist() == [0, 0]


def test_stims_that_overlap_are_told():
    signals, _ = recording(stims=[10_000, 10_300, 20_000])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol())
    assert codes(audit) == ["first-frame-by-count", "stims-overlap"]


def test_analogue_channels_and_single_pulses_give_no_stims():
    signals, _ = recording(stims=[10_000])
    wave = ArrayChannel("x_galvo", np.sin(np.arange(60_000) / 500), rate_hz=RATE)
    signals = Signals([*signals.values(), wave])
    audit = audit_sync(signals, FRAMES, stim="x_galvo", protocol=protocol())
    assert (audit.n_stims, audit.verdict, codes(audit, "error")) == (0, "fail", ["not-two-levels"])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol())
    assert (audit.n_stims, audit.verdict) == (0, "fail")
    assert "no-repeated-pulses" in codes(audit)
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(n_stims=1))
    assert (audit.n_stims, codes(audit)) == (1, ["first-frame-by-count"])
    audit = audit_sync(signals, FRAMES, frame_clock="x_galvo")
    assert (audit.verdict, audit.ticks) == ("fail", None)
    with pytest.raises(SyncError, match="not-two-levels"):
        _ = audit.clock


def test_pulses_without_a_protocol_are_stims():
    signals, _ = recording(stims=[10_000, 20_000], pulse=100)
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio")
    np.testing.assert_allclose(audit.stims["end_s"] - audit.stims["onset_s"], 0.02)
    assert audit.light is None
    assert len(audit.rows) == 0
    assert audit.stims["n_shots"].isna().all()


def test_protocol_without_triggers_fails():
    signals, _ = recording()
    assert codes(audit_sync(signals, FRAMES, protocol=protocol()), "error") == ["no-stim-times"]
    audit = audit_sync(signals, FRAMES)
    assert (audit.n_stims, audit.verdict) == (0, "pass")


def test_without_pulses_the_programs_times_are_used_and_told():
    times = np.arange(200) / 29.7
    metadata = ImagingMetadata(frame_shape_px=(64, 64), n_frames=200, frame_times_s=times, frame_rate_hz=30.0)
    audit = audit_sync(None, ImagedFrames.described(metadata))
    np.testing.assert_array_equal(audit.clock.starts_s, times)
    assert (audit.clock.source, audit.verdict, codes(audit)) == ("acquisition program", "warn", ["no-frame-clock"])
    nominal = audit_sync(None, ImagedFrames.described(metadata.replace(frame_times_s=None)))
    assert (nominal.clock.source, nominal.clock.rate_hz) == ("nominal", pytest.approx(30))
    assert codes(nominal, "warning") == ["nominal-frame-times"]
    nothing = audit_sync(None, FRAMES)
    assert (nothing.verdict, nothing.ticks) == ("fail", None)


def test_stims_are_not_placed_on_another_clocks_frames():
    signals, _ = recording(stims=[10_000, 20_000, 30_000])
    frames = ImagedFrames(n_frames=200, frame_rate_hz=30.0)
    audit = audit_sync(signals, frames, frame_clock=None, stim="markpoints2packio", protocol=protocol())
    assert audit.verdict == "fail"
    assert "no-common-time-base" in codes(audit, "error")
    assert audit.stims["frame"].isna().all()
    assert not audit.stims["valid"].any()
    np.testing.assert_array_equal(audit.stims["onset_s"], [2, 4, 6])


def test_planes():
    signals, ticks = recording(n_frames=200, stims=[10_000, 20_000])
    for plane in (0, 1):
        audit = audit_sync(signals, ImagedFrames(n_frames=100, n_planes=2, plane=plane), stim="markpoints2packio")
        np.testing.assert_array_equal(audit.clock.starts_s, ticks[plane::2] / RATE)
        expected = [int(np.searchsorted(ticks[plane::2], sample, side="right")) - 1 for sample in (10_000, 20_000)]
        assert audit.stims["frame"].tolist() == audit.stim_frames[plane].tolist() == expected
    with pytest.raises(ParameterError, match="plane = 2 does not exist"):
        audit_sync(signals, ImagedFrames(n_frames=100, n_planes=2, plane=2))
    times = np.arange(200).reshape(100, 2) / 30.0
    audit = audit_sync(None, ImagedFrames(n_frames=100, n_planes=2, plane=1, frame_times_s=times))
    np.testing.assert_array_equal(audit.clock.starts_s, times[:, 1])


def test_triggers_of_the_last_stims_rows_are_confirmed_by_its_light():
    """With a trigger a row, all triggers of a stim but the first come after its first light."""
    period_s = 1 / 30
    starts = 1.0 + period_s * np.arange(905)
    rows = tuple(PhotostimRow(group=group, n_shots=4, shot_duration_s=0.02, inter_shot_s=0.005) for group in range(2))
    protocol = PhotostimProtocol(
        targets_px=np.zeros((2, 3)), image_shape_px=(8, 8), groups=((0,), (1,)), rows=rows, trigger="each", n_stims=10
    )
    stims = 3.0 + 2.5 * np.arange(10) + np.random.default_rng(0).uniform(0, 0.03, 10)
    triggers = np.sort(np.concatenate([stims, stims + 0.3]))
    light = protocol.light(triggers)
    moments = starts[:900, None] + period_s * (np.arange(100) + 0.5) / 100
    lit = [np.any((times[:, None] >= light.onset_s) & (times[:, None] < light.end_s), axis=1).mean() for times in moments]
    noise = np.random.default_rng(1).normal(0, 0.05, 900)
    movie = ArrayMovie((100 + 5 * np.array(lit) + noise)[:, None, None])
    audit = audit_pulses(
        Events(starts, starts + 0.005, "frame_clock"),
        ImagedFrames(n_frames=900, frame_rate_hz=30.0, movie=movie),
        triggers={"trigger": Events(triggers, triggers + 0.005, "trigger")},
        protocol=protocol,
    )
    assert audit.verdict == "pass", audit.to_frame()
    np.testing.assert_allclose(audit.rows["onset_s"], triggers)


def test_planes_scanned_to_and_fro_are_not_what_pulses_count():
    """Every second volume is scanned upwards: plane 0 comes last in it, and the p-th pulse is not plane p."""
    signals, ticks = recording(n_frames=300, stims=[10_000, 20_000], n_samples=70_000)
    times = (ticks / RATE).reshape(100, 3)
    times[1::2] = times[1::2, ::-1]
    for plane, severity in ((0, "error"), (1, "warning"), (2, "error")):
        frames = ImagedFrames(n_frames=100, n_planes=3, plane=plane, frame_times_s=times)
        audit = audit_sync(signals, frames, stim="markpoints2packio")
        (found,) = (finding for finding in audit.findings if finding.code == "planes-to-and-fro")
        off = np.abs(audit.clock.starts_s - times[:, plane]).max()
        assert found.severity == severity
        assert off == pytest.approx(found.evidence["largest_shift_ticks"] * FRAME / RATE)
        assert found.evidence["n_volumes"] == 50
    in_order = ImagedFrames(n_frames=100, n_planes=3, frame_times_s=(ticks / RATE).reshape(100, 3))
    assert "planes-to-and-fro" not in codes(audit_sync(signals, in_order, stim="markpoints2packio"))


def test_channels_that_do_not_exist():
    signals, _ = recording()
    with pytest.raises(MissingInputError, match="Did you mean 'frame_clock'"):
        audit_sync(signals, FRAMES, frame_clock="frameclock")
    with pytest.raises(MissingInputError, match="no channel 'packio2markpoints'"):
        audit_sync(signals, FRAMES, stim="packio2markpoints")


@pytest.mark.parametrize("with_protocol", [True, False])
def test_saved_and_read_again(with_protocol):
    signals, _ = recording(n_extra=3, stims=[2000, 10_001, 20_000])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol() if with_protocol else None)
    again = SyncAudit.from_dict(json.loads(json.dumps(audit.to_dict())))
    np.testing.assert_array_equal(again.clock.starts_s, audit.clock.starts_s)
    assert (again.clock.source, again.clock.period_s) == (audit.clock.source, audit.clock.period_s)
    assert again.findings == audit.findings
    assert again.verdict == audit.verdict
    assert again.stims.equals(audit.stims)
    assert again.stims.dtypes.equals(audit.stims.dtypes)
    assert again.rows.equals(audit.rows)
    np.testing.assert_array_equal(again.triggers["markpoints2packio"], audit.triggers["markpoints2packio"])
    assert again.to_frame().equals(audit.to_frame())
    failed = audit_sync(None, FRAMES)
    assert SyncAudit.from_dict(json.loads(json.dumps(failed.to_dict()))).verdict == "fail"


def test_a_clock_that_is_slower_than_nominal_keeps_event_times_to_the_end():
    """29.75 Hz where the settings say 30.19 Hz, for 550 s: nominal times would be 8 s off."""
    true_s = 7.0 + np.arange(16_368) / 29.75
    onsets_s = true_s[::163] + 0.01
    frames = ImagedFrames(n_frames=16_368, frame_rate_hz=30.19, frame_times_s=np.arange(16_368) / 30.19)
    audit = audit_pulses(Events(true_s), frames, triggers={"stim": Events(onsets_s)})
    assert audit.stims["frame"].tolist() == list(range(0, 16_368, 163))
    assert np.abs(audit.clock.starts_s - true_s).max() < 1 / 29.75 / 100
    (drift,) = [finding for finding in audit.findings if finding.code == "nominal-rate-drifts"]
    assert drift.evidence["drift_s"] == pytest.approx(550.18 - 16_367 / 30.19, abs=0.1)


def test_several_channels():
    signals, _ = recording(stims=[10_000, 20_000, 30_000])
    signals = Signals([*signals.values(), ttl("led", 60_000, [15_000, 25_000])])
    audit = audit_sync(signals, FRAMES, stim=["markpoints2packio", "led"], protocol=protocol())
    assert audit.stims["channel"].tolist() == ["markpoints2packio", "led"] * 2 + ["markpoints2packio"]
    assert audit.stims["repeat"].tolist() == [0, 0, 1, 1, 2]
    assert audit.stims["n_shots"].isna().tolist() == [False, True, False, True, False]
    assert sorted(set(audit.rows["stim"])) == ["stim-000", "stim-002", "stim-004"]
    np.testing.assert_allclose(audit.rows["onset_s"], [2, 2.06, 4, 4.06, 6, 6.06])
    by_name = audit_sync(signals, FRAMES, stim=["led", "markpoints2packio"], protocol={"markpoints2packio": protocol()})
    assert by_name.stims.equals(audit.stims)
    with pytest.raises(ParameterError, match="a protocol for the channel 'lead'"):
        audit_sync(signals, FRAMES, stim=["led"], protocol={"lead": protocol()})


def test_triggers_of_another_recording_in_the_file_are_left_out():
    _, frames = recording()
    others = 50_000 + FRAME * np.arange(50)
    own, foreign = [10_000, 20_000, 30_000], [51_000, 52_000, 53_000]
    signals = Signals([ttl("frame_clock", 60_000, [*frames, *others]), ttl("stim", 60_000, [*own, *foreign])])
    audit = audit_sync(signals, FRAMES, stim="stim", protocol=protocol())
    np.testing.assert_array_equal(audit.stims["onset_s"], [2, 4, 6])
    assert "triggers-of-other-recordings" in codes(audit, "info")
    everything = audit_sync(signals, FRAMES, stim="stim")  # nothing says how many there should be
    assert everything.stims["valid"].tolist() == [True] * 3 + [False] * 3


@pytest.mark.parametrize("lost", [3, 5])
def test_a_lost_trigger_is_told_with_its_place(lost):
    stims = np.delete(5500 + 2500 * np.arange(12), lost)
    signals, _ = recording(stims=stims)
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(n_stims=12))
    (finding,) = [finding for finding in audit.findings if finding.code == "irregular-stims"]
    assert finding.evidence["after_s"] == [stims[lost - 1] / RATE]
    assert finding.evidence["intervals_s"] == [1.0]


def test_stims_at_another_interval_than_the_protocols():
    signals, _ = recording(stims=[10_000, 20_000, 30_000])
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(stim_interval_s=1.5))
    (finding,) = [finding for finding in audit.findings if finding.code == "stim-interval-differs"]
    assert (finding.severity, finding.evidence["usual_s"]) == ("warning", 2.0)
    audit = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol(stim_interval_s=2.01))
    assert "stim-interval-differs" not in codes(audit)


def test_findings_as_a_table_gravest_first():
    signals, _ = recording(n_live=5, n_extra=3, stims=[10_000, 20_000, 30_000, 35_000])
    table = audit_sync(signals, FRAMES, stim="markpoints2packio", protocol=protocol()).to_frame()
    assert table["severity"].tolist() == ["error", "warning", "info"]
    assert table["code"].tolist() == ["more-stims-than-protocol", "extra-pulses", "other-pulse-blocks"]
    assert list(table.columns) == ["code", "severity", "message", "where", "advice", "evidence"]


def test_pulses_that_begin_together_are_refused():
    with pytest.raises(ParameterError, match="Two pulses of 'slm' begin at the same time"):
        audit_pulses(Events(np.arange(200.0)), FRAMES, triggers={"slm": Events(np.ones(3))})


@pytest.mark.parametrize("times", [np.zeros(200), np.arange(10.0)])
def test_program_times_that_make_no_sense_are_not_used(times):
    audit = audit_pulses(None, ImagedFrames(n_frames=200, frame_times_s=times, frame_rate_hz=30.0))
    assert codes(audit) == ["frame-times-not-ascending", "nominal-frame-times"]


def test_frames_and_movie_must_agree():
    with pytest.raises(ParameterError, match="n_frames = 200, but the movie has 3"):
        ImagedFrames(n_frames=200, movie=ArrayMovie(np.zeros((3, 1, 1))))
    with pytest.raises(ParameterError, match="do not say how many frames"):
        ImagedFrames.described(ImagingMetadata(frame_shape_px=(64, 64)))


def test_every_finding_is_documented():
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "synchronisation.md").read_text(encoding="utf-8")
    for module in ("sync", "first_frame", "frame_clock", "pulse_blocks", "stims"):
        source = (root / "src" / "packerlabimaging" / "analysis" / f"{module}.py").read_text(encoding="utf-8")
        made = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
        assert made
        assert not {code for code in made if f"`{code}`" not in page}, module


def test_channels_that_are_low_during_a_pulse():
    stims = np.array([6000, 9000, 12000])
    signals, frames = recording(stims=stims)
    plain = audit_sync(signals, ImagedFrames(n_frames=200), stim="markpoints2packio")
    inverted = Signals(
        [ArrayChannel(name, channel.read().max() - channel.read(), rate_hz=channel.rate_hz) for name, channel in signals.items()]
    )
    found = audit_sync(
        inverted, ImagedFrames(n_frames=200), stim="markpoints2packio", active_low=("frame_clock", "markpoints2packio")
    )
    np.testing.assert_array_equal(found.clock.starts_s, plain.clock.starts_s)
    np.testing.assert_array_equal(found.stims["onset_s"], plain.stims["onset_s"])
    with pytest.raises(ParameterError, match="active_low names 'clock', which is neither"):
        audit_sync(signals, ImagedFrames(n_frames=200), stim="markpoints2packio", active_low=("clock",))
