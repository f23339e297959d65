"""A stranger's package works in Python, in `pli run`, and in the report, with no edit in ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import packerlabimaging as pli

HERE = Path(__file__).parent
PUPIL_RATE_HZ = 50.0


@pytest.fixture(scope="module")
def lab_data(tmp_path_factory):
    """A tiny simulated experiment with an eye camera: area = 100 + 2 x seconds, so that frame averages are known."""
    folder = tmp_path_factory.mktemp("lab") / "data"
    pli.simulate_experiment(folder, size="tiny", seed=5)
    seconds = np.arange(0, 60, 1 / PUPIL_RATE_HZ)
    lines = [str(PUPIL_RATE_HZ), *(f"{100 + 2 * second:.6f}" for second in seconds)]
    (folder / "raw" / "t-001.eye").write_text("\n".join(lines))
    text = (folder / "experiment.toml").read_text()
    text = text.replace('type = "AllOpticalTrial"', 'type = "PupilTrial"\neye = "right"')
    text = text.replace("[trial.inputs]", '[trial.inputs]\npupil = "raw/t-001.eye"')
    text = text.replace('engine = "quick"', 'engine = "brightest"\nsettings = { n_cells = 8 }')
    (folder / "experiment.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def lab():
    """The stranger's package, imported as a user does."""
    sys.path.insert(0, str(HERE))
    try:
        import pupil_lab
    finally:
        sys.path.remove(str(HERE))
    return pupil_lab


def test_in_python(lab, lab_data, tmp_path):
    inputs = {
        "movie": lab_data / "raw" / "t-001",
        "sync": lab_data / "raw" / "t-001.paq",
        "photostim": next(lab_data.glob("raw/*_ps_*")),
        "pupil": lab_data / "raw" / "t-001.eye",
    }
    experiment = pli.Experiment("pupil", output=tmp_path / "out")
    experiment.add(lab.PupilTrial("t-001", inputs=inputs, eye="right", settings={"responses": {"preset": "packerlab"}}))
    experiment.run(engine="brightest", engine_settings={"n_cells": 8}, progress=False)
    trial = experiment["t-001"]
    assert trial.cells.n_obs <= 8
    middle = trial.frame_clock.starts_s + 0.5 * trial.frame_clock.period_s  # mean of a straight line over a frame
    np.testing.assert_allclose(trial.cells.var["pupil_area"], 100 + 2 * middle, atol=2 * 2 / PUPIL_RATE_HZ)
    assert trial.result("pupil_summary")["eye"] == "right"
    loaded = pli.Experiment.load(tmp_path / "out")["t-001"]
    assert isinstance(loaded, lab.PupilTrial) and loaded.eye == "right"
    page = pli.report(experiment).read_text(encoding="utf-8")
    assert "Pupil area, averaged over each frame." in page


def test_from_the_command_line_with_a_plugin_file(lab_data):
    command = [sys.executable, "-m", "packerlabimaging.cli", "run", str(lab_data / "experiment.toml"), "--json"]
    without = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert without.returncode == 2 and "There is no trial type 'PupilTrial'" in without.stderr and "--plugin" in without.stderr
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with_plugin = [*command, "--plugin", str(HERE / "pupil_lab.py")]
    done = subprocess.run(with_plugin, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    steps = {step["step"]: step["state"] for step in json.loads(done.stdout)["steps"]}
    assert steps["pupil_summary"] == "done"
    assert "Pupil" in Path(json.loads(done.stdout)["report"]).read_text(encoding="utf-8")


def test_a_changed_field_makes_the_strangers_step_stale(lab, lab_data, tmp_path):
    path = lab_data / "experiment.toml"
    experiment = pli.Experiment.from_toml(path)
    trial = experiment["t-001"]
    if not trial.has("pupil_summary"):
        experiment.run(progress=False)
    changed = path.read_text().replace('eye = "right"', 'eye = "left"')
    other = lab_data / "left.toml"
    other.write_text(changed)
    states = {status.step: status for status in pli.Experiment.from_toml(other).status()}
    assert states["pupil_summary"].state == "stale" and "eye" in states["pupil_summary"].reason
    assert states["cells"].state == "done"
