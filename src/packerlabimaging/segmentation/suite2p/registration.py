"""Registration by Suite2p, against a reference image made of good frames only.

Suite2p 1.1 picks the frames of its reference image evenly from the whole recording, artefacts included, and by their
correlation, which stimulation light raises. Of these frames it compares only the last batch: with its defaults the reference
is a mean of the first quarter of the recording (``registration.register.compute_reference``). Here Suite2p's own functions
are given good frames only, in one batch. The reference is then moved to where the frames lie on average, because ROIs are
compared with targets, which are given in raw frames; Suite2p lets it drift by a pixel or two. All else is Suite2p's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from packerlabimaging.errors import EngineError

logger = logging.getLogger("suite2p.registration")
"""Suite2p's, so that the messages stand in the log of the run among its own."""


class _Copies:
    """Frames of a read-only array as copies: Suite2p 1.1 moves scan lines in place, which kills the program on a mapped file."""

    def __init__(self, frames: np.ndarray) -> None:
        self._frames = frames
        self.shape = frames.shape

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(self._frames[key])


def register(
    suite2p: ModuleType, plane: Path, shape: tuple[int, int, int], mask: np.ndarray, settings: Mapping[str, Any]
) -> None:
    """Register ``data_raw.bin`` into ``data.bin`` and write ``reg_outputs.npy``, where Suite2p's pipeline finds it.

    Parameters
    ----------
    suite2p
        The module.
    plane
        Folder of the plane.
    shape
        ``(n_frames, height, width)``.
    mask
        Artefact frames, boolean ``(n_frames,)``.
    settings
        Those for Suite2p.

    Raises
    ------
    EngineError
        If all frames are artefacts.
    """
    import torch

    n_frames, height, width = shape
    parameters, device = dict(settings["registration"]), torch.device(settings["torch_device"])
    raw = _Copies(np.memmap(plane / "data_raw.bin", np.int16, "r", shape=shape))
    logger.info("----------- REGISTRATION")
    with suite2p.io.BinaryFile(
        Ly=height, Lx=width, filename=str(plane / "data.bin"), n_frames=n_frames, write=True
    ) as registered:
        frames = raw[choose_frames(mask, parameters["nimg_init"])]
        _remove_line_offset(suite2p, frames, parameters)
        reference = _reference(suite2p, frames, parameters, device)
        reference = _centred(suite2p, reference, frames, parameters, device)
        logger.info("Reference image of %d frames", len(frames))
        outputs = suite2p.registration_wrapper(
            registered,
            f_raw=raw,
            refImg=reference,
            save_path=str(plane),
            badframes=mask,
            settings=parameters,
            device=device,
        )
    np.save(plane / "reg_outputs.npy", outputs)


def choose_frames(mask: np.ndarray, n_frames: int) -> np.ndarray:
    """Return up to ``n_frames`` frame numbers, evenly from the frames that are not masked, ascending.

    Raises
    ------
    EngineError
        If every frame is masked.
    """
    good = np.flatnonzero(~mask)
    if not len(good):
        raise EngineError("Every frame is marked as an artefact: nothing is left to segment. Check the photostimulation input.")
    return good[np.linspace(0, len(good) - 1, min(int(n_frames), len(good))).round().astype(int)]


def _remove_line_offset(suite2p: ModuleType, frames: np.ndarray, parameters: dict[str, Any]) -> None:
    """Undo the offset between scan lines in place; one that is to be found is found, and kept in ``parameters``."""
    bidiphase = suite2p.registration.bidiphase
    if parameters["do_bidiphase"] and parameters["bidiphase"] == 0:
        parameters.update(bidiphase=int(bidiphase.compute(frames)), do_bidiphase=False)
        logger.info("Estimated bidirectional offset: %d pixels", parameters["bidiphase"])
    if parameters["bidiphase"] != 0:
        bidiphase.shift(frames, int(parameters["bidiphase"]))


def _reference(suite2p: ModuleType, frames: np.ndarray, parameters: Mapping[str, Any], device: Any) -> np.ndarray:
    compute = suite2p.registration.register.compute_reference  # moves the frames that it is given
    return np.asarray(compute(frames.copy(), settings={**parameters, "batch_size": len(frames)}, device=device))


def _centred(
    suite2p: ModuleType, reference: np.ndarray, frames: np.ndarray, parameters: Mapping[str, Any], device: Any
) -> np.ndarray:
    """Return the reference image moved by whole pixels, so that the frames are moved by nothing on average."""
    simply = {"nonrigid": False, "two_step_registration": False, "upsample_meanImg": None, "bidiphase": 0, "do_bidiphase": False}
    moved = suite2p.registration_wrapper(frames.copy(), refImg=reference, settings={**parameters, **simply}, device=device)
    shift = [round(float(np.mean(moved[axis]))) for axis in ("yoff", "xoff")]
    return np.roll(reference, shift, axis=(0, 1))
