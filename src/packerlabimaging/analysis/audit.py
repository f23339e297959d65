"""The audit of a synchronisation: when frames were taken and stims were lit, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from packerlabimaging._check import frozen_array
from packerlabimaging.analysis.stims import frames_of, rows_of_light, stims_frame
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding, worst_severity
from packerlabimaging.core.photostim import LightTimes
from packerlabimaging.errors import SyncError

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SyncAudit:
    """When frames were taken and stims were lit, and how sure that is.

    Parameters
    ----------
    ticks
        Clock of every frame of every plane; None where the pulses could not be matched (see :attr:`clock`).
    n_planes, plane
        Planes of a volume, and the plane that was looked at.
    frame_pulses_s
        Every pulse of the frame clock's channel, ``(n_pulses,)``, seconds; empty where it was not recorded.
    triggers
        Trigger pulses of each stimulation channel, ``{channel: (n_triggers,)}``, seconds on the recording's time base.
    stims
        One row per stim, index ``stim-000`` and so on: ``onset_s`` (first light), ``end_s`` (last light off), ``frame``
        (of the plane, holds the onset; missing outside the recording), ``channel`` (of its trigger), ``group`` (missing where a
        stim lights several groups; see :attr:`rows`), ``repeat`` (how many of the channel came before), ``n_shots``,
        ``power_mw``, ``sham``, ``catch`` (a stim of the protocol without power), ``valid`` (lies within the recording) and
        ``reason`` (why not).
    light
        Every interval of light; None without a protocol or triggers.
    findings
        What was noticed and assumed.
    """

    ticks: FrameClock | None
    n_planes: int = 1
    plane: int = 0
    frame_pulses_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    triggers: Mapping[str, np.ndarray]
    stims: pd.DataFrame
    light: LightTimes | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        triggers = {name: frozen_array(times, np.float64, ndim=1, name="triggers") for name, times in self.triggers.items()}
        object.__setattr__(self, "triggers", triggers)
        pulses = frozen_array(self.frame_pulses_s, np.float64, ndim=1, name="frame_pulses_s")
        object.__setattr__(self, "frame_pulses_s", pulses)
        object.__setattr__(self, "findings", tuple(self.findings))

    @property
    def clock(self) -> FrameClock:
        """When each frame of the plane was taken.

        Raises
        ------
        SyncError
            If the pulses could not be matched to the frames; the message lists the findings.
        """
        if self.ticks is None:
            faults = "\n".join(f"- {finding.code}: {finding.message}" for finding in self.findings if finding.severity == "error")
            raise SyncError(f"The movie has no frame times:\n{faults}\nMend the input, or leave out the frame clock channel.")
        return self.ticks.plane(self.plane, self.n_planes)

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
        return rows_of_light(self.light, self._stim_clock(self.plane))

    @property
    def stim_frames(self) -> pd.DataFrame:
        """Frame of every stim in every plane, stims x planes; missing outside the recording."""
        import pandas as pd

        onsets = self.stims["onset_s"].to_numpy()
        columns = {plane: frames_of(self._stim_clock(plane), onsets) for plane in range(self.n_planes)}
        return pd.DataFrame(columns, index=self.stims.index).rename_axis(columns="plane")

    def to_frame(self) -> pd.DataFrame:
        """Return the findings as a table, the gravest first: ``code, severity, message, where, advice, evidence``."""
        import pandas as pd

        order = ("error", "warning", "info")
        listed = sorted(self.findings, key=lambda finding: order.index(finding.severity))
        columns = ("code", "severity", "message", "where", "advice", "evidence")
        return pd.DataFrame([finding.to_dict() for finding in listed], columns=list(columns))

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain JSON-compatible values; floats keep every digit."""
        ticks = self.ticks
        return {
            "ticks": None
            if ticks is None
            else {"starts_s": ticks.starts_s.tolist(), "source": ticks.source, "period_s": ticks.period_s},
            "n_planes": self.n_planes,
            "plane": self.plane,
            "frame_pulses_s": self.frame_pulses_s.tolist(),
            "triggers": {name: times.tolist() for name, times in self.triggers.items()},
            "stims": {"id": self.stims.index.tolist(), **{name: _plain(self.stims[name]) for name in self.stims}},
            "light": None
            if self.light is None
            else {part.name: getattr(self.light, part.name).tolist() for part in fields(LightTimes)},
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SyncAudit:
        """Rebuild an audit from :meth:`to_dict`."""
        ticks, light = values["ticks"], values["light"]
        stims = dict(values["stims"])
        return cls(
            ticks=None if ticks is None else FrameClock(**ticks),
            n_planes=values["n_planes"],
            plane=values["plane"],
            frame_pulses_s=np.array(values["frame_pulses_s"], np.float64),
            triggers={name: np.array(times, np.float64) for name, times in values["triggers"].items()},
            stims=stims_frame(stims.pop("id"), stims),
            light=None if light is None else LightTimes(**{name: _light_array(name, light[name]) for name in light}),
            findings=tuple(Finding.from_dict(finding) for finding in values["findings"]),
        )

    def _stim_clock(self, plane: int) -> FrameClock | None:
        """Return the clock of a plane where stims can be placed on it: where it shares their time base."""
        shared = self.ticks is not None and self.ticks.source == "hardware"
        return self.ticks.plane(plane, self.n_planes) if self.ticks is not None and shared else None

    def __repr__(self) -> str:
        clock = "no frame times" if self.ticks is None else repr(self.clock)
        return f"SyncAudit({self.verdict}: {clock}, {self.n_stims} stims, {len(self.findings)} findings)"


def _plain(column: pd.Series) -> list[Any]:
    """Return a column as JSON-compatible values, None where it is missing."""
    missing = column.isna().tolist()
    return [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]


def _light_array(name: str, values: list[float]) -> np.ndarray:
    return np.array(values, np.float64 if name.endswith("_s") else np.int64)
