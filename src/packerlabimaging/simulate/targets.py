"""Which cells are photostimulated, and how strongly each cell is driven by each group of targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.simulate.parameters import SimulationParameters
from packerlabimaging.simulate.scene import Scene
from packerlabimaging.simulate.timeline import random_generator

DRIVE_THRESHOLD = 0.3
"""Drive (opsin expression times light, 1 = a well-expressing cell exactly on target) below which a cell fires no spike."""
NETWORK_LATENCY_S = 0.03
"""Delay of network-driven spikes after the light that causes them."""
DIRECT_LATENCY_S = 0.01
"""Delay of light-evoked spikes after the onset of their shot."""


@dataclass(frozen=True, eq=False)
class Photostimulation:
    """Targets and what they do to the cells.

    Parameters
    ----------
    targets_px
        ``(y, x)`` in frame coordinates, shape ``(n_targets, 2)``.
    cell_of_target
        Number of the cell that each target was put on, -1 where there is none, shape ``(n_targets,)``.
    groups
        Target numbers of each group.
    opsin
        Opsin expression of each cell, 0 to about 1.3, shape ``(n_cells,)``.
    distance_um
        From each cell to the nearest target of each group, ``(n_cells, n_groups)``.
    drive
        Opsin times summed light of the group, ``(n_cells, n_groups)``.
    response_dff
        Peak dF/F that each group evokes in each cell where it does not fail, ``(n_cells, n_groups)``; 0 = not driven.
    network
        Where the response is through the network, ``(n_cells, n_groups)``; elsewhere it is by light.
    """

    targets_px: np.ndarray
    cell_of_target: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    opsin: np.ndarray
    distance_um: np.ndarray
    drive: np.ndarray
    response_dff: np.ndarray
    network: np.ndarray


def make_photostimulation(parameters: SimulationParameters, scene: Scene) -> Photostimulation:
    """Choose targets, form groups, and compute the drive of every cell by distance and opsin expression."""
    rng = random_generator(parameters, "targets")
    n_cells, n_targets = parameters.n_cells, parameters.n_targets
    n_unresponsive = parameters.n_unresponsive_targets
    opsin, cells = _express(parameters, rng)
    cell_of_target = np.concatenate([cells, np.full(parameters.n_empty_targets, -1, dtype=int)])
    jitter_px = rng.normal(0.0, parameters.target_jitter_um, (len(cells), 2)) / parameters.pixel_size_um
    positions = np.concatenate([scene.centers_px[cells] + jitter_px, scene.empty_px])
    # deal targets out in turn, so that every group has its share of empty and of unresponsive targets
    kind = np.repeat([0, 1, 2], [n_unresponsive, len(cells) - n_unresponsive, parameters.n_empty_targets])
    turn = np.lexsort((rng.random(n_targets), kind))
    group_of = np.empty(n_targets, dtype=int)
    group_of[turn] = np.arange(n_targets) % parameters.n_groups
    order = np.lexsort((rng.random(n_targets), group_of))
    groups = tuple(tuple(np.flatnonzero(group_of[order] == group).tolist()) for group in range(parameters.n_groups))
    positions, cell_of_target = positions[order], cell_of_target[order]

    apart_um = np.linalg.norm((scene.centers_px[:, None] - positions[None]) * parameters.pixel_size_um, axis=2)
    light = 0.5 ** ((apart_um / parameters.ppsf_half_width_um) ** 2)
    distance = np.stack([apart_um[:, list(group)].min(axis=1) for group in groups], axis=1)
    summed = np.stack([light[:, list(group)].sum(axis=1) for group in groups], axis=1)
    drive = opsin[:, None] * np.minimum(summed, 1.0)
    size = parameters.response_dff * rng.lognormal(0.0, parameters.response_sigma, n_cells)
    response = np.where(drive >= DRIVE_THRESHOLD, size[:, None] * drive, 0.0)
    network = np.zeros(response.shape, bool)
    undriven = np.setdiff1d(np.flatnonzero(~response.any(axis=1)), cell_of_target)
    chosen = rng.permutation(undriven)[: parameters.n_network_cells]
    network[chosen, rng.integers(0, len(groups), len(chosen))] = True
    size = parameters.network_response_dff * rng.lognormal(0.0, parameters.response_sigma, n_cells)
    response = np.where(network, size[:, None], response)
    return Photostimulation(positions, cell_of_target, groups, opsin, distance, drive, response, network)


def _express(parameters: SimulationParameters, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return each cell's opsin expression and the targeted cells, those that won't respond first."""
    n_cells, n_unresponsive = parameters.n_cells, parameters.n_unresponsive_targets
    n_responsive = parameters.n_targets - parameters.n_empty_targets - n_unresponsive
    cells = rng.permutation(n_cells)
    n_expressing = int(np.clip(round(parameters.opsin_fraction * n_cells), n_responsive, n_cells - n_unresponsive))
    expressing, others = cells[:n_expressing], cells[n_expressing:]
    opsin = np.empty(n_cells)
    opsin[expressing] = rng.uniform(0.7, 1.3, len(expressing))
    opsin[others] = rng.uniform(0.0, 0.25, len(others))
    return opsin, np.concatenate([others[:n_unresponsive], expressing[:n_responsive]])
