"""Which of the recorded frame pulses belong to the frames of the movie.

A frame clock channel holds more than the movie's pulses: live scanning before it, frames scanned but not saved after it, other
recordings, stray pulses. Pulses are split into blocks by gaps, in units of the frame period; within a block the intervals tell
which pulses are strays and where some were lost; the block is the one whose number of pulses fits the frames. Which of its pulses
is the first frame's is told by the program's own frame times where their jitter is the pulses' own (a fingerprint), else by the
number alone. Where several blocks fit, or none, the answer is a finding and no match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.analysis.pulse_blocks import GRID_TOLERANCE_PERIODS, PulseTrain, mend
from packerlabimaging.core.clock import FRAME_GAP_PERIODS, FrameClock
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding, Severity

BLOCK_GAP_PERIODS = 4.0
"""A pause of more than this many frame periods separates two recordings; a shorter one is a lost pulse."""

EXTRA_PULSES = 20
"""Pulses after the last saved frame that are usual: the scanner goes on until the program stops it."""

RATE_TOLERANCE = 0.05
"""A measured rate that differs more than this from the program's is told as a possible mix-up of recordings."""

FINGERPRINT_LOG_RATIO = 20.0
"""Log likelihood ratio by which one alignment of the program's intervals must be better than any other to be believed."""

ToldBy = Literal["pulse count", "program times", "light in the movie", ""]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameMatch:
    """The train of pulses that holds the movie's frames, and where in it the first frame lies.

    Parameters
    ----------
    train_s
        Pulses of the recording, shape ``(n_pulses,)``, seconds: strays left out, lost ones filled in.
    first
        Which of them is the first frame's. Negative or large values mean that pulses are missing at that end of the train.
    n_ticks, n_planes
        Ticks of the movie, which are frames times planes, and planes.
    told_by
        What told ``first``; empty where nothing did, and the first pulse is assumed.
    mended_s
        Times after which lost pulses were filled in, shape ``(n_gaps,)``.
    period_s
        Median interval of the train.
    """

    train_s: np.ndarray
    first: int
    n_ticks: int
    n_planes: int
    told_by: ToldBy
    mended_s: np.ndarray
    period_s: float

    @property
    def n_over(self) -> int:
        """Pulses more than ticks; negative where some are missing."""
        return len(self.train_s) - self.n_ticks

    @property
    def n_missing(self) -> tuple[int, int]:
        """Ticks without a pulse before the train begins and after it ends."""
        return max(0, -self.first), max(0, self.first + self.n_ticks - len(self.train_s))

    def starts_s(self, first: int, stop: int) -> np.ndarray:
        """Return pulses ``first`` to ``stop`` (not included), continued with the median period beyond the train's ends."""
        numbers = np.arange(first, stop)
        inside = np.clip(numbers, 0, len(self.train_s) - 1)
        return self.train_s[inside] + (numbers - inside) * self.period_s

    @property
    def clock(self) -> FrameClock:
        """Clock of the movie's ticks, shape ``(n_ticks,)``: one per frame and plane."""
        return FrameClock(self.starts_s(self.first, self.first + self.n_ticks), "hardware", self.period_s)


def match_frame_clock(
    pulses: Events,
    *,
    n_frames: int,
    n_planes: int = 1,
    nominal_rate_hz: float | None = None,
    frame_times_s: np.ndarray | None = None,
    block: int | None = None,
) -> tuple[FrameMatch | None, tuple[Finding, ...]]:
    """Find the pulses of a movie's frames among all pulses of a frame clock channel.

    Parameters
    ----------
    pulses
        All pulses of the channel; the onset of a pulse is the start of a frame.
    n_frames
        Frames of the movie (multi-plane: complete volumes).
    n_planes
        Pulses per volume.
    nominal_rate_hz
        Frames (volumes) per second by the program's settings: tells the period.
    frame_times_s
        Start of each frame on the program's own clock, shape ``(n_frames,)`` or ``(n_frames, n_planes)``, seconds. Where they
        are irregular they say which pulses belong to which frames; a regular grid says nothing.
    block
        Take this block (zero-based, as numbered in the findings) instead of the one that fits.

    Returns
    -------
    match
        The train of pulses and the place of the first frame; None where the pulses can't be matched.
    findings
        What was seen and assumed on the way. One of severity ``"error"`` beside a match means that it rests on an assumption
        that a person has to accept.

    Raises
    ------
    ParameterError
        If a count or rate makes no sense.

    Notes
    -----
    Where the first frame is told by nothing but the number of pulses, a lost first pulse made up for by an extra one goes
    unseen, and pulses beyond the number of frames are assumed to follow the last one. :func:`audit_sync` goes on from here:
    it looks for the light of the stims in the movie, which does tell.
    """
    n_ticks = int(check_positive("n_frames", n_frames)) * int(check_positive("n_planes", n_planes))
    onsets = pulses.onsets_s
    if len(onsets) < 2:
        message = f"{len(onsets)} frame pulses for {n_ticks} frames: this is not a frame clock."
        return None, (Finding("too-few-pulses", message, "error", pulses.name, "Choose the channel of the frame clock."),)
    program_s = None if frame_times_s is None else np.asarray(frame_times_s, np.float64).ravel()
    if program_s is not None and len(program_s) != n_ticks:
        program_s = None
    period_s = _expected_period(onsets, nominal_rate_hz, n_planes, program_s)
    findings: list[Finding] = []
    starts = [] if program_s is None or block is not None else _starts_by_pauses(onsets, program_s)
    if len(starts) == 1:
        message = "The recording paused; its pulses pause where the program's own frame times do."
        findings.append(Finding("recording-with-pauses", message, "info", pulses.name))
        return _within_blocks(onsets, starts[0], n_ticks, n_planes, period_s), tuple(findings)
    trains = [mend(part, period_s, n_planes) for part in _split(onsets, period_s)]
    spare = EXTRA_PULSES + n_planes - 1  # the last volume may be incomplete
    chosen = _choose(trains, n_ticks, spare, block, pulses.name, findings)
    if chosen is None:
        return None, tuple(findings)
    findings += chosen.findings(pulses.name)
    if len(chosen.irregular_s):
        return None, tuple(findings)
    match = FrameMatch(
        train_s=chosen.times_s,
        first=0,
        n_ticks=n_ticks,
        n_planes=n_planes,
        told_by="pulse count" if chosen.n_pulses == n_ticks else "",
        mended_s=chosen.lost_after_s,
        period_s=_period_of(chosen.times_s, period_s),
    )
    first = None if program_s is None else _first_by_intervals(chosen.times_s, program_s, reach=spare)
    return match if first is None else replace(match, first=first, told_by="program times"), tuple(findings)


def _expected_period(onsets_s: np.ndarray, nominal_rate_hz: float | None, n_planes: int, program_s: np.ndarray | None) -> float:
    """Tell the frame period: the median interval near the program's, else of all pulses."""
    intervals = np.diff(onsets_s)
    if program_s is not None and len(program_s) > 1:
        expected = float(np.median(np.diff(program_s)))
    elif nominal_rate_hz is not None:
        expected = 1.0 / (check_positive("nominal_rate_hz", nominal_rate_hz) * n_planes)
    else:
        return float(np.median(intervals))
    near = intervals[(intervals > expected / FRAME_GAP_PERIODS) & (intervals < expected * FRAME_GAP_PERIODS)]
    return float(np.median(near)) if len(near) else float(np.median(intervals))


def _period_of(train_s: np.ndarray, expected_s: float) -> float:
    return float(np.median(np.diff(train_s))) if len(train_s) > 2 else expected_s


def _split(onsets_s: np.ndarray, period_s: float) -> list[np.ndarray]:
    return np.split(onsets_s, np.flatnonzero(np.diff(onsets_s) > BLOCK_GAP_PERIODS * period_s) + 1)


# which block


def _choose(
    trains: Sequence[PulseTrain], n_ticks: int, spare: int, given: int | None, where: str, findings: list[Finding]
) -> PulseTrain | None:
    """Choose the block of the movie, or say why none can be chosen."""
    listing = [train.describe() for train in trains]
    evidence = {"n_frames": n_ticks, "blocks": listing}
    if given is not None:
        if not 0 <= given < len(trains):
            message = f"There is no block {given} of frame pulses: {_numbered(listing)}."
            findings.append(Finding("no-such-block", message, "error", where, "Give the number of a block.", evidence))
            return None
        findings.append(Finding("block-given", f"Block {given} was chosen by hand: {listing[given]}.", "info", where))
        return trains[given]
    fitting = [train for train in trains if n_ticks <= train.n_pulses <= n_ticks + spare]
    if len(fitting) > 1:
        message = f"{len(fitting)} blocks of pulses fit the {n_ticks} frames: {_numbered(listing)}."
        advice = "Choose one by its number: [trial.sync] block = ..., or block=."
        findings.append(Finding("ambiguous-pulse-blocks", message, "error", where, advice, evidence))
        return None
    near = [train for train in trains if abs(train.n_pulses - n_ticks) <= spare and train not in fitting]
    if not fitting and len(near) == 1:
        fitting, near = near, []
        lack = n_ticks - fitting[0].n_pulses
        message = (
            f"{fitting[0].n_pulses} pulses for {n_ticks} frames: {lack} are missing at an end, and the pulses don't tell which."
        )
        advice = "Check that recording and movie belong together, and that recording of signals began before the movie."
        findings.append(Finding("too-few-pulses", message, "error", where, advice, {"n_missing": lack}))
    if not fitting:
        message = f"No block of pulses fits the {n_ticks} frames: {_numbered(listing)}."
        advice = "Check that recording and movie belong together, and that all frames were copied."
        findings.append(Finding("no-matching-block", message, "error", where, advice, evidence))
        return None
    others = [text for train, text in zip(trains, listing, strict=True) if train is not fitting[0]]
    if others:
        message = f"Blocks of pulses that are not the movie's: {'; '.join(others[:5])}."
        severity: Severity = "warning" if near else "info"
        findings.append(Finding("other-pulse-blocks", message, severity, where, evidence=evidence))
    return fitting[0]


# what the program's own frame times tell


def _starts_by_pauses(onsets_s: np.ndarray, program_s: np.ndarray) -> list[int]:
    """Tell from which pulses on the program's frame times fit, where these have a pause to tell it by."""
    intervals = np.diff(program_s)
    if not len(intervals) or intervals.max() <= FRAME_GAP_PERIODS * np.median(intervals):
        return []
    longest, period_s = int(intervals.argmax()), float(np.median(intervals))
    tolerance = GRID_TOLERANCE_PERIODS * period_s + RATE_TOLERANCE * intervals[longest]
    starts = np.flatnonzero(np.abs(np.diff(onsets_s) - intervals[longest]) <= tolerance) - longest
    starts = starts[(starts >= 0) & (starts + len(program_s) <= len(onsets_s))]
    return [int(start) for start in starts if _follows(onsets_s[start : start + len(program_s)], program_s)]


def _within_blocks(onsets_s: np.ndarray, start: int, n_ticks: int, n_planes: int, period_s: float) -> FrameMatch:
    """Match the pulses from ``start`` on; what else lies in the blocks where they begin and end belongs to the same recording."""
    edges = np.concatenate([[0], np.cumsum([len(part) for part in _split(onsets_s, period_s)])])
    begin = edges[np.searchsorted(edges, start, side="right") - 1]
    train_s = onsets_s[begin : edges[np.searchsorted(edges, start + n_ticks)]]
    return FrameMatch(
        train_s=train_s,
        first=start - int(begin),
        n_ticks=n_ticks,
        n_planes=n_planes,
        told_by="pulse count" if len(train_s) == n_ticks else "",
        mended_s=np.zeros(0),
        period_s=_period_of(train_s, period_s),
    )


def _follows(times_s: np.ndarray, program_s: np.ndarray) -> bool:
    """Say whether every interval of the pulses is the program's, but for the constant ratio of the two clocks (drift)."""
    if len(times_s) < 3:
        return True  # two points lie on any line
    ratio = float((times_s[-1] - times_s[0]) / (program_s[-1] - program_s[0]))
    differences = np.abs(np.diff(times_s) - ratio * np.diff(program_s))
    return bool(differences.max() <= GRID_TOLERANCE_PERIODS * np.median(np.diff(times_s)) and abs(ratio - 1) <= RATE_TOLERANCE)


def _first_by_intervals(train_s: np.ndarray, program_s: np.ndarray, *, reach: int) -> int | None:
    """Tell the first frame's pulse by the one alignment at which both clocks show the same irregular intervals.

    Programs that write multiples of a nominal period have no irregular intervals, and then nothing is told.
    """
    pulses, program = np.diff(train_s), np.diff(program_s)
    if len(program) < 10 or len(pulses) < 10 or program.std() < 1e-4 * np.median(program):
        return None
    pulses, program = pulses - np.median(pulses), program - np.median(program)
    firsts = np.arange(min(0, len(pulses) - len(program)) - reach, max(0, len(pulses) - len(program)) + reach + 1)
    evidence = np.full(len(firsts), -np.inf)
    for index, first in enumerate(firsts.tolist()):
        part = pulses[max(0, first) : first + len(program)]
        other = program[max(0, -first) :][: len(part)]
        norm = np.sqrt((part @ part) * (other @ other))
        if len(other) >= len(program) / 2 and norm > 0 and part @ other > 0:
            evidence[index] = -0.5 * len(other) * np.log(max(1 - (part @ other / norm) ** 2, 1e-12))
    order = np.argsort(evidence)
    best, second = evidence[order[-1]], max(evidence[order[-2]], 0.0)
    return int(firsts[order[-1]]) if best - second >= FINGERPRINT_LOG_RATIO else None


def rate_findings(clock: FrameClock, *, nominal_rate_hz: float | None, program_s: np.ndarray | None, where: str) -> list[Finding]:
    """Compare the measured frame times of a plane with the program's settings and with its own frame times."""
    findings = []
    rate, advice = clock.rate_hz, "Check that recording and movie belong together."
    if nominal_rate_hz is not None:
        drift = float(clock.starts_s[-1] - clock.starts_s[0]) - (clock.n_frames - 1) / nominal_rate_hz
        evidence = {"measured_hz": rate, "nominal_hz": float(nominal_rate_hz), "drift_s": drift}
        if abs(rate / nominal_rate_hz - 1) > RATE_TOLERANCE:
            message = f"The pulses come at {rate:.4f} Hz, the program's settings say {nominal_rate_hz:.4f} Hz."
            findings.append(Finding("rate-differs", message, "warning", where, advice, evidence))
        elif abs(drift) > clock.period_s:
            message = (
                f"The pulses come at {rate:.4f} Hz, not at the nominal {nominal_rate_hz:.4f} Hz: "
                f"nominal frame times would be {abs(drift):.2f} s off at the end. The pulses are used."
            )
            findings.append(Finding("nominal-rate-drifts", message, "info", where, evidence=evidence))
    if program_s is not None and not _follows(clock.starts_s, program_s):
        message = "The pulses do not follow the program's own frame times, beyond a constant difference of the two clocks."
        findings.append(Finding("pulses-differ-from-program", message, "warning", where, advice))
    return findings


def _numbered(listing: Sequence[str]) -> str:
    shown = [f"block {number}: {text}" for number, text in enumerate(listing[:12])]
    return "; ".join([*shown, *([f"and {len(listing) - 12} more"] if len(listing) > 12 else [])])
