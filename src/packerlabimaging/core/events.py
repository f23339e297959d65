"""Events: when something happened, in seconds, with an end where it lasted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from packerlabimaging._check import check_length, frozen_array
from packerlabimaging.errors import ParameterError


@dataclass(frozen=True, eq=False)
class Events:
    """Times of things that happened, sorted, on the time base of the signals that they were found in.

    Parameters
    ----------
    onsets_s
        Starts, shape ``(n_events,)``, seconds, ascending.
    ends_s
        Ends, shape ``(n_events,)``, seconds, each at or after its start; None for events without a duration.
    name
        What the events are, e.g. the channel that they were detected in.

    Raises
    ------
    ParameterError
        If times are not finite, not ascending, or an end lies before its onset.
    """

    onsets_s: np.ndarray
    ends_s: np.ndarray | None = None
    name: str = ""

    def __post_init__(self) -> None:
        onsets = frozen_array(self.onsets_s, np.float64, ndim=1, name="onsets_s")
        if not np.all(np.isfinite(onsets)):
            raise ParameterError("onsets_s contains NaN or infinite values. Every event needs a finite time.")
        if np.any(np.diff(onsets) < 0):
            raise ParameterError("onsets_s is not ascending. Sort the events by their onset.")
        object.__setattr__(self, "onsets_s", onsets)
        if self.ends_s is not None:
            ends = frozen_array(self.ends_s, np.float64, ndim=1, name="ends_s")
            check_length("ends_s", ends, len(onsets), per="onset")
            if not np.all(ends >= onsets):
                raise ParameterError("An event ends before it begins, or its end is NaN. Check ends_s.")
            object.__setattr__(self, "ends_s", ends)

    def __len__(self) -> int:
        return len(self.onsets_s)

    def __iter__(self) -> Iterator[float]:
        return iter(self.onsets_s.tolist())

    @property
    def durations_s(self) -> np.ndarray:
        """Duration of each event, shape ``(n_events,)``; zeros where events have no end."""
        return np.zeros(len(self)) if self.ends_s is None else self.ends_s - self.onsets_s

    def between(self, start_s: float, stop_s: float) -> Events:
        """Return the events whose onset lies in ``[start_s, stop_s)``."""
        keep = (self.onsets_s >= start_s) & (self.onsets_s < stop_s)
        return Events(self.onsets_s[keep], None if self.ends_s is None else self.ends_s[keep], self.name)

    def __repr__(self) -> str:
        span = f", {self.onsets_s[0]:.3f} to {self.onsets_s[-1]:.3f} s" if len(self) else ""
        name = f"'{self.name}', " if self.name else ""
        return f"Events({name}{len(self)} events{span})"
