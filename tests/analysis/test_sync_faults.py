"""Recordings with faults, alone and in pairs: what passes has every stim in its true frame.

A light version of ``benchmarks/sync_faults.py``, which tries 500 recordings of each kind.
"""

from __future__ import annotations

import importlib.util
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate.pulses import FAULTS, simulate_pulses

_SPEC = importlib.util.spec_from_file_location(
    "sync_faults", Path(__file__).resolve().parents[2] / "benchmarks" / "sync_faults.py"
)
sync_faults = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sync_faults)

NEVER_PASS = {
    "stray pulses", "pulses lost inside", "pulses lost first", "pulses lost last", "no frame clock", "fewer stims",
    "trigger lost", "stray trigger",
}  # fmt: skip


@pytest.mark.parametrize("faults", [(), sync_faults.USUAL], ids=["as many pulses as frames", "live scan and extra pulses"])
def test_sound_recordings_pass(faults):
    assert sync_faults.count(faults, seeds=20, with_movie=True).tolist() == [20, 0, 0, 0]


@pytest.mark.parametrize("with_movie", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault, with_movie):
    passed, warned, failed, wrong = sync_faults.count([fault], seeds=10, with_movie=with_movie).tolist()
    assert wrong == 0
    assert passed == 0 or (with_movie and fault not in NEVER_PASS)
    assert passed + warned + failed == 10


@pytest.mark.parametrize("with_movie", [True, False])
def test_pairs_of_faults_never_pass_with_a_wrong_frame(with_movie):
    wrong = {pair: sync_faults.count(pair, seeds=1, with_movie=with_movie)[3] for pair in combinations(FAULTS, 2)}
    assert not [pair for pair, count in wrong.items() if count]


def test_the_judge_notices_a_wrong_frame_and_a_missing_stim():
    recording = simulate_pulses(seed=1)
    audited = sync_faults.audit(recording, with_movie=True)
    assert sync_faults.is_right(audited, recording)
    wrong = recording.true_frames.copy()
    wrong[3] += 1
    object.__setattr__(recording, "true_frames", wrong)
    assert not sync_faults.is_right(audited, recording)
    lost = simulate_pulses(["trigger lost"], seed=1)
    assert not sync_faults.is_right(sync_faults.audit(lost, with_movie=True), lost)


def test_the_simulation_holds_what_it_says():
    recording = simulate_pulses(["planes", "extra pulses", "live scan"], seed=3)
    assert recording.n_planes > 1
    assert recording.true_starts_s.shape == (recording.n_frames, recording.n_planes)
    assert len(recording.frame_pulses) > recording.true_starts_s.size + 20
    assert set(np.round(recording.true_starts_s.ravel(), 6)) <= set(np.round(recording.frame_pulses.onsets_s, 6))
    assert recording.movie.shape == (recording.n_frames, 1, 1)
    assert simulate_pulses(["no frame clock"]).frame_pulses is None
    with pytest.raises(ParameterError, match="no fault 'bad luck'"):
        simulate_pulses(["bad luck"])
