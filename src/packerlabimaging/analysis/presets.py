"""Response presets: named, complete conventions for scoring and calling photostimulation responses.

Published conventions keep their own numbers, so that results can be compared with the papers that used them; every number
can be overridden by name, and all of them are stored with the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from packerlabimaging._check import check_choice, check_positive, did_you_mean
from packerlabimaging.errors import ParameterError

DEFAULT_PRESET = "calibrated"
"""The preset that is taken where none is named and there is room for shams."""
WITHOUT_SHAMS = "packerlab"
"""The preset that is taken, and told, where none is named and there is no room for shams."""

Test = Literal["sham", "wilcoxon", "t", "catch", "none"]
"""How ROIs are called over stims; see :class:`ResponsePreset`."""

_SYMMETRY_CAVEAT = (
    "How far to trust the calls: the signed-rank test takes the differences of a ROI without a response to be symmetric about "
    "zero. Calcium transients rise fast and decay slowly, so they are not. On simulated recordings in which nothing responds "
    "(30 Hz, windows of 0.5 s, stims 5 s apart, 100 stims, 500 cells) this convention made false calls in 20 of 20 experiments, "
    "about 79 cells each, all of them suppression. The stated level is therefore no bound on the share of false calls; "
    "suppression in particular needs a control."
)
_SHAM_CAVEAT = (
    "How far to trust the calls: the same windows at times without light say what the scores do by themselves, so that "
    "spontaneous activity, its shape and what cells share make no calls beyond the stated level, in both directions. Shams are "
    "no control for what light itself does: its artefact where it outlasts the frames that are left out, sound, or drive off "
    "target. ROIs without cells and cells without opsin are."
)


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
        Length of the response window.
    post_anchor, post_start_s
        The response window starts ``post_start_s`` after the last light of the stim (``"end"``) or after its first
        (``"onset"``). No light may reach into it.
    subtract_neuropil
        Whether scores are made from neuropil-corrected F (with the table's own coefficients).
    score
        What a score is: the difference of the two windows' means over F0 (``"dff"``) or over the sd of the baseline window's
        frames (``"z"``).
    f0
        What the difference of the windows is divided by: ``"pre-stim"``, the mean of the baseline window, or ``"trace"``, the
        mean of the trace without artefact frames. Never less than the ROI's frame noise (the median over stims of the sd
        within the baseline window).
    single_stim_sd
        A single stim is called a response if its amplitude reaches this many sd.
    single_stim_scale
        Sd of what: ``"frames"``, of the frames in the baseline window, or ``"window mean"``, of the difference of the two
        windows' means, were frames independent.
    test
        How an ROI is called over stims. ``"sham"``: against trains of sham stims (see :mod:`.shams`). ``"wilcoxon"``: signed-rank
        test. ``"t"``: one-sample t test. ``"catch"``: not at all; single stims are called, against thresholds from the catch
        stims (see :mod:`.catch`). ``"none"``: not at all, single stims as ``single_stim_sd`` says.
    adjustment
        Correction of the per-ROI p values over the ROIs of one population: ``"bh"``, ``"by"``, ``"bonferroni"``.
    alpha
        Level of the corrected p values.
    min_valid_fraction
        A window with a smaller share of valid frames has no score.
    catch_source
        For the test ``"catch"``: whether thresholds come from the catch stims, or from sham stims in their place.
    sham_guard_s
        How long before a sham's windows there must have been no light, so that responses to it are over.
    n_sham_trains
        Sham trains that are drawn. Where the test is not ``"sham"`` they serve the empirical FDR only, and 0 does without.

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
    post_anchor: Literal["end", "onset"] = "end"
    post_start_s: float = 0.0
    subtract_neuropil: bool = True
    score: Literal["dff", "z"] = "dff"
    f0: Literal["pre-stim", "trace"] = "pre-stim"
    single_stim_sd: float = 2.0
    single_stim_scale: Literal["frames", "window mean"] = "frames"
    test: Test = "wilcoxon"
    adjustment: Literal["bh", "by", "bonferroni"] = "bh"
    alpha: float = 0.1
    min_valid_fraction: float = 0.5
    catch_source: Literal["catch", "sham"] = "catch"
    sham_guard_s: float = 10.0
    n_sham_trains: int = 500

    def __post_init__(self) -> None:
        for name in ("pre_s", "post_s", "pre_window_s", "post_window_s", "single_stim_sd"):
            check_positive(f"{name} of preset '{self.name}'", getattr(self, name))
        for name in ("post_start_s", "sham_guard_s", "n_sham_trains"):
            check_positive(f"{name} of preset '{self.name}'", getattr(self, name), zero=True)
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        if self.n_sham_trains != int(self.n_sham_trains) or (self.test == "sham" and self.n_sham_trains == 0):
            raise ParameterError(f"n_sham_trains = {self.n_sham_trains!r} is not possible. Give a whole number, for calls > 0.")
        if not 0 < check_positive("alpha", self.alpha) < 1:
            raise ParameterError(f"alpha = {self.alpha!r} is out of range. Give a number between 0 and 1.")
        if not 0 < check_positive("min_valid_fraction", self.min_valid_fraction) <= 1:
            raise ParameterError(f"min_valid_fraction = {self.min_valid_fraction!r} is out of range. Give a number in (0, 1].")
        if self.pre_window_s > self.pre_s:
            raise ParameterError(
                f"pre_window_s = {self.pre_window_s} is longer than the snippet before the onset, pre_s = {self.pre_s}. "
                "Shorten the window or lengthen pre_s."
            )

    @property
    def calls_rois(self) -> bool:
        """Whether ROIs are called over stims, and not single stims only."""
        return self.test not in ("catch", "none")

    @property
    def caveat(self) -> str:
        """How far the calls can be trusted, for a reader of the results; empty where the preset calls no ROI."""
        return {"sham": _SHAM_CAVEAT, "wilcoxon": _SYMMETRY_CAVEAT}.get(self.test, "")


_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "subtract_neuropil": (True, False),
    "score": ("dff", "z"),
    "f0": ("pre-stim", "trace"),
    "single_stim_scale": ("frames", "window mean"),
    "adjustment": ("bh", "by", "bonferroni"),
    "post_anchor": ("end", "onset"),
    "test": get_args(Test),
    "catch_source": ("catch", "sham"),
}

PRESETS: Mapping[str, ResponsePreset] = {
    preset.name: preset
    for preset in (
        ResponsePreset(
            name="calibrated",
            source="ours: windows and score of packerlab, called against trains of sham stims, both signs, BH at 0.1",
            test="sham",
        ),
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
        ResponsePreset(
            name="dalgleish2020",
            source="Dalgleish et al. 2020, eLife 9, e58889, and its code: z over 0.6 to 1.0 s after onset, single stims called "
            "against thresholds from the catch stims",
            post_s=4.0,
            pre_window_s=1.0,
            post_window_s=0.4,
            post_anchor="onset",
            post_start_s=0.6,
            score="z",
            test="catch",
        ),
        ResponsePreset(
            name="influence_finkelstein",
            source="Finkelstein-style code: z over 0.05 to 0.5 s after onset; the scores that influence is made from",
            post_window_s=0.45,
            post_anchor="onset",
            post_start_s=0.05,
            score="z",
            test="none",
        ),
        ResponsePreset(
            name="stamoviemaker",
            source="STAMovieMaker: dF/F of the image 0.5 to 1.25 s after onset (its 1.5 s, clipped to its movie)",
            pre_s=0.75,
            post_s=1.25,
            pre_window_s=0.75,
            post_window_s=0.75,
            post_anchor="onset",
            post_start_s=0.5,
            subtract_neuropil=False,
            test="none",
        ),
    )
}


def get_preset(name: str, **overrides: Any) -> ResponsePreset:
    """Return a preset by name, with some of its numbers replaced.

    Parameters
    ----------
    name
        One of ``PRESETS``: ``"calibrated"``, ``"packerlab"``, ``"packerlab_asrun"``, ``"vape"``, ``"dalgleish2020"``,
        ``"influence_finkelstein"``, ``"stamoviemaker"``.
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
        Name of a preset; see :func:`get_preset`. None, the default: ``"calibrated"``, or where a recording has no room for sham
        stims ``"packerlab"``, which a finding tells.
    overrides
        Its numbers that are replaced.

    Raises
    ------
    ParameterError
        If the preset or a field is unknown, or a value not possible.
    """

    preset: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resolve()

    def resolve(self) -> ResponsePreset:
        """Return the preset with its overrides; the calibrated one where none is named."""
        return get_preset(self.preset or DEFAULT_PRESET, **self.overrides)
