"""Frames of a simulated recording: the moving scene, light, photon noise, digitiser.

Frames are made in blocks of a fixed size, each from the parameters and its number alone: any number of threads makes the
same movie, and only a few blocks are in memory at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from packerlabimaging.core import LightTimes, PhotostimProtocol
from packerlabimaging.simulate.activity import Activity, make_activity
from packerlabimaging.simulate.parameters import SimulationParameters
from packerlabimaging.simulate.photons import digitise
from packerlabimaging.simulate.scene import AUTOFLUORESCENCE_PHOTONS, Scene, make_scene
from packerlabimaging.simulate.targets import Photostimulation, make_photostimulation
from packerlabimaging.simulate.timeline import Timeline, light_on_lines, make_protocol, make_timeline, random_generator

BLOCK_BYTES = 24 << 20
"""Memory of the scenes of one block; sets the number of frames in it."""
MOTION_TIMESCALE_S = 1.5
"""Correlation time of the brain's motion."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some consecutive frames.

    Parameters
    ----------
    start
        Number of the first frame.
    frames
        Pixels, ``(n, height, width)``, uint16.
    dff
        Noise-free dF/F of the cells in the middle of each frame, ``(n_cells, n)``, float32.
    """

    start: int
    frames: np.ndarray
    dff: np.ndarray


def make_shifts(parameters: SimulationParameters) -> np.ndarray:
    """Draw the rigid motion of every frame.

    Returns
    -------
    numpy.ndarray
        ``(y, x)`` in pixels, shape ``(n_frames, 2)``: by how much the scene is moved down and to the right. It is smooth
        noise about zero plus a slow drift from minus to plus half of ``drift_px``.
    """
    rng = random_generator(parameters, "motion")
    keep = np.exp(-1.0 / (MOTION_TIMESCALE_S * parameters.true_rate_hz))
    unit = rng.standard_normal((parameters.n_frames, 2))
    unit[1:] *= np.sqrt(1.0 - keep**2)  # stationary, with unit variance, from the first frame on
    for frame in range(1, len(unit)):
        unit[frame] += keep * unit[frame - 1]
    wander = np.clip(unit, -4.0, 4.0) * parameters.motion_px
    direction = rng.uniform(0.0, 2 * np.pi)
    drift = np.linspace(-0.5, 0.5, parameters.n_frames)[:, None] * parameters.drift_px
    return wander + drift * np.array([np.sin(direction), np.cos(direction)])


def shift_scene(scene: np.ndarray, shift_px: np.ndarray, *, margin_px: int) -> np.ndarray:
    """Cut a frame out of a scene that is moved by a sub-pixel shift, by bilinear interpolation.

    Parameters
    ----------
    scene
        Shape ``(height + 2 * margin_px, width + 2 * margin_px)``.
    shift_px
        ``(y, x)``: positive moves the scene down and to the right; at most ``margin_px - 1`` in size.

    Returns
    -------
    numpy.ndarray
        ``frame[y, x] = scene[y + margin_px - shift_y, x + margin_px - shift_x]``.
    """
    height, width = (size - 2 * margin_px for size in scene.shape)
    corner = margin_px - np.asarray(shift_px, np.float64)
    y, x = np.floor(corner).astype(int)
    part_y, part_x = (corner - (y, x)).astype(scene.dtype)
    rows = scene[y : y + height] * (1 - part_y)
    rows += scene[y + 1 : y + 1 + height] * part_y
    frame = rows[:, x : x + width] * (1 - part_x)
    frame += rows[:, x + 1 : x + 1 + width] * part_x
    return frame


@dataclass(frozen=True, eq=False)
class SimulatedRecording:
    """Everything that the frames and the files of a recording follow from.

    Parameters
    ----------
    parameters
        Parameters of the simulation.
    scene
        The field of view at rest.
    photostimulation
        Targets, and what they do to the cells.
    activity
        When cells and neuropil fire.
    timeline
        When frames and stims are.
    shifts_px
        Motion of every frame, see :func:`make_shifts`.
    """

    parameters: SimulationParameters
    scene: Scene
    photostimulation: Photostimulation
    activity: Activity
    timeline: Timeline
    shifts_px: np.ndarray

    @classmethod
    def make(cls, parameters: SimulationParameters) -> SimulatedRecording:
        """Draw everything but the frames themselves."""
        scene, timeline = make_scene(parameters), make_timeline(parameters)
        photostimulation = make_photostimulation(parameters, scene)
        activity = make_activity(parameters, timeline, photostimulation)
        return cls(parameters, scene, photostimulation, activity, timeline, make_shifts(parameters))

    @cached_property
    def protocol(self) -> PhotostimProtocol:
        """What one stim delivers."""
        return make_protocol(self.parameters, self.photostimulation.targets_px, self.photostimulation.groups)

    @cached_property
    def light(self) -> LightTimes:
        """Every shot of every stim."""
        return self.protocol.light(self.timeline.stims_s)

    @cached_property
    def block_frames(self) -> int:
        """Frames in a block, by the size of the scene alone."""
        return int(np.clip(BLOCK_BYTES // (4 * np.prod(self.scene.shape_px)), 1, 256))

    @cached_property
    def artefact_frames(self) -> np.ndarray:
        """Frames that overlap light, boolean ``(n_frames,)``."""
        return self.timeline.clock.overlapping(self.light.onset_s, self.light.end_s)

    def bleaching(self, times_s: np.ndarray) -> np.ndarray:
        """Fraction of the fluorescence that is left at given times: an exponential with the recording as unit."""
        starts = self.timeline.clock.starts_s
        return (1.0 - self.parameters.bleaching) ** ((times_s - starts[0]) / (starts[-1] - starts[0]))

    def expected_photons(self, start: int, dff: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the photons expected per pixel, ``(height, width)`` float32, of each frame from ``start`` on.

        Parameters
        ----------
        dff
            Of all sources, shape ``(n_sources, n)``.
        """
        n_cellular = self.activity.n_cellular
        neuropil = (1.0 + dff[n_cellular:]).astype(np.float32).T @ self.scene.neuropil
        brightness = (1.0 + dff[:n_cellular]).astype(np.float32)
        left = self.bleaching(self.timeline.clock.starts_s[start : start + dff.shape[1]]).astype(np.float32)
        for index, scene in enumerate(neuropil):
            scene += self.scene.sources @ brightness[:, index]
            scene += np.float32(AUTOFLUORESCENCE_PHOTONS)
            frame = shift_scene(scene.reshape(self.scene.shape_px), self.shifts_px[start + index], margin_px=self.scene.margin_px)
            frame *= left[index]
            if self.artefact_frames[start + index]:
                lines = light_on_lines(self.timeline, self.light, len(frame), start + index)
                frame += np.float32(self.parameters.artefact_photons) * lines[:, None]
            yield np.maximum(frame, 0.0, out=frame)

    def block(self, start: int) -> Block:
        """Make the block that begins with frame ``start``, a multiple of ``block_frames``."""
        stop = min(start + self.block_frames, self.parameters.n_frames)
        clock = self.timeline.clock
        dff = self.activity.dff(0.5 * (clock.starts_s[start:stop] + clock.ends_s[start:stop]))
        rng = random_generator(self.parameters, "noise", start)
        frames = np.empty((stop - start, *self.parameters.frame_shape_px), np.uint16)
        for frame, photons in zip(frames, self.expected_photons(start, dff), strict=True):
            frame[...] = digitise(photons, self.parameters, rng)
        return Block(start, frames, dff[: self.activity.n_cells].astype(np.float32))

    def blocks(self, workers: int) -> Iterator[Block]:
        """Yield all blocks in order, made by ``workers`` threads; at most ``workers + 1`` are in memory."""
        starts = range(0, self.parameters.n_frames, self.block_frames)
        with ThreadPoolExecutor(workers) as pool:
            pending: deque[Future[Block]] = deque()
            for start in starts:
                pending.append(pool.submit(self.block, start))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
