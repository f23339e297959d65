"""The audit of a synchronisation in one picture: which pulses are the movie's, how regular they are, and what was found where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting._envelope import trace_line
from packerlabimaging.plotting._style import (
    BLACK,
    BLUE,
    GREY,
    LIGHT_GREY,
    ORANGE,
    VERMILLION,
    axes,
    panels,
    styled,
    vertical_lines,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCK_GAP_S = 0.5
"""Pulses are drawn as one bar while they follow each other within this time."""

VERDICT_COLORS = {"pass": BLUE, "warn": ORANGE, "fail": VERMILLION}
SEVERITY_COLORS = {"error": VERMILLION, "warning": ORANGE}


@styled
def sync_audit(audit: Any, *, ax: Axes | None = None) -> dict[str, Axes]:
    """Show an audit: pulses and frames in time, intervals between frames, intervals between stims, and findings at their places.

    Parameters
    ----------
    audit
        A :class:`~packerlabimaging.tl.SyncAudit`.
    ax
        Axes whose place the panels take; a new figure by default.

    Returns
    -------
    dict of str to matplotlib.axes.Axes
        ``"timeline"``: every pulse of the frame clock, the movie's frames, and the stims of each channel (red: not valid);
        ``"frames"``: interval from each frame to the next; ``"stims"``: interval from each stim to the next of its channel.
        Vertical lines are the places of findings: orange warnings, red errors.

    Raises
    ------
    ParameterError
        If there are neither pulses, frames nor stims.
    """
    rows = _timeline_rows(audit)
    times = np.concatenate([part for _, part, _ in rows] or [np.zeros(0)])
    if not len(times):
        raise ParameterError("The audit has no pulse, no frame and no stim: there is nothing to show.")
    boxes = {"timeline": (0.0, 0.56, 1.0, 0.44), "frames": (0.0, 0.0, 0.46, 0.36), "stims": (0.56, 0.0, 0.44, 0.36)}
    found = panels(axes(ax, (7.4, 3.4)), boxes)
    _draw_timeline(found["timeline"], rows)
    found["timeline"].set_title(f"verdict: {audit.verdict}", color=VERDICT_COLORS.get(audit.verdict, BLACK))
    _draw_frames(found["frames"], audit)
    _draw_stims(found["stims"], audit)
    margin = 0.02 * (times.max() - times.min()) + 0.01
    of_stims = [finding for finding in audit.findings if finding.where in audit.triggers]
    of_frames = [finding for finding in audit.findings if finding.where not in audit.triggers]
    marked = {"timeline": audit.findings, "frames": of_frames, "stims": of_stims}
    for name, panel in found.items():
        _mark_findings(panel, marked[name])
        panel.set(xlim=(times.min() - margin, times.max() + margin), xlabel="time (s)")
    return found


def _timeline_rows(audit: Any) -> list[tuple[str, np.ndarray, str]]:
    """Return name, times and colour of each row, from top to bottom."""
    rows = [("frame pulses", audit.frame_pulses_s, GREY)]
    if audit.ticks is not None:
        rows.append(("frames of the movie", audit.clock.starts_s, BLUE))
    stims = audit.stims
    for channel in audit.triggers:
        of_channel = stims[stims["channel"] == channel]
        valid = of_channel["valid"].to_numpy(bool)
        onsets = of_channel["onset_s"].to_numpy()
        rows += [(channel, onsets[valid], BLACK), (channel, onsets[~valid], VERMILLION)]
    return [row for row in rows if len(row[1])]


def _draw_timeline(ax: Axes, rows: list[tuple[str, np.ndarray, str]]) -> None:
    names = list(dict.fromkeys(name for name, _, _ in rows))
    for name, times, color in rows:
        height = len(names) - names.index(name)
        if color in (GREY, BLUE):  # a bar for each block of pulses
            breaks = np.flatnonzero(np.diff(times) > max(BLOCK_GAP_S, 5 * np.median(np.diff(times)) if len(times) > 1 else 0))
            ax.hlines(np.full(len(breaks) + 1, height), times[[0, *breaks + 1]], times[[*breaks, -1]], color=color, lw=7)
        else:
            ax.vlines(times, height - 0.3, height + 0.3, color=color, lw=0.8)
    counts = {name: sum(len(times) for row, times, _ in rows if row == name) for name in names}
    ax.set_yticks(range(len(names), 0, -1), [f"{name} ({counts[name]:,})" for name in names])
    ax.set_ylim(0.4, len(names) + 0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _draw_frames(ax: Axes, audit: Any) -> None:
    ax.set(ylabel="interval (ms)", title="from frame to frame")
    if audit.ticks is None or audit.clock.n_frames < 2:
        ax.text(0.5, 0.5, "no frame times", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_yticks([])
        return
    starts = audit.clock.starts_s
    intervals_ms = np.diff(starts) * 1e3
    ax.axhline(audit.clock.period_s * 1e3, color=LIGHT_GREY, lw=0.8)
    ax.plot(*trace_line(starts[:-1], intervals_ms, gap_s=np.inf), color=BLUE, lw=0.6)
    if intervals_ms.max() > 5 * np.median(intervals_ms):
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, 1.1 * intervals_ms.max())


def _draw_stims(ax: Axes, audit: Any) -> None:
    ax.set(ylabel="interval (s)", title="from stim to stim")
    longest = 0.0
    for _, part in audit.stims.groupby("channel", sort=False):
        onsets = part["onset_s"].to_numpy()
        ax.plot(onsets[:-1], np.diff(onsets), ".", color=BLACK, ms=3)
        longest = max(longest, float(np.diff(onsets).max(initial=0.0)))
    if longest:
        ax.set_ylim(0, 1.1 * longest)
    else:
        ax.text(0.5, 0.5, "no stims to compare", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_yticks([])


def _mark_findings(ax: Axes, findings: Any) -> None:
    """Draw a line at every place that a warning or an error names."""
    for severity, color in SEVERITY_COLORS.items():
        evidence = [finding.evidence for finding in findings if finding.severity == severity]
        times = [time for found in evidence for key in ("times_s", "after_s") for time in found.get(key, ())]
        vertical_lines(ax, np.array(times), color=color, lw=0.8, alpha=0.8)
