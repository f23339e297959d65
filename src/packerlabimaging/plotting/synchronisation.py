"""Recorded signals with the events found in them, and the frame clock's regularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.clock import FRAME_GAP_PERIODS, FrameClock
from packerlabimaging.core.signals import Channel, Signals
from packerlabimaging.errors import ParameterError
from packerlabimaging.plotting._envelope import channel_envelope, trace_line, zigzag
from packerlabimaging.plotting._style import BLACK, BLUE, GREY, LIGHT_GREY, ORANGE, VERMILLION, axes, panels, rows, shade, styled
from packerlabimaging.plotting._tables import stim_intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TICKS = 300
"""More events than this in one panel are drawn as bars over their blocks: ticks would melt into one bar anyway."""

LEAST_RANGE = 1e-3
"""Least range of frame intervals shown, of their own length: jitter below is not worth magnifying."""


@styled
def signals(
    signals: Signals,
    *,
    channels: Sequence[str] | None = None,
    events: Mapping[str, Any] | None = None,
    start_s: float | None = None,
    stop_s: float | None = None,
    zoom_s: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> dict[str, Axes]:
    """Show recorded channels one above the other, with the events detected in them.

    Parameters
    ----------
    signals
        The channels; samples are read a bounded piece at a time, and drawn by the least and greatest value of each bin, so
        that a pulse of one sample stays visible.
    channels
        Names of those to show; all by default.
    events
        ``{channel: Events, or onsets (n,), or onsets and ends (n, 2), in seconds}``: ticks above the channel. Very many are
        drawn as one bar per block without a gap.
    start_s, stop_s
        Time shown, seconds; by default all.
    zoom_s
        ``(start, stop)`` in seconds: a second column shows this time magnified, e.g. around the first stim.
    ax
        Axes whose place the panels take; a new figure by default.

    Returns
    -------
    dict of str to matplotlib.axes.Axes
        One for each channel by its name, and ``"<name> (zoom)"``.

    Raises
    ------
    MissingInputError
        If there is no such channel.
    ParameterError
        If there is no channel to show, events name a channel that is not shown, or a time span is empty.
    """
    names = list(signals.names if channels is None else channels)
    shown = {name: signals[name] for name in names}
    if not shown:
        raise ParameterError("There is no channel to show.")
    events = dict(events or {})
    unknown = [name for name in events if name not in shown]
    if unknown:
        raise ParameterError(f"events names the channel '{unknown[0]}', which is not shown. Shown: {', '.join(names)}.")
    start = min(channel.start_s for channel in shown.values()) if start_s is None else start_s
    stop = max(channel.start_s + channel.duration_s for channel in shown.values()) if stop_s is None else stop_s
    check_positive("stop_s - start_s", stop - start)
    ax = axes(ax, (7.2, 0.85 * len(names) + 0.6))
    left = panels(ax, dict(zip(names, rows(len(names), gap=0.4, width=1.0 if zoom_s is None else 0.68), strict=True)))
    _fill(left, shown, events, start, stop, last=names[-1])
    if zoom_s is None:
        return left
    check_positive("zoom_s[1] - zoom_s[0]", zoom_s[1] - zoom_s[0])
    right = panels(ax, dict(zip(names, rows(len(names), gap=0.4, left=0.71, width=0.29), strict=True)))
    _fill(right, shown, events, *zoom_s, last=names[-1], labels=False)
    for name in names:
        right[name].sharey(left[name])
        right[name].tick_params(labelleft=False)
        shade(left[name], np.array(zoom_s[:1]), np.array(zoom_s[1:]), color=ORANGE, alpha=0.35)
    right[names[0]].set_title("magnified", color=ORANGE, fontsize=7.5, pad=13)
    return left | {f"{name} (zoom)": panel for name, panel in right.items()}


def _fill(
    panels_: Mapping[str, Axes], shown: Mapping[str, Channel], events: Mapping[str, Any], start: float, stop: float, *, last: str,
    labels: bool = True,
) -> None:  # fmt: skip
    for name, channel in shown.items():
        ax = panels_[name]
        _draw_channel(ax, channel, start, stop)
        if name in events:
            n_events = _draw_events(ax, *stim_intervals(events[name]), start, stop)
        ax.set_xlim(start, stop)
        ax.tick_params(labelbottom=name == last)
        if labels:
            count = f"\n{n_events:,} events" if name in events else ""
            ax.set_ylabel(f"{name}\n({channel.unit or 'a.u.'}){count}", rotation=0, ha="right", va="center", fontsize=7)
        if name == last:
            ax.set_xlabel("time (s)")


def _draw_channel(ax: Axes, channel: Channel, start: float, stop: float) -> None:
    first, end = np.clip(channel.first_sample_at(np.array([start, stop])), 0, channel.n_samples).tolist()
    if end <= first:
        ax.text(0.5, 0.5, "not recorded at this time", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_yticks([])
        return
    edges, low, high = channel_envelope(channel, first, end)
    ax.plot(*zigzag(channel.time_of((edges[:-1] + edges[1:] - 1) / 2), low, high), color=BLACK, lw=0.5)


def _draw_events(ax: Axes, onsets: np.ndarray, ends: np.ndarray, start: float, stop: float) -> int:
    """Draw events as ticks just above the panel, or as bars where they are too many; return how many lie in the time shown."""
    seen = (ends >= start) & (onsets <= stop)
    line: dict[str, Any] = {"color": VERMILLION, "transform": ax.get_xaxis_transform(), "clip_on": False}
    times = onsets[seen]
    if 0 < len(times) <= MOST_TICKS:
        ax.vlines(times, 1.02, 1.14, lw=0.7, **line)
    elif len(times):
        breaks = np.flatnonzero(np.diff(times) > 5 * np.median(np.diff(times)))
        ax.hlines(np.full(len(breaks) + 1, 1.08), times[[0, *breaks + 1]], times[[*breaks, -1]], lw=3, **line)
    return len(times)


@styled
def clock(clock: Any, *, nominal_rate_hz: float | None = None, ax: Axes | None = None) -> dict[str, Axes]:
    """Show how regular a frame clock is, and how far nominal times would drift from it.

    Parameters
    ----------
    clock
        A :class:`FrameClock`, or anything with one as ``clock`` (a sync audit).
    nominal_rate_hz
        Frame rate that the acquisition program states. Drift is shown against it; without it against the clock's own mean
        rate.
    ax
        Axes whose place the panels take; a new figure by default.

    Returns
    -------
    dict of str to matplotlib.axes.Axes
        ``"intervals"`` over time, ``"histogram"`` of the intervals (logarithmic counts; gaps are counted in its title), and
        ``"drift"``: measured start minus ``frame / rate``, zero at the first frame.

    Raises
    ------
    ParameterError
        If the clock has fewer than two frames.
    """
    clock = getattr(clock, "clock", clock)
    if not isinstance(clock, FrameClock) or clock.n_frames < 2:
        raise ParameterError(f"Expected a frame clock of at least two frames, got {clock!r}.")
    rate = clock.rate_hz if nominal_rate_hz is None else check_positive("nominal_rate_hz", nominal_rate_hz)
    boxes = {"intervals": (0.0, 0.0, 0.27, 1.0), "histogram": (0.37, 0.0, 0.24, 1.0), "drift": (0.72, 0.0, 0.28, 1.0)}
    found = panels(axes(ax, (7.4, 2.0)), boxes)
    intervals = np.diff(clock.starts_s)
    regular = intervals <= FRAME_GAP_PERIODS * clock.period_s
    _draw_intervals(found["intervals"], clock, intervals * 1e3)
    _draw_histogram(found["histogram"], intervals[regular] * 1e3, n_gaps=int(np.sum(~regular)))
    drift = clock.starts_s - clock.starts_s[0] - np.arange(clock.n_frames) / rate
    found["drift"].axhline(0.0, color=LIGHT_GREY, lw=0.8)
    found["drift"].plot(*trace_line(clock.starts_s, drift, gap_s=np.inf), color=BLUE)
    found["drift"].set_ylim(*_at_least(*found["drift"].get_ylim(), 2e-3))
    against = "mean rate" if nominal_rate_hz is None else "nominal"
    found["drift"].set(xlabel="time (s)", ylabel=f"measured - {against} (s)", title=f"drift against {rate:.4g} Hz")
    return found


def _draw_intervals(ax: Axes, clock: FrameClock, intervals_ms: np.ndarray) -> None:
    times, values = trace_line(clock.starts_s[:-1], intervals_ms, gap_s=np.inf)
    ax.plot(times, values, color=BLACK, lw=0.5)
    ax.axhline(clock.period_s * 1e3, color=ORANGE, lw=0.8)
    if np.max(intervals_ms) > 5 * clock.period_s * 1e3:
        ax.set_yscale("log")
    else:
        ax.set_ylim(*_at_least(*ax.get_ylim(), LEAST_RANGE * clock.period_s * 1e3))
        ax.ticklabel_format(axis="y", useOffset=False)
    ax.set(xlabel="time (s)", ylabel="frame interval (ms)", title=f"median {clock.period_s * 1e3:.3f} ms")


def _draw_histogram(ax: Axes, intervals_ms: np.ndarray, *, n_gaps: int) -> None:
    if len(intervals_ms):
        low, high = _at_least(float(intervals_ms.min()), float(intervals_ms.max()), LEAST_RANGE * float(intervals_ms[0]))
        ax.hist(intervals_ms, bins=np.linspace(low, high, 41).tolist(), color=GREY, log=True)
        ax.ticklabel_format(axis="x", useOffset=False)
    ax.set(xlabel="frame interval (ms)", ylabel="frames (count)", title=f"{n_gaps} gap{'' if n_gaps == 1 else 's'}")
    ax.locator_params(axis="x", nbins=4)


def _at_least(low: float, high: float, spread: float) -> tuple[float, float]:
    """Widen a range about its middle, so that rounding errors don't fill a plot."""
    missing = max(0.0, spread - (high - low)) / 2
    return low - missing, high + missing
