"""Trains of pulses: what a stimulator sends as several pulses, such as the flashes of an LED, grouped into stims by gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging._check import check_length, check_positive, frozen_array
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding

if TYPE_CHECKING:
    import pandas as pd

_ROUNDING_S = 1e-9
"""A gap that misses the limit by less counts as equal to it: times are sample numbers divided by a rate."""


@dataclass(frozen=True, eq=False, repr=False)
class PulseTrains(Events):
    """Trains of pulses: :class:`~packerlabimaging.core.Events` from the first onset of a train to its last end.

    Parameters
    ----------
    n_pulses
        Pulses of each train, shape ``(n_trains,)``, int64.
    pulse_width_s
        Median width of each train's pulses, shape ``(n_trains,)``, seconds; zero where pulses have no end.
    rate_hz
        Pulses per second within each train, onset to onset, shape ``(n_trains,)``; NaN for a single pulse.
    findings
        Findings of the pulses, and what was noticed about the trains.
    """

    n_pulses: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    pulse_width_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    rate_hz: np.ndarray = field(default_factory=lambda: np.zeros(0))
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in (("n_pulses", np.int64), ("pulse_width_s", np.float64), ("rate_hz", np.float64)):
            values = frozen_array(getattr(self, name), kind, ndim=1, name=name)
            object.__setattr__(self, name, check_length(name, values, len(self), per="train"))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per train: ``onset_s, end_s, n_pulses, pulse_width_s, rate_hz``."""
        import pandas as pd

        columns = {"n_pulses": self.n_pulses, "pulse_width_s": self.pulse_width_s, "rate_hz": self.rate_hz}
        return pd.DataFrame({"onset_s": self.onsets_s, "end_s": self.ends_s, **columns})


def group_pulses(pulses: Events, *, gap_s: float) -> PulseTrains:
    """Group pulses into trains: a pulse that follows the end of the one before by more than ``gap_s`` begins a new train.

    Parameters
    ----------
    pulses
        Pulses, e.g. of :func:`detect_pulses`.
    gap_s
        Longest pause within a train, seconds: from the end of a pulse to the next onset, or from onset to onset where pulses
        have no end.

    Returns
    -------
    PulseTrains
        Onset, end, number of pulses, pulse width and rate of each train; one train is one stim.

    Raises
    ------
    ParameterError
        If ``gap_s`` is not positive.

    Examples
    --------
    >>> flashes = Events([1.0, 1.1, 1.2, 5.0, 5.1, 5.2], [1.02, 1.12, 1.22, 5.02, 5.12, 5.22])
    >>> trains = group_pulses(flashes, gap_s=0.5)
    >>> trains.onsets_s, trains.n_pulses, trains.rate_hz.round(3)
    (array([1., 5.]), array([3, 3]), array([10., 10.]))
    """
    check_positive("gap_s", gap_s)
    onsets = pulses.onsets_s
    ends = onsets if pulses.ends_s is None else pulses.ends_s
    noticed = tuple(getattr(pulses, "findings", ()))
    if not len(onsets):
        return PulseTrains(onsets, ends, pulses.name, findings=noticed)
    pauses = onsets[1:] - np.maximum.accumulate(ends)[:-1]
    firsts = np.concatenate([[0], np.flatnonzero(pauses > gap_s + _ROUNDING_S) + 1])
    lasts = np.append(firsts[1:], len(onsets)) - 1
    counts = lasts - firsts + 1
    spans = onsets[lasts] - onsets[firsts]
    rates = np.full(len(firsts), np.nan)
    np.divide(counts - 1, spans, out=rates, where=spans > 0)
    widths = np.array([np.median(part) for part in np.split(pulses.durations_s, firsts[1:])])
    train_ends = np.maximum.reduceat(ends, firsts)
    found = _train_findings(counts, pauses, gap_s, pulses.name)
    return PulseTrains(onsets[firsts], train_ends, pulses.name, counts, widths, rates, (*noticed, *found))


def _train_findings(counts: np.ndarray, pauses: np.ndarray, gap_s: float, where: str) -> list[Finding]:
    findings = []
    sizes, times = np.unique(counts, return_counts=True)
    if len(sizes) > 1:
        usual = int(sizes[times.argmax()])
        odd = np.flatnonzero(counts != usual)
        message = f"{len(odd)} of {len(counts)} trains do not have the usual number of {usual} pulses (first: train {odd[0]})."
        evidence = {"usual": usual, "trains": odd[:100].tolist(), "n_pulses": counts[odd[:100]].tolist()}
        advice = "Check gap_s, and whether pulses were lost."
        findings.append(Finding("unequal-trains", message, "warning", where, advice, evidence))
    within, between = pauses[pauses <= gap_s + _ROUNDING_S], pauses[pauses > gap_s + _ROUNDING_S]
    if len(within) and len(between) and between.min() < 2 * within.max():
        message = f"Pauses within trains last up to {within.max():.4g} s, those between them {between.min():.4g} s at least."
        evidence = {"longest_within_s": float(within.max()), "shortest_between_s": float(between.min()), "gap_s": float(gap_s)}
        findings.append(Finding("gap-not-clear", message, "warning", where, "Check gap_s.", evidence))
    return findings
