"""The cells table: what stands where, and that artefact frames reach nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from packerlabimaging._provenance import history
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import check_table
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import ParameterError
from packerlabimaging.preprocessing import DffSettings, NeuropilSettings, build_cells

SHAPE = (40, 60)
METADATA = ImagingMetadata(frame_shape_px=SHAPE, pixel_size_um=(1.5, 2.0))
ROIS = RoiSet.from_discs(np.array([[10.0, 10.0], [20.0, 40.0], [30.0, 20.0]]), 3.0, SHAPE)


def make_segmentation(n_frames=900, seed=0, **changes):
    rng = np.random.default_rng(seed)
    Fneu = rng.normal(80, 2, (3, n_frames)).astype(np.float32)
    values = {
        "rois": ROIS,
        "F": (100 + 0.7 * (Fneu - 80) + rng.normal(0, 3, Fneu.shape)).astype(np.float32),
        "Fneu": Fneu,
        "spks": rng.random(Fneu.shape).astype(np.float32),
        "iscell": np.array([True, False, True]),
        "obs": pd.DataFrame({"iscell_probability": [0.9, 0.1, 0.8]}),
    }
    return Segmentation(**{**values, **changes})


def build(segmentation=None, **changes):
    segmentation = segmentation or make_segmentation()
    options = {"trial": "t-001", "clock": FrameClock.nominal(segmentation.n_frames, 30.0), "metadata": METADATA, **changes}
    return build_cells(segmentation, **options)


def mask_of(*frames, n=900):
    mask = np.zeros(n, bool)
    mask[list(frames)] = True
    return mask


def test_holds_what_it_says():
    cells = build(artefact=mask_of(100, 101))
    check_table(cells, "cells")
    assert set(cells.layers) - {None} == {"F", "Fneu", "spks", "F0"}  # newer anndata lists X as None
    for column in ("noise", "f0_low", "neuropil_coefficient", "offset", "iscell_probability"):
        assert column in cells.obs
    assert cells.obs["iscell"].tolist() == [True, False, True]
    assert np.flatnonzero(cells.var["artefact"]).tolist() == [100, 101]
    assert np.isnan(cells.X[:, 100:102]).all() and np.isfinite(np.delete(cells.X, [100, 101], axis=1)).all()
    assert np.isnan(cells.layers["spks"][:, 100]).all()
    assert np.isfinite(cells.layers["F"]).all()
    assert history(cells)[0]["parameters"]["neuropil"]["coefficient"] == 0.7


def test_dff_is_that_of_the_documented_formula():
    segmentation = make_segmentation()
    cells = build(segmentation, neuropil=NeuropilSettings(rebaseline=True), dff=DffSettings(baseline="percentile", percentile=30))
    Fneu = segmentation.Fneu.astype(float)
    corrected = segmentation.F - 0.7 * Fneu + 0.7 * np.median(Fneu, axis=1, keepdims=True)
    f0 = np.percentile(corrected, 30, axis=1, keepdims=True)
    assert np.allclose(cells.X, corrected / f0 - 1, atol=1e-4)
    assert np.allclose(cells.obs["f0"], f0[:, 0], rtol=1e-5)
    plain = build(
        segmentation, neuropil=NeuropilSettings(rebaseline=False), dff=DffSettings(baseline="percentile", percentile=30)
    )
    assert np.allclose(plain.obs["f0"], np.percentile(segmentation.F - 0.7 * Fneu, 30, axis=1), rtol=1e-4)
    assert plain.obs["offset"].tolist() == [0, 0, 0]


def test_artefact_frames_reach_nothing_else():
    artefact = mask_of(50, 51, 400)
    clean = build(make_segmentation(), artefact=artefact, neuropil=NeuropilSettings(coefficient="fit"))
    poisoned_input = make_segmentation()
    for traces in (poisoned_input.F, poisoned_input.Fneu, poisoned_input.spks):
        traces[:, artefact] = 1e9
    poisoned = build(poisoned_input, artefact=artefact, neuropil=NeuropilSettings(coefficient="fit"))
    assert np.array_equal(poisoned.X, clean.X, equal_nan=True)
    pd.testing.assert_frame_equal(poisoned.obs, clean.obs)


def test_keep_leaves_the_values_at_artefact_frames():
    cells = build(artefact=mask_of(50), dff=DffSettings(artefact="keep"))
    assert np.isfinite(cells.X).all()


def test_without_neuropil_or_spikes():
    cells = build(make_segmentation(Fneu=None, spks=None))
    assert set(cells.layers) - {None} == {"F", "F0"}
    assert cells.obs["neuropil_coefficient"].tolist() == [0, 0, 0]
    assert not cells.uns["packerlabimaging"]["neuropil_subtracted"]


def test_names_both_frame_counts_where_they_differ():
    with pytest.raises(ParameterError, match="'t-001' have 900 frames and its frame clock 899"):
        build(clock=FrameClock.nominal(899, 30.0))
    with pytest.raises(ParameterError, match="artefact has 3 items. Expected 900"):
        build(artefact=np.zeros(3, bool))


@pytest.mark.parametrize("rebaseline", [True, False])
@pytest.mark.parametrize("fneu", [True, False])
def test_a_known_dark_level_makes_no_difference_to_dff(rebaseline, fneu):
    settings = NeuropilSettings(rebaseline=rebaseline)
    clean, lifted = make_segmentation(), make_segmentation()
    lifted.F[...] += 100
    lifted.Fneu[...] += 100
    if not fneu:
        clean, lifted = (replace(each, Fneu=None) for each in (clean, lifted))
    dark = DffSettings(dark_level=100.0)
    expected = build(clean, neuropil=settings)
    np.testing.assert_allclose(build(lifted, neuropil=settings, dff=dark).X, expected.X, rtol=1e-3, atol=1e-4)
    assert not np.allclose(build(lifted, neuropil=settings).X, expected.X, rtol=0.05)
