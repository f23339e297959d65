"""Scores on a hand-made field of squares, where every number can be counted by eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from packerlabimaging.core import FrameClock, ImagingMetadata, RoiSet
from packerlabimaging.core.schema import make_cells_table, make_table
from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate import SimulationParameters, Truth, compare_with_truth

SHAPE = (40, 70)
N_FRAMES = 200
CLOCK = FrameClock(np.arange(N_FRAMES) / 30.0)
# cells 0..5, squares of 8 x 8 in a row; 0-2 driven and targeted, 3 driven weakly, 4 active only, 5 silent
CORNERS = [(5, 2 + 11 * i) for i in range(6)]


def square(y: int, x: int, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[y : y + size, x : x + size]
    return rows.ravel(), columns.ravel()


@pytest.fixture
def truth() -> Truth:
    ids = [f"cell-{i:03d}" for i in range(6)]
    rois = RoiSet.from_pixels(SHAPE, [square(*corner) for corner in CORNERS], ids=ids)
    rng = np.random.default_rng(0)
    traces = rng.gamma(1.0, 0.3, (6, N_FRAMES)).astype(np.float32)
    cells = pd.DataFrame(
        {
            "active": [True] * 5 + [False],
            "driven": [True] * 4 + [False] * 2,
            "above_minimal": [True] * 3 + [False] * 3,
        },
        index=pd.Index(ids, name="cell"),
    )
    targets = pd.DataFrame(
        {"cell": ["cell-000", "cell-001", "cell-002", ""]}, index=pd.Index([f"target-{i:03d}" for i in range(4)], name="target")
    )
    frames = pd.DataFrame({"frame": np.arange(N_FRAMES), "artefact": np.arange(N_FRAMES) % 50 < 3})
    empty = pd.DataFrame()
    return Truth(SimulationParameters(), cells, targets, empty, empty, empty, frames, rois, traces)


def tables(
    truth: Truth,
    squares: list[tuple[np.ndarray, np.ndarray]],
    traces: np.ndarray,
    *,
    excited: list[int] = [],  # noqa: B006
    suppressed: list[int] = [],  # noqa: B006
    target_rois: list[str] = ["", "", "", ""],  # noqa: B006
    iscell: list[bool] | None = None,
) -> dict[str, AnnData]:
    rois = RoiSet.from_pixels(SHAPE, squares)
    metadata = ImagingMetadata(frame_shape_px=SHAPE, pixel_size_um=(1.2, 1.2))
    cells = make_cells_table(
        traces,
        rois=rois,
        clock=CLOCK,
        trial="t-001",
        layers={"F": traces},
        artefact=truth.frames["artefact"].to_numpy(),
        metadata=metadata,
        iscell=None if iscell is None else np.array(iscell),
    )
    n = len(rois)
    stims = pd.DataFrame(
        {"trial": ["t-001"], "onset_s": [1.0], "end_s": [1.5], "frame": [30], "valid": [True]}, index=["stim-000"]
    )
    obs = cells.obs[["plane", "y_px", "x_px", "iscell"]].copy()
    obs["excited"], obs["suppressed"] = np.isin(np.arange(n), excited), np.isin(np.arange(n), suppressed)
    responses = make_table("responses", np.zeros((n, 1)), obs=obs, var=stims, uns={"preset": "packerlab"})
    target_obs = pd.DataFrame(
        {
            "y_px": 1.0,
            "x_px": 1.0,
            "status": ["matched" if roi else "unmatched" for roi in target_rois],
            "roi": target_rois,
            "distance_um": 1.0,
        },
        index=truth.targets.index,
    )
    targets = make_table("targets", np.zeros((4, 1)), obs=target_obs, var=stims)
    return {"cells": cells, "responses": responses, "targets": targets}


def test_a_perfect_analysis(truth: Truth):
    found = tables(
        truth,
        [square(*corner) for corner in CORNERS],
        np.asarray(truth.traces) * 3 + 1,
        excited=[0, 1, 2, 3],
        target_rois=["roi-0000", "roi-0001", "roi-0002", ""],
    )
    scores = compare_with_truth(truth, **found)
    assert scores["targets"] == {
        "matched_fraction": 1.0,
        "n_matched": 3,
        "n_segmented": 3,
        "n_with_cell": 3,
        "n_targets": 4,
        "wrong_matches": 0,
        "without_cell": 1,
        "without_cell_left_unmatched": 1,
        "ambiguous": 0,
    }
    responses = scores["responses"]
    assert (responses["sensitivity"], responses["false_discovery"]) == (1.0, 0.0)
    assert (responses["n_detected"], responses["n_driven_above_minimal"], responses["n_called"]) == (3, 3, 4)
    assert responses["n_detected_below_minimal"] == 1 and responses["suppressed"] == {"n_called": 0, "n_truly_suppressed": 0}
    assert scores["cells"]["found_fraction"] == 1.0 and scores["cells"]["n_active"] == 5
    assert scores["cells"]["median_correlation"] == pytest.approx(1.0)
    assert scores["cells"]["offset_px"] == [0.0, 0.0]


def test_wrong_matches_false_calls_and_missed_cells(truth: Truth):
    far = square(28, 30)  # an ROI where there is no cell
    squares = [square(*CORNERS[0]), square(*CORNERS[1]), square(*CORNERS[4]), far]
    traces = np.stack([truth.traces[0], truth.traces[5], truth.traces[4], truth.traces[3]])  # ROI 1 has a foreign trace
    found = tables(
        truth, squares, traces, excited=[0, 2, 3], suppressed=[1], target_rois=["roi-0000", "roi-0003", "", "roi-0002"]
    )
    scores = compare_with_truth(truth, **found)
    targets = scores["targets"]
    assert (targets["n_matched"], targets["n_segmented"], targets["matched_fraction"]) == (1, 2, 0.5)
    assert (targets["wrong_matches"], targets["without_cell_left_unmatched"]) == (2, 0)
    responses = scores["responses"]
    assert responses["sensitivity"] == pytest.approx(1 / 3)  # cell 2 has no ROI and counts as missed
    assert (responses["n_called_without_driven_cell"], responses["false_discovery"]) == (2, pytest.approx(2 / 3))
    assert responses["suppressed"]["n_called"] == 1
    assert (scores["cells"]["n_found"], scores["cells"]["n_active_placed"]) == (2, 3)
    assert scores["cells"]["n_accepted_without_cell"] == 1


def test_nothing_found(truth: Truth):
    found = tables(truth, [square(28, 30)], np.zeros((1, N_FRAMES)), iscell=[False])
    scores = compare_with_truth(truth, **found)
    assert scores["targets"]["matched_fraction"] is None and scores["targets"]["n_segmented"] == 0
    assert scores["responses"]["sensitivity"] == 0.0 and scores["responses"]["false_discovery"] == 0.0
    assert scores["cells"]["found_fraction"] == 0.0 and scores["cells"]["offset_px"] is None


def test_rejected_rois_do_not_count(truth: Truth):
    squares = [square(*corner) for corner in CORNERS]
    found = tables(truth, squares, np.asarray(truth.traces), excited=[0, 1, 4], iscell=[True, False, True, True, False, True])
    scores = compare_with_truth(truth, **found)
    assert (scores["responses"]["n_called"], scores["responses"]["n_detected"]) == (1, 1)
    assert scores["targets"]["n_segmented"] == 2 and scores["cells"]["n_found"] == 3


@pytest.mark.parametrize(("shift", "found"), [(0, 1), (2, 1), (3, 0)])
def test_iou_must_exceed_a_half(truth: Truth, shift: int, found: int):
    y, x = CORNERS[0]  # 8 x 8 shifted by 2: 48 of 80 = 0.6; by 3: 40 of 88 = 0.45
    scores = compare_with_truth(truth, **tables(truth, [square(y, x + shift)], np.asarray(truth.traces[:1])))
    assert scores["cells"]["n_found"] == found


def test_one_roi_is_not_two_cells(truth: Truth):
    twice = [square(*CORNERS[0]), square(*CORNERS[0])]
    scores = compare_with_truth(truth, **tables(truth, twice, np.asarray(truth.traces[[0, 0]])))
    assert scores["cells"]["n_found"] == 1
    whole_field = [tuple(axis.ravel() for axis in np.mgrid[: SHAPE[0], : SHAPE[1]])]
    found = tables(truth, whole_field, np.asarray(truth.traces[:1]), excited=[0], target_rois=["roi-0000"] + [""] * 3)  # type: ignore[arg-type]
    scores = compare_with_truth(truth, **found)
    assert scores["responses"]["n_detected"] == 0 and scores["targets"]["wrong_matches"] == 1


def test_a_fragment_is_of_its_cell_and_a_touching_roi_is_not(truth: Truth):
    y, x = CORNERS[0]
    fragment = tables(truth, [square(y + 2, x + 2, 3)], np.asarray(truth.traces[:1]), excited=[0])
    assert compare_with_truth(truth, **fragment)["responses"]["n_detected"] == 1
    beside = tables(truth, [square(y + 6, x)], np.asarray(truth.traces[:1]), excited=[0])  # 2 rows in common: IoU 0.14
    assert compare_with_truth(truth, **beside)["responses"]["n_called_without_driven_cell"] == 1


def test_frames_with_light_and_nan_are_left_out(truth: Truth):
    traces = np.asarray(truth.traces[:1]).copy()
    light = truth.frames["artefact"].to_numpy()
    traces[0, light] = 1000.0
    traces[0, 10:20] = np.nan
    scores = compare_with_truth(truth, **tables(truth, [square(*CORNERS[0])], traces))
    assert scores["cells"]["median_correlation"] == pytest.approx(1.0)


def test_swapping_y_and_x_of_the_matches_is_seen(truth: Truth):
    squares = [square(*corner) for corner in CORNERS]
    wrong = tables(truth, squares, np.asarray(truth.traces), target_rois=["roi-0003", "roi-0004", "roi-0005", "roi-0000"])
    targets = compare_with_truth(truth, **wrong)["targets"]
    assert (targets["matched_fraction"], targets["wrong_matches"]) == (0.0, 4)


def test_foreign_tables_are_refused(truth: Truth):
    squares = [square(*corner) for corner in CORNERS]
    good: dict[str, Any] = tables(truth, squares, np.asarray(truth.traces))
    with pytest.raises(ParameterError, match="100 frames of 1 trials; the simulation has 200"):
        compare_with_truth(truth, **{**good, "cells": good["cells"][:, :100].copy()})
    with pytest.raises(ParameterError, match="different ROIs"):
        compare_with_truth(truth, **{**good, "responses": good["responses"][:3].copy()})
    with pytest.raises(ParameterError, match="targets table has the targets target-000"):
        compare_with_truth(truth, **{**good, "targets": good["targets"][:2].copy()})
    uncalled = good["responses"].copy()
    del uncalled.obs["excited"]
    with pytest.raises(ParameterError, match="no column 'excited'"):
        compare_with_truth(truth, **{**good, "responses": uncalled})
    named = good["targets"].copy()
    named.obs["roi"] = ["roi-0099", "", "", ""]
    with pytest.raises(ParameterError, match="names the ROI 'roi-0099'"):
        compare_with_truth(truth, **{**good, "targets": named})


def test_the_order_of_rows_does_not_matter(truth: Truth, tmp_path: Path):
    squares = [square(*corner) for corner in CORNERS]
    found = tables(truth, squares, np.asarray(truth.traces), excited=[0, 5], target_rois=["roi-0000", "roi-0001", "roi-0002", ""])
    shuffled = {
        "cells": found["cells"],
        "responses": found["responses"][::-1].copy(),
        "targets": found["targets"][[3, 1, 0, 2]].copy(),
    }
    assert compare_with_truth(truth, **found) == compare_with_truth(truth, **shuffled)
