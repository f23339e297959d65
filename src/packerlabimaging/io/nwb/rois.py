"""The ROIs of a ``PlaneSegmentation``: image masks, pixel masks or voxel masks.

The schema of NWB counts x first: an image mask is ``(roi, x, y)``, a pixel mask lists ``x, y, weight``. Some programs write y
first; the file does not say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._check import check_choice
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError
from packerlabimaging.io.nwb.file import column
from packerlabimaging.io.rois import check_frame_shape, frame_around
from packerlabimaging.io.untrusted import hdf5

Pixels = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def read_planar_rois(
    table: Any, path: Path, *, axes: str, plane: int | None, frame_shape_px: tuple[int, int] | None
) -> tuple[RoiSet, np.ndarray, int, list[Finding]]:
    """Read the ROIs of one table.

    Parameters
    ----------
    axes
        ``"xy"``, as the schema has it, or ``"yx"``.
    plane
        Plane of a volume; needed where voxels are on several.
    frame_shape_px
        ``(height, width)``, where masks do not say it.

    Returns
    -------
    rois, rows, plane, findings
        The ROIs and the rows of the table that they are.

    Raises
    ------
    FormatError, AmbiguousInputError, ParameterError
        As :meth:`NwbReader.open`.
    """
    check_choice("axes", axes, ("xy", "yx"))
    number = plane or 0
    findings: list[Finding] = []
    stored: tuple[int, int] | None = None
    if (image := column(table, "image_mask", path)) is not None:
        pixels, stored = _of_images(image[0], path, axes)
    elif (listed := column(table, "pixel_mask", path)) is not None:
        pixels = [(y, x, weight) for _, y, x, weight in _of_lists(listed, path, axes)]
    elif (listed := column(table, "voxel_mask", path)) is not None:
        pixels, number = _on_plane(_of_lists(listed, path, axes), plane, path)
    else:
        raise FormatError(
            f"The ROIs '{table.name}' in '{path}' have no masks. Expected a column image_mask, pixel_mask or voxel_mask; it has: "
            f"{', '.join(list(table)[:8])}."
        )
    merged = [_merged(*roi) for roi in pixels]
    rows = np.array([row for row, (y, _, _) in enumerate(merged) if len(y)], dtype=np.int64)
    if len(rows) == 0:
        raise FormatError(f"The table '{table.name}' in '{path}' holds no ROI with a pixel. Is it the right file?")
    kept = [merged[row] for row in rows]
    if len(rows) < len(merged):
        message = f"{len(merged) - len(rows)} of {len(merged)} ROIs have no pixel (in this plane) and are left out."
        findings.append(Finding("rois-without-pixels", message, where=str(path)))
    if stored is not None and frame_shape_px is not None and tuple(frame_shape_px) != stored:
        raise ParameterError(f"The masks in '{path}' are of {stored} px, frame_shape_px = {tuple(frame_shape_px)}. Leave it out.")
    frame, unknown = frame_around([(y, x) for y, x, _ in kept], stored or frame_shape_px, where=str(path))
    if any(int(y.max()) >= frame[0] or int(x.max()) >= frame[1] for y, x, _ in kept):
        other = "yx" if axes == "xy" else "xy"
        raise FormatError(
            f"ROIs in '{path}' reach beyond the {frame[0]} x {frame[1]} frame. Were they written the other way round? "
            f"Give axes='{other}', or the ROIs of this field of view."
        )
    rois = RoiSet.from_pixels(
        frame,
        [(y, x) for y, x, _ in kept],
        weights=[weight for _, _, weight in kept],
        ids=[f"roi-{row:04d}" for row in rows],
        planes=np.full(len(rows), number),
    )
    return rois, rows, number, [*findings, *unknown]


def _of_images(data: Any, path: Path, axes: str) -> tuple[Pixels, tuple[int, int]]:
    shape = data.shape
    if len(shape) != 3 or data.dtype.kind not in "biuf":
        raise FormatError(f"The image masks in '{path}' have the shape {shape}. Expected (roi, x, y): single planes are read.")
    frame = check_frame_shape(shape[:0:-1] if axes == "xy" else shape[1:], where=str(path))
    pixels = []
    for row in range(shape[0]):  # one mask at a time: together they can be large
        mask = np.asarray(data[row])
        first, second = np.nonzero(mask)
        y, x = (second, first) if axes == "xy" else (first, second)
        pixels.append((y, x, mask[first, second].astype(np.float32)))
    return pixels, frame


def _of_lists(
    listed: tuple[Any, np.ndarray | None], path: Path, axes: str
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Return plane, y, x, weight of each ROI."""
    data, ends = listed
    names = data.dtype.names or ()
    if ends is None or len(data.shape) != 1 or not {"x", "y"} <= set(names):
        raise FormatError(
            f"The masks in '{path}' hold {data.dtype}, shape {data.shape}. Expected lists of x, y and weight. Was the file "
            "written by an NWB program?"
        )
    values = data[()]
    fields = {}
    for name in ("x", "y", "z", "weight"):
        field = values[name] if name in names else np.zeros(len(values)) if name == "z" else np.ones(len(values))
        if field.dtype.kind not in "biuf" or not np.all(np.isfinite(field)) or np.any(np.abs(field) > 2**40):
            raise FormatError(f"The masks in '{path}' have a value of '{name}' that is no number. Write the file again.")
        fields[name] = field
    if axes == "yx":
        fields["x"], fields["y"] = fields["y"], fields["x"]
    if any(np.any(fields[name] < 0) for name in "xyz"):
        raise FormatError(f"The masks in '{path}' have negative positions. Write the file again.")
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    whole = [fields[name].astype(np.int64) for name in ("z", "y", "x")]
    return [
        (whole[0][a:b], whole[1][a:b], whole[2][a:b], fields["weight"][a:b].astype(np.float32))
        for a, b in zip(starts, ends, strict=True)
    ]


def _on_plane(voxels: list[Any], plane: int | None, path: Path) -> tuple[Pixels, int]:
    planes = sorted({int(z) for depth, *_ in voxels for z in np.unique(depth)})
    if plane is None and len(planes) > 1:
        raise AmbiguousInputError(f"The voxels in '{path}' are on planes {planes}. Say which with plane=.")
    if plane is not None and plane not in planes:
        raise ParameterError(f"'{path}' holds no voxel on plane {plane}. It holds planes: {planes}.")
    number = plane if plane is not None else planes[0] if planes else 0
    return [(y[z == number], x[z == number], weight[z == number]) for z, y, x, weight in voxels], number


def _merged(y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixels with a positive weight, each once."""
    keep = np.isfinite(weight) & (weight > 0)
    pixels, inverse = np.unique(np.stack([y[keep], x[keep]]), axis=1, return_inverse=True)
    merged = np.bincount(np.ravel(inverse), weight[keep], minlength=pixels.shape[1])
    return pixels[0], pixels[1], merged.astype(np.float32)


def accepted_rows(table: Any, path: Path, n_rows: int) -> np.ndarray | None:
    """Return which ROIs are taken for cells, where a column says it (``iscell``, ``accepted``)."""
    for name in table:
        if name.lower().replace("_", "") not in ("iscell", "accepted"):
            continue
        found = column(table, name, path)
        if found is None or found[0].dtype.kind not in "biuf" or found[0].shape[:1] != (n_rows,) or len(found[0].shape) > 2:
            continue
        values = np.asarray(hdf5.read_array(found[0], ndim=(1, 2), path=path, what=name))
        return (values if values.ndim == 1 else values[:, 0]) > 0
    return None
