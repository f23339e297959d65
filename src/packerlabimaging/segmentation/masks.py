"""The engine ``masks``: traces of ROIs that are given, e.g. drawn by hand, from another program, or discs on the targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging._progress import Progress, split_progress
from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.embedded import (
    EXTRACTION_SETTINGS,
    REGISTRATION_SETTINGS,
    EmbeddedEngine,
    mean_image,
    n_workers,
)
from packerlabimaging.segmentation.engine import EngineJob, Setting
from packerlabimaging.segmentation.run_folder import write_images, write_rois


class MasksEngine(EmbeddedEngine):
    """Traces and neuropil of given ROIs (``job.rois``); all are taken for cells.

    Notes
    -----
    Registration aligns all frames to a reference made of the movie itself. ROIs drawn on another image may lie a little
    off it: compare them with the run's mean image.
    """

    name: ClassVar[str] = "masks"
    description: ClassVar[str] = "embedded: traces of given ROIs, no detection"
    takes_rois: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def settings(self) -> Mapping[str, Setting]:
        """Return the defaults."""
        return {**REGISTRATION_SETTINGS, **EXTRACTION_SETTINGS}

    def run(self, job: EngineJob, folder: Path, settings: Mapping[str, Any], progress: Progress) -> None:
        """Register, extract."""
        if job.rois is None:
            raise ParameterError(
                "The engine 'masks' needs ROIs, and the job has none. Give them: EngineJob(..., rois=...), from "
                "RoiSet.from_labels, RoiSet.from_discs or another segmentation's rois."
            )
        registering, averaging, extracting = split_progress(progress, 3)
        prepared = self.prepare(job, folder, settings, registering)
        workers = n_workers(settings)
        write_images(folder, mean_image(prepared.movie, prepared.exclude, workers=workers, progress=averaging))
        write_rois(folder, job.rois, {"iscell": np.ones(len(job.rois), bool)})
        self.extract(prepared, job.rois, folder, settings, progress=extracting)
