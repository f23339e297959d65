"""Which frames stimulation light reached."""

from __future__ import annotations

import numpy as np

from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.photostim import LightTimes
from packerlabimaging.errors import ParameterError


def compute_artefact_mask(clock: FrameClock, light: LightTimes, *, guard_frames: int = 1) -> np.ndarray:
    """Mark the frames that overlap any shot of light, and the frames right after each shot.

    Parameters
    ----------
    clock
        Times of the frames of one plane.
    light
        Every shot, on the clock's time base.
    guard_frames
        Frames marked after each shot, besides those that it overlaps; one by default, because detectors and shutters
        recover for some milliseconds.

    Returns
    -------
    numpy.ndarray
        Boolean mask, shape ``(n_frames,)``. Light outside the recording marks nothing.

    Raises
    ------
    ParameterError
        If ``guard_frames`` is not a whole number >= 0.
    """
    if guard_frames != int(guard_frames) or guard_frames < 0:
        raise ParameterError(f"guard_frames = {guard_frames!r} is not possible. Give a whole number >= 0.")
    return clock.overlapping(light.onset_s, light.end_s, guard_frames=int(guard_frames))
