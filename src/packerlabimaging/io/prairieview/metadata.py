"""From PrairieView's XML to :class:`~packerlabimaging.core.metadata.ImagingMetadata`.

The rate comes from the times of the frames. ``framePeriod`` is the program's plan, not what happened: it is used only where
there are no times, and is then called nominal; where it disagrees with the times a finding says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata, RateSource
from packerlabimaging.errors import FormatError
from packerlabimaging.io.prairieview import state as values
from packerlabimaging.io.prairieview.arrangement import Arrangement
from packerlabimaging.io.prairieview.state import State
from packerlabimaging.io.prairieview.xml import PVScan

PROGRAM = "PrairieView"
_EXTRA_KEYS = ("activeMode", "dwellTime", "objectiveLensMag", "objectiveLensNA", "rastersPerFrame", "rotation", "scanLinePeriod")
_PERIOD_TOLERANCE = 0.01
"""Relative difference of framePeriod and frame times that is reported."""


def build_metadata(
    arrangement: Arrangement, *, channel: int | None = None, frame_shape_px: tuple[int, int] | None = None
) -> tuple[ImagingMetadata, tuple[Finding, ...]]:
    """Return how a scan was taken, and what was noticed.

    Parameters
    ----------
    channel
        Channel whose own frame times count, where the XML has them.
    frame_shape_px
        Size of the images as found; by default as the XML names it.

    Raises
    ------
    FormatError
        If neither tells the frame size.
    """
    scan = arrangement.scan
    state = scan.state_of(arrangement.frames[0, 0])
    findings: list[Finding] = []
    shape = _frame_shape(scan, state, frame_shape_px, findings, arrangement.sequence_type)
    resized = bool(findings)
    times = arrangement.times_s(channel)
    rate, source, times = _rate(arrangement, state, times, findings)
    metadata = ImagingMetadata(
        frame_shape_px=shape,
        n_frames=len(arrangement.frames),
        n_planes=arrangement.n_planes,
        channels=tuple(arrangement.channels.values()),
        frame_rate_hz=rate,
        frame_rate_source=source,
        pixel_size_um=None if resized else _pixel_size(scan, state, findings),
        frame_times_s=None if times is None else (times[:, 0] if arrangement.n_planes == 1 else times),
        plane_z_um=_plane_depths(arrangement),
        program=PROGRAM,
        program_version=scan.version,
        sequence_type=arrangement.sequence_type,
        acquired=_date(scan.attributes, str(scan.path), findings),
        extra=_extra(scan.attributes, state),
        **_optics(state),
    )
    return metadata, tuple(findings)


def complete_from_environment(
    known: ImagingMetadata, state: State, attributes: Mapping[str, str], source: str
) -> tuple[ImagingMetadata, tuple[Finding, ...]]:
    """Return what is known of a recording without XML, completed from the state of its ``.env`` file, and what was noticed.

    The rate is nominal, the pixel size is taken only if the images have the size that the state tells.
    """
    findings: list[Finding] = []
    period_s = values.number(state, "framePeriod")
    rate_hz = 1 / (period_s * known.n_planes) if period_s and 1e-6 < period_s < 1e6 else None
    shape = (values.number(state, "linesPerFrame"), values.number(state, "pixelsPerLine"))
    pixel = _pixel_pair(state) if shape == known.frame_shape_px else None
    metadata = known.replace(
        frame_rate_hz=rate_hz,
        frame_rate_source=None if rate_hz is None else "nominal",
        pixel_size_um=pixel,
        program_version=attributes.get("version") or None,
        acquired=_date(attributes, source, findings),
        extra=_extra(attributes, state),
        **_optics(state),
    )
    rate = "unknown" if rate_hz is None else f"{rate_hz:.6g} Hz, nominal"
    message = f"Rate ({rate}), pixel size and optics are those of the .env file"
    findings.append(
        Finding(
            "settings-of-env",
            f"{message}: the settings when the recording began.",
            where=source,
            advice="Take frame times from the frame clock; copy the scan's XML from the rig if it is there.",
        )
    )
    return metadata, tuple(findings)


def _optics(state: State) -> dict[str, Any]:
    return {
        "bit_depth": _whole(values.number(state, "bitDepth")),
        "zoom": values.number(state, "opticalZoom"),
        "objective": values.text(state, "objectiveLens"),
        "scan_center_v": _scan_center(state),
        "laser_power": values.numbers(state, "laserPower"),
        "pmt_gain": values.numbers(state, "pmtGain"),
    }


def _frame_shape(
    scan: PVScan, state: State, found: tuple[int, int] | None, findings: list[Finding], sequence_type: str
) -> tuple[int, int]:
    height, width = values.number(state, "linesPerFrame"), values.number(state, "pixelsPerLine")
    written = (int(height), int(width)) if height and width and 1 <= height < 1 << 20 and 1 <= width < 1 << 20 else None
    if found is None:
        if written is None:
            raise FormatError(
                f"'{scan.path}' does not tell the frame size (linesPerFrame, pixelsPerLine). Open it with its images."
            )
        return written
    if written is not None and found != written and sequence_type != "Linescan":
        findings.append(
            Finding(
                "frame-shape-differs",
                f"The XML says {written[0]} x {written[1]} px, the images are {found[0]} x {found[1]} px; the images count, and "
                "the pixel size is taken for unknown.",
                where=str(scan.path),
                advice="Pass pixel_size_um=(y, x); that of the XML holds if the images were cropped, not if they were binned.",
                evidence={"xml": list(written), "images": list(found)},
            )
        )
    return found


def _pixel_size(scan: PVScan, state: State, findings: list[Finding]) -> tuple[float, float] | None:
    pair = _pixel_pair(state)
    if pair is not None:
        return pair
    y_um, x_um = (values.axis_number(state, "micronsPerPixel", axis) for axis in ("YAxis", "XAxis"))
    findings.append(
        Finding(
            "no-pixel-size",
            f"The XML does not tell the pixel size (micronsPerPixel: y {y_um}, x {x_um}).",
            where=str(scan.path),
            advice="Pass pixel_size_um=(y, x).",
        )
    )
    return None


def _pixel_pair(state: State) -> tuple[float, float] | None:
    y_um, x_um = (values.axis_number(state, "micronsPerPixel", axis) for axis in ("YAxis", "XAxis"))
    return (y_um, x_um) if y_um is not None and x_um is not None and y_um > 0 and x_um > 0 else None


def _scan_center(state: State) -> tuple[float, float] | None:
    y_v, x_v = (values.axis_number(state, "currentScanCenter", axis) for axis in ("YAxis", "XAxis"))
    return None if y_v is None or x_v is None else (y_v, x_v)


def _plane_depths(arrangement: Arrangement) -> tuple[float, ...] | None:
    depths = [values.axis_number(arrangement.scan.state_of(frame), "positionCurrent", "ZAxis") for frame in arrangement.frames[0]]
    known = [depth for depth in depths if depth is not None]
    return tuple(known) if len(known) == len(depths) else None


def _rate(
    arrangement: Arrangement, state: State, times: np.ndarray | None, findings: list[Finding]
) -> tuple[float | None, RateSource | None, np.ndarray | None]:
    """Return rate, where it comes from, and times from the first frame on (None where they are no good)."""
    where = str(arrangement.scan.path)
    if times is not None and np.any(np.diff(times[:, 0]) <= 0):
        findings.append(
            Finding(
                "frame-times-not-increasing",
                "The frame times do not increase throughout; they were not used.",
                where=where,
                advice="Take frame times from the frame clock.",
                evidence={"first_at_frame": int(np.argmax(np.diff(times[:, 0]) <= 0)) + 1},
            )
        )
        times = None
    period_s = values.number(state, "framePeriod")
    nominal_s = period_s * arrangement.n_planes if period_s and period_s > 0 else None
    if times is None:
        findings.append(_no_times_finding(where, nominal_s))
        return (1 / nominal_s, "nominal", None) if nominal_s and np.isfinite(1 / nominal_s) else (None, None, None)
    if len(times) < 2:
        return None, None, times - times[0, 0]  # one image has no rate
    measured_s = measure_period(arrangement, times[:, 0], findings)
    root_s = values.number(arrangement.scan.state, "framePeriod")
    if arrangement.sequence_type != "Linescan":  # there framePeriod is that of the lines, not of the repeats
        _compare_period(where, nominal_s, root_s, arrangement.n_planes, measured_s, findings)
    return 1 / measured_s, "frame times", times - times[0, 0]


def measure_period(arrangement: Arrangement, starts: np.ndarray, findings: list[Finding]) -> float:
    """Return the mean interval between frames, leaving out pauses; pauses are reported."""
    intervals = np.diff(starts)
    middle = float(np.median(intervals))
    regular = np.abs(intervals - middle) < 0.5 * middle
    if not regular.any():
        regular[:] = True  # too few, too different to tell a pause from a frame
    within = np.diff(arrangement.scan.frames.sequence[arrangement.frames[:, 0]]) == 0
    if arrangement.n_planes > 1:
        within[:] = True  # each volume is a sequence of its own
    where = str(arrangement.scan.path)
    odd = np.flatnonzero(~regular & within)
    if odd.size:
        lost = np.clip(np.round(intervals[odd] / middle) - 1, 0, 1e9).astype(int)
        findings.append(
            Finding(
                "irregular-frame-times",
                f"{odd.size} intervals between frames differ by more than half from the usual {middle:.6g} s "
                f"(first before frame {odd[0] + 1}: {intervals[odd[0]]:.6g} s); {lost.sum()} frames seem to be missing.",
                where=where,
                advice="Frames were dropped or the scan paused there; use the frame clock for times.",
                evidence={
                    "before_frames": (odd[:1000] + 1).tolist(),
                    "intervals_s": intervals[odd[:1000]].tolist(),
                    "frames_missing": lost[:1000].tolist(),
                },
            )
        )
    pauses = np.flatnonzero(~regular & ~within)
    if pauses.size:
        findings.append(
            Finding(
                "pauses-between-cycles",
                f"{pauses.size} pauses between cycles, the longest of {intervals[pauses].max():.6g} s; the rate leaves them out.",
                "info",
                where=where,
                evidence={"before_frames": (pauses[:1000] + 1).tolist(), "intervals_s": intervals[pauses[:1000]].tolist()},
            )
        )
    return float(intervals[regular].mean())


def _compare_period(
    where: str, nominal_s: float | None, root_s: float | None, n_planes: int, measured_s: float, findings: list[Finding]
) -> None:
    root_s = root_s * n_planes if root_s and root_s > 0 else None
    off = [
        period
        for period in dict.fromkeys((nominal_s, root_s))
        if period is not None and abs(period / measured_s - 1) > _PERIOD_TOLERANCE
    ]
    if off:
        listed = ", ".join(f"{period:.6g} s" for period in off)
        many = f" x {n_planes} planes" if n_planes > 1 else ""
        findings.append(
            Finding(
                "frame-period-differs",
                f"framePeriod{many} is {listed}, but frames are {measured_s:.6g} s apart; the frame times count.",
                "warning" if nominal_s in off else "info",
                where=where,
                evidence={"frame_period_s": off, "measured_s": measured_s},
            )
        )


def _no_times_finding(where: str, nominal_s: float | None) -> Finding:
    found = "the rate is nominal, from framePeriod" if nominal_s else "the rate is unknown"
    return Finding(
        "no-frame-times",
        f"The XML holds no usable frame times: {found}.",
        where=where,
        advice="Take frame times from the frame clock, or pass frame_rate_hz=.",
    )


def _date(attributes: Mapping[str, str], source: str, findings: list[Finding]) -> datetime | None:
    """Read ``month/day/year hour:minute:second AM|PM``, local time without a zone."""
    written = attributes.get("date", "")
    match = re.fullmatch(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})\s+(\d{1,2}):(\d{2}):(\d{2})\s*([AaPp][Mm])?\s*", written)
    if match:
        month, day, year, hour, minute, second = (int(part) for part in match.groups()[:6])
        if match[7]:
            hour = hour % 12 + (12 if match[7].lower() == "pm" else 0)
        try:
            return datetime(year, month, day, hour, minute, second)
        except ValueError:
            pass
    if written:
        findings.append(
            Finding(
                "unreadable-date",
                f"The date '{written}' is not month/day/year with AM or PM; it was left out.",
                where=source,
            )
        )
    return None


def _extra(attributes: Mapping[str, str], state: State) -> dict[str, Any]:
    extra: dict[str, Any] = {key: text for key in _EXTRA_KEYS if (text := values.text(state, key)) is not None}
    period = values.number(state, "framePeriod")
    if period is not None:
        extra["framePeriod_s"] = period
    if attributes.get("notes"):
        extra["notes"] = attributes["notes"]
    return extra


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
