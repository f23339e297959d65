"""Pulses on TTL channels, found by the two levels that the channel's own samples lie on.

The levels come from a histogram, so that 5 V, 3.3 V and attenuated copies need no setting, and a channel whose samples do
not lie on two levels (a galvo position, a voltage trace) gives a finding and no pulses. Edges are found with hysteresis, in
one pass through the channel in bounded memory; only where pulses are too rare to be seen in a sample of the recording, a
second look at all samples finds the levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import Channel
from packerlabimaging.errors import ParameterError

FALL_FRACTION, RISE_FRACTION = 0.3, 0.7
"""A pulse begins where the signal reaches 70 % of the step between the levels, and ends where it falls below 30 %."""

MIN_STEP = 0.05
"""Smallest step between two levels that is taken for pulses, in the channel's unit: ten steps of a 12-bit, +-10 V board."""

MAX_BETWEEN_PER_EDGE = 3.0
"""Samples between the two thresholds allowed for each edge: a TTL rises within a few samples, an analogue signal lingers."""

SAMPLE_BLOCKS, BLOCK_SAMPLES = 64, 4096
"""Levels are first looked for in this many blocks of samples, spread evenly over the recording."""

HISTOGRAM_BINS = 1024

RANGE_CHECK_STRIDE = 16
"""While levels from a sample of blocks are used, every 16th sample of all is checked against them."""


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


@dataclass(frozen=True, eq=False, repr=False)
class Pulses(Events):
    """Pulses of one channel: :class:`~packerlabimaging.core.Events` with ends, and how they were found.

    Parameters
    ----------
    levels
        Low and high level; None where thresholds were given by hand, or no two levels were found.
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
    min_width_s: float | None = None,
    refractory_s: float | None = None,
) -> Pulses:
    """Find the pulses of a TTL channel.

    A pulse starts at the first sample that reaches the upper threshold after one below the lower threshold, and ends at the
    first sample below the lower one. A channel that is high from its first sample has no onset there.

    Parameters
    ----------
    channel
        The channel; read in pieces.
    threshold
        Threshold in the channel's unit, or ``(falls below, rises to)`` for hysteresis; by default 30 % and 70 % of the step
        between the channel's own levels. With it, the channel is not asked to lie on two levels.
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
    The smallest step between levels that is believed is 0.05 of the channel's unit (``MIN_STEP``), so that a dead channel
    whose last bit flickers is not taken for a clock; pass ``threshold`` for weaker signals.
    """
    if not isinstance(channel, Channel):
        raise ParameterError(f"Pulses are looked for in one channel, not in {type(channel).__name__}. Name it: signals['name'].")
    thresholds = None if threshold is None else _given_thresholds(threshold)
    for name, value in (("min_width_s", min_width_s), ("refractory_s", refractory_s)):
        if value is not None:
            check_positive(name, value, zero=True)
    levels = None
    if thresholds is not None:
        scan: _Scan | None = _scan(channel, thresholds, max_between=np.inf)
    else:
        levels, scan = _scan_by_own_levels(channel)
        thresholds = levels.thresholds if levels is not None else None
    if scan is None:
        return Pulses(np.zeros(0), np.zeros(0), channel.name, findings=(_no_levels_finding(channel, levels),))
    onsets, ends, findings = scan.onsets, scan.ends, _scan_findings(scan, channel)
    onsets, ends, dropped = _drop(onsets, ends, channel, min_width_s, refractory_s)
    times = channel.time_of(onsets), channel.time_of(ends)
    return Pulses(*times, channel.name, levels, thresholds, (*findings, *dropped, *_count_findings(onsets, channel)))


def _given_thresholds(threshold: float | tuple[float, float]) -> tuple[float, float]:
    low, high = threshold if isinstance(threshold, (tuple, list)) else (threshold, threshold)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ParameterError(f"threshold = {threshold!r} is not possible. Give a number, or (falls below, rises to), in order.")
    return float(low), float(high)


def _scan_by_own_levels(channel: Channel) -> tuple[Levels | None, _Scan | None]:
    """Find the levels and scan with them; no scan where there are no two levels."""
    levels = estimate_levels(_spread_samples(channel))
    if levels is not None:
        scan = _scan(channel, levels.thresholds, max_between=MAX_BETWEEN_PER_EDGE)
        if not scan.lingers and scan.highest <= levels.high + levels.step / 2 and len(scan.onsets):
            return levels, scan
    levels = _levels_of_all_samples(channel)
    if levels is None:
        return None, None
    scan = _scan(channel, levels.thresholds, max_between=MAX_BETWEEN_PER_EDGE)
    return levels, None if scan.lingers else scan


def _spread_samples(channel: Channel) -> np.ndarray:
    """Read blocks of samples spread evenly over the recording, the first and the last included."""
    if channel.n_samples <= SAMPLE_BLOCKS * BLOCK_SAMPLES:
        return channel.read()
    starts = np.linspace(0, channel.n_samples - BLOCK_SAMPLES, SAMPLE_BLOCKS).astype(int)
    return np.concatenate([channel.read(start, start + BLOCK_SAMPLES) for start in starts.tolist()])


def estimate_levels(values: np.ndarray) -> Levels | None:
    """Find the two levels that ``values`` (any shape) lie on; None where they do not lie on two levels."""
    values = values[np.isfinite(values)]
    if values.size == 0 or float(values.max()) - float(values.min()) < MIN_STEP:
        return None
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS)
    return _levels_of_histogram(counts, (edges[1:] + edges[:-1]) / 2)


def _levels_of_all_samples(channel: Channel) -> Levels | None:
    """Find the levels from every sample: for pulses so rare that a sample of the recording holds none."""
    low, high = np.inf, -np.inf
    for _, values in channel.chunks():
        values = values[np.isfinite(values)]
        if len(values):
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not high - low >= MIN_STEP:
        return None
    counts = np.zeros(HISTOGRAM_BINS, np.int64)
    scale = HISTOGRAM_BINS / (high - low)
    for _, values in channel.chunks():
        finite = values[np.isfinite(values)]
        bins = ((finite - np.float32(low)) * np.float32(scale)).astype(np.int32)
        counts += np.bincount(np.minimum(bins, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)[:HISTOGRAM_BINS]
    return _levels_of_histogram(counts, low + (np.arange(HISTOGRAM_BINS) + 0.5) / scale)


def _levels_of_histogram(counts: np.ndarray, centers: np.ndarray) -> Levels | None:
    """Find two separate peaks, the highest and the highest of those well away from it; None where the space between is full."""
    smooth = np.convolve(counts, np.ones(3), mode="same")
    first = int(smooth.argmax())
    below_half = np.flatnonzero(smooth < smooth[first] / 2)
    half_width = np.abs(below_half - first).min() if len(below_half) else len(counts)
    away = np.abs(np.arange(len(counts)) - first) > max(5 * half_width, len(counts) // 8)  # 5 half widths: 6 sd of noise
    if not np.any(counts[away]):
        return None
    second = int(np.where(away, smooth, -1).argmax())
    middle = (centers[first] + centers[second]) / 2
    lower = centers < middle
    low, high = (_weighted_median(centers[side], counts[side]) for side in (lower, ~lower))
    levels = Levels(low, high)
    between = counts[(centers > levels.thresholds[0]) & (centers < levels.thresholds[1])].sum()
    fewest = min(counts[centers <= levels.thresholds[0]].sum(), counts[centers >= levels.thresholds[1]].sum())
    return levels if levels.step >= MIN_STEP and between <= fewest / 2 else None


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    total = np.cumsum(weights)
    return float(values[np.searchsorted(total, total[-1] / 2)])


@dataclass
class _Scan:
    """Edges found in one pass, as sample numbers, and what else was seen on the way."""

    onsets: np.ndarray
    ends: np.ndarray
    starts_high: bool
    ends_high: bool
    highest: float
    n_nan: int
    lingers: bool


@dataclass
class _EdgeFinder:
    """Find edges with hysteresis in a signal that comes piece by piece."""

    low: np.float32
    high: np.float32
    state: int = -1  # 0 low, 2 high, -1 before the first sample
    starts_high: bool = False
    n_between: int = 0
    onsets: list[np.ndarray] = field(default_factory=list)
    ends: list[np.ndarray] = field(default_factory=list)

    def update(self, start: int, values: np.ndarray) -> None:
        """Take in ``values``, the samples from number ``start`` on."""
        codes = (values >= self.high).view(np.uint8)  # 2 at or above both thresholds, 1 between them, 0 below both
        codes += (values >= self.low).view(np.uint8)
        changes = np.flatnonzero(codes[1:] != codes[:-1])
        starts = np.concatenate([[0], changes + 1])  # runs of equal code
        codes = codes[starts]
        between = codes == 1
        if between.any():
            self.n_between += int(np.diff(starts, append=len(values))[between].sum())
            starts, codes = starts[~between], codes[~between]
        if self.state < 0:  # a signal that does not begin low has no onset at its beginning
            self.state = 2 if values[0] >= self.low else 0
            self.starts_high = self.state == 2
        previous = np.concatenate([[self.state], codes[:-1]])
        turns = codes != previous[: len(codes)]
        self.onsets.append(start + starts[turns & (codes == 2)])
        self.ends.append(start + starts[turns & (codes == 0)])
        if len(codes):
            self.state = int(codes[-1])


def _scan(channel: Channel, thresholds: tuple[float, float], *, max_between: float) -> _Scan:
    """Find all edges in one pass; stop early where the signal clearly lingers between the thresholds."""
    finder = _EdgeFinder(np.float32(thresholds[0]), np.float32(thresholds[1]))
    highest, n_nan, n_edges = -np.inf, 0, 0
    for start, values in channel.chunks():
        finder.update(start, values)
        n_edges += len(finder.onsets[-1]) + len(finder.ends[-1])
        top = float(values[::RANGE_CHECK_STRIDE].max())
        if np.isnan(top):
            n_nan += int(np.isnan(values).sum())
        else:
            highest = max(highest, top)
        if finder.n_between > 10_000 + max_between * n_edges:
            break
    onsets, ends = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (finder.onsets, finder.ends))
    if finder.starts_high:
        ends = ends[1:]
    ends_high = len(ends) < len(onsets)
    if ends_high:
        ends = np.append(ends, channel.n_samples)
    lingers = finder.n_between > 10 + max_between * n_edges
    return _Scan(onsets, ends, finder.starts_high, ends_high, highest, n_nan, lingers)


def _drop(
    onsets: np.ndarray, ends: np.ndarray, channel: Channel, min_width_s: float | None, refractory_s: float | None
) -> tuple[np.ndarray, np.ndarray, list[Finding]]:
    """Leave out pulses that are too short or follow too soon, and say how many."""
    findings = []
    if min_width_s:
        wide = (ends - onsets) / channel.rate_hz >= min_width_s * (1 - 1e-9)
        if not wide.all():
            message = f"{int((~wide).sum())} pulses shorter than {min_width_s:g} s are left out."
            findings.append(Finding("short-pulses", message, "info", channel.name))
        onsets, ends = onsets[wide], ends[wide]
    if refractory_s and np.any(np.diff(onsets) < refractory_s * channel.rate_hz):
        kept = [0]
        for index in range(1, len(onsets)):
            if (onsets[index] - onsets[kept[-1]]) / channel.rate_hz >= refractory_s * (1 - 1e-9):
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
        "Choose the channel that carries the pulses, or pass threshold= if this is the one.",
    )


def _scan_findings(scan: _Scan, channel: Channel) -> list[Finding]:
    findings = []
    if scan.starts_high:
        message = f"Channel '{channel.name}' is high from its first sample; that is not counted as a pulse."
        findings.append(Finding("starts-high", message, "info", channel.name))
    if scan.ends_high:
        message = f"The last pulse of channel '{channel.name}' lasts to the end of the recording."
        findings.append(Finding("ends-high", message, "info", channel.name))
    if scan.n_nan:
        message = f"Channel '{channel.name}' holds at least {scan.n_nan} samples that are not numbers; they count as low."
        findings.append(Finding("nan-samples", message, "warning", channel.name))
    return findings


def _count_findings(onsets: np.ndarray, channel: Channel) -> list[Finding]:
    if len(onsets) == 0:
        message = f"Channel '{channel.name}' has no pulse."
        return [Finding("no-pulses", message, "error", channel.name, "Choose the channel that carries the pulses.")]
    if len(onsets) == 1:
        message = f"Channel '{channel.name}' holds a single pulse: a start trigger, not a clock."
        return [Finding("single-pulse", message, "warning", channel.name)]
    return []
