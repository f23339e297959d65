"""A real experiment, RL109 t-013, rebuilt by our writers from its published numbers and read again.

Numbers of the real recording: 16368 frames of 512 x 512 (2.18458479264539 um a pixel); 4 groups of 9 targets, 10 shots of
20 ms + 5 ms, 1 repeat, 100 trials; 20 kHz, frame clock at samples 139577 to 11144280; SpiralSize 0.047535 V, which is 10 um.
"""

from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.analysis.sync import ImagedFrames, audit_sync
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.io.naparm import NaparmReader, write_naparm
from packerlabimaging.io.packio import PackIOReader, PaqWriter

RATE_HZ, FIRST, LAST, N_FRAMES = 20_000, 139_577, 11_144_280, 16_368
PIXEL_UM = 2.18458479264539


def rig_protocol():
    places = np.random.default_rng(109).uniform(20, 490, (36, 2)).round()
    rows = [PhotostimRow(group=group, n_shots=10, shot_duration_s=0.02, inter_shot_s=0.005, power=70.0) for group in range(4)]
    return PhotostimProtocol(
        targets_px=np.column_stack([np.zeros(36), places]),
        image_shape_px=(512, 512),
        groups=[range(9 * group, 9 * group + 9) for group in range(4)],
        rows=rows,
        n_stims=100,
        weights=np.ones(36),
        spiral_diameter_um=10.0,
    )


@pytest.fixture(scope="module")
def protocol(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rl109") / "2021-01-31_RL109_ps_014"
    write_naparm(folder, rig_protocol(), pixel_size_um=PIXEL_UM)
    assert 'SpiralSize="0.047535"' in (folder / f"{folder.name}.gpl").read_text()
    return NaparmReader().open(folder)


def test_protocol(protocol):
    assert (protocol.n_groups, [len(group) for group in protocol.groups]) == (4, [9, 9, 9, 9])
    assert protocol.n_stims == 100
    assert protocol.stim_duration_s == pytest.approx(1.0, abs=1e-12)
    shots = protocol.shots()
    assert len(shots.onset_s) == 40
    np.testing.assert_allclose([shots.onset_s[shots.group == group][0] for group in range(4)], [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(np.diff(shots.onset_s), 0.025)  # rows back to back
    np.testing.assert_allclose(shots.end_s - shots.onset_s, 0.02)
    assert protocol.spiral_diameter_um == 10.0
    assert protocol.findings == ()


@pytest.mark.slow  # a recording of 557 s at 20 kHz: 90 MB
def test_clock_and_stims(protocol, tmp_path):
    frames = np.round(np.linspace(FIRST, LAST, N_FRAMES)).astype(int)
    live = FIRST - 40_000 + np.round(np.arange(11) * 672.4).astype(int)
    after = LAST + np.round(np.arange(1, 4) * 672.4).astype(int)
    stims = FIRST + 60_000 + 107_777 * np.arange(100)
    path = tmp_path / "2021-01-31_RL109_013.paq"
    write_pulses(path, {"frame_clock": (np.concatenate([live, frames, after]), 100), "markpoints2packio": (stims, 200)})

    imaged = ImagedFrames(n_frames=N_FRAMES, frame_rate_hz=30.19)
    audit = audit_sync(PackIOReader().open(path), imaged, stim="markpoints2packio", protocol=protocol)
    np.testing.assert_array_equal(audit.clock.starts_s, frames / RATE_HZ)
    assert round(audit.clock.rate_hz, 2) == 29.75
    assert audit.clock.starts_s[-1] - audit.clock.starts_s[0] == pytest.approx(550.24, abs=0.005)
    np.testing.assert_array_equal(audit.triggers["markpoints2packio"], stims / RATE_HZ)
    expected = np.searchsorted(frames, stims, side="right") - 1
    assert audit.stims["frame"].tolist() == expected.tolist()
    assert audit.stims["valid"].all()
    rows = audit.rows
    assert len(rows) == 400
    within = rows["onset_s"].to_numpy().reshape(100, 4) - audit.triggers["markpoints2packio"][:, None]
    np.testing.assert_allclose(within, np.tile([0, 0.25, 0.5, 0.75], (100, 1)), atol=1e-9)
    lit = audit.clock.overlapping(audit.light.onset_s, audit.light.end_s)
    assert 29 <= lit.sum() / 100 <= 31  # 30 consecutive frames a stim
    drift = next(finding for finding in audit.findings if finding.code == "nominal-rate-drifts").evidence["drift_s"]
    assert 7 <= drift <= 8.5  # what frame number / nominal rate would be wrong by at the end
    assert audit.verdict == "warn"
    assert {finding.code for finding in audit.findings} == {"nominal-rate-drifts", "extra-pulses", "other-pulse-blocks"}


def write_pulses(path, pulses):
    """Write 5 V pulses (onsets, width) on the named channels, piece by piece."""
    n_samples, piece = LAST + 5000, 1 << 20
    rng = np.random.default_rng(0)
    with PaqWriter(path, rate_hz=RATE_HZ, names=list(pulses)) as paq:
        for start in range(0, n_samples, piece):
            samples = rng.normal(0, 0.01, (min(piece, n_samples - start), len(pulses))).astype(np.float32)
            for column, (onsets, width) in enumerate(pulses.values()):
                for onset in onsets[(onsets > start - width) & (onsets < start + piece)]:
                    samples[max(0, onset - start) : max(0, onset - start + width), column] += 5.0
            paq.write(samples)
