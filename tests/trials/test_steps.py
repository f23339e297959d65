"""Steps run once, again when something that they used has changed, and only then."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict

import numpy as np
import pytest
from lab_trials import RUNS, NumbersTrial, RememberingTrial

from packerlabimaging.errors import ConfigError, PackerLabImagingError, ParameterError, StoreError
from packerlabimaging.trials import Experiment, TwoPhotonImagingTrial
from packerlabimaging.trials.store import Receipt, Store


@pytest.fixture
def numbers(tmp_path):
    path = tmp_path / "raw" / "a.numbers"
    path.parent.mkdir()
    path.write_text("1\n2\n3\n")
    RUNS.clear()
    return path


def experiment(tmp_path, numbers, cls=NumbersTrial, **fields):
    made = Experiment("e", output=tmp_path / "out")
    return made.add(cls("t-1", inputs={"numbers": numbers}, **fields))


def reasons(made):
    return {f"{status.owner}.{status.step}": (status.state, status.reason) for status in made.status()}


def test_finished_steps_are_not_run_again(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    assert RUNS == ["t-1.total", "t-1.scaled"]
    again = experiment(tmp_path, numbers).run()
    assert RUNS == ["t-1.total", "t-1.scaled"]
    assert again["t-1"].result("scaled").tolist() == [12.0]


def test_a_changed_input_makes_all_that_rests_on_it_stale(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    numbers.write_text("1\n2\n4\n")
    made = experiment(tmp_path, numbers)
    assert reasons(made) == {
        "t-1.total": ("stale", "the input t-1:numbers changed"),
        "t-1.scaled": ("stale", "t-1:total changed"),
    }
    assert made.run()["t-1"].result("scaled").tolist() == [14.0]
    assert RUNS[2:] == ["t-1.total", "t-1.scaled"]


def test_an_input_that_changes_while_its_step_runs_makes_it_stale(tmp_path, numbers, monkeypatch):
    def make_total(self):
        found = self.numbers["numbers"]
        numbers.write_text("1\n2\n4\n")
        return {"total": float(len(found.name))}

    monkeypatch.setattr(NumbersTrial, "make_total", make_total)
    made = experiment(tmp_path, numbers).run()
    assert reasons(made)["t-1.total"] == ("stale", "the input t-1:numbers changed")


def test_a_changed_setting_makes_only_the_step_that_read_it_stale(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    made = experiment(tmp_path, numbers, settings={"scale": {"factor": 10.0}}).run()
    assert made["t-1"].result("scaled").tolist() == [60.0]
    assert RUNS[2:] == ["t-1.scaled"]


def test_a_changed_field_makes_the_step_that_read_it_stale(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    made = experiment(tmp_path, numbers, offset=1, comment="nobody reads this in a step")
    assert reasons(made)["t-1.total"] == ("stale", "offset changed")


def test_an_input_that_was_absent_and_is_given_now_makes_the_step_stale(tmp_path, numbers):
    experiment(tmp_path, numbers, RememberingTrial).run()
    made = Experiment("e", output=tmp_path / "out")
    made.add(RememberingTrial("t-1", inputs={"numbers": numbers, "extra": numbers}))
    assert reasons(made)["t-1.total"] == ("stale", "the input t-1:extra changed")


def test_a_changed_hook_makes_its_step_stale(tmp_path, numbers, monkeypatch):
    experiment(tmp_path, numbers).run()

    def make_scaled(self):
        return np.array([0.0])

    monkeypatch.setattr(NumbersTrial, "make_scaled", make_scaled)
    assert reasons(experiment(tmp_path, numbers))["t-1.scaled"] == ("stale", "its code changed")


def test_a_failing_step_leaves_earlier_results_readable(tmp_path, numbers, monkeypatch):
    made = experiment(tmp_path, numbers).run()
    numbers.write_text("5\n")

    def make_scaled(self):
        raise ValueError("broken")

    monkeypatch.setattr(NumbersTrial, "make_scaled", make_scaled)
    with pytest.raises(ValueError, match="broken"):
        experiment(tmp_path, numbers).run()
    assert made["t-1"].result("scaled").tolist() == [12.0]
    assert reasons(made)["t-1.scaled"][0] == "stale"


def test_results_and_folders_move_together(tmp_path, numbers):
    experiment(tmp_path, numbers, offset=2).run()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "out").rename(moved / "out")
    (tmp_path / "raw").rename(moved / "raw")
    loaded = Experiment.load(moved / "out")
    assert loaded["t-1"].offset == 2
    assert {state for state, _ in reasons(loaded).values()} == {"done"}
    assert loaded["t-1"].result("scaled").tolist() == [16.0]


def test_a_receipt_tells_what_a_result_came_from(tmp_path, numbers):
    made = experiment(tmp_path, numbers).run()
    receipt = made["t-1"].receipts["scaled"]
    assert receipt["parameters"] == {"t-1:settings:scale": {"factor": 2.0, "names": []}}
    assert list(receipt["upstream"]) == ["t-1:total"]
    assert list(made["t-1"].receipts["total"]["inputs"]) == ["t-1:numbers"]
    assert [finding.code for finding in made["t-1"].findings] == ["odd-number"]


def test_left_over_results_are_swept_and_foreign_files_are_not(tmp_path, numbers):
    made = experiment(tmp_path, numbers).run()
    folder = tmp_path / "out" / "trials" / "t-1"
    (folder / "scaled-0123456789ab.npy").write_bytes(b"left by a killed run")
    (folder / "my notes.txt").write_text("mine")
    made.run()
    assert not (folder / "scaled-0123456789ab.npy").exists()
    assert (folder / "my notes.txt").exists()


def test_one_process_at_a_time(tmp_path, numbers):
    made = experiment(tmp_path, numbers)
    with Store(made.output).lock(), pytest.raises(StoreError, match="Another process"):
        made.run()


def test_an_output_of_another_experiment_is_refused(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    other = Experiment("other", output=tmp_path / "out")
    other.add(NumbersTrial("t-1", inputs={"numbers": numbers}))
    with pytest.raises(StoreError, match="holds the results of the experiment 'e'"):
        other.run()


def test_a_damaged_description_is_written_anew(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    (tmp_path / "out" / "experiment.json").write_text('{"id": ')
    with pytest.raises(StoreError, match="damaged"):
        Experiment.load(tmp_path / "out")
    experiment(tmp_path, numbers).run()
    assert Experiment.load(tmp_path / "out")["t-1"].result("scaled").tolist() == [12.0]
    assert RUNS == ["t-1.total", "t-1.scaled"]


def test_engine_settings_do_not_fit_an_adopted_segmentation(tmp_path, numbers):
    made = experiment(tmp_path, numbers)
    made.run(segmentation=tmp_path)
    with pytest.raises(ParameterError, match="adopts the segmentation"):
        made.run(engine_settings={"min_score": 5.0})


def test_damaged_receipts_are_named(tmp_path, numbers):
    made = experiment(tmp_path, numbers).run()
    path = tmp_path / "out" / "receipts" / "t-1.total.json"
    path.write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        made.status()
    whole = asdict(made.store.receipt("t-1", "scaled"))
    for fault, reason in [
        ({"result": 3}, "result Input should be a valid string"),
        ({"inputs": [1]}, "inputs Input should be an object"),
        ({"parameters": {"a:b": 1}}, "'a:b' names nothing"),
        ({"owner": None}, "owner Input should be"),
        ({"findings": [{"x": 1}]}, "a finding is not one"),
    ]:
        path.write_text(json.dumps(whole | fault))
        with pytest.raises(StoreError, match=reason):
            made.status()
    path.write_bytes(b"\xff\xfe garbage")
    with pytest.raises(StoreError, match="is damaged"):
        made.run()


def test_a_damaged_result_is_named_and_made_again_once_it_is_deleted(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    (path,) = (tmp_path / "out" / "trials" / "t-1").glob("total-*")
    path.write_text("{")
    with pytest.raises(StoreError, match=r"step 'total' of 't-1' is damaged: '.*total-.*Delete it and run again"):
        experiment(tmp_path, numbers)["t-1"].result("total")
    path.unlink()
    assert experiment(tmp_path, numbers).run()["t-1"].result("scaled").tolist() == [12.0]


def test_a_result_that_lost_bytes_is_stale_and_made_again(tmp_path, numbers):
    made = experiment(tmp_path, numbers).run()
    (result,) = (tmp_path / "out" / "trials" / "t-1").glob("scaled-*.npy")
    result.write_bytes(result.read_bytes()[:-1])
    assert reasons(made)["t-1.scaled"] == ("stale", "its result is damaged: files are missing or cut")
    assert made.run()["t-1"].result("scaled").tolist() == [12.0]
    assert reasons(made)["t-1.scaled"] == ("done", "")


def test_a_lost_chunk_of_a_table_is_noticed(tmp_path):
    (tmp_path / "cells.zarr" / "X" / "c").mkdir(parents=True)
    for name in ("zarr.json", "X/c/0", "X/c/1"):
        (tmp_path / "cells.zarr" / name).write_bytes(b"12345")
    receipt = Receipt(owner="t-1", step="cells", token="0", result="cells.zarr", codec="cells", stored=(3, 15))
    (tmp_path / "cells.zarr" / ".DS_Store").write_bytes(b"1")  # what a file manager leaves is no damage
    assert Store(tmp_path).is_whole(receipt)
    (tmp_path / "cells.zarr" / "X" / "c" / "1").unlink()
    assert not Store(tmp_path).is_whole(receipt)


@pytest.mark.parametrize("place", ["a-file", "x" * 300])
def test_an_output_that_cannot_be_a_folder_is_told(tmp_path, numbers, place):
    (tmp_path / "a-file").write_text("")
    made = Experiment("e", output=tmp_path / place).add(NumbersTrial("t-1", inputs={"numbers": numbers}))
    with pytest.raises(StoreError, match="can't be written to.*Choose another output"):
        made.run()


def test_an_error_names_its_step_and_trial(tmp_path, numbers):
    numbers.write_text("three")
    with pytest.raises(ValueError, match="three") as caught:
        experiment(tmp_path, numbers).run()
    assert caught.value.__notes__ == ["This happened in the step 'total' of 't-1'. Finished steps are kept."]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"engine": "quik"}, "Did you mean 'quick'"),
        ({"engine": "quick", "engine_settings": {"nothing": 1}}, "'nothing' is not a setting"),
        ({"segmentation": "nowhere"}, "There is no file or folder"),
    ],
)
def test_a_wrong_segmentation_is_told_before_anything_runs(tmp_path, how, message):
    made = Experiment("e", output=tmp_path / "out").add(TwoPhotonImagingTrial("t-1", inputs={"movie": tmp_path / "t"}))
    with pytest.raises(PackerLabImagingError, match=message):
        made.run(**how)
    assert not (tmp_path / "out").exists()


def test_a_step_that_returns_something_odd_says_what_is_possible(tmp_path, numbers, monkeypatch):
    monkeypatch.setattr(NumbersTrial, "make_total", lambda self: object())
    with pytest.raises(StoreError, match="Return an AnnData table"):
        experiment(tmp_path, numbers).run()


def test_warnings_of_a_step_reach_the_user_and_the_receipt(tmp_path, numbers, monkeypatch):
    import warnings

    def make_total(self):
        warnings.warn("look at this", stacklevel=2)
        return {"total": 1.0}

    monkeypatch.setattr(NumbersTrial, "make_total", make_total)
    with pytest.warns(UserWarning, match="look at this"):
        made = experiment(tmp_path, numbers).run()
    assert made["t-1"].receipts["total"]["warnings"] == ("look at this",)


def test_the_reason_names_the_setting_that_changed(tmp_path, numbers):
    experiment(tmp_path, numbers).run()
    made = experiment(tmp_path, numbers, settings={"scale": {"factor": 10.0}})
    assert reasons(made)["t-1.scaled"] == ("stale", "scale.factor changed")


def test_settings_can_be_assigned_and_are_checked(tmp_path, numbers):
    made = experiment(tmp_path, numbers).run()
    made["t-1"].settings = {"scale": {"factor": 10.0}}
    assert made.run()["t-1"].result("scaled").tolist() == [60.0]
    with pytest.raises(ConfigError, match=r"can't be changed:\n- scale.facto is not a setting. Did you mean 'factor'"):
        made["t-1"].settings = {"scale": {"facto": 1.0}}
    assert made["t-1"].settings["scale"].factor == 10.0


def test_status_works_before_an_engine_is_chosen(tmp_path):
    receipt = Receipt(owner="fov-1", step="segmentation", token="a", result="a", codec="engine")
    made = Experiment("e", output=tmp_path / "out").add(TwoPhotonImagingTrial("t-1"))
    made.store.write_receipt(receipt)
    assert reasons(made)["fov-1.segmentation"] == ("stale", "no engine is chosen")


def test_loading_an_experiment_file_as_results_says_what_to_do(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text("schema = 1")
    with pytest.raises(StoreError, match=r"not a results folder.*output, or its file '.*experiment.toml'"):
        Experiment.load(tmp_path)
    with pytest.raises(StoreError, match=r"is a file. Give the results folder.*from_toml"):
        Experiment.load(file)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError("12288 requested and 5052 written")])
def test_a_full_disk_is_told(tmp_path, monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr(NumbersTrial, "make_scaled", fail)
    (tmp_path / "a.numbers").write_text("1\n2\n")
    experiment = Experiment("e", output=tmp_path / "out")
    experiment.add(NumbersTrial("t", inputs={"numbers": tmp_path / "a.numbers"}))
    with pytest.raises(StoreError, match="(?s)disk of the results folder .*out' is full. Make room.*step 'scaled' of 't'"):
        experiment.run(progress=False)
    assert experiment["t"].result("total") == {"total": 3.0}
