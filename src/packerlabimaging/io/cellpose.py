"""Cellpose's ``*_seg.npy``: the masks that its window saves, in a dictionary of Python objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import FormatError, PackerLabImagingError
from packerlabimaging.io.labels import choose_label_plane, segmentation_of_labels
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable
from packerlabimaging.io.untrusted.npy import read_dict_npy, read_npy_header


class CellposeReader(Reader):
    """Reader of Cellpose's ``*_seg.npy``. The file holds Python objects: they are read without running any code."""

    name: ClassVar[str] = "cellpose"
    kind: ClassVar[Kind] = "segmentation"
    description: ClassVar[str] = "Cellpose masks, *_seg.npy"

    def detect(self, path: Path) -> bool:
        if not path.name.lower().endswith("_seg.npy") or not path.is_file():
            return False
        try:
            with path.open("rb") as file:
                shape, _, dtype = read_npy_header(file, path)
        except (FormatError, OSError):
            return False
        return shape == () and dtype.hasobject

    def open(self, path: Path, *, plane: int | None = None) -> Segmentation:
        """Read the masks.

        Parameters
        ----------
        path
            The file.
        plane
            Zero-based plane; needed where the masks are of a stack.

        Returns
        -------
        Segmentation
            ROIs in the order of their numbers, without traces; ``obs`` has ``label`` and, where the file says it, ``manual``
            (drawn by hand). ``extra`` has ``diameter_px``.

        Raises
        ------
        MissingFileError
            If there is no such file.
        AmbiguousInputError
            If there are several planes and none is chosen.
        FormatError
            If it is damaged, could run code, or holds no masks.
        """
        values = read_dict_npy(Path(path))
        masks = values.get("masks")
        if not isinstance(masks, np.ndarray) or masks.ndim not in (2, 3) or masks.dtype.kind not in "ui":
            keys = ", ".join(repr(name) for name in list(values)[:12])
            raise FormatError(
                f"'{path}' holds no masks. Expected 'masks', an image of whole numbers (y, x) or (plane, y, x), as Cellpose "
                f"saves it; it holds: {keys or 'nothing'}. Save the masks in Cellpose again."
            )
        number = choose_label_plane(1 if masks.ndim == 2 else len(masks), plane, where=str(path))
        labels = masks if masks.ndim == 2 else masks[number]
        manual = np.asarray(values["ismanual"]).ravel() if isinstance(values.get("ismanual"), np.ndarray) else np.zeros(0)
        present = np.unique(labels)
        present = present[present > 0].astype(np.int64)
        known = manual.dtype.kind in "biu" and len(present) > 0 and present[-1] <= len(manual)
        columns = {"manual": manual[present - 1].astype(bool)} if known else {}
        found = segmentation_of_labels(labels, plane=number, engine="cellpose", source=str(path), columns=columns)
        diameter = _number(values.get("diameter", values.get("est_diam")))
        return replace(found, extra={**found.extra, "diameter_px": diameter})

    def inspect(self, path: Path) -> Inspection:
        try:
            found = self.open(path, plane=0)
        except PackerLabImagingError as error:
            return Inspection(str(path), self.name, self.kind, {"n_bytes": path.stat().st_size}, (unreadable(error, path),))
        facts = {
            "n_rois": len(found.rois),
            "frame_shape_px": list(found.rois.frame_shape_px),
            "diameter_px": found.extra["diameter_px"],
            "has_traces": False,
        }
        return Inspection(str(path), self.name, self.kind, facts, found.findings)


def _number(value: Any) -> float | None:
    plain = isinstance(value, (int, float, np.integer, np.floating))
    return float(value) if plain and np.isfinite(value) and value > 0 else None
