"""The truth of a simulated experiment: what was put in, as tables and arrays that anybody can read.

A folder of CSV tables and ``.npy`` arrays, with a README that explains every column; :func:`load_truth` reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging.core import RoiSet
from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.simulate.parameters import SimulationParameters

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("cells", "targets", "stims", "responses", "evoked", "frames")
"""The CSV tables of a truth folder; the README in it documents their columns."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulated experiment was made from.

    Parameters
    ----------
    parameters
        Parameters of the simulation.
    cells
        One row per cell in the imaging plane; index: cell ids.
    targets
        One row per photostimulation target; index: target ids.
    stims
        One row per stim and group: onset and end of its light.
    responses
        One row per cell and group: whether and how it is driven.
    evoked
        One row per cell, group and stim that evoked a response.
    frames
        One row per frame: times, motion, artefact.
    rois
        Outline of every cell without motion, weighted with its resting brightness; in the order of ``cells``.
    traces
        Noise-free dF/F of every cell in the middle of every frame, ``(n_cells, n_frames)``, float32, read from the file
        when it is used.
    """

    parameters: SimulationParameters
    cells: pd.DataFrame
    targets: pd.DataFrame
    stims: pd.DataFrame
    responses: pd.DataFrame
    evoked: pd.DataFrame
    frames: pd.DataFrame
    rois: RoiSet
    traces: np.ndarray

    def __repr__(self) -> str:
        return f"Truth({len(self.cells)} cells, {len(self.targets)} targets, {len(self.frames)} frames)"


def load_truth(folder: str | Path) -> Truth:
    """Read the truth of a simulated experiment.

    Parameters
    ----------
    folder
        The ``truth`` folder, or the folder of the experiment that holds it.

    Raises
    ------
    MissingFileError
        If a file of the truth is not there.
    FormatError
        If ``parameters.json`` is damaged.
    """
    import pandas as pd

    folder = Path(folder)
    folder = folder if (folder / "parameters.json").exists() else folder / "truth"
    names = ["parameters.json", "rois.npz", "traces.npy", *(f"{table}.csv" for table in TABLES)]
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise MissingFileError(
            f"'{folder}' is not the truth of a finished simulation: {', '.join(missing)} missing. "
            "Pass the folder that simulate_experiment wrote, or simulate again."
        )
    tables = {name: pd.read_csv(folder / f"{name}.csv", keep_default_na=False) for name in TABLES}
    for name, index in (("cells", "cell"), ("targets", "target")):
        tables[name] = tables[name].set_index(index)
    with np.load(folder / "rois.npz", allow_pickle=False) as arrays:
        shape = tuple(arrays["frame_shape_px"].tolist())
        rois = RoiSet(shape, arrays["indptr"], arrays["y_px"], arrays["x_px"], arrays["weights"], tuple(tables["cells"].index))
    traces = np.load(folder / "traces.npy", mmap_mode="r", allow_pickle=False)
    return Truth(_read_parameters(folder / "parameters.json"), **tables, rois=rois, traces=traces)


def _read_parameters(path: Path) -> SimulationParameters:
    known = {field.name for field in fields(SimulationParameters)}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["parameters"]
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"'{path}' does not hold the parameters of a simulation ({error}). Simulate again.") from error
    if set(values) != known:
        odd = ", ".join(sorted(set(values) ^ known))
        raise FormatError(f"'{path}' was written by another version of the simulator (differing: {odd}). Simulate again.")
    return SimulationParameters(**values)
