"""The two levels that the samples of a TTL channel lie on.

They come from a histogram of the channel's own samples, so that 5 V, 3.3 V and attenuated copies need no setting. A channel
whose samples do not lie on two narrow levels (a galvo position, a voltage trace, a light of several strengths) has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from packerlabimaging.core.signals import CHUNK_SAMPLES, Channel

FALL_FRACTION, RISE_FRACTION = 0.3, 0.7
"""A pulse begins where the signal reaches 70 % of the step between the levels, and ends where it falls below 30 %."""

MIN_STEP = 0.05
"""Smallest step between two levels that is taken for pulses, in the channel's unit: ten steps of a 12-bit, +-10 V board."""

MAX_SIZE = 1e6
"""No recorded sample is larger, in any unit."""

OFF_LEVEL = 0.2
"""Samples further than 20 % of the step from both levels are off them: few on a TTL, many on a sine."""

MAX_GAP, MIN_SAMPLES_FOR_GAP = 0.05, 200
"""Values that no sample takes, amid those of one level: a wider stretch (in steps) means two levels, as on a galvo."""

SAMPLE_BLOCKS, BLOCK_SAMPLES = 64, 4096
"""Levels are first looked for in this many blocks of samples, spread evenly over the recording."""

HISTOGRAM_BINS = 1024

BASELINE_BLOCK_S, BASELINE_WINDOW_BLOCKS, BASELINE_QUANTILE = 1.0, 5, 0.1
"""The running baseline is the 10th percentile of each second, opened over 5 s: shorter pulses leave it as it is."""


@dataclass(frozen=True)
class Levels:
    """The two levels that a TTL channel lies on, in the channel's unit."""

    low: float
    high: float

    @property
    def step(self) -> float:
        """High minus low."""
        return self.high - self.low

    @property
    def thresholds(self) -> tuple[float, float]:
        """``(falls below, rises to)``: the two thresholds of the hysteresis."""
        return self.low + FALL_FRACTION * self.step, self.low + RISE_FRACTION * self.step


def estimate_levels(values: np.ndarray) -> Levels | None:
    """Find the two levels that ``values`` (any shape) lie on; None where they do not lie on two levels."""
    values = _sensible(values)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    return _levels_of_histogram(_count(values, low, high), low, high) if high - low >= MIN_STEP else None


def levels_of_sample(channel: Channel) -> Levels | None:
    """Find the levels from blocks of samples spread evenly over the recording, the first and the last included."""
    if channel.n_samples <= SAMPLE_BLOCKS * BLOCK_SAMPLES:
        return estimate_levels(channel.read())
    starts = np.linspace(0, channel.n_samples - BLOCK_SAMPLES, SAMPLE_BLOCKS).astype(int)
    return estimate_levels(np.concatenate([channel.read(start, start + BLOCK_SAMPLES) for start in starts.tolist()]))


def levels_of_all_samples(channel: Channel) -> Levels | None:
    """Find the levels from every sample: for pulses so rare that a sample of the recording holds none."""
    low, high = np.inf, -np.inf
    for _, values in channel.chunks():
        values = _sensible(values)
        if len(values):
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not high - low >= MIN_STEP:
        return None
    counts = np.zeros(HISTOGRAM_BINS, np.int64)
    for _, values in channel.chunks():
        counts += _count(_sensible(values), low, high)
    return _levels_of_histogram(counts, low, high)


def _count(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Count values in equal bins from ``low`` to ``high``; several times faster than ``numpy.histogram``."""
    bins = ((values - np.float32(low)) * np.float32(HISTOGRAM_BINS / (high - low))).astype(np.int64)
    return np.bincount(np.minimum(bins, HISTOGRAM_BINS - 1).ravel(), minlength=HISTOGRAM_BINS)


def _sensible(values: np.ndarray) -> np.ndarray:
    """Leave out what is not a number or can't have been measured: a damaged file must not stretch the histogram."""
    return values[np.abs(values) <= MAX_SIZE]


def _levels_of_histogram(counts: np.ndarray, low: float, high: float) -> Levels | None:
    """Find two separate peaks, the highest and the highest of those well away from it; None where the rest is not empty."""
    centers = low + (np.arange(HISTOGRAM_BINS) + 0.5) * (high - low) / HISTOGRAM_BINS
    smooth = np.convolve(counts, np.ones(3), mode="same")
    first = int(smooth.argmax())
    below_half = np.flatnonzero(smooth < smooth[first] / 2)
    half_width = np.abs(below_half - first).min() if len(below_half) else len(counts)
    away = np.abs(np.arange(len(counts)) - first) > max(5 * half_width, len(counts) // 8)  # 5 half widths: 6 sd of noise
    if not np.any(counts[away]):
        return None
    second = int(np.where(away, smooth, -1).argmax())
    lower = centers < (centers[first] + centers[second]) / 2
    levels = Levels(*(_weighted_median(centers[side], counts[side]) for side in (lower, ~lower)))
    return levels if levels.step >= MIN_STEP and _fits(levels, counts, centers) else None


def _fits(levels: Levels, counts: np.ndarray, centers: np.ndarray) -> bool:
    """Say whether nearly all samples lie on one of the levels, and those of each level together."""
    place = (centers - levels.low) / levels.step
    at_low, at_high = place <= FALL_FRACTION, place >= RISE_FRACTION
    total, fewest = counts.sum(), min(counts[at_low].sum(), counts[at_high].sum())
    between = counts[~(at_low | at_high)].sum()
    off = counts[(place > OFF_LEVEL) & (place < 1 - OFF_LEVEL)].sum()
    outside = counts[(place < -FALL_FRACTION) | (place > 1 + FALL_FRACTION)].sum()
    if between > max(0.5 * fewest, 1e-4 * total):  # edges of short pulses lie between, and some noise
        return False
    if off > max(0.5 * fewest, 0.01 * total) or outside > max(0.1 * fewest, 1e-4 * total):
        return False
    return not any(_has_gap(counts[at], centers[1] - centers[0], levels.step) for at in (at_low, at_high))


def _has_gap(counts: np.ndarray, width: float, step: float) -> bool:
    """Say whether the middle 90 % of the samples of one level leave a gap; steps of the converter are none."""
    total = np.cumsum(counts)
    if total[-1] < MIN_SAMPLES_FOR_GAP:
        return False
    first, last = np.searchsorted(total, (0.05 * total[-1], 0.95 * total[-1]))
    taken = np.flatnonzero(counts[first : last + 1] > 0.01 * counts.max())
    return bool(np.any(np.diff(taken) * width > max(MAX_GAP * step, MIN_STEP / 4)))


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    total = np.cumsum(weights)
    return float(values[np.searchsorted(total, total[-1] / 2)])


class LevelledChannel(Channel):
    """A channel on a drifting baseline, less the drift: its running baseline is brought to the median one.

    Parameters
    ----------
    channel
        The channel; read once, in pieces.
    active
        ``"high"`` where pulses stand above the baseline, ``"low"`` where they hang below it.
    """

    def __init__(self, channel: Channel, *, active: str) -> None:
        super().__init__(
            channel.name, rate_hz=channel.rate_hz, n_samples=channel.n_samples, unit=channel.unit, start_s=channel.start_s
        )
        self._channel = channel
        self._centers, self._offsets = _running_baseline(channel, 1.0 if active == "high" else -1.0)
        self.drift = float(np.ptp(self._offsets))

    def _read(self, start: int, stop: int) -> np.ndarray:
        return self._channel.read(start, stop) - self._offset(start, stop)

    def chunks(self, n_samples: int = CHUNK_SAMPLES) -> Iterator[tuple[int, np.ndarray]]:
        for start, values in self._channel.chunks(n_samples):
            yield start, values - self._offset(start, start + len(values))

    def _offset(self, start: int, stop: int) -> np.ndarray:
        return np.interp(np.arange(start, stop), self._centers, self._offsets).astype(np.float32)


def _running_baseline(channel: Channel, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sample numbers and the baseline there, less its median."""
    block = max(1, round(channel.rate_hz * BASELINE_BLOCK_S))
    quantiles: list[float] = []
    for _, values in channel.chunks(block * max(1, CHUNK_SAMPLES // block)):
        for first in range(0, len(values), block):
            part = sign * _sensible(values[first : first + block])
            rank = int(BASELINE_QUANTILE * len(part))
            quantiles.append(float(np.partition(part, rank)[rank]) if len(part) else np.inf)
    low = np.array(quantiles or [0.0])
    reach = BASELINE_WINDOW_BLOCKS // 2
    for extreme in (np.min, np.max):  # an opening: what stands out for less than the window is cut off
        padded = np.pad(low, reach, mode="edge")
        low = extreme(np.lib.stride_tricks.sliding_window_view(padded, BASELINE_WINDOW_BLOCKS), axis=1)
    low = sign * np.where(np.isfinite(low), low, 0.0)
    return (np.arange(len(low)) + 0.5) * block, low - np.median(low)
