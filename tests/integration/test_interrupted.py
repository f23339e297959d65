"""A run that is killed in any step goes on where it stopped and ends in the same result."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from packerlabimaging.trials import Experiment

STEPS = ["sync", "images", "segmentation", "cells", "targets", "responses"]


def receipts(folder):
    found = {}
    for path in (folder / "results" / "receipts").glob("*.json"):
        values = json.loads(path.read_text())
        found[values["step"]] = values["token"]
    return found


def kill_in_step(folder, step):
    """Start a run and kill it as soon as the step before ``step`` has its receipt."""
    before = STEPS[: STEPS.index(step)]
    command = [sys.executable, "-m", "packerlabimaging.cli", "run", str(folder / "experiment.toml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        lock = folder / "results" / ".lock"
        if lock.exists() and set(before) <= set(receipts(folder)):
            break
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("step", STEPS)
def test_killed_and_run_again(tiny, finished, tmp_path, step):
    folder = tmp_path / "killed"
    shutil.copytree(tiny, folder)
    kill_in_step(folder, step)
    kept = receipts(folder)
    assert set(STEPS[: STEPS.index(step)]) <= set(kept)
    experiment = Experiment.from_toml(folder / "experiment.toml").run(progress=False)
    after = receipts(folder)
    assert {name: after[name] for name in kept} == kept, "a finished step was run again"
    trial, expected = next(iter(experiment)), next(iter(Experiment.load(finished / "results")))
    for name in ("cells", "responses", "targets"):
        np.testing.assert_array_equal(np.asarray(getattr(trial, name).X), np.asarray(getattr(expected, name).X))
    named = {path.name for path in (folder / "results" / "trials").glob("*/*")}
    assert len(named) == 5, f"left over: {named}"
