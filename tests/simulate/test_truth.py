from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.simulate import SimulationParameters, Truth, load_truth
from packerlabimaging.simulate.movie import SimulatedRecording


@pytest.fixture(scope="module")
def truth(tiny: Path) -> Truth:
    return load_truth(tiny)


def test_parameters_come_back(truth: Truth):
    assert truth.parameters == SimulationParameters.of_size("tiny", seed=3)


def test_traces_are_those_of_the_model(truth: Truth, recording: SimulatedRecording):
    clock = recording.timeline.clock
    middle = 0.5 * (clock.starts_s + clock.ends_s)
    assert truth.traces.shape == (12, 600) and truth.traces.dtype == np.float32
    assert np.allclose(truth.traces, recording.activity.dff(middle)[:12], atol=0.01)


def test_active_cells_can_be_recomputed(truth: Truth):
    quiet = ~truth.frames["artefact"].to_numpy(bool)
    sd = truth.traces[:, quiet].astype(float).std(axis=1)
    assert np.allclose(truth.cells["sd_dff"], sd, atol=1e-4)
    assert np.array_equal(truth.cells["active"], truth.cells["sd_dff"] >= 0.1)


def test_driven_cells_are_those_with_a_driving_group(truth: Truth):
    kinds = truth.responses.groupby("cell")["kind"].agg(lambda kind: (kind != "none").any())
    assert np.array_equal(kinds[truth.cells.index], truth.cells["driven"])
    assert set(truth.evoked["cell"]) <= set(truth.cells.index[truth.cells["driven"]])
    effective = truth.cells["driven"] & (truth.cells["effect_dff"] >= 0.15)
    assert np.array_equal(truth.cells["above_minimal"], effective)
    assert set(truth.responses["kind"]) == {"direct", "network", "none"}


def test_targets_and_their_cells(truth: Truth):
    assert (truth.targets["cell"] == "").sum() == 1
    on_cell = truth.targets[truth.targets["cell"] != ""]
    cells = truth.cells.loc[on_cell["cell"]]
    off_px = np.hypot(on_cell["y_px"].to_numpy() - cells["y_px"], on_cell["x_px"].to_numpy() - cells["x_px"])
    assert off_px.max() < 4 and cells["targeted"].all()
    assert (~on_cell["responsive"]).sum() == 1


def test_stims_and_frames_agree(truth: Truth):
    frames = truth.frames
    assert len(truth.stims) == 20 and np.allclose(truth.stims["end_s"] - truth.stims["onset_s"], 0.120)
    for row in truth.stims.itertuples():
        assert frames["start_s"][row.frame] <= row.onset_s < frames["end_s"][row.frame]
        lit = (frames["start_s"] < row.end_s) & (frames["end_s"] > row.onset_s)
        assert frames["artefact"][lit].all()


def test_the_readme_documents_every_file_and_column(tiny: Path, truth: Truth):
    readme = (tiny / "truth" / "README.md").read_text()
    for path in (tiny / "truth").iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in readme
    for table in (truth.cells, truth.targets, truth.stims, truth.responses, truth.evoked, truth.frames):
        for column in (*table.columns, *(name for name in [table.index.name] if name)):
            assert f"`{column}`" in readme


def test_an_unfinished_truth_is_refused(tiny: Path, tmp_path: Path):
    with pytest.raises(MissingFileError, match="parameters.json, rois.npz, traces.npy.* missing"):
        load_truth(tmp_path)
    shutil.copytree(tiny / "truth", tmp_path / "truth")
    (tmp_path / "truth" / "stims.csv").unlink()
    with pytest.raises(MissingFileError, match="not the truth of a finished simulation: stims.csv missing"):
        load_truth(tmp_path)


def test_parameters_of_another_version_are_refused(tiny: Path, tmp_path: Path):
    shutil.copytree(tiny / "truth", tmp_path / "truth")
    path = tmp_path / "truth" / "parameters.json"
    values = json.loads(path.read_text())
    values["parameters"]["n_dragons"] = 3
    path.write_text(json.dumps(values))
    with pytest.raises(FormatError, match="another version .*n_dragons"):
        load_truth(tmp_path)
    path.write_text("[]")
    with pytest.raises(FormatError, match="does not hold the parameters"):
        load_truth(tmp_path)
