"""Presets: their published numbers, and faults that are told."""

from __future__ import annotations

import dataclasses

import pytest

from packerlabimaging.analysis import PRESETS, ResponseSettings, get_preset
from packerlabimaging.errors import ParameterError


def test_published_numbers_stand():
    packerlab = get_preset("packerlab")
    assert (packerlab.pre_s, packerlab.post_s, packerlab.pre_window_s, packerlab.post_window_s) == (1.0, 3.0, 0.5, 0.5)
    assert (packerlab.adjustment, packerlab.alpha, packerlab.single_stim_sd, packerlab.f0) == ("bh", 0.1, 2.0, "pre-stim")
    asrun = get_preset("packerlab_asrun")
    assert (asrun.adjustment, asrun.alpha) == ("bonferroni", 0.05)
    vape = get_preset("vape")
    assert (vape.pre_s, vape.post_s, vape.f0, vape.single_stim_sd) == (2.0, 10.0, "trace", 1.0)


def test_published_windows_after_the_onset_stand():
    windows = {
        name: (preset.pre_window_s, preset.post_anchor, preset.post_start_s, preset.post_window_s, preset.score)
        for name, preset in PRESETS.items()
    }
    assert windows["dalgleish2020"] == (1.0, "onset", 0.6, 0.4, "z")
    assert windows["influence_finkelstein"][1:] == ("onset", 0.05, 0.45, "z")
    assert windows["stamoviemaker"] == (0.75, "onset", 0.5, 0.75, "dff")
    assert PRESETS["stamoviemaker"].pre_s == 0.75 and PRESETS["stamoviemaker"].post_s == 1.25
    assert windows["calibrated"] == windows["packerlab"] == (0.5, "end", 0.0, 0.5, "dff")


def test_the_default_is_calibrated_and_every_caveat_is_of_its_test():
    default = ResponseSettings().resolve()
    assert (default.name, default.test, default.sham_guard_s, default.alpha) == ("calibrated", "sham", 10.0, 0.1)
    assert "Shams" in default.caveat and "symmetric" in PRESETS["vape"].caveat
    assert not PRESETS["dalgleish2020"].caveat and not PRESETS["dalgleish2020"].calls_rois
    assert "Shams" in get_preset("packerlab", test="sham").caveat


def test_overrides_make_a_new_preset():
    changed = get_preset("packerlab", alpha=0.01)
    assert changed.alpha == 0.01
    assert PRESETS["packerlab"].alpha == 0.1
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.alpha = 0.5


def test_tells_faults():
    with pytest.raises(ParameterError, match="Did you mean 'packerlab'"):
        get_preset("packerlap")
    with pytest.raises(ParameterError, match="Did you mean 'alpha'"):
        get_preset("packerlab", alhpa=0.1)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        ResponseSettings(overrides={"alpha": 2.0})
    with pytest.raises(ParameterError, match="lengthen pre_s"):
        get_preset("packerlab", pre_window_s=2.0)
    with pytest.raises(ParameterError, match="alpha = 'x' is not a number"):
        get_preset("packerlab", alpha="x")
    with pytest.raises(ParameterError, match="subtract_neuropil = 'no' is not possible"):
        get_preset("packerlab", subtract_neuropil="no")
    with pytest.raises(ParameterError, match=r"n_sham_trains = 0 is not possible"):
        get_preset("calibrated", n_sham_trains=0)
    with pytest.raises(ParameterError, match="test = 'wilcoxn' is not possible.*Did you mean 'wilcoxon'"):
        get_preset("packerlab", test="wilcoxn")
    with pytest.raises(ParameterError, match="sham_guard_s of preset 'calibrated' = -1"):
        get_preset("calibrated", sham_guard_s=-1)
    with pytest.raises(ParameterError, match="not a parameter of response presets"):
        get_preset("packerlab", source="me")
