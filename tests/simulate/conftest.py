"""One tiny simulated experiment for all tests of the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from packerlabimaging.simulate import SimulationParameters, simulate_experiment
from packerlabimaging.simulate.movie import SimulatedRecording


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny experiment, seed 3."""
    return simulate_experiment(tmp_path_factory.mktemp("simulated") / "tiny", size="tiny", seed=3)


@pytest.fixture(scope="session")
def recording() -> SimulatedRecording:
    """The model of the same experiment."""
    return SimulatedRecording.make(SimulationParameters.of_size("tiny", seed=3))


@pytest.fixture(scope="session")
def standard() -> SimulatedRecording:
    """The model of the standard experiment; its frames are not made."""
    return SimulatedRecording.make(SimulationParameters.of_size("standard", seed=1))
