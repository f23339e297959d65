"""A messy raw folder with three trials, two ``.paq`` and NAPARM folders: what `pli init` drafts goes straight into a run."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import UnknownFormatError
from packerlabimaging.io import PrairieViewWriter
from packerlabimaging.pipeline import draft_experiment
from packerlabimaging.pipeline.drafting import experiment_id
from packerlabimaging.simulate import simulate_experiment
from packerlabimaging.trials import Experiment


def simulate(folder: Path, *, seed: int, **changes) -> Path:
    return simulate_experiment(folder, size="tiny", seed=seed, progress=False, **changes) / "raw"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> list[Path]:
    """Three recordings: two with the stimulation, of different length, and one whose .paq and protocol will be thrown away."""
    folder = tmp_path_factory.mktemp("simulated")
    lengths = (600, 540, 600)
    return [simulate(folder / str(seed), seed=seed, n_frames=n_frames) for seed, n_frames in enumerate(lengths, 1)]


@pytest.fixture
def messy(simulated, tmp_path) -> Path:
    """Movies with a date in the name, signals elsewhere by number, protocols numbered after a scheme of their own."""
    raw = tmp_path / "RL109" / "raw"
    movies, signals, protocols = raw / "2020-12-19", raw / "packio files", raw / "naparm"
    for folder in (movies, signals, protocols):
        folder.mkdir(parents=True)
    for number, source in zip((13, 14, 15), simulated, strict=True):
        shutil.copytree(source / "t-001", movies / f"2020-12-19_t-{number:03d}")
    for number, source in zip((13, 14), simulated, strict=False):
        shutil.copy(source / "t-001.paq", signals / f"2020-12-19_RL109_{number:03d}.paq")
        shutil.copytree(source / "SIM001_ps_001", protocols / f"2020-12-19_RL109_ps_{number:03d}")
    (raw / "notes.txt").write_text("mouse was calm")
    (signals / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    return raw


def test_each_trial_gets_its_own_inputs_with_reasons(messy, tmp_path):
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    got = {trial.id: {name: pair.path.name for name, pair in trial.inputs.items()} for trial in draft.trials}
    assert got == {
        "t-013": {"sync": "2020-12-19_RL109_013.paq", "photostim": "2020-12-19_RL109_ps_013"},
        "t-014": {"sync": "2020-12-19_RL109_014.paq", "photostim": "2020-12-19_RL109_ps_014"},
        "t-015": {},
    }
    reasons = draft.trials[0].inputs["sync"].reason
    assert "shares the number 13" in reasons and re.search(r"6\d\d pulses on frame_clock for its 600 frames", reasons)
    assert draft.trials[0].inputs["sync"].options == {"frame_clock": "frame_clock", "stim": "markpoints2packio"}
    assert tomllib.loads(draft.text)["id"] == "RL109"


@pytest.mark.slow
def test_the_draft_runs(messy, tmp_path):
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    # these stims come too closely for the default preset: take the other one, as the draft proposes
    draft.path.write_text(draft.text.replace("# [trial.responses]", "[trial.responses]").replace("# preset", "preset"))
    experiment = Experiment.from_toml(draft.path).run(progress=False)
    assert {status.state for status in experiment.status()} == {"done"}
    assert experiment["t-013"].cells.n_vars == 600
    assert experiment["t-014"].responses.n_vars == len(experiment["t-014"].sync.stims)
    assert type(experiment["t-015"]).__name__ == "TwoPhotonImagingTrial"


def shift_protocols(protocols: Path) -> None:
    """Number protocols after a scheme of their own: those of t-013 and t-014 become ps_014 and ps_015."""
    for number in (14, 13):
        (protocols / f"2020-12-19_RL109_ps_{number:03d}").rename(protocols / f"2020-12-19_RL109_ps_{number + 1:03d}")


def test_stims_overrule_numbers_of_another_scheme(messy, tmp_path):
    shift_protocols(messy / "naparm")  # the two have 10 and 9 stims
    shutil.rmtree(messy / "2020-12-19" / "2020-12-19_t-015")
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    got = {trial.id: trial.inputs["photostim"].path.name[-6:] for trial in draft.trials}
    assert got == {"t-013": "ps_014", "t-014": "ps_015"}


def test_numbers_of_another_scheme_are_not_believed(messy, tmp_path):
    protocols = messy / "naparm"
    shutil.rmtree(protocols / "2020-12-19_RL109_ps_014")
    shutil.copytree(protocols / "2020-12-19_RL109_ps_013", protocols / "2020-12-19_RL109_ps_014")
    shutil.copy(messy / "packio files" / "2020-12-19_RL109_013.paq", messy / "packio files" / "2020-12-19_RL109_014.paq")
    shutil.rmtree(messy / "2020-12-19" / "2020-12-19_t-015")
    shutil.rmtree(messy / "2020-12-19" / "2020-12-19_t-014")
    shutil.copytree(messy / "2020-12-19" / "2020-12-19_t-013", messy / "2020-12-19" / "2020-12-19_t-014")
    shift_protocols(protocols)  # alike in all but their numbers, of which only 14 is shared
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    assert all("photostim" not in trial.inputs for trial in draft.trials)
    assert {finding.code for finding in draft.findings} >= {"input-not-paired"}
    assert "the numbers do not fit for all" in draft.text
    assert all(len(trial.candidates["photostim"]) == 2 for trial in draft.trials)


def test_pulses_tell_recordings_apart_where_names_do_not(messy, tmp_path):
    signals = messy / "packio files"
    (signals / "2020-12-19_RL109_013.paq").rename(signals / "second.paq")
    (signals / "2020-12-19_RL109_014.paq").rename(signals / "first.paq")
    shutil.rmtree(messy / "2020-12-19" / "2020-12-19_t-015")
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    assert {trial.id: trial.inputs["sync"].path.name for trial in draft.trials} == {"t-013": "second.paq", "t-014": "first.paq"}


def test_what_can_not_be_told_is_left_open(messy, tmp_path):
    """Two movies of one length and two files of signals with the same number of pulses, without any name in common."""
    signals, movies = messy / "packio files", messy / "2020-12-19"
    shutil.rmtree(movies / "2020-12-19_t-014")
    shutil.copy(signals / "2020-12-19_RL109_013.paq", signals / "b.paq")
    (signals / "2020-12-19_RL109_013.paq").rename(signals / "a.paq")
    (signals / "2020-12-19_RL109_014.paq").unlink()
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    for trial in draft.trials:
        assert "sync" not in trial.inputs
        assert {pair.path.name for pair in trial.candidates["sync"]} == {"a.paq", "b.paq"}
    assert "# sync: none is sure; uncomment the right one" in draft.text
    assert re.search(r'# sync = \{ path = "RL109/raw/packio files/a.paq", options = \{ frame_clock = "frame_clock"', draft.text)
    Experiment.from_toml(draft.path)  # comments only: the file is valid as it stands


def test_a_file_that_only_its_number_of_pulses_gives_to_a_trial_is_left_open(messy, tmp_path):
    """t-015 was recorded without signals; a further file has as many pulses as t-013 and t-015 have frames."""
    shutil.copy(messy / "packio files" / "2020-12-19_RL109_013.paq", messy / "packio files" / "old.paq")
    first, _, third = draft_experiment(messy, path=tmp_path / "experiment.toml").trials
    assert first.inputs["sync"].path.name == "2020-12-19_RL109_013.paq"
    assert "sync" not in third.inputs
    assert [pair.path.name for pair in third.candidates["sync"]] == ["old.paq"]
    assert "fit other movies as well" in third.candidates["sync"][0].reason


def test_dates_tell_recordings_of_one_length_apart(messy, tmp_path):
    """Without names in common, the time that a .paq was written tells which movie it was recorded with."""
    movies, signals = messy / "2020-12-19", messy / "packio files"
    shutil.rmtree(movies / "2020-12-19_t-014")
    (signals / "2020-12-19_RL109_014.paq").unlink()
    shutil.move(signals / "2020-12-19_RL109_013.paq", signals / "a.paq")
    shutil.copy(signals / "a.paq", signals / "b.paq")
    for name, minute, file in (("t-013", 30, "b.paq"), ("t-015", 50, "a.paq")):
        (xml,) = (movies / f"2020-12-19_{name}").glob("*.xml")
        text = xml.read_text(encoding="utf-8-sig")
        text = re.sub(r"<PVScan ", f'<PVScan date="12/19/2020 2:{minute}:00 PM" ', text)
        xml.write_text(text, encoding="utf-8")
        end_s = datetime(2020, 12, 19, 14, minute, 23).timestamp()
        os.utime(signals / file, (end_s, end_s))
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    assert {trial.id: trial.inputs["sync"].path.name for trial in draft.trials} == {"t-013": "b.paq", "t-015": "a.paq"}
    assert "recorded at the same time by its file's date (14:29:" in draft.trials[0].inputs["sync"].reason
    assert [finding.code for finding in draft.findings].count("doubtful-pair") == 2  # dates are weak: the user is asked to check
    assert "Check it: only the dates tell it from others." in draft.text


def test_what_is_no_movie_is_left_out_and_told(messy, tmp_path):
    frames = np.zeros((3, 8, 9), np.uint16)
    tifffile.imwrite(messy / "reference.tif", frames[0])
    damaged = messy / "2020-12-19" / "2020-12-19_t-014"
    next(damaged.glob("*_000007.ome.tif")).unlink()
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    assert [trial.id for trial in draft.trials] == ["t-013", "t-015"]
    left_out = {Path(finding.where).name: finding for finding in draft.findings if finding.code == "movie-left-out"}
    assert left_out["reference.tif"].severity == "info" and "one frame" in left_out["reference.tif"].message
    assert left_out[damaged.name].severity == "warning"
    assert "# Left out:" in draft.text
    shutil.rmtree(messy / "2020-12-19")
    with pytest.raises(UnknownFormatError, match="No movie that a trial can be made of"):
        draft_experiment(messy, path=tmp_path / "other.toml")


def test_several_channels_are_a_choice(tmp_path):
    metadata = ImagingMetadata(frame_shape_px=(8, 9), pixel_size_um=(1.0, 1.0), frame_rate_hz=30.0, channels=("Ch2",))
    folder = tmp_path / "raw" / "t-001"
    with PrairieViewWriter(folder, metadata=metadata) as writer:
        writer.write(np.zeros((4, 8, 9), np.uint16), np.arange(4) / 30)
    for path in list(folder.glob("*_Ch2_*.tif")):
        shutil.copy(path, path.with_name(path.name.replace("_Ch2_", "_Ch1_")))
    (xml,) = folder.glob("*.xml")
    text = xml.read_text(encoding="utf-8-sig")
    files = re.sub(r"(<File [^>]*?/>)", lambda m: m[1].replace("Ch2", "Ch1").replace('channel="2"', 'channel="1"') + m[1], text)
    xml.write_text(files, encoding="utf-8")
    draft = draft_experiment(tmp_path / "raw", path=tmp_path / "experiment.toml")
    assert draft.trials[0].choices == {"channel": ["Ch1", "Ch2"]}
    assert '# movie = { path = "raw/t-001", options = { channel = "Ch1" } }' in draft.text
    assert "movie-choice" in {finding.code for finding in draft.findings}


def test_movies_that_can_not_be_of_one_field_of_view_get_different_ones(tmp_path):
    for name, width in (("t-001", 9), ("t-002", 9), ("t-003", 12)):
        metadata = ImagingMetadata(frame_shape_px=(8, width), pixel_size_um=(1.0, 1.0), frame_rate_hz=30.0, channels=("Ch2",))
        with PrairieViewWriter(tmp_path / "raw" / name, metadata=metadata) as writer:
            writer.write(np.zeros((4, 8, width), np.uint16), np.arange(4) / 30)
    draft = draft_experiment(tmp_path / "raw", path=tmp_path / "experiment.toml")
    assert [trial.fov for trial in draft.trials] == ["fov-1", "fov-1", "fov-2"]


@pytest.mark.parametrize(
    ("folder", "names", "expected"),
    [
        ("RL109/raw", ["t-013", "t-013.paq"], "RL109"),
        ("projects/2020-12-19", ["2020-12-19_RL109_t-013"], "RL109_2020-12-19"),
        ("mouse 7/data/raw", ["t-001"], "mouse-7"),
        ("screening", ["RL109_t-013"], "screening"),
        ("mouse-7/2020-12-19", ["RL109_a", "RL110_b"], "mouse-7_2020-12-19"),
    ],
)
def test_the_experiment_is_named_after_what_tells_most(folder, names, expected, tmp_path):
    assert experiment_id(tmp_path / folder, [Path(name) for name in names])[0] == expected


def test_what_lies_in_the_movies_folder_is_its_own(messy, tmp_path):
    """Signals inside a PrairieView folder, a protocol that can't be read: the one is taken, the other left as a comment."""
    movie = messy / "2020-12-19" / "2020-12-19_t-015"
    shutil.copy(messy / "packio files" / "2020-12-19_RL109_013.paq", movie / "signals.paq")
    protocol = movie / "ps"
    shutil.copytree(messy / "naparm" / "2020-12-19_RL109_ps_013", protocol)
    for path in protocol.glob("*.xml"):
        path.write_text(path.read_text()[:-30])
    draft = draft_experiment(messy, path=tmp_path / "experiment.toml")
    trial = draft.trials[2]
    assert trial.inputs["sync"].reasons[0] == "lies in the movie's folder"
    assert "photostim" not in trial.inputs
    assert protocol in {pair.path for pair in trial.candidates["photostim"]} and "can't be read" in draft.text
    assert not [finding for finding in draft.findings if finding.code == "input-shared"]
    Experiment.from_toml(draft.path)
