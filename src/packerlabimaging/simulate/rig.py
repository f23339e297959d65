"""The files that a rig would leave: PrairieView t-series, ``.paq``, NAPARM folder, and an ``experiment.toml`` for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from packerlabimaging.core import ImagingMetadata, PhotostimProtocol
from packerlabimaging.io import PaqWriter, PrairieViewWriter, write_naparm
from packerlabimaging.simulate.movie import SimulatedRecording
from packerlabimaging.simulate.parameters import BIT_DEPTH, SimulationParameters
from packerlabimaging.simulate.timeline import Timeline, random_generator

CHANNELS = (
    "frame_clock",
    "x_galvo_uncaging",
    "slm2packio",
    "markpoints2packio",
    "packio2slm",
    "packio2markpoints",
    "pycontrol_rsync",
    "voltage",
)
"""Channels of the lab's ``.paq`` files, in their order."""

CHUNK_SAMPLES = 1 << 16
"""Samples of all channels that are made at a time."""
TTL_V, ATTENUATED_TTL_V, NOISE_V = 5.0, 3.3, 0.01
"""Levels of the digital lines, and the noise of every channel."""
TRIGGER_S, PULSE_S, RSYNC_S = 0.01, 0.005, 0.1
"""Lengths of stim triggers, of SLM pulses, and of pyControl's synchronisation pulses."""
COMMAND_LEAD_S = 0.001
"""A command to the SLM or to MarkPoints precedes the answer by this much."""
GALVO_PARK_V, GALVO_RANGE_V, SPIRAL_V, SPIRAL_HZ = 0.25, 2.0, 0.05, 250.0
"""Uncaging galvo: where it parks, volts across the field of view, radius and frequency of spirals."""


def write_signals(path: Path, recording: SimulatedRecording) -> None:
    """Write the ``.paq`` file of the recording, piece by piece."""
    with PaqWriter(path, rate_hz=recording.parameters.sync_rate_hz, names=CHANNELS) as writer:
        for samples in signal_chunks(recording.timeline, recording.protocol, recording.parameters):
            writer.write(samples)


def signal_chunks(timeline: Timeline, protocol: PhotostimProtocol, parameters: SimulationParameters) -> Iterator[np.ndarray]:
    """Yield the samples of all channels, ``(n_samples, n_channels)`` float32 volts, one piece after another."""
    rng = random_generator(parameters, "signals")
    rate = parameters.sync_rate_hz
    groups_s = (timeline.stims_s[:, None] + protocol.row_starts_s()).ravel()
    rsync_s = np.cumsum(rng.uniform(2.0, 8.0, int(timeline.duration_s / 2.0) + 1))
    pulses = {
        "frame_clock": (timeline.frame_pulses_s, 0.4 / parameters.true_rate_hz, TTL_V),
        "slm2packio": (groups_s, PULSE_S, TTL_V),
        "markpoints2packio": (timeline.stims_s, TRIGGER_S, TTL_V),
        "packio2slm": (groups_s - COMMAND_LEAD_S, PULSE_S, ATTENUATED_TTL_V),
        "packio2markpoints": (timeline.stims_s - COMMAND_LEAD_S, PULSE_S, ATTENUATED_TTL_V),
        "pycontrol_rsync": (rsync_s, RSYNC_S, ATTENUATED_TTL_V),
    }
    light = protocol.light(timeline.stims_s)
    galvo_v = _group_volts(protocol)
    n_samples = int(round(timeline.duration_s * rate))
    for start in range(0, n_samples, CHUNK_SAMPLES):
        stop = min(start + CHUNK_SAMPLES, n_samples)
        times = np.arange(start, stop) / rate
        samples = np.zeros((stop - start, len(CHANNELS)), np.float32)
        for name, (onsets_s, length_s, volts) in pulses.items():
            _add_pulses(samples[:, CHANNELS.index(name)], onsets_s, length_s, volts, start, rate)
        galvo = samples[:, CHANNELS.index("x_galvo_uncaging")]
        galvo += GALVO_PARK_V
        first = np.searchsorted(light.end_s, times[0])
        last = np.searchsorted(light.onset_s, times[-1], side="right")
        for shot in range(first, last):
            lit = slice(*np.searchsorted(times, [light.onset_s[shot], light.end_s[shot]]))
            spiral = SPIRAL_V * np.sin(2 * np.pi * SPIRAL_HZ * (times[lit] - light.onset_s[shot]))
            galvo[lit] = galvo_v[light.group[shot]] + spiral
        samples[:, CHANNELS.index("voltage")] = _local_field_v(times)
        samples += np.float32(NOISE_V) * rng.standard_normal(samples.shape, dtype=np.float32)
        yield samples


def _add_pulses(column: np.ndarray, onsets_s: np.ndarray, length_s: float, volts: float, start: int, rate_hz: float) -> None:
    """Set ``column``, whose first sample is number ``start``, high in every pulse that reaches into it."""
    begin = np.round(onsets_s * rate_hz).astype(int) - start
    end = begin + max(1, round(length_s * rate_hz))
    for index in np.flatnonzero((end > 0) & (begin < len(column))):
        column[max(0, begin[index]) : end[index]] = volts


def _group_volts(protocol: PhotostimProtocol) -> np.ndarray:
    """Return the galvo's x position on the centroid of each group, volts."""
    width = protocol.image_shape_px[1]
    centroids = np.array([protocol.targets_px[list(group), 2].mean() for group in protocol.groups])
    return ((centroids + 0.5) / width - 0.5) * GALVO_RANGE_V


def _local_field_v(times_s: np.ndarray) -> np.ndarray:
    """Return a stand-in for a field potential: some rhythms that wax and wane, 0.1 mV scale times a gain of 1000."""
    rhythms = ((2.3, 0.05, 0.031), (6.7, 0.03, 0.11), (38.0, 0.01, 0.23))
    waves = [size * (1 + np.sin(2 * np.pi * wax * times_s)) * np.sin(2 * np.pi * hz * times_s) for hz, size, wax in rhythms]
    return np.sum(waves, axis=0)


def imaging_metadata(parameters: SimulationParameters) -> ImagingMetadata:
    """Return what PrairieView would write down; the rate is the nominal one."""
    return ImagingMetadata(
        frame_shape_px=parameters.frame_shape_px,
        n_frames=parameters.n_frames,
        channels=("Ch2",),
        frame_rate_hz=parameters.nominal_rate_hz,
        frame_rate_source="nominal",
        pixel_size_um=parameters.pixel_size_um,
        bit_depth=BIT_DEPTH,
    )


def program_times_s(parameters: SimulationParameters, start: int, stop: int) -> np.ndarray:
    """Return the frame times that PrairieView writes: multiples of the nominal period, which the hardware doesn't keep."""
    return np.arange(start, stop) / parameters.nominal_rate_hz


def movie_writer(folder: Path, parameters: SimulationParameters) -> PrairieViewWriter:
    """Return a writer of the t-series; its name is the folder's."""
    return PrairieViewWriter(folder, metadata=imaging_metadata(parameters))


def write_photostim(folder: Path, recording: SimulatedRecording) -> None:
    """Write the NAPARM folder of the protocol."""
    write_naparm(folder, recording.protocol, pixel_size_um=recording.parameters.pixel_size_um)


_EXPERIMENT = """\
# A simulated all-optical experiment; truth/README.md tells how it was made. Paths are relative to this file.
schema = 1
id = "{experiment}"
output = "results"

# How cells are found: "quick" (embedded, for first looks), "suite2p", or "masks".
[segmentation]
engine = "quick"

# One table per recording.
[[trial]]
id = "{trial}"
type = "AllOpticalTrial"

# Files of the recording. The sync options name the channels of the frame clock and of the stim trigger.
[trial.inputs]
movie = "raw/{trial}/"
sync = {{ path = "raw/{trial}.paq", reader = "packio", options = {{ frame_clock = "frame_clock", stim = "markpoints2packio" }} }}
{photostim}
# What no file of the rig tells: how fast the calcium indicator decays.
[trial.metadata]
indicator_decay_s = {decay_s:g}
{responses}"""

_RESPONSES = """
# How responses to photostimulation are scored and called.
[trial.responses]
preset = "packerlab"
"""


def write_experiment_file(path: Path, parameters: SimulationParameters, *, photostim: str) -> None:
    """Write ``experiment.toml``; ``photostim`` is the name of the NAPARM folder."""
    text = _EXPERIMENT.format(
        experiment=parameters.experiment_id,
        trial=parameters.trial,
        photostim=f'photostim = "raw/{photostim}/"\n',
        decay_s=parameters.decay_s,
        responses=_RESPONSES,
    )
    path.write_text(text, encoding="utf-8")
