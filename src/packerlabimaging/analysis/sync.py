"""Audited synchronisation: frame pulses, stimulation pulses, the movie's frames and the protocol, reconciled.

:func:`audit_sync` returns when each frame was taken and when each stim was lit, together with everything that was noticed and
assumed on the way, and a verdict. It changes nothing; a step that uses its result decides what to do with a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.analysis.first_frame import settle_first_frame
from packerlabimaging.analysis.frame_clock import FrameMatch, match_frame_clock, rate_findings
from packerlabimaging.analysis.light import LightSeen, find_light
from packerlabimaging.analysis.pulses import detect_pulses
from packerlabimaging.analysis.stims import Triggers, make_stims, stim_findings
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding, Severity
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.photostim import LightTimes, PhotostimProtocol
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import ParameterError


@dataclass(frozen=True, kw_only=True, eq=False)
class ImagedFrames:
    """The frames that a time is looked for: how many there are, and what is known of them without any pulse.

    Parameters
    ----------
    n_frames
        Frames of one plane (multi-plane: complete volumes).
    n_planes, plane
        Planes of a volume, and the plane (zero-based) that is looked at.
    frame_rate_hz
        Frames of one plane per second by the program's settings; None if unknown.
    frame_times_s
        Start of each frame on the program's own clock, ``(n_frames,)`` or ``(n_frames, n_planes)``, seconds; None if unknown.
    movie
        The plane's frames themselves, in which the light of the stims is looked for; None where there are none at hand.

    Raises
    ------
    ParameterError
        If a count makes no sense, there is no such plane, or the movie has another number of frames.
    """

    n_frames: int
    n_planes: int = 1
    plane: int = 0
    frame_rate_hz: float | None = None
    frame_times_s: np.ndarray | None = None
    movie: Movie | None = None

    def __post_init__(self) -> None:
        check_positive("n_frames", self.n_frames)
        check_positive("n_planes", self.n_planes)
        if not 0 <= self.plane < self.n_planes:
            raise ParameterError(f"plane = {self.plane} does not exist. Planes run from 0 to {self.n_planes - 1}.")
        if self.movie is not None and self.movie.n_frames != self.n_frames:
            raise ParameterError(
                f"n_frames = {self.n_frames}, but the movie has {self.movie.n_frames}. Leave n_frames to the movie."
            )

    @classmethod
    def of(cls, movie: Movie, *, metadata: ImagingMetadata | None = None, plane: int = 0) -> ImagedFrames:
        """Return the frames of a movie; ``metadata`` stands in for its own."""
        metadata = metadata or movie.metadata
        return cls.described(metadata.replace(n_frames=movie.n_frames), plane=plane, movie=movie)

    @classmethod
    def described(cls, metadata: ImagingMetadata, *, plane: int = 0, movie: Movie | None = None) -> ImagedFrames:
        """Return the frames that metadata describe."""
        if metadata.n_frames is None:
            raise ParameterError("The metadata do not say how many frames there are. Pass ImagedFrames(n_frames=...).")
        return cls(
            n_frames=metadata.n_frames,
            n_planes=metadata.n_planes,
            plane=plane,
            frame_rate_hz=metadata.frame_rate_hz,
            frame_times_s=metadata.frame_times_s,
            movie=movie,
        )

    @property
    def tick_times_s(self) -> np.ndarray | None:
        """The program's time of every tick, ``(n_frames * n_planes,)``; None where they are incomplete or disordered."""
        times = self.frame_times_s
        fits = times is not None and times.size == self.n_frames * self.n_planes and np.all(np.diff(times.ravel()) > 0)
        return times.ravel() if times is not None and fits else None


def audit_sync(
    signals: Signals | None,
    frames: ImagedFrames | Movie,
    *,
    frame_clock: str | None = "frame_clock",
    stim: str | Sequence[str] | None = None,
    protocol: PhotostimProtocol | Mapping[str, PhotostimProtocol] | None = None,
    block: int | None = None,
    active_low: Sequence[str] = (),
) -> SyncAudit:
    """Reconcile frame pulses, stimulation pulses, the movie's frames and the protocol.

    Parameters
    ----------
    signals
        The recording that holds the pulses; None where there is none.
    frames
        The movie, or what is known of its frames.
    frame_clock
        Channel of the frame clock; None if it was not recorded.
    stim
        Channel of the stimulation's trigger pulses, or several; None if there was no stimulation.
    protocol
        The stimulation protocol of the first channel, or ``{channel: protocol}``. In a channel without one each pulse is a stim.
    block
        Block of frame pulses to take where several fit; see :func:`match_frame_clock`.
    active_low
        Channels that are low during a pulse; a frame or a stim starts where a pulse does.

    Returns
    -------
    SyncAudit
        Clock, triggers, stims, intervals of light, findings, and the verdict.

    Raises
    ------
    MissingInputError
        If a channel that is named does not exist.
    ParameterError
        If a count makes no sense, or a protocol or ``active_low`` names a channel that is not looked at.

    Notes
    -----
    A frame holds the times from its start (included) to the next frame's start (not included). Without recorded frame pulses
    the stims can't be placed on frames, because the program's clock and the recording's have no common zero: they are kept
    without frames, and not valid.

    Examples
    --------
    ::

        audit = pli.tl.audit_sync(signals, movie, stim="markpoints2packio", protocol=protocol)
        audit.verdict, audit.to_frame(), audit.stims
    """
    frames = ImagedFrames.of(frames) if isinstance(frames, Movie) else frames
    names = [stim] if isinstance(stim, str) else list(stim or ())
    findings: list[Finding] = [] if signals is None else list(signals.findings)
    if protocol is not None and (signals is None or not names):
        channels = "no signals were given" if signals is None else f"its channels are: {', '.join(signals)}"
        message = f"There is a stimulation protocol, but no channel of trigger pulses: {channels}."
        findings.append(Finding("no-stim-times", message, "error", advice="Name the channel of the triggers: stim=."))
        protocol = None
    used = [*([] if frame_clock is None else [frame_clock]), *names]
    unused = [name for name in active_low if name not in used]
    if unused:
        raise ParameterError(
            f"active_low names '{unused[0]}', which is neither the frame clock nor a channel of stims. "
            f"These are: {', '.join(used) or 'none'}."
        )
    found: dict[str, Events] = {}
    if signals is not None:
        found = {name: detect_pulses(signals[name], active="low" if name in active_low else "high") for name in used}
    pulses, triggers = found.get(frame_clock or ""), {name: found[name] for name in names if name in found}
    audit = audit_pulses(pulses, frames, triggers=triggers, protocol=protocol, block=block)
    return replace(audit, findings=(*findings, *audit.findings))


def audit_pulses(
    frame_pulses: Events | None,
    frames: ImagedFrames | Movie,
    *,
    triggers: Mapping[str, Events] | None = None,
    protocol: PhotostimProtocol | Mapping[str, PhotostimProtocol] | None = None,
    block: int | None = None,
) -> SyncAudit:
    """Reconcile pulses that are known already; :func:`audit_sync` without the search for pulses in signals.

    Parameters
    ----------
    frame_pulses
        Pulses of the frame clock; None if it was not recorded.
    frames
        The movie, or what is known of its frames.
    triggers
        Trigger pulses of each channel of stimulation, on the same time base.
    protocol, block
        As in :func:`audit_sync`.

    Returns
    -------
    SyncAudit
        As of :func:`audit_sync`.

    Raises
    ------
    ParameterError
        If a count makes no sense, two pulses of a channel begin together, or a protocol is given for a channel that is not named.
    """
    frames = ImagedFrames.of(frames) if isinstance(frames, Movie) else frames
    for name, events in {"frame clock": frame_pulses, **(triggers or {})}.items():
        if events is not None and np.any(np.diff(events.onsets_s) <= 0):
            raise ParameterError(f"Two pulses of '{name}' begin at the same time. Expected onsets that ascend strictly.")
    findings = _order_findings(frames)
    match = None if frame_pulses is None else _match(frame_pulses, frames, block, findings)
    channels = _channels(triggers or {}, protocol, findings)
    if match is not None:
        channels = [_of_recording(channel, match, findings) for channel in channels]
    for channel in channels:
        findings += channel.findings()
    if frame_pulses is None:
        ticks = _program_ticks(frames, findings)
    else:
        ticks = None if match is None else _settled_ticks(match, frames, channels, frame_pulses.name, findings)
    clock = None if ticks is None else ticks.plane(frames.plane, frames.n_planes)
    stims, light = make_stims(channels, None if frame_pulses is None else clock)
    if clock is not None and frame_pulses is not None:
        findings += _rate_findings(clock, frames, frame_pulses.name) + stim_findings(stims)
    elif clock is not None and len(stims):
        message = f"{len(stims)} stims can't be placed on frames: the frame times are not on the recording's time base."
        advice = "Record the frame clock beside the stimulation pulses."
        findings.append(Finding("no-common-time-base", message, "error", advice=advice))
    return SyncAudit(
        ticks=ticks,
        n_planes=frames.n_planes,
        plane=frames.plane,
        frame_pulses_s=np.zeros(0) if frame_pulses is None else frame_pulses.onsets_s,
        triggers={channel.pulses.name: channel.pulses.onsets_s for channel in channels},
        stims=stims,
        light=light,
        findings=tuple(findings),
    )


# the frame clock


def _match(pulses: Events, frames: ImagedFrames, block: int | None, findings: list[Finding]) -> FrameMatch | None:
    noticed = getattr(pulses, "findings", ())
    findings += [finding for finding in noticed if finding.code not in ("single-pulse", "no-pulses")]
    if any(finding.severity == "error" and finding.code != "no-pulses" for finding in noticed):
        return None  # not a TTL: the finding says so
    match, found = match_frame_clock(
        pulses,
        n_frames=frames.n_frames,
        n_planes=frames.n_planes,
        nominal_rate_hz=frames.frame_rate_hz,
        frame_times_s=frames.tick_times_s,
        block=block,
    )
    findings += found
    return match


def _order_findings(frames: ImagedFrames) -> list[Finding]:
    """Tell where the planes were not scanned in their order in every volume, as pulses are counted: to and fro."""
    times = frames.frame_times_s
    if times is None or times.shape != (frames.n_frames, frames.n_planes):
        return []
    shift = np.argsort(np.argsort(times, axis=1), axis=1) - np.arange(frames.n_planes)
    n_volumes, own = int(shift.any(axis=1).sum()), int(np.abs(shift[:, frames.plane]).max())
    if not n_volumes:
        return []
    severity: Severity = "error" if own else "warning"  # the middle plane of an odd number is where it is counted
    effect = f"times of plane {frames.plane} are up to {own} ticks off" if own else f"only plane {frames.plane} has right times"
    message = (
        f"The planes of {n_volumes} of {frames.n_frames} volumes were scanned in another order (to and fro). Frame pulses are "
        f"counted in the order of the planes: {effect}."
    )
    advice = "Accept it if that does not matter for your windows, or record without bidirectional z."
    evidence = {"n_volumes": n_volumes, "largest_shift_ticks": own}
    return [Finding("planes-to-and-fro", message, severity, advice=advice, evidence=evidence)]


def _rate_findings(clock: FrameClock, frames: ImagedFrames, where: str) -> list[Finding]:
    times = frames.tick_times_s
    program_s = None if times is None else times[frames.plane :: frames.n_planes]
    return rate_findings(clock, nominal_rate_hz=frames.frame_rate_hz, program_s=program_s, where=where)


def _settled_ticks(
    match: FrameMatch, frames: ImagedFrames, channels: Sequence[Triggers], where: str, findings: list[Finding]
) -> FrameClock | None:
    """Look for the light of the stims in the movie, and settle on the first frame."""
    with_light = [channel for channel in channels if channel.light is not None]
    lit = max(with_light, key=lambda channel: len(channel.pulses), default=None)
    light = None if lit is None or frames.movie is None else _see_light(match, frames, lit)
    settled = settle_first_frame(
        match,
        light,
        lit="" if lit is None else lit.pulses.name,
        stims_s=np.concatenate([np.zeros(0), *(channel.pulses.onsets_s[:: channel.per_stim] for channel in channels)]),
        where=where,
        findings=findings,
    )
    return None if settled is None else settled.clock


def _see_light(match: FrameMatch, frames: ImagedFrames, lit: Triggers) -> LightSeen:
    """Look for the light of a channel's stims in the movie; rows of the protocol without power give none."""
    light, protocol = lit.light, lit.protocol
    assert frames.movie is not None and light is not None and protocol is not None
    dark = [number for number, row in enumerate(protocol.rows) if row.power == 0 or row.power_mw == 0]
    seen = ~np.isin(light.row, dark)
    light = LightTimes(*(column[seen] for column in vars(light).values()))
    return find_light(frames.movie, match, light, plane=frames.plane)


# where there is no frame clock


def _program_ticks(frames: ImagedFrames, findings: list[Finding]) -> FrameClock | None:
    """Fall back on the program's own frame times, or on its nominal rate, and say so."""
    times, rate, n_planes = frames.tick_times_s, frames.frame_rate_hz, frames.n_planes
    advice = "Record the frame clock to be sure."
    if times is not None and (len(times) > 1 or rate is not None):
        message = "No frame clock was recorded: frame times are those that the acquisition program wrote."
        findings.append(Finding("no-frame-clock", message, "warning", advice=advice))
        return FrameClock(times, "acquisition program", np.nan if rate is None or len(times) > 1 else 1.0 / (rate * n_planes))
    if frames.frame_times_s is not None and times is None:
        message = "The program's frame times do not ascend, or are not one for each frame and plane; they are not used."
        findings.append(Finding("frame-times-not-ascending", message))
    if rate is not None:
        message = f"No frame times were recorded: they are assumed to follow the nominal rate of {rate:g} Hz, and will drift."
        findings.append(Finding("nominal-frame-times", message, "warning", advice=advice, evidence={"rate_hz": rate}))
        return FrameClock.nominal(frames.n_frames * n_planes, rate * n_planes)
    message = "Nothing tells when the frames were taken: no frame clock, no frame times, no frame rate."
    advice = "Give the frame rate: frame_rate_hz, in [trial.metadata] of an experiment file."
    findings.append(Finding("no-frame-times", message, "error", advice=advice))
    return None


# the triggers


def _channels(
    triggers: Mapping[str, Events],
    protocol: PhotostimProtocol | Mapping[str, PhotostimProtocol] | None,
    findings: list[Finding],
) -> list[Triggers]:
    """Put pulses and protocol of every channel together, and say where there is nothing to work with."""
    if not isinstance(protocol, Mapping):
        protocol = {} if protocol is None else dict(zip(list(triggers)[:1], [protocol], strict=False))
    unknown = [name for name in protocol if name not in triggers]
    if unknown:
        raise ParameterError(
            f"There is a protocol for the channel '{unknown[0]}', but its triggers are not named: {list(triggers)}."
        )
    found = []
    for name, pulses in triggers.items():
        channel = Triggers(Events(pulses.onsets_s, pulses.ends_s, name), protocol.get(name))
        findings += [finding for finding in getattr(pulses, "findings", ()) if finding.code != "single-pulse"]
        if len(pulses) == 1 and channel.n_expected != 1:
            message = f"Channel '{name}' holds one pulse only, which is not taken for a stim."
            findings.append(Finding("no-repeated-pulses", message, "error", name, "Choose the channel of the triggers."))
            channel = replace(channel, pulses=Events(np.zeros(0), np.zeros(0), name))
        found.append(channel)
    return found


def _of_recording(triggers: Triggers, match: FrameMatch, findings: list[Finding]) -> Triggers:
    """Leave out the triggers of other recordings in the same file, where the rest is just what the protocol needs."""
    edges = match.starts_s(match.first, match.first + match.n_ticks + 1)
    own = triggers.within(float(edges[0]), float(edges[-1]))
    n_others = len(triggers.pulses) - len(own.pulses)
    if n_others:
        message = f"{n_others} triggers outside this recording belong to others; within it are the protocol's {len(own.pulses)}."
        findings.append(Finding("triggers-of-other-recordings", message, "info", triggers.pulses.name, evidence={"n": n_others}))
    return own
