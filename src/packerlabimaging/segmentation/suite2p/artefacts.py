"""What Suite2p computes from traces, once more without the frames that stimulation light reached.

Suite2p leaves bad frames out of detection, but not out of deconvolution, nor out of the statistics by which it tells cells
from other ROIs: the skewness of a trace with light artefacts is that of the artefacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.io.suite2p.rois import read_stat

_BLOCK_FRAMES = 500
"""Frames that Suite2p's ``bin_movie`` takes at a time; it keeps the bad ones where they are half of them or more."""


def recompute(suite2p: ModuleType, plane: Path, mask: np.ndarray, settings: Mapping[str, Any]) -> None:
    """Deconvolve and classify again with artefact frames left out; replaces ``spks.npy``, ``stat.npy`` and ``iscell.npy``.

    Parameters
    ----------
    suite2p
        The module.
    plane
        Folder of a finished plane.
    mask
        Artefact frames, boolean ``(n_frames,)``.
    settings
        Those that Suite2p ran with.

    Notes
    -----
    For deconvolution masked frames are bridged by a straight line; ``F.npy`` stays as measured. Statistics and formulas are
    Suite2p's (``pipeline_s2p``): skewness and standard deviation of ``F - c Fneu``, and 1 - var(differences) / 2 var as SNR.
    """
    from scipy.stats import skew

    F, Fneu = np.load(plane / "F.npy"), np.load(plane / "Fneu.npy")
    corrected = F - settings["extraction"]["neuropil_coefficient"] * Fneu
    valid = corrected[:, ~mask]
    neighbours = ~(mask[1:] | mask[:-1])
    noise = np.diff(corrected, axis=1)[:, neighbours].var(axis=1)
    spread = valid.var(axis=1)
    statistics = {
        "snr": 1 - 0.5 * np.divide(noise, spread, out=np.full_like(spread, np.nan), where=spread > 0),
        "skew": skew(valid, axis=1),
        "std": np.sqrt(spread),
    }
    stat = read_stat(plane / "stat.npy")
    for index, roi in enumerate(stat):
        roi.update({name: values[index] for name, values in statistics.items()})
    np.save(plane / "stat.npy", np.array(stat, dtype=object))
    classifier = settings["classification"]["classifier_path"] or suite2p.classification.builtin_classfile
    np.save(plane / "iscell.npy", suite2p.classification.classify(stat=stat, classfile=classifier))
    if settings["run"]["do_deconvolution"]:
        np.save(plane / "spks.npy", _deconvolved(suite2p, bridged(corrected, mask), settings))


def bridged(traces: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return traces ``(roi, time)`` with masked frames on a straight line between their neighbours; float32."""
    frames = np.arange(traces.shape[1])
    filled = traces.astype(np.float32, copy=True)
    for row in filled:
        row[mask] = np.interp(frames[mask], frames[~mask], row[~mask])
    return filled


def artefact_findings(mask: np.ndarray, folder: Path) -> list[Finding]:
    """Say what artefact frames mean for the results of a run."""
    findings = [
        Finding(
            "artefact-frames",
            f"{int(mask.sum())} of {len(mask)} frames are artefacts: left out of detection and classification; deconvolved "
            "activity there is from fluorescence that was bridged by a straight line.",
            severity="info",
            where=str(folder),
            advice="Leave the artefact frames out of averages.",
        )
    ]
    block = min(int((~mask).sum()), _BLOCK_FRAMES)
    crowded = [start for start in range(0, len(mask), max(block, 1)) if mask[start : start + block].mean() >= 0.5]
    if crowded:
        message = (
            f"In {len(crowded)} stretches of {block} frames at least half are artefacts; Suite2p then does not leave them "
            "out of detection."
        )
        findings.append(Finding("artefacts-in-detection", message, where=str(folder), evidence={"first_frames": crowded[:20]}))
    return findings


def _deconvolved(suite2p: ModuleType, traces: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    import torch

    batch, rate_hz = settings["extraction"]["batch_size"], settings["fs"]
    preprocess, oasis = suite2p.extraction.preprocess, suite2p.extraction.oasis
    device = torch.device(settings["torch_device"])
    traces = preprocess(F=traces, fs=rate_hz, batch_size=batch, device=device, **settings["dcnv_preprocess"])
    return np.asarray(oasis(F=traces, batch_size=batch, tau=settings["tau"], fs=rate_hz))
