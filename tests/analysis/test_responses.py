"""Response tables: scores against a loop written from the definition, what is not scored, and calls on known truth."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from packerlabimaging import analysis as tl
from packerlabimaging._provenance import UNS_KEY, history
from packerlabimaging.analysis import match_targets
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import check_table
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import ParameterError, SchemaError, TooFewShamsError
from packerlabimaging.preprocessing import NeuropilSettings, build_cells

SHAPE = (100, 200)
RATE = 30.0
LIGHT_S = 0.5
N_DRIVEN = 4


def compute_responses(*args, **options):
    """The published preset, which needs no time without light; the default's calls are tested in test_calling.py."""
    return tl.compute_responses(*args, **{"preset": "packerlab", **options})


def compute_target_responses(*args, **options):
    return tl.compute_target_responses(*args, **{"preset": "packerlab", **options})


def make_cells(n_rois=12, n_stims=20, interval_s=5.0, seed=0, iscell=None, **changes):
    """Noise, neuropil, and a step of 30 % in the first four ROIs after each stim; returns the table and the stims."""
    rng = np.random.default_rng(seed)
    clock = FrameClock(2.0 + np.cumsum(rng.normal(1 / RATE, 1e-4, int((n_stims + 2) * interval_s * RATE))))
    onsets = clock.starts_s[0] + 4.0 + np.arange(n_stims) * interval_s + 0.0123
    Fneu = rng.normal(60, 3, (n_rois, len(clock))).astype(np.float32)
    F = 100 + 0.7 * (Fneu - 60) + rng.normal(0, 6, Fneu.shape)
    artefact = clock.overlapping(onsets, onsets + LIGHT_S, guard_frames=1)
    for onset in onsets:
        F[:N_DRIVEN, (clock.starts_s >= onset) & (clock.starts_s < onset + 2.0)] += 30
    rois = RoiSet.from_discs(np.column_stack([np.full(n_rois, 50), 10 + 14 * np.arange(n_rois)]), 4.0, SHAPE)
    segmentation = Segmentation(rois=rois, F=F.astype(np.float32), Fneu=Fneu, iscell=iscell)
    metadata = ImagingMetadata(frame_shape_px=SHAPE, pixel_size_um=(1.0, 1.0))
    neuropil = NeuropilSettings(rebaseline=True)  # F0 is then 100, and the step 30 %
    cells = build_cells(segmentation, trial="t-001", clock=clock, metadata=metadata, artefact=artefact, neuropil=neuropil)
    stims = pd.DataFrame(
        {"onset_s": onsets, "end_s": onsets + LIGHT_S, "group": 0}, index=[f"t-001:stim-{i:03d}" for i in range(n_stims)]
    )
    return cells, stims.assign(**changes)


def test_scores_equal_a_loop_written_from_the_definition():
    cells, stims = make_cells(n_rois=5, n_stims=6)
    table = compute_responses(cells, stims)
    check_table(table, "responses")
    times, artefact = cells.var["time_s"].to_numpy(), cells.var["artefact"].to_numpy()
    for roi in range(5):
        neuropil = cells.layers["Fneu"][roi].astype(float)
        F = cells.layers["F"][roi] - 0.7 * neuropil + 0.7 * np.median(neuropil[~artefact])
        for stim, (onset, end) in enumerate(zip(stims["onset_s"], stims["end_s"], strict=True)):
            onset_frame = times[times <= onset].max()
            pre = F[(times >= onset - 0.5) & (times < onset_frame) & ~artefact]
            post = F[(times >= end) & (times < end + 0.5) & ~artefact]
            assert table.X[roi, stim] == pytest.approx((post.mean() - pre.mean()) / pre.mean(), rel=1e-4, abs=1e-6)
            z = (post.mean() - pre.mean()) / pre.std()
            assert table.layers["z"][roi, stim] == pytest.approx(z, rel=1e-4, abs=1e-5)
            assert table.layers["responded"][roi, stim] == (abs(z) >= 2)


def test_driven_cells_are_called_and_others_not():
    cells, stims = make_cells()
    table = compute_responses(cells, stims)
    assert table.obs["excited"].tolist() == [True] * N_DRIVEN + [False] * (12 - N_DRIVEN)
    assert np.allclose(table.obs["response_mean"][:N_DRIVEN], 0.3, atol=0.03)
    assert (table.obs["ci_low"] < table.obs["response_mean"]).all()
    assert (table.obs["response_probability"][:N_DRIVEN] > 0.9).all()
    own = table.uns[UNS_KEY]
    assert own["preset"] == "packerlab"
    assert json.loads(own["parameters"])["alpha"] == 0.1
    assert own["families"].loc["cells", "smallest_attainable_p"] == pytest.approx(2 / 2**20)
    assert history(table)[-1]["function"] == "tl.compute_responses"
    assert table.var["frame"].tolist() == [
        int(np.searchsorted(cells.var["time_s"], t, side="right") - 1) for t in stims["onset_s"]
    ]


def test_artefact_frames_are_never_looked_at():
    cells, stims = make_cells()
    clean = compute_responses(cells, stims)
    mask = cells.var["artefact"].to_numpy()
    for layer in ("F", "Fneu"):
        cells.layers[layer][:, mask] = 1e9
    poisoned = compute_responses(cells, stims)
    assert np.array_equal(poisoned.X, clean.X)
    pd.testing.assert_frame_equal(poisoned.obs, clean.obs)


def test_cut_and_invalid_stims_stay_as_nan_in_their_place():
    cells, stims = make_cells(n_stims=20)
    whole = compute_responses(cells, stims)
    stims.loc[stims.index[0], ["onset_s", "end_s"]] = [2.1, 2.6]  # 0.1 s after the first frame
    stims.loc[stims.index[-1], ["onset_s", "end_s"]] = [1e4, 1e4 + 0.5]
    stims["valid"] = True
    stims.loc[stims.index[7], "valid"] = False
    table = compute_responses(cells, stims)
    assert table.n_vars == 20
    assert table.var_names.tolist() == stims.index.tolist()
    lost = [0, 7, 19]
    assert np.flatnonzero(~table.var["valid"]).tolist() == lost
    assert np.isnan(table.X[:, lost]).all()
    assert not table.layers["responded"][:, lost].any()
    kept = np.setdiff1d(np.arange(20), lost)
    assert np.array_equal(table.X[:, kept], whole.X[:, kept])
    assert table.var["reason"].iloc[0] == "baseline window: cut by the edge of the recording"
    assert table.var["reason"].iloc[7] == "marked invalid"
    assert np.flatnonzero(table.var["frame"].isna()).tolist() == [19]  # in no frame
    assert (table.obs["n_valid"] == 17).all()
    assert any("3 of 20 stims have no score" in finding for finding in table.uns[UNS_KEY]["findings"])


def test_a_window_full_of_artefact_has_no_score():
    cells, stims = make_cells(n_stims=8)
    end = stims["end_s"].iloc[2]
    cells.var["artefact"] |= (cells.var["time_s"] >= end) & (cells.var["time_s"] < end + 0.4)
    table = compute_responses(cells, stims)
    assert np.flatnonzero(~table.var["valid"]).tolist() == [2]
    assert table.var["reason"].iloc[2] == "response window: too few valid frames"
    assert table.var["post_valid_fraction"].iloc[2] < 0.5


def test_families_are_corrected_apart_and_non_cells_are_left_out():
    iscell = np.ones(12, bool)
    iscell[11] = False
    cells, stims = make_cells(iscell=iscell)
    populations = pd.Series(["target"] * 2 + ["other"] * 10, index=cells.obs_names)
    table = compute_responses(cells, stims, populations=populations)
    p = table.obs["pvalue"].to_numpy()
    two = np.minimum(p[:2] * [2, 1] if p[0] < p[1] else p[:2] * [1, 2], p[:2].max())
    assert np.allclose(table.obs["pvalue_adjusted"][:2], two)
    assert np.isnan(table.obs["pvalue_adjusted"].iloc[11])
    assert np.isfinite(p[11])
    assert table.uns[UNS_KEY]["families"]["n_tested"].to_dict() == {"other": 9, "target": 2}


def test_a_discovery_that_is_impossible_is_told():
    cells, stims = make_cells(n_stims=4)
    table = compute_responses(cells, stims)
    findings = [json.loads(finding)["code"] for finding in table.uns[UNS_KEY]["findings"]]
    assert findings == ["no-shams", "no-call-possible"]
    assert not table.obs["excited"].any()


@pytest.mark.parametrize(("group", "n_shots", "told"), [(None, 20, True), (2, 20, False), (None, None, False)])
def test_groups_of_one_stim_are_told_to_be_inseparable(group, n_shots, told):
    cells, stims = make_cells()
    stims["group"] = pd.array([group] * len(stims), dtype="Int64")
    stims["n_shots"] = pd.array([n_shots] * len(stims), dtype="Int64")
    findings = [json.loads(finding)["code"] for finding in compute_responses(cells, stims).uns[UNS_KEY]["findings"]]
    assert ("groups-not-separable" in findings) == told


def test_suppression_is_called_with_a_warning():
    cells, stims = make_cells()
    cells.layers["F"] = 200 - cells.layers["F"]
    table = compute_responses(cells, stims, overrides={"subtract_neuropil": False})
    assert table.obs["suppressed"].any()
    findings = [json.loads(finding) for finding in table.uns[UNS_KEY]["findings"]]
    assert [finding["severity"] for finding in findings if finding["code"] == "suppression-unreliable"] == ["warning"]


def test_constant_zero_and_nan_traces_have_defined_results():
    cells, stims = make_cells()
    cells.layers["F"][4], cells.layers["Fneu"][4] = 50.0, 20.0
    cells.layers["F"][5], cells.layers["Fneu"][5] = 0.0, 0.0
    cells.obs.loc[cells.obs_names[5], "offset"] = 0.0
    cells.layers["F"][6] = np.nan
    table = compute_responses(cells, stims)
    assert (table.X[4] == 0).all() and table.obs["pvalue"].iloc[4] == 1.0
    assert np.isnan(table.X[5]).all() and np.isnan(table.X[6]).all()
    assert table.obs["n_valid"].iloc[6] == 0 and np.isnan(table.obs["pvalue"].iloc[6])
    assert not table.obs["excited"].iloc[4:7].any()


def test_a_baseline_near_zero_does_not_explode():
    cells, stims = make_cells()
    cells.obs["offset"] = -58.0  # F of 100 less 0.7 x 60 of neuropil: nothing is left
    table = compute_responses(cells, stims)
    assert np.nanmax(np.abs(table.X)) < 15  # about 30 over a noise of 6, not 10^6 %


def test_presets_without_neuropil_and_over_the_whole_trace():
    cells, stims = make_cells(n_rois=5, n_stims=6, interval_s=12.0)
    table = compute_responses(cells, stims, preset="vape", overrides={"subtract_neuropil": False})
    times, artefact = cells.var["time_s"].to_numpy(), cells.var["artefact"].to_numpy()
    F = cells.layers["F"][0].astype(float)
    onset, end = stims.iloc[2][["onset_s", "end_s"]]
    pre = F[(times >= onset - 0.5) & (times < times[times <= onset].max()) & ~artefact].mean()
    post = F[(times >= end) & (times < end + 0.5) & ~artefact].mean()
    assert table.X[0, 2] == pytest.approx((post - pre) / F[~artefact].mean(), rel=1e-4)


def test_tells_what_is_wrong():
    cells, stims = make_cells(n_stims=4)
    with pytest.raises(ParameterError, match=r"lasts 3\.000 s.*Override post_s with at least 3\.500"):
        compute_responses(cells, stims.assign(end_s=stims["onset_s"] + 3.0))
    compute_responses(cells, stims.assign(end_s=stims["onset_s"] + 3.0), overrides={"post_s": 3.6})
    with pytest.raises(SchemaError, match="end_s"):
        compute_responses(cells, stims.drop(columns="end_s"))
    with pytest.raises(ParameterError, match="populations lacks 11 of 12 ROIs"):
        compute_responses(cells, stims, populations=pd.Series(["a"], index=cells.obs_names[:1]))


def test_target_table_keeps_targets_without_a_cell_and_counts_repeats_once():
    cells, stims = make_cells()
    clock = FrameClock(cells.var["time_s"].to_numpy())
    rois = RoiSet.from_discs(np.column_stack([np.full(12, 50), 10 + 14 * np.arange(12)]), 4.0, SHAPE)
    positions = np.array([[0, 50, 10], [0, 50, 24], [0, 90, 180], [0, 50, 10]], float)
    protocol = PhotostimProtocol(targets_px=positions, image_shape_px=SHAPE, groups=((0, 1, 2), (3,)), rows=())
    match = match_targets(protocol, rois, pixel_size_um=(1.0, 1.0))
    traces = cells.layers["F"][[0, 1, 8, 0]]
    artefact = cells.var["artefact"].to_numpy()
    table = compute_target_responses(traces, clock, stims, match, protocol, artefact=artefact, trial="t-001")
    check_table(table, "targets")
    assert table.obs["status"].tolist() == ["matched", "matched", "unmatched", "matched"]
    assert table.obs["excited"].tolist() == [True, True, False, True]
    assert table.uns[UNS_KEY]["families"]["n_tested"].tolist() == [3]
    assert np.array_equal(table.X[0], table.X[3])
    with pytest.raises(ParameterError, match="There are 3 traces, 4 matched targets"):
        compute_target_responses(traces[:3], clock, stims, match, protocol, artefact=artefact)


@pytest.mark.parametrize("suffix", [".zarr", ".h5ad"])
def test_can_be_written_and_read_back(tmp_path, suffix):
    import anndata

    cells, stims = make_cells(n_stims=6)
    stims.loc[stims.index[-1], ["onset_s", "end_s"]] = [1e4, 1e4 + 0.5]  # in no frame
    table = compute_responses(cells, stims)
    path = tmp_path / f"responses{suffix}"
    table.write_zarr(path) if suffix == ".zarr" else table.write_h5ad(path)
    again = anndata.read_zarr(path) if suffix == ".zarr" else anndata.read_h5ad(path)
    check_table(again, "responses")
    assert np.array_equal(again.X, table.X, equal_nan=True)
    assert again.var["frame"].isna().tolist() == [False] * 5 + [True]
    assert again.uns[UNS_KEY]["families"].shape == table.uns[UNS_KEY]["families"].shape


def test_a_table_without_its_neuropil_coefficients_is_refused():
    cells, stims = make_cells(n_rois=4, n_stims=4)
    del cells.obs["offset"]
    with pytest.raises(SchemaError, match=r"obs lacks \['offset'\]"):
        compute_responses(cells, stims)
    assert compute_responses(cells, stims, overrides={"subtract_neuropil": False}).n_obs == 4


def test_where_no_preset_is_named_the_calibrated_one_is_taken_or_it_is_told():
    def made(interval_s, **options):
        cells, stims = make_cells(n_stims=20, interval_s=interval_s)
        table = tl.compute_responses(cells, stims, **options)
        told = [json.loads(finding)["code"] for finding in table.uns[UNS_KEY]["findings"]]
        return table.uns[UNS_KEY]["preset"], told

    assert made(5.0)[0] == "packerlab" and "not-calibrated" in made(5.0)[1]
    assert made(30.0)[0] == "calibrated" and "not-calibrated" not in made(30.0)[1]
    with pytest.raises(TooFewShamsError, match="needs 20"):
        made(5.0, preset="calibrated")
