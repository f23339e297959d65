"""A pretend experiment with all the parts that the report shows, and none of the code that computes them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.analysis.presets import PRESETS
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import MissingInputError, NotComputedError

_PATH = Path(__file__).parent.parent / "plotting" / "synthetic_recording.py"
_SPEC = importlib.util.spec_from_file_location("synthetic_recording", _PATH)
synthetic_recording = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(synthetic_recording)


class PretendTrial:
    """Has the results that ``results`` names; everything else raises as a real trial does."""

    type_name = "AllOpticalTrial"

    def __init__(self, id: str, recording, *, results: tuple[str, ...], comment: str = "") -> None:
        self.id, self.comment, self._recording, self._results = id, comment, recording, results
        self.inputs = {"movie": "raw/t-001/", "sync": "raw/t-001.paq"}
        self.findings = (Finding("extra-pulses-after", "20 pulses came after the last frame.", "warning", where="frame_clock"),)

    def has(self, result):
        return result in self._results

    def _result(self, name, value):
        if name not in self._results:
            raise NotComputedError(f"The step '{name}' has not run.")
        return value

    def role(self, input_name, role):
        return {"frame_clock": "frame_clock", "stim": "markpoints2packio"}[role]

    @property
    def metadata(self):
        return self._recording.metadata

    @property
    def signals(self):
        if "sync" not in self._results:
            raise MissingInputError("The trial was not given its input 'sync'.")
        return self._recording.signals

    @property
    def photostim(self):
        if "targets" not in self._results:
            raise MissingInputError("The trial was not given its input 'photostim'.")
        return self._recording.protocol

    @property
    def sync(self):
        r = self._recording
        ids = [f"stim-{i:03d}" for i in range(len(r.onsets))]
        stims = pd.DataFrame({"onset_s": r.onsets, "end_s": r.ends, "channel": "markpoints2packio", "valid": True}, index=ids)
        audit = SyncAudit(
            ticks=r.clock,
            frame_pulses_s=r.clock.starts_s,
            triggers={"markpoints2packio": r.onsets},
            stims=stims,
            findings=self.findings,
        )
        return self._result("sync", audit)

    @property
    def frame_clock(self):
        return self.sync.clock

    @property
    def images(self):
        image = self._recording.image
        return self._result("images", {"mean": image, "max": image * 2, "std": np.sqrt(image)})

    @property
    def segmentation(self):
        n_frames = self._recording.clock.n_frames
        shifts = np.random.default_rng(0).normal(0, 0.8, (n_frames, 2))
        F = np.zeros((len(self._recording.rois), n_frames), np.float32)
        return self._result("segmentation", Segmentation(rois=self._recording.rois, F=F, extra={"shifts_px": shifts}))

    @property
    def cells(self):
        return self._result("cells", self._recording.cells)

    @property
    def targets(self):
        return self._result("targets", self._recording.targets)

    @property
    def responses(self):
        return self._result("responses", self._recording.responses)

    @property
    def receipts(self):
        made = {"started": "2024-05-01T10:00:00+00:00", "finished": "2024-05-01T10:00:12+00:00"}
        values = {"parameters": {"settings.dff": {"percentile": 10}}, "versions": {"numpy": "2.0"}, "inputs": {"movie": "abc"}}
        return {step: {**made, **values, "warnings": (), "result": f"trials/{step}"} for step in self._results}


@pytest.fixture(scope="session")
def pretend_trial():
    """Return a function that makes a pretend trial with everything."""
    return lambda id, recording: PretendTrial(id, recording, results=ALL)


ALL = ("sync", "images", "segmentation", "cells", "targets", "responses")


@pytest.fixture(scope="session")
def recording():
    """A small made-up recording whose responses table has what the analysis notes about itself."""
    made = synthetic_recording.make_recording()
    add_notes(made.responses)
    return made


def add_notes(responses):
    parameters = {
        "name": "packerlab", "source": "the original analysis",
        "pre_window_s": 0.5, "post_window_s": 0.5, "subtract_neuropil": True,
        "f0": "pre-stim", "adjustment": "bh", "alpha": 0.1, "min_valid_fraction": 0.5,
        "test": "wilcoxon", "caveat": PRESETS["packerlab"].caveat,
    }  # fmt: skip
    families = pd.DataFrame({"n_tested": [4, 10], "n_excited": [4, 0]}, index=pd.Index(["target", "other"], name="family"))
    finding = Finding(
        "single-call-impossible", "With 5 stims a single responding ROI can't be called.", advice="Record more stims."
    )
    responses.uns["packerlabimaging"] |= {
        "parameters": json.dumps(parameters), "families": families, "findings": [json.dumps(finding.to_dict())],
    }  # fmt: skip


@pytest.fixture
def make_experiment(recording, tmp_path):
    """Return a function that makes an experiment of pretend trials."""

    class PretendExperiment(list):
        id = "RL109"
        output = tmp_path / "results"
        comment = "a pretend experiment"

    def make(*trials, results=ALL):
        return PretendExperiment(trials or [PretendTrial("t-001", recording, results=results, comment="first")])

    make.trial = lambda id, results=ALL, **options: PretendTrial(id, recording, results=results, **options)
    return make
