"""Writing the truth of a simulated experiment: one table after another, and the traces while frames are made."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from packerlabimaging._provenance import to_plain, versions
from packerlabimaging.simulate.activity import windowed_responses
from packerlabimaging.simulate.movie import Block, SimulatedRecording
from packerlabimaging.simulate.rig import program_times_s

Columns = dict[str, Any]
"""Arrays of one length by column name."""

_DECIMALS = 5


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
        np.lib.format.write_array_header_1_0(self._file, header)
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


def write_truth(folder: Path, recording: SimulatedRecording, *, sd_dff: np.ndarray) -> None:
    """Write everything but the traces, which :class:`TraceFile` wrote while the frames were made.

    Parameters
    ----------
    folder
        The truth folder, which exists.
    recording
        The recording.
    sd_dff
        From :attr:`TraceFile.sd_dff`.
    """
    import pandas as pd

    responses, effect_dff = _response_table(recording)
    tables = {
        "cells": _cell_table(recording, effect_dff, sd_dff),
        "targets": _target_table(recording),
        "stims": _stim_table(recording),
        "responses": responses,
        "evoked": _evoked_table(recording),
        "frames": _frame_table(recording),
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    rois = recording.scene.rois
    np.savez_compressed(
        folder / "rois.npz",
        frame_shape_px=np.array(rois.frame_shape_px),
        indptr=rois.indptr,
        y_px=rois.y_px,
        x_px=rois.x_px,
        weights=rois.weights,
    )
    np.save(folder / "rest_photons.npy", recording.scene.expected_frame())
    readme = files("packerlabimaging.simulate").joinpath("truth_readme.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(readme, encoding="utf-8")
    description = {
        "parameters": to_plain(recording.parameters),
        "n_extra_pulses": len(recording.timeline.extra_pulses_s),
        "versions": versions("scipy"),
    }
    (folder / "parameters.json").write_text(json.dumps(description, indent=2), encoding="utf-8")


def _cell_table(recording: SimulatedRecording, effect_dff: np.ndarray, sd_dff: np.ndarray) -> Columns:
    scene, parameters, activity = recording.scene, recording.parameters, recording.activity
    effect_dff, sd_dff = effect_dff.round(_DECIMALS), sd_dff.round(_DECIMALS)  # what is compared is what is written
    driven = recording.photostimulation.response_dff.any(axis=1)
    columns = {
        "cell": np.array(scene.rois.ids, dtype=object),
        "y_px": scene.centers_px[:, 0],
        "x_px": scene.centers_px[:, 1],
        "diameter_um": scene.diameters_um,
        "n_pixels": scene.rois.n_pixels,
        "dim": scene.dim,
        "overlapping": scene.overlapping,
        "photons": scene.photons,
        "noise_nu": expected_noise(recording),
        "burst_rate_hz": activity.burst_rate_hz[: activity.n_cells],
        "decay_s": activity.decay_s[: activity.n_cells],
        "opsin": recording.photostimulation.opsin,
        "targeted": np.isin(np.arange(activity.n_cells), recording.photostimulation.cell_of_target),
        "sd_dff": sd_dff,
        "active": sd_dff >= parameters.active_sd_dff,
        "driven": driven,
        "effect_dff": effect_dff,
        "above_minimal": driven & (effect_dff >= parameters.minimal_effect_dff),
    }
    return _rounded(columns)


def expected_noise(recording: SimulatedRecording) -> np.ndarray:
    """Return the noise nu that photons and electronics give each resting cell's own dF/F, %/sqrt(Hz), shape ``(n_cells,)``.

    The trace is the plain mean over the cell's outline, F0 the cell's own light; nu is the median absolute difference of
    neighbouring frames over the square root of the rate (CASCADE, Rupprecht et al. 2021), which for white noise of
    standard deviation s is ``0.6745 sqrt(2) s / sqrt(rate)``.
    """
    scene, parameters = recording.scene, recording.parameters
    rest = scene.expected_frame().ravel()[scene.rois.flat_index]
    electronic = (parameters.read_noise_counts / parameters.gain_counts) ** 2
    n_pixels = scene.rois.n_pixels
    variance = (np.add.reduceat(rest.astype(np.float64), scene.rois.indptr[:-1]) / n_pixels + electronic) / n_pixels
    return 100 * 0.6745 * np.sqrt(2 * variance) / scene.photons / np.sqrt(parameters.true_rate_hz)


def _target_table(recording: SimulatedRecording) -> Columns:
    cells = recording.photostimulation.cell_of_target
    n_targets, ids = len(cells), [*recording.scene.rois.ids, ""]
    group = np.zeros(n_targets, int)
    for number, members in enumerate(recording.photostimulation.groups):
        group[list(members)] = number
    columns = {
        "target": np.array([f"target-{index:03d}" for index in range(n_targets)], dtype=object),
        "group": group,
        "y_px": recording.photostimulation.targets_px[:, 0],
        "x_px": recording.photostimulation.targets_px[:, 1],
        "cell": np.array([ids[cell] for cell in cells], dtype=object),
        "responsive": (cells >= 0) & recording.photostimulation.response_dff[cells, group].astype(bool),
    }
    return _rounded(columns)


def _stim_table(recording: SimulatedRecording) -> Columns:
    light, timeline = recording.light, recording.timeline
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


def _response_table(recording: SimulatedRecording) -> tuple[Columns, np.ndarray]:
    """Return the table of cells x groups, and the windowed response of each cell to all groups together."""
    n_cells, n_groups = recording.photostimulation.response_dff.shape
    effects = windowed_responses(recording.activity, recording.timeline, recording.parameters, n_groups=n_groups)
    driven = recording.photostimulation.response_dff > 0
    kind = np.where(recording.photostimulation.network, "network", np.where(driven, "direct", "none"))
    columns = {
        "cell": np.repeat(np.array(recording.scene.rois.ids, dtype=object), n_groups),
        "group": np.tile(np.arange(n_groups), n_cells),
        "kind": kind.ravel().astype(object),
        "distance_um": recording.photostimulation.distance_um.ravel(),
        "drive": recording.photostimulation.drive.ravel(),
        "response_dff": recording.photostimulation.response_dff.ravel(),
        "effect_dff": effects[:, :n_groups].ravel(),
    }
    return _rounded(columns), effects[:, n_groups]


def _evoked_table(recording: SimulatedRecording) -> Columns:
    events = recording.activity.events
    events = events.subset(events.group >= 0)
    keys = np.column_stack([events.source, events.group, events.stim])
    rows, inverse = np.unique(keys, axis=0, return_inverse=True)
    ids = np.array(recording.scene.rois.ids, dtype=object)
    amplitude = np.bincount(inverse.ravel(), weights=events.amplitude, minlength=len(rows))
    return _rounded({"cell": ids[rows[:, 0]], "group": rows[:, 1], "stim": rows[:, 2], "amplitude_dff": amplitude})


def _frame_table(recording: SimulatedRecording) -> Columns:
    clock = recording.timeline.clock
    return {
        "frame": np.arange(clock.n_frames),
        "start_s": clock.starts_s,
        "end_s": clock.ends_s,
        "program_time_s": program_times_s(recording.parameters, 0, clock.n_frames),
        "shift_y_px": recording.shifts_px[:, 0].round(4),
        "shift_x_px": recording.shifts_px[:, 1].round(4),
        "artefact": recording.artefact_frames,
    }


def _rounded(columns: Columns) -> Columns:
    return {name: values.round(_DECIMALS) if values.dtype.kind == "f" else values for name, values in columns.items()}
