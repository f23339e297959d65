"""Work out what a series leaves open: whether its point numbers count from 0 or 1, and which rows wait for a trigger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import TriggerMode
from packerlabimaging.errors import FormatError
from packerlabimaging.io.markpoints.values import GalvoPoint, GalvoPointList, MarkPointRow

NO_TRIGGER, FIRST_REPETITION, EVERY_REPETITION, EVERY_POINT = "none", "firstrepetition", "everyrepetition", "everypoint"
"""``TriggerFrequency`` without blanks and case."""

MAX_ROWS = 100_000
"""More rows than this, each with a trigger of its own, are taken for damage."""

Indices = tuple[tuple[int, ...], ...]


def zero_based(rows: Sequence[Sequence[int]], points: Iterable[GalvoPoint] = ()) -> Indices:
    """Turn the point numbers of all rows of a series into the numbers that the ``.gpl`` uses, which count from 0.

    Rows count from 1 (so 1 is taken off), unless a 0 is among them, or the ``.gpl`` has all the points as they are numbered
    but not the ones before them.
    """
    known = {point.index for point in points}
    used = {index for indices in rows for index in indices}
    as_written = 0 in used or (bool(known) and used <= known and not {index - 1 for index in used} <= known)
    return tuple(tuple(index if as_written else index - 1 for index in indices) for indices in rows)


def resolve_indices(rows: Sequence[MarkPointRow], gpl: GalvoPointList, *, where: str) -> tuple[Indices, list[Finding]]:
    """Find the points of the ``.gpl`` that each row names: by number, with the names in both files as witnesses.

    A row called ``"Point 3"`` with the number 4 beside a point ``"Point 3"`` with the index 3 shows that rows count from 1.
    Where no name tells, :func:`zero_based` decides.

    Returns
    -------
    tuple
        For each row, the ``index`` of its points in the ``.gpl``; and findings. A row without numbers is found by its name.

    Raises
    ------
    FormatError
        If a row names points that the list does not hold.
    """
    named = {group.name: group.points for group in gpl.groups} | {point.name: (point.index,) for point in gpl.points}
    named.pop("", None)
    known = {point.index for point in gpl.points}
    if len(known) < len(gpl.points):
        raise FormatError(f"The .gpl of '{where}' gives several points one Index: which one a row names can't be told.")
    written = tuple(row.indices for row in rows)
    lowered = tuple(tuple(index - 1 for index in row.indices) for row in rows)
    votes = [
        sum(named.get(row.points_name) == made for row, made in zip(rows, candidate, strict=True) if made)
        for candidate in (written, lowered)
    ]
    chosen = zero_based(written, gpl.points)
    if votes[0] != votes[1] and not any(0 in indices for indices in written):
        chosen = written if votes[0] > votes[1] else lowered
    findings = []
    if all(votes):
        message = f"{votes[0]} rows name their points as the .gpl numbers them, {votes[1]} as if they counted from 1."
        findings.append(Finding("indices-ambiguous", message, "error", where, "Check that series and .gpl belong together."))
    chosen = tuple(made or named.get(row.points_name, ()) for row, made in zip(rows, chosen, strict=True))
    for number, (row, made) in enumerate(zip(rows, chosen, strict=True), 1):
        lost = sorted(set(made) - known)
        if lost or not made:
            what = f"the points {', '.join(map(str, row.indices[:10])) or repr(row.points_name)}"
            raise FormatError(f"'{where}', row {number} names {what}, which the .gpl of {len(known)} points does not hold.")
    return chosen, findings


def rows_by_trigger(rows: Sequence[MarkPointRow], *, where: str) -> tuple[tuple[MarkPointRow, ...], TriggerMode, list[Finding]]:
    """Tell which pulses start what; rows that wait several times become one row a trigger.

    Returns
    -------
    tuple
        The rows; ``"once"`` where one pulse (or none) starts them all, ``"each"`` where every one waits; findings.

    Raises
    ------
    FormatError
        If some rows wait and others do not (but for the first), or a trigger is of an unknown kind.
    """
    kinds = [row.trigger.replace(" ", "").lower() or NO_TRIGGER for row in rows]
    unknown = set(kinds) - {NO_TRIGGER, FIRST_REPETITION, EVERY_REPETITION, EVERY_POINT}
    if unknown:
        raise FormatError(
            f"'{where}' has rows triggered at '{rows[kinds.index(min(unknown))].trigger[:60]}'. Only 'None', 'First Repetition', "
            "'Every Repetition' and 'Every Point' are understood."
        )
    if all(kind == NO_TRIGGER for kind in kinds):
        message = "No row waits for a trigger: the stims' times relative to any pulse are a guess of the experimenter's."
        return tuple(rows), "once", [Finding("no-trigger", message, where=where, advice="Check which pulses start the stims.")]
    if kinds[0] == FIRST_REPETITION and all(kind == NO_TRIGGER for kind in kinds[1:]):
        return tuple(rows), "once", []
    if NO_TRIGGER in kinds:
        waiting = [number for number, kind in enumerate(kinds, 1) if kind != NO_TRIGGER]
        raise FormatError(
            f"'{where}' has triggers on the rows {_shown(waiting)} of {len(rows)}. Expected the first row only, or every row."
        )
    made: list[MarkPointRow] = []
    for row, kind in zip(rows, kinds, strict=True):
        made += _split(row, kind, MAX_ROWS - len(made), where)
    findings = []
    if len(made) > len(rows):
        message = f"Repetitions or points wait for triggers of their own: {len(rows)} rows take {len(made)} pulses a stim."
        advice = "InitialDelay is taken to follow the first pulse of a row only."
        findings.append(Finding("triggers-within-rows", message, "info", where, advice))
    return tuple(made), "each" if len(made) > 1 else "once", findings


def _split(row: MarkPointRow, kind: str, room: int, where: str) -> list[MarkPointRow]:
    """Return one row per trigger."""
    if kind == FIRST_REPETITION:
        return [row]
    parts = [row]
    if kind == EVERY_POINT and not row.all_at_once:
        count = max(len(row.points), len(row.indices), 1)
        parts = [
            replace(row, points=row.points[place : place + 1], indices=row.indices[place : place + 1]) for place in range(count)
        ]
    if len(parts) * row.repetitions > room:
        raise FormatError(f"'{where}' waits for more than {MAX_ROWS:,} triggers in one stim, which makes no sense.")
    once = [replace(part, repetitions=1, initial_delay_ms=0.0) for part in parts] * row.repetitions
    return [replace(once[0], initial_delay_ms=row.initial_delay_ms), *once[1:]]


def _shown(numbers: Sequence[int]) -> str:
    return f"[{', '.join(map(str, numbers[:10]))}{', ...' if len(numbers) > 10 else ''}]"
