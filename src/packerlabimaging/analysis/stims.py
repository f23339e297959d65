"""The table of stims: when each was lit, in which frame, and whether it lies within the recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import LightTimes, PhotostimProtocol

if TYPE_CHECKING:
    import pandas as pd

STIM_COLUMNS: Mapping[str, str] = {
    "onset_s": "float64",
    "end_s": "float64",
    "frame": "Int64",
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


def stims_of_light(light: LightTimes, protocol: PhotostimProtocol, clock: FrameClock | None) -> pd.DataFrame:
    """Make the table of stims from their intervals of light."""
    stims, starts = np.unique(light.stim, return_index=True)
    new_shot = (np.diff(light.stim, prepend=-1) | np.diff(light.row, prepend=-1) | np.diff(light.shot, prepend=-1)) != 0
    groups = {row.group for row in protocol.rows}
    powers = {row.power_mw for row in protocol.rows}
    count = len(stims)
    values = {
        "onset_s": light.onset_s[starts],
        "end_s": np.maximum.reduceat(light.end_s, starts),
        "group": [groups.pop() if len(groups) == 1 else None] * count,
        "n_shots": np.add.reduceat(new_shot.astype(int), starts),
        "power_mw": [powers.pop() if len(powers) == 1 else None] * count,
        "catch": [all(row.power == 0 for row in protocol.rows)] * count,
    }
    return _stims_on_frames(values, clock)


def stims_of_pulses(onsets_s: np.ndarray, ends_s: np.ndarray, clock: FrameClock | None) -> pd.DataFrame:
    """Make the table of stims from pulses alone: a pulse is a stim."""
    count = len(onsets_s)
    unknown = {name: [None] * count for name in ("group", "n_shots", "power_mw")}
    return _stims_on_frames({"onset_s": onsets_s, "end_s": ends_s, **unknown, "catch": [False] * count}, clock)


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
            "frame": _frames(clock, onsets),
            "n_shots": np.maximum.reduceat(light.shot, starts) + 1,
        }
    )


def _stims_on_frames(values: dict[str, Any], clock: FrameClock | None) -> pd.DataFrame:
    """Add the frame of each stim, and whether it lies within the recording."""
    onsets, ends = values["onset_s"], values["end_s"]
    reasons = [_why_invalid(clock, onset, end) for onset, end in zip(onsets.tolist(), ends.tolist(), strict=True)]
    added = {
        "frame": _frames(clock, onsets),
        "repeat": np.arange(len(onsets)),
        "sham": [False] * len(onsets),
        "valid": [not reason for reason in reasons],
        "reason": reasons,
    }
    return stims_frame([_stim_id(number) for number in range(len(onsets))], {**values, **added})


def _why_invalid(clock: FrameClock | None, onset_s: float, end_s: float) -> str:
    """Say why a stim does not lie within the recording; an empty text where it does."""
    if clock is None:
        return "no frame times"
    if onset_s < clock.starts_s[0]:
        return "before the first frame"
    if onset_s >= clock.starts_s[-1] + clock.period_s:
        return "after the last frame"
    _, inside = clock.frames_at(np.array([onset_s, np.nextafter(end_s, -np.inf) if end_s > onset_s else onset_s]))
    if not inside[0]:
        return "in a pause of the recording"
    return "" if inside[1] else "cut by the end or a pause of the recording"


def stim_findings(stims: pd.DataFrame) -> list[Finding]:
    findings = []
    outside = stims.index[~stims["valid"].to_numpy(bool)].tolist()
    if outside:
        reasons = sorted(set(stims.loc[outside, "reason"]))
        message = f"{len(outside)} of {len(stims)} stims do not lie within the recording ({'; '.join(reasons)})."
        advice = "They are kept and marked not valid."
        findings.append(Finding("stims-outside-recording", message, "warning", advice=advice, evidence={"stims": outside}))
    overlapping = np.flatnonzero(stims["onset_s"].to_numpy()[1:] < stims["end_s"].to_numpy()[:-1])
    if len(overlapping):
        names = [_stim_id(number + 1) for number in overlapping.tolist()]
        message = f"{len(names)} stims begin before the one before has ended, e.g. {names[0]}."
        advice = "Check that this is the right protocol for this recording."
        findings.append(Finding("stims-overlap", message, "warning", advice=advice, evidence={"stims": names}))
    return findings


def _stim_id(number: int) -> str:
    return f"stim-{number:03d}"


def _frames(clock: FrameClock | None, times_s: np.ndarray) -> Any:
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
