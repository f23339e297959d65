"""Adopting an existing segmentation: the frames of one trial in the run of another program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.readers import open_path
from packerlabimaging.io.suite2p import Recording, check_single, split_run
from packerlabimaging.trials.config import SegmentationConfig
from packerlabimaging.trials.trial import Trial


def adopt(config: SegmentationConfig, trial: Trial, members: Sequence[Trial]) -> Segmentation:
    """Open the segmentation that ``config`` names and return the frames of ``trial``, one of the ``members`` that share it.

    Raises
    ------
    ParameterError
        If it holds no traces, is of another plane or frame size, or does not tell which of its frames are the trial's.
    """
    assert config.path is not None  # the caller asks only then
    found: Segmentation = open_path(config.path, "segmentation", reader=config.reader, options=config.options)
    if not found.has_traces:
        raise ParameterError(
            f"The segmentation '{config.path}' holds ROIs but no traces, so that it can't be adopted. Have the traces "
            "extracted: [segmentation] engine = 'masks', rois = '...', or run(engine='masks', rois=...)."
        )
    found = _of_plane(trial, found)
    if trial.id in found.trial_frames:
        return _in_frame_of(trial, found.of_trial(trial.id))
    if found.extra.get("files") and (found.extra.get("frames_per_file") or len(members) > 1):
        recordings = [_recording(member, counted=member is trial) for member in members]
        if len(members) > 1 or len(found.extra["files"]) > 1:
            return _in_frame_of(trial, split_run(found, recordings).of_trial(trial.id))
    if len(members) == 1:
        return _in_frame_of(trial, check_single(found, _recording(trial, counted=True)))
    raise ParameterError(
        f"The segmentation '{config.path}' does not say which of its frames belong to which trial, and the trials "
        f"{', '.join(member.id for member in members)} share it. Adopt it for a single trial, or run an engine on "
        "all of them."
    )


def _recording(trial: Any, *, counted: bool) -> Recording:
    """Return what is known of a trial's movie; it is opened only where its frames are to be ``counted``."""
    if not trial.has_input("movie"):
        return Recording(trial.id)
    path = trial.inputs["movie"].path
    return (
        Recording(trial.id, path, trial.movie.n_frames, trial.movie.metadata.n_planes) if counted else Recording(trial.id, path)
    )


def _of_plane(trial: Any, found: Segmentation) -> Segmentation:
    """Return an adopted segmentation of the plane that the trial's movie is of, as far as can be told."""
    of_run = found.extra.get("plane")
    if of_run is None or not trial.has_input("movie") or trial.movie.metadata.n_planes == 1:
        return found
    of_movie = trial.inputs["movie"].options.get("plane")
    if of_run == of_movie:
        return found
    told = f"The segmentation '{found.source}' is of plane {of_run}, the movie of trial '{trial.id}' of plane {of_movie}"
    if of_run:
        raise ParameterError(f"{told}. Give both the same: the option plane of [segmentation] and of the movie.")
    advice = "Check it; of a run on all planes, choose the plane: [segmentation] options = { plane = ... }."
    message = f"{told}: it is taken for a run on that plane alone."
    return replace(found, findings=(*found.findings, Finding("plane-assumed", message, where=found.source, advice=advice)))


def _in_frame_of(trial: Any, found: Segmentation) -> Segmentation:
    """Return an adopted segmentation whose frames are as large as those of the trial's movie."""
    if not trial.has_input("movie") or found.rois.frame_shape_px == trial.movie.frame_shape_px:
        return found
    if any(finding.code == "frame-size-unknown" for finding in found.findings):
        findings = tuple(finding for finding in found.findings if finding.code != "frame-size-unknown")
        return replace(found, rois=replace(found.rois, frame_shape_px=trial.movie.frame_shape_px), findings=findings)
    raise ParameterError(
        f"The segmentation '{found.source}' is of frames of {found.rois.frame_shape_px} px, the movie of trial '{trial.id}' has "
        f"{trial.movie.frame_shape_px}. They are not of the same recording. Give the segmentation of this field of view."
    )
