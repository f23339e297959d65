"""ROIs from elsewhere: label images, and the ROIs of another segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.readers import open_segmentation


def read_rois(path: str | Path) -> RoiSet:
    """Read ROIs drawn or found elsewhere.

    Parameters
    ----------
    path
        A label image (``.tif``, ``.tiff`` or ``.npy``, shape ``(y, x)``: 0 is background, every other value one ROI), or a
        segmentation that a reader knows, such as a Suite2p folder.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If an image is not a label image.
    UnknownFormatError
        If no reader knows it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in (".tif", ".tiff", ".npy"):
        return open_segmentation(path).rois
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    labels = _read_image(path)
    if labels.ndim != 2 or labels.dtype.kind not in "uib":
        raise FormatError(
            f"'{path}' is not a label image: it has the shape {labels.shape} and holds {labels.dtype}. "
            "Give one image (y, x) of integers, 0 for background and another number for each ROI."
        )
    if not labels.any():
        raise FormatError(f"'{path}' has no ROI: all its pixels are 0.")
    return RoiSet.from_labels(labels.astype(np.int64))


def _read_image(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        from tifffile import imread

        return np.asarray(imread(path))
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"'{path}' can't be read as an image: {error}. Save it again as TIFF or .npy.") from error
