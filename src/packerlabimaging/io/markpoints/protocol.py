"""From rows of a series to rows of a protocol, checked on the way; what MarkPoints and NAPARM share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.markpoints.values import MarkPoint, MarkPointRow, MarkPointSeries, PowerCalibration

MAX_ROW_MS = 3_600_000.0
"""A shot or delay of more than an hour makes no sense."""

PLAUSIBLE_UM = (1.0, 60.0)
"""Diameters of a spiral outside this range are told: the calibration is probably another rig's."""


def checked_shape(given: Sequence[int]) -> tuple[int, int]:
    """Return an image's size as ``(height, width)``.

    Raises
    ------
    ParameterError
        If it is not two whole positive numbers.
    """
    try:
        height, width = (int(size) for size in given)
    except (TypeError, ValueError, OverflowError):
        height = width = 0
    if min(height, width) < 1:
        raise ParameterError(f"image_shape_px = {given!r} is not possible. Give (height, width) in pixels.")
    return height, width


def place_findings(targets_px: np.ndarray, shape: tuple[int, int], where: str) -> list[Finding]:
    """Tell which targets lie outside the image."""
    places = targets_px[:, 1:]
    outside = np.flatnonzero(np.any((places < -0.5) | (places > np.array(shape) - 0.5), axis=1))
    if not len(outside):
        return []
    message = f"{len(outside)} of {len(places)} targets lie outside the image of {shape[0]} x {shape[1]} pixels."
    evidence = {"targets": outside.tolist()[:50]}
    return [Finding("targets-outside-image", message, "error", where, "Check image_shape_px.", evidence)]


def protocol_row(
    row: MarkPointRow,
    group: int,
    n_targets: int,
    number: int,
    power: PowerCalibration | None,
    findings: list[Finding],
    where: str,
) -> PhotostimRow:
    """Return a row of the protocol; light that makes no sense is an error, what was mended a finding."""
    delay_ms = row.initial_delay_ms
    if delay_ms < 0:
        message = (
            f"Row {number} has an InitialDelay of {delay_ms:g} ms: its shots take longer than the change of patterns allows."
        )
        advice = "It is taken to follow at once; check the light's times."
        findings.append(Finding("negative-delay", message, "error", where, advice))
    if row.duration_ms == 0 or max(row.duration_ms, row.inter_point_delay_ms, delay_ms) > MAX_ROW_MS:
        raise FormatError(f"'{where}', row {number}: a shot of {row.duration_ms:g} ms, with its delays, makes no sense.")
    all_at_once = row.all_at_once is not False
    total_mw = None if power is None or row.power is None else power.to_mw(row.power)
    if power is not None and row.power is not None and total_mw is None:
        message = (
            f"Row {number} has a power of {row.power:g}, outside the calibration ({power.units[0]:g} to {power.units[-1]:g})."
        )
        findings.append(Finding("power-outside-calibration", message, where=where, advice="Its milliwatts are not known."))
    return PhotostimRow(
        group=group,
        n_shots=row.repetitions,
        shot_duration_s=row.duration_ms / 1000,
        inter_shot_s=row.inter_point_delay_ms / 1000,
        initial_delay_s=max(0.0, delay_ms) / 1000,
        power=row.power,
        power_mw=None if total_mw is None else total_mw / (n_targets if all_at_once else 1),
        all_at_once=all_at_once or n_targets == 1,
    )


def one_diameter(sizes_um: set[float], findings: list[Finding], where: str) -> float | None:
    """Return one diameter for all targets: the largest; differences and what is not plausible are told."""
    if not sizes_um:
        return None
    diameter = max(sizes_um)
    if diameter - min(sizes_um) > 1e-6 * diameter:
        message = f"Spirals have {len(sizes_um)} sizes, {min(sizes_um):g} to {diameter:g} um; the largest is used for all."
        findings.append(Finding("spiral-sizes-differ", message, where=where))
    if not PLAUSIBLE_UM[0] <= diameter <= PLAUSIBLE_UM[1]:
        message = f"A spiral of {diameter:g} um is not plausible: the calibration from volts is probably another rig's."
        findings.append(Finding("implausible-spiral", message, where=where, advice="Give v_per_um and offset_v."))
    return diameter


def milliseconds(seconds: float) -> float:
    """Return milliseconds without the last digits of the product, so that 0.035 s is 35 ms."""
    return float(f"{1000 * seconds:.15g}")


def series_of_protocol(protocol: PhotostimProtocol) -> MarkPointSeries:
    """Return a protocol as a series saved with a scan, to be written by :func:`write_markpoints`.

    Raises
    ------
    ParameterError
        If a series can't hold it: its number of stims is not known, or it starts with dark time.
    """
    if protocol.n_stims is None or protocol.lead_in_s:
        raise ParameterError(
            f"A MarkPoints series can't hold {protocol!r}: n_stims must be known, and lead_in_s be 0. Write it with write_naparm."
        )
    height, width = protocol.image_shape_px
    numbers = protocol.extra.get("point_numbers") or list(range(1, protocol.n_targets + 1))
    points = tuple(
        MarkPoint(int(number), (x + 0.5) / width, (y + 0.5) / height, z or None, spiral_size_um=protocol.spiral_diameter_um)
        for number, (z, y, x) in zip(numbers, protocol.targets_px.tolist(), strict=True)
    )
    unwaited = any(finding.code == "no-trigger" for finding in protocol.findings)
    rows = tuple(
        MarkPointRow(
            repetitions=row.n_shots,
            duration_ms=milliseconds(row.shot_duration_s),
            inter_point_delay_ms=milliseconds(row.inter_shot_s),
            initial_delay_ms=milliseconds(row.initial_delay_s),
            power=row.power,
            indices=tuple(points[target].index for target in protocol.groups[row.group]),
            points_name=f"Group {row.group + 1}",
            all_at_once=row.all_at_once,
            trigger="First Repetition" if not unwaited and (number == 0 or protocol.trigger == "each") else "None",
            points=tuple(points[target] for target in protocol.groups[row.group]),
        )
        for number, row in enumerate(protocol.rows)
    )
    delay_ms = milliseconds(float(protocol.extra.get("iteration_delay_s", 0)))
    return MarkPointSeries(rows, protocol.n_stims, delay_ms, name=protocol.name, saved_with_scan=True)
