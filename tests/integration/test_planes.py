"""A volume, plane by plane, from rig files to responses: a simulated recording whose frames are dealt out to two planes."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from packerlabimaging.errors import ConfigError
from packerlabimaging.io import read_photostim, write_naparm
from packerlabimaging.trials import Experiment

DEPTH_UM = 30.0
"""Depth of every second target, and of the second plane."""


def deal_out(scan):
    """Turn a t-series into one of volumes: frame ``k`` becomes plane ``k % 2`` of volume ``k // 2``; the last is incomplete."""
    text = (scan / "t-001.xml").read_text(encoding="utf-8-sig")
    times = re.findall(r'absoluteTime="([^"]+)"', text)[:-1]
    sequences = []
    for number, time in enumerate(times):
        volume, plane = divmod(number, 2)
        name = f"v-001_Cycle{volume + 1:05d}_Ch2_{plane + 1:06d}.ome.tif"
        (scan / f"t-001_Cycle00001_Ch2_{number + 1:06d}.ome.tif").rename(scan / name)
        if not plane:
            sequences.append(f'<Sequence type="TSeries ZSeries Element" cycle="{volume + 1}">')
        file = f'<File channel="2" channelName="Ch2" filename="{name}" />'
        sequences.append(f'<Frame relativeTime="0" absoluteTime="{time}" index="{plane + 1}">{file}</Frame>')
        if plane or number == len(times) - 1:
            sequences.append("</Sequence>")
    (scan / f"t-001_Cycle00001_Ch2_{len(times) + 1:06d}.ome.tif").unlink()
    head = text[: text.index("<Sequence")]
    (scan / "t-001.xml").write_text(head + "".join(sequences) + "</PVScan>")


@pytest.fixture
def volume(copy_of_tiny):
    """The tiny experiment in two planes, every second target in the deeper one."""
    deal_out(copy_of_tiny / "raw/t-001")
    folder = copy_of_tiny / "raw/SIM001_ps_001"
    protocol = read_photostim(folder)
    targets = protocol.targets_px.copy()
    targets[1::2, 0] = DEPTH_UM
    shutil.rmtree(folder)
    write_naparm(folder, replace(protocol, targets_px=targets), pixel_size_um=1.7)
    return copy_of_tiny


def of_plane(folder, plane, more=""):
    text = (folder / "experiment.toml").read_text()
    text = text.replace('movie = "raw/t-001/"', f'movie = {{ path = "raw/t-001/", options = {{ plane = {plane} }} }}')
    path = folder / f"plane{plane}.toml"
    path.write_text(text.replace('output = "results"', f'output = "results{plane}"') + more)
    return Experiment.from_toml(path)


def test_each_plane_has_its_own_times_stims_and_targets(volume):
    frames = pd.read_csv(volume / "truth/frames.csv")
    stims = pd.read_csv(volume / "truth/stims.csv")
    for plane, depth in enumerate((0.0, DEPTH_UM)):
        trial = of_plane(volume, plane, f"\n[trial.plane]\nz_um = {depth}\n").run(progress=False)["t-001"]
        starts = frames["start_s"].to_numpy()[plane::2][:299]
        np.testing.assert_allclose(trial.frame_clock.starts_s, starts, atol=2e-4)
        onsets = stims["onset_s"].to_numpy()
        np.testing.assert_allclose(trial.sync.rows["onset_s"], onsets, atol=4e-4)
        true = np.searchsorted(trial.frame_clock.starts_s, trial.sync.rows["onset_s"], side="right") - 1
        assert trial.sync.rows["frame"].tolist() == true.tolist()
        assert trial.cells.n_vars == 299
        obs = trial.targets.obs
        here = np.arange(len(obs)) % 2 == plane
        assert obs["in_plane"].tolist() == here.tolist()
        assert set(obs["status"][~here]) == {"unmatched"}
        assert np.isnan(np.asarray(trial.targets.X)[~here]).all() and np.isfinite(np.asarray(trial.targets.X)[here]).any()
        assert "targets-in-other-planes" in {finding.code for finding in trial.findings}


def test_a_plane_of_unknown_depth_has_no_targets(volume):
    with pytest.raises(ConfigError, match=r"one of 2 planes.*\[trial\.plane\] z_um.*The targets' z: 0, 30 um"):
        of_plane(volume, 1).run(progress=False)


def test_targets_as_rois_are_those_of_the_plane(volume):
    experiment = of_plane(volume, 1, f"\n[trial.plane]\nz_um = {DEPTH_UM}\n")
    assert experiment["t-001"].discs_in_plane.ids == ("target-001", "target-003", "target-005")
