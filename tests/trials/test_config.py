"""The experiment file and its Python twin make the same thing; all faults of a file come at once."""

from __future__ import annotations

import pytest
from lab_trials import NumbersTrial, RememberingTrial

from packerlabimaging.errors import ConfigError, MissingFileError, StoreError
from packerlabimaging.trials import Experiment, ExperimentConfig, TwoPhotonImagingTrial

FILE = """
schema = 1
id = "e"
output = "out"
comment = "a comment"

[segmentation]
engine = "quick"
settings = { a = 1 }

[[trial]]
id = "t-1"
type = "RememberingTrial"
note = "left"
offset = 4
[trial.inputs]
numbers = "raw/a.numbers"
extra = { path = "raw/b.numbers", reader = "numbers", options = { factor = 2 } }
[trial.scale]
factor = 3.0
names = ["a", "b"]
"""


def write(tmp_path, text):
    path = tmp_path / "experiment.toml"
    path.write_text(text)
    return path


def test_an_adopted_segmentation_is_loaded_again(tmp_path):
    made = Experiment("e", output=tmp_path / "out")
    made._choose_segmentation(None, tmp_path / "suite2p", None, None)
    values = made.config.to_dict(base=tmp_path)
    loaded = ExperimentConfig.from_dict(values, base=tmp_path, source="experiment.json")
    assert loaded.segmentation == made.segmentation_config and values["segmentation"]["reader"] is None


def test_file_and_python_give_the_same_config(tmp_path):
    from_file = Experiment.from_toml(write(tmp_path, FILE))
    by_hand = Experiment("e", output=tmp_path / "out", comment="a comment")
    by_hand.add(
        RememberingTrial(
            "t-1",
            inputs={
                "numbers": tmp_path / "raw/a.numbers",
                "extra": {"path": tmp_path / "raw/b.numbers", "reader": "numbers", "options": {"factor": 2}},
            },
            settings={"scale": {"factor": 3.0, "names": ["a", "b"]}},
            note="left",
            offset=4,
        )
    )
    by_hand._choose_segmentation("quick", None, {"a": 1}, None)
    assert from_file.config.to_dict(base=tmp_path) == by_hand.config.to_dict(base=tmp_path)
    assert from_file["t-1"].settings["scale"].names == ("a", "b")


def test_a_description_survives_its_own_json(tmp_path):
    config = ExperimentConfig.from_toml(write(tmp_path, FILE))
    again = ExperimentConfig.from_dict(config.to_dict(base=tmp_path / "x"), base=tmp_path / "x", source="json")
    assert again.to_dict(base=tmp_path) == config.to_dict(base=tmp_path)


def test_all_faults_come_at_once_each_with_its_place(tmp_path):
    text = FILE.replace("schema = 1", "schema = 7").replace('id = "e"', 'id = "e/f"').replace("note =", "notte =")
    text = text.replace("factor = 3.0", "factr = 3.0").replace('engine = "quick"', 'engin = "quick"')
    text += '\n[[trial]]\nid = "t-1"\ntype = "NumberTrial"\n'
    with pytest.raises(ConfigError) as caught:
        Experiment.from_toml(write(tmp_path, text))
    message = str(caught.value)
    for part in (
        "schema = 7",
        "e/f",
        "[[trial]] 't-1': unknown key 'notte'. Did you mean 'note'?",
        "scale.factr is not a setting. Did you mean 'factor'?",
        "unknown key 'engin'. Did you mean 'engine'?",
        "There is no trial type 'NumberTrial'",
        "experiment.toml can't be used",
    ):
        assert part in message, message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = 1\nid = ", "not valid TOML"),
        ("", "schema = None"),
        ('schema = 1\nid = "e"\noutput = "o"\ntrial = 3', "double brackets"),
        ('schema = 1\nid = "e"\noutput = "o"\n[segmentation]\nengine = "a"\npath = "b"', "not both"),
        ('schema = 1\nid = "e"\noutput = "o"\n[[trial]]\ntype = "NumbersTrial"', "number 1: 'id' is missing"),
        ('schema = 1\nid = "e"\noutput = "o\\u0000"', "'output' is missing or not text"),
        ('schema = 1\nid = "e"\noutput = "o"\n[segmentation]\npath = "b"\nreader = 4', "reader = 4 must be the name"),
        (
            'schema = 1\nid = "e"\noutput = "o"\n[segmentation]\npath = "b"\noptions = 4',
            "segmentation: path must be text, options a table",
        ),
        (FILE.replace("b.numbers", "b\\u0000"), "input 'extra': .* can't be a path"),
        (FILE.replace('reader = "numbers"', "reader = 3"), "input 'extra': reader = 3 must be the name"),
        ("x = " + "[" * 3000 + "]" * 3000, "not valid TOML"),
    ],
)
def test_faulty_files(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        Experiment.from_toml(write(tmp_path, text))


def test_a_file_of_a_windows_editor(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    assert Experiment.from_toml(path).id == Experiment.from_toml(write(tmp_path, FILE)).id


def test_the_channel_of_a_role_must_be_a_name():
    with pytest.raises(ConfigError, match="input 'sync': stim = 3 must be the name of a channel"):
        TwoPhotonImagingTrial("t", inputs={"sync": {"path": "a.paq", "options": {"stim": 3}}})


def test_a_folder_is_not_an_experiment_file(tmp_path):
    with pytest.raises(ConfigError, match="is a folder. Give the experiment file, or make one with: pli init"):
        Experiment.from_toml(tmp_path)
    write(tmp_path, "schema = 1")
    with pytest.raises(ConfigError, match="is a folder. Give the experiment file: '.*experiment.toml'"):
        Experiment.from_toml(tmp_path)


def test_missing_files_say_what_to_do(tmp_path):
    with pytest.raises(MissingFileError, match="pli init"):
        Experiment.from_toml(tmp_path / "none.toml")
    with pytest.raises(StoreError, match="not a results folder"):
        Experiment.load(tmp_path)


def test_without_an_engine_nothing_runs_and_the_choices_are_listed(tmp_path):
    experiment = Experiment("e", output=tmp_path / "out").add(TwoPhotonImagingTrial("t"))
    with pytest.raises(ConfigError, match='Choose an engine .*"quick"'):
        experiment.run()
    with pytest.raises(ConfigError, match="no trials"):
        Experiment("e", output=tmp_path / "out").run(engine="quick")
    assert not (tmp_path / "out").exists()
    assert issubclass(RememberingTrial, NumbersTrial)


def test_planes_are_not_segmented_together(tmp_path):
    made = Experiment("e", output=tmp_path / "out")
    for plane, fov in enumerate(("a", "b", "a")):
        inputs = {"movie": {"path": tmp_path / "volume", "options": {"plane": plane}}}
        made.add(TwoPhotonImagingTrial(f"p{plane}", inputs=inputs, fov=fov))
    with pytest.raises(ConfigError, match=r"'p0' \(plane 0\) and 'p2' \(plane 2\) are of one field of view, 'a'"):
        made.run(engine="quick", progress=False)
