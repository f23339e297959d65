"""Stimulus-triggered averages of whole frames: a reducer of the one pass.

:class:`StimAverages` adds each frame that lies in the window of a stim to the sum of its kind of stim and its place in the
window, and keeps, per stim, the sums of a baseline and a response period, from which the spread over stims follows. Memory
is set by the window and the number of kinds, not by the number of stims.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from packerlabimaging._check import check_positive, frozen_array
from packerlabimaging.core.streaming import Reducer
from packerlabimaging.errors import ParameterError


@dataclass(frozen=True, eq=False)
class StimSums:
    """What :class:`StimAverages` results in.

    Parameters
    ----------
    mean
        Mean frame of each kind at each place of the window, float32 ``(n_kinds, n_times, y, x)``, in the movie's unit; NaN where
        ``count`` is 0.
    count
        Frames in each mean, ``(n_kinds, n_times)``.
    difference_mean, difference_sd
        Response minus baseline period: mean and standard deviation (n - 1) over stims, float64 ``(n_kinds, y, x)``.
    n_stims
        Stims in these, ``(n_kinds,)``.
    """

    mean: np.ndarray
    count: np.ndarray
    difference_mean: np.ndarray
    difference_sd: np.ndarray
    n_stims: np.ndarray


class StimAverages(Reducer):
    """Average the frames around stims, for each kind of stim.

    Parameters
    ----------
    onset_frames
        Frame from which each stim's window is counted, ``(n_stims,)``.
    kinds
        Kind of each stim, ``(n_stims,)``, numbered from 0.
    n_pre, n_post
        Frames of the window before the onset frame, and from it on.
    response
        ``(first, end)`` of the response period, counted from the onset frame; the baseline period is all of the window
        before it.
    exclude
        Frames to leave out (artefacts), boolean over all frames of the movie.

    Raises
    ------
    ParameterError
        If there is no stim, or the response period does not lie in the window.

    Notes
    -----
    Frames of integers are summed exactly, so that the result does not depend on chunks or threads. A stim counts in the
    differences if at least half of the frames of both periods are there; in the means, every frame counts that is there.
    """

    ordered = True  # the sums are large: one set of them, not one per chunk

    def __init__(
        self,
        onset_frames: np.ndarray,
        kinds: np.ndarray,
        *,
        n_pre: int,
        n_post: int,
        response: tuple[int, int],
        exclude: np.ndarray | None = None,
    ) -> None:
        self.onset_frames = frozen_array(onset_frames, np.int64, ndim=1, name="onset_frames")
        self.kinds = frozen_array(kinds, np.int64, ndim=1, name="kinds")
        if len(self.kinds) != len(self.onset_frames) or len(self.kinds) == 0 or self.kinds.min() < 0:
            raise ParameterError(
                f"There are {len(self.onset_frames)} onset frames and {len(self.kinds)} kinds. Give a number from 0 on per stim."
            )
        self.n_pre, self.n_post = int(check_positive("n_pre", n_pre)), int(check_positive("n_post", n_post))
        first, end = (int(value) for value in response)
        if not 0 <= first < end <= self.n_post:
            raise ParameterError(
                f"The response period, frames {first} to {end} from the onset, does not lie in the window of {self.n_post} "
                "frames after it. Lengthen the window, or shorten the period."
            )
        self.response = (first, end)
        self.exclude = None if exclude is None else frozen_array(exclude, np.bool_, ndim=1, name="exclude")
        self._open: dict[int, _Periods] = {}
        self._start, self._end = np.iinfo(np.int64).max, 0  # of the frames seen
        self._sums: np.ndarray | None = None
        self._outcome: StimSums | None = None
        n_kinds = int(self.kinds.max()) + 1
        self._count = np.zeros((n_kinds, self.n_pre + self.n_post), np.int64)
        self._n_stims = np.zeros(n_kinds, np.int64)
        self._difference: np.ndarray | None = None
        self._difference_square: np.ndarray | None = None

    def fresh(self) -> StimAverages:
        return StimAverages(
            self.onset_frames, self.kinds, n_pre=self.n_pre, n_post=self.n_post, response=self.response, exclude=self.exclude
        )

    def update(self, chunk: np.ndarray, start: int) -> None:
        from packerlabimaging.core._kernels import add_to, add_to_both

        sums = self._allocate(chunk)
        flat = chunk.reshape(len(chunk), -1)
        near = np.flatnonzero((self.onset_frames + self.n_post > start) & (self.onset_frames - self.n_pre < start + len(chunk)))
        for stim in near.tolist():
            kind, first_frame = int(self.kinds[stim]), int(self.onset_frames[stim]) - self.n_pre
            periods = self._open.setdefault(stim, _Periods(chunk.shape[1:], sums.dtype))
            for place in range(max(0, start - first_frame), min(self.n_pre + self.n_post, start + len(chunk) - first_frame)):
                frame = first_frame + place
                if self.exclude is not None and self.exclude[frame]:
                    continue
                total = sums[kind, place].reshape(-1)
                self._count[kind, place] += 1
                period = self._period(place)
                if period is None:
                    add_to(total, flat[frame - start])
                else:
                    add_to_both(total, periods.sums[period].reshape(-1), flat[frame - start])
                    periods.counts[period] += 1
        self._start, self._end = min(self._start, start), max(self._end, start + len(chunk))
        self._close(self._end)

    def _allocate(self, chunk: np.ndarray) -> np.ndarray:
        if self._sums is None:
            dtype = _sum_dtype(chunk.dtype, len(self.onset_frames) + self.n_pre + self.n_post)
            self._sums = np.zeros((*self._count.shape, *chunk.shape[1:]), dtype)
            self._difference = np.zeros((len(self._n_stims), *chunk.shape[1:]))
            self._difference_square = np.zeros_like(self._difference)
        return self._sums

    def _period(self, place: int) -> int | None:
        """0 for the baseline, 1 for the response period, None for what follows or lies between them."""
        if place < self.n_pre:
            return 0
        return 1 if self.response[0] <= place - self.n_pre < self.response[1] else None

    def _close(self, end: int) -> None:
        """Take the difference of each stim whose whole window lies in the frames seen, which end before ``end``."""
        for stim in sorted(self._open, key=lambda stim: int(self.onset_frames[stim])):
            first, last = self.onset_frames[stim] - self.n_pre, self.onset_frames[stim] + self.n_post
            if last <= end and (first >= self._start or self._start == 0):
                self._take(int(self.kinds[stim]), self._open.pop(stim))

    def _take(self, kind: int, periods: _Periods) -> None:
        assert self._difference is not None and self._difference_square is not None
        n_before, n_after = periods.counts
        if 2 * n_before >= self.n_pre and 2 * n_after >= self.response[1] - self.response[0]:
            difference = periods.sums[1] / n_after - periods.sums[0] / n_before
            self._difference[kind] += difference
            self._difference_square[kind] += difference * difference
            self._n_stims[kind] += 1

    def merge(self, other: StimAverages) -> None:
        if other._sums is None:
            return
        if self._sums is None:
            self.__dict__.update(copy.copy(other).__dict__)
            return
        assert self._difference is not None and self._difference_square is not None
        self._sums += other._sums
        self._count += other._count
        self._difference += other._difference
        self._difference_square += other._difference_square
        self._n_stims += other._n_stims
        for stim, periods in other._open.items():
            if stim in self._open:
                self._open[stim].add(periods)
            else:
                self._open[stim] = periods
        self._start, self._end = min(self._start, other._start), max(self._end, other._end)
        self._close(self._end)

    def result(self) -> StimSums:
        """Return the averages; stims whose window the movie's end cuts are taken as far as they go. Nothing can be added then."""
        if self._outcome is not None:
            return self._outcome
        if self._sums is None:
            raise ParameterError("No frame was given, so that there is no average.")
        self._start = 0
        self._close(np.iinfo(np.int64).max)
        assert self._difference is not None and self._difference_square is not None
        # in place where the sums have four bytes a pixel: they can be most of the memory there is
        mean = self._sums.view(np.float32) if self._sums.itemsize == 4 else np.empty(self._sums.shape, np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for kind, place in np.ndindex(self._count.shape):
                mean[kind, place] = self._sums[kind, place] / np.float64(self._count[kind, place])
            n = self._n_stims[:, None, None]
            average = self._difference / n
            spread = np.sqrt(np.maximum(self._difference_square - n * average**2, 0.0) / (n - 1))
        self._sums = None
        self._outcome = StimSums(mean, self._count, average, np.where(n > 1, spread, np.nan), self._n_stims)
        return self._outcome


class _Periods:
    """Sums and numbers of frames of one stim's baseline (0) and response period (1)."""

    def __init__(self, frame_shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.sums = np.zeros((2, *frame_shape), dtype)
        self.counts = [0, 0]

    def add(self, other: _Periods) -> None:
        self.sums += other.sums
        self.counts = [mine + others for mine, others in zip(self.counts, other.counts, strict=True)]


def _sum_dtype(dtype: np.dtype[Any], n_frames: int) -> np.dtype[Any]:
    """Return a type in which so many frames can be added without loss."""
    if dtype.kind not in "ui":
        return np.dtype(np.float64)
    if dtype.kind == "u" and dtype.itemsize <= 2 and n_frames * np.iinfo(dtype).max <= np.iinfo(np.uint32).max:
        return np.dtype(np.uint32)
    return np.dtype(np.int64)
