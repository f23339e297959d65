"""Spoilt input gives one clear message on stderr, exit status 2, no traceback; earlier results stay readable."""

from __future__ import annotations

import pytest

from packerlabimaging.trials import Experiment


def tiffs(folder):
    return sorted((folder / "raw").rglob("*.ome.tif"))


def assert_one_clear_error(done, *words):
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def assert_results_readable(folder):
    trial = next(iter(Experiment.load(folder / "results")))
    assert trial.responses.n_obs == trial.cells.n_obs


def test_a_truncated_tiff(copy_of_finished, pli):
    victim = tiffs(copy_of_finished)[10]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    assert_one_clear_error(pli("run", copy_of_finished / "experiment.toml"), victim.name)
    assert_results_readable(copy_of_finished)


def test_a_missing_frame(copy_of_finished, pli):
    victim = tiffs(copy_of_finished)[10]
    victim.unlink()
    assert_one_clear_error(pli("run", copy_of_finished / "experiment.toml"), "11")
    assert_results_readable(copy_of_finished)


def test_a_paq_cut_in_mid_row(copy_of_finished, pli):
    victim = next((copy_of_finished / "raw").rglob("*.paq"))
    size = victim.stat().st_size
    with victim.open("r+b") as file:
        file.truncate(size // 2 + (4 if (size // 2) % 8 == 0 else 0) // 4 * 4)
    assert_one_clear_error(pli("run", copy_of_finished / "experiment.toml"), "t-001")
    assert_results_readable(copy_of_finished)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('type = "AllOpticalTrial"', 'type = "AllOptcalTrial"', ("AllOptcalTrial", "Did you mean 'AllOpticalTrial'")),
        ("output =", "outptu =", ("outptu", "Did you mean 'output'")),
        ("movie =", "moive =", ("moive", "Did you mean 'movie'")),
        ('engine = "quick"', 'engine = "quik"', ("quik", "Did you mean 'quick'")),
        ("frame_clock = ", "frameclock = ", ("no option 'frameclock'", "Did you mean 'frame_clock'")),
        (
            '"markpoints2packio"',
            '"markpoint2packio"',
            ("to be its stim", "Did you mean 'markpoints2packio'"),
        ),
    ],
)
def test_a_mistyped_file(copy_of_finished, pli, old, new, words):
    path = copy_of_finished / "experiment.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert_one_clear_error(pli("run", path), *words)
    assert_results_readable(copy_of_finished)


def test_paths_that_are_not_there(tmp_path, pli):
    assert_one_clear_error(pli("run", tmp_path / "experiment.toml"), "There is no experiment file")
    assert_one_clear_error(pli("inspect", tmp_path / "nothing"), "There is no file or folder")
    assert_one_clear_error(pli("report", tmp_path), "not a results folder")
    (tmp_path / "odd.xyz").write_text("hello")
    assert_one_clear_error(pli("inspect", tmp_path / "odd.xyz"), "not of a format that a reader knows")


def test_debug_shows_the_traceback(tmp_path, pli):
    done = pli("run", tmp_path / "experiment.toml", "--debug")
    assert done.returncode != 0 and "Traceback" in done.stderr
