"""What a simulated experiment is made of: every number of the model, with its unit, in one frozen object.

Three sizes are named. ``"standard"`` is the fixed benchmark of the package; ``"tiny"`` is for tests; any other experiment
is one of them with some values changed: counts that are not given follow the size of the field of view and the length of
the recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from packerlabimaging._check import check_choice, check_positive, did_you_mean
from packerlabimaging.errors import ParameterError

# fmt: off
_MAY_BE_ZERO = {
    "seed", "dim_fraction", "overlapping_fraction", "silent_fraction", "opsin_fraction", "n_out_of_focus", "n_neuropil",
    "neuropil_photons", "clock_jitter_s", "read_noise_counts", "offset_counts", "neuropil_dff", "motion_px", "drift_px",
    "bleaching", "n_empty_targets", "n_unresponsive_targets", "n_network_cells", "baseline_s", "inter_shot_s",
    "target_jitter_um", "failure_probability", "artefact_photons", "minimal_effect_dff", "active_sd_dff", "n_live_pulses",
    "max_extra_pulses",
}
# fmt: on

BIT_DEPTH = 13
"""Bits per sample of the digitiser (Bruker's PrairieView stores 13-bit samples in 16-bit files)."""

RESPONSE_WINDOW_S = 0.5
"""Length of the windows before a stim's onset and after its last light (the lab's published convention)."""


@dataclass(frozen=True, kw_only=True)
class SimulationParameters:
    """All parameters of a simulated all-optical experiment; the defaults are the ``"standard"`` size.

    Parameters
    ----------
    seed
        Everything random follows from it.
    frame_shape_px, pixel_size_um
        ``(height, width)`` of a frame, and ``(y, x)`` size of a pixel.
    n_frames
        Frames that are saved.
    nominal_rate_hz, true_rate_hz
        Frames per second as the microscope's program states it, and as the hardware clock shows it. They differ on
        real rigs (RL109: 30.19 against 29.75), so that ``frame / nominal rate`` drifts.
    clock_jitter_s
        Standard deviation of the start of each frame about the regular grid.
    n_cells
        Cells in the imaging plane.
    dim_fraction, overlapping_fraction, silent_fraction, opsin_fraction
        Fractions of the cells that are dim, overlap another cell, hardly ever spike by themselves, express opsin.
    n_out_of_focus
        Blurred cells above and below the plane.
    n_neuropil
        Independent spatial components of the neuropil.
    cell_diameter_um
        Mean diameter of a soma.
    bright_photons, dim_photons
        Mean photons per pixel and frame from the resting soma of a bright and of a dim cell (median over cells; the
        cells spread by 20 %).
    neuropil_photons
        Mean photons per pixel and frame from the resting neuropil. Somata displace 30 % of it.
    gain_counts, read_noise_counts, offset_counts
        Digitiser counts per photon, standard deviation of the electronic noise, and counts in the dark.
    rise_s, decay_s
        Time constants of a calcium transient (medians; the decay spreads by 15 % over cells).
    spike_dff, saturation_dff
        Peak dF/F of one spike, and the dF/F at which the indicator saturates.
    burst_rate_hz
        Spontaneous bursts per second (median over cells, lognormal with sigma 0.5; a tenth of it in silent cells).
    neuropil_dff
        Standard deviation of the neuropil's dF/F, about half of it shared by the whole field of view.
    motion_px, drift_px
        Standard deviation of the rigid brain motion in each direction, and the total slow drift over the recording.
    bleaching
        Fraction of the fluorescence lost by the end of the recording.
    n_targets, n_groups, n_stims
        Photostimulation targets, groups (patterns) that they are divided into, and deliveries of the protocol.
    n_empty_targets, n_unresponsive_targets
        Targets with no cell, and targets whose cell expresses too little opsin to respond.
    n_network_cells
        Cells that respond to a group without being targeted.
    baseline_s, stim_interval_s
        Time from the first frame to the first stim, and from one stim to the next.
    n_shots, shot_duration_s, inter_shot_s
        Shots per group, light and dark time of each. Groups follow each other without a pause.
    spiral_diameter_um, target_jitter_um
        Size of the light on each target, and standard deviation of target positions about the cells' centres.
    ppsf_half_width_um
        Lateral distance from a target at which the light drives a cell half as well.
    response_dff, response_sigma
        Median peak dF/F of a fully driven cell and sigma of its lognormal spread over cells.
    network_response_dff
        The median for network-driven cells.
    failure_probability
        Probability that a driven cell does not respond to a stim (twice that for network-driven cells).
    artefact_photons
        Photons per pixel that stimulation light adds to the lines scanned while it is on.
    minimal_effect_dff
        Windowed response (``effect_dff`` of the truth's cells) from which a driven cell counts for sensitivity.
    active_sd_dff
        Standard deviation of a cell's noise-free dF/F over the frames without light, from which it counts as active.
    sync_rate_hz
        Sampling rate of the ``.paq`` file.
    n_live_pulses, max_extra_pulses
        Frame pulses of the live scan before the recording; largest number of pulses after the last saved frame.
    trial, experiment_id
        Names.
    """

    seed: int = 0
    frame_shape_px: tuple[int, int] = (512, 512)
    pixel_size_um: tuple[float, float] = (1.7, 1.7)
    n_frames: int = 3000
    nominal_rate_hz: float = 30.0
    true_rate_hz: float = 29.75
    clock_jitter_s: float = 5e-5
    n_cells: int = 160
    dim_fraction: float = 0.2
    overlapping_fraction: float = 0.1
    silent_fraction: float = 0.1
    opsin_fraction: float = 0.8
    n_out_of_focus: int = 180
    n_neuropil: int = 8
    cell_diameter_um: float = 13.0
    bright_photons: float = 2.6
    dim_photons: float = 1.3
    neuropil_photons: float = 0.5
    gain_counts: float = 60.0
    read_noise_counts: float = 20.0
    offset_counts: float = 100.0
    rise_s: float = 0.05
    decay_s: float = 0.7
    spike_dff: float = 0.2
    saturation_dff: float = 6.0
    burst_rate_hz: float = 0.18
    neuropil_dff: float = 0.08
    motion_px: float = 0.7
    drift_px: float = 1.0
    bleaching: float = 0.05
    n_targets: int = 36
    n_groups: int = 4
    n_stims: int = 20
    n_empty_targets: int = 4
    n_unresponsive_targets: int = 4
    n_network_cells: int = 12
    baseline_s: float = 8.0
    stim_interval_s: float = 4.5
    n_shots: int = 5
    shot_duration_s: float = 0.020
    inter_shot_s: float = 0.005
    spiral_diameter_um: float = 10.0
    target_jitter_um: float = 1.0
    ppsf_half_width_um: float = 8.0
    response_dff: float = 0.8
    response_sigma: float = 0.5
    network_response_dff: float = 0.5
    failure_probability: float = 0.1
    artefact_photons: float = 8.0
    minimal_effect_dff: float = 0.15
    active_sd_dff: float = 0.1
    sync_rate_hz: float = 20000.0
    n_live_pulses: int = 90
    max_extra_pulses: int = 20
    trial: str = "t-001"
    experiment_id: str = "SIM001"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name not in ("frame_shape_px", "pixel_size_um", "trial", "experiment_id"):
                check_positive(name, value, zero=name in _MAY_BE_ZERO)
        for name in ("frame_shape_px", "pixel_size_um"):
            pair = getattr(self, name)
            if len(pair) != 2 or min(pair) <= 0:
                raise ParameterError(f"{name} = {pair!r} is not possible. Give two positive numbers, (y, x).")
        for name in ("dim_fraction", "overlapping_fraction", "silent_fraction", "opsin_fraction", "bleaching"):
            if getattr(self, name) > 1:
                raise ParameterError(f"{name} = {getattr(self, name)!r} is out of range. Give a fraction from 0 to 1.")
        self._check_fit()

    def _check_fit(self) -> None:
        """Check that the protocol fits the cells and the recording."""
        if self.n_frames < 2:
            raise ParameterError(f"n_frames = {self.n_frames} is too few. Give at least 2.")
        if self.n_targets - self.n_empty_targets > self.n_cells:
            raise ParameterError(
                f"{self.n_targets - self.n_empty_targets} targets with a cell need as many cells; n_cells = {self.n_cells}. "
                "Lower n_targets or raise n_cells."
            )
        if self.n_empty_targets + self.n_unresponsive_targets > self.n_targets:
            raise ParameterError(
                f"n_empty_targets + n_unresponsive_targets = {self.n_empty_targets + self.n_unresponsive_targets} is more "
                f"than n_targets = {self.n_targets}."
            )
        if self.n_groups > self.n_targets:
            raise ParameterError(f"n_targets = {self.n_targets} targets can't form n_groups = {self.n_groups} groups.")
        if self.n_stims > max_stims(vars(self)):
            raise ParameterError(
                f"n_stims = {self.n_stims} stims don't fit into {self.n_frames / self.true_rate_hz:.1f} s: the last one must end "
                f"{RESPONSE_WINDOW_S} s before the recording. Give at most {max_stims(vars(self))}, or more frames."
            )
        if self.n_stims > 1 and self.stim_interval_s < self.stim_duration_s + 2 * RESPONSE_WINDOW_S:
            raise ParameterError(
                f"stim_interval_s = {self.stim_interval_s:g} is too short for stims of {self.stim_duration_s:g} s and windows "
                f"of {RESPONSE_WINDOW_S} s on both sides. Give a longer interval or fewer, shorter shots."
            )

    @property
    def stim_duration_s(self) -> float:
        """Length of one stim, from the trigger to the end of the last group's last shot interval, seconds."""
        return self.n_groups * self.n_shots * (self.shot_duration_s + self.inter_shot_s)

    @property
    def cell_diameter_px(self) -> float:
        """Mean soma diameter in pixels (geometric mean of both directions)."""
        return self.cell_diameter_um / float(np.sqrt(self.pixel_size_um[0] * self.pixel_size_um[1]))

    @classmethod
    def of_size(cls, size: str = "standard", **overrides: Any) -> SimulationParameters:
        """Return the parameters of a named size, with some of them changed.

        Parameters
        ----------
        size
            ``"standard"`` or ``"tiny"``.
        overrides
            Values to change. Counts that are not given follow: cells the area of the field of view, targets and network
            cells the number of cells, stims the length of the recording.

        Raises
        ------
        ParameterError
            If the size or a name is unknown, or the values don't fit each other.
        """
        base: dict[str, Any] = {field.name: field.default for field in fields(cls)}
        base.update(SIZES[check_choice("size", size, tuple(SIZES))])
        unknown = [name for name in overrides if name not in base]
        if unknown:
            hints = " ".join(f"'{name}' is not a parameter of the simulation.{did_you_mean(name, base)}" for name in unknown)
            raise ParameterError(f"{hints} See SimulationParameters for all names.")
        values = base | overrides
        _scale_counts(values, base, set(overrides))
        return cls(**values)


_TINY: dict[str, Any] = {
    "frame_shape_px": (96, 128),
    "n_frames": 600,
    "n_cells": 12,
    "n_out_of_focus": 6,
    "n_neuropil": 3,
    "n_targets": 6,
    "n_groups": 2,
    "n_stims": 10,
    "n_empty_targets": 1,
    "n_unresponsive_targets": 1,
    "n_network_cells": 1,
    "baseline_s": 2.0,
    "stim_interval_s": 1.75,
    "sync_rate_hz": 5000.0,
    "n_live_pulses": 15,
}

SIZES: Mapping[str, Mapping[str, Any]] = {"standard": {}, "tiny": _TINY}
"""What each named size changes of the defaults."""


def max_stims(values: Mapping[str, Any]) -> int:
    """Return how many stims fit into the recording, each with its response window after it."""
    duration_s = values["n_groups"] * values["n_shots"] * (values["shot_duration_s"] + values["inter_shot_s"])
    last_s = values["n_frames"] / values["true_rate_hz"] - values["baseline_s"] - duration_s - RESPONSE_WINDOW_S - 0.1
    return 0 if last_s < 0 else int(last_s / values["stim_interval_s"]) + 1


def _scale_counts(values: dict[str, Any], base: Mapping[str, Any], given: set[str]) -> None:
    """Let counts that were not given follow the area, the number of cells and the length of the recording."""

    def area_um2(of: Mapping[str, Any]) -> float:
        return float(np.prod(of["frame_shape_px"]) * np.prod(of["pixel_size_um"]))

    def follow(names: tuple[str, ...], ratio: float) -> None:
        for name in names:
            if name not in given and ratio != 1:
                values[name] = max(1, round(base[name] * ratio))

    follow(("n_cells", "n_out_of_focus"), area_um2(values) / area_um2(base))
    follow(("n_targets", "n_empty_targets", "n_unresponsive_targets", "n_network_cells"), values["n_cells"] / base["n_cells"])
    if "n_groups" not in given:
        values["n_groups"] = min(base["n_groups"], values["n_targets"])
    if "n_targets" in given:
        for name in ("n_empty_targets", "n_unresponsive_targets"):
            if name not in given:
                values[name] = min(values[name], values["n_targets"] // 4)
    if "n_stims" not in given and given & {"n_frames", "baseline_s", "stim_interval_s", "true_rate_hz", "n_groups", "n_shots"}:
        values["n_stims"] = max_stims(values)
