"""Single sections: what they show where parts are missing, odd, or not at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import MissingFileError
from packerlabimaging.report.sections.cells import Traces
from packerlabimaging.report.sections.images import FieldOfView, Registration
from packerlabimaging.report.sections.inputs import Inputs
from packerlabimaging.report.sections.overview import Overview
from packerlabimaging.report.sections.provenance import Provenance
from packerlabimaging.report.sections.responses import Responses, Targets, _post_s, in_words
from packerlabimaging.report.sections.synchronisation import Synchronisation
from packerlabimaging.report.values import pretty_json, show


@pytest.fixture
def trial(make_experiment):
    """A pretend trial with everything."""
    return make_experiment.trial("t-001")


def variant(trial, **changes):
    """A trial of the same data of which some attributes differ; an exception as a value is raised."""

    class Variant(type(trial)):
        pass

    for name, value in changes.items():

        def read(self, value=value):
            if isinstance(value, Exception):
                raise value
            return value

        setattr(Variant, name, property(read))
    made = Variant.__new__(Variant)
    made.__dict__.update({name: value for name, value in vars(trial).items() if name not in changes})
    return made


def test_a_failed_audit_is_shown_with_its_findings_and_signals(trial):
    lost = Finding("no-pulses", "The frame clock has no pulses.", "error")
    failed = variant(trial, sync=SyncAudit(ticks=None, triggers={}, stims=trial.sync.stims.iloc[:0], findings=(lost,)))
    content = Synchronisation().render(failed)
    assert content.verdict == "fail" and content.findings[0].severity == "error"
    assert "no frame times" in content.text[0]
    assert len(content.figures) == 1 and "beginning" in content.figures[0].caption
    row = Overview().render([failed] and type("E", (list,), {"output": "o"})([failed]))
    assert row.tables[0].rows[0][4] == "fail" and row.tables[0].rows[0][3] is None


def test_events_are_drawn_on_the_channels_that_they_were_found_in(trial):
    figures = Synchronisation().render(trial).figures
    panels = figures[2].picture
    assert panels["markpoints2packio"].get_ylabel().endswith("5 events")
    assert panels["frame_clock"].get_ylabel().endswith("900 events")


def test_nominal_times_are_called_nominal_and_not_drawn_as_if_measured(trial):
    audit = replace(trial.sync, ticks=FrameClock.nominal(900, 30.19))
    content = Synchronisation().render(variant(trial, sync=audit))
    assert content.facts["frame times from"] == "nominal"
    assert not any("Frame clock" in figure.caption for figure in content.figures)


@pytest.mark.parametrize(
    ("interval_s", "light_s", "post_s"), [(10.0, 0.25, 3.0), (1.75, 0.25, 1.75), (10.0, 2.0, 3.5), (1.0, 0.8, 1.3)]
)
def test_averages_show_no_further_stim(interval_s, light_s, post_s):
    onsets = 5.0 + interval_s * np.arange(5)
    stims = pd.DataFrame({"onset_s": onsets, "end_s": onsets + light_s})
    assert _post_s(stims) == pytest.approx(post_s)


def test_raw_files_that_are_not_at_hand_are_said_so(trial):
    gone = MissingFileError("There is no file 't-001.paq'.")
    away = variant(trial, signals=gone, metadata=gone, photostim=gone)
    content = Synchronisation().render(away)
    assert "not at hand" in content.text[0] and len(content.figures) == 2
    assert "not at hand" in Inputs().render(away).text[0]
    assert FieldOfView().render(away).figures


def test_inputs_show_paths_protocol_and_pixel_size(trial):
    content = Inputs().render(trial)
    assert content.tables[0].rows[1] == ["sync", "raw/t-001.paq", "detected"]
    assert content.facts["pixel height, width (µm)"] == (1.2, 1.2)
    rows = content.tables[1].rows
    assert [row[3] for row in rows] == [0.0, 250.0]  # 10 shots of 20 ms with 5 ms between: the second row starts after 250 ms
    assert "500 ms a stim" in content.text[0]


def test_the_mean_of_the_registered_frames_is_preferred(trial):
    images = {"mean": trial.images["mean"], "segmentation_mean": trial.images["mean"] + 1}
    content = FieldOfView().render(variant(trial, images=images))
    assert content.figures[0].caption.startswith("Registered mean image with the outlines of the 12 ROIs")


def test_images_of_the_raw_movie_are_called_raw(trial):
    image = trial.images["mean"]
    content = FieldOfView().render(variant(trial, images={"segmentation_mean": image, "max": image, "std": image}))
    assert content.figures[1].caption == "Raw maximum, raw standard deviation images, from left to right."


def test_excited_rois_are_counted_among_those_tested(trial):
    responses = trial.responses.copy()
    responses.obs.loc[responses.obs_names[-1], ["excited", "suppressed"]] = False
    responses.obs.loc[responses.obs_names[-1], "pvalue_adjusted"] = np.nan
    changed = variant(trial, responses=responses)
    row = Overview().render(type("E", (list,), {"output": "o"})([changed])).tables[0].rows[0]
    n_tested = responses.n_obs - 1
    assert row[7] == f"{int(responses.obs['excited'].sum())} of {n_tested} tested"
    assert Responses().render(changed).facts["ROIs tested (taken for cells)"] == n_tested


def test_rois_of_another_frame_size_are_not_drawn_on_an_image(trial):
    content = FieldOfView().render(variant(trial, images={"mean": trial.images["mean"].T}))
    assert "outlines" not in content.figures[0].caption


def test_registration_applies_only_with_one_shift_per_frame(trial):
    assert Registration().applies(trial)
    segmentation = trial.segmentation
    for extra in ({}, {"shifts_px": np.zeros((3, 2))}):
        changed = SimpleNamespace(extra=extra, n_frames=segmentation.n_frames)
        assert not Registration().applies(variant(trial, segmentation=changed))


def test_registration_is_measured_in_micrometres(trial):
    n_frames = trial.segmentation.n_frames
    shifts = np.zeros((n_frames, 2))
    shifts[1::2, 0] = 3.0
    changed = SimpleNamespace(extra={"shifts_px": shifts}, n_frames=n_frames)
    facts = Registration().render(variant(trial, segmentation=changed)).facts
    assert facts["largest step between frames (µm)"] == pytest.approx(3.6)


def test_a_table_without_cells_is_said_so(trial):
    cells = trial.cells.copy()
    cells.obs["iscell"] = False
    content = Traces().render(variant(trial, cells=cells))
    assert content.facts["taken for cells"] == 0 and "No ROI" in content.text[0]


def test_targets_list_every_target(trial):
    content = Targets().render(trial)
    assert content.facts["by status"] == "3 matched, 1 unmatched"
    assert len(content.tables[0].rows) == 4 and content.tables[0].folded


def test_responses_without_a_valid_stim_are_shown_without_averages(trial):
    responses = trial.responses.copy()
    responses.var["valid"] = False
    responses.X[:] = np.nan
    responses.obs["response_mean"] = np.nan
    responses.obs["pvalue_adjusted"] = np.nan
    responses.obs[["excited", "suppressed"]] = False
    content = Responses().render(variant(trial, responses=responses))
    assert len(content.figures) == 1 and content.facts["stims with a score"] == 0


def test_called_rois_are_listed_the_strongest_first(trial):
    content = Responses().render(trial)
    excited = next(table for table in content.tables if "called excited" in table.caption)
    means = [row[excited.columns.index("response_mean")] for row in excited.rows]
    assert len(means) == 4 and means == sorted(means, reverse=True)


def test_a_preset_is_told_in_words(trial):
    parameters = json.loads(trial.responses.uns["packerlabimaging"]["parameters"])
    said = in_words(parameters)
    assert "0.5 s after its last light" in said and "Benjamini-Hochberg" in said and "below 0.1" in said
    assert "less than 50%" in said and "neuropil-corrected" in said
    assert in_words({"name": "mine", "source": "me"}) == "Preset “mine” (me)."


def test_the_real_presets_can_all_be_told():
    from packerlabimaging._provenance import to_plain
    from packerlabimaging.analysis import PRESETS

    for preset in PRESETS.values():
        light = "its last light" if preset.post_anchor == "end" else "its first light"
        said = in_words(to_plain(preset))
        assert f"{preset.post_window_s:g} s " in said and f"after {light}" in said


def test_provenance_lists_steps_and_times(trial):
    content = Provenance().render(trial)
    assert content.tables[0].rows[0][:3] == ["sync", "2024-05-01T10:00:12+00:00", 12.0]
    parameters = next(table for table in content.tables if table.caption == "Parameters")
    assert json.loads(parameters.rows[0][2]) == {"percentile": 10}


def test_warnings_of_steps_are_findings(trial):
    receipts = {"cells": {"warnings": ("F0 is low",), "finished": "?", "started": None}}
    content = Provenance().render(variant(trial, receipts=receipts))
    assert content.findings[0].message == "F0 is low" and content.findings[0].where == "step cells"
    assert content.tables[0].rows[0][2] is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (True, "yes"), (np.False_, "no"), (3, "3"), (16368, "16,368"), (29.75123, "29.75"),
        (np.float32(0.5), "0.5"), (1234567.8, "1,234,568"), ((1.2, 3), "1.2, 3"), ({"a": 1}, "a: 1"), ("", "–"), (1e-7, "1e-07"),
    ],
)  # fmt: skip
def test_values_are_written_as_a_person_would(value, text):
    assert show(value) == text


def test_json_takes_arrays_and_nan():
    assert json.loads(pretty_json({"a": np.array([1.0, np.nan])})) == {"a": [1.0, "nan"]}
