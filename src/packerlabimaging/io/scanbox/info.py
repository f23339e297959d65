"""Scanbox's ``.mat`` file: the struct ``info`` that says how the ``.sbx`` file beside it was taken.

Versions differ in where things stand. Channels: ``chan.nchan`` (3), else the number ``channels`` (1 = both, 2 or 3 = one). Lines
of a frame: ``sz`` (3), else ``recordsPerBuffer``, twice that when scanning both ways. Planes: rows of ``etl_table``, else
values of ``otwave``, where a volume was scanned. The number of frames stands nowhere: it follows from the size of the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.untrusted.mat import read_mat

MAX_LINES, MAX_PLANES = 1 << 16, 1 << 12
_CHANNELS = {1: ("pmt0", "pmt1"), 2: ("pmt0",), 3: ("pmt1",)}
"""Channels saved, by ``info.channels`` (Scanbox up to version 2)."""

_COUNTER_STEPS = 1 << 16
"""Frame numbers of events are 16 bits wide and start again after this many."""


@dataclass(frozen=True)
class ScanboxInfo:
    """What ``info`` says.

    Parameters
    ----------
    path
        The ``.mat`` file.
    frame_shape_px
        ``(lines, columns)``.
    channels
        Names of the channels, in the file's order: all values of a pixel lie together.
    n_planes
        Planes of a volume; None where a volume was scanned but nothing says how many.
    frame_rate_hz
        Frames (not volumes) per second; None where the scanner's frequency is not there.
    events
        ``frame``, ``line`` and ``event_id`` of TTL events as recorded, shape ``(3, n_events)``, int64.
    metadata
        All that is known, without numbers of frames and planes.
    findings
        What looks odd.
    """

    path: Path
    frame_shape_px: tuple[int, int]
    channels: tuple[str, ...]
    n_planes: int | None
    frame_rate_hz: float | None
    events: np.ndarray
    metadata: ImagingMetadata
    findings: tuple[Finding, ...]


def read_scanbox_info(path: str | Path) -> ScanboxInfo:
    """Read the ``.mat`` file of a recording.

    Parameters
    ----------
    path
        The ``.mat`` file, or the ``.sbx`` file beside it.

    Raises
    ------
    MissingFileError
        If there is none.
    FormatError
        If it can't be read, or holds no ``info`` with a frame size and channels that make sense.
    """
    path = Path(path).with_suffix(".mat")
    info = _load(path)
    columns, scan = _sz(info, path)[1], _number(info.get("scanmode"))
    lines, findings = _lines(info, path, bidirectional=scan == 0)
    channels = _channels(info, path)
    frequency = _number(info.get("resfreq"))
    rate = None
    if frequency is not None and frequency > 0 and scan in (0, 1):
        rate = frequency * (2 - scan) / lines
    shape = (lines, columns)
    return ScanboxInfo(
        path=path,
        frame_shape_px=shape,
        channels=channels,
        n_planes=_planes(info, path),
        frame_rate_hz=rate,
        events=_events(info),
        metadata=_metadata(info, shape, channels, scan),
        findings=findings,
    )


def read_scanbox_events(path: str | Path) -> dict[str, Events]:
    """Return the times of the TTL events of a recording.

    Parameters
    ----------
    path
        The ``.mat`` file, or the ``.sbx`` file beside it.

    Returns
    -------
    dict
        Events by their id (``"1"``: TTL 0, ``"2"``: TTL 1, ``"3"``: both), in seconds from the start of the first frame.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it can't be read, or does not say how fast frames were taken.

    Notes
    -----
    Scanbox writes the frame and the line that was being scanned. Frame numbers are 16 bits wide: where they fall back, 65536 is
    added to all that follow. The times are on the scanner's own clock; they are not measured.
    """
    info = read_scanbox_info(path)
    frames, lines, ids = info.events
    if info.frame_rate_hz is None:
        raise FormatError(f"'{info.path}' does not say how fast frames were taken (resfreq, scanmode): events have no times.")
    unwrapped = frames + _COUNTER_STEPS * np.concatenate([[0], np.cumsum(np.diff(frames) < 0)])[: len(frames)]
    times = (unwrapped + lines / info.frame_shape_px[0]) / info.frame_rate_hz
    return {str(number): Events(np.sort(times[ids == number]), name=f"event {number}") for number in np.unique(ids)}


def _load(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise MissingFileError(f"There is no '{path}'. Scanbox writes it beside the .sbx file: copy it from the rig.")
    info = read_mat(path, "info")
    if not isinstance(info, dict):
        raise FormatError(f"'{path}' holds no struct 'info'. Is it the file that Scanbox wrote beside the .sbx file?")
    return info


def _number(value: Any) -> float | None:
    """Return a single finite number, None where it is none."""
    numbers = _numbers(value)
    return float(numbers[0]) if len(numbers) == 1 else None


def _count(value: Any, *, most: int) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) and 0 < number <= most else None


def _numbers(value: Any) -> np.ndarray:
    """Return finite numbers as a flat float64 array, empty where there are none."""
    flat = value.astype(np.float64).ravel(order="F") if isinstance(value, np.ndarray) else np.zeros(0)
    return flat[np.isfinite(flat)]


def _struct(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sz(info: Mapping[str, Any], path: Path) -> tuple[int | None, int]:
    """Return ``sz``: lines (None where there are none) and columns."""
    sizes = [_count(np.array(size), most=MAX_LINES) for size in _numbers(info.get("sz"))]
    if len(sizes) != 2 or sizes[1] is None:
        raise FormatError(
            f"'{path}' says info.sz = {info.get('sz')!r}. Expected lines and columns of a frame; the file is damaged."
        )
    return sizes[0], sizes[1]


def _lines(info: Mapping[str, Any], path: Path, *, bidirectional: bool) -> tuple[int, tuple[Finding, ...]]:
    """Return the lines of a frame."""
    by_size, _ = _sz(info, path)
    records = _count(info.get("recordsPerBuffer"), most=MAX_LINES)
    by_records = None if records is None else records * (2 if bidirectional else 1)
    version = _number(info.get("scanbox_version"))
    if (version is not None and version >= 3) or by_records is None or by_records == by_size:
        if by_size is None:
            raise FormatError(f"'{path}' says info.sz = {info.get('sz')!r}. Expected the lines of a frame; the file is damaged.")
        return by_size, ()
    message = f"info.sz names {by_size} lines, recordsPerBuffer {by_records}; as Scanbox's own reader does, the latter was taken."
    advice = "If the images roll from frame to frame, open the file with reader='binary'."
    return by_records, (Finding("lines-disagree", message, where=str(path), advice=advice),)


def _channels(info: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    chan = _struct(info.get("chan"))
    n_channels = _count(chan.get("nchan"), most=16)
    if n_channels is not None:
        saved = np.flatnonzero(_numbers(chan.get("save")))
        numbers = saved.tolist() if len(saved) == n_channels else range(n_channels)
        return tuple(f"pmt{number}" for number in numbers)
    code = _count(info.get("channels"), most=3)
    if code is None:
        raise FormatError(
            f"'{path}' does not say which channels were saved. Expected info.chan.nchan, or info.channels of 1, 2 or 3."
        )
    return _CHANNELS[code]


def _planes(info: Mapping[str, Any], path: Path) -> int | None:
    """Return the number of planes, None where a volume was scanned and nothing says how many."""
    waves = len(_numbers(info.get("otwave")))
    volume = _number(info.get("volscan"))
    if not volume and (volume is not None or not waves):
        return 1
    table = info.get("etl_table")
    n_planes = (len(table) if isinstance(table, np.ndarray) and table.size else 0) or waves
    if n_planes > MAX_PLANES:
        raise FormatError(
            f"'{path}' says that a volume has {n_planes} planes. Expected {MAX_PLANES} at most; the file is damaged."
        )
    return n_planes or None


def _events(info: Mapping[str, Any]) -> np.ndarray:
    frames, lines, ids = (_numbers(info.get(name)) for name in ("frame", "line", "event_id"))
    if not len(frames) == len(lines) == len(ids) or any(np.any((part < 0) | (part > 1 << 40)) for part in (frames, lines, ids)):
        return np.zeros((3, 0), np.int64)
    return np.array([frames, lines, ids]).astype(np.int64)


def _pixel_size(info: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return ``(y, x)`` in micrometres at the magnification of the recording."""
    place = _count(_struct(info.get("config")).get("magnification"), most=100)
    if place is None:
        return None
    calibration: Any = info.get("calibration")
    entries = calibration if isinstance(calibration, list) else [calibration]
    if place <= len(entries) and isinstance(entries[place - 1], dict):
        size = [_number(entries[place - 1].get(axis)) for axis in "yx"]
    else:
        tables = [_numbers(info.get(f"d{axis}calibration")) for axis in "yx"]
        size = [float(table[place - 1]) if place <= len(table) else None for table in tables]
    y_um, x_um = size
    return (y_um, x_um) if y_um is not None and x_um is not None and y_um > 0 and x_um > 0 else None


def _metadata(info: Mapping[str, Any], shape: tuple[int, int], channels: tuple[str, ...], scan: float | None) -> ImagingMetadata:
    config = _struct(info.get("config"))
    place = _count(config.get("magnification"), most=100)
    listed = config.get("magnification_list")  # a cell array, or one text with a row for each
    zooms = listed if isinstance(listed, list) else listed.split("\n") if isinstance(listed, str) else []
    zoom = _text_number(zooms[place - 1]) if place is not None and place <= len(zooms) else None
    version, objective = _number(info.get("scanbox_version")), info.get("objective")
    gains = {name: _number(config.get(f"{name}_gain")) for name in channels}
    wavelength = _number(config.get("wavelength"))
    direction = {0.0: "bidirectional", 1.0: "unidirectional"}.get(-1.0 if scan is None else scan)
    return ImagingMetadata(
        frame_shape_px=shape,
        channels=channels,
        pixel_size_um=_pixel_size(info),
        program="Scanbox",
        program_version=None if version is None else f"{version:g}",
        sequence_type=direction,
        zoom=zoom,
        objective=objective if isinstance(objective, str) and objective else None,
        pmt_gain={name: gain for name, gain in gains.items() if gain is not None},
        extra={} if wavelength is None else {"wavelength_nm": wavelength},
    )


def _text_number(value: Any) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
