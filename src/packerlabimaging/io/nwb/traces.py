"""The traces of ROIs: ``RoiResponseSeries``, each of some rows of the table of ROIs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.errors import FormatError
from packerlabimaging.io.nwb.file import NwbObjects
from packerlabimaging.io.untrusted import hdf5

_ROLES = (
    ("Fneu", ("neuropil", "fneu", "background")),
    ("spks", ("deconv", "spike", "spks", "event")),
    ("denoised", ("denoised",)),
    ("dff", ("dff", "df_f", "dfoverf", "df/f", "deltaf")),
)
"""What series are called, in lower case, by what they are; everything else is fluorescence."""


@dataclass(frozen=True)
class Response:
    """One series of traces.

    Parameters
    ----------
    name, place
        Its name, and where it stands in the file.
    role
        ``"F"``, ``"Fneu"``, ``"spks"``, ``"dff"`` or ``"denoised"``.
    group
        The open group.
    rows
        Row of the table of ROIs of each of its columns.
    """

    name: str
    place: str
    role: str
    group: Any
    rows: np.ndarray


def responses_of(objects: NwbObjects, table: Any, n_rows: int) -> dict[str, Response]:
    """Return the series that belong to a table of ROIs, by their place.

    Raises
    ------
    FormatError
        If a series names rows that there are not.
    """
    found = {}
    for place, group in objects.of_type("RoiResponseSeries").items():
        region = hdf5.find(group, "rois")
        if region is None or not _refers_to(region, table):
            continue
        rows = np.asarray(hdf5.read_array(region, ndim=1, path=objects.path, what=f"{place}/rois", kinds="iu")).astype(np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < n_rows):
            raise FormatError(f"The series '{place}' in '{objects.path}' names ROIs that there are not. Write the file again.")
        name = place.rsplit("/", 1)[-1]
        found[place] = Response(name, place, _role(place, objects.parent_type(place)), group, rows)
    return found


def _refers_to(region: Any, table: Any) -> bool:
    try:
        return bool(region.file[region.attrs["table"]] == table)
    except (KeyError, TypeError, ValueError, RuntimeError):  # written without a reference: there is no other table to mean
        return "table" not in region.attrs


def _role(place: str, container_type: str) -> str:
    if container_type == "DfOverF":
        return "dff"
    name, _, container = place.lower()[::-1].partition("/")
    for text in (name[::-1], container[::-1].rsplit("/", 1)[-1]):  # the series' own name says more than its container's
        for role, words in _ROLES:
            if any(word in text for word in words):
                return role
    return "F"


def read_response(response: Response, rows: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a series as ``(roi, time)`` float32, its ROIs in the order of ``rows``; return which of ``rows`` it has.

    Raises
    ------
    FormatError
        If its data do not fit its ROIs.
    """
    data = hdf5.find(response.group, "data")
    stored = hdf5.read_array(data, ndim=(1, 2), path=path, what=f"{response.place}/data")
    values = stored[:, None] if stored.ndim == 1 else stored
    if values.shape[1] != len(response.rows):
        raise FormatError(
            f"The series '{response.place}' in '{path}' has data of shape {stored.shape} for {len(response.rows)} ROIs. Expected "
            "(time, roi). Write the file again."
        )
    column_of = {int(row): index for index, row in enumerate(response.rows)}
    kept = np.array([index for index, row in enumerate(rows) if int(row) in column_of], dtype=np.int64)
    columns = np.array([column_of[int(rows[index])] for index in kept], dtype=np.int64)
    conversion, offset = (_factor(data.attrs.get(name), default) for name, default in (("conversion", 1.0), ("offset", 0.0)))
    traces = values.T if np.array_equal(columns, np.arange(values.shape[1])) else values[:, columns].T
    if traces.dtype != np.float32 or conversion != 1.0 or offset != 0.0:
        traces = (traces * np.float32(conversion) + np.float32(offset)).astype(np.float32)
    return traces, kept


def _factor(value: Any, default: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) and number != 0 else default


def read_rate(response: Response | None, path: Path) -> float | None:
    """Return the frames per second of a series, or None where it does not say."""
    if response is None:
        return None
    start = hdf5.find(response.group, "starting_time")
    if start is not None and (rate := _factor(start.attrs.get("rate"), 0.0)) > 0:
        return rate
    times = hdf5.find(response.group, "timestamps")
    if times is None:
        return None
    stamps = hdf5.read_array(times, ndim=1, path=path, what=f"{response.place}/timestamps")
    step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    return 1.0 / step if np.isfinite(step) and step > 0 else None
