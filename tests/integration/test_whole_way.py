"""The whole way once: Python and the command line, from rig files to tables and a report."""

from __future__ import annotations

import json

import numpy as np
import pytest

import packerlabimaging as pli_package
from packerlabimaging.errors import ConfigError
from packerlabimaging.io.tables import read_table


def inputs_of(folder):
    toml = (folder / "experiment.toml").read_text()
    import tomllib

    return tomllib.loads(toml)["trial"][0]


def assert_same_table(one, other):
    np.testing.assert_array_equal(np.asarray(one.X), np.asarray(other.X))
    assert list(one.obs.columns) == list(other.obs.columns)
    for column in one.obs:
        np.testing.assert_array_equal(one.obs[column].to_numpy(), other.obs[column].to_numpy(), err_msg=column)
    assert set(one.layers) == set(other.layers)
    for layer in one.layers:
        np.testing.assert_array_equal(np.asarray(one.layers[layer]), np.asarray(other.layers[layer]), err_msg=layer)


def test_six_lines_give_the_same_tables_as_pli_run(copy_of_tiny, tmp_path, pli):
    done = pli("run", copy_of_tiny / "experiment.toml", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {step["state"] for step in report["steps"]} == {"done"}
    counts = report["results"]["t-001"]
    assert 0 < counts["cells"] <= counts["rois"] and 0 < counts["targets_matched"] <= counts["targets"] == 6

    described = inputs_of(copy_of_tiny)
    paths = {
        name: copy_of_tiny / (given if isinstance(given, str) else given["path"]) for name, given in described["inputs"].items()
    }
    experiment = pli_package.Experiment("by-hand", output=tmp_path / "by-hand")
    experiment.add(pli_package.AllOpticalTrial(described["id"], inputs=paths))
    experiment.run(engine="quick", progress=False)

    by_command = pli_package.Experiment.load(copy_of_tiny / "results")[described["id"]]
    by_hand = experiment[described["id"]]
    for name in ("cells", "responses", "targets"):
        assert_same_table(getattr(by_command, name), getattr(by_hand, name))


def test_results_of_a_run(finished):
    experiment = pli_package.Experiment.load(finished / "results")
    trial = next(iter(experiment))
    assert trial.sync.verdict in ("pass", "warn")
    assert trial.cells.n_vars == trial.frame_clock.n_frames == trial.movie.n_frames
    assert trial.responses.n_vars == trial.targets.n_vars == len(trial.sync.stims)
    assert np.isnan(np.asarray(trial.cells.X)[:, trial.artefact]).all()
    assert np.isfinite(np.asarray(trial.cells.X)[:, ~trial.artefact]).all()
    assert trial.images["mean"].shape == trial.movie.frame_shape_px
    assert trial.traces["targets"].shape == (trial.photostim.n_targets, trial.movie.n_frames)
    for table in (finished / "results").glob("trials/*/*.zarr"):
        assert pli_package.check_table(read_table(table)) is not None


def test_the_clock_is_the_hardware_one_and_agrees_with_the_truth(finished):
    import pandas as pd

    trial = next(iter(pli_package.Experiment.load(finished / "results")))
    truth = pd.read_csv(finished / "truth" / "frames.csv", comment="#")
    column = next(name for name in truth.columns if name.endswith("_s"))
    assert trial.frame_clock.source == "hardware"
    np.testing.assert_allclose(trial.frame_clock.starts_s, truth[column], atol=1e-3)


def test_running_again_does_nothing(copy_of_finished, pli):
    before = {path.name: path.read_bytes() for path in (copy_of_finished / "results" / "receipts").glob("*.json")}
    done = pli("run", copy_of_finished / "experiment.toml")
    assert done.returncode == 0, done.stderr
    after = {path.name: path.read_bytes() for path in (copy_of_finished / "results" / "receipts").glob("*.json")}
    assert before == after
    assert (copy_of_finished / "results" / "report.html").is_file()


def test_demo_writes_everything_it_says(tmp_path, pli):
    done = pli("demo", tmp_path / "demo", "--size", "tiny", "--seed", "2", "--json")
    assert done.returncode == 0, done.stderr
    comparison = json.loads(done.stdout)
    assert comparison == json.loads((tmp_path / "demo" / "comparison.json").read_text())
    assert {"matched_fraction"} <= comparison["targets"].keys()
    assert {"sensitivity", "false_discovery"} <= comparison["responses"].keys()
    assert "found_fraction" in comparison["cells"]
    for name in ("raw", "truth", "results"):
        assert (tmp_path / "demo" / name).is_dir()
    assert (tmp_path / "demo" / comparison["report"]).is_file()
    again = pli("demo", tmp_path / "demo", "--size", "tiny")
    assert again.returncode == 2 and "is not empty" in again.stderr


def test_inspect_init_run_on_a_raw_folder(copy_of_tiny, pli):
    inspected = pli("inspect", copy_of_tiny / "raw", "--json")
    assert inspected.returncode == 0, inspected.stderr
    assert {found["format"] for found in json.loads(inspected.stdout)} == {"prairieview", "packio", "naparm"}
    drafted = pli("init", copy_of_tiny / "raw", "--output", copy_of_tiny / "drafted.toml", "--json")
    assert drafted.returncode == 0, drafted.stderr
    trial = json.loads(drafted.stdout)["trials"][0]
    assert set(trial["inputs"]) == {"sync", "photostim"} and all(found["reason"] for found in trial["inputs"].values())
    again = pli("init", copy_of_tiny / "raw", "--output", copy_of_tiny / "drafted.toml")
    assert again.returncode == 2 and "exists already" in again.stderr
    ran = pli("run", copy_of_tiny / "drafted.toml", "--json")
    assert ran.returncode == 0, ran.stderr


def test_status_tells_stale_steps_and_why(copy_of_finished, pli):
    path = copy_of_finished / "experiment.toml"
    path.write_text(path.read_text() + "\n[trial.dff]\npercentile = 12.0\n")
    done = pli("status", path, "--json")
    assert done.returncode == 0, done.stderr
    states = {step["step"]: (step["state"], step["reason"]) for step in json.loads(done.stdout)["steps"]}
    assert states["segmentation"][0] == "done"
    assert states["cells"][0] == "stale" and "dff.percentile" in states["cells"][1]
    assert states["responses"][0] == "stale"
    text = pli("status", copy_of_finished / "results")
    assert text.returncode == 0 and "done" in text.stdout


def test_masks_on_the_targets_and_adopting_our_own_run(tiny, finished, tmp_path, pli):
    described = inputs_of(tiny)
    paths = {name: tiny / (given if isinstance(given, str) else given["path"]) for name, given in described["inputs"].items()}
    on_targets = pli_package.Experiment("targets", output=tmp_path / "targets")
    on_targets.add(pli_package.AllOpticalTrial("t-001", inputs=paths))
    on_targets.run(engine="masks", rois="targets", progress=False)
    trial = on_targets["t-001"]
    assert trial.cells.n_obs == trial.photostim.n_targets
    assert (trial.targets.obs["distance_um"] < 1.5).all()
    assert {status.state for status in pli_package.Experiment.load(tmp_path / "targets").status()} == {"done"}

    run = next((finished / "results" / "segmentation").glob("quick-*"))
    adopting = pli_package.Experiment("adopting", output=tmp_path / "adopting")
    adopting.add(pli_package.AllOpticalTrial("t-001", inputs=paths)).run(segmentation=run, progress=False)
    original = next(iter(pli_package.Experiment.load(finished / "results")))
    assert_same_table(adopting["t-001"].cells, original.cells)
    assert json.loads(pli("inspect", run, "--json").stdout)[0]["format"] == "packerlabimaging-run"

    without = pli_package.Experiment("none", output=tmp_path / "none").add(pli_package.AllOpticalTrial("t-001", inputs=paths))
    with pytest.raises(ConfigError, match="needs ROIs"):
        without.run(engine="masks", progress=False)


def test_results_are_shown_where_their_engine_is_not_installed(finished, monkeypatch):
    from packerlabimaging.errors import MissingDependencyError
    from packerlabimaging.segmentation.quick import QuickEngine

    def missing(self):
        raise MissingDependencyError("The engine needs a package that is not installed.")

    monkeypatch.setattr(QuickEngine, "settings", missing)
    experiment = pli_package.Experiment.load(finished / "results")
    assert {status.state for status in experiment.status()} == {"done"}
    assert next(iter(experiment)).cells.n_obs > 0
