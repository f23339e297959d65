"""The demonstration: simulate an all-optical experiment, analyse it as a user would, and compare with the truth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packerlabimaging.errors import StoreError
from packerlabimaging.report import report
from packerlabimaging.simulate import compare_with_truth, load_truth, simulate_experiment
from packerlabimaging.trials import Experiment
from packerlabimaging.trials.store import write_json

COMPARISON_FILE = "comparison.json"


def run_demo(
    folder: str | Path,
    *,
    engine: str = "quick",
    seed: int = 0,
    size: str = "standard",
    progress: bool = True,
    **overrides: Any,
) -> dict[str, Any]:
    """Simulate, run, report, and compare with the truth.

    Parameters
    ----------
    folder
        A new or empty folder; gets ``raw/``, ``truth/``, ``experiment.toml``, ``results/`` and ``comparison.json``.
    engine
        Segmentation engine.
    seed
        Seed of the simulation.
    size
        Size of the simulation, see :func:`packerlabimaging.simulate.simulate_experiment`.
    progress
        Show progress bars.
    overrides
        Parameters of the simulation that differ from those of ``size``.

    Returns
    -------
    dict
        The comparison, as written to ``comparison.json``.

    Raises
    ------
    StoreError
        If the folder holds files already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"'{folder}' exists and is not empty. Give a new folder; nothing is overwritten.")
    seconds: dict[str, float] = {}
    with _timed(seconds, "simulate"):
        simulate_experiment(folder, size=size, seed=seed, progress=progress, **overrides)
    with _timed(seconds, "run"):
        experiment = Experiment.from_toml(folder / "experiment.toml").run(engine=engine, progress=progress)
    with _timed(seconds, "report"):
        report_path = report(experiment, progress=progress)
    with _timed(seconds, "compare"):
        trial = next(iter(experiment))
        truth = load_truth(folder / "truth")
        scores = compare_with_truth(truth, cells=trial.cells, responses=trial.responses, targets=trial.targets)  # type: ignore[attr-defined]
    comparison = {
        "engine": engine,
        "seed": seed,
        "size": size,
        **scores,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "report": report_path.relative_to(folder.resolve()).as_posix(),
    }
    write_json(folder / COMPARISON_FILE, comparison)
    return comparison


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
