"""One block of frame pulses: its strays left out and its lost pulses filled in, by the intervals between pulses alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.core.clock import FRAME_GAP_PERIODS
from packerlabimaging.core.findings import Finding

EARLY_PERIODS = 0.75
"""Of two pulses closer together than this part of a period, one is not a frame's."""

GRID_TOLERANCE_PERIODS = 0.25
"""A pulse belongs to the regular train, or to the program's times, where it lies this close to them."""

MOST_STRAYS = 50
"""With more pulses between the frames' than this, a channel is no frame clock, and nothing is mended."""


@dataclass(frozen=True, eq=False)
class PulseTrain:
    """A block of pulses without its strays and with its lost pulses filled in, and where that was necessary."""

    raw_s: np.ndarray
    times_s: np.ndarray
    strays_s: np.ndarray
    lost_after_s: np.ndarray
    irregular_s: np.ndarray

    @property
    def n_pulses(self) -> int:
        return len(self.times_s)

    def describe(self) -> str:
        return f"{len(self.raw_s)} pulses from {self.raw_s[0]:.3f} to {self.raw_s[-1]:.3f} s"

    def findings(self, where: str) -> list[Finding]:
        found = []
        look = "Look at the channel there."
        if len(self.irregular_s):
            message = f"Frame pulses follow no regular train, at {_some(self.irregular_s)} s: which are frames can't be told."
            found.append(Finding("irregular-pulses", message, "error", where, look, _places(self.irregular_s)))
        if len(self.strays_s):
            message = f"Pulses between those of the frames are left out: {len(self.strays_s)}, at {_some(self.strays_s)} s."
            found.append(Finding("stray-pulses", message, "warning", where, look, _places(self.strays_s)))
        if len(self.lost_after_s):
            n_lost = self.n_pulses + len(self.strays_s) - len(self.raw_s)
            message = f"Frame pulses are missing: {n_lost}, after {_some(self.lost_after_s)} s."
            advice = "If pulses were lost but no frame was, accept this: the lost ones are spread evenly over their gaps."
            evidence = {**_places(self.lost_after_s), "n_missing": n_lost}
            found.append(Finding("missing-pulses", message, "error", where, advice, evidence))
        return found


def mend(times_s: np.ndarray, period_s: float, n_planes: int) -> PulseTrain:
    """Leave out the strays of a block and fill in its lost pulses, by the intervals between pulses in periods."""
    none = np.zeros(0)
    if len(times_s) > 2:
        period_s = float(np.median(np.diff(times_s)))
    if _is_regular(times_s, period_s, n_planes):
        return PulseTrain(times_s, times_s, none, none, none)
    kept, strays = _without_strays(times_s, period_s)
    steps = np.diff(kept) / period_s
    whole = np.maximum(np.round(steps), 1)
    gaps = steps > FRAME_GAP_PERIODS
    off = (steps < EARLY_PERIODS) | (gaps & (np.abs(steps - whole) > GRID_TOLERANCE_PERIODS))
    numbers = np.concatenate([[0], np.cumsum(np.where(gaps, whole, 1))])
    filled = np.interp(np.arange(numbers[-1] + 1), numbers, kept)
    return PulseTrain(times_s, filled, strays, kept[:-1][gaps & ~off], kept[:-1][off])


def _is_regular(times_s: np.ndarray, period_s: float, n_planes: int) -> bool:
    """Say whether no interval is too short or too long, for a frame or for its place in a volume (fly-back takes longer)."""
    intervals = np.diff(times_s)
    expected = np.full(len(intervals), period_s)
    if n_planes > 1 and len(intervals) >= 2 * n_planes:
        by_place = [np.median(intervals[place::n_planes]) for place in range(n_planes)]
        expected = np.resize(by_place, len(intervals))
    steps = intervals / expected
    return bool(np.all((steps >= EARLY_PERIODS) & (steps <= FRAME_GAP_PERIODS)))


def _without_strays(times_s: np.ndarray, period_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Of two pulses too close together, leave out the one without which the intervals around are nearest to whole periods."""
    strays: list[float] = []
    while len(strays) < MOST_STRAYS:
        early = np.flatnonzero(np.diff(times_s) < EARLY_PERIODS * period_s)
        if not len(early):
            break
        pair = (int(early[0]), int(early[0]) + 1)
        begin = max(0, pair[0] - 2)
        around = times_s[begin : pair[1] + 3]
        misfits = []
        for index in pair:
            steps = np.diff(np.delete(around, index - begin)) / period_s
            misfits.append(np.abs(steps - np.maximum(np.round(steps), 1)).sum())
        stray = pair[int(np.argmin(misfits))]
        strays.append(float(times_s[stray]))
        times_s = np.delete(times_s, stray)
    return times_s, np.array(strays)


def _places(times_s: np.ndarray) -> dict[str, list[float]]:
    return {"times_s": np.round(times_s[:50], 4).tolist()}


def _some(times_s: np.ndarray) -> str:
    text = ", ".join(f"{time:.4g}" if time < 10 else f"{time:.3f}" for time in times_s[:5].tolist())
    return f"{text}, ..." if len(times_s) > 5 else text
