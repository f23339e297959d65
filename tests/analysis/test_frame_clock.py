"""Frame pulses and frames: which pulses are the movie's, and never a guess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis.frame_clock import match_frame_clock, rate_findings
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.events import Events
from packerlabimaging.errors import ParameterError

PERIOD = 1 / 29.75


def train(count, start, *, period=PERIOD, jitter=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return start + period * (np.arange(count) + rng.uniform(-jitter, jitter, count))


def match(*parts, **options):
    """Return the match, its findings, and their codes with their severity."""
    found, findings = match_frame_clock(Events(np.concatenate(parts), name="frame_clock"), **options)
    return found, findings, {finding.code: finding.severity for finding in findings}


def test_as_many_pulses_as_frames():
    frames = train(500, 7.0)
    found, _, codes = match(frames, n_frames=500, nominal_rate_hz=29.75)
    np.testing.assert_array_equal(found.clock.starts_s, frames)
    assert (found.clock.source, found.told_by, codes) == ("hardware", "pulse count", {})


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
    found, _, codes = match(live, frames, n_frames=n_frames, nominal_rate_hz=nominal)
    np.testing.assert_array_equal(found.clock.starts_s, frames[:n_frames])
    assert (found.n_over, found.told_by) == (n_extra, "" if n_extra else "pulse count")
    assert codes in ({"other-pulse-blocks": "info"}, {"other-pulse-blocks": "warning"}) if n_live else codes == {}


def test_several_recordings_in_one_file():
    parts = [train(100, 1.0), train(300, 10.0), train(150, 40.0)]
    for number, n_frames in enumerate((100, 300, 150)):
        found, _, codes = match(*parts, n_frames=n_frames)
        np.testing.assert_array_equal(found.clock.starts_s, parts[number])
        assert codes == {"other-pulse-blocks": "info"}


def test_recordings_of_one_length_are_ambiguous_until_one_is_given():
    parts = [train(300, 1.0), train(305, 30.0)]
    found, findings, codes = match(*parts, n_frames=300)
    assert (found, codes) == (None, {"ambiguous-pulse-blocks": "error"})
    assert "block 0: 300 pulses" in findings[0].message
    found, _, codes = match(*parts, n_frames=300, block=1)
    np.testing.assert_array_equal(found.clock.starts_s, parts[1][:300])
    assert codes == {"block-given": "info"}
    found, _, codes = match(*parts, n_frames=300, block=2)
    assert (found, codes) == (None, {"no-such-block": "error"})


@settings(max_examples=100, deadline=None)
@given(at=st.integers(-1, 298), part=st.floats(0.1, 0.9), seed=st.integers(0, 1000))
def test_a_stray_pulse_is_left_out_wherever_it_is(at, part, seed):
    frames = train(300, 5.0, seed=seed, jitter=0.01)
    stray = frames[0] - 0.3 * PERIOD if at < 0 else frames[at] + part * (frames[at + 1] - frames[at])
    found, findings, codes = match(np.sort(np.append(frames, stray)), n_frames=300)
    assert codes == {"stray-pulses": "warning"}
    np.testing.assert_array_equal(found.clock.starts_s, frames)
    assert findings[0].evidence["times_s"] == [pytest.approx(stray, abs=1e-4)]


@settings(max_examples=100, deadline=None)
@given(at=st.sets(st.integers(1, 298), min_size=1, max_size=3), seed=st.integers(0, 1000))
def test_pulses_lost_inside_are_an_error_with_their_places(at, seed):
    frames = train(300, 5.0, seed=seed)
    found, findings, codes = match(np.delete(frames, list(at)), n_frames=300)
    assert codes == {"missing-pulses": "error"}
    assert findings[0].evidence["n_missing"] == len(at)
    np.testing.assert_allclose(found.clock.starts_s, frames, atol=0.1 * PERIOD)  # for who accepts the finding
    before = [number - 1 for number in sorted(at) if number - 1 not in at]
    np.testing.assert_allclose(found.mended_s, frames[before])


@pytest.mark.parametrize("at", [0, 299])
def test_a_pulse_lost_at_an_end_can_not_be_told(at):
    found, findings, codes = match(np.delete(train(300, 5.0), at), n_frames=300)
    assert codes == {"too-few-pulses": "error"}
    assert (found.told_by, found.n_over) == ("", -1)  # light in the movie may tell; see audit_sync
    assert "299 pulses for 300 frames: 1 are missing at an end" in findings[0].message


def test_a_pulse_at_the_wrong_time_is_a_stray_and_a_lost_one():
    frames = train(300, 5.0)
    shifted = frames.copy()
    shifted[100] += 0.6 * PERIOD
    found, _, codes = match(shifted, n_frames=300)
    assert codes == {"stray-pulses": "warning", "missing-pulses": "error"}
    np.testing.assert_allclose(found.clock.starts_s, frames, atol=0.1 * PERIOD)


def test_pulses_that_are_no_train_are_not_mended():
    halves = np.concatenate([train(150, 5.0), 2.4 * PERIOD + train(150, 5.0 + 149 * PERIOD)])
    found, findings, codes = match(halves, n_frames=300)
    assert (found, codes) == (None, {"irregular-pulses": "error"})
    assert findings[0].evidence["times_s"] == [pytest.approx(halves[149], abs=1e-4)]


@pytest.mark.parametrize("count", [200, 279, 321, 400])
def test_counts_that_do_not_fit(count):
    found, findings, codes = match(train(count, 5.0), n_frames=300)
    assert (found, codes) == (None, {"no-matching-block": "error"})
    assert f"{count} pulses" in findings[0].message


@pytest.mark.parametrize("onsets", [[], [3.0]])
def test_hardly_any_pulse_is_not_a_clock(onsets):
    found, _, codes = match(onsets, n_frames=300)
    assert (found, codes) == (None, {"too-few-pulses": "error"})


def test_pauses_of_the_program():
    """Several cycles: the program's own frame times tell which pulses belong together."""
    program = np.concatenate([train(100, 0.0, jitter=0), train(80, 20.0, jitter=0), train(60, 41.0, jitter=0)])
    pulses = program * 1.0002 + 3.0
    found, _, codes = match(train(31, 0.5), pulses, n_frames=240, frame_times_s=program)
    np.testing.assert_array_equal(found.clock.starts_s, pulses)
    assert (found.told_by, codes) == ("pulse count", {"recording-with-pauses": "info"})
    found, _, codes = match(pulses, n_frames=240)  # without them there is no telling
    assert (found, codes) == (None, {"no-matching-block": "error"})
    other = np.concatenate([train(120, 0.0, jitter=0), train(120, 20.0, jitter=0)])
    found, _, codes = match(pulses, n_frames=240, frame_times_s=other)
    assert (found, codes) == (None, {"no-matching-block": "error"})


def test_a_short_pause_of_the_program_places_the_first_frame():
    program = np.delete(train(301, 0.0, jitter=0), 100)  # a frame that was neither saved nor pulsed
    pulses = np.concatenate([[8.0 - PERIOD], program + 8.0, [8.0 + program[-1] + PERIOD]])
    found, _, _ = match(pulses, n_frames=300, frame_times_s=program)
    np.testing.assert_allclose(found.clock.starts_s, program + 8.0)
    assert (found.first, found.n_over, found.told_by) == (1, 2, "")


@settings(max_examples=60, deadline=None)
@given(lost=st.integers(0, 5), extra=st.integers(0, 20), seed=st.integers(0, 1000), drift=st.floats(0.98, 1.02))
def test_jitter_that_both_clocks_show_tells_the_first_frame(lost, extra, seed, drift):
    frames = train(300 + extra, 5.0, jitter=0.03, seed=seed)
    program = frames[:300] * drift + np.random.default_rng(seed).normal(0, 0.003 * PERIOD, 300) - 4.9
    found, _, _ = match(frames[lost:], n_frames=300, frame_times_s=program)
    assert (found.first, found.told_by) == (-lost, "program times")
    assert found.n_missing == (lost, 0)
    np.testing.assert_allclose(found.clock.starts_s, frames[:300], atol=0.3 * PERIOD)


@pytest.mark.parametrize("decimals", [3, 9])
def test_a_regular_grid_of_program_times_tells_nothing(decimals):
    program = np.round(np.arange(300) / 30.19, decimals)
    found, _, _ = match(train(310, 5.0), n_frames=300, frame_times_s=program)
    assert (found.first, found.told_by) == (0, "")


def test_volumes():
    ticks = train(4 * 100 + 3, 2.0)  # the last volume is incomplete
    found, _, codes = match(ticks, n_frames=100, n_planes=4, nominal_rate_hz=29.75 / 4)
    np.testing.assert_array_equal(found.clock.starts_s, ticks[:400])
    np.testing.assert_array_equal(found.clock.plane(1, 4).starts_s, ticks[1:400:4])
    assert (found.n_over, codes) == (3, {})
    found, _, codes = match(train(4 * 100 + 23, 2.0), n_frames=100, n_planes=4)  # incomplete, and 20 more
    assert (found.n_over, codes) == (23, {})


def test_fly_back_is_no_lost_pulse():
    ticks = (np.arange(100)[:, None] * 5.2 + np.arange(4)).ravel() * PERIOD + 2.0
    found, _, codes = match(ticks, n_frames=100, n_planes=4)
    np.testing.assert_array_equal(found.clock.starts_s, ticks)
    assert codes == {}
    assert found.clock.plane(2, 4).period_s == pytest.approx(5.2 * PERIOD)


def test_rate_against_the_program():
    clock = FrameClock(train(16368, 7.0))
    (finding,) = rate_findings(clock, nominal_rate_hz=30.19, program_s=None, where="")
    assert (finding.code, finding.severity) == ("nominal-rate-drifts", "info")
    assert 7 < finding.evidence["drift_s"] < 9
    (finding,) = rate_findings(clock, nominal_rate_hz=15.0, program_s=None, where="")
    assert finding.code == "rate-differs"
    wandering = np.arange(16368) * PERIOD + 0.2 * np.sin(np.arange(16368) / 5000)  # the clocks drift apart and together again
    assert rate_findings(clock, nominal_rate_hz=None, program_s=wandering, where="") == []
    jumped = np.where(np.arange(16368) < 700, 0, PERIOD) + np.arange(16368) * PERIOD
    (finding,) = rate_findings(clock, nominal_rate_hz=None, program_s=jumped, where="")
    assert finding.code == "pulses-differ-from-program"


def test_parameters():
    with pytest.raises(ParameterError, match="n_frames"):
        match(train(10, 0), n_frames=0)
    with pytest.raises(ParameterError, match="nominal_rate_hz"):
        match(train(10, 0), n_frames=10, nominal_rate_hz=0)
