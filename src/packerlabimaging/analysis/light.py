"""Stimulation light in the movie: the one witness that knows both the frames and the stims.

The laser that stimulates also brightens (or, with a gated detector, darkens) the frames taken while it is on. Where that is seen,
the frames themselves say which of them a stim fell in, and with it which pulse is the first frame's: something that counting
pulses can't tell. :func:`find_light` compares the brightness of the frames around the stims with what the pulses and the protocol
foresee, for every way in which pulses and frames might be shifted against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from packerlabimaging.analysis.frame_clock import FrameMatch
from packerlabimaging.core.clock import FRAME_GAP_PERIODS
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.photostim import LightTimes

FEWEST_STIMS = 5
"""Fewer stims than this decide nothing."""

ALIGNMENT_STIMS = 16
"""Stims, evenly chosen, that the shift is looked for with; then all are checked at it, within a few frames."""

LEAST_EXPLAINED = 0.7
"""Share of the frame-to-frame change of brightness, noise left out, that light has to explain around the beginnings and ends of
stims. Cells that light up at once and fade slowly could pass for half of it at most: they do not go dark at the end."""

LOST_PULSES = 10
"""Pulses that might have been lost before the first one: so far back the first frame is looked for."""

SURE_SD2 = 25.0
"""One shift is better than another if it fits better by this many noise variances (five standard deviations)."""

MODEL_ERROR = 0.05
"""The brightness of a frame is foreseen to this part of its light at best."""

READ_FRAMES = 64
"""Frames read at a time."""

CHECK_REACH = 3
"""Frames around the shift within which every single stim is checked."""


@dataclass(frozen=True, eq=False)
class LightSeen:
    """What the movie says about the first frame's pulse.

    Parameters
    ----------
    first
        Pulse of the train that is the first frame's; None where the light is not seen clearly enough.
    explained
        Share of the frame-to-frame change of brightness around the stims that the light explains.
    stims, onsets_s
        Numbers and first light of the stims that were checked, each ``(n_checked,)``.
    shifts
        For each of them by how many ticks its light comes later than foreseen, float ``(n_checked,)``: 0 where nothing
        contradicts, NaN where no light is seen.
    margins
        For each of them by how much any other shift fits worse, in noise variances, ``(n_checked,)``.
    seen
        Whether the light of each of them is seen beyond doubt, ``(n_checked,)``.
    """

    first: int | None
    explained: float
    stims: np.ndarray
    onsets_s: np.ndarray
    shifts: np.ndarray
    margins: np.ndarray
    seen: np.ndarray

    def confirms(self, start_s: float, stop_s: float) -> bool:
        """Say whether the stims in ``[start_s, stop_s)`` together exclude any other shift."""
        these = (self.onsets_s >= start_s) & (self.onsets_s < stop_s)
        return bool(np.all(self.shifts[these] == 0) and self.margins[these].sum() >= SURE_SD2)

    @property
    def confirmed_until_s(self) -> float:
        """Onset of the last stim from which on to the end the stims exclude any other shift; minus infinity if there is none."""
        sure = np.flatnonzero(np.cumsum(self.margins[::-1])[::-1] >= SURE_SD2)
        return float(self.onsets_s[sure[-1]]) if len(sure) else -np.inf


def find_light(movie: Movie, match: FrameMatch, light: LightTimes, *, plane: int = 0) -> LightSeen:
    """Look for the light of the stims in the frames of a movie.

    Parameters
    ----------
    movie
        One plane; only frames around the stims are read.
    match
        The train of pulses, and the first frame's pulse by the count.
    light
        Every interval of light, on the time base of the pulses.
    plane
        The movie's plane.

    Returns
    -------
    LightSeen
        The first frame's pulse, if the light tells it, and what each stim says.

    Notes
    -----
    The brightness ``y`` of a frame is the mean of its pixels, the light ``p`` the share of its time (of the plane's own tick)
    that is lit. Their changes from frame to frame are compared, because slow changes of brightness mean nothing: for every shift,
    ``dy = b dp`` is fitted with one ``b`` for all stims, on the frames around the beginning and the end of each. The best shift
    is believed if it explains most of the change, and fits better than any other by five standard deviations of the noise,
    whichever stim is left out.
    """
    exposure = _Exposure(match, light, plane, movie)
    n_stims, nothing = len(exposure.stims), np.zeros(0)
    shifts = np.arange(-max(LOST_PULSES, -match.n_over) - 3, max(0, match.n_over) + 4)
    some = np.unique(np.linspace(0, n_stims - 1, ALIGNMENT_STIMS).round().astype(int)) if n_stims else np.zeros(0, int)
    best, explained = None, 0.0
    half = max(FEWEST_STIMS, (len(some) + 1) // 2)
    for part in (some, some[:half], some[-half:]):  # where frames were lost in the middle, only a part agrees on a shift
        if best is None and len(part) >= FEWEST_STIMS:
            fit = exposure.compare(part, shifts)
            best, explained = fit.best(), max(explained, float(fit.explained.max()))
    if best is None:
        return LightSeen(None, explained, nothing, nothing, nothing, nothing, nothing)
    shift, near = int(shifts[best]), CHECK_REACH * match.n_planes
    every = exposure.compare(np.arange(n_stims), shift + np.arange(-near, near + 1))
    return LightSeen(match.first + shift, float(every.explained[near]), exposure.stims, exposure.onsets_s, *every.check())


@dataclass(frozen=True, eq=False)
class _Comparison:
    """How badly the light foreseen at each shift fits what is seen at each stim: squared differences.

    ``loss (stim, shift)``; ``dark (stim,)``, at the best shift without the stim's own light; ``explained (shift,)``, share of all
    change; ``noise (stim,)``, variance of the change of brightness from frame to frame and of what is foreseen.
    """

    loss: np.ndarray
    dark: np.ndarray
    explained: np.ndarray
    noise: np.ndarray

    def best(self) -> int | None:
        """Return the shift that the light tells, whichever single stim is left out; None where it tells none."""
        best = int(np.argmax(self.explained))
        worse = np.delete(self.loss - self.loss[:, [best]], best, axis=1) / self.noise[:, None]
        margins = worse.sum(axis=0) - worse.max(axis=0)
        return best if self.explained[best] >= LEAST_EXPLAINED and margins.min() >= SURE_SD2 else None

    def check(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compare every stim with the shift in the middle; return ``shifts, margins, seen`` of :class:`LightSeen`."""
        middle = self.loss.shape[1] // 2
        fits, least, sure = self.loss[:, middle], self.loss.min(axis=1), SURE_SD2 * self.noise
        shifts = np.where(fits - least > sure, middle - self.loss.argmin(axis=1), 0).astype(float)
        shifts[(fits - self.dark > sure) & (self.dark <= least)] = np.nan
        margins = (np.delete(self.loss, middle, axis=1).min(axis=1) - fits) / self.noise
        return shifts, margins, self.dark - fits > sure


class _Exposure:
    """How much of each tick is lit, by pulses and protocol, and how bright the frames are."""

    def __init__(self, match: FrameMatch, light: LightTimes, plane: int, movie: Movie) -> None:
        self.match, self.plane, self.movie = match, plane, movie
        pad = 64 + 8 * match.n_planes  # ticks beyond the train's ends
        self.low = min(0, match.first) - pad
        starts = match.starts_s(self.low, max(len(match.train_s), match.first + match.n_ticks) + pad)
        ends = np.minimum(np.append(starts[1:], np.inf), starts + _longest_scan(match))
        self.lit = (_light_before(light, ends) - _light_before(light, starts)) / (ends - starts)
        numbers, begin = np.unique(light.stim, return_index=True)
        onsets_s, ends_s = light.onset_s[begin], np.maximum.reduceat(light.end_s, begin) if len(begin) else light.end_s
        first, last = (np.searchsorted(starts, times, side="right") - 1 for times in (onsets_s, ends_s))
        inside = (first + self.low >= 0) & (first + self.low < len(match.train_s))
        self.stims, self.onsets_s = numbers[inside], onsets_s[inside]
        self.first_lit, self.last_lit = first[inside], last[inside]

    def compare(self, which: np.ndarray, shifts: np.ndarray) -> _Comparison:
        """Compare the frames around the onsets of some stims with the light foreseen at every shift.

        Shift ``s`` means that frame ``f`` was taken at tick ``first + s + plane + f * n_planes`` of the train.
        """
        n_planes, zero = self.match.n_planes, self.match.first + self.plane - self.low
        around = np.arange(-(shifts.max() // n_planes) - 3, -(shifts.min() // n_planes) + 4)
        begins, ends = ((lit[which, None] - zero) // n_planes + around for lit in (self.first_lit, self.last_lit))
        frames = np.concatenate([begins, ends], axis=1)
        exists = (frames >= 0) & (frames < self.movie.n_frames)
        exists[:, len(around) :] &= ends > begins[:, -1:]  # each frame once
        usable = exists[:, 1:] & exists[:, :-1] & (np.diff(frames, axis=1) == 1)
        change = np.where(usable, np.diff(self._brightness(frames, exists), axis=1), 0.0)
        ticks = np.clip(zero + frames[:, None] * n_planes + shifts[:, None], 0, len(self.lit) - 1)  # (stim, shift, frame)
        lit = self.lit[ticks]
        foreseen = np.diff(lit, axis=2) * usable[:, None]
        cross, power = (foreseen * change[:, None]).sum(axis=2), (foreseen**2).sum(axis=2)
        seen = (change**2).sum(axis=1)
        gains = cross.sum(axis=0) / np.maximum(power.sum(axis=0), 1e-30)
        fitted = gains * cross.sum(axis=0)
        best = int(np.argmax(fitted))
        gain = float(gains[best])
        noise = _variance((change - gain * foreseen[:, best])[usable])
        explained = fitted / max(float(seen.sum() - usable.sum() * noise), float(fitted[best]), 1e-30)
        own = (ticks[:, best] >= self.first_lit[which, None]) & (ticks[:, best] <= self.last_lit[which, None])
        others = np.diff(np.where(own, 0.0, lit[:, best]), axis=1) * usable
        return _Comparison(
            loss=seen[:, None] - 2 * gain * cross + gain**2 * power,
            dark=((change - gain * others) ** 2).sum(axis=1),
            explained=explained,
            noise=noise + (MODEL_ERROR * gain) ** 2 * (foreseen[:, best] ** 2).max(axis=1) + 1e-30,
        )

    def _brightness(self, frames: np.ndarray, exists: np.ndarray) -> np.ndarray:
        """Return the mean of the pixels of every frame asked for; consecutive frames are read at once, some at a time."""
        wanted = np.unique(frames[exists])
        means = np.zeros(len(wanted))
        breaks = np.diff(wanted, prepend=-2) > 1
        starts = np.flatnonzero(breaks | (np.arange(len(wanted)) % READ_FRAMES == 0))
        for start, stop in pairwise([*starts.tolist(), len(wanted)]):
            pixels = self.movie.read(int(wanted[start]), int(wanted[stop - 1]) + 1)
            means[start:stop] = pixels.mean(axis=(1, 2), dtype=np.float64)
        return np.where(exists, means[np.searchsorted(wanted, frames).clip(0, max(len(wanted) - 1, 0))], 0.0)


def _longest_scan(match: FrameMatch) -> float:
    """Return how long a tick is scanned at most, seconds: light during the fly-back after a volume is in no frame."""
    if match.n_planes == 1:
        return FRAME_GAP_PERIODS * match.period_s
    intervals = np.diff(match.train_s)  # one in n_planes holds the fly-back, the others are between planes
    return float(np.quantile(intervals, 0.25)) if len(intervals) else match.period_s


def _variance(residual: np.ndarray) -> float:
    """Return the variance by the median square, which for a normal distribution is 0.455 of it; outliers do not count."""
    return float(np.median(residual**2)) / 0.455 if residual.size else 0.0


def _light_before(light: LightTimes, times_s: np.ndarray) -> np.ndarray:
    """Return how long light was on before each time, seconds."""
    total = np.zeros(len(times_s))
    for edges, sign in ((np.sort(light.onset_s), 1.0), (np.sort(light.end_s), -1.0)):
        count = np.searchsorted(edges, times_s)
        total += sign * (count * times_s - np.concatenate([[0.0], np.cumsum(edges)])[count])
    return total
