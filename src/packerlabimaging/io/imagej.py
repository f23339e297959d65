"""ROIs drawn in ImageJ or Fiji: a ``.roi`` file, or a ``.zip`` of them as the ROI manager saves it.

ImageJ counts from the upper left corner of the upper left pixel, so that the centre of pixel ``(y, x)`` is at
``(y + 0.5, x + 0.5)``; a pixel belongs to an ROI if its centre lies inside the outline. (Program: ImageJ 1.5x, documented for
``ij.gui.Roi``; its own filling of ovals differs by single pixels at the rim.)
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging._optional import import_optional
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import (
    AmbiguousInputError,
    FormatError,
    MissingDependencyError,
    MissingFileError,
    PackerLabImagingError,
    ParameterError,
)
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable
from packerlabimaging.io.rois import clip_to_frame, frame_around

MAX_ROI_BYTES, MAX_ROIS = 8 << 20, 100_000
"""Largest single ROI (a freehand outline of 65535 points has 0.8 MB), and most ROIs, of a file that is believed."""

MAX_AREA_PX = 16 << 20
"""Largest bounding box of an ROI that is filled."""

_MAGIC = b"Iout"


class ImageJReader(Reader):
    """Reader of ImageJ's ROIs: polygons, freehand and traced outlines, rectangles, ovals, their combinations, and points."""

    name: ClassVar[str] = "imagej"
    kind: ClassVar[Kind] = "segmentation"
    description: ClassVar[str] = "ImageJ ROIs, .roi or a .zip of them"

    def detect(self, path: Path) -> bool:
        try:
            if not path.is_file():
                return False
            with path.open("rb") as file:
                if file.read(4) == _MAGIC:
                    return True
            if path.suffix.lower() != ".zip":
                return False
            with zipfile.ZipFile(path) as archive:
                return any(name.lower().endswith(".roi") for name in archive.namelist())
        except Exception:  # zipfile has many errors for damaged files
            return False

    def open(self, path: Path, *, frame_shape_px: tuple[int, int] | None = None, plane: int | None = None) -> Segmentation:
        """Read the ROIs.

        Parameters
        ----------
        path
            The file.
        frame_shape_px
            ``(height, width)`` of the movie; ImageJ does not store it. Without it the smallest frame that holds all ROIs is
            taken, with a finding. Pixels beyond the border are left out.
        plane
            Zero-based slice; needed where ROIs are on several slices of a stack.

        Returns
        -------
        Segmentation
            ROIs in the file's order, without traces; ``obs`` has ``name`` and ``shape``. Lines and angles, which have no area,
            are left out with a finding.

        Raises
        ------
        MissingFileError
            If there is no such file.
        MissingDependencyError
            If the package ``roifile`` is not installed.
        AmbiguousInputError
            If ROIs are on several slices and none is chosen.
        FormatError
            If the file is damaged or holds no ROI with an area.
        """
        import pandas as pd

        path = Path(path)
        drawn = [(name, roi) for name, roi in _read(path)]
        drawn, number = _on_plane(drawn, plane, path)
        shapes = [(name, *_pixels(roi, name, path)) for name, roi in drawn]
        filled = [(name, shape, y, x) for name, shape, y, x in shapes if len(y)]
        empty = [f"{name} ({shape})" for name, shape, y, _ in shapes if not len(y)]
        if not filled:
            listed = ", ".join(empty[:6]) or "nothing"
            raise FormatError(f"'{path}' has no ROI with an area. It holds: {listed}. Draw polygons, ovals or rectangles.")
        pixels = [(y, x) for _, _, y, x in filled]
        frame, findings = frame_around(pixels, frame_shape_px, where=str(path))
        pixels, cut = clip_to_frame(pixels, frame, where=str(path))
        if empty:
            message = f"{len(empty)} selections have no area and are left out: {', '.join(empty[:6])}."
            cut.append(Finding("rois-without-area", message, where=str(path)))
        return Segmentation.of_rois(
            RoiSet.from_pixels(frame, pixels, planes=np.full(len(pixels), number)),
            obs=pd.DataFrame({"name": [name for name, *_ in filled], "shape": [shape for _, shape, *_ in filled]}),
            engine="imagej",
            source=str(path),
            findings=(*findings, *cut),
            extra={"plane": number},
        )

    def inspect(self, path: Path) -> Inspection:
        try:
            found = self.open(path)
        except (PackerLabImagingError, MissingDependencyError) as error:
            return Inspection(str(path), self.name, self.kind, {"n_bytes": path.stat().st_size}, (unreadable(error, path),))
        assert found.obs is not None
        shapes = {str(shape): int(count) for shape, count in found.obs["shape"].value_counts().items()}
        facts = {"n_rois": len(found.rois), "shapes": shapes, "has_traces": False}
        return Inspection(str(path), self.name, self.kind, facts, found.findings)


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield name and ROI of each selection of a file."""
    roifile = import_optional("roifile", extra="rois", purpose="Reading ImageJ ROIs")
    for name, content in _contents(path):
        try:
            roi = roifile.ImagejRoi.frombytes(content)
        except Exception as error:  # struct, value and type errors of damaged files
            raise FormatError(f"The ROI '{name}' in '{path}' is damaged: {str(error)[:200]}. Save it in ImageJ again.") from error
        yield roi.name or Path(name).stem, roi


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    with path.open("rb") as file:
        head = file.read(MAX_ROI_BYTES)
    if head[:4] == _MAGIC:
        yield path.name, head
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.lower().endswith(".roi")]
            if not 0 < len(members) <= MAX_ROIS:
                raise FormatError(f"'{path}' holds {len(members)} ROIs. Expected 1 to {MAX_ROIS}. Is it the right file?")
            for member in members:
                with archive.open(member) as content:
                    yield member.filename, content.read(MAX_ROI_BYTES)
    except FormatError:
        raise
    except Exception as error:  # zipfile and zlib have many errors for damaged files
        raise FormatError(
            f"'{path}' can't be read as a .zip of ImageJ ROIs: {str(error)[:200]}. Save it in ImageJ again."
        ) from error


def _on_plane(drawn: list[tuple[str, Any]], plane: int | None, path: Path) -> tuple[list[tuple[str, Any]], int]:
    """Return the ROIs of one slice; those that belong to no slice belong to each."""
    slices = sorted({roi.z_position - 1 for _, roi in drawn if roi.z_position > 0})
    if plane is None and len(slices) > 1:
        raise AmbiguousInputError(f"The ROIs of '{path}' are on several slices: {slices}. Say which with plane=.")
    number = plane if plane is not None else slices[0] if slices else 0
    if plane is not None and slices and plane not in slices:
        raise ParameterError(f"No ROI of '{path}' is on slice {plane}. There are ROIs on: {slices}.")
    return [(name, roi) for name, roi in drawn if roi.z_position <= 0 or roi.z_position - 1 == number], int(number)


def _pixels(roi: Any, name: str, path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Return what the ROI is, and its pixels ``(y, x)``; none for what has no area."""
    shape = roi.roitype.name.lower()
    none = np.zeros(0, np.int64)
    try:
        if shape == "point":
            points = np.unique(np.floor(_finite(roi.coordinates())).astype(np.int64), axis=0)
            return shape, points[:, 1], points[:, 0]
        if roi.composite:
            return "composite", *_fill([_finite(part) for part in roi.coordinates(multi=True)])
        if shape in ("rect", "oval"):
            return shape, *_fill_box(shape, *_box(roi))
        if shape in ("polygon", "freehand", "traced"):
            return shape, *_fill([_outline(roi)])
    except FormatError as error:
        raise FormatError(f"The ROI '{name}' in '{path}' can't be filled: {error} Draw it in ImageJ again.") from None
    except Exception as error:  # roifile's own, on damaged coordinates
        raise FormatError(f"The ROI '{name}' in '{path}' is damaged: {str(error)[:200]}. Draw it in ImageJ again.") from error
    return shape, none, none


def _finite(points: Any) -> np.ndarray:
    """Return outline points ``(x, y)`` as float, checked."""
    array = np.asarray(points, np.float64).reshape(-1, 2)
    if not np.all(np.isfinite(array)) or np.any(np.abs(array) > 1e6):
        raise FormatError("its outline is not made of positions in an image.")
    return array


def _box(roi: Any) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom."""
    if roi.subpixelrect and roi.widthd > 0 and roi.heightd > 0:
        return roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd
    return roi.left, roi.top, roi.right, roi.bottom


def _outline(roi: Any) -> np.ndarray:
    """Return the outline of a polygon; of an ellipse, which is stored as its long axis and aspect, as many points."""
    coordinates = _finite(roi.coordinates())
    if len(coordinates) >= 3 or roi.subtype.name not in ("ELLIPSE", "ROTATED_RECT"):
        return coordinates
    start, end = _finite([[roi.x1, roi.y1], [roi.x2, roi.y2]])
    centre, half = (start + end) / 2, (end - start) / 2
    if roi.subtype.name == "ROTATED_RECT":
        raise FormatError("a rotated rectangle is stored without its corners.")
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)[:, None]
    across = np.array([-half[1], half[0]]) * float(roi.arrow_style_or_aspect_ratio)
    return centre + np.cos(angles) * half + np.sin(angles) * across


def _grid(left: float, top: float, right: float, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels whose centre lies in a box."""
    _finite([[left, top], [right, bottom]])
    rows = np.arange(int(np.ceil(top - 0.5)), int(np.ceil(bottom - 0.5)))
    columns = np.arange(int(np.ceil(left - 0.5)), int(np.ceil(right - 0.5)))
    if len(rows) * len(columns) > MAX_AREA_PX:
        raise FormatError(f"its box is {len(rows)} x {len(columns)} pixels large.")
    return rows, columns


def _fill_box(shape: str, left: float, top: float, right: float, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = _grid(left, top, right, bottom)
    inside = np.ones((len(rows), len(columns)), bool)
    if shape == "oval" and inside.size:
        y = (rows + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
        x = (columns + 0.5 - (left + right) / 2) / ((right - left) / 2)
        inside = y[:, None] ** 2 + x[None, :] ** 2 <= 1.0
    y_index, x_index = np.nonzero(inside)
    return rows[y_index], columns[x_index]


def _fill(outlines: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels whose centre lies within an odd number of the outlines ``(x, y)``."""
    points = np.concatenate(outlines) if outlines else np.zeros((0, 2))
    if len(points) < 3:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, columns = _grid(*points.min(axis=0), *points.max(axis=0))
    crossings = np.zeros((len(rows), len(columns) + 1), np.int32)
    for outline in outlines:
        _add_crossings(crossings, outline, rows, columns)
    inside = (np.cumsum(crossings[:, :-1], axis=1) % 2).astype(bool)
    y_index, x_index = np.nonzero(inside)
    return rows[y_index], columns[x_index]


def _add_crossings(crossings: np.ndarray, outline: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """Count, at the first pixel right of it, each crossing of the outline's edges with the rows' centre lines."""
    (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, axis=0).T
    first = np.searchsorted(rows + 0.5, np.minimum(y0, y1))
    counts = np.searchsorted(rows + 0.5, np.maximum(y0, y1)) - first
    if counts.sum() > MAX_AREA_PX:
        raise FormatError(f"its outline crosses {counts.sum()} lines of pixels.")
    edge = np.repeat(np.arange(len(outline)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    x = x0[edge] + (rows[row] + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    np.add.at(crossings, (row, np.searchsorted(columns + 0.5, x)), 1)
