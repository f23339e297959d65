"""The reader of Suite2p's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.readers import Inspection, Reader
from packerlabimaging.io.suite2p.folder import MAX_FRAME_SIDE_PX, RunValues, choose_plane, plane_folders
from packerlabimaging.io.suite2p.rois import columns_of, read_stat, rois_of, smallest_frame
from packerlabimaging.io.untrusted.npy import open_npy


class Suite2pReader(Reader):
    """Reader of the results of Suite2p, versions 0.7 to 1.1.

    Traces are memory maps. ROIs are all that Suite2p found, in its order: row ``i`` is Suite2p's ROI ``i``. Files that hold
    Python objects are read without running any code that they contain.
    """

    name = "suite2p"
    kind = "segmentation"
    description = "Suite2p output: a 'suite2p' folder, a 'planeN' folder, or the folder that holds them"

    def detect(self, path: Path) -> bool:
        try:
            ours = (path / "run.json").is_file()  # a run that our engine made has a reader of its own, which knows its trials
            return path.is_dir() and not ours and bool(plane_folders(path))
        except OSError:
            return False

    def open(self, path: Path, *, plane: int | None = None, frame_shape_px: tuple[int, int] | None = None) -> Segmentation:
        """Open the results of one plane.

        Parameters
        ----------
        path
            ``suite2p/``, one of its ``planeN/``, or the folder that holds ``suite2p/``.
        plane
            Number of the plane; needed where there are several.
        frame_shape_px
            ``(height, width)``, for a folder without ops.npy and db.npy, which say it. Without it the smallest frame that holds
            all ROIs is taken, with a finding.

        Returns
        -------
        Segmentation
            Without F.npy there are no traces. ``other_traces`` has ``F_chan2`` and ``Fneu_chan2`` of two-channel runs.
            ``obs`` has ``iscell_probability`` and every number of ``stat.npy`` under Suite2p's name; ``extra`` has
            ``rate_hz``, ``tau_s``, ``neuropil_coefficient``, ``files`` and ``frames_per_file`` (for :func:`frames_of_files`),
            ``motion_recorded``, ``plane``; None or empty where the run does not say.

        Raises
        ------
        MissingFileError
            If ``stat.npy`` or ``F.npy`` is not there.
        AmbiguousInputError
            If there are several planes and none is chosen.
        FormatError
            If a file is damaged, could run code, or the files are not of one run.
        """
        number, folder = choose_plane(path, plane)
        check_complete(folder)
        run = RunValues.read(folder)
        stat = read_stat(folder / "stat.npy")
        shape, assumed = _frame_shape(run, stat, frame_shape_px)
        rois, findings = rois_of(stat, shape, plane=number, path=folder / "stat.npy")
        findings = [*assumed, *findings]
        traces = {name: _traces(folder / f"{name}.npy") for name in ("F", "Fneu", "spks", "F_chan2", "Fneu_chan2")}
        labels = {name: _labels(folder / f"{name}.npy") for name in ("iscell", "redcell")}
        _check_one_run(folder, len(stat), traces, labels)
        findings += _drop_unmade(traces, run)
        images, image_findings = run.images()
        obs = columns_of(stat)
        for name, table in labels.items():
            if table is not None:
                obs.insert(0, f"{name}_probability", table[:, 1])
        if labels["redcell"] is not None:
            obs.insert(0, "redcell", labels["redcell"][:, 0] > 0)
        F = traces.pop("F")
        if F is None:
            message = "F.npy is missing: the folder holds ROIs without traces."
            advice = "Copy it from the run, or have traces extracted: engine 'masks' with rois = this folder."
            findings.append(Finding("no-traces", message, where=str(folder), advice=advice))
            F, traces = np.zeros((len(stat), 0), np.float32), dict.fromkeys(traces)
        return Segmentation(
            rois=rois,
            F=F,
            Fneu=traces.pop("Fneu"),
            spks=traces.pop("spks"),
            other_traces={name: values for name, values in traces.items() if values is not None},
            iscell=None if labels["iscell"] is None else labels["iscell"][:, 0] > 0,
            obs=obs,
            images=images,
            engine=f"suite2p {run.version or '(version not recorded)'}",
            source=str(path),
            findings=(*findings, *image_findings, *_tolerated(folder, run, F.shape[1])),
            extra=_facts(run, number),
        )

    def inspect(self, path: Path) -> Inspection:
        planes = plane_folders(path)
        facts: dict[str, Any] = {"n_planes": len(planes)}
        findings: list[Finding] = []
        for number, folder in planes.items():
            prefix = f"plane{number}_" if len(planes) > 1 else ""
            try:
                check_complete(folder)
                plane = self.open(folder)
            except (FormatError, MissingFileError) as error:
                findings.append(Finding("unreadable-plane", str(error), severity="error", where=str(folder)))
                continue
            assert plane.iscell is not None
            facts |= {
                f"{prefix}{name}": value
                for name, value in {
                    "program": plane.engine,
                    "n_rois": len(plane.rois),
                    "n_cells": int(plane.iscell.sum()),
                    "n_frames": plane.n_frames,
                    "frame_shape_px": list(plane.rois.frame_shape_px),
                    **{name: value for name, value in plane.extra.items() if name not in ("files", "frames_per_file", "plane")},
                    "n_files": len(plane.extra["files"]),
                    "has_neuropil": plane.Fneu is not None,
                    "has_deconvolved": plane.spks is not None,
                    "images": sorted(plane.images),
                }.items()
            }
            findings += plane.findings
        return Inspection(str(path), self.name, self.kind, facts, tuple(findings))


def check_complete(folder: Path) -> None:
    """Check that a plane has its ROIs.

    Raises
    ------
    MissingFileError
        If not; the message names what is missing and what is there.
    """
    if not (folder / "stat.npy").is_file():
        present = ", ".join(sorted(file.name for file in folder.glob("*.npy"))) or "no .npy file"
        raise MissingFileError(
            f"The Suite2p folder '{folder}' lacks stat.npy, which says where the ROIs are. Found: {present}. Traces without "
            "places can't be used: copy stat.npy from the run."
        )


def _frame_shape(
    run: RunValues, stat: list[dict[str, Any]], given: tuple[int, int] | None
) -> tuple[tuple[int, int], list[Finding]]:
    """Return the size of the frame: as the run says, else as given, else the smallest, with a finding."""
    known = run.known_frame_shape_px
    if known is not None:
        if given is not None and tuple(given) != known:
            raise ParameterError(f"frame_shape_px = {given!r}, but '{run.folder}' is of frames of {known} px. Leave it out.")
        return known, []
    if given is not None:
        if len(given) != 2 or not all(isinstance(side, int) and 0 < side <= MAX_FRAME_SIDE_PX for side in given):
            raise ParameterError(f"frame_shape_px = {given!r} is not possible. Expected (height, width) in pixels.")
        return (given[0], given[1]), []
    smallest = smallest_frame(stat)
    message = f"Nothing says how large the frames are: {smallest[0]} x {smallest[1]} px is the smallest that holds all ROIs."
    advice = "Copy ops.npy or db.npy from the run, or give frame_shape_px=(height, width)."
    evidence = {"smallest_frame_px": list(smallest)}
    return smallest, [Finding("frame-size-unknown", message, where=str(run.folder), advice=advice, evidence=evidence)]


def _traces(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    traces = open_npy(path, ndim=2)
    return traces if traces.dtype == np.float32 else traces.astype(np.float32)


def _drop_unmade(traces: dict[str, np.ndarray | None], run: RunValues) -> list[Finding]:
    """Remove traces that Suite2p did not compute: it stores zeros in their place."""
    steps = {
        "spks": ("deconvolution", run.switched_off("spikedetect", "do_deconvolution", section="run")),
        "Fneu": ("neuropil", run.switched_off("neuropil_extract", section="extraction")),
    }
    findings = []
    for name, (step, off) in steps.items():
        if off and traces[name] is not None:
            traces[name] = None
            message = f"The run was made without {step}: the zeros in {name}.npy are no result, and are left out."
            findings.append(Finding(f"no-{step}", message, severity="info", where=str(run.folder)))
    return findings


def _labels(path: Path) -> np.ndarray | None:
    """Return ``(n_rois, 2)``: label and probability (NaN in files that hold labels only)."""
    if not path.is_file():
        return None
    stored = open_npy(path, ndim=(1, 2))
    if stored.ndim == 2 and stored.shape[1] not in (1, 2):
        raise FormatError(f"'{path}' holds an array of shape {stored.shape}. Expected (n_rois, 2): label and probability.")
    labels = np.array(stored, dtype=np.float64).reshape(len(stored), -1 if stored.size else 2)
    if labels.shape[1] == 1:
        labels = np.hstack([labels, np.full_like(labels, np.nan)])
    if not np.all(np.isfinite(labels[:, 0])):
        raise FormatError(f"'{path}' holds labels that are not numbers. Expected 0 or 1 per ROI. Restore the file.")
    return labels


def _check_one_run(folder: Path, n_rois: int, traces: dict[str, np.ndarray | None], labels: dict[str, np.ndarray | None]) -> None:
    n_frames = next((table.shape[1] for table in traces.values() if table is not None), 0)  # F is the first
    expected = (n_rois, n_frames)
    present = {name: table for name, table in {**traces, **labels}.items() if table is not None}
    faults = [f"{name}.npy has {len(table)} ROIs" for name, table in present.items() if len(table) != n_rois]
    faults += [
        f"{name}.npy has {present[name].shape[1]} frames"
        for name in traces
        if name in present and present[name].shape[1] != expected[1]
    ]
    if faults:
        raise FormatError(
            f"The files in '{folder}' are not of one run: {', '.join(faults)}. Expected {n_rois} ROIs as in stat.npy and "
            f"{expected[1]} frames as in F.npy. Copy all files of one run."
        )


def _tolerated(folder: Path, run: RunValues, n_frames: int) -> list[Finding]:
    where, findings = str(folder), []
    if not (folder / "iscell.npy").is_file():
        message = "iscell.npy is missing: all ROIs are taken for cells."
        findings.append(Finding("no-iscell", message, where=where, advice="Copy it from the run if there was a curation."))
    counted = sum(run.frames_per_file)
    if run.frames_per_file and counted != n_frames and n_frames:
        message = f"The run's files have {counted} frames, its traces {n_frames}."
        findings.append(Finding("frame-accounting", message, where=where, advice="Frames can't be given to trials from this."))
    return findings


def _facts(run: RunValues, plane: int) -> dict[str, Any]:
    return {
        "rate_hz": run.number("fs"),
        "tau_s": run.number("tau"),
        "neuropil_coefficient": run.number("neucoeff", "neuropil_coefficient", section="extraction"),
        "motion_recorded": "xoff" in run.values or "rigid_offsets" in run.values,
        "files": run.files,
        "frames_per_file": run.frames_per_file,
        "plane": plane,
    }
