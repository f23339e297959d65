"""Sham stims: the windows of the real stims put where there was no light, to see what they find without any.

A sham has its frames, its mask and its place within a frame from one real stim, so that its score differs from that stim's
only by what light did to the tissue. Trains of as many shams as there are stims give the distribution of any statistic over
stims without a response.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from packerlabimaging.analysis.presets import ResponsePreset
from packerlabimaging.analysis.scoring import Windows, place_windows
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import TooFewShamsError

FEWEST_SHAMS = 20
"""Fewer shams that do not overlap say too little about the tails of a distribution."""
MOST_SHAMS = 10
"""Shams scored, at most, per real stim (at least a thousand): more cost time and hardly change a p value."""


@dataclass(frozen=True, eq=False)
class RealStims:
    """The stims that shams imitate.

    Parameters
    ----------
    clock, artefact
        Frame times of their recording, and which frames light reached, boolean ``(n_frames,)``.
    onsets_s, ends_s
        Their times, all within the recording, shape ``(n_stims,)``.
    """

    clock: FrameClock
    artefact: np.ndarray
    onsets_s: np.ndarray
    ends_s: np.ndarray

    def __len__(self) -> int:
        return len(self.onsets_s)

    @cached_property
    def frames(self) -> np.ndarray:
        """Frame of each onset, ``(n_stims,)``."""
        return self.clock.frames_at(self.onsets_s)[0]

    def extent(self, preset: ResponsePreset) -> tuple[int, int]:
        """Return how many frames a stim's windows reach before, and from, the frame of its onset."""
        longest_s = float(np.max(self.ends_s - self.onsets_s)) if preset.post_anchor == "end" else 0.0
        last_s = longest_s + preset.post_start_s + preset.post_window_s
        rate = self.clock.rate_hz
        return int(np.ceil(preset.pre_window_s * rate)) + 1, int(np.ceil(last_s * rate)) + 2

    def masks(self, offsets: np.ndarray) -> np.ndarray:
        """Return which frames are left out at some offsets from each onset's frame, boolean ``(n_stims, n_offsets)``."""
        index = self.frames[:, None] + offsets
        inside = (index >= 0) & (index < self.clock.n_frames)
        return self.artefact[np.clip(index, 0, self.clock.n_frames - 1)] & inside


@dataclass(frozen=True, eq=False)
class ShamStims:
    """Sham stims that can be scored and do not overlap: ``onsets_s``, ``ends_s``, ``(n_shams,)``, and their ``windows``."""

    onsets_s: np.ndarray
    ends_s: np.ndarray
    windows: Windows

    def __len__(self) -> int:
        return len(self.onsets_s)


def place_shams(
    real: RealStims, clock: FrameClock, artefact: np.ndarray, *, preset: ResponsePreset, rng: np.random.Generator
) -> ShamStims:
    """Fill the time without light with shams.

    Parameters
    ----------
    real
        The stims that are imitated; each sham takes one of them, drawn at random.
    clock, artefact
        Frame times and frames with light of the recording that the shams are put in: the same, or a spontaneous one of the
        same FOV.
    preset
        Gives the windows, and ``sham_guard_s``, how long before them there must have been no light.

    Returns
    -------
    ShamStims
        As many as fit side by side, in each dark period from a start drawn at random; a random choice of them where they are
        more than ``MOST_SHAMS`` per stim.
    """
    before, after = real.extent(preset)
    first = _dark_stretches(clock, artefact, before + after, guard_s=preset.sham_guard_s, rng=rng)
    most = max(1000, MOST_SHAMS * len(real))
    if len(first) > most:
        first = np.sort(rng.choice(first, most, replace=False))
    frames, model = first + before, rng.integers(0, len(real), len(first))
    onsets = clock.starts_s[frames] + (real.onsets_s - real.clock.starts_s[real.frames])[model]
    ends = onsets + (real.ends_s - real.onsets_s)[model]
    offsets = np.arange(-before, after)
    exclude = artefact.copy()
    exclude[(frames[:, None] + offsets)[real.masks(offsets)[model]]] = True
    usable = place_windows(clock, onsets, ends, preset=preset, exclude=exclude).valid
    onsets, ends = onsets[usable], ends[usable]
    return ShamStims(onsets, ends, place_windows(clock, onsets, ends, preset=preset, exclude=exclude))


def shams_needed(n_stims: int) -> int:
    """Return how many shams calls over ``n_stims`` stims need: as many, and at least ``FEWEST_SHAMS``."""
    return max(n_stims, FEWEST_SHAMS)


def check_enough(
    shams: ShamStims, real: RealStims, clock: FrameClock, artefact: np.ndarray, *, preset: ResponsePreset
) -> ShamStims:
    """Return the shams if they are enough.

    Raises
    ------
    TooFewShamsError
        If they are too few; the message names the longest guard that would leave enough.
    """
    needed = shams_needed(len(real))
    if len(shams) >= needed:
        return shams
    before, after = real.extent(preset)
    shorter = np.arange(0.0, preset.sham_guard_s, 0.5)[::-1]
    rng = np.random.default_rng(0)
    fit = (len(_dark_stretches(clock, artefact, before + after, guard_s=float(guard), rng=rng)) for guard in shorter)
    enough = next((guard for guard, n in zip(shorter, fit, strict=True) if n >= needed), None)
    ways = (
        []
        if enough is None
        else [
            f"override sham_guard_s with at most {enough:g}, if responses are over by then "
            f"([trial.responses] overrides = {{ sham_guard_s = {enough:g} }})"
        ]
    )
    ways += ["give a spontaneous recording of the same cells", 'choose another preset ([trial.responses] preset = "packerlab")']
    advice = ", or ".join(ways)
    raise TooFewShamsError(
        f"The preset '{preset.name}' compares {len(real)} stims with sham stims, and only {len(shams)} fit into the time that "
        f"has no light in it nor {preset.sham_guard_s:g} s before. It needs {needed}. {advice[0].upper()}{advice[1:]}."
    )


def _dark_stretches(
    clock: FrameClock, artefact: np.ndarray, n_frames: int, *, guard_s: float, rng: np.random.Generator
) -> np.ndarray:
    """Return first frames of stretches of dark frames, side by side in each dark period, from a start drawn at random."""
    lit = np.flatnonzero(artefact)
    light_ends = np.concatenate([[-np.inf], clock.ends_s[lit]])
    dark_s = clock.starts_s - light_ends[np.searchsorted(lit, np.arange(clock.n_frames))]
    n_lit = np.concatenate([[0], np.cumsum(artefact)])
    can = np.zeros(clock.n_frames, bool)
    stop = clock.n_frames - n_frames + 1
    if stop > 0:
        can[:stop] = (n_lit[n_frames:] == n_lit[:stop]) & (dark_s[:stop] >= guard_s)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], can, [0]])))
    found = [np.zeros(0, np.int64)]
    for first, past in zip(edges[::2], edges[1::2], strict=True):
        spare = (past - 1 - first) % n_frames
        found.append(np.arange(first + rng.integers(0, spare + 1), past, n_frames))
    return np.concatenate(found)


def draw_trains(n_shams: int, n_stims: int, *, n_trains: int, rng: np.random.Generator) -> np.ndarray:
    """Draw sham trains: numbers of shams, none twice in a train, shape ``(n_trains, n_in_train)``.

    A train has as many shams as there are stims, but at most half of all, so that trains differ.
    """
    n_in_train = min(n_stims, n_shams // 2)
    return np.argpartition(rng.random((n_trains, n_shams)), n_in_train - 1, axis=1)[:, :n_in_train]


def t_statistic(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Compute mean over standard error of the mean in each row.

    Parameters
    ----------
    values
        Scores, shape ``(n_rois, n)``; NaN is left out.
    weights
        How often each score counts, shape ``(n, n_trains)``; by default once.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_rois, n_trains)``, or ``(n_rois,)`` without weights. NaN where fewer than two scores count, 0 where all are 0.
    """
    single = weights is None
    weights = np.ones((values.shape[1], 1)) if weights is None else weights
    there = ~np.isnan(values)
    filled = np.where(there, values, 0.0)
    n = there @ weights if not there.all() else np.broadcast_to(weights.sum(axis=0), (len(values), weights.shape[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled @ weights / n
        variance = np.maximum((filled**2) @ weights / n - mean**2, 0.0) / (n - 1)
        t = np.where(mean == 0, 0.0, mean / np.sqrt(variance))
    t[n < 2] = np.nan
    return t[:, 0] if single else t


def train_weights(trains: np.ndarray, n: int) -> np.ndarray:
    """Return how often each of ``n`` scores is in each train, float64 ``(n, n_trains)``."""
    weights = np.zeros((len(trains), n))
    np.add.at(weights, (np.arange(len(trains))[:, None], trains), 1.0)
    return weights.T


def null_statistics(values: np.ndarray, n_stims: int, *, n_trains: int, rng: np.random.Generator) -> np.ndarray:
    """Compute the t statistic of every ROI in every sham train, as it would be in stims without a response.

    Parameters
    ----------
    values
        Scores of the shams, shape ``(n_rois, n_shams)``.
    n_stims
        Stims of a train.
    n_trains
        Trains.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_rois, n_trains)``.

    Notes
    -----
    Trains from the same few shams are alike: they vary less than stims would, and all share what these shams happen to hold.
    The variance of a difference between the mean of n stims and that of L shams is 1 + n / L times that of the former, and
    so the statistics are widened by its root. Measured: docs/responses.md.
    """
    trains = draw_trains(values.shape[1], n_stims, n_trains=n_trains, rng=rng)
    t = t_statistic(values, train_weights(trains, values.shape[1]))
    return t * np.sqrt(1.0 + n_stims / values.shape[1])


def pooled_pvalue(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Compute two-sided p values against one null distribution of all ROIs and trains together.

    Parameters
    ----------
    observed
        Shape ``(n,)``; NaN stays.
    null
        Any shape; NaN is left out.

    Returns
    -------
    numpy.ndarray
        Twice the smaller of both one-sided ``(b + 1) / (B + 1)`` (Phipson & Smyth 2010), at most 1.
    """
    ordered = np.sort(null[~np.isnan(null)], axis=None)
    total = len(ordered)
    at_least = total - np.searchsorted(ordered, observed, side="left")
    at_most = np.searchsorted(ordered, observed, side="right")
    p = np.minimum(2.0 * (np.minimum(at_least, at_most) + 1) / (total + 1), 1.0)
    return np.where(np.isnan(observed), np.nan, p)
