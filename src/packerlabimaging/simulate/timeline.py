"""When things happen in a simulated experiment: frames, live-scan and extra pulses, stims, light.

All times are seconds on the time base of the ``.paq`` file, and lie on its samples, so that a reader can recover them
exactly. Everything here follows from the parameters alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.core import FrameClock, LightTimes, PhotostimProtocol, PhotostimRow
from packerlabimaging.simulate.parameters import SimulationParameters

LEAD_S = 1.0
"""Recording of signals before the first pulse and after the last one."""
GAP_S = 1.5
"""Pause between the live scan and the recording."""
_STREAMS = ("timeline", "cells", "background", "targets", "activity", "motion", "noise", "signals")


def random_generator(parameters: SimulationParameters, stream: str, *keys: int) -> np.random.Generator:
    """Return the generator of one named part of the model; parts never share random numbers."""
    key = (_STREAMS.index(stream), *keys)
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(parameters.seed, spawn_key=key)))


@dataclass(frozen=True, eq=False)
class Timeline:
    """Pulses of a simulated recording, seconds.

    Parameters
    ----------
    clock
        Start of every saved frame.
    live_pulses_s, extra_pulses_s
        Frame pulses of the live scan before, and of frames that were scanned but not saved after the recording.
    stims_s
        Trigger of each stim.
    duration_s
        Length of the signal recording.
    """

    clock: FrameClock
    live_pulses_s: np.ndarray
    extra_pulses_s: np.ndarray
    stims_s: np.ndarray
    duration_s: float

    @property
    def frame_pulses_s(self) -> np.ndarray:
        """Every pulse of the frame clock channel, ascending."""
        return np.concatenate([self.live_pulses_s, self.clock.starts_s, self.extra_pulses_s])


def make_timeline(parameters: SimulationParameters) -> Timeline:
    """Place frames and stims in time."""
    rng = random_generator(parameters, "timeline")
    period_s = 1.0 / parameters.true_rate_hz

    def on_samples(times_s: np.ndarray) -> np.ndarray:
        return np.round(times_s * parameters.sync_rate_hz) / parameters.sync_rate_hz

    def pulses(start_s: float, count: int) -> np.ndarray:
        jitter = np.clip(rng.normal(0.0, parameters.clock_jitter_s, count), -0.2 * period_s, 0.2 * period_s)
        return on_samples(start_s + np.arange(count) * period_s + jitter)

    live = pulses(LEAD_S, parameters.n_live_pulses)
    start_s = LEAD_S + parameters.n_live_pulses * period_s + GAP_S
    n_extra = int(rng.integers(0, parameters.max_extra_pulses + 1))
    scanned = pulses(start_s, parameters.n_frames + n_extra)
    clock = FrameClock(scanned[: parameters.n_frames])
    regular = start_s + parameters.baseline_s + np.arange(parameters.n_stims) * parameters.stim_interval_s
    stims = on_samples(regular + rng.uniform(0.0, 0.05, parameters.n_stims))
    return Timeline(clock, live, scanned[parameters.n_frames :], stims, float(scanned[-1] + period_s + LEAD_S))


def make_protocol(
    parameters: SimulationParameters, targets_px: np.ndarray, groups: tuple[tuple[int, ...], ...]
) -> PhotostimProtocol:
    """Build the protocol: all groups one after another, each with its shots, after one trigger.

    Parameters
    ----------
    targets_px
        ``(y, x)`` positions, shape ``(n_targets, 2)``.
    groups
        Target numbers of each group.
    """
    rows = tuple(
        PhotostimRow(
            group=group,
            n_shots=parameters.n_shots,
            shot_duration_s=parameters.shot_duration_s,
            inter_shot_s=parameters.inter_shot_s,
            power=100.0,
        )
        for group in range(len(groups))
    )
    return PhotostimProtocol(
        targets_px=np.column_stack([np.zeros(len(targets_px)), targets_px]),
        image_shape_px=parameters.frame_shape_px,
        groups=groups,
        rows=rows,
        n_stims=parameters.n_stims,
        trigger="once",
        spiral_diameter_um=parameters.spiral_diameter_um,
        name=f"{parameters.experiment_id}_ps",
    )


def light_on_lines(timeline: Timeline, light: LightTimes, height: int, frame: int) -> np.ndarray:
    """Return which lines of a frame are scanned while stimulation light is on.

    Line ``y`` is scanned from ``start + y / height`` to ``start + (y + 1) / height`` of the frame's interval: a frame
    has such lines exactly if its interval overlaps light.

    Returns
    -------
    numpy.ndarray
        Fraction of each line's time with light, shape ``(height,)``, float32.
    """
    start_s, end_s = timeline.clock.starts_s[frame], timeline.clock.ends_s[frame]
    first = np.searchsorted(light.end_s, start_s, side="right")
    stop = np.searchsorted(light.onset_s, end_s, side="left")
    fraction = np.zeros(height)
    line_s = (end_s - start_s) / height
    edges = start_s + np.arange(height + 1) * line_s
    for onset, end in zip(light.onset_s[first:stop], light.end_s[first:stop], strict=True):
        fraction += np.clip(np.minimum(end, edges[1:]) - np.maximum(onset, edges[:-1]), 0.0, None) / line_s
    return np.minimum(fraction, 1.0).astype(np.float32)
