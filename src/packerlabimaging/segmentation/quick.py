"""The engine ``quick``: cells in less than a minute, without an extra package. For first looks and for tests.

Rigid registration by phase correlation, detection by greedy growing from soma-sized seeds in the binned movie, traces
as weighted means, neuropil from the surround. Three passes over the movie, in memory that does not grow with its
length. It knows no non-rigid motion, does not demix overlapping cells beyond leaving shared pixels out, and does not
deconvolve: use Suite2p for results that are to be published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging._progress import Progress, split_progress
from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.binning import BinnedMovie, bin_movie, choose_frames_per_bin
from packerlabimaging.segmentation.detection import Detection, find_rois
from packerlabimaging.segmentation.embedded import EXTRACTION_SETTINGS, REGISTRATION_SETTINGS, EmbeddedEngine, Prepared, n_workers
from packerlabimaging.segmentation.engine import EngineJob, Setting
from packerlabimaging.segmentation.evidence import Evidence
from packerlabimaging.segmentation.extraction import own_pixels
from packerlabimaging.segmentation.flattening import flatten
from packerlabimaging.segmentation.run_folder import write_images, write_rois

ENOUGH_BINS = 100
"""Bins are made shorter than the setting ``bin_s`` where there would be fewer than this."""


class QuickEngine(EmbeddedEngine):
    """Embedded engine for first looks and tests; see the module."""

    name: ClassVar[str] = "quick"
    description: ClassVar[str] = "embedded: rigid registration, greedy detection; for first looks and tests"
    version: ClassVar[int] = 1

    def settings(self) -> Mapping[str, Setting]:
        """Return the defaults."""
        return {
            **REGISTRATION_SETTINGS,
            "diameter_um": Setting(13.0, "Expected diameter of a cell in micrometres."),
            "diameter_px": Setting(None, "The same in pixels, one number or (y, x); needed where the pixel size is unknown."),
            "bin_s": Setting(
                0.33, "Time over which frames are averaged for detection; longer in long recordings, to bound memory."
            ),
            "highpass_s": Setting(30.0, "Changes slower than this are taken away before detection."),
            "min_score": Setting(9.0, "How far the root summed square of a cell's active bins must rise above noise, in sd."),
            "max_rois": Setting(2000, "Number of ROIs at which the search ends."),
            "min_area": Setting(0.5, "A smaller ROI is kept, but not as a cell; in areas of a disc of the cell diameter."),
            "max_area": Setting(2.0, "A larger ROI is kept, but not as a cell; the same unit."),
            "max_compactness": Setting(1.1, "An ROI that is less compact (1 = disc) is kept, but not as a cell."),
            "max_halo": Setting(0.15, "An ROI with a brighter surround, as a fraction of itself, is kept, but not as a cell."),
            **EXTRACTION_SETTINGS,
        }

    def run(self, job: EngineJob, folder: Path, settings: Mapping[str, Any], progress: Progress) -> None:
        """Register, detect, extract."""
        for name in ("bin_s", "highpass_s", "min_score", "max_rois"):
            check_positive(name, settings[name])
        diameter_px = cell_diameter_px(job, settings)
        registering, binning, detecting, extracting = split_progress(progress, 4)
        prepared = self.prepare(job, folder, settings, registering)
        binned = _bin(prepared, job.rate_hz, settings, binning)
        images = {"mean": binned.mean, "max": binned.max}
        found = _detect(binned, prepared, diameter_px, job.rate_hz, settings, detecting)
        del binned
        cells = np.array([_is_cell(evidence, settings) for evidence in found.evidence], dtype=bool)
        write_images(folder, {**images, **found.images})
        write_rois(folder, found.rois, {"iscell": cells, **_columns(found)})
        self.extract(prepared, found.rois, folder, settings, traced=own_pixels(found.rois), progress=extracting)


def cell_diameter_px(job: EngineJob, settings: Mapping[str, Any]) -> tuple[float, float]:
    """Return the expected cell diameter along ``(y, x)`` in pixels.

    Raises
    ------
    ParameterError
        If neither the pixel size nor ``diameter_px`` is known, or the diameter is smaller than 2 pixels.
    """
    if settings["diameter_px"] is not None:
        given = np.ravel(settings["diameter_px"])
        if len(given) not in (1, 2):
            raise ParameterError(f"diameter_px = {settings['diameter_px']!r} is not possible. Give one number or two, (y, x).")
        height, width = (check_positive("diameter_px", value) for value in np.broadcast_to(given, 2))
    elif job.pixel_size_um is None:
        raise ParameterError(
            "The size of a pixel is unknown, and so is that of a cell in pixels. Give the pixel size with the movie, or "
            "the engine's setting diameter_px."
        )
    else:
        height, width = (check_positive("diameter_um", settings["diameter_um"]) / size for size in job.pixel_size_um)
    if min(height, width) < 2:
        raise ParameterError(
            f"A cell diameter of {height:.2f} x {width:.2f} pixels is too small to tell cells from noise (at least 2). "
            "Check diameter_um, diameter_px and the pixel size."
        )
    return float(height), float(width)


def _bin(prepared: Prepared, rate_hz: float, settings: Mapping[str, Any], progress: Progress) -> BinnedMovie:
    """Average the registered movie in time (the second pass)."""
    usable = int((~prepared.exclude).sum())
    wanted = round(settings["bin_s"] * rate_hz)
    wanted = max(1, min(wanted, usable // ENOUGH_BINS))
    if usable < 2:
        raise ParameterError(
            f"{usable} frames without artefact are too few to find cells. Give a longer movie, or the engine 'masks'."
        )
    return bin_movie(
        prepared.movie,
        exclude=prepared.exclude,
        frames_per_bin=choose_frames_per_bin(usable, prepared.movie.frame_shape_px, wanted),
        residuals_px=prepared.shifts_px - prepared.movie.shifts_px,
        workers=n_workers(settings),
        progress=progress,
    )


def _detect(
    binned: BinnedMovie,
    prepared: Prepared,
    diameter_px: tuple[float, float],
    rate_hz: float,
    settings: Mapping[str, Any],
    progress: Progress,
) -> Detection:
    """Flatten the binned movie and find ROIs in it."""
    workers = n_workers(settings)
    highpass = round(settings["highpass_s"] * rate_hz / binned.frames_per_bin)
    flatten(binned.bins, diameter_px, highpass_bins=max(3, highpass), workers=workers)
    return find_rois(
        binned.bins,
        diameter_px=diameter_px,
        valid=prepared.valid,
        min_score=settings["min_score"],
        max_rois=settings["max_rois"],
        workers=workers,
        progress=progress,
    )


def _is_cell(evidence: Evidence, settings: Mapping[str, Any]) -> bool:
    """Say whether an ROI is taken for a cell: of the size of one, compact, and in focus."""
    fits = settings["min_area"] <= evidence.area <= settings["max_area"]
    return fits and evidence.compactness <= settings["max_compactness"] and evidence.halo <= settings["max_halo"]


def _columns(found: Detection) -> dict[str, np.ndarray]:
    """One column per measure of the evidence, float32."""
    rows = [asdict(evidence) for evidence in found.evidence]
    return {name.name: np.array([row[name.name] for row in rows], np.float32) for name in fields(Evidence)}
