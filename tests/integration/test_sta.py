"""Stimulus-triggered averages of a whole simulated trial light up where the targets are."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from packerlabimaging.analysis import StaSettings
from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.pipeline import StaOptions, read_stim_order
from packerlabimaging.trials import Experiment


@pytest.fixture(scope="module")
def trial(finished):
    return Experiment.load(finished / "results")["t-001"]


def test_the_average_of_each_group_is_brightest_on_its_responding_targets(trial, finished):
    settings = StaSettings(pre_s=0.5, post_s=1.2, average_start_s=0.4, average_stop_s=1.0)
    sta = trial.sta(kinds="group", settings=settings)
    assert sta.kinds == ("0", "1")
    targets = pd.read_csv(finished / "truth" / "targets.csv")
    cells = pd.read_csv(finished / "truth" / "cells.csv")
    driven = targets[targets["cell"].isin(cells.loc[cells["above_minimal"], "cell"])]
    assert len(driven) > 2
    average = np.nanmean([sta.average_image(kind, method="df") for kind in (0, 1)], axis=0)
    on_targets = np.mean(
        [average[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].mean() for y, x in driven[["y_px", "x_px"]].to_numpy()]
    )
    assert on_targets > np.median(average) + 5 * 1.4826 * np.median(np.abs(average - np.median(average)))


def test_artefacts_are_left_out_or_kept(trial):
    assert np.isnan(trial.sta().mean).any()
    kept = trial.sta(artefacts="keep", kinds=[1] * len(trial.stims))
    assert not np.isnan(kept.mean).any() and kept.kinds == ("1",)
    with pytest.raises(ParameterError, match="kinds = 'groups' .*Did you mean 'group'"):
        trial.sta(kinds="groups")
    with pytest.raises(ParameterError, match="kinds"):
        trial.sta(kinds=[1, 2])


def test_the_command_writes_the_averages_of_a_trial(copy_of_finished, pli):
    done = pli("sta", copy_of_finished / "experiment.toml", "--kinds", "group", "--average", "0.4", "1.0", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)[0]
    assert made["n_stims"] == {"0": 10, "1": 10} and len(made["files"]) == 16
    folder = copy_of_finished / "results" / "sta" / "t-001"
    assert (folder / "t-001_Stim2_STA_Plane1_dFF.tif").is_file()
    again = pli("sta", copy_of_finished / "results")
    assert again.returncode == 2 and "nothing is overwritten" in again.stderr


def test_the_command_takes_a_movie_and_signals_alone(tiny, tmp_path, pli):
    movie, sync = tiny / "raw" / "t-001", tiny / "raw" / "t-001.paq"
    arguments = ("sta", movie, "--sync", sync, "--out", tmp_path / "sta")
    np.save(tmp_path / "order.npy", np.arange(10) % 2 + 1)
    done = pli(*arguments, "--order", tmp_path / "order.npy", "--single-stims", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["n_stims"] == {"1": 5, "2": 5}
    assert (tmp_path / "sta" / "t-001_Stim1_STA_Plane1_All5Trials.tif").is_file()
    some = pli("sta", movie, "--sync", sync, "--out", tmp_path / "some", "--every", "2", "--first", "3", "--json")
    assert json.loads(some.stdout)[0]["n_stims"] == {"1": 4, "2": 4}
    wrong = pli(*arguments, "--kinds", "group")
    assert wrong.returncode == 2 and "known to an experiment only" in wrong.stderr
    assert pli("sta", movie, "--sync", sync).returncode == 2
    unsynced = pli("sta", movie, "--out", tmp_path / "none")
    assert unsynced.returncode == 2 and "--sync FILE" in unsynced.stderr


def test_mistyped_options_are_refused_before_the_movie_is_read():
    with pytest.raises(ParameterError, match="kinds = 'groups' .*Did you mean 'group'"):
        StaOptions(kinds="groups")  # six letters are not the kinds of six stims
    with pytest.raises(ParameterError, match="method = 'dfof'"):
        StaOptions(method="dfof")


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".mat"])
def test_orders_of_stims_are_read(tmp_path, suffix):
    path = tmp_path / f"order{suffix}"
    if suffix == ".txt":
        path.write_text("2\n1\n\n3\n")
    elif suffix == ".npy":
        np.save(path, np.array([2, 1, 3]))
    else:
        savemat(path, {"oris": np.array([[2.0, 1.0, 3.0]])})
    assert read_stim_order(path) == ["2", "1", "3"]
    if suffix == ".mat":
        with pytest.raises(FormatError, match="no numbers called other"):
            read_stim_order(path, variable="other")
    with pytest.raises(MissingFileError, match="There is no file"):
        read_stim_order(tmp_path / "none.txt")


def test_some_stims_can_be_left_out():
    onsets = np.arange(6.0)
    assert StaOptions(kinds=2, first_stim=2, between_s=(0.0, 4.5)).kinds_of(onsets) == ["", "1", "2", "1", "2", ""]
    with pytest.raises(ParameterError, match="kinds"):
        StaOptions(kinds=["a"]).kinds_of(onsets)
    with pytest.raises(ParameterError, match="over some stims only"):
        StaOptions(kinds="group", first_stim=2)
