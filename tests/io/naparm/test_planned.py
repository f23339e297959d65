"""Trigger waveforms of a NAPARM folder: written by numpy as MATLAB does, read as planned times."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.naparm import NaparmReader, write_naparm

N_STIMS, INTERVAL_S, CHANGE_S, BEFORE_S = 5, 2.5, 0.3, 4.0


def protocol(trigger="each", **changes):
    values = {
        "targets_px": np.array([[0, 5, 5], [0, 9, 9], [0, 20, 30.0]]),
        "image_shape_px": (40, 60),
        "groups": ((0, 1), (2,)),
        "rows": [PhotostimRow(group, 10, 0.02, 0.005, power=50) for group in (0, 1)],
        "n_stims": N_STIMS,
        "trigger": trigger,
        "spiral_diameter_um": 10.0,
    }
    return PhotostimProtocol(**{**values, **changes})


def waveform(rate_hz, onsets_s):
    """One trial after the other, after a time without triggers: UpdateTimingPlot of Naparm3.m."""
    trial = np.zeros(round(INTERVAL_S * rate_hz))
    for onset in onsets_s:
        trial[round(onset * rate_hz) : round(onset * rate_hz) + round(0.005 * rate_hz)] = 5
    return np.concatenate([np.zeros(round(BEFORE_S * rate_hz)), np.tile(trial, N_STIMS), np.zeros(100)]).astype("<f8")


@pytest.fixture(params=["each", "once"])
def folder(request, tmp_path):
    made = write_naparm(tmp_path / f"{request.param}_001", protocol(request.param), pixel_size_um=2.0)
    waveform(1000, [0, CHANGE_S] if request.param == "each" else [0]).tofile(made / "ToPV_AllTrials.dat")
    waveform(1000, [0, CHANGE_S]).tofile(made / "ToSLM_AllTrials.dat")
    return made


def codes(protocol):
    return [finding.code for finding in protocol.findings]


def test_planned_times(folder):
    made = NaparmReader().open(folder)
    assert made.stim_interval_s == pytest.approx(INTERVAL_S)
    assert made.row_interval_s == (pytest.approx(CHANGE_S) if made.trigger == "each" else None)
    assert made.extra["planned_row_interval_s"] == pytest.approx(CHANGE_S)
    assert made.extra["first_trigger_s"] == pytest.approx(BEFORE_S)
    assert codes(made) == ["waveform-rate-assumed"]  # 5 samples of 5 ms
    if made.trigger == "each":
        assert made.stim_duration_s == pytest.approx(CHANGE_S + 10 * 0.025)


def test_rate_of_the_name_or_given(folder):
    for path in list(folder.glob("*.dat")):
        waveform(2000, [0]).tofile(path.with_name(f"{path.stem}_2Triggers_Every300ms_5msDuration_2000HzSampleRate_5V.dat"))
        path.unlink()
    made = NaparmReader().open(folder)
    assert made.extra["first_trigger_s"] == pytest.approx(BEFORE_S)
    assert "waveform-rate-assumed" not in codes(made)
    assert NaparmReader().open(folder, waveform_rate_hz=1000).extra["first_trigger_s"] == pytest.approx(2 * BEFORE_S)
    with pytest.raises(ParameterError, match="waveform_rate_hz"):
        NaparmReader().open(folder, waveform_rate_hz=0)


def test_missing_waveforms_are_told_where_rows_wait(folder):
    for path in folder.glob("*.dat"):
        path.unlink()
    made = NaparmReader().open(folder)
    assert (made.stim_interval_s, made.row_interval_s) == (None, None)
    assert codes(made) == (["row-interval-unknown"] if made.trigger == "each" else [])


def test_other_numbers_of_pulses_and_unequal_times(folder):
    path = folder / "ToPV_AllTrials.dat"
    samples = np.fromfile(path, "<f8")
    samples[int(1000 * (BEFORE_S + INTERVAL_S)) :][: int(1000 * INTERVAL_S)] = 0  # one trial was left out
    samples.tofile(path)
    made = NaparmReader().open(folder)
    finding = next(finding for finding in made.findings if finding.code == "waveform-differs")
    assert finding.evidence["n_expected"] - finding.evidence["n_pulses"] == made.pulses_per_stim
    assert "waveform-irregular" in codes(made)


@pytest.mark.parametrize("content", [b"1234567", np.full(8, np.nan).tobytes(), np.full(8, 1e9).tobytes()])
def test_damaged_waveforms_are_findings(folder, content):
    (folder / "ToPV_AllTrials.dat").write_bytes(content)
    assert "waveform-unreadable" in codes(NaparmReader().open(folder))


def test_several_waveforms(folder):
    shutil.copy(folder / "ToPV_AllTrials.dat", folder / "ToPV_AllTrials_2.dat")
    assert "several-waveforms" in codes(NaparmReader().open(folder))


def test_a_long_waveform_is_read_in_pieces(tmp_path, monkeypatch):
    from packerlabimaging.io.naparm import waveforms

    made = write_naparm(tmp_path / "a_001", protocol(), pixel_size_um=2.0)
    waveform(1000, [0, CHANGE_S]).tofile(made / "ToPV_AllTrials.dat")
    whole = waveforms.read_waveform(made / "ToPV_AllTrials.dat", None)
    for piece in (1, 3, 7):  # pulses lie across the borders
        monkeypatch.setattr(waveforms, "CHUNK", piece)
        np.testing.assert_array_equal(waveforms.read_waveform(made / "ToPV_AllTrials.dat", None).starts, whole.starts)


@pytest.mark.parametrize("trigger", ["once", "each"])
def test_planned_times_survive_writing(tmp_path, trigger):
    given = protocol(trigger, stim_interval_s=1.25, row_interval_s=0.4 if trigger == "each" else None)
    first = NaparmReader().open(write_naparm(tmp_path / "a" / "e_001", given, pixel_size_um=2.0))
    assert (first.stim_interval_s, first.row_interval_s) == (1.25, given.row_interval_s)
    second = NaparmReader().open(write_naparm(tmp_path / "b" / "e_001", first, pixel_size_um=2.0))
    assert (second.stim_interval_s, second.row_interval_s, second.extra) == (1.25, first.row_interval_s, first.extra)
    with pytest.raises(ParameterError, match="do not fit into stim_interval_s"):
        write_naparm(tmp_path / "c", protocol("each", stim_interval_s=0.3, row_interval_s=0.3), pixel_size_um=2.0)
    with pytest.raises(ParameterError, match="larger than 1024 MB"):
        write_naparm(tmp_path / "c", protocol("once", stim_interval_s=3600.0, n_stims=1000), pixel_size_um=2.0)
