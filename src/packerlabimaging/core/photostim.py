"""The photostimulation protocol: which targets were lit, in which groups, by which shots, when and with what power.

A protocol is relative: its times count from the trigger of one *stim*. Together with the stims' measured trigger times
it gives every interval of light (:meth:`PhotostimProtocol.light`), which is what artefact masks, response windows and
plots need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from packerlabimaging._check import check_choice, check_length, check_positive, frozen_array
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import ParameterError

TriggerMode = Literal["once", "each"]

MAX_INTERVALS = 4_000_000
"""More intervals of light than this (300 MB of times) are no experiment, but a damaged count of shots."""


@dataclass(frozen=True)
class PhotostimRow:
    """One line of the protocol: a group of targets, lit by one or more shots.

    Parameters
    ----------
    group
        Zero-based number of the group (SLM pattern) that is lit.
    n_shots
        Number of shots.
    shot_duration_s
        Light-on time of one shot.
    inter_shot_s
        Dark time after each shot (PrairieView's InterPointDelay).
    initial_delay_s
        Dark time before the first shot.
    power
        Laser power in the program's own units; None if unknown.
    power_mw
        Power in milliwatts per target; None without a calibration.
    all_at_once
        True if all points of the row are lit together (holography), False if one after another.
    """

    group: int
    n_shots: int
    shot_duration_s: float
    inter_shot_s: float = 0.0
    initial_delay_s: float = 0.0
    power: float | None = None
    power_mw: float | None = None
    all_at_once: bool = True

    def __post_init__(self) -> None:
        check_positive("group", self.group, zero=True)
        check_positive("n_shots", self.n_shots)
        check_positive("shot_duration_s", self.shot_duration_s)
        check_positive("inter_shot_s", self.inter_shot_s, zero=True)
        check_positive("initial_delay_s", self.initial_delay_s, zero=True)

    def shot_interval_s(self, n_points: int) -> float:
        """Seconds from one shot to the next; points lit one after another each take their own time."""
        return (self.shot_duration_s + self.inter_shot_s) * (1 if self.all_at_once else n_points)


@dataclass(frozen=True)
class LightTimes:
    """Every interval of light of every stim, as one flat table.

    All arrays have shape ``(n_intervals,)``: ``onset_s`` and ``end_s`` in seconds, ``stim``, ``row``, ``group`` and
    ``shot`` as zero-based numbers; ``target`` is the target that is lit where points are lit one after another, -1 where the
    whole group is (the default).
    """

    onset_s: np.ndarray
    end_s: np.ndarray
    stim: np.ndarray
    row: np.ndarray
    group: np.ndarray
    shot: np.ndarray
    target: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.target) != len(self.onset_s):
            object.__setattr__(self, "target", np.full(len(self.onset_s), -1))


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotostimProtocol:
    """What one stim delivers, and how often.

    Parameters
    ----------
    targets_px
        Positions ``(z, y, x)``, shape ``(n_targets, 3)``: y and x in pixels (0-based, pixel centres are integers) of an
        image of ``image_shape_px``; z in micrometres, 0 in the imaging plane, positive is deeper.
    image_shape_px
        ``(height, width)`` of the image that the positions refer to.
    groups
        For each group, the target numbers (rows of ``targets_px``) that are lit together.
    rows
        Lines of the protocol in the order of delivery. In trigger mode ``"once"`` they follow one another after one
        trigger; in mode ``"each"`` every row waits for a trigger of its own.
    n_stims
        How many times the protocol was to be delivered; None if unknown.
    trigger
        ``"once"``: one pulse a stim; ``"each"``: one pulse a row.
    lead_in_s
        Dark time before the first row: 1 ms where the program first runs a dummy element. In trigger mode ``"once"`` it
        follows the trigger; in mode ``"each"`` it passes before the first pulse and delays nothing.
    stim_interval_s, row_interval_s
        Time from one stim to the next, and (trigger mode ``"each"``) from the trigger of one row to that of the next, as the
        program was to send them; None if unknown. Real times come from the recorded pulses.
    target_ids
        Names of the targets; by default ``target-000`` and so on.
    weights
        Relative laser power of each target within its group, shape ``(n_targets,)``; None if unknown.
    spiral_diameter_um
        Diameter of the spiral or disc of light on each target; None if unknown.
    name, source
        Name of the protocol as recorded, and where it was read from.
    findings
        What the reader noticed and tolerated.
    extra
        Further values as the program wrote them.

    Raises
    ------
    ParameterError
        If groups name targets, or rows name groups, that don't exist, a group is empty, coordinates or weights are not
        finite, or a count or size makes no sense.
    """

    targets_px: np.ndarray
    image_shape_px: tuple[int, int]
    groups: tuple[tuple[int, ...], ...]
    rows: tuple[PhotostimRow, ...]
    n_stims: int | None = None
    trigger: TriggerMode = "once"
    lead_in_s: float = 0.0
    stim_interval_s: float | None = None
    row_interval_s: float | None = None
    target_ids: tuple[str, ...] = ()
    weights: np.ndarray | None = None
    spiral_diameter_um: float | None = None
    name: str = ""
    source: str = ""
    findings: tuple[Finding, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        targets = frozen_array(self.targets_px, np.float64, name="targets_px")
        if targets.ndim != 2 or targets.shape[1] != 3:
            raise ParameterError(f"targets_px has shape {targets.shape}. Expected (n_targets, 3): z, y, x.")
        if not np.all(np.isfinite(targets)):
            raise ParameterError("targets_px contains NaN or infinite positions. Every target needs a finite place.")
        object.__setattr__(self, "targets_px", targets)
        height, width = self.image_shape_px
        check_positive("image height", height)
        check_positive("image width", width)
        object.__setattr__(self, "image_shape_px", (int(height), int(width)))
        check_positive("lead_in_s", self.lead_in_s, zero=True)
        if self.n_stims is not None:
            check_positive("n_stims", self.n_stims, zero=True)
        for name in ("spiral_diameter_um", "stim_interval_s", "row_interval_s"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        check_choice("trigger", self.trigger, ("once", "each"))
        groups = tuple(tuple(int(target) for target in group) for group in self.groups)
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "rows", tuple(self.rows))
        unknown = sorted({target for group in groups for target in group if not 0 <= target < len(targets)})
        if unknown:
            raise ParameterError(f"Groups name targets {unknown}, but there are {len(targets)} targets (0-based).")
        empty = [number for number, group in enumerate(groups) if not group]
        if empty:
            raise ParameterError(f"Groups {empty} have no target. Leave them out.")
        unknown = sorted({row.group for row in self.rows if row.group >= len(groups)})
        if unknown:
            raise ParameterError(f"Rows name groups {unknown}, but there are {len(groups)} groups (0-based).")
        ids = tuple(self.target_ids) or tuple(f"target-{index:03d}" for index in range(len(targets)))
        if len(ids) != len(targets) or len(set(ids)) != len(ids):
            raise ParameterError(f"target_ids must be {len(targets)} different names, one per target.")
        object.__setattr__(self, "target_ids", ids)
        if self.weights is not None:
            weights = frozen_array(self.weights, np.float64, ndim=1, name="weights")
            check_length("weights", weights, len(targets), per="target")
            if not np.all(np.isfinite(weights)) or np.any(weights < 0):
                raise ParameterError("weights contains negative, NaN or infinite values. Give numbers >= 0.")
            object.__setattr__(self, "weights", weights)

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return len(self.targets_px)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.groups)

    @property
    def group_of_target(self) -> tuple[tuple[int, ...], ...]:
        """For each target, the groups that it belongs to."""
        groups: list[list[int]] = [[] for _ in range(self.n_targets)]
        for number, members in enumerate(self.groups):
            for target in dict.fromkeys(members):
                groups[target].append(number)
        return tuple(map(tuple, groups))

    def target_powers_mw(self, row: int) -> np.ndarray | None:
        """Return the power on each target that a row lights, in the order of its group, milliwatts; None where not calibrated.

        Where all points are lit together the row's power (``power_mw`` a target) is shared out by the targets' weights.
        """
        made = self.rows[row]
        members = list(self.groups[made.group])
        if made.power_mw is None:
            return None
        weights = np.ones(len(members)) if self.weights is None or not made.all_at_once else self.weights[members]
        return made.power_mw * len(members) * weights / weights.sum() if weights.any() else np.zeros(len(members))

    def row_durations_s(self) -> np.ndarray:
        """Length of each row from its start (delay included) to the end of its last shot interval, seconds."""
        return np.array(
            [row.initial_delay_s + row.n_shots * row.shot_interval_s(len(self.groups[row.group])) for row in self.rows]
        )

    def row_starts_s(self) -> np.ndarray:
        """Start of each row after its trigger, seconds: one after another in mode ``"once"``, 0 in mode ``"each"``."""
        if self.trigger == "each" or not self.rows:
            return np.zeros(len(self.rows))
        return np.cumsum([self.lead_in_s, *self.row_durations_s()[:-1]])

    @property
    def stim_duration_s(self) -> float:
        """Length of one stim by the protocol, seconds, last inter-shot delay included.

        In trigger mode ``"each"`` this is as the triggers were planned (``row_interval_s``), or the summed length of the rows
        where that is not known; the real one depends on the triggers.
        """
        durations = self.row_durations_s()
        if self.trigger == "each" and self.row_interval_s is not None and len(durations):
            return float(self.row_interval_s * (len(durations) - 1) + durations[-1])
        return float(durations.sum())

    @property
    def pulses_per_stim(self) -> int:
        """Trigger pulses that one stim takes."""
        return 1 if self.trigger == "once" else len(self.rows)

    def shots(self) -> LightTimes:
        """Return the intervals of light of one stim, in seconds after the trigger (of the row, in mode ``"each"``)."""
        return self.light(np.zeros(1) if self.trigger == "once" else np.zeros(len(self.rows)))

    def light(self, triggers_s: np.ndarray) -> LightTimes:
        """Place the protocol at measured trigger times.

        Parameters
        ----------
        triggers_s
            Trigger times, shape ``(n_stims * pulses_per_stim,)``, seconds. In trigger mode ``"each"`` consecutive
            pulses belong to consecutive rows; a last stim that is cut short keeps the rows that were triggered.

        Returns
        -------
        LightTimes
            Sorted by stim, row, shot. Points lit one after another are one interval per point, in the order of the group.

        Raises
        ------
        ParameterError
            If the rows have more shots than any experiment.
        """
        triggers = np.asarray(triggers_s, dtype=np.float64)
        self._check_intervals(len(triggers))
        columns: list[tuple[np.ndarray, ...]] = []
        starts = self.row_starts_s()
        for row_index, row in enumerate(self.rows):
            points = np.array([-1] if row.all_at_once else self.groups[row.group])
            n_points = len(points)
            count = row.n_shots * n_points
            if self.trigger == "once":
                at, stims = triggers, np.arange(len(triggers))
            else:
                at = triggers[row_index :: len(self.rows)]
                stims = np.arange(len(at))
            pulse = np.arange(count) * (row.shot_duration_s + row.inter_shot_s)
            onset = (at[:, None] + starts[row_index] + row.initial_delay_s + pulse).ravel()
            shot = np.tile(np.arange(count) // n_points, len(at))
            stim = np.repeat(stims, count)
            numbers = (np.full_like(stim, row_index), np.full_like(stim, row.group), shot, np.tile(points, len(at) * row.n_shots))
            columns.append((onset, onset + row.shot_duration_s, stim, *numbers))
        if not columns:
            empty = np.zeros(0)
            return LightTimes(empty, empty, *(np.zeros(0, dtype=np.int64) for _ in range(5)))
        onset_s, end_s, stim, row_number, *rest = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        order = np.lexsort((onset_s, row_number, stim))
        return LightTimes(*(column[order] for column in (onset_s, end_s, stim, row_number, *rest)))

    def _check_intervals(self, n_triggers: int) -> None:
        per_stim = sum(row.n_shots * (1 if row.all_at_once else len(self.groups[row.group])) for row in self.rows)
        n_stims = n_triggers if self.trigger == "once" else -(-n_triggers // max(1, len(self.rows)))
        if n_stims * per_stim > MAX_INTERVALS:
            raise ParameterError(
                f"{n_stims} stims of {per_stim} shots are more than {MAX_INTERVALS} intervals of light, which makes no sense. "
                f"Check the protocol{f' {self.source!r}' if self.source else ''}: n_shots of its rows."
            )

    def __repr__(self) -> str:
        stims = "" if self.n_stims is None else f", {self.n_stims} stims"
        return (
            f"PhotostimProtocol({self.n_targets} targets in {self.n_groups} groups, {len(self.rows)} rows, "
            f"{self.stim_duration_s * 1000:g} ms a stim{stims})"
        )
