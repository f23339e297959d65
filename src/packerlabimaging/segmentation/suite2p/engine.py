"""The adapter: movies into Suite2p's binary, its pipeline, and its folder as a segmentation."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from packerlabimaging._progress import Progress
from packerlabimaging._provenance import versions
from packerlabimaging.core.movie import concatenate_movies
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.core.streaming import stream
from packerlabimaging.errors import EngineError
from packerlabimaging.io.binary import BinaryWriter
from packerlabimaging.io.suite2p import Suite2pReader
from packerlabimaging.io.untrusted.npy import open_npy
from packerlabimaging.segmentation.engine import Engine, EngineJob
from packerlabimaging.segmentation.suite2p.artefacts import artefact_findings, recompute
from packerlabimaging.segmentation.suite2p.log import LOG_FILE, TOTAL, logged
from packerlabimaging.segmentation.suite2p.program import import_suite2p
from packerlabimaging.segmentation.suite2p.registration import choose_frames, register
from packerlabimaging.segmentation.suite2p.settings import engine_settings, suite2p_settings

_BINARY_SHARE = 0.04
"""Part of a run that goes into writing the binary, for the progress bar."""

_MIN_FRAMES = 50
"""What Suite2p asks for (its message; its code refuses below 10)."""


class Suite2pEngine(Engine):
    """Suite2p: nonrigid registration, functional ROI detection, neuropil, deconvolution, classification.

    The run folder holds ``suite2p/plane0`` as Suite2p leaves it, which its own program opens, and ``suite2p.log``. The movies
    are joined in the order of the job. The built-in classifier is used unless ``classification.classifier_path`` names
    another one. Artefact frames are left out of detection by Suite2p, and of deconvolution and classification by a second
    computation, see :mod:`packerlabimaging.segmentation.suite2p.artefacts`.
    """

    name = "suite2p"
    description = "Suite2p 1.1 or later: registration, detection of active cells, neuropil, deconvolution"

    def settings(self) -> Mapping[str, Any]:
        return engine_settings(import_suite2p())

    def versions(self) -> dict[str, str]:
        return versions("suite2p", "torch", "torchvision", "numba", "scipy")

    def run(self, job: EngineJob, folder: Path, settings: Mapping[str, Any], progress: Progress) -> None:
        suite2p = import_suite2p()
        own = suite2p_settings(suite2p, settings, job)
        plane = folder / "suite2p" / "plane0"
        plane.mkdir(parents=True)
        mask = job.artefact_mask()
        choose_frames(mask, 1)
        _write_inputs(suite2p, job, folder, own, settings["pixel_offset"], progress)
        with logged(folder, progress):
            if own["run"]["do_registration"]:
                register(suite2p, plane, (job.n_frames, *_frame_shape(job)), mask, own)
            suite2p.run_s2p(db=_database(suite2p, job, folder, own), settings=own)
            _check_outcome(plane, job, folder)
            if mask.any():
                recompute(suite2p, plane, mask, own)
            _accept(plane, settings["cell_probability"])
        if settings["pixel_offset"]:
            _add_offset(plane, settings["pixel_offset"])
        for name, keep in (("data_raw.bin", settings["keep_raw"]), ("data.bin", settings["keep_registered"])):
            if not keep:
                (plane / name).unlink(missing_ok=True)
        progress(TOTAL, TOTAL)

    def load(self, folder: Path) -> Segmentation:
        found = Suite2pReader().open(folder)
        bad_frames = folder / "bad_frames.npy"
        if not bad_frames.is_file():
            return found
        mask = np.zeros(found.n_frames, bool)
        mask[np.asarray(open_npy(bad_frames, ndim=1))] = True
        return replace(found, findings=(*found.findings, *artefact_findings(mask, folder)))


def _accept(plane: Path, probability: float) -> None:
    """Take ROIs of at least a probability for cells, in Suite2p's own file, so that its program shows and curates the same."""
    labels = np.load(plane / "iscell.npy")
    labels[:, 0] = labels[:, 1] >= probability
    np.save(plane / "iscell.npy", labels)


def _write_inputs(
    suite2p: ModuleType, job: EngineJob, folder: Path, settings: Mapping[str, Any], offset: int, progress: Progress
) -> None:
    plane = folder / "suite2p" / "plane0"
    movie = concatenate_movies(list(job.movies.values()))
    _check_room(folder, movie.shape)
    database = _database(suite2p, job, folder, settings)
    writer = BinaryWriter(database.get("raw_file", database["reg_file"]), offset=offset)
    stream(movie, {"binary": writer}, progress=lambda done, total: progress(int(TOTAL * _BINARY_SHARE * done / total), TOTAL))
    mask = job.artefact_mask()
    if mask.any():
        np.save(folder / "bad_frames.npy", np.flatnonzero(mask))
    np.save(plane / "db.npy", np.array(database, dtype=object))
    np.save(plane / "settings.npy", np.array(dict(settings), dtype=object))


def _check_room(folder: Path, shape: tuple[int, int, int]) -> None:
    n_frames, height, width = shape
    if n_frames < _MIN_FRAMES:
        raise EngineError(f"The movies have {n_frames} frames together. Suite2p needs at least {_MIN_FRAMES}. Join more trials.")
    needed, free = 2 * 2 * n_frames * height * width, shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            f"The disk of '{folder}' has {free / 1e9:.1f} GB free; Suite2p's two copies of the movie need {needed / 1e9:.1f} GB. "
            "Free some space, or give an output folder on another disk."
        )


def _frame_shape(job: EngineJob) -> tuple[int, int]:
    return next(iter(job.movies.values())).frame_shape_px


def _database(suite2p: ModuleType, job: EngineJob, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return Suite2p's ``db``: one plane, one channel, one 'file' per trial with its frames.

    There is a raw file beside the registered one only where there is registration; otherwise Suite2p would leave it unread.
    """
    registers = bool(settings["run"]["do_registration"])
    height, width = _frame_shape(job)
    plane = folder / "suite2p" / "plane0"
    return {
        **suite2p.default_db(),
        "data_path": [str(folder)],  # bad_frames.npy is looked for here first
        "save_path0": str(folder),
        "save_path": str(plane),
        "fast_disk": str(plane),
        "db_path": str(plane / "db.npy"),
        "settings_path": str(plane / "settings.npy"),
        **({"raw_file": str(plane / "data_raw.bin")} if registers else {}),
        "reg_file": str(plane / "data.bin"),
        "keep_movie_raw": registers,
        "input_format": "binary",
        "iplane": 0,
        "nframes": job.n_frames,
        "Ly": height,
        "Lx": width,
        "file_list": [movie.source for movie in job.movies.values()],
        "frames_per_file": np.array([movie.n_frames for movie in job.movies.values()]),
        "frames_per_folder": np.array([job.n_frames]),
        "first_files": np.arange(len(job.movies)) == 0,
    }


def _check_outcome(plane: Path, job: EngineJob, folder: Path) -> None:
    if not (plane / "F.npy").is_file():
        raise EngineError(f"Suite2p found no ROIs. Look at the registered movie and at {LOG_FILE} in '{folder}'.")
    n_frames = open_npy(plane / "F.npy", ndim=2).shape[1]
    if n_frames != job.n_frames:
        counted = ", ".join(f"{trial}: {stop - start}" for trial, (start, stop) in job.trial_frames.items())
        raise EngineError(
            f"Suite2p's traces have {n_frames} frames, the movies {job.n_frames} ({counted}): frames can't be given to trials. "
            f"See {LOG_FILE} in '{folder}'."
        )


def _add_offset(plane: Path, offset: int) -> None:
    """Bring traces back to the movie's own units; a trace is a weighted mean, so that the offset adds."""
    for name in ("F.npy", "Fneu.npy"):
        np.save(plane / name, np.load(plane / name) + np.float32(offset))
