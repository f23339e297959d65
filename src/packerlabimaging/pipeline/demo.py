"""The demonstration: simulate an all-optical experiment, analyse it as a user would, and compare with the truth."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging import plotting as pl
from packerlabimaging._files import write_json
from packerlabimaging.core.schema import rois_of
from packerlabimaging.errors import StoreError
from packerlabimaging.report import report
from packerlabimaging.segmentation.engine import complete_settings, get_engine
from packerlabimaging.simulate import Truth, compare_with_truth, load_truth, simulate_experiment
from packerlabimaging.simulate.scoring import find_overlap
from packerlabimaging.trials import Experiment

COMPARISON_FILE = "comparison.json"
PICTURE_FILE = "comparison.png"


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
        A new or empty folder; gets ``raw/``, ``truth/``, ``experiment.toml``, ``results/``, ``comparison.json`` and
        ``comparison.png``.
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
    UnknownFormatError
        If there is no such engine.
    MissingDependencyError
        If the engine is not installed.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"'{folder}' exists and is not empty. Give a new folder; nothing is overwritten.")
    complete_settings(get_engine(engine), {})  # a mistyped name, or one not installed, is told before the simulation
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
        _draw_comparison(folder / PICTURE_FILE, truth, trial)
    comparison = {
        "engine": engine,
        "seed": seed,
        "size": size,
        **scores,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "seconds_per_step": {step: _took_s(receipt) for step, receipt in trial.receipts.items()},
        "report": report_path.relative_to(folder.resolve()).as_posix(),
    }
    write_json(folder / COMPARISON_FILE, comparison)
    return comparison


def _took_s(receipt: Mapping[str, Any]) -> float:
    """Return how long a step took; receipts tell it in whole seconds."""
    return (datetime.fromisoformat(receipt["finished"]) - datetime.fromisoformat(receipt["started"])).total_seconds()


def _draw_comparison(path: Path, truth: Truth, trial: Any) -> None:
    """Draw the found ROIs on the true cells, and the measured response of each found cell against the true one."""
    from matplotlib.figure import Figure

    cells, responses = trial.cells, trial.responses
    accepted = np.flatnonzero(cells.obs["iscell"].to_numpy(bool))
    overlap = find_overlap(truth, cells)
    iou = np.where(overlap.belongs, overlap.iou, 0.0)[accepted]
    best = iou.argmax(axis=0) if len(accepted) else np.zeros(iou.shape[1], int)
    found = np.flatnonzero(iou.max(axis=0, initial=0.0) > 0)
    pairs = responses.obs.loc[cells.obs_names[accepted[best[found]]]]
    panels = pl.comparison(
        trial.images["mean"],
        true_rois=truth.rois,
        found_rois=rois_of(cells).subset(accepted),
        true_response=truth.cells["effect_dff"].to_numpy()[found],
        measured_response=pairs["response_mean"].to_numpy(),
        driven=truth.cells["driven"].to_numpy(bool)[found],
        called=pairs["excited"].to_numpy(bool),
        pixel_size_um=trial.metadata.pixel_size_um,
    )
    figure = panels["fov"].get_figure()
    assert isinstance(figure, Figure)
    figure.savefig(path, dpi=150)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
