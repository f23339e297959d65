"""Settings of the steps: one small typed class per section of the experiment file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from packerlabimaging._check import check_positive
from packerlabimaging.errors import ParameterError


@dataclass(frozen=True)
class MetadataSettings:
    """Metadata given by hand; it overrides what the reader found.

    Parameters
    ----------
    frame_rate_hz
        Frames of one plane per second.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres.
    indicator_decay_s
        Time constant of the calcium indicator's decay in seconds, about 0.7 for GCaMP6f, 1.0 for 6m, 1.3 for 6s (Suite2p's
        documentation). Detection of cells and deconvolution rest on it.
    """

    frame_rate_hz: float | None = None
    pixel_size_um: tuple[float, float] | None = None
    indicator_decay_s: float | None = None

    def __post_init__(self) -> None:
        if self.frame_rate_hz is not None:
            check_positive("frame_rate_hz", self.frame_rate_hz)
        for size in self.pixel_size_um or ():
            check_positive("pixel_size_um", size)
        if self.indicator_decay_s is not None:
            check_positive("indicator_decay_s", self.indicator_decay_s)


@dataclass(frozen=True)
class SyncSettings:
    """How the synchronisation is judged.

    Parameters
    ----------
    accept
        Codes of findings of severity "error" that the user has looked at and accepts; any other one stops the trial.
    block
        Block of frame pulses that is the movie's (zero-based, as numbered in the findings), where several fit.
    active_low
        Channels of frame clock or stims that are low during a pulse; a frame or a stim starts where a pulse does.
    """

    accept: tuple[str, ...] = ()
    block: int | None = None
    active_low: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.block is not None:
            check_positive("block", self.block, zero=True)


@dataclass(frozen=True)
class ArtefactSettings:
    """Which frames stimulation light is taken to have spoiled.

    Parameters
    ----------
    guard_frames
        Frames after each period of light that are left out as well.
    """

    guard_frames: int = 1

    def __post_init__(self) -> None:
        check_positive("guard_frames", self.guard_frames, zero=True)


@dataclass(frozen=True)
class PlaneSettings:
    """Where the imaged plane is.

    Parameters
    ----------
    z_um
        Depth of the plane on the scale of the targets' z, in micrometres. Needed for a plane of a volume; a single plane is
        where the targets' z is 0.
    """

    z_um: float | None = None

    def __post_init__(self) -> None:
        if self.z_um is not None and not math.isfinite(self.z_um):
            raise ParameterError(f"z_um = {self.z_um} is no depth. Give micrometres.")
