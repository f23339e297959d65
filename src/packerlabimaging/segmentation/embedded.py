"""What the engines that come with this package share: registration, traces, and the files of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._progress import Progress
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.movie import Movie, concatenate_movies
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.core.streaming import Projections, stream
from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.engine import Engine, EngineJob, Setting
from packerlabimaging.segmentation.extraction import find_neuropil, write_traces
from packerlabimaging.segmentation.registration import RegisteredMovie, estimate_shifts
from packerlabimaging.segmentation.run_folder import read_outcome, write_findings, write_shifts

REGISTRATION_SETTINGS: Mapping[str, Setting] = {
    "register": Setting(True, "Undo rigid motion; false if the movie is registered already."),
    "reference_frames": Setting(200, "Frames, spread over all trials, that the reference image is made of."),
    "max_shift_fraction": Setting(0.1, "Largest shift looked for, as a fraction of the frame's height and width."),
}

EXTRACTION_SETTINGS: Mapping[str, Setting] = {
    "neuropil_pixels": Setting(350, "Pixels of the neuropil around each ROI, as Suite2p's min_neuropil_pixels; 0 for none."),
    "neuropil_gap_px": Setting(2, "Pixels left free around every ROI, as Suite2p's inner_neuropil_radius."),
    "workers": Setting(0, "Threads; 0 for one per processor, at most 8. Results do not depend on it."),
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """The joined movie of a job, registered.

    Parameters
    ----------
    movie
        All trials, with motion undone to whole pixels.
    shifts_px
        Measured displacement of each frame, to fractions of a pixel, ``(n_frames, 2)``.
    valid
        Pixels that (nearly) all frames saw, boolean ``(y, x)``: filled in less than 2 % of the frames.
    exclude
        Artefact frames, boolean ``(n_frames,)``.
    findings
        What registration noticed.
    """

    movie: RegisteredMovie
    shifts_px: np.ndarray
    valid: np.ndarray
    exclude: np.ndarray
    findings: tuple[Finding, ...]


class EmbeddedEngine(Engine):
    """Base of the engines that come with this package; adds no state."""

    def load(self, folder: Path) -> Segmentation:
        """Read the outcome; traces are memory maps."""
        return read_outcome(folder)

    def prepare(self, job: EngineJob, folder: Path, settings: Mapping[str, Any], progress: Progress) -> Prepared:
        """Register the movies of a job together (one pass, unless ``register`` is false), and write the shifts."""
        movie = concatenate_movies(list(job.movies.values()))
        exclude = job.artefact_mask()
        shifts = np.zeros((movie.n_frames, 2), np.float32)
        findings: tuple[Finding, ...] = ()
        if settings["register"]:
            found = estimate_shifts(
                movie,
                trial_frames=job.trial_frames,
                exclude=exclude,
                reference_frames=settings["reference_frames"],
                max_shift_fraction=settings["max_shift_fraction"],
                workers=n_workers(settings),
                progress=progress,
            )
            shifts, findings = found.shifts_px, found.findings
            write_shifts(folder, shifts)
        registered = RegisteredMovie(movie, shifts)
        return Prepared(registered, shifts, _always_seen(registered, exclude), exclude, findings)

    def extract(
        self,
        prepared: Prepared,
        rois: RoiSet,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        traced: RoiSet | None = None,
        progress: Progress,
    ) -> None:
        """Write traces and neuropil of ROIs, in one pass, and the findings.

        Parameters
        ----------
        rois
            All ROIs, which the neuropil keeps away from.
        traced
            The pixels to take each ROI's trace from; by default all of it.
        """
        regions, findings = {"F": rois if traced is None else traced}, list(prepared.findings)
        if settings["neuropil_pixels"]:
            neuropil = find_neuropil(
                rois, gap_px=settings["neuropil_gap_px"], n_pixels=settings["neuropil_pixels"], valid=prepared.valid
            )
            if neuropil is None:
                findings.append(
                    Finding("no-neuropil", "ROIs cover the whole frame: there is no neuropil between them, and Fneu is missing.")
                )
            else:
                regions["Fneu"] = neuropil
        if not len(rois):
            findings.append(
                Finding(
                    "no-rois",
                    "No ROI was found.",
                    advice="Look at the mean image; check the cell diameter and the pixel size, or lower min_score.",
                )
            )
        write_traces(prepared.movie, regions, folder, workers=n_workers(settings), progress=progress)
        write_findings(folder, findings)


def n_workers(settings: Mapping[str, Any]) -> int:
    """Return the number of threads that the setting ``workers`` stands for."""
    workers = settings["workers"]
    if not isinstance(workers, int) or workers < 0:
        raise ParameterError(f"workers = {workers!r} is not possible. Give a number of threads, or 0 for one per processor.")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return workers or min(8, available)


def _always_seen(movie: RegisteredMovie, exclude: np.ndarray) -> np.ndarray:
    """Pixels that lie within the frame in all but the outermost 1 % of shifts, on each side."""
    valid = np.zeros(movie.frame_shape_px, bool)
    low, high = np.percentile(movie.shifts_px[~exclude], [1, 99], axis=0) if (~exclude).any() else np.zeros((2, 2))
    before, after = np.ceil(np.maximum(-low, 0)).astype(int), np.ceil(np.maximum(high, 0)).astype(int)
    height, width = movie.frame_shape_px
    valid[before[0] : height - after[0], before[1] : width - after[1]] = True
    return valid


def mean_image(movie: Movie, exclude: np.ndarray, *, workers: int, progress: Progress) -> dict[str, np.ndarray]:
    """Return the mean and maximum image over the frames that are not excluded, in one pass; nothing if all are."""
    found = stream(movie, {"images": Projections(exclude=exclude)}, workers=workers, progress=progress)["images"]
    return {name: found[name] for name in ("mean", "max") if found["n_frames"]}
