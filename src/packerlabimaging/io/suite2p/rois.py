"""Suite2p's ``stat.npy`` as ROIs and a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.untrusted.npy import read_object_npy

if TYPE_CHECKING:
    import pandas as pd


def read_stat(path: Path) -> list[dict[str, Any]]:
    """Read the dictionaries of all ROIs.

    Raises
    ------
    FormatError
        If the file is damaged or an ROI has no pixel lists of one length.
    """
    stat = list(read_object_npy(path).ravel())
    for index, roi in enumerate(stat):
        if not _mend_pixels(roi):
            raise FormatError(
                f"ROI {index} in '{path}' has no pixels, or lists of different lengths. Expected 'ypix', 'xpix' and 'lam' of "
                "one length in each. Was the file edited? Run Suite2p's detection again, or restore the file."
            )
    return stat


def rois_of(
    stat: list[dict[str, Any]], frame_shape_px: tuple[int, int], *, plane: int, path: Path
) -> tuple[RoiSet, list[Finding]]:
    """Return the footprints of all ROIs, in the order of the file, weights as Suite2p's ``lam``.

    Pixels without weight are left out (ROIs drawn by hand can have none at all: they get equal weights), pixels named
    twice are merged; both are reported.

    Raises
    ------
    FormatError
        If pixels lie outside the frame.
    """

    def joined(name: str, dtype: Any) -> np.ndarray:
        return np.concatenate([roi[name] for roi in stat]).astype(dtype) if stat else np.zeros(0, dtype)

    owner = np.repeat(np.arange(len(stat)), [np.size(roi["ypix"]) for roi in stat])
    y_px, x_px, weights = joined("ypix", np.int64), joined("xpix", np.int64), joined("lam", np.float64)
    height, width = frame_shape_px
    outside = (y_px < 0) | (y_px >= height) | (x_px < 0) | (x_px >= width)
    if outside.any():
        raise FormatError(
            f"ROI {owner[outside][0]} in '{path}' has pixels outside the {height} x {width} frame. stat.npy and ops.npy (or "
            "db.npy) are not of the same run. Copy all files of one run."
        )
    weights = np.where(np.isfinite(weights) & (weights > 0), weights, 0.0)
    none = np.bincount(owner, weights, minlength=len(stat)) == 0
    weights[none[owner]] = 1.0
    keep = weights > 0
    keys, inverse = np.unique((owner * height + y_px)[keep] * width + x_px[keep], return_inverse=True)
    merged = np.bincount(inverse, weights[keep])
    findings = []
    if none.any() or len(keys) < len(owner):
        message = (
            f"{np.count_nonzero(~keep)} pixels without weight are left out, {np.count_nonzero(keep) - len(keys)} named twice "
            f"are merged, and {np.count_nonzero(none)} ROIs without any weight get equal ones."
        )
        findings.append(Finding("roi-pixels", message, severity="info", where=str(path)))
    counts = np.bincount(keys // (height * width), minlength=len(stat))
    try:
        rois = RoiSet(
            frame_shape_px,
            np.concatenate([[0], np.cumsum(counts)]),
            keys // width % height,
            keys % width,
            merged,
            planes=np.full(len(stat), plane),
        )
    except ParameterError as error:
        raise FormatError(f"'{path}' holds ROIs that can't be: {error}") from error
    return rois, findings


def columns_of(stat: list[dict[str, Any]]) -> pd.DataFrame:
    """Return every number that Suite2p knows of an ROI as a column, by its name; NaN where an ROI has none."""
    import pandas as pd

    names = dict.fromkeys(name for roi in stat for name, value in roi.items() if _is_number(value))
    columns = {}
    for name in names:
        values = [roi.get(name) for roi in stat]
        complete = all(_is_number(value) for value in values)
        columns[name] = np.array(values) if complete else np.array([v if _is_number(v) else np.nan for v in values], float)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(stat)))


def smallest_frame(stat: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the smallest ``(height, width)`` that holds all ROIs."""
    return (
        max((int(roi["ypix"].max()) + 1 for roi in stat), default=1),
        max((int(roi["xpix"].max()) + 1 for roi in stat), default=1),
    )


def _mend_pixels(roi: Any) -> bool:
    """Make the pixel lists of an ROI arrays of numbers, in place; False where they are none, empty, or of different lengths."""
    if not isinstance(roi, dict):
        return False
    for name in ("ypix", "xpix", "lam"):
        listed = roi.get(name)
        if isinstance(listed, (list, tuple)) and all(_is_number(value) for value in listed):
            listed = np.array(listed, dtype=np.float64)
        if not isinstance(listed, np.ndarray) or listed.dtype.kind not in "iuf" or listed.size == 0:
            return False
        if name != "lam" and not (np.all(np.abs(listed) < 1e9) and np.all(listed == np.floor(listed))):  # also refuses NaN
            return False
        roi[name] = listed.ravel()
    return len({roi[name].size for name in ("ypix", "xpix", "lam")}) == 1


def _is_number(value: Any) -> bool:
    plain = isinstance(value, (bool, float, np.bool_, np.integer, np.floating))
    return plain or (isinstance(value, int) and abs(value) < 1 << 62)
