"""Pulses: against a plain loop, across chunk borders, at any level, and never on an analogue channel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.analysis import levels as module
from packerlabimaging.analysis.pulses import detect_pulses
from packerlabimaging.core.signals import ArrayChannel, Signals
from packerlabimaging.errors import ParameterError

RATE = 1000.0
REAL = "Packer-Lab__OPSF_vs_PPSF/2020-09-25_axialRes_PPSF_RL091_Cell36_NA0.73_fast_00001.paq"


class PiecewiseChannel(ArrayChannel):
    """Gives its samples in pieces of a chosen length."""

    piece = 7

    def chunks(self, n_samples=None):
        return super().chunks(self.piece)


def channel(values, piece=10_000):
    made = PiecewiseChannel("ttl", np.asarray(values, np.float32), rate_hz=RATE, unit="V")
    made.piece = piece
    return made


def square(n_samples, onsets, widths, *, low=0.0, high=5.0, noise=0.0, seed=0):
    values = np.full(n_samples, low)
    for onset, width in zip(onsets, np.broadcast_to(widths, len(onsets)), strict=True):
        values[onset : onset + width] = high
    return values + np.random.default_rng(seed).normal(0, noise, n_samples) if noise else values


def plain_twin(values, falls_below, rises_to):
    """The definition, sample by sample."""
    high = values[0] >= falls_below
    onsets, ends = [], []
    counted = not high
    for number, value in enumerate(values):
        if not high and value >= rises_to:
            onsets.append(number)
            high = counted = True
        elif high and value < falls_below:
            if counted:
                ends.append(number)
            high, counted = False, False
    if len(ends) < len(onsets):
        ends.append(len(values))
    return onsets, ends


def found(pulses):
    return np.round(pulses.onsets_s * RATE).astype(int).tolist(), np.round(pulses.ends_s * RATE).astype(int).tolist()


def codes(pulses):
    return [finding.code for finding in pulses.findings]


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), min_size=1, max_size=120),
    piece=st.integers(1, 50),
    thresholds=st.sampled_from([(2.0, 4.0), (2.5, 2.5), (1.0, 5.0), (3.0, 3.0)]),
)
def test_equals_the_definition_across_chunk_borders(values, piece, thresholds):
    pulses = detect_pulses(channel(values, piece), threshold=thresholds)
    assert found(pulses) == plain_twin(values, *thresholds)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_own_levels_find_every_pulse(data):
    gaps = data.draw(st.lists(st.integers(8, 60), min_size=2, max_size=30))
    widths = data.draw(st.lists(st.integers(3, 30), min_size=len(gaps), max_size=len(gaps)))
    high = data.draw(st.sampled_from([5.0, 3.3, 0.4]))
    low = data.draw(st.sampled_from([0.0, -0.3, 1.2]))
    onsets = np.cumsum(gaps) + np.cumsum([0, *widths[:-1]])
    values = square(int(onsets[-1]) + widths[-1] + 20, onsets, widths, low=low, high=low + high, noise=0.02 * high)
    pulses = detect_pulses(channel(values, data.draw(st.integers(1, 100))))
    assert found(pulses) == (onsets.tolist(), (onsets + widths).tolist())
    assert pulses.levels.low == pytest.approx(low, abs=0.05 * high)
    assert pulses.levels.high == pytest.approx(low + high, abs=0.05 * high)


def test_rare_short_pulses_in_a_long_recording():
    """Duty cycle 1e-4, and none of them in the blocks that the levels are first looked for in."""
    n_samples = 3_000_000
    blocks = np.linspace(0, n_samples - module.BLOCK_SAMPLES, module.SAMPLE_BLOCKS).astype(int)
    onsets = blocks[5:45:8] + module.BLOCK_SAMPLES + 500
    values = square(n_samples, onsets, 60, noise=0.01)
    for start in blocks:
        assert values[start : start + module.BLOCK_SAMPLES].max() < 1
    pulses = detect_pulses(channel(values, 1 << 18))
    assert found(pulses) == (onsets.tolist(), (onsets + 60).tolist())
    assert pulses.findings == ()


def test_flicker_of_the_last_bit_does_not_hide_rare_pulses():
    rng = np.random.default_rng(1)
    n_samples = 1_000_000
    onsets = np.array([70_000, 350_001, 801_000])
    values = square(n_samples, onsets, 50) + 0.06 * rng.integers(0, 2, n_samples)  # looks like two levels of its own
    assert found(detect_pulses(channel(values, 1 << 16)))[0] == onsets.tolist()


def test_one_long_pulse():
    values = square(50_000, [3000], 40_000, noise=0.01)
    pulses = detect_pulses(channel(values))
    assert found(pulses) == ([3000], [43_000])
    assert codes(pulses) == ["single-pulse"]


def test_starting_and_ending_high():
    values = square(1000, [0, 300, 900], 100)
    pulses = detect_pulses(channel(values))
    assert found(pulses) == ([300, 900], [400, 1000])
    assert codes(pulses) == ["starts-high", "ends-high"]


def test_overshoot_and_slow_edges():
    values = square(20_000, np.arange(100, 19_000, 300), 100)
    values[np.arange(100, 19_000, 300)] = 7.0  # rings above the level
    values[np.arange(99, 19_000, 300)] = 2.0  # one sample on the way up
    assert found(detect_pulses(channel(values)))[0] == np.arange(100, 19_000, 300).tolist()


def test_noise_on_the_edges_makes_no_double_pulses():
    values = square(200_000, np.arange(100, 199_000, 300), 100, noise=0.35)  # 7 % of the step
    assert len(detect_pulses(channel(values))) == len(range(100, 199_000, 300))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", np.full(5000, 0.25)),
        ("noise", np.random.default_rng(0).normal(0, 1, 50_000)),
        ("sine", np.sin(np.arange(50_000) / 300)),
        ("sawtooth", np.arange(50_000) % 700 / 700),
        ("slow ramp between two places", np.clip(np.arange(50_000) - 20_000, 0, 10_000) / 10_000),
        ("flicker of the last bit", np.random.default_rng(0).integers(0, 2, 50_000) * 0.005),
        ("spikes", np.random.default_rng(0).normal(0, 0.05, 50_000) + np.random.default_rng(1).exponential(0.2, 50_000)),
        ("positions of a galvo", np.random.default_rng(3).choice([-1.5, 0, 0.4, 0.9, 2.0], 500).repeat(100)),
        ("pulses of many heights", np.kron(np.random.default_rng(3).uniform(1, 5, 500), np.r_[np.zeros(50), np.ones(50)])),
        ("random walk", np.random.default_rng(4).normal(0, 0.05, 50_000).cumsum()),
        ("sine on a slope", np.sin(np.arange(50_000) / 50) + np.arange(50_000) / 5000),
        ("triangle", np.abs(np.arange(50_000) % 2000 - 1000) / 500),
        ("steps up", np.arange(50_000) // 5000 * 1.0),
        ("wheel", np.clip(np.cumsum(np.random.default_rng(5).normal(0, 0.01, 50_000)), 0, 1)),
        ("nothing", np.zeros(0)),
        ("not numbers", np.full(100, np.nan)),
    ],
)
def test_analogue_channels_give_a_finding_and_no_pulses(name, values):
    pulses = detect_pulses(channel(values))
    assert len(pulses) == 0
    (finding,) = pulses.findings
    assert (finding.code, finding.severity) == ("not-two-levels", "error")


def test_threshold_by_hand():
    values = np.sin(np.arange(5000) / 100)
    pulses = detect_pulses(channel(values), threshold=(-0.5, 0.5))
    assert found(pulses) == plain_twin(values.astype(np.float32), np.float32(-0.5), np.float32(0.5))
    assert pulses.levels is None
    assert codes(detect_pulses(channel(values), threshold=3)) == ["no-pulses"]
    assert found(detect_pulses(channel(values), levels=(-1, 1))) == plain_twin(
        values.astype("f4"), np.float32(-0.4), np.float32(0.4)
    )
    with pytest.raises(ParameterError, match=r"Give \(low, high\), in order"):
        detect_pulses(channel(values), levels=(1, -1))
    with pytest.raises(ParameterError, match="Give one of them"):
        detect_pulses(channel(values), levels=(-1, 1), threshold=0)
    for threshold in (np.nan, (2, 1)):
        with pytest.raises(ParameterError, match="falls below, rises to"):
            detect_pulses(channel(values), threshold=threshold)


def test_minimum_width_and_refractory_time():
    values = square(1000, [100, 130, 300, 500], [10, 3, 3, 10])
    assert found(detect_pulses(channel(values), min_width_s=0.01))[0] == [100, 500]
    assert codes(detect_pulses(channel(values), min_width_s=0.01)) == ["short-pulses"]
    assert found(detect_pulses(channel(values), refractory_s=0.03))[0] == [100, 130, 300, 500]
    assert found(detect_pulses(channel(values), refractory_s=0.031))[0] == [100, 300, 500]
    assert codes(detect_pulses(channel(values), refractory_s=0.031)) == ["refractory-pulses"]
    with pytest.raises(ParameterError, match="min_width_s"):
        detect_pulses(channel(values), min_width_s=-1)


def test_samples_that_are_not_numbers_neither_begin_nor_end_a_pulse():
    values = square(4000, np.arange(100, 3900, 300), 100)
    values[16:33] = values[150:160] = values[198:203] = np.nan
    pulses = detect_pulses(channel(values, 17))
    ends = np.arange(200, 4000, 300)
    ends[0] = 203  # the first number after them that is low
    assert found(pulses) == (np.arange(100, 3900, 300).tolist(), ends.tolist())
    assert [(finding.code, finding.evidence) for finding in pulses.findings] == [("nan-samples", {"n_nan": 32})]
    values[:40] = np.nan
    assert codes(detect_pulses(channel(values))) == ["nan-samples"]


@pytest.mark.parametrize("size", [np.inf, 3e38, 1e9])
def test_a_damaged_sample_hides_no_pulses(size):
    values = square(4000, np.arange(100, 3900, 300), 100)
    values[[50, 1000]] = -size, size
    assert found(detect_pulses(channel(values)))[0][:3] == [100, 400, 700]


def test_pulses_of_one_sample():
    onsets = np.sort(np.random.default_rng(0).choice(500_000, 200, replace=False)) * 2 + 1
    assert found(detect_pulses(channel(square(1_000_100, onsets, 1, noise=0.02), 1 << 16))) == (
        onsets.tolist(),
        (onsets + 1).tolist(),
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_active_low_is_the_mirror_image(data):
    values = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), min_size=1, max_size=120)))
    low = detect_pulses(channel(values, data.draw(st.integers(1, 50))), levels=(0, 5), active="low")
    high = detect_pulses(channel(5 - values + 1e-6), levels=(0, 5))  # reaching and falling below meet at the thresholds
    assert found(low) == found(high)


def test_a_channel_that_rests_high_is_told():
    onsets = np.arange(500, 20_000, 700)
    values = 5 - square(20_000, onsets, 30, noise=0.02)
    wrong = detect_pulses(channel(values))
    assert codes(wrong) == ["starts-high", "ends-high", "mostly-high"]
    assert 'pass active="low"' in wrong.findings[-1].advice
    right = detect_pulses(channel(values), active="low")
    assert found(right) == (onsets.tolist(), (onsets + 30).tolist())
    assert right.findings == ()
    assert codes(detect_pulses(channel(5 - values), active="low"))[-1] == "mostly-low"
    with pytest.raises(ParameterError, match="active = 'up'"):
        detect_pulses(channel(values), active="up")


def test_rare_pulses_that_are_active_low():
    onsets = np.array([400_000, 700_001])
    values = 5 - square(1_000_000, onsets, 20) + 0.06 * np.random.default_rng(0).integers(0, 2, 1_000_000)
    assert found(detect_pulses(channel(values, 1 << 16), active="low"))[0] == onsets.tolist()


@pytest.mark.parametrize(
    ("name", "drift"),
    [
        ("slope of three steps", lambda t: t / 4),
        ("swing of two steps", lambda t: 5 * np.sin(t / 10)),
        ("decay", lambda t: 12 * np.exp(-t / 20)),
    ],
)
@pytest.mark.parametrize("active", ["high", "low"])
def test_a_drifting_baseline_is_followed(name, drift, active):
    onsets = np.arange(700, 59_000, 900)
    pulses = square(60_000, onsets, 200, noise=0.02)
    values = (pulses if active == "high" else 5 - pulses) + drift(np.arange(60_000) / RATE)
    detected = detect_pulses(channel(values), active=active)
    assert found(detected) == (onsets.tolist(), (onsets + 200).tolist())
    assert codes(detected) == ["drifting-baseline"]


def test_long_pulses_between_short_ones():
    onsets, widths = np.array([1000, 3000, 30_000]), [50, 20_000, 3]
    assert found(detect_pulses(channel(square(40_000, onsets, widths, noise=0.05)))) == (
        onsets.tolist(),
        (onsets + widths).tolist(),
    )


def test_every_crossing_of_dense_noise_fits_in_memory():
    values = np.tile([0.0, 5.0], 50_000)
    assert len(detect_pulses(channel(values, 4096))) == 50_000


@pytest.mark.realdata
def test_real_file(realdata):
    from packerlabimaging.io.packio import PackIOReader

    signals = PackIOReader().open(realdata / REAL)
    trigger = detect_pulses(signals["ImageTrigOut"])
    samples = np.fromfile(realdata / REAL, ">f4", offset=228).reshape(-1, 2)[:, 1]
    assert trigger.onsets_s.tolist() == [int((samples > 2.5).argmax()) / 10_000]
    assert trigger.durations_s == pytest.approx([1.0])
    galvo = detect_pulses(signals["StimGalvo"])
    assert len(galvo) == 0
    assert [(finding.code, finding.severity) for finding in galvo.findings] == [("not-two-levels", "error")]


def test_all_signals_instead_of_one_channel_are_told():
    with pytest.raises(ParameterError, match=r"one channel, not in Signals. Name it: signals\['name'\]"):
        detect_pulses(Signals([ArrayChannel("a", np.zeros(10), rate_hz=10.0)]))
