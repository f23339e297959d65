"""Stimulus-triggered averages (STA): what each pixel does around stims of each kind.

:func:`compute_sta` reads a movie once and averages the frames around the stims; :class:`Sta` holds the averages and makes from
them the movies (raw, dF, dF/F, z), the average, maximum and preferred-kind images, the time of the peak, the local correlation
and the pixelwise test of STAMovieMaker (Russell), and more. :func:`packerlabimaging.io.write_sta` writes them as files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from packerlabimaging._check import check_choice, check_length, check_positive
from packerlabimaging._progress import ProgressOption
from packerlabimaging.analysis.sta_images import (
    METHODS,
    Method,
    PixelTest,
    PreferredKind,
    find_preferred,
    local_correlation,
    mean_over,
    relative_to_baseline,
)
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.stim_averages import StimAverages, StimSums
from packerlabimaging.core.streaming import stream
from packerlabimaging.errors import ParameterError

MAX_SHIFT_PERIODS = 1.5
"""A stim whose next frame starts later than so many frame periods lies outside the recording, or in a gap."""


@dataclass(frozen=True, kw_only=True)
class StaSettings:
    """Windows of a stimulus-triggered average; the defaults are STAMovieMaker's.

    Parameters
    ----------
    pre_s, post_s
        Length of the average before and after the onset, seconds; rounded to whole frames.
    average_start_s, average_stop_s
        Response period after the onset, of the average images and the test, seconds.
    dark_level
        Counts in the dark, subtracted before anything is divided by F0.

    Raises
    ------
    ParameterError
        If a value is not possible.
    """

    pre_s: float = 0.75
    post_s: float = 1.25
    average_start_s: float = 0.5
    average_stop_s: float = 1.5
    dark_level: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pre_s", "post_s", "average_stop_s"):
            check_positive(name, getattr(self, name))
        check_positive("average_start_s", self.average_start_s, zero=True)
        if not self.average_start_s < min(self.average_stop_s, self.post_s):
            raise ParameterError(
                f"The response period from {self.average_start_s:g} s to {self.average_stop_s:g} s does not begin within the "
                f"{self.post_s:g} s after the onset, or ends before it starts. Lengthen post_s, or move the period."
            )


@dataclass(frozen=True, eq=False)
class StaPlan:
    """Which frames go into which average: made by :func:`plan_sta`, so that the reducer can share a pass with others.

    Parameters
    ----------
    kinds
        Names of the kinds of stims.
    stims, onset_frames, numbers
        Number of each stim that lies in the recording, its onset frame, and the number of its kind.
    n_pre, n_post
        Frames of the window before the onset frame, and from it on.
    settings
        Windows in seconds.
    frame_rate_hz
        Frames per second.
    findings
        What was noticed.
    """

    kinds: tuple[str, ...]
    stims: np.ndarray
    onset_frames: np.ndarray
    numbers: np.ndarray
    n_pre: int
    n_post: int
    settings: StaSettings
    frame_rate_hz: float
    findings: tuple[Finding, ...]

    @property
    def time_s(self) -> np.ndarray:
        """Nominal time of each frame's start after the onset frame's, ``(n_times,)``."""
        return np.arange(-self.n_pre, self.n_post) / self.frame_rate_hz

    @property
    def response(self) -> tuple[int, int]:
        """First frame of the response period, counted from the onset frame, and its end; within the window."""
        first = min(round(self.settings.average_start_s * self.frame_rate_hz), self.n_post - 1)
        end = min(round(self.settings.average_stop_s * self.frame_rate_hz), self.n_post)
        return first, max(first + 1, end)

    @property
    def in_response(self) -> np.ndarray:
        """Frames of the window in the response period, boolean ``(n_times,)``."""
        place = np.arange(-self.n_pre, self.n_post)
        return (place >= self.response[0]) & (place < self.response[1])

    def reducer(self, exclude: np.ndarray | None = None) -> StimAverages:
        """Return the reducer for the pass over the movie."""
        return StimAverages(
            self.onset_frames, self.numbers, n_pre=self.n_pre, n_post=self.n_post, response=self.response, exclude=exclude
        )

    def sta(self, sums: StimSums) -> Sta:
        """Return the averages from what the reducer collected."""
        if self.settings.dark_level:
            np.subtract(sums.mean, np.float32(self.settings.dark_level), out=sums.mean)
        return Sta(self, sums.mean, sums.n_stims, sums.difference_mean, sums.difference_sd)

    def whole_stims(self, n_frames: int) -> list[int]:
        """Return the numbers of the stims whose window lies in a movie of so many frames."""
        whole = (self.onset_frames >= self.n_pre) & (self.onset_frames + self.n_post <= n_frames)
        return [int(stim) for stim in self.stims[whole]]

    def single_stims(self, movie: Movie, *, stims: Sequence[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number and the raw frames of each whole stim (or of those named), ``(n_times, y, x)``, one at a time."""
        onsets = dict(zip(self.stims.tolist(), self.onset_frames.tolist(), strict=True))
        for stim in self.whole_stims(movie.n_frames) if stims is None else stims:
            yield stim, movie.read(onsets[stim] - self.n_pre, onsets[stim] + self.n_post)


@dataclass(frozen=True, eq=False)
class Sta:
    """Averages around the stims of each kind.

    Parameters
    ----------
    plan
        Which stims and frames they are of.
    mean
        Mean frames, float32 ``(n_kinds, n_times, y, x)``, in the movie's unit less the dark level; NaN where no frame was there.
    n_stims
        Stims of each kind in the test, ``(n_kinds,)``.
    difference_mean, difference_sd
        Mean over the response period minus mean before the onset: mean and sd over stims, ``(n_kinds, y, x)``, movie's unit.
    """

    plan: StaPlan
    mean: np.ndarray
    n_stims: np.ndarray
    difference_mean: np.ndarray
    difference_sd: np.ndarray

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds of stims."""
        return self.plan.kinds

    @property
    def time_s(self) -> np.ndarray:
        """Nominal time of each frame's start after the onset frame's, ``(n_times,)``."""
        return self.plan.time_s

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was noticed about the stims."""
        return self.plan.findings

    def movie(self, kind: int, *, method: Method = "dff") -> np.ndarray:
        """Return the average of one kind as a movie.

        Parameters
        ----------
        kind
            Number of the kind.
        method
            ``"raw"`` (movie's unit), ``"df"`` (less the mean before the onset), ``"dff"`` (that divided by the mean before the
            onset, a fraction), ``"z"`` (divided by the sd over the average's frames before the onset instead).

        Returns
        -------
        numpy.ndarray
            float32 ``(n_times, y, x)``; NaN where the mean before the onset (dF/F) or its sd (z) is not above zero.
        """
        check_choice("method", method, METHODS)
        return relative_to_baseline(self.mean[self._number(kind)], self.time_s < 0, method=method)

    def average_image(self, kind: int, *, method: Method = "dff") -> np.ndarray:
        """Return the mean over the response period, ``(y, x)``, as :meth:`movie` scales it."""
        return np.asarray(mean_over(self.movie(kind, method=method)[self.plan.in_response]), np.float32)

    def average_images(self, *, method: Method = "dff") -> np.ndarray:
        """Return the average image of every kind, ``(n_kinds, y, x)``."""
        return np.stack([self.average_image(kind, method=method) for kind in range(len(self.kinds))])

    def max_image(self, *, method: Method = "dff") -> np.ndarray:
        """Return the greatest average image over kinds, ``(y, x)``."""
        return np.fmax.reduce(self.average_images(method=method))

    def peak_time_image(self, kind: int, *, method: Method = "dff") -> tuple[np.ndarray, np.ndarray]:
        """Return when after the onset each pixel's average is greatest (seconds), and how great it is there; each ``(y, x)``."""
        after = self.movie(kind, method=method)[self.time_s >= 0]
        filled = np.where(np.isnan(after), -np.inf, after)
        at = filled.argmax(axis=0)
        peak = np.take_along_axis(filled, at[None], axis=0)[0]
        known = np.isfinite(peak)
        times = np.where(known, self.time_s[self.time_s >= 0][at], np.nan)
        return times.astype(np.float32), np.where(known, peak, np.nan).astype(np.float32)

    def correlation_image(self, kind: int) -> np.ndarray:
        """Return how each pixel's average correlates with the mean of its up to 8 neighbours', ``(y, x)``."""
        return local_correlation(self.movie(kind, method="df"))

    def preferred(self, *, method: Method = "dff", threshold: float | None = None) -> PreferredKind:
        """Return which kind each pixel prefers, and how clearly.

        Parameters
        ----------
        method
            Scale of the average images.
        threshold
            Pixels whose greatest average is below have no preferred kind.

        Notes
        -----
        Selectivity compares with the median of the other kinds, see :func:`find_preferred`. STAMovieMaker compares with the
        orthogonal one wherever there are 4 kinds, as if they were orientations.
        """
        images = self.average_images(method=method)
        if len(images) < 2:
            raise ParameterError("There is one kind of stim only: no pixel can prefer one. Give the kinds of the stims.")
        return find_preferred(images, threshold=threshold)

    def test(self, kind: int) -> PixelTest:
        """Test in each pixel whether the difference (response period - before the onset) over stims is zero.

        Returns
        -------
        PixelTest
            Student's t over stims, its two-sided p, and the p corrected by Benjamini & Hochberg over the pixels.

        Notes
        -----
        Neighbouring pixels are correlated; the corrected p holds under the positive dependence that they have (Benjamini &
        Yekutieli 2001). With few stims the test supposes normal differences.
        """
        from scipy.special import stdtr

        from packerlabimaging.analysis.statistics import adjust_bh

        number = self._number(kind)
        n = int(self.n_stims[number])
        difference, sd = self.difference_mean[number], self.difference_sd[number]
        if n < 2:
            raise ParameterError(f"'{self.kinds[number]}' has {n} complete stims. A test needs at least 2.")
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(sd > 0, difference / (sd / np.sqrt(n)), np.nan)
        p = 2 * stdtr(n - 1, -np.abs(t))
        return PixelTest(t.astype(np.float32), p, adjust_bh(p.ravel()).reshape(p.shape))

    def _number(self, kind: int) -> int:
        if not 0 <= kind < len(self.kinds):
            raise ParameterError(f"There is no kind {kind}. There are {len(self.kinds)}: {', '.join(self.kinds)}, from 0 on.")
        return kind

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {n}" for name, n in zip(self.kinds, self.n_stims.tolist(), strict=True))
        return f"Sta({self.mean.shape[1]} frames of {self.mean.shape[2]} x {self.mean.shape[3]} px; stims of each kind: {counts})"


def compute_sta(
    movie: Movie,
    clock: FrameClock,
    onsets_s: np.ndarray,
    *,
    kinds: Sequence[str | int] | None = None,
    settings: StaSettings | None = None,
    exclude: np.ndarray | None = None,
    progress: ProgressOption = None,
) -> Sta:
    """Average the frames around stims in one pass over the movie.

    Parameters
    ----------
    movie
        One plane.
    clock
        Its frame times.
    onsets_s
        Onset of each stim on the clock's time base, ``(n_stims,)``, seconds.
    kinds
        Name or number of the kind of each stim, empty for stims to be left out; all of one kind by default. Averages stand in
        the order of the sorted names.
    settings
        Windows; STAMovieMaker's by default.
    exclude
        Frames to leave out (artefacts), boolean ``(n_frames,)``.
    progress
        Show a progress bar.

    Raises
    ------
    ParameterError
        If movie, clock, onsets and kinds don't fit each other, or no stim lies in the movie.

    Notes
    -----
    A stim counts from the first frame that starts at or after its onset, as in STAMovieMaker. Stims whose window the movie
    cuts contribute the frames that there are, and a finding says so. Memory is that of the averages: ``n_kinds x n_times``
    frames of four bytes a pixel, whatever the number of stims.
    """
    settings = settings or StaSettings()
    plan = plan_sta(clock, onsets_s, kinds=kinds, settings=settings, n_frames=movie.n_frames)
    found: StimSums = stream(
        movie, {"sta": plan.reducer(exclude)}, workers=2, progress=progress, description="Averaging around stims"
    )["sta"]
    return plan.sta(found)


def plan_sta(
    clock: FrameClock,
    onsets_s: np.ndarray,
    *,
    kinds: Sequence[str | int] | None = None,
    settings: StaSettings | None = None,
    n_frames: int | None = None,
) -> StaPlan:
    """Place the window of each stim on the frames; see :func:`compute_sta`. Stims outside the recording are left out."""
    settings = settings or StaSettings()
    onsets = np.asarray(onsets_s, np.float64)
    if n_frames is not None and n_frames != clock.n_frames:
        raise ParameterError(f"The movie has {n_frames} frames and the clock {clock.n_frames}. Both must be of the same plane.")
    names = np.full(len(onsets), "stim") if kinds is None else np.asarray([str(kind) for kind in kinds])
    check_length("kinds", names, len(onsets), per="stim")
    frames = np.searchsorted(clock.starts_s, onsets)
    near = np.minimum(frames, clock.n_frames - 1)
    inside = (frames < clock.n_frames) & (clock.starts_s[near] - onsets <= MAX_SHIFT_PERIODS / clock.rate_hz)
    findings = []
    if not inside.all():
        message = f"{int((~inside).sum())} of {len(onsets)} stims lie outside the recording and are left out of the averages."
        findings.append(Finding("stims-outside", message, evidence={"stims": np.flatnonzero(~inside).tolist()}))
    inside &= names != ""
    if not inside.any():
        raise ParameterError(f"None of the {len(onsets)} stims lies in the recording. Check that both are on one time base.")
    n_pre, n_post = max(1, round(settings.pre_s * clock.rate_hz)), max(1, round(settings.post_s * clock.rate_hz))
    onset_frames = frames[inside]
    cut = int(np.sum((onset_frames < n_pre) | (onset_frames + n_post > clock.n_frames)))
    if cut:
        findings.append(
            Finding("windows-cut", f"The movie cuts the windows of {cut} stims; they are averaged as far as they go.")
        )
    if settings.average_stop_s > settings.post_s:
        message = (
            f"The response period ends at {settings.post_s:g} s, where the average ends, not at {settings.average_stop_s:g} s."
        )
        findings.append(Finding("response-period-cut", message, "info", advice="Lengthen post_s if you want all of it."))
    labels, numbers = np.unique(names[inside], return_inverse=True)
    if kinds is not None and all(label.isdigit() for label in labels):  # numbers in their own order, not as text
        order = np.argsort([int(label) for label in labels])
        labels, numbers = labels[order], np.argsort(order)[numbers]
    return StaPlan(
        tuple(labels.tolist()),
        np.flatnonzero(inside),
        onset_frames,
        numbers,
        n_pre,
        n_post,
        settings,
        clock.rate_hz,
        tuple(findings),
    )
