"""Synchronisation: verdict, findings, frame clock and recorded signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from packerlabimaging import plotting as pl
from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import MissingFileError, MissingInputError
from packerlabimaging.report.contract import ReportFigure, ReportSection, ReportTable, SectionContent
from packerlabimaging.report.stored import clock_of_audit, optional

MOST_CHANNELS = 8
MOST_STIMS = 2000
ZOOM_BEFORE_S, ZOOM_AFTER_S = 0.2, 0.4


class Synchronisation(ReportSection):
    """Audit of pulses, frames and protocol."""

    name = "synchronisation"
    title = "Synchronisation"
    order = 30

    def applies(self, trial: Any) -> bool:
        """Where the audit has run."""
        return bool(trial.has("sync"))

    def render(self, trial: Any) -> SectionContent:
        """Show the verdict with its evidence, the clock, and the signals that it was read from."""
        audit = trial.sync
        clock, stims = clock_of_audit(audit), audit.stims
        nominal = getattr(optional(trial, "metadata"), "frame_rate_hz", None)
        text, figures = [], []
        facts: dict[str, Any] = {"stated rate (Hz)": nominal}
        if clock is None:
            text.append("The movie has no frame times: the pulses could not be matched to its frames, see below.")
        else:
            facts |= _facts(clock)
            if clock.source != "nominal" and clock.n_frames > 1:
                figures.append(_clock_figure(clock, nominal))
        facts |= {f"triggers in {name}": len(times) for name, times in audit.triggers.items()} | {"stims": len(stims)}
        if len(audit.frame_pulses_s) or len(stims):
            figures.insert(0, _audit_figure(audit))
        try:
            signals = getattr(trial, "signals", None)
            if signals is not None and len(signals):
                figures.append(_signals_figure(trial, signals, audit, clock))
        except MissingInputError:
            text.append("No signals were given: the frame times come from elsewhere, as said below.")
        except MissingFileError as error:
            text.append(f"The recorded signals are not shown, because their file is not at hand: {error}")
        tables = []
        if 0 < len(stims) <= MOST_STIMS:
            caption = "Stims as measured (seconds on the recording's time base)"
            tables.append(ReportTable.from_frame(stims.rename_axis("stim"), caption=caption, folded=True))
        return SectionContent(
            verdict=str(audit.verdict), text=text, facts=facts, findings=audit.findings, figures=figures, tables=tables
        )


def _facts(clock: FrameClock) -> dict[str, Any]:
    return {
        "frames": clock.n_frames,
        "measured rate (Hz)": None if clock.source == "nominal" else clock.rate_hz,
        "frame times from": clock.source,
        "first frame (s)": clock.starts_s[0],
        "last frame (s)": clock.starts_s[-1],
    }


def _audit_figure(audit: SyncAudit) -> ReportFigure:
    caption = (
        "What was reconciled. Top: every pulse of the frame clock (grey), the movie's frames (blue), and the stims of each "
        "channel (red: not within the recording). Bottom: intervals between frames (ms) and between stims (s). Vertical lines "
        "are the places of warnings (orange) and errors (red) of the list."
    )
    return ReportFigure(pl.sync_audit(audit), caption)


def _clock_figure(clock: FrameClock, nominal: float | None) -> ReportFigure:
    against = "its own mean rate" if nominal is None else f"the stated {nominal:.4g} Hz"
    caption = (
        f"Frame clock of {clock.n_frames:,} frames. Left: interval from each frame to the next (ms; orange: median). Middle: "
        "how often each interval occurs, gaps left out. Right: measured frame time minus the time that frame number and "
        f"{against} would give (s)."
    )
    return ReportFigure(pl.clock(clock, nominal_rate_hz=nominal), caption)


def _signals_figure(trial: Any, signals: Signals, audit: SyncAudit, clock: FrameClock | None) -> ReportFigure:
    events: dict[str, Any] = {}
    frames = clock.starts_s if clock is not None and clock.source == "hardware" else np.zeros(0)
    frame_clock = trial.role("sync", "frame_clock") if hasattr(trial, "role") else None
    for name, times in ((frame_clock, frames), *audit.triggers.items()):
        if name is not None and name in signals and len(times):
            events[name] = times
    channels = [*events, *(name for name in signals if name not in events)][:MOST_CHANNELS]
    whole = next(iter(signals.values())).start_s
    what, first = "beginning", whole if clock is None else float(clock.starts_s[0])
    triggers_s = [times[0] for times in audit.triggers.values() if len(times)]
    if triggers_s:
        what, first = "first trigger", float(min(triggers_s))
    last = first + _stim_length(audit.stims) + ZOOM_AFTER_S
    drawn = pl.signals(signals, channels=channels, events=events, zoom_s=(first - ZOOM_BEFORE_S, last))
    left_out = len(signals) - len(channels)
    more = f" {left_out} further channels are not shown." if left_out else ""
    caption = (
        "Recorded signals against time (s), each drawn by its least and greatest value per pixel. Red: "
        "detected events (bars where they "
        f"are too many to draw). Right: magnified around the {what}, as marked in orange on the left.{more}"
    )
    return ReportFigure(drawn, caption)


def _stim_length(stims: Any) -> float:
    length = float((stims["end_s"] - stims["onset_s"]).median()) if len(stims) else 0.0
    return length if np.isfinite(length) else 0.0
