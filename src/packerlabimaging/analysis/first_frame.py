"""Which pulse is the first frame's: the decision, by the best witness there is, and what remains unsure.

The light of the stims in the movie decides where it is seen, then the jitter of the program's own frame times, then the number of
pulses. The findings say which of them did, and what it can't exclude.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from packerlabimaging.analysis.frame_clock import FrameMatch
from packerlabimaging.analysis.light import LightSeen
from packerlabimaging.core.findings import Finding, Severity


def settle_first_frame(
    match: FrameMatch, light: LightSeen | None, *, lit: str, stims_s: np.ndarray, where: str, findings: list[Finding]
) -> FrameMatch | None:
    """Decide which pulse is the first frame's, by the best evidence there is.

    Parameters
    ----------
    match
        What the pulses themselves, and the program's frame times, tell.
    light
        What the movie tells; None where it was not looked at.
    lit
        Channel of the stims whose light was looked for.
    stims_s
        Onset of every stim of every channel, ``(n_stims,)``, seconds.
    where
        Channel of the frame clock, for the findings.
    findings
        Gets what is decided, and why; what the light clears up is lowered or taken out.

    Returns
    -------
    FrameMatch
        With the first frame's pulse; None where nothing tells it.
    """
    if light is not None and light.first is not None:
        match = _settle_by_light(match, light, stims_s, where, findings)
        findings += _light_findings(light, lit)
        _clear_suspicions(match, light, lit, findings)
    elif light is not None:
        message = "The light of the stims is not seen clearly in the movie, and does not tell which pulse is the first frame's."
        findings.append(Finding("light-not-seen", message, "info", evidence={"explained": light.explained}))
    if match.n_over < 0 and not match.told_by:
        return None  # "too-few-pulses" has said so
    before, after = match.n_missing
    if before or after:
        findings[:] = [finding for finding in findings if finding.code != "too-few-pulses"]
        message = f"By the {match.told_by}, {before} frame pulses are missing before the train begins, {after} after it ends."
        advice = "Accept this if the rate is steady: the missing frame times are continued with the median interval."
        evidence = {"n_before": before, "n_after": after}
        findings.append(Finding("missing-end-pulses", message, "error", where, advice, evidence))
    findings.append(_first_frame(match, where, with_stims=len(stims_s) > 0))
    return match


def _first_frame(match: FrameMatch, where: str, *, with_stims: bool) -> Finding:
    """Say what tells the first frame's pulse, and what was assumed."""
    evidence = {"time_s": float(match.clock.starts_s[0]), "n_pulses": len(match.train_s), "n_ticks": match.n_ticks}
    start = f"The first frame is taken to be at {evidence['time_s']:.4f} s"
    if not match.told_by:
        message = f"{start}; {match.n_over - match.first} of the {match.n_over} extra pulses are taken to follow the last frame."
        advice = "Usual: the scanner runs on. But a lost first pulse would look the same; light of stims in the movie would tell."
        return Finding("extra-pulses", message, "warning", where, advice, {**evidence, "n_extra": match.n_over})
    if match.told_by == "pulse count":
        message = f"{start}: there are as many pulses as frames. Nothing else tells."
        advice = "A pulse lost and a frame not saved would cancel out unseen; light of stims in the movie would tell."
        return Finding("first-frame-by-count", message, "warning" if with_stims else "info", where, advice, evidence)
    return Finding("first-frame", f"{start}, as the {match.told_by} tells.", "info", where, "", evidence)


def _settle_by_light(match: FrameMatch, light: LightSeen, stims_s: np.ndarray, where: str, findings: list[Finding]) -> FrameMatch:
    """Let the light in the movie decide, and say what it does not reach."""
    assert light.first is not None  # the light is seen
    advice = "Check that recording and movie belong together."
    if match.told_by == "program times" and match.first != light.first:
        message = f"The light in the movie puts the first frame {light.first - match.first:+d} pulses from the program's."
        findings.append(Finding("evidence-disagrees", message, "error", where, advice))
    elif light.first > match.first:
        n_before = light.first - match.first
        message = f"By the light in the movie {n_before} pulses precede the first frame: frames were not saved at the beginning."
        findings.append(Finding("pulses-before-first-frame", message, "warning", where, advice, {"n_before": n_before}))
    late = stims_s > light.confirmed_until_s
    stop = light.first + match.n_ticks
    if late.any() and match.told_by != "program times" and len(match.train_s) >= stop + match.n_planes:
        within = late & (stims_s < match.starts_s(stop, stop + 1)[0])
        if within.any():
            message = (
                f"{int(within.sum())} stims come after the last light that is seen, at {light.confirmed_until_s:.3f} s. "
                "If frames were not saved after it, theirs would be wrong."
            )
            findings.append(Finding("stims-after-light", message, "warning", where, "", {"n_stims": int(within.sum())}))
    return replace(match, first=light.first, told_by="light in the movie")


def _light_findings(light: LightSeen, lit: str) -> list[Finding]:
    """Say how many stims agree, and which do not."""
    found = []
    unseen, moved = np.isnan(light.shifts), np.nan_to_num(light.shifts) != 0
    n_fit, share = int((light.seen & (light.shifts == 0)).sum()), f"{light.explained:.0%} of the change of brightness"
    message = f"The light of {n_fit} of {len(light.stims)} stims is seen in the frames that the pulses tell ({share})."
    evidence = {"n_stims": len(light.stims), "n_fit": n_fit, "explained": light.explained}
    found.append(Finding("light-seen", message, "info", lit, evidence=evidence))
    if moved.any():
        times, shifts = light.onsets_s[moved], light.shifts[moved].astype(int)
        message = (
            f"The light of {len(times)} stims, the first at {times[0]:.3f} s, comes in other frames than the pulses tell, "
            f"there by {shifts[0]:+d}."
        )
        advice = "Frames or pulses were lost before that stim, or triggers are wrong: stims after it are in the wrong frames."
        evidence = {"times_s": np.round(times[:50], 4).tolist(), "shift_ticks": shifts[:50].tolist()}
        found.append(Finding("light-moves", message, "error", lit, advice, evidence))
    if unseen.any():
        times = light.onsets_s[unseen]
        message = f"No light is seen at {len(times)} of the stims, the first at {times[0]:.3f} s; that of others is."
        advice = "These triggers may be none, or the laser was blocked."
        evidence = {"times_s": np.round(times[:50], 4).tolist()}
        found.append(Finding("stims-without-light", message, "warning", lit, advice, evidence))
    return found


def _clear_suspicions(match: FrameMatch, light: LightSeen, lit: str, findings: list[Finding]) -> None:
    """Lower the findings that the light of the stims clears up."""
    edges = [-np.inf, *match.mended_s.tolist(), np.inf]
    if all(light.confirms(start, stop) for start, stop in pairwise(edges)):  # on all sides of every gap
        why = "The light of the stims before and after confirms the number filled in."
        _lower(findings, "missing-pulses", None, "warning", why)
    counted = not any(finding.code.endswith("-stims-than-protocol") for finding in findings if finding.where == lit)
    if counted and np.all(light.shifts == 0) and light.seen.all():  # no trigger is a stray, so none of the right number is lost
        why = "There are as many as the protocol has, and the movie shows light at every one."
        _lower(findings, "irregular-stims", lit, "info", why)


def _lower(findings: list[Finding], code: str, where: str | None, severity: Severity, why: str) -> None:
    for index, finding in enumerate(findings):
        if finding.code == code and where in (None, finding.where):
            findings[index] = replace(finding, severity=severity, message=f"{finding.message} {why}", advice="")
