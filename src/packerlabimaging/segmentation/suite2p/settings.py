"""The engine's settings: Suite2p's own, less what the adapter decides, plus a few."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from packerlabimaging.errors import ParameterError
from packerlabimaging.segmentation.engine import EngineJob, Setting

OWN = {
    "diameter_um": Setting(13.0, "Typical diameter of a cell in micrometres; gives 'diameter' where that is None."),
    "cell_probability": Setting(0.2, "ROIs of at least this probability by the classifier are cells; Suite2p takes 0.5."),
    "pixel_offset": Setting(0, "Subtracted from pixels so that they fit into int16; added to F and Fneu again."),
    "keep_registered": Setting(True, "Keep the registered movie (data.bin), as large as the raw one."),
    "keep_raw": Setting(False, "Keep the copy of the raw movie that Suite2p works on (data_raw.bin)."),
}
"""Settings that Suite2p does not have.

13 um, about the size of a pyramidal cell's body in layer 2/3, is what the Packer lab computes its diameter from. The built-in
classifier gives many cells of a wide field of view (45 to 100 pixels) a probability below 0.5: on the standard simulation,
seeds 1 to 5, 30 ROIs of cells and none without a cell lie between 0.3 and 0.5, 9 of cells and 5 without one between 0.2 and
0.3, and 9 of cells and 23 without one between 0.05 and 0.2. A cell left out is lost; an ROI without a cell seldom responds.
"""

_CHANGED: dict[str, Any] = {
    "torch_device": "cpu",
    "diameter": None,
    "tau": None,
    "run": {"do_registration": True},
    "registration": {"nimg_init": 100},
    "detection": {"sparsery_settings": {"spatial_scale": None}},
}
"""Defaults that differ from Suite2p's.

Never a GPU unasked; the diameter from the pixel size; tau from the indicator's decay, where the user gave it; registration
yes or no (a run is fresh, nothing can be done twice). 100 frames for the reference image, because here all of them count
(see ``registration.py``): on the standard simulation the motion left over is 0.104 pixels, with 400 frames 0.098 in five
times the time. The scale of detection from the diameter (None): Suite2p's own estimate (0) took 6 instead of 12 pixels for
one simulation out of two, whose 2,384 ROIs were noise but for 150.
"""

_DECIDED = {
    "fs": None,
    "io": None,
    "run": {"do_regmetrics", "do_detection", "multiplane_parallel"},
    "registration": {"align_by_chan2", "reg_tif_chan2"},
    "classification": {"use_builtin_classifier"},
}
"""What the adapter decides: the rate is that of the trials, there is one channel and plane, registration is ours and is not
measured by principal components (which nothing reads, and takes a fifth of the time), ROIs are always detected, and a
classifier from somebody's home folder is never used unasked."""

_MIN_BLOCK_PX = 32
"""Smallest block of nonrigid registration; below it a shift can't be told from noise (ours)."""


def engine_settings(suite2p: ModuleType) -> dict[str, Any]:
    """Return the defaults and help of all settings, nested as Suite2p nests them."""
    described = suite2p.parameters.SETTINGS

    def section(parameters: Mapping[str, Any], decided: Any, changed: Mapping[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for name, parameter in parameters.items():
            hidden = decided.get(name, set()) if isinstance(decided, dict) else set()
            if hidden is None or (isinstance(decided, set) and name in decided):
                continue
            if "description" in parameter:
                default = copy.deepcopy(changed.get(name, parameter["default"]))
                settings[name] = Setting(default, parameter["description"])
            else:
                settings[name] = section(parameter, hidden, changed.get(name, {}))
        return settings

    return {**OWN, **section(described, _DECIDED, _CHANGED)}


def suite2p_settings(suite2p: ModuleType, given: Mapping[str, Any], job: EngineJob) -> dict[str, Any]:
    """Return what Suite2p is to be called with for a job.

    Raises
    ------
    ParameterError
        If a value is outside what Suite2p takes, a classifier is not there, or the device can't be used.
    """
    faults: list[str] = []
    if not 0 <= given["cell_probability"] <= 1:
        faults.append(f"cell_probability = {given['cell_probability']!r} is out of range: 0 to 1.")
    _check_ranges(suite2p.parameters.SETTINGS, given, "", faults)
    classifier = given["classification"]["classifier_path"]
    if classifier and not Path(classifier).is_file():
        faults.append(f"classification.classifier_path = '{classifier}' is not there; Suite2p would use another one unasked.")
    if faults:
        raise ParameterError("Settings of the engine 'suite2p' are wrong: " + " ".join(faults))
    settings = _merged(suite2p.default_settings(), {name: value for name, value in given.items() if name not in OWN})
    settings["torch_device"] = check_device(str(given["torch_device"]))
    settings["fs"] = float(job.rate_hz)
    settings["diameter"] = _diameter_px(given, job.pixel_size_um, settings_default=suite2p.default_settings()["diameter"])
    settings["tau"] = _tau_s(given["tau"], job.indicator_decay_s, settings_default=suite2p.default_settings()["tau"])
    sparsery = settings["detection"]["sparsery_settings"]
    if sparsery["spatial_scale"] is None:
        known = given["diameter"] is not None or job.pixel_size_um is not None
        sparsery["spatial_scale"] = _spatial_scale(settings["diameter"]) if known else 0
    settings["classification"]["use_builtin_classifier"] = True
    settings["run"].update(do_registration=int(given["run"]["do_registration"]), do_regmetrics=False)
    settings["io"].update(delete_bin=False, move_bin=False, combined=False, save_mat=False, save_NWB=False, save_ops_orig=True)
    _fit_blocks(settings["registration"], next(iter(job.movies.values())).frame_shape_px)
    return settings


def check_device(device: str) -> str:
    """Return ``device`` if torch can use it: Suite2p would take the processor in silence.

    Raises
    ------
    ParameterError
        If it can't.
    """
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ParameterError(
            f"torch_device = '{device}' can't be used: {str(error).splitlines()[0]} Give 'cpu', or install a torch for it."
        ) from error
    return device


def _check_ranges(parameters: Mapping[str, Any], given: Mapping[str, Any], place: str, faults: list[str]) -> None:
    for name, value in given.items():
        parameter = parameters.get(name)
        if isinstance(value, Mapping) and isinstance(parameter, Mapping) and "description" not in parameter:
            _check_ranges(parameter, value, f"{place}{name}.", faults)
        elif parameter is not None and parameter["min"] is not None and value is not None:
            try:
                numbers = np.asarray(value, dtype=float)
                wrong = not np.all((numbers >= parameter["min"]) & (numbers <= parameter["max"]))
            except (TypeError, ValueError):
                wrong = True
            if wrong:
                faults.append(f"{place}{name} = {value!r} is out of range: {parameter['min']} to {parameter['max']}.")


def _merged(defaults: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for name, value in given.items():
        is_section = isinstance(defaults.get(name), dict) and isinstance(value, Mapping)
        merged[name] = _merged(defaults[name], value) if is_section else value
    return merged


def _diameter_px(given: Mapping[str, Any], pixel_size_um: tuple[float, float] | None, *, settings_default: Any) -> list[float]:
    if given["diameter"] is not None:
        return [float(value) for value in np.broadcast_to(np.asarray(given["diameter"], float), 2)]
    if pixel_size_um is None:
        warnings.warn(
            f"The pixel size is not known: Suite2p gets its own default diameter, {settings_default} pixels. "
            "Give the setting diameter=[y, x] in pixels, or the pixel size.",
            stacklevel=2,
        )
        return [float(value) for value in settings_default]
    return [float(given["diameter_um"]) / size for size in pixel_size_um]


def _tau_s(given: float | None, indicator_decay_s: float | None, *, settings_default: float) -> float:
    if given is not None:
        return float(given)
    if indicator_decay_s is None:
        warnings.warn(
            f"The decay of the indicator is not known: Suite2p gets its own default, tau = {settings_default} s, for detection "
            "and deconvolution. Give indicator_decay_s in the trial's metadata, or the engine setting tau.",
            stacklevel=2,
        )
        return float(settings_default)
    return indicator_decay_s


def _spatial_scale(diameter_px: list[float]) -> int:
    """Return Suite2p's number of the scale of detection nearest to a diameter: 1 is 6 pixels, 2 is 12, 3 is 24, 4 is 48."""
    return int(np.clip(np.round(np.log2(np.mean(diameter_px) / 3)), 1, 4))


def _fit_blocks(registration: dict[str, Any], frame_shape_px: tuple[int, int]) -> None:
    """Make blocks of nonrigid registration smaller than the frame: Suite2p 1.1 crashes on one block in a direction."""
    blocks = [
        min(int(block), size) if block < size else size // 2
        for block, size in zip(registration["block_size"], frame_shape_px, strict=True)
    ]
    registration["block_size"] = tuple(blocks)
    if min(blocks) < _MIN_BLOCK_PX:
        registration["nonrigid"] = False
