"""Stimulus-triggered averages of a whole simulated trial light up where the targets are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from packerlabimaging.analysis import StaSettings
from packerlabimaging.errors import ParameterError
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
