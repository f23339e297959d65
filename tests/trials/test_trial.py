"""Trials: four doors for subclasses, checked values, no I/O in constructors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lab_trials import NumbersTrial, RememberingTrial

from packerlabimaging.analysis import match_targets
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ConfigError, MissingInputError, NotComputedError, ParameterError, SyncError
from packerlabimaging.trials import AllOpticalTrial, Experiment, SignalsInput, Trial, TwoPhotonImagingTrial
from packerlabimaging.trials.trial import trial_types


def test_making_a_trial_touches_no_file():
    trial = AllOpticalTrial("t-013", inputs={"movie": "not/there", "sync": "no.paq", "photostim": "nowhere/"})
    assert trial.inputs["movie"].path == Path("not/there")
    assert "finished steps: none" in repr(trial)


def test_fields_are_typed_with_defaults_and_inherited():
    trial = RememberingTrial("t", offset=3, note="left", comment="x")
    assert (trial.offset, trial.note, trial.comment, trial.group) == (3, "left", "x", "")
    assert RememberingTrial.note == "none"
    with pytest.raises(ConfigError, match="offset: 'three' is not of the type int"):
        NumbersTrial("t", offset="three")


def test_a_subclass_can_give_a_field_another_default():
    class Right(RememberingTrial):
        note = "right"

    assert Right("t").note == "right" and Right("t", note="x").note == "x"
    assert RememberingTrial("t").note == "none"


def test_all_faults_of_a_trial_come_at_once_with_suggestions():
    with pytest.raises(ConfigError) as caught:
        RememberingTrial("t", inputs={"nunbers": "a"}, settings={"scle": {}, "scale": {"facto": 1, "factor": "x"}}, offsett=1)
    text = str(caught.value)
    for part in (
        "Did you mean 'numbers'",
        "Did you mean 'scale'",
        "Did you mean 'factor'",
        "Did you mean 'offset'",
        "scale.facto",
    ):
        assert part in text


def test_a_missing_input_says_what_to_pass():
    with pytest.raises(MissingInputError, match=r"inputs=\{'numbers': 'path/to/it'\}"):
        _ = NumbersTrial("t").numbers
    with pytest.raises(MissingInputError, match="the photostimulation protocol"):
        _ = AllOpticalTrial("t").photostim


def test_stimulation_times_cannot_be_accepted_away(monkeypatch):
    lost = Finding("no-stim-times", "There is no channel of trigger pulses.", "error")
    monkeypatch.setattr(AllOpticalTrial, "sync", SimpleNamespace(light=None, findings=(lost,)))
    with pytest.raises(SyncError, match="(?s)'t' has no stimulation times.*no-stim-times: There is no channel"):
        _ = AllOpticalTrial("t").artefact


def test_a_failed_synchronisation_stops_the_trial_until_its_findings_are_accepted_by_name(monkeypatch):
    lost = Finding("missing-pulses", "3 frame pulses are missing, after 5.2 s.", "error", advice="Look there.")
    many = Finding("more-stims-than-protocol", "101 trigger pulses, where the protocol has 100.", "error")
    extra = Finding("extra-pulses", "4 pulses more.", "warning")
    monkeypatch.setattr(TwoPhotonImagingTrial, "sync", SimpleNamespace(findings=(lost, many, extra), ticks=object()))
    expected = (
        r"(?s)'t' failed:\n- missing-pulses: 3 frame .* there.\n- more-stims.*besides:\n- extra-p.*"
        r"\[trial.sync\] accept = \[\.\.\.\]"
    )
    with pytest.raises(SyncError, match=expected):
        TwoPhotonImagingTrial("t").check_result("sync")
    partly = TwoPhotonImagingTrial("t", settings={"sync": {"accept": ["more-stims-than-protocol", "extra-pulses"]}})
    with pytest.raises(SyncError, match="missing-pulses") as raised:
        partly.check_result("sync")
    assert "101" not in str(raised.value)
    both = TwoPhotonImagingTrial("t", settings={"sync": {"accept": ["missing-pulses", "more-stims-than-protocol"]}})
    both.check_result("sync")
    TwoPhotonImagingTrial("t").check_result("cells")  # the audit concerns no other step


def test_nobody_is_told_to_accept_that_there_is_no_answer(monkeypatch):
    none = Finding("no-matching-block", "No block of pulses fits the 600 frames.", "error")
    monkeypatch.setattr(AllOpticalTrial, "sync", SimpleNamespace(findings=(none,), ticks=None, light=None))
    with pytest.raises(SyncError, match="(?s)no-matching-block.*no answer that could be accepted") as raised:
        AllOpticalTrial("t").check_result("sync")
    assert "[trial.sync]" not in str(raised.value)


def test_settings_of_the_synchronisation():
    trial = TwoPhotonImagingTrial("t", settings={"sync": {"block": 2, "active_low": ["frame_clock"]}})
    assert (trial.settings["sync"].block, trial.settings["sync"].active_low) == (2, ("frame_clock",))
    with pytest.raises(ConfigError, match="active_low"):
        TwoPhotonImagingTrial("t", settings={"sync": {"active_low": "up"}})


@pytest.mark.parametrize("stim", ["led", ["slm", "led"], None])
def test_several_stimulation_channels_can_be_named(stim):
    trial = TwoPhotonImagingTrial("t", inputs={"sync": {"path": "a.paq", "options": {"stim": stim}}})
    assert trial.role("sync", "stim") == stim


@pytest.mark.parametrize("stim", [[1], ["a", None], {"a": 1}])
def test_what_is_no_channel_is_refused(stim):
    with pytest.raises(ConfigError, match="must be the name of a channel, or a list of such names"):
        TwoPhotonImagingTrial("t", inputs={"sync": {"path": "a.paq", "options": {"stim": stim}}})
    with pytest.raises(ConfigError, match=r"frame_clock = \['a'\] must be the name of a channel\."):
        TwoPhotonImagingTrial("t", inputs={"sync": {"path": "a.paq", "options": {"frame_clock": ["a"]}}})


def test_targets_cannot_be_scored_without_their_pixels():
    with pytest.raises(MissingInputError, match="was not given its input 'movie'"):
        AllOpticalTrial("t", inputs={"photostim": "nowhere/"}).make_targets()


def test_targets_beyond_a_cropped_field_have_no_trace(monkeypatch):
    told = Finding("targets-outside-field", "1 of 2 targets lie outside the imaged part of the field.")
    protocol = PhotostimProtocol(
        targets_px=[[0, 90.0, 3.0], [0, 5.0, 6.0]], image_shape_px=(20, 30), groups=((0, 1),), rows=(), findings=(told,)
    )
    monkeypatch.setattr(AllOpticalTrial, "photostim", protocol)
    metadata = ImagingMetadata(frame_shape_px=(20, 30), pixel_size_um=(2.0, 2.0))
    monkeypatch.setattr(AllOpticalTrial, "metadata", metadata)
    monkeypatch.setattr(AllOpticalTrial, "traces", {"targets": np.ones((1, 4), np.float32)})
    match = match_targets(protocol, RoiSet.from_discs(np.zeros((0, 2)), (1.0, 1.0), (20, 30)), pixel_size_um=(2.0, 2.0))
    found = AllOpticalTrial("t")._target_traces(match)
    assert np.isnan(found[0]).all() and found[1].tolist() == [1, 1, 1, 1]


def test_results_without_an_experiment_say_how_to_get_them():
    with pytest.raises(NotComputedError, match="belongs to no experiment"):
        _ = TwoPhotonImagingTrial("t").cells


def test_inputs_can_carry_reader_and_options():
    trial = NumbersTrial("t", inputs={"numbers": {"path": "a.numbers", "reader": "numbers", "options": {"factor": 2}}})
    assert trial.inputs["numbers"].options == {"factor": 2}
    with pytest.raises(ConfigError, match="Did you mean 'options'"):
        NumbersTrial("t", inputs={"numbers": {"path": "a", "option": {}}})
    with pytest.raises(ConfigError, match="must be a path"):
        NumbersTrial("t", inputs={"numbers": 3})


@pytest.mark.parametrize("bad", ["", "a/b", "..", ".hidden", "a b", "x" * 101, "t.", 3])
def test_ids_must_be_names_on_every_system(bad):
    with pytest.raises(ParameterError, match="can't be used as a name"):
        NumbersTrial(bad)


def test_faulty_classes_are_refused_when_they_are_defined():
    with pytest.raises(TypeError, match="has no default"):

        class NoDefault(Trial):
            eye: str

    with pytest.raises(TypeError, match="can be changed in place"):

        class Mutable(Trial):
            eyes: list = []  # noqa: RUF012 - the fault under test

    with pytest.raises(TypeError, match="name of something that trials already have"):

        class Shadow(Trial):
            run: str = "x"

    with pytest.raises(TypeError, match="no method make_missing"):

        class NoHook(Trial):
            steps = ("missing",)


def test_types_are_found_by_short_or_full_name_and_redefining_is_allowed():
    assert trial_types.get("AllOpticalTrial") is AllOpticalTrial
    assert trial_types.get("packerlabimaging.trials.all_optical:AllOpticalTrial") is AllOpticalTrial
    with pytest.raises(ParameterError, match="Did you mean 'AllOpticalTrial'"):
        trial_types.get("AllOpticTrial")

    def define():
        class Twice(Trial):
            pupil = SignalsInput()

        return Twice

    define()
    second = define()
    assert trial_types.get("Twice") is second


def test_the_code_of_a_hook_is_its_version_or_its_source():
    assert TwoPhotonImagingTrial.hook_code("cells") == ("TwoPhotonImagingTrial 1",)
    reached = RememberingTrial.hook_code("total")
    assert any(entry.startswith("lab_trials:RememberingTrial.make_total ") for entry in reached)
    assert any(entry.startswith("lab_trials:NumbersTrial.make_total ") for entry in reached)


def test_adding_trials(tmp_path):
    experiment = Experiment("e", output=tmp_path / "raw" / "results")
    experiment.add(NumbersTrial("t-1"))
    with pytest.raises(ParameterError, match="has a trial 't-1' already"):
        experiment.add(NumbersTrial("t-1"))
    with pytest.raises(ParameterError, match="belongs to the experiment"):
        Experiment("f", output=tmp_path / "f").add(experiment["t-1"])
    (tmp_path / "raw").mkdir()
    with pytest.raises(ParameterError, match="inside the raw data"):
        experiment.add(NumbersTrial("t-2", inputs={"numbers": tmp_path / "raw"}))
    with pytest.raises(MissingInputError, match="^The experiment .* Trials: t-1"):
        experiment["t-9"]
    assert not (tmp_path / "raw" / "results").exists()


def test_code_that_a_hook_reaches_in_a_users_class_counts():
    class Base(NumbersTrial):
        scale = 2

        def helper(self):
            return self.deeper * self.scale

        @property
        def deeper(self):
            return 1

        def unrelated(self):
            return "a plot"

        def make_scaled(self):
            return [self.helper()]

    def entries(cls):
        return {entry.split(".")[-1].split()[0]: entry for entry in cls.hook_code("scaled") if ".Base." in entry}

    before = entries(Base)
    assert set(before) == {"make_scaled", "helper", "deeper", "scale"}
    Base.deeper = property(lambda self: 2)
    Base.unrelated = lambda self: "another plot"
    Base.scale = 3
    after = entries(Base)
    assert {name for name in before if before[name] != after[name]} == {"deeper", "scale"}


def test_a_users_override_that_our_own_code_calls_counts():
    class OtherReducers(TwoPhotonImagingTrial):
        def make_reducers(self):
            return super().make_reducers()

    assert any("OtherReducers.make_reducers" in entry for entry in OtherReducers.hook_code("images"))
    assert not any("OtherReducers" in entry for entry in OtherReducers.hook_code("cells"))
