"""The frame clock: when each imaging frame was taken, on the time base of the recording's hardware.

All conversions between seconds and frames go through this one class, so that there is one rule (see ``frames_at``) in
the whole package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from packerlabimaging._check import check_positive, frozen_array
from packerlabimaging.errors import ParameterError

ClockSource = Literal["hardware", "acquisition program", "nominal"]

NO_FRAME = np.iinfo(np.int64).max
"""Stands where a time lies in no frame. It is too large to index anything, so that a forgotten check fails loudly."""

FRAME_GAP_PERIODS = 1.5
"""A frame lasts until the next one starts, but at most this many median periods (project convention)."""


@dataclass(frozen=True, eq=False)
class FrameClock:
    """Start times of the frames of one plane.

    Parameters
    ----------
    starts_s
        Start of each frame, shape ``(n_frames,)``, seconds, strictly ascending.
    source
        ``"hardware"`` (pulses recorded beside the other signals), ``"acquisition program"`` (times that the microscope's
        program wrote), ``"nominal"`` (frame number times nominal period: it drifts, and results say so).
    period_s
        Frame period in seconds; by default (NaN) the median interval. Needed where there is only one frame.

    Raises
    ------
    ParameterError
        If there is no frame, or starts are not finite and strictly ascending, or the period can't be told.

    Examples
    --------
    >>> clock = FrameClock(np.array([1.0, 1.5, 2.0, 2.5]))
    >>> clock.frame_at(1.5), clock.frame_at(1.4999), clock.frame_at(0.9)
    (1, 0, None)
    """

    starts_s: np.ndarray
    source: ClockSource = "hardware"
    period_s: float = math.nan

    def __post_init__(self) -> None:
        starts = frozen_array(self.starts_s, np.float64, ndim=1, name="starts_s")
        if len(starts) == 0:
            raise ParameterError("A frame clock needs at least one frame; starts_s is empty.")
        if not np.all(np.isfinite(starts)) or np.any(np.diff(starts) <= 0):
            raise ParameterError("starts_s must be finite and strictly ascending: each frame starts after the one before.")
        object.__setattr__(self, "starts_s", starts)
        period = self.period_s
        if math.isnan(period):
            if len(starts) < 2:
                raise ParameterError("The period of a clock with a single frame can't be told. Pass period_s.")
            period = float(np.median(np.diff(starts)))
        object.__setattr__(self, "period_s", check_positive("period_s", period))

    @classmethod
    def nominal(cls, n_frames: int, rate_hz: float, *, start_s: float = 0.0) -> FrameClock:
        """Return the clock of ``n_frames`` at a nominal rate: for recordings without any measured frame times."""
        check_positive("rate_hz", rate_hz)
        check_positive("n_frames", n_frames)
        return cls(start_s + np.arange(n_frames) / rate_hz, source="nominal", period_s=1.0 / rate_hz)

    def __len__(self) -> int:
        return len(self.starts_s)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.starts_s)

    @property
    def rate_hz(self) -> float:
        """Frames per second: mean rate from the first to the last frame, gaps between blocks left out."""
        if self.n_frames < 2:
            return 1.0 / self.period_s
        intervals = np.diff(self.starts_s)
        regular = intervals[intervals <= FRAME_GAP_PERIODS * self.period_s]
        return 1.0 / float(np.mean(regular)) if len(regular) else 1.0 / self.period_s

    @property
    def ends_s(self) -> np.ndarray:
        """End of each frame, shape ``(n_frames,)``: the next start, at most 1.5 median periods after its own.

        The last frame lasts one median period.
        """
        ends = np.empty_like(self.starts_s)
        ends[:-1] = np.minimum(self.starts_s[1:], self.starts_s[:-1] + FRAME_GAP_PERIODS * self.period_s)
        ends[-1] = self.starts_s[-1] + self.period_s
        return ends

    def frames_at(self, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the frame that each time falls in.

        A frame is the interval from its start (included) to its end (not included): a time exactly on a tick belongs to
        that tick's frame.

        Parameters
        ----------
        times_s
            Seconds on the clock's time base, any shape.

        Returns
        -------
        frames, valid
            Zero-based frame numbers (int64) and a mask, both of the shape of ``times_s``. Where a time lies in no frame
            (before the first, after the last, in a gap, or NaN) ``valid`` is False and the number is ``NO_FRAME``, which
            no array can be indexed with.
        """
        times = np.asarray(times_s, dtype=np.float64)
        index = np.searchsorted(self.starts_s, times, side="right") - 1
        inside = np.clip(index, 0, None)
        valid = np.isfinite(times) & (index >= 0) & (times < self.ends_s[inside])
        return np.where(valid, index, NO_FRAME).astype(np.int64), valid

    def frame_at(self, time_s: float) -> int | None:
        """Return the frame that contains ``time_s``, or None (see :meth:`frames_at`)."""
        frames, valid = self.frames_at(np.array([time_s]))
        return int(frames[0]) if valid[0] else None

    def overlapping(self, onsets_s: np.ndarray, ends_s: np.ndarray, *, guard_frames: int = 0) -> np.ndarray:
        """Mark the frames that overlap any of the intervals ``[onset, end)``.

        Parameters
        ----------
        onsets_s, ends_s
            Intervals, shape ``(n,)``, seconds.
        guard_frames
            Further frames to mark after each interval.

        Returns
        -------
        numpy.ndarray
            Boolean mask, shape ``(n_frames,)``.
        """
        onsets, ends = np.asarray(onsets_s, np.float64), np.asarray(ends_s, np.float64)
        first = np.searchsorted(self.ends_s, onsets, side="right")  # first frame that ends after the onset
        stop = np.searchsorted(self.starts_s, ends, side="left")  # first frame that starts at or after the end
        stop = np.where(stop > first, np.minimum(stop + min(guard_frames, self.n_frames), self.n_frames), first)
        steps = np.zeros(self.n_frames + 1, dtype=np.int64)
        np.add.at(steps, np.minimum(first, self.n_frames), 1)
        np.add.at(steps, stop, -1)
        return np.cumsum(steps[:-1]) > 0

    def plane(self, index: int, n_planes: int) -> FrameClock:
        """Return the clock of one plane of a volume recording, of which this clock holds every tick.

        Plane ``p`` of volume ``v`` is tick ``v * n_planes + p``; an incomplete last volume is left out. The period is measured
        from volume to volume: fly-back makes it longer than ``n_planes`` ticks.
        """
        n_volumes = self.n_frames // n_planes
        if not 0 <= index < n_planes or n_volumes == 0:
            raise ParameterError(
                f"Plane {index} of {n_planes} can't be taken from {self.n_frames} ticks. "
                f"Planes run from 0 to {n_planes - 1}, and one complete volume is needed."
            )
        period_s = self.period_s * n_planes if n_volumes < 2 or self.source == "nominal" else math.nan
        return FrameClock(self.starts_s[index::n_planes][:n_volumes], self.source, period_s)

    def __repr__(self) -> str:
        return f"FrameClock({self.n_frames} frames, {self.rate_hz:.4f} Hz, starts at {self.starts_s[0]:.4f} s, {self.source})"
