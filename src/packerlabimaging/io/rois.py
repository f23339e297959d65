"""ROIs from elsewhere, for the engine ``masks``: any format that a reader of segmentations knows, and any label image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.readers import find_reader, find_readers, option_names

MAX_FRAME_SIDE_PX = 65_535
"""No frame is taken for longer or wider than this."""

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".npy")
"""Files that can be label images, whatever they are called."""


def read_rois(path: str | Path, *, frame_shape_px: tuple[int, int] | None = None, reader: str | None = None) -> RoiSet:
    """Read ROIs drawn or found elsewhere.

    Parameters
    ----------
    path
        A file or folder that a reader of segmentations knows (Suite2p, CaImAn, Cellpose, ImageJ ROIs, NWB, ...), or a label
        image (``.tif``, ``.png`` or ``.npy``, shape ``(y, x)``: 0 is background, every other value one ROI).
    frame_shape_px
        ``(height, width)`` of the movie, for files that do not say how large their frames are, such as ImageJ's.
    reader
        Name of the reader; detected by default.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is damaged, or an image is not a label image.
    UnknownFormatError
        If no reader knows it.
    """
    path = Path(path)
    if reader is None and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not find_readers(path, "segmentation"):
        reader = "labels"
    found = find_reader(path, "segmentation", reader=reader)
    options = {"frame_shape_px": frame_shape_px} if "frame_shape_px" in (option_names(found) or ()) else {}
    rois: RoiSet = found.open(path, **options).rois
    return rois


def check_frame_shape(shape: Sequence[float], *, where: str) -> tuple[int, int]:
    """Return ``(height, width)`` as integers.

    Raises
    ------
    FormatError
        If it is not the size of an image.
    """
    sides = np.asarray(shape, dtype=np.float64).ravel()
    if len(sides) != 2 or not np.all((sides >= 1) & (sides <= MAX_FRAME_SIDE_PX) & (sides == np.floor(sides))):
        raise FormatError(
            f"'{where}' says that frames are {' x '.join(f'{side:g}' for side in sides[:4])} pixels large. Expected height and "
            f"width, each 1 to {MAX_FRAME_SIDE_PX}. Get the file from its source again."
        )
    return int(sides[0]), int(sides[1])


def frame_around(
    pixels: Sequence[tuple[np.ndarray, np.ndarray]], given: tuple[int, int] | None, *, where: str
) -> tuple[tuple[int, int], list[Finding]]:
    """Return the size of the frame: as given, else the smallest that holds all pixels, with a finding that says so.

    Raises
    ------
    ParameterError
        If the given size is none.
    FormatError
        If pixels lie where no frame reaches.
    """
    if given is not None:
        try:
            return check_frame_shape(given, where="frame_shape_px"), []
        except (FormatError, TypeError, ValueError) as error:
            message = f"frame_shape_px = {given!r} is not possible. Expected (height, width) in pixels."
            raise ParameterError(message) from error
    shape = tuple(max((int(pair[axis].max(initial=0)) + 1 for pair in pixels), default=1) for axis in (0, 1))
    frame = check_frame_shape(shape, where=where)
    return frame, [
        Finding(
            "frame-size-unknown",
            f"Nothing says how large the frames are: {frame[0]} x {frame[1]} px is the smallest that holds all ROIs.",
            where=where,
            advice="Give frame_shape_px=(height, width).",
            evidence={"smallest_frame_px": list(frame)},
        )
    ]


def clip_to_frame(
    pixels: Sequence[tuple[np.ndarray, np.ndarray]], frame_shape_px: tuple[int, int], *, where: str
) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[Finding]]:
    """Leave out pixels beyond the border of the frame, with a finding that counts them.

    Raises
    ------
    FormatError
        If an ROI has no pixel within the frame.
    """
    height, width = frame_shape_px
    kept, n_outside = [], 0
    for number, (y, x) in enumerate(pixels):
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if not inside.any():
            raise FormatError(
                f"ROI {number} in '{where}' has no pixel within the {height} x {width} frame. Was it drawn on another image? "
                "Give the ROIs of this field of view, or leave that one out."
            )
        n_outside += int(np.count_nonzero(~inside))
        kept.append((y[inside], x[inside]))
    message = f"{n_outside} pixels of the ROIs lie beyond the border of the frame, and are left out."
    return kept, [Finding("rois-cut-at-border", message, where=where)] if n_outside else []
