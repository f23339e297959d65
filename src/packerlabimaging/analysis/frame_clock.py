"""Which of the recorded frame pulses belong to the frames of the movie.

A frame clock channel holds more than the movie's pulses: live scanning before it, some frames scanned but not saved after
it, other recordings, stray pulses. Pulses are split into blocks by gaps, in units of the frame period, and the block that
fits the known number of frames is taken. Where several fit, or none, the answer is a finding and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.clock import FRAME_GAP_PERIODS, FrameClock
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding, Severity

BLOCK_GAP_PERIODS = 4.0
"""A pause of more than this many frame periods separates two recordings; a shorter one is a lost pulse."""

EXTRA_PULSES = 20
"""Pulses after the last saved frame that are usual: the scanner goes on until the program stops it."""

EARLY_PERIODS = 0.75
"""A pulse that follows the one before by less than this part of a period is not a frame's."""

RATE_TOLERANCE = 0.05
"""A measured rate that differs more than this from the program's is told as a possible mix-up of recordings."""

PATTERN_TOLERANCE_PERIODS = 0.25
"""Pulses follow the program's own frame times where they agree to this part of a period."""


@dataclass(frozen=True)
class _Block:
    """Pulses ``first`` to ``stop`` (not included) of the channel, with no long pause between them."""

    times_s: np.ndarray
    period_s: float

    @property
    def n_pulses(self) -> int:
        return len(self.times_s)

    @property
    def steps(self) -> np.ndarray:
        """Intervals in periods."""
        return np.diff(self.times_s) / self.period_s

    def describe(self) -> str:
        return f"{self.n_pulses} pulses from {self.times_s[0]:.3f} to {self.times_s[-1]:.3f} s"


def match_frame_clock(
    pulses: Events,
    *,
    n_frames: int,
    n_planes: int = 1,
    nominal_rate_hz: float | None = None,
    frame_times_s: np.ndarray | None = None,
    block: int | None = None,
) -> tuple[FrameClock | None, tuple[Finding, ...]]:
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
        Frames (volumes) per second by the program's settings: tells the period, and is compared.
    frame_times_s
        Start of each frame on the program's own clock, shape ``(n_frames,)`` or ``(n_frames, n_planes)``, seconds. Where the
        program paused, this says which pulses belong to which frames.
    block
        Take this block (zero-based, as numbered in the findings) instead of the one that fits.

    Returns
    -------
    clock
        One tick per frame and plane, ``n_frames * n_planes``; None where the pulses can't be matched with certainty.
    findings
        What was seen and assumed. With severity ``"error"`` the clock is missing, or rests on an assumption that has to be
        accepted by name.

    Raises
    ------
    ParameterError
        If a count or rate makes no sense.

    Notes
    -----
    Pulses beyond the number of frames are taken to follow the last saved frame, because the scanner runs on for some frames
    while the program stops it. A lost first pulse together with extra pulses looks the same, which is why they warn.
    """
    n_ticks = int(check_positive("n_frames", n_frames)) * int(check_positive("n_planes", n_planes))
    if len(pulses) < 2:
        message = f"{len(pulses)} frame pulses for {n_ticks} frames: this is not a frame clock."
        return None, (Finding("too-few-pulses", message, "error", pulses.name, "Choose the channel of the frame clock."),)
    program_s = None if frame_times_s is None else np.asarray(frame_times_s, np.float64).ravel()
    if program_s is not None and len(program_s) != n_ticks:
        program_s = None
    period_s = _expected_period(pulses.onsets_s, nominal_rate_hz, n_planes, program_s)
    blocks = _split(pulses.onsets_s, period_s)
    spare = max(EXTRA_PULSES, n_planes - 1)
    findings: list[Finding] = []
    chosen = _choose(blocks, n_ticks, spare, program_s, block, pulses.name, findings)
    if chosen is None:
        return None, tuple(findings)
    ticks = _ticks_of(chosen, n_ticks, program_s, pulses.name, findings)
    if ticks is None:
        return None, tuple(findings)
    clock = FrameClock(ticks, "hardware", chosen.period_s)
    findings += _rate_findings(clock, nominal_rate_hz, n_planes, program_s, pulses.name)
    return clock, tuple(findings)


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


def _split(onsets_s: np.ndarray, period_s: float) -> list[_Block]:
    cuts = np.flatnonzero(np.diff(onsets_s) > BLOCK_GAP_PERIODS * period_s) + 1
    parts = np.split(onsets_s, cuts)
    return [_Block(part, float(np.median(np.diff(part))) if len(part) > 2 else period_s) for part in parts]


def _choose(
    blocks: Sequence[_Block],
    n_ticks: int,
    spare: int,
    program_s: np.ndarray | None,
    given: int | None,
    where: str,
    findings: list[Finding],
) -> _Block | None:
    """Choose the block of the movie, or say why none can be chosen."""
    listing = [block.describe() for block in blocks]
    evidence = {"n_frames": n_ticks, "blocks": listing}
    if given is not None:
        if not 0 <= given < len(blocks):
            message = f"There is no block {given} of frame pulses: {_numbered(listing)}."
            findings.append(Finding("no-such-block", message, "error", where, "Give the number of a block.", evidence))
            return None
        findings.append(Finding("block-given", f"Block {given} was chosen by hand: {listing[given]}.", "info", where))
        return blocks[given]
    fitting = [block for block in blocks if n_ticks <= block.n_pulses + _n_lost(block) and block.n_pulses <= n_ticks + spare]
    if len(fitting) == 1:
        others = [text for block, text in zip(blocks, listing, strict=True) if block is not fitting[0]]
        if others:
            near = [block for block in blocks if block is not fitting[0] and abs(block.n_pulses - n_ticks) <= spare]
            message = f"{len(others)} other blocks of pulses are not the movie's: {'; '.join(others[:5])}."
            severity: Severity = "warning" if near else "info"
            findings.append(Finding("other-pulse-blocks", message, severity, where, evidence=evidence))
        return fitting[0]
    if not fitting and program_s is not None:
        joined = _join_by_program(blocks, n_ticks, program_s)
        if joined is not None:
            message = f"The recording paused: its {n_ticks} pulses lie in several blocks, as the program's frame times do."
            findings.append(Finding("recording-with-pauses", message, "info", where, evidence=evidence))
            return joined
    if fitting:
        message = f"{len(fitting)} blocks of pulses fit the {n_ticks} frames: {_numbered(listing)}."
        advice = "Choose one by its number: [trial.sync] block = ..., or block=."
        findings.append(Finding("ambiguous-pulse-blocks", message, "error", where, advice, evidence))
        return None
    message = f"No block of pulses fits the {n_ticks} frames: {_numbered(listing)}."
    advice = "Check that recording and movie belong together, and that all frames were copied."
    findings.append(Finding("no-matching-block", message, "error", where, advice, evidence))
    return None


def _numbered(listing: Sequence[str]) -> str:
    shown = [f"block {number}: {text}" for number, text in enumerate(listing[:12])]
    return "; ".join([*shown, *([f"and {len(listing) - 12} more"] if len(listing) > 12 else [])])


def _n_lost(block: _Block) -> int:
    """Count the pulses missing inside a block, by the intervals that are multiples of the period."""
    steps = block.steps
    return int((np.round(steps[steps > FRAME_GAP_PERIODS]) - 1).sum())


def _join_by_program(blocks: Sequence[_Block], n_ticks: int, program_s: np.ndarray) -> _Block | None:
    """Join consecutive blocks whose pauses are those of the program's frame times; None unless exactly one run does."""
    found = []
    for first in range(len(blocks)):
        times = np.zeros(0)
        for block in blocks[first:]:
            times = np.concatenate([times, block.times_s])
            if len(times) >= n_ticks:
                break
        if len(times) == n_ticks and _follows(times, program_s, blocks[first].period_s):
            found.append(_Block(times, float(np.median(np.diff(times)))))
    return found[0] if len(found) == 1 else None


def _follows(times_s: np.ndarray, program_s: np.ndarray, period_s: float) -> bool:
    """Say whether pulses and program times agree after the best straight line between the two clocks."""
    if len(times_s) < 3:
        return True  # two points lie on any line
    slope, offset = np.polyfit(program_s - program_s[0], times_s - times_s[0], 1)
    residual = times_s - times_s[0] - slope * (program_s - program_s[0]) - offset
    close = np.abs(residual).max() <= PATTERN_TOLERANCE_PERIODS * period_s
    return bool(close and abs(slope - 1) <= RATE_TOLERANCE)


def _ticks_of(
    block: _Block, n_ticks: int, program_s: np.ndarray | None, where: str, findings: list[Finding]
) -> np.ndarray | None:
    """Take the pulses of the frames out of a block that holds some more, or has lost some."""
    times = block.times_s
    early = np.flatnonzero(block.steps < EARLY_PERIODS)
    if len(early) and len(times) > n_ticks:
        return _without_stray(block, early, n_ticks, where, findings)
    if len(early):
        places = np.round(times[early + 1], 4).tolist()
        message = f"{len(early)} frame pulses follow too soon after the one before, at {_some(places)} s."
        findings.append(
            Finding("irregular-pulses", message, "error", where, "Look at the channel there.", {"times_s": places[:50]})
        )
        return None
    lost = np.flatnonzero(block.steps > FRAME_GAP_PERIODS)
    if len(lost) and not _fitting_starts(block, n_ticks, program_s):
        return _with_lost(block, lost, n_ticks, where, findings)
    if len(times) < n_ticks:
        message = f"{len(times)} pulses for {n_ticks} frames: {n_ticks - len(times)} are missing, and it can't be told where."
        findings.append(Finding("too-few-pulses", message, "error", where, "Check that recording and movie belong together."))
        return None
    return _without_extra(block, n_ticks, program_s, where, findings)


def _without_stray(block: _Block, early: np.ndarray, n_ticks: int, where: str, findings: list[Finding]) -> np.ndarray | None:
    """Leave out a stray pulse at the very beginning; strays elsewhere can't be told from shifted frames."""
    places = np.round(block.times_s[early + 1], 4).tolist()
    if early.tolist() == [0]:
        rest = _Block(block.times_s[1:], block.period_s)
        message = f"The first pulse, at {block.times_s[0]:.4f} s, is less than a frame period before the next and is left out."
        findings.append(Finding("stray-first-pulse", message, "warning", where, evidence={"time_s": float(block.times_s[0])}))
        return _without_extra(rest, n_ticks, None, where, findings)
    message = f"{len(early)} pulses lie between the frames' pulses, at {_some(places)} s; which ones can't be told."
    findings.append(Finding("stray-pulses", message, "error", where, "Look at the channel there.", {"times_s": places[:50]}))
    return None


def _with_lost(block: _Block, lost: np.ndarray, n_ticks: int, where: str, findings: list[Finding]) -> np.ndarray | None:
    """Fill the gaps of lost pulses, where that gives exactly the number of frames; an error until a person accepts it."""
    steps = np.maximum(np.round(block.steps), 1).astype(int)
    numbers = np.concatenate([[0], np.cumsum(steps)])
    filled = np.interp(np.arange(numbers[-1] + 1), numbers, block.times_s)
    places = np.round(block.times_s[lost], 4).tolist()
    message = f"{len(filled) - block.n_pulses} frame pulses are missing, after {_some(places)} s."
    evidence = {"times_s": places[:50], "n_missing": int(len(filled) - block.n_pulses)}
    if not n_ticks <= len(filled) <= n_ticks + EXTRA_PULSES:
        message += f" With them there would be {len(filled)} for {n_ticks} frames."
        findings.append(Finding("missing-pulses", message, "error", where, "Look at the channel there.", evidence))
        return None
    advice = "If pulses were lost but no frame was, accept this: the lost ones are placed in the middle of their gaps."
    findings.append(Finding("missing-pulses", message, "error", where, advice, evidence))
    return _without_extra(_Block(filled, block.period_s), n_ticks, None, where, findings)


def _without_extra(block: _Block, n_ticks: int, program_s: np.ndarray | None, where: str, findings: list[Finding]) -> np.ndarray:
    """Leave out the pulses beyond the number of frames: those at the end, unless the program's pauses say otherwise."""
    extra = block.n_pulses - n_ticks
    if extra == 0:
        return block.times_s
    fits = _fitting_starts(block, n_ticks, program_s)
    first = fits[0] if len(fits) == 1 else 0
    message = f"{extra} pulses more than the {n_ticks} frames: {first} before the first frame, {extra - first} after the last."
    advice = "Usual: the scanner runs on. A lost first pulse would look the same."
    evidence = {"n_extra": extra, "n_before": first, "n_frames": n_ticks}
    findings.append(Finding("extra-pulses", message, "warning", where, advice, evidence))
    return block.times_s[first : first + n_ticks]


def _fitting_starts(block: _Block, n_ticks: int, program_s: np.ndarray | None) -> list[int]:
    """Tell from which pulses on the program's frame times fit, where these have a pause to tell it by."""
    if program_s is None or len(program_s) < 2 or block.n_pulses < n_ticks:
        return []
    intervals = np.diff(program_s)
    if intervals.max() <= FRAME_GAP_PERIODS * np.median(intervals):
        return []
    starts = range(block.n_pulses - n_ticks + 1)
    return [start for start in starts if _follows(block.times_s[start : start + n_ticks], program_s, block.period_s)]


def _some(places: Sequence[float]) -> str:
    text = ", ".join(f"{place:g}" for place in places[:5])
    return f"{text}, ..." if len(places) > 5 else text


def _rate_findings(
    clock: FrameClock, nominal_rate_hz: float | None, n_planes: int, program_s: np.ndarray | None, where: str
) -> list[Finding]:
    """Compare the measured rate with the program's settings and with its own frame times."""
    findings = []
    rate = clock.rate_hz / n_planes
    if nominal_rate_hz is not None:
        duration = float(clock.starts_s[-1] - clock.starts_s[0])
        drift = duration - (clock.n_frames - 1) / (nominal_rate_hz * n_planes)
        evidence = {"measured_hz": rate, "nominal_hz": float(nominal_rate_hz), "drift_s": drift}
        differs = abs(rate / nominal_rate_hz - 1)
        if differs > RATE_TOLERANCE:
            message = f"The pulses come at {rate:.4f} Hz, the program's settings say {nominal_rate_hz:.4f} Hz."
            advice = "Check that recording and movie belong together."
            findings.append(Finding("rate-differs", message, "warning", where, advice, evidence))
        elif abs(drift) > clock.period_s:
            message = (
                f"The pulses come at {rate:.4f} Hz, not at the nominal {nominal_rate_hz:.4f} Hz: "
                f"nominal frame times would be {abs(drift):.2f} s off at the end. The pulses are used."
            )
            findings.append(Finding("nominal-rate-drifts", message, "info", where, evidence=evidence))
    if program_s is not None and clock.n_frames > 2 and not _follows(clock.starts_s, program_s, clock.period_s):
        message = "The pulses do not follow the program's own frame times, beyond a constant difference of the two clocks."
        advice = "Check that recording and movie belong together."
        findings.append(Finding("pulses-differ-from-program", message, "warning", where, advice))
    return findings
