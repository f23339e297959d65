"""Label images: one number for each ROI, 0 for the background, in a TIFF, PNG or ``.npy`` file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, PackerLabImagingError, ParameterError
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable
from packerlabimaging.io.rois import IMAGE_SUFFIXES, check_frame_shape
from packerlabimaging.io.untrusted.npy import open_npy

MAX_IMAGE_BYTES = 256 << 20
"""Largest label image of a plane: 8192 x 8192 pixels of four bytes."""

_NAMED = re.compile(r"(?<![a-z])(cp_)?(masks?|labels?|label_?image|rois?|segmentation)(?![a-z])", re.IGNORECASE)


class LabelImageReader(Reader):
    """Reader of label images. One whose name has neither label, mask, roi nor segmentation is read if this reader is named."""

    name: ClassVar[str] = "labels"
    kind: ClassVar[Kind] = "segmentation"
    description: ClassVar[str] = "label image, .tif, .png or .npy, called *mask*, *label*, *roi* or *segmentation*"
    generic: ClassVar[bool] = True

    def detect(self, path: Path) -> bool:
        if path.suffix.lower() not in IMAGE_SUFFIXES or not _NAMED.search(path.stem) or not path.is_file():
            return False
        try:
            read_label_image(path, plane=0)
        except PackerLabImagingError:
            return False
        return True

    def open(self, path: Path, *, plane: int | None = None) -> Segmentation:
        """Read a label image.

        Parameters
        ----------
        path
            The image, ``(y, x)`` or ``(plane, y, x)`` (a TIFF of several pages), of whole numbers.
        plane
            Zero-based plane; needed where there are several.

        Returns
        -------
        Segmentation
            ROIs in the order of their numbers, without traces; ``obs`` has ``label``, the number in the image.

        Raises
        ------
        MissingFileError
            If there is no such file.
        AmbiguousInputError
            If there are several planes and none is chosen.
        FormatError
            If it is not a label image, or has no ROI.
        """
        labels, number = read_label_image(Path(path), plane=plane)
        return segmentation_of_labels(labels, plane=number, engine="label image", source=str(path))

    def inspect(self, path: Path) -> Inspection:
        try:
            found = self.open(path)
        except PackerLabImagingError as error:
            return Inspection(str(path), self.name, self.kind, {"n_bytes": path.stat().st_size}, (unreadable(error, path),))
        facts = {"n_rois": len(found.rois), "frame_shape_px": list(found.rois.frame_shape_px), "has_traces": False}
        return Inspection(str(path), self.name, self.kind, facts, found.findings)


def segmentation_of_labels(
    labels: np.ndarray, *, plane: int, engine: str, source: str, columns: Mapping[str, np.ndarray] | None = None
) -> Segmentation:
    """Return the ROIs of a label image ``(y, x)``; ``columns`` has one value for each label, in their order.

    Raises
    ------
    FormatError
        If there is no ROI, or ``columns`` does not fit.
    """
    import pandas as pd

    check_frame_shape(labels.shape, where=source)
    numbers = np.unique(labels)
    numbers = numbers[numbers != 0]
    if len(numbers) == 0:
        raise FormatError(f"'{source}' has no ROI: all its pixels are 0.")
    rois = RoiSet.from_labels(labels)
    obs = pd.DataFrame({"label": numbers.astype(np.int64)})
    for name, values in (columns or {}).items():
        if len(values) == len(obs):
            obs[name] = values
    planed = RoiSet(
        rois.frame_shape_px, rois.indptr, rois.y_px, rois.x_px, rois.weights, planes=np.full(len(rois), plane, np.int32)
    )
    findings = tuple(_of_one_number(labels, source)) if len(numbers) == 1 else ()
    return Segmentation.of_rois(planed, obs=obs, engine=engine, source=source, findings=findings, extra={"plane": plane})


def _of_one_number(labels: np.ndarray, source: str) -> list[Finding]:
    from scipy.ndimage import label

    _, n_spots = label(labels != 0)
    message = f"All {n_spots} separate spots of the image carry one number: they are read as one ROI."
    advice = "Is it a black-and-white mask? Number its spots first, e.g. with skimage.measure.label."
    return [Finding("one-label", message, where=source, advice=advice, evidence={"n_spots": n_spots})] if n_spots > 1 else []


def choose_label_plane(n_planes: int, plane: int | None, *, where: str) -> int:
    """Return the chosen plane of several.

    Raises
    ------
    AmbiguousInputError
        If there are several and none is chosen.
    ParameterError
        If there is no such plane.
    """
    if plane is None:
        if n_planes != 1:
            raise AmbiguousInputError(f"'{where}' holds {n_planes} planes, 0 to {n_planes - 1}. Say which with plane=.")
        return 0
    if not 0 <= plane < n_planes:
        raise ParameterError(f"'{where}' holds no plane {plane}. It holds {n_planes}, counted from 0.")
    return int(plane)


def read_label_image(path: Path, *, plane: int | None) -> tuple[np.ndarray, int]:
    """Read one plane of a label image; return it with its number.

    Raises
    ------
    MissingFileError, AmbiguousInputError, FormatError
        As :meth:`LabelImageReader.open`.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    suffix = path.suffix.lower()
    read = {".npy": _read_npy, ".png": _read_png}.get(suffix, _read_tiff)
    try:
        labels, number = read(path, plane)
    except PackerLabImagingError:
        raise
    except Exception as error:  # each library has its own on damaged files
        raise FormatError(
            f"'{path}' can't be read as an image: {type(error).__name__}: {str(error)[:200]}. Save it again as an uncompressed "
            "TIFF or .npy."
        ) from error
    if labels.ndim != 2 or labels.dtype.kind not in "uib":
        raise _not_labels(path, labels.shape, labels.dtype)
    return labels, number


def _not_labels(path: Path, shape: Any, dtype: Any) -> FormatError:
    return FormatError(
        f"'{path}' is not a label image: it has the shape {shape} and holds {dtype}. "
        "Give one image (y, x) of integers, 0 for background and another number for each ROI."
    )


def _check_size(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 2 or dtype.kind not in "uib":
        raise _not_labels(path, shape, dtype)
    check_frame_shape(shape, where=str(path))
    if shape[0] * shape[1] * dtype.itemsize > MAX_IMAGE_BYTES:
        raise FormatError(f"'{path}' claims {shape[0]} x {shape[1]} pixels, more than a label image has. Is it the right file?")


def _read_npy(path: Path, plane: int | None) -> tuple[np.ndarray, int]:
    labels = open_npy(path, ndim=(2, 3))
    number = choose_label_plane(len(labels), plane, where=str(path)) if labels.ndim == 3 else 0
    if labels.ndim == 2:
        choose_label_plane(1, plane, where=str(path))
    chosen = labels[number] if labels.ndim == 3 else labels
    _check_size(path, chosen.shape, chosen.dtype)
    return np.array(chosen), number


def _read_png(path: Path, plane: int | None) -> tuple[np.ndarray, int]:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as image:
        number = choose_label_plane(1, plane, where=str(path))
        if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            raise _not_labels(path, (image.height, image.width), f"colours ({image.mode})")
        _check_size(path, (image.height, image.width), np.dtype(np.int32))
        return np.array(image), number


def _read_tiff(path: Path, plane: int | None) -> tuple[np.ndarray, int]:
    from tifffile import TiffFile

    with TiffFile(path) as file:
        number = choose_label_plane(len(file.pages), plane, where=str(path))
        page = file.pages[number]
        _check_size(path, tuple(page.shape), np.dtype(page.dtype))
        return np.asarray(page.asarray()), number
