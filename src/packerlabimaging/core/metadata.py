"""Imaging metadata: what is known about how a movie was taken, whatever the microscope.

Readers fill an :class:`ImagingMetadata`; a user with a microscope that we don't read writes one by hand. What is not
known is None, never a plausible default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np

from packerlabimaging._check import check_positive, frozen_array
from packerlabimaging.errors import ParameterError

RateSource = Literal["frame times", "nominal", "given"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImagingMetadata:
    """How a movie was taken.

    Parameters
    ----------
    frame_shape_px
        ``(height, width)`` of one frame in pixels.
    n_frames
        Number of frames of one plane (multi-plane: complete volumes); None if unknown.
    n_planes
        Imaging planes per volume, 1 for single-plane recordings.
    channels
        Names of the recorded channels, in the file's order.
    frame_rate_hz
        Frames of one plane per second (multi-plane: volumes per second); None if unknown.
    frame_rate_source
        ``"frame times"`` (from per-frame times), ``"nominal"`` (from the program's settings only), ``"given"`` by hand.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres; None if unknown.
    frame_times_s
        Start of each frame on the acquisition program's clock, shape ``(n_frames,)``, seconds from the first frame
        (multi-plane: shape ``(n_frames, n_planes)``); None if not recorded.
    plane_z_um
        Depth of each plane in micrometres, sign as recorded, length ``n_planes``; None if unknown.
    bit_depth
        Bits per sample of the digitiser.
    program, program_version
        Acquisition program.
    sequence_type
        The program's own name for the kind of recording.
    acquired
        Local date and time of the start, without a zone, as written by the program.
    indicator_decay_s
        Time constant of the calcium indicator's decay in seconds; no microscope records it, a user gives it.
    zoom, objective, scan_center_v, laser_power, pmt_gain
        Optics as recorded; ``scan_center_v`` is ``(y, x)`` in volts; powers and gains in the program's units by name.
    extra
        Further values as the program wrote them.

    Raises
    ------
    ParameterError
        If a size, rate or count is not positive and finite, or lengths disagree.
    """

    frame_shape_px: tuple[int, int]
    n_frames: int | None = None
    n_planes: int = 1
    channels: tuple[str, ...] = ()
    frame_rate_hz: float | None = None
    frame_rate_source: RateSource | None = None
    pixel_size_um: tuple[float, float] | None = None
    frame_times_s: np.ndarray | None = None
    plane_z_um: tuple[float, ...] | None = None
    bit_depth: int | None = None
    program: str | None = None
    program_version: str | None = None
    sequence_type: str | None = None
    acquired: datetime | None = None
    indicator_decay_s: float | None = None
    zoom: float | None = None
    objective: str | None = None
    scan_center_v: tuple[float, float] | None = None
    laser_power: Mapping[str, float] = field(default_factory=dict)
    pmt_gain: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height, width = self.frame_shape_px
        object.__setattr__(self, "frame_shape_px", (int(height), int(width)))
        check_positive("frame height", height)
        check_positive("frame width", width)
        check_positive("n_planes", self.n_planes)
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.frame_rate_hz is not None:
            check_positive("frame_rate_hz", self.frame_rate_hz)
            if self.frame_rate_source is None:
                object.__setattr__(self, "frame_rate_source", "given")
        if self.pixel_size_um is not None:
            y_um, x_um = self.pixel_size_um
            size = (check_positive("pixel height (um)", y_um), check_positive("pixel width (um)", x_um))
            object.__setattr__(self, "pixel_size_um", size)
        if self.indicator_decay_s is not None:
            check_positive("indicator_decay_s", self.indicator_decay_s)
        if self.frame_times_s is not None:
            times = frozen_array(self.frame_times_s, np.float64, name="frame_times_s")
            if not np.all(np.isfinite(times)):
                raise ParameterError("frame_times_s contains NaN or infinite values. Every frame needs a finite time.")
            object.__setattr__(self, "frame_times_s", times)
        if self.plane_z_um is not None and len(self.plane_z_um) != self.n_planes:
            raise ParameterError(f"plane_z_um has {len(self.plane_z_um)} items. Expected {self.n_planes}, one per plane.")

    def replace(self, **changes: Any) -> ImagingMetadata:
        """Return a copy with some values changed."""
        return replace(self, **changes)

    @property
    def fov_size_um(self) -> tuple[float, float] | None:
        """``(height, width)`` of the field of view in micrometres, or None where the pixel size is unknown."""
        if self.pixel_size_um is None:
            return None
        return (
            self.frame_shape_px[0] * self.pixel_size_um[0],
            self.frame_shape_px[1] * self.pixel_size_um[1],
        )
