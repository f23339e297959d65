"""Drafting an experiment file: what is written can be read, and names of any kind survive."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tifffile

from packerlabimaging.errors import ParameterError
from packerlabimaging.pipeline import draft_experiment
from packerlabimaging.trials import Experiment


def write_movie(folder):
    folder.mkdir()
    for number in (1, 2):
        tifffile.imwrite(folder / f"frame_{number:03d}.tif", np.zeros((4, 5), np.uint16))


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not possible")
@pytest.mark.parametrize(
    "name", ["a b", "line\nbreak", 'quo"te', "back\\slash", "tab\t", "del\x7f", "ünï 日本 🧠", "#hash", "[bold]"]
)
def test_any_name_of_a_folder_survives_the_file(tmp_path, name):
    write_movie(tmp_path / name)
    draft = draft_experiment(tmp_path / name, path=tmp_path / "experiment.toml")
    (trial,) = Experiment.from_toml(draft.path)
    assert trial.inputs["movie"].path == tmp_path / name


@pytest.mark.skipif(sys.platform != "linux", reason="only there are file names plain bytes")
def test_a_name_that_is_no_text_is_told_and_nothing_written(tmp_path):
    write_movie(tmp_path / "m\udcff")
    with pytest.raises(ParameterError, match="not valid text.*Rename it"):
        draft_experiment(tmp_path / "m\udcff", path=tmp_path / "new" / "experiment.toml")
    assert not (tmp_path / "new").exists()
