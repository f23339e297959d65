"""Stims: from trigger pulses and the protocol to the table that says when each was lit, in which frame, and whether it counts.

Every channel of triggers has its own protocol, or none: then a pulse is a stim. The table holds the stims of all channels in the
order of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding, Severity
from packerlabimaging.core.photostim import LightTimes, PhotostimProtocol

if TYPE_CHECKING:
    import pandas as pd

STIM_COLUMNS: Mapping[str, str] = {
    "onset_s": "float64",
    "end_s": "float64",
    "frame": "Int64",
    "channel": "object",
    "group": "Int64",
    "repeat": "Int64",
    "n_shots": "Int64",
    "power_mw": "float64",
    "sham": "bool",
    "catch": "bool",
    "valid": "bool",
    "reason": "object",
}
"""Columns of the table of stims and their pandas types."""

IRREGULAR_PART = 0.25
"""A stim interval that differs from the usual one by more than this part of it is told."""

REGULAR_PART = 0.1
"""Intervals whose median deviation is above this part of their median are irregular by design, and can't be judged."""


PLANNED_PART = 0.05
"""Stims whose usual interval differs from the protocol's by more than this part of it are told."""


@dataclass(frozen=True, eq=False)
class Triggers:
    """Trigger pulses of one channel, and the protocol that each of them starts (or a row of it)."""

    pulses: Events
    protocol: PhotostimProtocol | None = None

    @property
    def n_expected(self) -> int | None:
        """Pulses that the protocol needs; None where nothing tells."""
        if self.protocol is None or self.protocol.n_stims is None:
            return None
        return self.protocol.n_stims * self.per_stim

    @property
    def per_stim(self) -> int:
        """Pulses that a stim takes; 1 without a protocol."""
        return 1 if self.protocol is None else max(1, self.protocol.pulses_per_stim)

    @property
    def light(self) -> LightTimes | None:
        """Intervals of light, stims counted within the channel; None without a protocol that lights anything, or a pulse."""
        if self.protocol is None or not self.protocol.rows or not len(self.pulses):
            return None
        return self.protocol.light(self.pulses.onsets_s)

    def within(self, start_s: float, stop_s: float) -> Triggers:
        """Return only the pulses of one recording, where exactly these are as many as the protocol needs."""
        inside = self.pulses.between(start_s, stop_s)
        return Triggers(inside, self.protocol) if len(inside) == self.n_expected else self

    def findings(self) -> list[Finding]:
        """Compare the number of pulses, and their intervals, with what the protocol needs."""
        return _count_findings(self) + _irregular_findings(self) + _planned_findings(self)


def _count_findings(triggers: Triggers) -> list[Finding]:
    n_pulses, expected, protocol = len(triggers.pulses), triggers.n_expected, triggers.protocol
    if expected is None or protocol is None or n_pulses == expected or not n_pulses:
        return []
    where, per_stim = triggers.pulses.name, triggers.per_stim
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


def _irregular_findings(triggers: Triggers) -> list[Finding]:
    """Tell where the intervals of a regular train of triggers say that one is missing, or one too many."""
    onsets = triggers.pulses.onsets_s
    per_stim = triggers.per_stim
    intervals = np.diff(onsets)
    if len(intervals) < max(4, 2 * per_stim):
        return []
    usual = np.resize([np.median(intervals[place::per_stim]) for place in range(per_stim)], len(intervals))  # row to row differs
    deviations = np.abs(intervals - usual) / usual
    odd = np.flatnonzero(deviations > IRREGULAR_PART)
    if np.median(deviations) > REGULAR_PART or not len(odd):
        return []  # irregular by design, or not at all
    first = odd[0]
    message = (
        f"{len(odd)} intervals between triggers are not like the others: the one after {onsets[first]:.3f} s lasts "
        f"{intervals[first]:.3f} s, usual are {usual[first]:.3f} s. A trigger may be missing there, or be none."
    )
    advice = "Look at the channel there. If the intervals were meant to differ, all is well."
    evidence = {"after_s": np.round(onsets[odd[:50]], 4).tolist(), "intervals_s": np.round(intervals[odd[:50]], 4).tolist()}
    severity: Severity = "error" if per_stim > 1 else "warning"  # a lost trigger of a row shifts all later rows
    return [Finding("irregular-stims", message, severity, triggers.pulses.name, advice, evidence)]


def _planned_findings(triggers: Triggers) -> list[Finding]:
    """Compare the usual interval from stim to stim with the protocol's."""
    planned = None if triggers.protocol is None else triggers.protocol.stim_interval_s
    if planned is None:
        return []
    intervals = np.diff(triggers.pulses.onsets_s[:: triggers.per_stim])
    if not len(intervals):
        return []
    usual = float(np.median(intervals))
    evidence = {"planned_s": planned, "usual_s": usual, "sd_s": float(intervals.std())}
    if abs(usual / planned - 1) <= PLANNED_PART:
        return []
    message = f"Stims come every {usual:.4g} s, by the protocol they should every {planned:.4g} s."
    advice = "Check that this is the right protocol, and the right channel."
    return [Finding("stim-interval-differs", message, "warning", triggers.pulses.name, advice, evidence)]


# the table


def make_stims(channels: Sequence[Triggers], clock: FrameClock | None) -> tuple[pd.DataFrame, LightTimes | None]:
    """Make the table of stims of all channels in the order of time, and their intervals of light.

    Parameters
    ----------
    channels
        Triggers of each channel.
    clock
        Places the stims on frames; None where no clock shares their time base.

    Returns
    -------
    stims
        Table with :data:`STIM_COLUMNS`, index ``stim-000`` and so on.
    light
        Intervals of light, ``stim`` counting the table's rows; None where no channel has a protocol and pulses.
    """
    parts, lights = [], []
    for triggers in channels:
        light = triggers.light
        parts.append(_by_pulses(triggers) if light is None else _by_light(triggers, light))
        lights.append(light)
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else _by_pulses(_NO_TRIGGERS)
    order = np.argsort(values["onset_s"], kind="stable")
    table = _on_frames({name: column[order] for name, column in values.items()}, clock)
    row_of = np.empty(len(order), np.int64)
    row_of[order] = np.arange(len(order))
    begins = np.cumsum([0, *(len(part["onset_s"]) for part in parts)])
    return table, _join_light(
        [(light, row_of[begin:]) for light, begin in zip(lights, begins, strict=False) if light is not None]
    )


def _by_light(triggers: Triggers, light: LightTimes) -> dict[str, np.ndarray]:
    protocol = triggers.protocol
    assert protocol is not None  # there is light only by a protocol
    starts = np.unique(light.stim, return_index=True)[1]
    new_shot = (np.diff(light.stim, prepend=-1) | np.diff(light.row, prepend=-1) | np.diff(light.shot, prepend=-1)) != 0
    groups, powers = {row.group for row in protocol.rows}, {row.power_mw for row in protocol.rows}
    return _columns(
        triggers,
        light.onset_s[starts],
        np.maximum.reduceat(light.end_s, starts),
        group=groups.pop() if len(groups) == 1 else None,
        n_shots=np.add.reduceat(new_shot.astype(int), starts),
        power_mw=powers.pop() if len(powers) == 1 else None,
        catch=all(row.power == 0 for row in protocol.rows),
    )


def _by_pulses(triggers: Triggers) -> dict[str, np.ndarray]:
    pulses = triggers.pulses
    return _columns(triggers, pulses.onsets_s, pulses.onsets_s if pulses.ends_s is None else pulses.ends_s)


def _columns(
    triggers: Triggers, onset_s: np.ndarray, end_s: np.ndarray, *, group: int | None = None, n_shots: Any = None,
    power_mw: float | None = None, catch: bool = False,
) -> dict[str, np.ndarray]:  # fmt: skip
    count = len(onset_s)
    same = {"channel": triggers.pulses.name, "group": group, "n_shots": n_shots, "power_mw": power_mw}
    columns = {name: np.broadcast_to(np.asarray(value, object), count) for name, value in same.items()}
    catches, repeats = np.full(count, catch), np.arange(count)
    return {"onset_s": onset_s, "end_s": end_s, **columns, "catch": catches, "repeat": repeats}


_NO_TRIGGERS = Triggers(Events(np.zeros(0)))


def _join_light(lights: Sequence[tuple[LightTimes, np.ndarray]]) -> LightTimes | None:
    """Join the light of several channels, in the order of stims; each comes with the table's row of each of its stims."""
    if not lights:
        return None
    columns = {part.name: np.concatenate([getattr(light, part.name) for light, _ in lights]) for part in fields(LightTimes)}
    columns["stim"] = np.concatenate([rows[light.stim] for light, rows in lights])
    order = np.argsort(columns["stim"], kind="stable")
    return LightTimes(**{name: column[order] for name, column in columns.items()})


def _on_frames(values: dict[str, Any], clock: FrameClock | None) -> pd.DataFrame:
    """Add the frame of each stim, and whether it lies within the recording."""
    onsets, ends = values["onset_s"], values["end_s"]
    reasons = _why_invalid(clock, onsets, ends)
    added = {
        "frame": frames_of(clock, onsets),
        "sham": [False] * len(onsets),
        "valid": [not reason for reason in reasons],
        "reason": reasons,
    }
    return stims_frame([_stim_id(number) for number in range(len(onsets))], {**values, **added})


def _why_invalid(clock: FrameClock | None, onsets_s: np.ndarray, ends_s: np.ndarray) -> list[str]:
    """Say why each stim does not lie within the recording; an empty text where it does."""
    if clock is None:
        return ["no frame times"] * len(onsets_s)
    last_lit_s = np.where(ends_s > onsets_s, np.nextafter(ends_s, -np.inf), onsets_s)
    reasons = {
        "before the first frame": onsets_s < clock.starts_s[0],
        "after the last frame": onsets_s >= clock.starts_s[-1] + clock.period_s,
        "in a pause of the recording": ~clock.frames_at(onsets_s)[1],
        "cut by the end or a pause of the recording": ~clock.frames_at(last_lit_s)[1],
    }
    return [str(reason) for reason in np.select(list(reasons.values()), list(reasons), default="")]


def rows_of_light(light: LightTimes | None, clock: FrameClock | None) -> pd.DataFrame:
    """Make the table of rows: one per stim and line of the protocol; see :attr:`SyncAudit.rows`."""
    import pandas as pd

    if light is None or not len(light.onset_s):
        names = ("stim", "row", "group", "onset_s", "end_s", "frame", "n_shots")
        return pd.DataFrame({name: pd.Series(dtype="float64" if name.endswith("_s") else "Int64") for name in names})
    starts = np.flatnonzero(np.diff(light.stim, prepend=-1) | np.diff(light.row, prepend=-1))
    onsets = light.onset_s[starts]
    return pd.DataFrame(
        {
            "stim": [_stim_id(stim) for stim in light.stim[starts].tolist()],
            "row": light.row[starts],
            "group": light.group[starts],
            "onset_s": onsets,
            "end_s": np.maximum.reduceat(light.end_s, starts),
            "frame": frames_of(clock, onsets),
            "n_shots": np.maximum.reduceat(light.shot, starts) + 1,
        }
    )


def stim_findings(stims: pd.DataFrame) -> list[Finding]:
    """Tell of stims outside the recording, and of stims of one channel that overlap."""
    findings = []
    outside = stims.index[~stims["valid"].to_numpy(bool)].tolist()
    if outside:
        reasons = sorted(set(stims.loc[outside, "reason"]))
        message = f"{len(outside)} of {len(stims)} stims do not lie within the recording ({'; '.join(reasons)})."
        advice = "They are kept and marked not valid."
        findings.append(Finding("stims-outside-recording", message, "warning", advice=advice, evidence={"stims": outside}))
    names: list[str] = []
    for _, part in stims.groupby("channel", sort=False):
        overlaps = part["onset_s"].to_numpy()[1:] < part["end_s"].to_numpy()[:-1]
        names += part.index[1:][overlaps].tolist()
    if names:
        message = f"{len(names)} stims begin before the one before has ended, e.g. {names[0]}."
        advice = "Check that this is the right protocol for this recording."
        findings.append(Finding("stims-overlap", message, "warning", advice=advice, evidence={"stims": names}))
    return findings


def _stim_id(number: int) -> str:
    return f"stim-{number:03d}"


def frames_of(clock: FrameClock | None, times_s: np.ndarray) -> Any:
    """Return the frame of each time as a nullable pandas integer array."""
    import pandas as pd

    if clock is None:
        return pd.array([None] * len(times_s), dtype="Int64")
    frames, inside = clock.frames_at(times_s)
    return pd.arrays.IntegerArray(np.where(inside, frames, 0), ~inside)


def stims_frame(ids: list[str], values: Mapping[str, Any]) -> pd.DataFrame:
    """Build the table of stims with its fixed columns and types."""
    import pandas as pd

    index = pd.Index(ids, name="stim", dtype=object)
    return pd.DataFrame({name: pd.Series(values[name], dtype=kind, index=index) for name, kind in STIM_COLUMNS.items()})
