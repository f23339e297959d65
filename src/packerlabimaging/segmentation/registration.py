"""Rigid registration: where each frame lies, found by phase correlation, and a lazy view of the movie that undoes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging._progress import ProgressOption
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.streaming import Reducer, stream
from packerlabimaging.errors import ParameterError

WORKING_SIDE_PX = 256
"""Frames are binned by the smallest whole factor that makes their shorter side at most this long."""

BATCH_FRAMES = 8
"""Frames that are transformed at a time, to bound memory."""

LOW_PASS_PX = 1.2
"""Sd of the Gaussian that smooths the correlation surface, in binned pixels; close to Suite2p's ``smooth_sigma`` of 1.15."""

MIN_PEAK_SD = 6.0
"""A shift counts where its peak is this many sd above the correlation surface; noise alone reaches 4.5 in 10^5 lags."""


class RegisteredMovie(Movie):
    """A movie with its rigid motion undone, frame by frame, when it is read.

    Shifts are rounded to whole pixels: pixels keep their values and type, and noise stays independent between pixels (an
    interpolation would smooth it by an amount that changes from frame to frame). Pixels that a frame did not see
    are filled with the nearest pixel that it did see (edge replication), never with NaN or zero.

    Parameters
    ----------
    movie
        The movie as it was taken.
    shifts_px
        Displacement ``(y, x)`` of each frame's content from the reference, shape ``(n_frames, 2)``: what lies at
        ``(y, x)`` in the reference lies at ``(y + dy, x + dx)`` in the frame.

    Raises
    ------
    ParameterError
        If there is not one finite shift per frame, or one exceeds the frame.
    """

    def __init__(self, movie: Movie, shifts_px: np.ndarray) -> None:
        shifts = np.asarray(shifts_px, dtype=np.float64)
        if shifts.shape != (movie.n_frames, 2) or not np.all(np.isfinite(shifts)):
            raise ParameterError(
                f"shifts_px has the shape {shifts.shape} (or is not finite). Expected {(movie.n_frames, 2)}: (y, x) per frame."
            )
        self.shifts_px = np.rint(shifts).astype(np.int32)
        if np.any(np.abs(self.shifts_px) >= movie.frame_shape_px):
            raise ParameterError(f"A shift moves a whole frame of {movie.frame_shape_px} px out of view. Check the registration.")
        super().__init__(movie.shape, movie.dtype, metadata=movie.metadata, source=movie.source, findings=movie.findings)
        self._movie = movie

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        self._movie.read(start, stop, out=out)
        for frame, (dy, dx) in zip(out, self.shifts_px[start:stop].tolist(), strict=True):
            if dy or dx:
                _roll_with_edges(frame, dy, dx)


def _roll_with_edges(frame: np.ndarray, dy: int, dx: int) -> None:
    """Replace ``frame[y, x]`` by ``frame[y + dy, x + dx]``, indices clipped to the frame, in place."""
    height, width = frame.shape
    seen = frame[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)].copy()
    top, left = max(-dy, 0), max(-dx, 0)
    bottom, right = top + seen.shape[0], left + seen.shape[1]
    frame[top:bottom, left:right] = seen
    frame[top:bottom, :left] = seen[:, :1]
    frame[top:bottom, right:] = seen[:, -1:]
    frame[:top] = frame[top]
    frame[bottom:] = frame[bottom - 1]


@dataclass(frozen=True, eq=False)
class Registration:
    """Shifts of all frames.

    Parameters
    ----------
    shifts_px
        Displacement ``(y, x)`` of each frame from the reference, float32 ``(n_frames, 2)``, to fractions of a pixel.
    measured
        Which frames were measured, boolean ``(n_frames,)``; the others (light artefacts, unreliable peaks) are interpolated
        in time between their neighbours of the same trial.
    findings
        What was noticed.
    """

    shifts_px: np.ndarray
    measured: np.ndarray
    findings: tuple[Finding, ...] = ()


class PhaseCorrelator:
    """Finds by how much frames are displaced from a reference.

    The cross-power spectrum is whitened, smoothed by a Gaussian of :data:`LOW_PASS_PX`, and its peak is refined by a
    parabola along each axis. Frames are tapered at their edges, so that the frame's border does not pin the peak at zero.

    Parameters
    ----------
    reference
        Reference image, binned as the frames will be, shape ``(y, x)``.
    max_shift_px
        Largest displacement looked for along ``(y, x)``, in binned pixels.
    """

    def __init__(self, reference: np.ndarray, max_shift_px: tuple[int, int]) -> None:
        from scipy import fft

        height, width = reference.shape
        self._max = max_shift_px
        self._taper = np.outer(_taper(height), _taper(width)).astype(np.float32)
        frequency = fft.fftfreq(height)[:, None] ** 2 + fft.rfftfreq(width)[None, :] ** 2
        low_pass = np.exp(-2.0 * (np.pi * LOW_PASS_PX) ** 2 * frequency)
        self._template = (np.conj(self._whitened(reference[None])[0]) * low_pass).astype(np.complex64)

    def _whitened(self, frames: np.ndarray) -> np.ndarray:
        from scipy import fft

        centred = (frames - frames.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)) * self._taper
        spectrum = fft.rfft2(centred)
        spectrum /= np.maximum(np.abs(spectrum), np.finfo(np.float32).tiny)
        return spectrum

    def __call__(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return displacements ``(n, 2)`` in binned pixels, and the height of each peak in sd of its surface, ``(n,)``."""
        batches = [self._find(frames[start : start + BATCH_FRAMES]) for start in range(0, len(frames), BATCH_FRAMES)]
        return np.concatenate([shifts for shifts, _ in batches]), np.concatenate([peaks for _, peaks in batches])

    def _find(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy import fft

        surface = fft.irfft2(self._whitened(frames) * self._template, s=frames.shape[1:])
        (max_y, max_x), (height, width) = self._max, frames.shape[1:]
        rows, columns = np.arange(-max_y - 1, max_y + 2) % height, np.arange(-max_x - 1, max_x + 2) % width
        window = surface[:, rows[:, None], columns]
        inner = window[:, 1:-1, 1:-1]
        peaks = inner.reshape(len(frames), -1).argmax(axis=1)
        y, x = np.unravel_index(peaks, inner.shape[1:])
        shifts = np.empty((len(frames), 2), np.float32)
        for index, (row, column) in enumerate(zip(y + 1, x + 1, strict=True)):
            shifts[index, 0] = row - 1 - max_y + _parabola_top(window[index, row - 1 : row + 2, column])
            shifts[index, 1] = column - 1 - max_x + _parabola_top(window[index, row, column - 1 : column + 2])
        spread = np.maximum(surface.std(axis=(1, 2)), np.finfo(np.float32).tiny)
        return shifts, inner.reshape(len(frames), -1).max(axis=1) / spread


def _taper(size: int) -> np.ndarray:
    """Half-cosine ramps over a tenth of the length at both ends, float64 ``(size,)``."""
    ramp = min(max(1, size // 10), size // 2)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
    return np.concatenate([rise, np.ones(size - 2 * ramp), rise[::-1]])


def _parabola_top(values: np.ndarray) -> float:
    """Place of the top of the parabola through three values, from the middle one, within half a step."""
    before, middle, after = (float(value) for value in values)
    curvature = before - 2.0 * middle + after
    return float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0


def bin_frames(frames: np.ndarray, factor: int) -> np.ndarray:
    """Average ``factor x factor`` pixels, float32; rows and columns that don't fill a bin are left out."""
    height, width = (size // factor * factor for size in frames.shape[1:])
    total = np.zeros((len(frames), height // factor, width // factor), np.float32)
    for row in range(factor):
        for column in range(factor):
            total += frames[:, row:height:factor, column:width:factor]
    return total / np.float32(factor * factor)


class _ShiftEstimates(Reducer):
    """Displacement and peak height of each frame, ``(n_frames, 3)``: y and x in pixels, peak in sd."""

    def __init__(self, correlator: PhaseCorrelator, factor: int) -> None:
        self._correlator, self._factor = correlator, factor
        self._pieces: dict[int, np.ndarray] = {}

    def fresh(self) -> _ShiftEstimates:
        return _ShiftEstimates(self._correlator, self._factor)

    def update(self, chunk: np.ndarray, start: int) -> None:
        for first in range(0, len(chunk), BATCH_FRAMES):
            shifts, peaks = self._correlator(bin_frames(chunk[first : first + BATCH_FRAMES], self._factor))
            self._pieces[start + first] = np.column_stack([shifts * self._factor, peaks])

    def merge(self, other: _ShiftEstimates) -> None:
        self._pieces.update(other._pieces)

    def result(self) -> np.ndarray:
        pieces = [self._pieces[start] for start in sorted(self._pieces)]
        return np.concatenate(pieces) if pieces else np.zeros((0, 3), np.float32)


def sample_frames(exclude: np.ndarray, n_frames: int) -> np.ndarray:
    """Return indices of at most ``n_frames`` frames that are not excluded, spread evenly.

    Raises
    ------
    ParameterError
        If every frame is excluded.
    """
    usable = np.flatnonzero(~exclude)
    if len(usable) == 0:
        raise ParameterError("Every frame is marked as an artefact, so there is nothing to segment. Check the artefact masks.")
    return usable[np.unique(np.linspace(0, len(usable) - 1, min(n_frames, len(usable))).round().astype(int))]


def make_reference(frames: np.ndarray, max_shift_px: tuple[int, int]) -> np.ndarray:
    """Make a reference image from sample frames.

    The start is the mean of the frames most like the one that is most like its 20 nearest (as in Suite2p); the frames are then
    aligned to it and averaged, twice.

    Parameters
    ----------
    frames
        Sample frames, already binned, float32 ``(n, y, x)``.
    max_shift_px
        Largest displacement looked for, in the same pixels.
    """
    likeness = _correlations(frames.reshape(len(frames), -1))
    n_near = min(20, len(frames))
    best = int(np.sort(likeness, axis=1)[:, -n_near:].mean(axis=1).argmax())
    nearest = np.argsort(likeness[best])[-n_near:]
    reference = frames[nearest].mean(axis=0)
    for _ in range(2):
        shifts, peaks = PhaseCorrelator(reference, max_shift_px)(frames)
        good = peaks >= min(MIN_PEAK_SD, float(np.median(peaks)))
        whole = np.rint(shifts - np.median(shifts[good], axis=0)).astype(int)
        total = np.zeros(reference.shape, np.float64)
        for frame, (dy, dx) in zip(frames[good], whole[good].tolist(), strict=True):
            moved = frame.copy()
            _roll_with_edges(moved, dy, dx)
            total += moved
        reference = (total / good.sum()).astype(np.float32)
    return reference


def _correlations(rows: np.ndarray) -> np.ndarray:
    """Correlation of every row with every other, ``(n, n)``; 0 with constant ones. Needs no second copy of the rows."""
    offset = rows.mean(dtype=np.float64).astype(np.float32)
    rows -= offset  # in place, so that the products keep their precision; undone below
    means = rows.mean(axis=1, dtype=np.float64)
    covariance = (rows @ rows.T).astype(np.float64) / rows.shape[1] - np.outer(means, means)
    rows += offset
    spread = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float32).tiny))
    return covariance / np.outer(spread, spread)


def estimate_shifts(
    movie: Movie,
    *,
    trial_frames: Mapping[str, tuple[int, int]],
    exclude: np.ndarray,
    reference_frames: int = 200,
    max_shift_fraction: float = 0.1,
    workers: int = 1,
    progress: ProgressOption = None,
) -> Registration:
    """Find the rigid displacement of every frame of a movie, in one pass.

    Parameters
    ----------
    movie
        The movie, all trials joined.
    trial_frames
        ``{trial id: (first frame, end)}``; shifts are never interpolated from one trial into another.
    exclude
        Frames that stimulation light reached, boolean ``(n_frames,)``: left out of the reference, and given a shift interpolated
        between the frames around them.
    reference_frames
        Frames, spread over the movie, that the reference is made of.
    max_shift_fraction
        Largest shift, as a fraction of the frame's height and width.

    Returns
    -------
    Registration
        Shifts to fractions of a pixel.
    """
    check_positive("max_shift_fraction", max_shift_fraction)
    if max_shift_fraction >= 0.5:
        raise ParameterError(f"max_shift_fraction = {max_shift_fraction} is too large. Give a fraction below 0.5; 0.1 is usual.")
    factor = -(-min(movie.frame_shape_px) // WORKING_SIDE_PX)
    chosen = sample_frames(exclude, reference_frames).tolist()
    samples = np.concatenate([bin_frames(movie.read(index, index + 1), factor) for index in chosen])
    if not np.all(np.isfinite(samples)):
        raise ParameterError(f"The movie {movie.source} holds NaN or infinite pixels. Replace them before segmentation.")
    height, width = samples.shape[1:]
    limit = max(1, int(height * max_shift_fraction)), max(1, int(width * max_shift_fraction))
    correlator = PhaseCorrelator(make_reference(samples, limit), limit)
    del samples
    found = stream(movie, {"shifts": _ShiftEstimates(correlator, factor)}, workers=workers, progress=progress)["shifts"]
    return _fill_unmeasured(found[:, :2], found[:, 2] >= MIN_PEAK_SD, exclude, trial_frames)


def _fill_unmeasured(
    shifts: np.ndarray, reliable: np.ndarray, exclude: np.ndarray, trial_frames: Mapping[str, tuple[int, int]]
) -> Registration:
    """Interpolate, trial by trial, the shifts of frames that were excluded or have no clear peak."""
    measured = reliable & ~exclude
    filled = np.zeros(shifts.shape, np.float32)
    findings = []
    for trial, (start, stop) in trial_frames.items():
        known = start + np.flatnonzero(measured[start:stop])
        share = len(known) / max(1, int((~exclude[start:stop]).sum()))
        if share < 0.9:
            findings.append(
                Finding(
                    "registration-unreliable",
                    f"Only {share:.0%} of the frames of trial '{trial}' have a clear registration peak; "
                    + ("the other shifts are interpolated." if len(known) else "the trial is left unregistered."),
                    where=trial,
                    advice="Look at the mean image; frames may be too dim, or of another field of view.",
                    evidence={"measured_fraction": share},
                )
            )
        if len(known):
            for axis in range(2):
                filled[start:stop, axis] = np.interp(np.arange(start, stop), known, shifts[known, axis])
    return Registration(filled, measured, tuple(findings))
