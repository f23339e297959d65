"""Response presets: named, complete conventions for scoring and calling photostimulation responses.

Published conventions keep their own numbers, so that results can be compared with the papers that used them; every number
can be overridden by name, and all of them are stored with the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from packerlabimaging._check import check_choice, check_positive, did_you_mean
from packerlabimaging.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class ResponsePreset:
    """One convention.

    Parameters
    ----------
    name
        Short name.
    source
        Where it comes from.
    pre_s, post_s
        How far around the onset one stim's response may be looked at, seconds: the extent of its snippet.
    pre_window_s
        Length of the baseline window, which ends with the frame before the one that holds the onset.
    post_window_s
        Length of the response window, which starts when the last light of the stim ends.
    subtract_neuropil
        Whether scores are made from neuropil-corrected F (with the table's own coefficients).
    f0
        What the difference of the windows is divided by: ``"pre-stim"``, the mean of the baseline window, or ``"trace"``, the
        mean of the trace without artefact frames. Never less than the ROI's frame noise (the median over stims of the sd
        within the baseline window).
    single_stim_sd
        A single stim is called a response if its amplitude reaches this many sd.
    single_stim_scale
        Sd of what: ``"frames"``, of the frames in the baseline window, or ``"window mean"``, of the difference of the two
        windows' means, were frames independent.
    adjustment
        Correction of the per-ROI Wilcoxon p values over the ROIs of one population: ``"bh"``, ``"by"``, ``"bonferroni"``.
    alpha
        Level of the corrected p values.
    min_valid_fraction
        A window with a smaller share of valid frames has no score.

    Raises
    ------
    ParameterError
        If a value is not possible.
    """

    name: str
    source: str
    pre_s: float = 1.0
    post_s: float = 3.0
    pre_window_s: float = 0.5
    post_window_s: float = 0.5
    subtract_neuropil: bool = True
    f0: Literal["pre-stim", "trace"] = "pre-stim"
    single_stim_sd: float = 2.0
    single_stim_scale: Literal["frames", "window mean"] = "frames"
    adjustment: Literal["bh", "by", "bonferroni"] = "bh"
    alpha: float = 0.1
    min_valid_fraction: float = 0.5

    def __post_init__(self) -> None:
        for name in ("pre_s", "post_s", "pre_window_s", "post_window_s", "single_stim_sd"):
            check_positive(f"{name} of preset '{self.name}'", getattr(self, name))
        check_choice("subtract_neuropil", self.subtract_neuropil, (True, False))
        check_choice("f0", self.f0, ("pre-stim", "trace"))
        check_choice("single_stim_scale", self.single_stim_scale, ("frames", "window mean"))
        check_choice("adjustment", self.adjustment, ("bh", "by", "bonferroni"))
        if not 0 < check_positive("alpha", self.alpha) < 1:
            raise ParameterError(f"alpha = {self.alpha!r} is out of range. Give a number between 0 and 1.")
        if not 0 < check_positive("min_valid_fraction", self.min_valid_fraction) <= 1:
            raise ParameterError(f"min_valid_fraction = {self.min_valid_fraction!r} is out of range. Give a number in (0, 1].")
        if self.pre_window_s > self.pre_s:
            raise ParameterError(
                f"pre_window_s = {self.pre_window_s} is longer than the snippet before the onset, pre_s = {self.pre_s}. "
                "Shorten the window or lengthen pre_s."
            )


PRESETS: Mapping[str, ResponsePreset] = {
    preset.name: preset
    for preset in (
        ResponsePreset(
            name="packerlab", source="packerlabimaging's original analysis, as intended: Wilcoxon over stims, BH at 0.1"
        ),
        ResponsePreset(
            name="packerlab_asrun",
            source="packerlabimaging's original analysis, as its code ran: p < 0.05 / number of cells",
            adjustment="bonferroni",
            alpha=0.05,
        ),
        ResponsePreset(
            name="vape",
            source="Vape's interareal analysis: post - pre over the whole-trace mean, single stims at 1 sd, Wilcoxon, BH at 0.1",
            pre_s=2.0,
            post_s=10.0,
            f0="trace",
            single_stim_sd=1.0,
        ),
    )
}


def get_preset(name: str, **overrides: Any) -> ResponsePreset:
    """Return a preset by name, with some of its numbers replaced.

    Parameters
    ----------
    name
        ``"packerlab"``, ``"packerlab_asrun"`` or ``"vape"``.
    overrides
        Fields of :class:`ResponsePreset`.

    Raises
    ------
    ParameterError
        If the preset or a field is unknown, or a value not possible.

    Example
    -------
    >>> get_preset("packerlab", alpha=0.05).alpha
    0.05
    """
    preset = PRESETS[check_choice("preset", name, tuple(PRESETS))]
    possible = [each.name for each in fields(ResponsePreset) if each.name not in ("name", "source")]
    for key in overrides:
        if key not in possible:
            raise ParameterError(
                f"'{key}' is not a parameter of response presets. Possible: {', '.join(possible)}.{did_you_mean(key, possible)}"
            )
    return replace(preset, **overrides)


@dataclass(frozen=True, kw_only=True)
class ResponseSettings:
    """How responses are computed; the section ``[trial.responses]`` of the experiment file.

    Parameters
    ----------
    preset
        Name of a preset; see :func:`get_preset`.
    overrides
        Its numbers that are replaced.

    Raises
    ------
    ParameterError
        If the preset or a field is unknown, or a value not possible.
    """

    preset: str = "packerlab"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resolve()

    def resolve(self) -> ResponsePreset:
        """Return the preset with its overrides."""
        return get_preset(self.preset, **self.overrides)
