"""The truth of a simulated experiment: what was put in, as tables and arrays that anybody can read.

:func:`write_truth` leaves a folder of CSV tables, ``.npy`` arrays and a README that explains every column;
:func:`load_truth` reads it back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging._provenance import to_plain, versions
from packerlabimaging.core import RoiSet
from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.simulate.activity import windowed_responses
from packerlabimaging.simulate.movie import Block, SimulatedMovie
from packerlabimaging.simulate.parameters import SimulationParameters
from packerlabimaging.simulate.rig import program_times_s
from packerlabimaging.simulate.targets import Photostimulation

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
    except (json.JSONDecodeError, KeyError, AttributeError) as error:
        raise FormatError(f"'{path}' does not hold the parameters of a simulation ({error}). Simulate again.") from error
    if set(values) != known:
        odd = ", ".join(sorted(set(values) ^ known))
        raise FormatError(f"'{path}' was written by another version of the simulator (differing: {odd}). Simulate again.")
    return SimulationParameters(**values)


class TraceFile:
    """Writes ``traces.npy`` block by block, and sums up the frames without light.

    Parameters
    ----------
    path
        File to write.
    shape
        ``(n_cells, n_frames)``.
    quiet
        Frames without light, boolean ``(n_frames,)``.
    """

    def __init__(self, path: Path, *, shape: tuple[int, int], quiet: np.ndarray) -> None:
        self._path, self._shape, self._quiet = path, shape, quiet
        self._sum, self._square_sum = np.zeros(shape[0]), np.zeros(shape[0])

    def __enter__(self) -> TraceFile:
        self._file = self._path.open("xb")
        header = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)  # type: ignore[arg-type]
        self._offset = self._file.tell()
        self._file.truncate(self._offset + 4 * self._shape[0] * self._shape[1])
        return self

    def write(self, block: Block) -> None:
        """Write the dF/F of one block of frames."""
        for row, values in enumerate(block.dff.astype("<f4")):
            self._file.seek(self._offset + 4 * (row * self._shape[1] + block.start))
            self._file.write(values.tobytes())
        quiet = block.dff[:, self._quiet[block.start : block.start + len(block.frames)]].astype(np.float64)
        self._sum += quiet.sum(axis=1)
        self._square_sum += (quiet**2).sum(axis=1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def sd_dff(self) -> np.ndarray:
        """Standard deviation of each cell's dF/F over the frames without light, shape ``(n_cells,)``."""
        count = max(int(self._quiet.sum()), 1)
        return np.sqrt(np.maximum(self._square_sum / count - (self._sum / count) ** 2, 0.0))


def write_truth(folder: Path, simulated: SimulatedMovie, photostimulation: Photostimulation, *, sd_dff: np.ndarray) -> None:
    """Write everything but the traces, which :class:`TraceFile` wrote while the frames were made.

    Parameters
    ----------
    folder
        The truth folder, which exists.
    simulated, photostimulation
        The model.
    sd_dff
        From :attr:`TraceFile.sd_dff`.
    """
    import pandas as pd

    responses, effect_dff = _response_table(simulated, photostimulation)
    tables = {
        "cells": _cell_table(simulated, photostimulation, effect_dff, sd_dff),
        "targets": _target_table(simulated, photostimulation),
        "stims": _stim_table(simulated),
        "responses": responses,
        "evoked": _evoked_table(simulated),
        "frames": _frame_table(simulated),
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    rois = simulated.scene.rois
    np.savez_compressed(
        folder / "rois.npz",
        frame_shape_px=np.array(rois.frame_shape_px),
        indptr=rois.indptr,
        y_px=rois.y_px,
        x_px=rois.x_px,
        weights=rois.weights,
    )
    np.save(folder / "rest_photons.npy", simulated.scene.expected_frame())
    readme = files("packerlabimaging.simulate").joinpath("truth_readme.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(readme, encoding="utf-8")
    description = {
        "parameters": to_plain(simulated.parameters),
        "n_extra_pulses": len(simulated.timeline.extra_pulses_s),
        "versions": versions("scipy"),
    }
    (folder / "parameters.json").write_text(json.dumps(description, indent=2), encoding="utf-8")


def _cell_table(
    simulated: SimulatedMovie, photostimulation: Photostimulation, effect_dff: np.ndarray, sd_dff: np.ndarray
) -> dict[str, np.ndarray]:
    scene, parameters, activity = simulated.scene, simulated.parameters, simulated.activity
    driven = photostimulation.response_dff.any(axis=1)
    columns = {
        "cell": np.array(scene.rois.ids, dtype=object),
        "y_px": scene.centers_px[:, 0],
        "x_px": scene.centers_px[:, 1],
        "diameter_um": scene.diameters_um,
        "n_pixels": scene.rois.n_pixels,
        "dim": scene.dim,
        "overlapping": scene.overlapping,
        "photons": scene.photons,
        "noise_nu": expected_noise(simulated),
        "burst_rate_hz": activity.burst_rate_hz[: activity.n_cells],
        "decay_s": activity.decay_s[: activity.n_cells],
        "opsin": photostimulation.opsin,
        "targeted": np.isin(np.arange(activity.n_cells), photostimulation.cell_of_target),
        "sd_dff": sd_dff,
        "active": sd_dff >= parameters.active_sd_dff,
        "driven": driven,
        "effect_dff": effect_dff,
        "above_minimal": driven & (effect_dff >= parameters.minimal_effect_dff),
    }
    return _rounded(columns)


def expected_noise(simulated: SimulatedMovie) -> np.ndarray:
    """Return the noise nu that photons and electronics give each resting cell's own dF/F, %/sqrt(Hz), shape ``(n_cells,)``.

    The trace is the plain mean over the cell's outline, F0 the cell's own light; nu is the median absolute difference of
    neighbouring frames over the square root of the rate (CASCADE, Rupprecht et al. 2021), which for white noise of
    standard deviation s is ``0.6745 sqrt(2) s / sqrt(rate)``.
    """
    scene, parameters = simulated.scene, simulated.parameters
    rest = scene.expected_frame().ravel()[scene.rois.flat_index]
    electronic = (parameters.read_noise_counts / parameters.gain_counts) ** 2
    n_pixels = scene.rois.n_pixels
    variance = (np.add.reduceat(rest.astype(np.float64), scene.rois.indptr[:-1]) / n_pixels + electronic) / n_pixels
    return 100 * 0.6745 * np.sqrt(2 * variance) / scene.photons / np.sqrt(parameters.true_rate_hz)


def _target_table(simulated: SimulatedMovie, photostimulation: Photostimulation) -> dict[str, np.ndarray]:
    cells = photostimulation.cell_of_target
    n_targets, ids = len(cells), [*simulated.scene.rois.ids, ""]
    group = np.zeros(n_targets, int)
    for number, members in enumerate(photostimulation.groups):
        group[list(members)] = number
    columns = {
        "target": np.array([f"target-{index:03d}" for index in range(n_targets)], dtype=object),
        "group": group,
        "y_px": photostimulation.targets_px[:, 0],
        "x_px": photostimulation.targets_px[:, 1],
        "cell": np.array([ids[cell] for cell in cells], dtype=object),
        "responsive": (cells >= 0) & photostimulation.response_dff[cells, group].astype(bool),
    }
    return _rounded(columns)


def _stim_table(simulated: SimulatedMovie) -> dict[str, np.ndarray]:
    light, timeline = simulated.light, simulated.timeline
    row_of = light.stim * (int(light.row.max(initial=0)) + 1) + light.row
    _, first = np.unique(row_of, return_index=True)
    last = np.append(first[1:], len(row_of)) - 1 if len(first) else first
    return {
        "stim": light.stim[first],
        "group": light.group[first],
        "trigger_s": timeline.stims_s[light.stim[first]],
        "onset_s": light.onset_s[first].round(9),
        "end_s": light.end_s[last].round(9),
        "frame": timeline.clock.frames_at(light.onset_s[first])[0],
    }


def _response_table(simulated: SimulatedMovie, photostimulation: Photostimulation) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the table of cells x groups, and the windowed response of each cell to all groups together."""
    n_cells, n_groups = photostimulation.response_dff.shape
    effects = windowed_responses(simulated.activity, simulated.timeline, simulated.parameters, n_groups=n_groups)
    driven = photostimulation.response_dff > 0
    kind = np.where(photostimulation.network, "network", np.where(driven, "direct", "none"))
    columns = {
        "cell": np.repeat(np.array(simulated.scene.rois.ids, dtype=object), n_groups),
        "group": np.tile(np.arange(n_groups), n_cells),
        "kind": kind.ravel().astype(object),
        "distance_um": photostimulation.distance_um.ravel(),
        "drive": photostimulation.drive.ravel(),
        "response_dff": photostimulation.response_dff.ravel(),
        "effect_dff": effects[:, :n_groups].ravel(),
    }
    return _rounded(columns), effects[:, n_groups]


def _evoked_table(simulated: SimulatedMovie) -> dict[str, np.ndarray]:
    events = simulated.activity.events
    events = events.subset(events.group >= 0)
    keys = np.column_stack([events.source, events.group, events.stim])
    rows, inverse = np.unique(keys, axis=0, return_inverse=True)
    ids = np.array(simulated.scene.rois.ids, dtype=object)
    amplitude = np.bincount(inverse.ravel(), weights=events.amplitude, minlength=len(rows))
    return _rounded({"cell": ids[rows[:, 0]], "group": rows[:, 1], "stim": rows[:, 2], "amplitude_dff": amplitude})


def _frame_table(simulated: SimulatedMovie) -> dict[str, np.ndarray]:
    clock = simulated.timeline.clock
    return {
        "frame": np.arange(clock.n_frames),
        "start_s": clock.starts_s,
        "end_s": clock.ends_s,
        "program_time_s": program_times_s(simulated.parameters, 0, clock.n_frames),
        "shift_y_px": simulated.shifts_px[:, 0].round(4),
        "shift_x_px": simulated.shifts_px[:, 1].round(4),
        "artefact": simulated.artefact_frames,
    }


def _rounded(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values.round(5) if values.dtype.kind == "f" else values for name, values in columns.items()}
