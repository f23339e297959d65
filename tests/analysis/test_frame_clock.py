"""Frame pulses and frames: which pulses are the movie's, and never a guess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis.frame_clock import match_frame_clock
from packerlabimaging.core.events import Events
from packerlabimaging.errors import ParameterError

PERIOD = 1 / 29.75


def train(count, start, *, period=PERIOD, jitter=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return start + period * (np.arange(count) + rng.uniform(-jitter, jitter, count))


def match(*parts, **options):
    clock, findings = match_frame_clock(Events(np.concatenate(parts), name="frame_clock"), **options)
    return clock, [finding.code for finding in findings], findings


def worst(findings):
    return "error" if any(finding.severity == "error" for finding in findings) else "fine"


def test_clean_recording():
    frames = train(500, 7.0)
    clock, codes, _ = match(frames, n_frames=500, nominal_rate_hz=29.75)
    np.testing.assert_array_equal(clock.starts_s, frames)
    assert clock.source == "hardware"
    assert codes == []


@settings(max_examples=100, deadline=None)
@given(
    n_frames=st.integers(30, 200),
    n_extra=st.integers(0, 20),
    n_live=st.integers(0, 8),
    gap=st.floats(0.2, 60),
    live_period=st.sampled_from([PERIOD, PERIOD * 1.3, PERIOD / 1.5]),
    nominal=st.sampled_from([None, 30.19, 29.75]),
    seed=st.integers(0, 1000),
)
def test_live_scan_before_and_extra_pulses_after(n_frames, n_extra, n_live, gap, live_period, nominal, seed):
    live = train(n_live, 1.0, period=live_period, seed=seed)
    frames = train(n_frames + n_extra, (live[-1] if n_live else 0) + gap + PERIOD, seed=seed)
    clock, codes, findings = match(live, frames, n_frames=n_frames, nominal_rate_hz=nominal)
    np.testing.assert_array_equal(clock.starts_s, frames[:n_frames])
    assert ("extra-pulses" in codes) == (n_extra > 0)
    assert ("other-pulse-blocks" in codes) == (n_live > 0)
    assert worst(findings) == "fine"


def test_several_recordings_in_one_file():
    parts = [train(100, 1.0), train(300, 10.0), train(150, 40.0)]
    for number, n_frames in enumerate((100, 300, 150)):
        clock, codes, _ = match(*parts, n_frames=n_frames)
        np.testing.assert_array_equal(clock.starts_s, parts[number])
        assert codes == ["other-pulse-blocks"]


def test_recordings_of_one_length_are_ambiguous_until_one_is_given():
    parts = [train(300, 1.0), train(305, 30.0)]
    clock, codes, findings = match(*parts, n_frames=300)
    assert clock is None
    assert codes == ["ambiguous-pulse-blocks"]
    assert "block 0: 300 pulses" in findings[0].message
    clock, codes, _ = match(*parts, n_frames=300, block=1)
    np.testing.assert_array_equal(clock.starts_s, parts[1][:300])
    assert codes == ["block-given", "extra-pulses"]
    clock, codes, _ = match(*parts, n_frames=300, block=2)
    assert (clock, codes) == (None, ["no-such-block"])


def test_stray_first_pulse():
    frames = train(300, 5.0)
    alone, codes, _ = match([2.0], frames, n_frames=300)
    np.testing.assert_array_equal(alone.starts_s, frames)
    assert codes == ["other-pulse-blocks"]
    close, codes, _ = match([5.0 - 0.4 * PERIOD], frames, n_frames=300)
    np.testing.assert_array_equal(close.starts_s, frames)
    assert codes == ["stray-first-pulse"]


@pytest.mark.parametrize("at", [1, 150, 298])
def test_a_pulse_lost_inside_is_an_error_with_its_place(at):
    frames = train(300, 5.0)
    clock, codes, findings = match(np.delete(frames, at), n_frames=300)
    assert codes == ["missing-pulses"]
    assert worst(findings) == "error"
    assert findings[0].evidence["times_s"] == [pytest.approx(frames[at - 1], abs=1e-3)]
    assert clock.n_frames == 300
    np.testing.assert_allclose(clock.starts_s, frames, atol=0.1 * PERIOD)  # for who accepts the finding


@pytest.mark.parametrize("at", [0, 299])
def test_a_pulse_lost_at_an_end_can_not_be_told(at):
    clock, codes, findings = match(np.delete(train(300, 5.0), at), n_frames=300)
    assert clock is None
    assert worst(findings) == "error"
    assert codes == ["no-matching-block"]


def test_stray_pulses_inside():
    frames = train(300, 5.0)
    clock, codes, _ = match(np.sort(np.append(frames, frames[100] + 0.5 * PERIOD)), n_frames=300)
    assert (clock, codes) == (None, ["stray-pulses"])
    shifted = frames.copy()
    shifted[100] += 0.6 * PERIOD
    clock, codes, _ = match(shifted, n_frames=300)
    assert (clock, codes) == (None, ["irregular-pulses"])


@pytest.mark.parametrize("count", [200, 280, 321, 400])
def test_counts_that_do_not_fit(count):
    clock, codes, findings = match(train(count, 5.0), n_frames=300)
    assert clock is None
    assert codes == ["no-matching-block"]
    assert f"{count} pulses" in findings[0].message


@pytest.mark.parametrize("onsets", [[], [3.0]])
def test_hardly_any_pulse_is_not_a_clock(onsets):
    clock, codes, _ = match(onsets, n_frames=300)
    assert (clock, codes) == (None, ["too-few-pulses"])


def test_pauses_of_the_program():
    """Several cycles: the program's own frame times tell which pulses belong together."""
    program = np.concatenate([train(100, 0.0, jitter=0), train(80, 20.0, jitter=0), train(60, 41.0, jitter=0)])
    pulses = program * 1.0002 + 3.0
    clock, codes, _ = match(train(31, 0.5), pulses, n_frames=240, frame_times_s=program)
    np.testing.assert_array_equal(clock.starts_s, pulses)
    assert codes == ["recording-with-pauses"]
    clock, codes, _ = match(pulses, n_frames=240)  # without them there is no telling
    assert (clock, codes) == (None, ["no-matching-block"])
    other = np.concatenate([train(120, 0.0, jitter=0), train(120, 20.0, jitter=0)])
    clock, codes, _ = match(pulses, n_frames=240, frame_times_s=other)
    assert (clock, codes) == (None, ["no-matching-block"])


def test_a_short_pause_of_the_program_tells_the_first_frame():
    program = np.delete(train(301, 0.0, jitter=0), 100)  # a frame that was neither saved nor pulsed
    pulses = np.concatenate([[8.0 - PERIOD], program + 8.0, [8.0 + program[-1] + PERIOD]])
    clock, codes, findings = match(pulses, n_frames=300, frame_times_s=program)
    np.testing.assert_allclose(clock.starts_s, program + 8.0)
    assert codes == ["extra-pulses"]
    assert findings[0].evidence["n_before"] == 1


def test_volumes():
    ticks = train(4 * 100 + 3, 2.0)  # the last volume is incomplete
    clock, codes, _ = match(ticks, n_frames=100, n_planes=4, nominal_rate_hz=29.75 / 4)
    np.testing.assert_array_equal(clock.starts_s, ticks[:400])
    np.testing.assert_array_equal(clock.plane(1, 4).starts_s, ticks[1:400:4])
    assert codes == ["extra-pulses"]


def test_rate_against_the_program():
    _, codes, findings = match(train(16368, 7.0), n_frames=16368, nominal_rate_hz=30.19)
    assert codes == ["nominal-rate-drifts"]
    assert 7 < findings[0].evidence["drift_s"] < 9
    _, codes, _ = match(train(300, 7.0), n_frames=300, nominal_rate_hz=15.0)
    assert codes == ["rate-differs"]
    _, codes, _ = match(train(300, 7.0), n_frames=300, frame_times_s=np.arange(300) * PERIOD * 1.2)
    assert codes == ["pulses-differ-from-program"]


def test_parameters():
    with pytest.raises(ParameterError, match="n_frames"):
        match(train(10, 0), n_frames=0)
    with pytest.raises(ParameterError, match="nominal_rate_hz"):
        match(train(10, 0), n_frames=10, nominal_rate_hz=0)
