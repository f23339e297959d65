"""Recordings of pulses without pixels, sound or with faults: what the audit of the synchronisation is tried on.

:func:`simulate_pulses` makes the pulses that a frame clock and a trigger channel would hold, the brightness of every frame as a
movie of one pixel, and the truth: which frame of which plane every stim fell in. It takes a millisecond, so that thousands of
recordings with every pair of faults can be tried.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from packerlabimaging.core import ArrayMovie, Events, Movie, PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import ParameterError

SAMPLE_S = 1 / 20_000
"""Sampling interval of the signals: all pulses lie on samples."""

TRIGGER, SECOND_TRIGGER = "markpoints2packio", "opto_loopback"

FAULTS: Mapping[str, str] = {
    "live scan": "30 to 200 pulses before the recording, at another rate, and a pause",
    "extra pulses": "1 to 20 pulses after the last saved frame",
    "other t-series": "1 or 2 other recordings with stims in the same file",
    "stray pulses": "1 to 3 pulses between the frames' pulses",
    "pulses lost inside": "1 to 3 frame pulses missing",
    "pulses lost first": "the first 1 to 3 frame pulses missing",
    "pulses lost last": "the last 1 to 3 frame pulses missing",
    "clock drift": "the program's rate is wrong by up to 3 %, and the two clocks wander",
    "no frame clock": "it was not recorded",
    "frames lost at the end": "the last 1 to 20 frames were not saved",
    "frames lost inside": "1 to 3 frames within the movie were not saved, their pulses are there",
    "planes": "volumes of 2 to 4 planes, the last one incomplete",
    "fewer stims": "the protocol was stopped early",
    "trigger lost": "1 or 2 trigger pulses missing",
    "stray trigger": "1 or 2 pulses in the trigger channel that are no stims",
    "stim jitter": "stims up to 20 % of their interval early or late",
    "pauses": "1 or 2 pauses of 1 to 10 s, which the program's times tell",
    "two channels": "a second channel with stims of its own, without light",
}
"""Every fault and what it means."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PulseRecording:
    """Pulses of one recording, and the truth about it.

    Parameters
    ----------
    frame_pulses
        Frame clock; None where it was not recorded.
    triggers
        Trigger pulses by channel.
    protocol
        Protocol of the first channel.
    n_frames, n_planes, plane
        Saved frames of a plane, planes, and the plane of the movie.
    frame_rate_hz, frame_times_s
        What the acquisition program says: multiples of a nominal period, ``(n_frames, n_planes)``.
    movie
        Brightness of every frame of the plane, as a movie of one pixel.
    true_onsets_s
        Onset of every stim that was delivered within the recording, ``(n_stims,)``, ascending.
    true_frames
        Frame that each of them fell in, in every plane, ``(n_stims, n_planes)``; -1 where it is in none that was saved.
    true_starts_s
        Start of every saved frame of every plane, ``(n_frames, n_planes)``.
    """

    frame_pulses: Events | None
    triggers: Mapping[str, Events]
    protocol: PhotostimProtocol
    n_frames: int
    n_planes: int
    plane: int
    frame_rate_hz: float
    frame_times_s: np.ndarray
    movie: Movie
    true_onsets_s: np.ndarray
    true_frames: np.ndarray
    true_starts_s: np.ndarray


def simulate_pulses(faults: Collection[str] = (), *, seed: int = 0) -> PulseRecording:
    """Make a recording with some faults.

    Parameters
    ----------
    faults
        Names of faults, see :data:`FAULTS`; none is a sound recording with as many pulses as frames.
    seed
        The same seed and faults give the same recording.

    Raises
    ------
    ParameterError
        If there is no such fault.
    """
    unknown = [fault for fault in faults if fault not in FAULTS]
    if unknown:
        raise ParameterError(f"There is no fault '{unknown[0]}'. Available: {', '.join(FAULTS)}.")
    rng = np.random.default_rng([seed, *sorted(list(FAULTS).index(fault) for fault in faults)])
    scan = _Scan(rng, faults)
    delivered_s, protocol = _stims(rng, faults, scan)
    triggers_s = delivered_s
    if "trigger lost" in faults:
        triggers_s = np.delete(triggers_s, rng.choice(len(triggers_s), rng.integers(1, 3), replace=False))
    if "stray trigger" in faults:
        triggers_s = np.append(triggers_s, rng.uniform(scan.starts_s[0], scan.starts_s[-1], rng.integers(1, 3)))
    seconds_s = np.zeros(0)
    if "two channels" in faults:
        seconds_s = rng.uniform(scan.starts_s[0], scan.starts_s[-1], rng.integers(5, 20))
    pulses_s, others_s = scan.pulses(rng, faults)
    triggers = {TRIGGER: _events(np.concatenate([triggers_s, others_s]), TRIGGER)}
    if len(seconds_s):
        triggers[SECOND_TRIGGER] = _events(seconds_s, SECOND_TRIGGER)
    onsets_s = _on_samples(np.concatenate([delivered_s, seconds_s]))
    return PulseRecording(
        frame_pulses=None if "no frame clock" in faults else _events(pulses_s, "frame_clock"),
        triggers=triggers,
        protocol=protocol,
        n_frames=len(scan.saved),
        n_planes=scan.n_planes,
        plane=scan.plane,
        frame_rate_hz=scan.nominal_hz,
        frame_times_s=scan.program_times_s(),
        movie=scan.movie(rng, protocol, _on_samples(delivered_s)),
        true_onsets_s=onsets_s,
        true_frames=scan.frames_at(onsets_s),
        true_starts_s=scan.starts_s[scan.saved[:, None] * scan.n_planes + np.arange(scan.n_planes)],
    )


def _on_samples(times_s: np.ndarray) -> np.ndarray:
    return np.sort(np.round(times_s / SAMPLE_S)) * SAMPLE_S


def _events(times_s: np.ndarray, name: str) -> Events:
    onsets = np.unique(_on_samples(times_s))  # two in one sample are one pulse
    return Events(onsets, onsets + 0.005, name)


class _Scan:
    """What the microscope scanned: a tick for every plane of every volume, and which volumes were saved."""

    def __init__(self, rng: np.random.Generator, faults: Collection[str]) -> None:
        self.n_planes = int(rng.integers(2, 5)) if "planes" in faults else 1
        self.plane = int(rng.integers(0, self.n_planes))
        rate_hz = float(rng.uniform(15.0, 45.0))
        self.period_s = 1 / rate_hz
        n_volumes = int(rng.uniform(20.0, 40.0) * rate_hz) // self.n_planes
        self.n_ticks = n_volumes * self.n_planes
        n_after = int(rng.integers(0, self.n_planes))
        n_after += int(rng.integers(1, 21)) if "extra pulses" in faults else 0
        numbers = np.arange(self.n_ticks + n_after)
        jitter = np.clip(rng.normal(0, 0.01, len(numbers)), -0.05, 0.05)
        wander = np.sin(numbers / len(numbers) * 3) * 2.0 if "clock drift" in faults else 0.0
        self.begin_s = float(rng.uniform(40.0, 50.0))
        self.paused_s = np.zeros(len(numbers))
        if "pauses" in faults:
            for volume in rng.integers(20, n_volumes - 20, rng.integers(1, 3)):
                self.paused_s[volume * self.n_planes :] += rng.uniform(1.0, 10.0)
        self.starts_s = _on_samples(self.begin_s + self.period_s * (numbers + jitter + wander) + self.paused_s)
        self.saved = np.arange(n_volumes)
        if "frames lost inside" in faults:
            first = int(rng.integers(1, n_volumes - 4))
            self.saved = np.delete(self.saved, np.arange(first, first + rng.integers(1, 4)))
        if "frames lost at the end" in faults:
            self.saved = self.saved[: -int(rng.integers(1, 21))]
        wrong = rng.uniform(-0.03, 0.03) if "clock drift" in faults else rng.uniform(-0.002, 0.002)
        self.nominal_hz = rate_hz / self.n_planes * (1 + wrong)

    def program_times_s(self) -> np.ndarray:
        """Return the times that PrairieView would write for the saved frames: a grid of the nominal period, but for pauses."""
        ticks = np.arange(len(self.saved) * self.n_planes) / (self.nominal_hz * self.n_planes)
        paused = self.paused_s[self.saved[:, None] * self.n_planes + np.arange(self.n_planes)]
        return ticks.reshape(-1, self.n_planes) + paused / (self.period_s * self.nominal_hz * self.n_planes)

    def frames_at(self, times_s: np.ndarray) -> np.ndarray:
        """Look up frames one stim and plane at a time, as the definition says."""
        found = np.full((len(times_s), self.n_planes), -1)
        for plane in range(self.n_planes):
            starts = self.starts_s[self.saved * self.n_planes + plane]
            longest = 1.5 * np.median(np.diff(starts))
            for row, time in enumerate(times_s):
                started = np.flatnonzero(starts <= time)
                if len(started) and time - starts[started[-1]] < (longest if started[-1] + 1 < len(starts) else longest / 1.5):
                    found[row, plane] = started[-1]
        return found

    def movie(self, rng: np.random.Generator, protocol: PhotostimProtocol, stims_s: np.ndarray) -> ArrayMovie:
        """Give each frame a brightness: slow changes, noise, and light where it was scanned while the laser was on."""
        light = protocol.light(stims_s)
        fine_s = np.arange(self.begin_s - 1, self.starts_s[-1] + 1, 0.0005)
        on = np.zeros(len(fine_s) + 1)
        np.add.at(on, np.searchsorted(fine_s, light.onset_s), 1)
        np.add.at(on, np.searchsorted(fine_s, light.end_s), -1)
        total = np.concatenate([[0.0], np.cumsum(np.cumsum(on[:-1]) > 0)]) * 0.0005
        ticks = self.saved * self.n_planes + self.plane
        starts = self.starts_s[ticks]
        lit = np.interp([starts, starts + self.period_s], np.append(fine_s, fine_s[-1] + 0.0005), total)
        slow = np.convolve(rng.normal(0, 0.02, len(ticks) + 200), np.exp(-np.arange(100) / 30), mode="same")[: len(ticks)]
        brightness = 10 + slow + rng.normal(0, 0.1, len(ticks)) + 3 * (lit[1] - lit[0]) / self.period_s
        return ArrayMovie(brightness[:, None, None])

    def pulses(self, rng: np.random.Generator, faults: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return every pulse of the channel, and the triggers of other recordings."""
        pulses = self.starts_s
        if "pulses lost inside" in faults:
            pulses = np.delete(pulses, rng.choice(np.arange(4, self.n_ticks - 4), rng.integers(1, 4), replace=False))
        if "pulses lost first" in faults:
            pulses = pulses[int(rng.integers(1, 4)) :]
        if "pulses lost last" in faults:
            pulses = pulses[: -int(rng.integers(1, 4))]
        if "stray pulses" in faults:
            pulses = np.append(pulses, rng.uniform(pulses[0] - 0.7 * self.period_s, pulses[-1], rng.integers(1, 4)))
        parts, others = [pulses], []
        if "live scan" in faults:
            count = int(rng.integers(30, 200))
            period_s = self.period_s * rng.uniform(0.9, 1.1)
            end = self.starts_s[0] - rng.uniform(0.5, 5.0)
            parts.append(end - period_s * np.arange(count))
        if "other t-series" in faults:
            begin = self.starts_s[-1]
            for _ in range(int(rng.integers(1, 3))):
                begin += rng.uniform(3.0, 20.0)
                parts.append(begin + self.period_s * np.arange(rng.integers(100, 1000)))
                others.append(np.arange(begin + 1, parts[-1][-1] - 1, 3.0))
                begin = parts[-1][-1]
        return np.concatenate(parts), np.concatenate([np.zeros(0), *others])


def _stims(rng: np.random.Generator, faults: Collection[str], scan: _Scan) -> tuple[np.ndarray, PhotostimProtocol]:
    """Place the stims in time, and make their protocol."""
    n_groups, n_shots = int(rng.integers(1, 4)), int(rng.integers(1, 8))
    rows = [PhotostimRow(group=group, n_shots=n_shots, shot_duration_s=0.02, inter_shot_s=0.005) for group in range(n_groups)]
    length_s = n_groups * n_shots * 0.025
    interval_s = length_s * 1.5 + float(rng.uniform(0.6, 1.2))
    n_stims = int((scan.period_s * scan.n_ticks - 3.5) / interval_s)
    part = 0.2 if "stim jitter" in faults else 0.005
    at_s = scan.begin_s + 1.5 + interval_s * (np.arange(n_stims) + rng.uniform(-part, part, n_stims))
    for tick in np.flatnonzero(np.diff(scan.paused_s)):  # triggers wait for the scan
        at_s[at_s > scan.starts_s[tick] - length_s - 0.2] += scan.paused_s[tick + 1] - scan.paused_s[tick] + length_s + 0.4
    at_s = at_s[at_s < scan.starts_s[scan.n_ticks - 1] - length_s - 0.2]
    n_stims = len(at_s)
    protocol = PhotostimProtocol(
        targets_px=np.zeros((n_groups, 3)),
        image_shape_px=(64, 64),
        groups=tuple((group,) for group in range(n_groups)),
        rows=tuple(rows),
        n_stims=n_stims,
    )
    if "fewer stims" in faults:
        at_s = at_s[: int(n_stims * rng.uniform(0.4, 0.95))]
    return at_s, protocol
