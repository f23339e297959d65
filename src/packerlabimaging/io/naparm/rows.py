"""The rows of a NAPARM series: without the dummy that may come first, each with the group that it lights and its trigger."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import TriggerMode
from packerlabimaging.errors import FormatError
from packerlabimaging.io.markpoints import GalvoPointList, MarkPointRow, MarkPointSeries, rows_by_trigger, zero_based

NAME = re.compile(r"([0-9]{1,6})Patterns_([0-9]{1,6})Repeats_x([0-9]{1,6})ShotPerPattern")
"""``Name`` of the series: groups, repeats of them in one stim, shots of a row."""

MAX_ROWS = 100_000


@dataclass(frozen=True)
class NaparmRows:
    """Rows in the order of delivery, the group of each (zero-based), their trigger, and the dark time of the dummy."""

    rows: tuple[MarkPointRow, ...]
    groups: tuple[int, ...]
    trigger: TriggerMode
    lead_in_s: float


def read_rows(series: MarkPointSeries, gpl: GalvoPointList, n_groups: int, xml: Path, findings: list[Finding]) -> NaparmRows:
    """Work out what each row of a series lights.

    Parameters
    ----------
    n_groups
        Groups of targets; a row names its group's point of the ``.gpl``, which are in the same order.

    Raises
    ------
    FormatError
        If there is no row, a row names several points, or rows and groups do not fit together.
    """
    rows, lead_in_s = _without_dummy(series.rows)
    if not rows:
        raise FormatError(f"'{xml}' holds no row. It may be cut.")
    rows, trigger, found = rows_by_trigger(rows, where=str(xml))
    findings += found
    rows = _one_point_a_row(rows, trigger, xml, findings)
    groups = _groups_of_rows(series, rows, gpl, n_groups, xml, findings)
    return NaparmRows(tuple(replace(row, all_at_once=True) for row in rows), tuple(groups), trigger, lead_in_s)


def _without_dummy(rows: tuple[MarkPointRow, ...]) -> tuple[tuple[MarkPointRow, ...], float]:
    """Leave out the dummy element that the program may put first; return the rows and how long it takes."""
    if len(rows) > 1:
        first = rows[0]
        dark = first.power == 0 and first.inter_point_delay_ms == 0 and first.initial_delay_ms == 0
        untriggered = first.trigger.strip().lower() in ("none", "")
        if dark and first.duration_ms == 1 and first.repetitions == 1 and untriggered:
            return rows[1:], first.duration_ms / 1000
    return rows, 0.0


def _one_point_a_row(
    rows: Sequence[MarkPointRow], trigger: TriggerMode, xml: Path, findings: list[Finding]
) -> tuple[MarkPointRow, ...]:
    """Split rows that light several groups one after another, so that each has an onset of its own."""
    several = [number for number, row in enumerate(rows, 1) if len(row.indices) > 1]
    if not several:
        return tuple(rows)
    if trigger == "each" or any(rows[number - 1].all_at_once is not False for number in several):
        raise FormatError(
            f"'{xml}', row {several[0]} names {len(rows[several[0] - 1].indices)} points. A NAPARM row names one: its group's; "
            'only AllPointsAtOnce="False" after one trigger says in which order several are lit.'
        )
    made: list[MarkPointRow] = []
    for row in rows:
        parts = [replace(row, indices=(index,)) for index in row.indices] or [row]
        if len(parts) > 1:
            if len(made) + len(parts) * row.repetitions > MAX_ROWS:
                raise FormatError(f"'{xml}' lights more than {MAX_ROWS:,} groups one after another, which makes no sense.")
            parts = [replace(part, repetitions=1, initial_delay_ms=0.0) for part in parts] * row.repetitions
            parts[0] = replace(parts[0], initial_delay_ms=row.initial_delay_ms)
        made += parts
    message = f'{len(several)} rows light several groups one after another (AllPointsAtOnce="False"): each has its own onset.'
    findings.append(Finding("groups-in-turn", message, "info", str(xml), evidence={"rows": several[:50]}))
    return tuple(made)


def _groups_of_rows(
    series: MarkPointSeries, rows: Sequence[MarkPointRow], gpl: GalvoPointList, n_groups: int, xml: Path, findings: list[Finding]
) -> list[int]:
    """Tell which group each row lights: by its index, else by the order that the series' name implies."""
    named = NAME.search(series.name)
    if all(row.indices for row in rows):
        groups = _positions([row.indices for row in rows], gpl)
    elif named is not None and int(named.group(1)) and not any(row.indices for row in rows):
        groups = [number % int(named.group(1)) for number in range(len(rows))]
        findings.append(
            Finding("groups-by-name", f"The rows name no points; their order follows '{series.name}'.", where=str(xml))
        )
    else:
        raise FormatError(f"'{xml}' does not say which group each row lights: Indices is empty, and the name does not tell.")
    unknown = sorted({group + 1 for group in groups if not 0 <= group < n_groups})
    if unknown:
        raise FormatError(f"'{xml}' has rows for the groups {unknown[:20]}, but the targets are in {n_groups} groups.")
    findings += _name_findings(series, rows, n_groups, named, xml)
    if gpl.points and len(gpl.points) != n_groups:
        message = f"The .gpl holds {len(gpl.points)} points, the targets are in {n_groups} groups; expected one each."
        findings.append(Finding("gpl-differs", message, where=str(xml.with_suffix(".gpl"))))
    dark = sorted(set(range(1, n_groups + 1)) - {group + 1 for group in groups})
    if dark:
        message = f"The groups {dark[:20]} have targets but no row: they are never lit."
        findings.append(Finding("groups-not-lit", message, where=str(xml), evidence={"groups": dark[:200]}))
    return groups


def _positions(indices: Sequence[Sequence[int]], gpl: GalvoPointList) -> list[int]:
    """Tell which point of the ``.gpl`` each row names, by its place in the list: the groups have the same order."""
    places = {point.index: place for place, point in enumerate(gpl.points)}
    numbers = [row[0] for row in zero_based(indices, gpl.points)]
    if all(number in places for number in numbers):
        return [places[number] for number in numbers]
    return [row[0] for row in zero_based(indices)]  # no .gpl, or another's: told by the caller


def _name_findings(
    series: MarkPointSeries, rows: Sequence[MarkPointRow], n_groups: int, named: re.Match[str] | None, xml: Path
) -> list[Finding]:
    """Compare the series' name with what it holds."""
    if named is None:
        message = f"The series is called '{series.name[:60]}', not like '4Patterns_1Repeats_x10ShotPerPattern'."
        return [Finding("unusual-name", message, "info", str(xml))]
    told = tuple(int(number) for number in named.groups())
    shots = {row.repetitions for row in rows}
    if told[0] == n_groups and told[0] * told[1] == len(rows) and shots == {told[2]}:
        return []
    message = (
        f"The series is called '{series.name[:60]}', but holds {len(rows)} rows for {n_groups} groups with "
        f"{', '.join(map(str, sorted(shots)[:20]))} shots; the rows are taken as they are."
    )
    return [Finding("name-differs", message, where=str(xml), advice="Check that the files belong together.")]
