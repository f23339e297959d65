"""Pulses on TTL channels, found by the two levels that the channel's own samples lie on.

Edges are found with hysteresis, in one pass through the channel in bounded memory; only where pulses are too rare to be seen
in a sample of the recording, or the baseline drifts, are its samples looked at again. A channel whose samples do not lie on two
levels gives a finding and no pulses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from packerlabimaging._check import check_choice, check_positive
from packerlabimaging.analysis.levels import MIN_STEP, LevelledChannel, Levels, levels_of_all_samples, levels_of_sample
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import Channel
from packerlabimaging.errors import ParameterError

Active = Literal["high", "low"]

MAX_BETWEEN_PER_EDGE = 3.0
"""Samples between the two thresholds allowed for each edge: a TTL rises within a few samples, an analogue signal lingers."""

MOSTLY = 0.51
"""A channel that is active for longer than this part of the recording may rest at that level; square waves stay below it."""

ROUNDING = 1e-9
"""Part of a limit by which a time may miss it: times are sample numbers divided by a rate."""


@dataclass(frozen=True, eq=False, repr=False)
class Pulses(Events):
    """Pulses of one channel: :class:`~packerlabimaging.core.Events` with ends, and how they were found.

    Parameters
    ----------
    levels
        Low and high level; None where thresholds were given by hand, or no two levels were found. On a drifting baseline, where
        it stood in the middle (median).
    thresholds
        ``(falls below, rises to)`` in the channel's unit; None where no two levels were found.
    findings
        What was noticed; a finding of severity ``"error"`` means that the channel holds no usable pulses.
    """

    levels: Levels | None = None
    thresholds: tuple[float, float] | None = None
    findings: tuple[Finding, ...] = ()


def detect_pulses(
    channel: Channel,
    *,
    threshold: float | tuple[float, float] | None = None,
    levels: tuple[float, float] | None = None,
    active: Active = "high",
    min_width_s: float | None = None,
    refractory_s: float | None = None,
) -> Pulses:
    """Find the pulses of a TTL channel.

    A pulse starts at the first sample that reaches the upper threshold after one below the lower threshold, and ends at the
    first sample below the lower one: its onset is right to one sample. A channel that is high from its first sample has no
    onset there. For pulses that are active low, the same with high and low, upper and lower exchanged.

    Parameters
    ----------
    channel
        The channel; read in pieces.
    threshold
        Threshold in the channel's unit, or ``(falls below, rises to)`` for hysteresis; by default 30 % and 70 % of the step
        between the channel's own levels. With it, the channel is not asked to lie on two levels.
    levels
        ``(low, high)`` in the channel's unit, in place of the channel's own; thresholds are taken from them in the same way.
    active
        ``"high"`` where the channel rests low and a pulse is high, ``"low"`` for the opposite.
    min_width_s
        Shortest pulse to keep, seconds; all by default.
    refractory_s
        Shortest time from one kept onset to the next, seconds; any by default.

    Returns
    -------
    Pulses
        Onsets and ends in seconds on the channel's time base. None, with a finding of severity ``"error"``, where the
        channel is constant, not on two levels, or has no edge.

    Raises
    ------
    ParameterError
        If a parameter makes no sense, or ``channel`` is none.

    Notes
    -----
    The smallest step between levels that is believed is 0.05 of the channel's unit (``levels.MIN_STEP``), so that a dead channel
    whose last bit flickers is not taken for a clock; pass ``threshold`` for weaker signals, or for light of several strengths.
    Samples that are not numbers neither begin nor end a pulse. A baseline that drifts by more than the thresholds allow is
    followed, where pulses last less than 4 s; a finding says so.
    """
    if not isinstance(channel, Channel):
        raise ParameterError(f"Pulses are looked for in one channel, not in {type(channel).__name__}. Name it: signals['name'].")
    check_choice("active", active, ("high", "low"))
    thresholds = _given_thresholds(threshold, levels)
    for name, value in (("min_width_s", min_width_s), ("refractory_s", refractory_s)):
        if value is not None:
            check_positive(name, value, zero=True)
    found = None if levels is None else Levels(float(levels[0]), float(levels[1]))
    drift: tuple[Finding, ...] = ()
    if thresholds is not None:
        scan: _Scan | None = _scan(channel, thresholds, active, max_between=np.inf)
    else:
        found, scan, drift = _scan_by_own_levels(channel, active)
        thresholds = found.thresholds if found is not None else None
    if scan is None:
        return Pulses(np.zeros(0), np.zeros(0), channel.name, findings=(_no_levels_finding(channel, found),))
    onsets, ends, dropped = _drop(scan.onsets, scan.ends, channel, min_width_s, refractory_s)
    findings = (*drift, *_scan_findings(scan, channel, active), *dropped, *_count_findings(onsets, channel))
    return Pulses(channel.time_of(onsets), channel.time_of(ends), channel.name, found, thresholds, findings)


def _given_thresholds(
    threshold: float | tuple[float, float] | None, levels: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Return the thresholds that were given by themselves or as levels."""
    if levels is not None:
        if threshold is not None:
            raise ParameterError("Both threshold and levels are given. Give one of them.")
        if not (len(levels) == 2 and np.all(np.isfinite(levels)) and levels[0] < levels[1]):
            raise ParameterError(f"levels = {levels!r} is not possible. Give (low, high), in order.")
        return Levels(float(levels[0]), float(levels[1])).thresholds
    if threshold is None:
        return None
    low, high = threshold if isinstance(threshold, (tuple, list)) else (threshold, threshold)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ParameterError(f"threshold = {threshold!r} is not possible. Give a number, or (falls below, rises to), in order.")
    return float(low), float(high)


def _scan_by_own_levels(channel: Channel, active: Active) -> tuple[Levels | None, _Scan | None, tuple[Finding, ...]]:
    """Find the levels and scan with them; no scan where there are no two levels."""
    levels, scan = _scan_steady(channel, active)
    if scan is not None:
        return levels, scan, ()
    levelled = LevelledChannel(channel, active=active)
    if levelled.drift >= MIN_STEP:
        followed, scan = _scan_steady(levelled, active)
        if scan is not None and len(scan.onsets) > 1:
            message = f"The baseline of channel '{channel.name}' drifts by {levelled.drift:.2g}; pulses were found on top of it."
            evidence = {"drift": levelled.drift}
            return followed, scan, (Finding("drifting-baseline", message, "warning", channel.name, evidence=evidence),)
    return levels, None, ()


def _scan_steady(channel: Channel, active: Active) -> tuple[Levels | None, _Scan | None]:
    """Find levels that hold for the whole recording, and scan with them."""
    levels = levels_of_sample(channel)
    if levels is not None:
        scan = _scan(channel, levels.thresholds, active, max_between=MAX_BETWEEN_PER_EDGE)
        reach = levels.step / 2
        if not scan.lingers and len(scan.onsets) and levels.low - reach <= scan.lowest and scan.highest <= levels.high + reach:
            return levels, scan
    levels = levels_of_all_samples(channel)
    if levels is None:
        return None, None
    scan = _scan(channel, levels.thresholds, active, max_between=MAX_BETWEEN_PER_EDGE)
    return levels, None if scan.lingers else scan


@dataclass
class _Scan:
    """Edges found in one pass, as sample numbers, and what else was seen on the way."""

    onsets: np.ndarray
    ends: np.ndarray
    starts_active: bool
    ends_active: bool
    active_fraction: float
    lowest: float
    highest: float
    n_nan: int
    lingers: bool


@dataclass
class _EdgeFinder:
    """Find edges with hysteresis in a signal that comes piece by piece."""

    low: np.float32
    high: np.float32
    state: int = -1  # a code: 1 high, 255 low; -1 before the first sample that is either
    starts_high: bool = False
    n_between: int = 0
    rises: list[np.ndarray] = field(default_factory=list)
    falls: list[np.ndarray] = field(default_factory=list)

    def update(self, start: int, values: np.ndarray) -> int:
        """Take in ``values``, the samples from number ``start`` on; return the number of edges."""
        codes = (values >= self.high).view(np.uint8)  # 1 at the upper threshold or above
        codes -= (values < self.low).view(np.uint8)  # 255 below the lower one; 0 between them, or not a number
        changes = np.flatnonzero(codes[1:] != codes[:-1])
        starts = np.concatenate([[0], changes + 1])  # runs of equal code
        codes = codes[starts]
        between = codes == 0
        if between.any():
            self.n_between += int(np.diff(starts, append=len(values))[between].sum())
            starts, codes = starts[~between], codes[~between]
        if not len(codes):
            return 0
        if self.state < 0:  # a signal that does not begin low has no rise at its beginning
            self.state = int(codes[0])
            self.starts_high = self.state == 1
        turns = codes != np.concatenate([[self.state], codes[:-1]])
        starts, codes, self.state = starts[turns] + start, codes[turns], int(codes[-1])
        self.rises.append(starts[codes == 1])
        self.falls.append(starts[codes == 255])
        return len(starts)


def _scan(channel: Channel, thresholds: tuple[float, float], active: Active, *, max_between: float) -> _Scan:
    """Find all edges in one pass; stop early where the signal clearly lingers between the thresholds."""
    finder = _EdgeFinder(np.float32(thresholds[0]), np.float32(thresholds[1]))
    lowest, highest, n_nan, n_edges = np.inf, -np.inf, 0, 0
    for start, values in channel.chunks():
        n_edges += finder.update(start, values)
        bottom, top = float(values.min()), float(values.max())
        if np.isnan(top):
            n_nan += int(np.isnan(values).sum())
            bottom, top = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
        lowest, highest = min(lowest, bottom), max(highest, top)
        if finder.n_between - n_nan > 10_000 + max_between * n_edges:
            break
    rises, falls = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (finder.rises, finder.falls))
    lingers = finder.n_between - n_nan > 10 + max_between * n_edges
    starts_active = finder.state >= 0 and finder.starts_high == (active == "high")
    onsets, ends = (rises, falls) if active == "high" else (falls, rises)
    first_active = ends[0] if starts_active and len(ends) else 0
    if starts_active:
        ends = ends[1:]
    ends_active = len(ends) < len(onsets)
    if ends_active:
        ends = np.append(ends, channel.n_samples)
    n_active = int((ends - onsets).sum()) + int(first_active)
    fraction = n_active / max(1, channel.n_samples)
    return _Scan(onsets, ends, starts_active, ends_active, fraction, lowest, highest, n_nan, lingers)


def _drop(
    onsets: np.ndarray, ends: np.ndarray, channel: Channel, min_width_s: float | None, refractory_s: float | None
) -> tuple[np.ndarray, np.ndarray, list[Finding]]:
    """Leave out pulses that are too short or follow too soon, and say how many."""
    findings = []
    if min_width_s:
        wide = (ends - onsets) / channel.rate_hz >= min_width_s * (1 - ROUNDING)
        if not wide.all():
            message = f"{int((~wide).sum())} pulses shorter than {min_width_s:g} s are left out."
            findings.append(Finding("short-pulses", message, "info", channel.name))
        onsets, ends = onsets[wide], ends[wide]
    if refractory_s and np.any(np.diff(onsets) < refractory_s * channel.rate_hz):
        kept = [0]
        for index in range(1, len(onsets)):
            if (onsets[index] - onsets[kept[-1]]) / channel.rate_hz >= refractory_s * (1 - ROUNDING):
                kept.append(index)
        if len(kept) < len(onsets):
            message = f"{len(onsets) - len(kept)} pulses within {refractory_s:g} s after another are left out."
            findings.append(Finding("refractory-pulses", message, "info", channel.name))
        onsets, ends = onsets[kept], ends[kept]
    return onsets, ends, findings


def _no_levels_finding(channel: Channel, levels: Levels | None) -> Finding:
    lingering = levels is not None
    return Finding(
        "not-two-levels",
        f"Channel '{channel.name}' does not lie on two levels"
        + (": it lingers between them, as an analogue signal does." if lingering else f" at least {MIN_STEP:g} apart."),
        "error",
        channel.name,
        "Choose the channel that carries the pulses, or pass threshold= or levels= if this is the one.",
    )


def _scan_findings(scan: _Scan, channel: Channel, active: Active) -> list[Finding]:
    findings = []
    if scan.starts_active:
        message = f"Channel '{channel.name}' is {active} from its first sample; that is not counted as a pulse."
        findings.append(Finding(f"starts-{active}", message, "info", channel.name))
    if scan.ends_active:
        message = f"The last pulse of channel '{channel.name}' lasts to the end of the recording."
        findings.append(Finding(f"ends-{active}", message, "info", channel.name))
    if scan.n_nan:
        message = f"Channel '{channel.name}' holds {scan.n_nan} samples that are not numbers; no pulse begins or ends there."
        evidence = {"n_nan": scan.n_nan}
        findings.append(Finding("nan-samples", message, "warning", channel.name, evidence=evidence))
    if scan.active_fraction > MOSTLY and len(scan.onsets) > 1:
        other = "low" if active == "high" else "high"
        message = f"Channel '{channel.name}' is {active} for {scan.active_fraction:.0%} of the time: it may rest {active}."
        of_trial = f', of a trial [trial.sync] active_low = ["{channel.name}"]' if other == "low" else ""
        advice = f'If its pulses are {other}, pass active="{other}"{of_trial}; onsets lie at the other edge then.'
        measured = {"active_fraction": scan.active_fraction}
        findings.append(Finding(f"mostly-{active}", message, "warning", channel.name, advice, measured))
    return findings


def _count_findings(onsets: np.ndarray, channel: Channel) -> list[Finding]:
    if len(onsets) == 0:
        message = f"Channel '{channel.name}' has no pulse."
        return [Finding("no-pulses", message, "error", channel.name, "Choose the channel that carries the pulses.")]
    if len(onsets) == 1:
        message = f"Channel '{channel.name}' holds a single pulse: a start trigger, not a clock."
        return [Finding("single-pulse", message, "warning", channel.name)]
    return []
