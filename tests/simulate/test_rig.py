from __future__ import annotations

import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from packerlabimaging.io.naparm import NaparmReader
from packerlabimaging.io.packio import PackIOReader
from packerlabimaging.io.prairieview import PrairieViewReader
from packerlabimaging.simulate.movie import SimulatedRecording
from packerlabimaging.simulate.rig import CHANNELS


@pytest.fixture(scope="module")
def samples(tiny: Path) -> np.ndarray:
    """All samples of the .paq file, read without the package: big-endian floats after a header of text."""
    values = np.fromfile(tiny / "raw" / "t-001.paq", ">f4")
    at = 2
    for _ in range(3 * int(values[1])):
        at += 1 + int(values[at])
    return values[at:].reshape(-1, int(values[1])).astype(np.float32)


def _rises(column: np.ndarray, level: float = 1.5) -> np.ndarray:
    high = column > level
    return np.flatnonzero(high[1:] & ~high[:-1]) + 1


def test_frame_pulses_are_those_of_the_timeline(samples: np.ndarray, recording: SimulatedRecording):
    found = _rises(samples[:, CHANNELS.index("frame_clock")])
    assert np.array_equal(found, np.round(recording.timeline.frame_pulses_s * 5000).astype(int))


def test_triggers_are_where_the_stims_are(samples: np.ndarray, recording: SimulatedRecording):
    stims = np.round(recording.timeline.stims_s * 5000).astype(int)
    assert np.array_equal(_rises(samples[:, CHANNELS.index("markpoints2packio")]), stims)
    groups = _rises(samples[:, CHANNELS.index("slm2packio")])
    assert np.array_equal(groups, np.sort(np.concatenate([stims, stims + 625])))  # the second group 125 ms later


def test_the_galvo_is_no_digital_line(samples: np.ndarray, recording: SimulatedRecording):
    galvo = samples[:, CHANNELS.index("x_galvo_uncaging")]
    times = np.arange(len(galvo)) / 5000
    lit = np.zeros(len(galvo), bool)
    for onset, end in zip(recording.light.onset_s, recording.light.end_s, strict=True):
        lit |= (times > onset + 5e-4) & (times < end - 5e-4)
    dark = recording.timeline.stims_s[0]
    assert abs(np.median(galvo[times < dark - 0.01]) - 0.25) < 0.01
    assert np.abs(galvo[lit] - 0.25).mean() > 0.02


def test_the_paq_opens_with_the_labs_channel_names(tiny: Path):
    signals = PackIOReader().open(tiny / "raw" / "t-001.paq")
    assert signals.names == CHANNELS and signals["frame_clock"].rate_hz == 5000


def test_the_movie_on_disk_is_the_simulated_one(tiny: Path, recording: SimulatedRecording):
    movie = PrairieViewReader().open(tiny / "raw" / "t-001")
    assert movie.shape == (600, 96, 128) and movie.dtype == np.uint16
    assert np.array_equal(movie.read(0, recording.block_frames), recording.block(0).frames)
    assert movie.metadata.pixel_size_um == (1.7, 1.7)


def test_the_xml_states_the_nominal_rate(tiny: Path):
    frames = ElementTree.parse(tiny / "raw" / "t-001" / "t-001.xml").getroot().findall(".//Frame")
    times = np.array([float(frame.get("relativeTime", "nan")) for frame in frames])
    assert len(frames) == 600 and np.allclose(np.diff(times), 1 / 30)


def test_the_protocol_comes_back_from_its_naparm_folder(tiny: Path, recording: SimulatedRecording):
    protocol = NaparmReader().open(tiny / "raw" / "SIM001_ps_001")
    assert protocol.groups == recording.protocol.groups and protocol.n_stims == 10
    assert np.allclose(protocol.targets_px[:, 1:], recording.photostimulation.targets_px, atol=0.51)
    written, read = recording.protocol.shots(), protocol.shots()
    assert np.allclose(written.onset_s, read.onset_s, atol=1e-6) and np.allclose(written.end_s, read.end_s, atol=1e-6)
    assert protocol.spiral_diameter_um == pytest.approx(10.0, abs=0.01)


def test_the_experiment_file_names_what_is_there(tiny: Path):
    values = tomllib.loads((tiny / "experiment.toml").read_text())
    (trial,) = values["trial"]
    assert (values["schema"], values["output"], trial["id"], trial["type"]) == (1, "results", "t-001", "AllOpticalTrial")
    inputs = trial["inputs"]
    for path in (inputs["movie"], inputs["sync"]["path"], inputs["photostim"]):
        assert (tiny / path).exists()
