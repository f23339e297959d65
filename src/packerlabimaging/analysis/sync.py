"""Audited synchronisation: frame pulses, stimulation pulses, the movie's frames and the protocol, reconciled.

:func:`audit_sync` returns when each frame was taken and when each stim was lit, together with everything that was noticed and
assumed on the way, and a verdict. It changes nothing; a step that uses its result decides what to do with a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from packerlabimaging._check import check_positive, frozen_array
from packerlabimaging.analysis.frame_clock import match_frame_clock
from packerlabimaging.analysis.pulses import detect_pulses
from packerlabimaging.analysis.stims import rows_of_light, stim_findings, stims_frame, stims_of_light, stims_of_pulses
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding, worst_severity
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import LightTimes, PhotostimProtocol
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import ParameterError, SyncError

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SyncAudit:
    """When frames were taken and stims were lit, and how sure that is.

    Parameters
    ----------
    matched_clock
        Clock of the plane; None where the pulses could not be matched (see :attr:`clock`).
    triggers_s
        Trigger pulses of the stimulation, shape ``(n_triggers,)``, seconds on the recording's time base.
    stims
        One row per stim, index ``stim-000`` and so on: ``onset_s`` (first light), ``end_s`` (last light off), ``frame``
        (of the plane, holds the onset; missing outside the recording), ``group`` (missing where a stim lights several
        groups; see :attr:`rows`), ``repeat`` (how many came before), ``n_shots``, ``power_mw``, ``sham``, ``catch`` (a stim
        of the protocol without power), ``valid`` (lies within the recording) and ``reason`` (why not).
    light
        Every interval of light; None without a protocol or triggers.
    findings
        What was noticed and assumed.
    """

    matched_clock: FrameClock | None
    triggers_s: np.ndarray
    stims: pd.DataFrame
    light: LightTimes | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "triggers_s", frozen_array(self.triggers_s, np.float64, ndim=1, name="triggers_s"))
        object.__setattr__(self, "findings", tuple(self.findings))

    @property
    def clock(self) -> FrameClock:
        """When each frame of the plane was taken.

        Raises
        ------
        SyncError
            If the pulses could not be matched to the frames; the message lists the findings.
        """
        if self.matched_clock is None:
            faults = "\n".join(f"- {finding.code}: {finding.message}" for finding in self.findings if finding.severity == "error")
            raise SyncError(f"The movie has no frame times:\n{faults}\nMend the input, or leave out the frame clock channel.")
        return self.matched_clock

    @property
    def verdict(self) -> Verdict:
        """``"fail"`` with any finding of severity error, ``"warn"`` with any warning, else ``"pass"``."""
        worst = worst_severity(self.findings)
        return "fail" if worst == "error" else "warn" if worst == "warning" else "pass"

    @property
    def n_stims(self) -> int:
        """Number of stims, those outside the recording included."""
        return len(self.stims)

    @property
    def rows(self) -> pd.DataFrame:
        """One row per stim and line of the protocol: ``stim, row, group, onset_s, end_s, frame, n_shots``; empty without light.

        ``frame`` is the frame of the first light of that group, missing outside the recording.
        """
        return rows_of_light(self.light, self.matched_clock)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain JSON-compatible values; floats keep every digit."""
        clock = self.matched_clock
        return {
            "clock": None
            if clock is None
            else {"starts_s": clock.starts_s.tolist(), "source": clock.source, "period_s": clock.period_s},
            "triggers_s": self.triggers_s.tolist(),
            "stims": {"id": self.stims.index.tolist(), **{name: _plain(self.stims[name]) for name in self.stims}},
            "light": None
            if self.light is None
            else {part.name: getattr(self.light, part.name).tolist() for part in fields(LightTimes)},
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SyncAudit:
        """Rebuild an audit from :meth:`to_dict`."""
        clock, light = values["clock"], values["light"]
        stims = dict(values["stims"])
        return cls(
            matched_clock=None if clock is None else FrameClock(**clock),
            triggers_s=np.array(values["triggers_s"], np.float64),
            stims=stims_frame(stims.pop("id"), stims),
            light=None if light is None else LightTimes(**{name: _light_array(name, light[name]) for name in light}),
            findings=tuple(Finding.from_dict(finding) for finding in values["findings"]),
        )

    def __repr__(self) -> str:
        clock = "no frame times" if self.matched_clock is None else repr(self.matched_clock)
        return f"SyncAudit({self.verdict}: {clock}, {self.n_stims} stims, {len(self.findings)} findings)"


def audit_sync(
    signals: Signals | None,
    *,
    frame_clock: str | None = "frame_clock",
    stim: str | None = None,
    n_frames: int,
    n_planes: int = 1,
    plane: int = 0,
    metadata: ImagingMetadata | None = None,
    protocol: PhotostimProtocol | None = None,
    block: int | None = None,
) -> SyncAudit:
    """Reconcile frame pulses, stimulation pulses, the movie's frames and the protocol.

    Parameters
    ----------
    signals
        The recording that holds the pulses; None where there is none.
    frame_clock
        Channel of the frame clock; None if it was not recorded.
    stim
        Channel of the stimulation's trigger pulses; None if there was no stimulation.
    n_frames
        Frames of the movie (multi-plane: complete volumes).
    n_planes, plane
        Planes of a volume, and the plane (zero-based) that the movie shows.
    metadata
        Gives the program's own frame times and nominal rate, to compare with, and to fall back on with a warning.
    protocol
        The stimulation protocol; without it, each pulse is a stim.
    block
        Block of frame pulses to take where several fit; see :func:`match_frame_clock`.

    Returns
    -------
    SyncAudit
        Clock, triggers, stims, intervals of light, findings.

    Raises
    ------
    MissingInputError
        If a channel that is named does not exist.
    ParameterError
        If a count makes no sense.

    Notes
    -----
    A frame holds the times from its start (included) to the next frame's start (not included). Without recorded frame pulses
    the stims can't be placed on frames, because the program's clock and the recording's have no common zero: they are kept
    without frames, and not valid.
    """
    check_positive("n_frames", n_frames)
    if not 0 <= plane < n_planes:
        raise ParameterError(f"plane = {plane} does not exist. Planes run from 0 to {n_planes - 1}.")
    frames = _Frames(int(n_frames), int(n_planes), plane, metadata)
    findings: list[Finding] = [] if signals is None else list(signals.findings)
    if signals is not None and frame_clock is not None:
        clock = _hardware_clock(signals, frame_clock, frames, block, findings)
    else:
        clock = _program_clock(frames, findings)
    triggers, ends = _triggers(signals, stim, protocol, findings)
    shared = clock is not None and clock.source == "hardware"
    if len(triggers) and clock is not None and not shared:
        message = f"{len(triggers)} stims can't be placed on frames: the frame times are not on the recording's time base."
        advice = "Record the frame clock beside the stimulation pulses."
        findings.append(Finding("no-common-time-base", message, "error", stim or "", advice))
    light = None if protocol is None or not len(triggers) else protocol.light(triggers)
    if light is not None and protocol is not None:
        stims = stims_of_light(light, protocol, clock if shared else None)
    else:
        stims = stims_of_pulses(triggers, ends, clock if shared else None)
    if shared:
        findings += stim_findings(stims)
    return SyncAudit(matched_clock=clock, triggers_s=triggers, stims=stims, light=light, findings=tuple(findings))


@dataclass(frozen=True)
class _Frames:
    """What is known of the movie's frames without any pulse."""

    n_frames: int
    n_planes: int
    plane: int
    metadata: ImagingMetadata | None

    @property
    def program_times_s(self) -> np.ndarray | None:
        """The program's frame times, ``(n_frames,)`` or ``(n_frames, n_planes)``; None where there is not one per frame."""
        times = None if self.metadata is None else self.metadata.frame_times_s
        return times if times is not None and len(times) == self.n_frames else None

    @property
    def nominal_rate_hz(self) -> float | None:
        return None if self.metadata is None else self.metadata.frame_rate_hz


def _hardware_clock(
    signals: Signals, name: str, frames: _Frames, block: int | None, findings: list[Finding]
) -> FrameClock | None:
    pulses = detect_pulses(signals[name])
    findings += [finding for finding in pulses.findings if finding.code not in ("single-pulse", "no-pulses")]
    if pulses.thresholds is None:  # not a TTL: the finding says so
        return None
    times = frames.program_times_s
    ticks, found = match_frame_clock(
        pulses,
        n_frames=frames.n_frames,
        n_planes=frames.n_planes,
        nominal_rate_hz=frames.nominal_rate_hz,
        frame_times_s=None if times is None or times.size != frames.n_frames * frames.n_planes else times,
        block=block,
    )
    findings += found
    if ticks is None or frames.n_planes == 1:
        return ticks
    return ticks.plane(frames.plane, frames.n_planes)


def _program_clock(frames: _Frames, findings: list[Finding]) -> FrameClock | None:
    """Fall back on the program's own frame times, or on its nominal rate, and say so."""
    times, rate = frames.program_times_s, frames.nominal_rate_hz
    advice = "Record the frame clock to be sure."
    if times is not None:
        starts = times if times.ndim == 1 else times[:, frames.plane]
        period_s = np.nan if rate is None or len(starts) > 1 else 1.0 / rate
        if np.all(np.diff(starts) > 0) and (len(starts) > 1 or rate is not None):
            message = "No frame clock was recorded: frame times are those that the acquisition program wrote."
            findings.append(Finding("no-frame-clock", message, "warning", advice=advice))
            return FrameClock(starts, "acquisition program", period_s)
        findings.append(Finding("frame-times-not-ascending", "The program's frame times do not ascend; they are not used."))
    if rate is not None:
        message = f"No frame times were recorded: they are assumed to follow the nominal rate of {rate:g} Hz, and will drift."
        findings.append(Finding("nominal-frame-times", message, "warning", advice=advice, evidence={"rate_hz": rate}))
        return FrameClock.nominal(frames.n_frames, rate)
    message = "Nothing tells when the frames were taken: no frame clock, no frame times, no frame rate."
    findings.append(Finding("no-frame-times", message, "error", advice="Give the frame rate in the metadata."))
    return None


def _triggers(
    signals: Signals | None, stim: str | None, protocol: PhotostimProtocol | None, findings: list[Finding]
) -> tuple[np.ndarray, np.ndarray]:
    """Find the trigger pulses and compare their number with the protocol's."""
    none = np.zeros(0), np.zeros(0)
    if stim is None or signals is None:
        if protocol is not None:
            channels = "no signals were given" if signals is None else f"its channels are: {', '.join(signals)}"
            message = f"There is a stimulation protocol, but no channel of trigger pulses: {channels}."
            findings.append(Finding("no-stim-times", message, "error", advice="Name the channel of the triggers: stim=."))
        return none
    pulses = detect_pulses(signals[stim])
    expected = None if protocol is None or protocol.n_stims is None else protocol.n_stims * protocol.pulses_per_stim
    findings += [finding for finding in pulses.findings if not (finding.code == "single-pulse" and expected == 1)]
    ends = pulses.ends_s if pulses.ends_s is not None else pulses.onsets_s
    if len(pulses) == 1 and expected != 1:
        message = f"Channel '{stim}' holds one pulse only, which is not taken for a stim."
        findings.append(Finding("no-repeated-pulses", message, "error", stim, "Choose the channel of the triggers."))
        return none
    if len(pulses) and expected is not None and protocol is not None:
        findings += _count_findings(len(pulses), expected, protocol, stim)
    return pulses.onsets_s, ends


def _count_findings(n_pulses: int, expected: int, protocol: PhotostimProtocol, where: str) -> list[Finding]:
    if n_pulses == expected:
        return []
    per_stim = protocol.pulses_per_stim
    evidence = {"n_pulses": n_pulses, "n_expected": expected, "pulses_per_stim": per_stim}
    told = f"{n_pulses} trigger pulses, where the protocol has {expected}"
    if n_pulses > expected:
        message = f"{told}: some are not stims, and which can't be told."
        advice = "Choose the channel that the program itself sends (markpoints2packio), or the right protocol."
        return [Finding("more-stims-than-protocol", message, "error", where, advice, evidence)]
    if per_stim > 1 and n_pulses % per_stim:
        message = f"{told}, {per_stim} a stim: which rows they belong to can't be told for sure."
        return [Finding("incomplete-stim", message, "error", where, "Check where pulses are missing.", evidence)]
    message = f"{told}: the protocol was probably stopped early; all are taken to be from its beginning."
    return [Finding("fewer-stims-than-protocol", message, "warning", where, evidence=evidence)]


def _plain(column: pd.Series) -> list[Any]:
    """Return a column as JSON-compatible values, None where it is missing."""
    missing = column.isna().tolist()
    return [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]


def _light_array(name: str, values: list[float]) -> np.ndarray:
    return np.array(values, np.float64 if name.endswith("_s") else np.int64)
