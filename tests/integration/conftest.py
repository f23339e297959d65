"""A tiny simulated experiment, made once; tests copy what they change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from packerlabimaging.simulate import simulate_experiment
from packerlabimaging.trials import Experiment


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """Folder of a tiny simulated experiment: raw/, truth/, experiment.toml. Do not change it."""
    folder = tmp_path_factory.mktemp("simulated") / "tiny"
    simulate_experiment(folder, size="tiny", seed=3)
    return folder


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory) -> Path:
    """The tiny experiment with its results. Do not change it."""
    folder = tmp_path_factory.mktemp("finished") / "tiny"
    shutil.copytree(tiny, folder)
    Experiment.from_toml(folder / "experiment.toml").run(engine="quick", progress=False)
    return folder


@pytest.fixture
def copy_of_tiny(tiny, tmp_path) -> Path:
    """A copy of the tiny experiment that a test may spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "tiny"))


@pytest.fixture
def copy_of_finished(finished, tmp_path) -> Path:
    """A copy of the finished experiment that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "finished"))


@pytest.fixture
def pli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as a user does, in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "packerlabimaging.cli", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False)

    return run
