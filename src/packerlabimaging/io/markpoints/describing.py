"""Describe MarkPoints files for a person, without placing anything on an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.io.markpoints.values import GalvoPointList, MarkPointSeries

NAPARM = "NAPARM"
"""``Category`` of a series that NAPARM wrote."""


def describe_series(series: MarkPointSeries, facts: dict[str, Any], findings: list[Finding]) -> None:
    """Add what a series says by itself."""
    rows = series.rows
    findings += series.findings
    facts |= {
        "name": series.name,
        "category": series.category,
        "saved_with_scan": series.saved_with_scan,
        "n_rows": len(rows),
        "iterations": series.iterations,
        "iteration_delay_s": series.iteration_delay_ms / 1000,
        "n_points": len({point.index for row in rows for point in row.points} | {index for row in rows for index in row.indices}),
        "n_shots": sorted({row.repetitions for row in rows}),
        "shot_duration_s": sorted({row.duration_ms / 1000 for row in rows}),
        "all_points_at_once": sorted({str(row.all_at_once) for row in rows}),
        "triggers": sorted({row.trigger for row in rows}),
        "power": sorted({row.power for row in rows if row.power is not None}),
        "spiral_size_um": sorted(
            {point.spiral_size_um for row in rows for point in row.points if point.spiral_size_um is not None}
        ),
    }
    if not rows:
        findings.append(Finding("no-rows", "The series holds no row: nothing was stimulated.", "warning"))
    elif not any(row.points for row in rows):
        message = "The series names its points; their places are in the galvo point list (.gpl) that was loaded with it."
        findings.append(Finding("points-by-name-only", message, "info", advice="Give gpl= and galvo_extent_v= to place them."))
    if series.category == NAPARM:
        findings.append(Finding("belongs-to-naparm", "The series belongs to a NAPARM folder.", "info", advice="Pass the folder."))


def describe_list(gpl: GalvoPointList, facts: dict[str, Any], findings: list[Finding]) -> None:
    """Add what a point list says by itself."""
    findings += gpl.findings
    facts |= {
        "n_points": len(gpl.points),
        "n_groups": len(gpl.groups),
        "spirals": sum(point.is_spiral for point in gpl.points),
        "x_v": _range([point.x_v for point in gpl.points]),
        "y_v": _range([point.y_v for point in gpl.points]),
        "spiral_size_v": _range([point.spiral_size_v for point in gpl.points if point.spiral_size_v is not None]),
        "spiral_size_um": _range([point.spiral_size_um for point in gpl.points if point.spiral_size_um is not None]),
    }
    message = "Places are galvo volts, which depend on rig and zoom."
    findings.append(Finding("volts", message, "info", advice="Give galvo_extent_v= to place them on an image."))


def _range(values: Sequence[float]) -> list[float] | None:
    return [min(values), max(values)] if values else None
