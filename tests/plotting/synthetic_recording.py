"""A small all-optical recording made up for tests of plots and reports: signals, clock, image, ROIs and the three tables.

It is drawn from simple formulas, so that a test can say what a plot must show; it is not the package's simulator.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import make_cells_table, make_table
from packerlabimaging.core.signals import ArrayChannel, Signals

RATE_HZ = 29.75
NOMINAL_HZ = 30.19
SIGNAL_RATE_HZ = 5000.0
STIM_S = 0.5


def make_recording(
    *, n_cells: int = 14, n_frames: int = 900, shape: tuple[int, int] = (96, 128), n_stims: int = 5, seed: int = 0
):
    """Return the parts of a recording; the first third of the cells are targets and respond with 60 % dF/F."""
    rng = np.random.default_rng(seed)
    clock = FrameClock(1.5 + np.cumsum(rng.normal(1 / RATE_HZ, 2e-5, n_frames)))
    onsets = np.linspace(clock.starts_s[0] + 3.0, clock.starts_s[-1] - 5.0, n_stims)
    margin = 7
    centers = np.column_stack([rng.uniform(margin, size - margin, n_cells) for size in shape])
    rois = RoiSet.from_discs(centers, 4.5, shape)
    metadata = ImagingMetadata(
        frame_shape_px=shape, n_frames=n_frames, frame_rate_hz=NOMINAL_HZ, frame_rate_source="nominal",
        pixel_size_um=(1.2, 1.2), channels=("Ch3",), program="PrairieView", program_version="5.5",
    )  # fmt: skip
    n_targets = n_cells // 3
    artefact = clock.overlapping(onsets, onsets + STIM_S, guard_frames=1)
    cells = _cells(rng, rois, clock, metadata, onsets, n_targets, artefact)
    protocol = PhotostimProtocol(
        targets_px=np.column_stack([np.zeros(n_targets), centers[:n_targets] + 1.0]),
        image_shape_px=shape,
        groups=tuple(tuple(range(group, n_targets, 2)) for group in range(2)),
        rows=tuple(PhotostimRow(group, 10, 0.020, 0.005) for group in range(2)),
        n_stims=n_stims,
        spiral_diameter_um=10.0,
    )
    var = pd.DataFrame(
        {
            "trial": "t-001",
            "onset_s": onsets,
            "end_s": onsets + STIM_S,
            "frame": clock.frames_at(onsets)[0],
            "valid": True,
        },
        index=[f"t-001:stim-{index:03d}" for index in range(n_stims)],
    )
    image = rng.gamma(6.0, 8.0, shape) + 150.0 * (rois.to_labels() > 0)
    return SimpleNamespace(
        clock=clock, onsets=onsets, ends=onsets + STIM_S, rois=rois, metadata=metadata, cells=cells, protocol=protocol,
        image=image, signals=_signals(clock, onsets), responses=_responses(rng, cells, var, n_targets),
        targets=_targets(cells, var, protocol), n_targets=n_targets, shape=shape,
    )  # fmt: skip


def _cells(rng, rois, clock, metadata, onsets, n_targets, artefact):
    time = clock.starts_s
    decay = np.exp(-np.arange(90) / (0.6 * RATE_HZ))
    spikes = rng.poisson(0.01, (len(rois), len(time))) * 0.5
    dff = np.array([np.convolve(row, decay)[: len(time)] for row in spikes]) + rng.normal(0, 0.08, spikes.shape)
    for onset in onsets:
        after = time >= onset + STIM_S
        dff[:n_targets, after] += 0.6 * np.exp(-(time[after] - onset - STIM_S) / 0.8)
    F = 200 * (1 + dff)
    F[:, artefact] += 3000.0
    dff[:, artefact] = np.nan
    iscell = np.arange(len(rois)) < max(n_targets, int(0.9 * len(rois)))
    return make_cells_table(
        dff, rois=rois, clock=clock, trial="t-001", layers={"F": F}, artefact=artefact, metadata=metadata, iscell=iscell
    )


def _responses(rng, cells, var, n_targets):
    n_rois = cells.n_obs
    scores = rng.normal(0, 0.05, (n_rois, len(var)))
    scores[:n_targets] += 0.45
    obs = cells.obs[["plane", "y_px", "x_px", "iscell"]].copy()
    obs["excited"] = np.arange(n_rois) < n_targets
    obs["suppressed"] = np.arange(n_rois) == n_rois - 1
    obs["population"] = np.where(np.arange(n_rois) < n_targets, "target", "other")
    obs["response_mean"] = scores.mean(axis=1)
    obs["pvalue_adjusted"] = np.where(obs["excited"] | obs["suppressed"], 0.01, 0.6)
    return make_table("responses", scores, obs=obs, var=var, uns={"preset": "packerlab"})


def _targets(cells, var, protocol):
    n_targets = protocol.n_targets
    status = np.full(n_targets, "matched", object)
    status[-1] = "unmatched"
    distance = np.full(n_targets, 1.2 * np.sqrt(2.0))
    distance[-1] = np.nan
    obs = pd.DataFrame(
        {
            "y_px": protocol.targets_px[:, 1],
            "x_px": protocol.targets_px[:, 2],
            "status": status,
            "roi": [name if kind == "matched" else "" for name, kind in zip(cells.obs_names, status, strict=False)],
            "distance_um": distance,
            "group": [str(groups[0]) for groups in protocol.group_of_target],
        },
        index=list(protocol.target_ids),
    )
    return make_table("targets", np.full((n_targets, len(var)), 0.4), obs=obs, var=var)


def _signals(clock, onsets):
    n_samples = int((clock.ends_s[-1] + 1.0) * SIGNAL_RATE_HZ)
    time = np.arange(n_samples) / SIGNAL_RATE_HZ
    ticks = np.zeros(n_samples, np.float32)
    starts = np.searchsorted(time, clock.starts_s)
    for sample in range(20):
        ticks[starts + sample] = 3.3
    stim = np.zeros(n_samples, np.float32)
    stim[np.searchsorted(time, onsets)] = 5.0  # one sample: must stay visible
    voltage = np.sin(time).astype(np.float32)
    channels = {"frame_clock": ticks, "markpoints2packio": stim, "voltage": voltage}
    return Signals([ArrayChannel(name, values, rate_hz=SIGNAL_RATE_HZ, unit="V") for name, values in channels.items()])
