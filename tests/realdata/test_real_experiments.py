"""Real recordings become experiments; skipped, visibly, where they are not at hand."""

from __future__ import annotations

import numpy as np
import pytest

import packerlabimaging as pli

pytestmark = pytest.mark.realdata


def test_a_real_suite2p_folder_becomes_an_experiment(realdata, tmp_path):
    folder = realdata / "pynapple-org__pynapple" / "suite2p"
    experiment = pli.Experiment("pynapple", output=tmp_path / "out").add(pli.TwoPhotonImagingTrial("day-1"))
    experiment.run(segmentation=folder, progress=False)
    cells = experiment["day-1"].cells
    assert cells.shape == (219, 2000)
    iscell = np.load(folder / "plane0" / "iscell.npy")
    np.testing.assert_array_equal(cells.obs["iscell"], iscell[:, 0] > 0)
    np.testing.assert_allclose(cells.obs["iscell_probability"], iscell[:, 1], rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(cells.layers["F"]), np.load(folder / "plane0" / "F.npy"))
    dff = np.asarray(cells.X)
    trusted = ~cells.obs["f0_low"].to_numpy(bool)
    assert np.isfinite(dff[trusted]).all() and np.abs(dff[trusted]).max() < 100
    assert experiment["day-1"].frame_clock.rate_hz == pytest.approx(10.0)
    assert experiment["day-1"].frame_clock.source == "nominal"
    axes = pli.pl.traces(cells)
    assert axes is not None
    page = pli.report(experiment).read_text(encoding="utf-8")
    assert "pynapple" in page and "<img" in page
