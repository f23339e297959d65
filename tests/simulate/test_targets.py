from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.simulate import SimulationParameters
from packerlabimaging.simulate.movie import SimulatedRecording
from packerlabimaging.simulate.scene import make_scene
from packerlabimaging.simulate.targets import DRIVE_THRESHOLD, make_photostimulation


def test_groups_share_targets_of_every_kind(standard: SimulatedRecording):
    stimulation = standard.photostimulation
    assert [len(group) for group in stimulation.groups] == [9, 9, 9, 9]
    assert sorted(target for group in stimulation.groups for target in group) == list(range(36))
    for number, group in enumerate(stimulation.groups):
        cells = stimulation.cell_of_target[list(group)]
        assert (cells == -1).sum() == 1
        assert (stimulation.response_dff[cells[cells >= 0], number] == 0).sum() == 1  # one unresponsive


def test_targets_lie_on_their_cells(standard: SimulatedRecording):
    stimulation, scene = standard.photostimulation, standard.scene
    with_cell = stimulation.cell_of_target >= 0
    centers = scene.centers_px[stimulation.cell_of_target[with_cell]]
    off_um = (stimulation.targets_px[with_cell] - centers) * 1.7
    assert with_cell.sum() == 32 and np.abs(off_um).max() < 4.5
    assert 0.6 < off_um.std() < 1.5
    assert len(set(stimulation.cell_of_target[with_cell])) == 32


def test_network_cells_are_not_targeted_and_not_lit(standard: SimulatedRecording):
    stimulation = standard.photostimulation
    cells, _ = np.nonzero(stimulation.network)
    assert len(cells) == 12
    assert not np.isin(cells, stimulation.cell_of_target).any()
    assert stimulation.drive[cells].max() < DRIVE_THRESHOLD
    assert (stimulation.response_dff[stimulation.network] > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_drive_halves_at_the_half_width_and_stops_below_the_threshold(seed: int):
    parameters = SimulationParameters.of_size("standard", seed=seed, n_network_cells=0)
    stimulation = make_photostimulation(parameters, make_scene(parameters))
    expected = stimulation.opsin[:, None] * 2.0 ** -((stimulation.distance_um / parameters.ppsf_half_width_um) ** 2)
    alone = stimulation.distance_um < 15  # where one target of the group gives all the light
    assert np.allclose(stimulation.drive[alone], expected[alone], atol=0.05)
    assert np.array_equal(stimulation.response_dff > 0, stimulation.drive >= DRIVE_THRESHOLD)
