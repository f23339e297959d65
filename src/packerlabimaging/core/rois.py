"""Regions of interest: weighted pixel sets with stable names, the one shape in which every engine hands over its cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging._check import check_length, frozen_array
from packerlabimaging.errors import ParameterError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class RoiSet:
    """ROIs of one field of view, stored as one flat pixel list (compressed rows).

    Parameters
    ----------
    frame_shape_px
        ``(height, width)`` of the frames that the pixels refer to.
    indptr
        Shape ``(n_rois + 1,)``: pixels of ROI ``i`` are items ``indptr[i]:indptr[i + 1]`` of the pixel arrays.
    y_px, x_px
        Pixel positions, shape ``(n_pixels,)``, int.
    weights
        Weight of each pixel, shape ``(n_pixels,)``, float32, > 0; a trace is the weighted mean of its pixels.
    ids
        Stable names, distinct; by default ``roi-0000`` and so on.
    planes
        Plane of each ROI, shape ``(n_rois,)``; zeros by default.

    Raises
    ------
    ParameterError
        If an ROI is empty, has a pixel outside the frame or a pixel twice, or names repeat.
    """

    frame_shape_px: tuple[int, int]
    indptr: np.ndarray
    y_px: np.ndarray
    x_px: np.ndarray
    weights: np.ndarray
    ids: tuple[str, ...] = ()
    planes: np.ndarray | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "frame_shape_px", (int(self.frame_shape_px[0]), int(self.frame_shape_px[1])))
        set_(self, "indptr", frozen_array(self.indptr, np.int64, ndim=1, name="indptr"))
        set_(self, "y_px", frozen_array(self.y_px, np.int32, ndim=1, name="y_px"))
        set_(self, "x_px", frozen_array(self.x_px, np.int32, ndim=1, name="x_px"))
        set_(self, "weights", frozen_array(self.weights, np.float32, ndim=1, name="weights"))
        planes = np.zeros(self.n_rois, np.int32) if self.planes is None else self.planes
        set_(self, "planes", frozen_array(planes, np.int32, ndim=1, name="planes"))
        set_(self, "ids", tuple(self.ids) or tuple(f"roi-{index:04d}" for index in range(self.n_rois)))
        self._check()

    def _check(self) -> None:
        n_pixels = int(self.indptr[-1])
        for name in ("y_px", "x_px", "weights"):
            check_length(name, getattr(self, name), n_pixels, per="pixel")
        check_length("ids", self.ids, self.n_rois, per="ROI")
        check_length("planes", self.planes, self.n_rois, per="ROI")
        if len(set(self.ids)) != self.n_rois:
            raise ParameterError("Two ROIs have the same id. Ids must be distinct.")
        empty = np.flatnonzero(np.diff(self.indptr) <= 0)
        if len(empty):
            raise ParameterError(f"ROI '{self.ids[empty[0]]}' has no pixels. Leave empty ROIs out.")
        height, width = self.frame_shape_px
        outside = (self.y_px < 0) | (self.y_px >= height) | (self.x_px < 0) | (self.x_px >= width)
        if np.any(outside):
            roi = self.ids[int(np.searchsorted(self.indptr, np.flatnonzero(outside)[0], side="right")) - 1]
            raise ParameterError(f"ROI '{roi}' has pixels outside the {height} x {width} frame. Are y and x swapped?")
        if n_pixels and not np.all(np.isfinite(self.weights) & (self.weights > 0)):
            raise ParameterError("Pixel weights must be finite and > 0.")
        keys = np.repeat(np.arange(self.n_rois), np.diff(self.indptr)) * (height * width) + self.flat_index
        if len(np.unique(keys)) != len(keys):
            raise ParameterError("An ROI names the same pixel twice. Merge repeated pixels.")

    @classmethod
    def from_pixels(
        cls,
        frame_shape_px: tuple[int, int],
        pixels: Iterable[tuple[np.ndarray, np.ndarray]],
        *,
        weights: Iterable[np.ndarray] | None = None,
        ids: Sequence[str] = (),
        planes: np.ndarray | None = None,
    ) -> RoiSet:
        """Build from one ``(y, x)`` pair of index arrays per ROI, and optionally one weight array per ROI."""
        pairs = [(np.atleast_1d(y), np.atleast_1d(x)) for y, x in pixels]
        counts = [len(y) for y, _ in pairs]
        weight_list = [np.ones(count, np.float32) for count in counts] if weights is None else list(weights)
        empty = np.zeros(0)
        return cls(
            frame_shape_px,
            np.concatenate([[0], np.cumsum(counts)]),
            np.concatenate([y for y, _ in pairs]) if pairs else empty,
            np.concatenate([x for _, x in pairs]) if pairs else empty,
            np.concatenate(weight_list) if pairs else empty,
            tuple(ids),
            planes,
        )

    @classmethod
    def from_labels(cls, labels: np.ndarray, *, ids: Sequence[str] = ()) -> RoiSet:
        """Build from a label image ``(y, x)``: 0 is background, every other value is one ROI, in ascending order."""
        labels = np.asarray(labels)
        if labels.ndim != 2:
            raise ParameterError(f"A label image has 2 dimensions (y, x), not {labels.ndim}.")
        y, x = np.nonzero(labels)
        values = labels[y, x]
        order = np.argsort(values, kind="stable")
        _, counts = np.unique(values, return_counts=True)
        return cls(
            (labels.shape[0], labels.shape[1]),
            np.concatenate([[0], np.cumsum(counts)]),
            y[order],
            x[order],
            np.ones(len(y), np.float32),
            tuple(ids),
        )

    @classmethod
    def from_discs(
        cls,
        centers_px: np.ndarray,
        radius_px: float | tuple[float, float],
        frame_shape_px: tuple[int, int],
        *,
        ids: Sequence[str] = (),
    ) -> RoiSet:
        """Build discs around ``(y, x)`` centres, shape ``(n, 2)``; cut at the border of the frame.

        ``radius_px`` is one radius or ``(y, x)`` radii (for pixels that are not square). A disc holds the pixels whose
        centre is at most one radius away.

        Raises
        ------
        ParameterError
            If a disc has no pixel inside the frame.
        """
        height, width = frame_shape_px
        radius_y, radius_x = radius_px if isinstance(radius_px, tuple) else (radius_px, radius_px)
        pixels = []
        for y0, x0 in np.asarray(centers_px, dtype=np.float64):
            y = np.arange(max(0, int(np.ceil(y0 - radius_y))), min(height, int(np.floor(y0 + radius_y)) + 1))
            x = np.arange(max(0, int(np.ceil(x0 - radius_x))), min(width, int(np.floor(x0 + radius_x)) + 1))
            inside = ((y[:, None] - y0) / radius_y) ** 2 + ((x[None, :] - x0) / radius_x) ** 2 <= 1.0
            rows, columns = np.nonzero(inside)
            pixels.append((y[rows], x[columns]))
        return cls.from_pixels(frame_shape_px, pixels, ids=ids)

    @property
    def n_rois(self) -> int:
        """Number of ROIs."""
        return len(self.indptr) - 1

    def __len__(self) -> int:
        return self.n_rois

    @property
    def flat_index(self) -> np.ndarray:
        """Position of each pixel in a flattened frame, shape ``(n_pixels,)``, int64."""
        flat: np.ndarray = self.y_px.astype(np.int64) * self.frame_shape_px[1] + self.x_px
        return flat

    @property
    def n_pixels(self) -> np.ndarray:
        """Pixels of each ROI, shape ``(n_rois,)``."""
        return np.diff(self.indptr)

    def pixels(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(y, x, weights)`` of one ROI."""
        part = slice(self.indptr[index], self.indptr[index + 1])
        return self.y_px[part], self.x_px[part], self.weights[part]

    @property
    def centroids_px(self) -> np.ndarray:
        """Weighted centre ``(y, x)`` of each ROI in pixels, shape ``(n_rois, 2)``."""
        if self.n_rois == 0:
            return np.zeros((0, 2))
        starts = self.indptr[:-1]
        total = np.add.reduceat(self.weights.astype(np.float64), starts)
        return np.stack(
            [np.add.reduceat(axis * self.weights.astype(np.float64), starts) / total for axis in (self.y_px, self.x_px)], axis=1
        )

    def subset(self, keep: np.ndarray) -> RoiSet:
        """Return the ROIs that a mask or an index array selects, in that order, with their ids."""
        index = np.arange(self.n_rois)[keep]
        assert self.planes is not None
        return RoiSet.from_pixels(
            self.frame_shape_px,
            [self.pixels(i)[:2] for i in index],
            weights=[self.pixels(i)[2] for i in index],
            ids=[self.ids[i] for i in index],
            planes=self.planes[index],
        )

    def to_sparse(self) -> csr_matrix:
        """Return the footprints as a sparse matrix ``(n_rois, height * width)``, float32."""
        from scipy.sparse import csr_matrix

        shape = (self.n_rois, self.frame_shape_px[0] * self.frame_shape_px[1])
        matrix = csr_matrix((self.weights.copy(), self.flat_index, self.indptr.copy()), shape=shape)
        matrix.sort_indices()
        return matrix

    @classmethod
    def from_sparse(
        cls, matrix: csr_matrix, frame_shape_px: tuple[int, int], *, ids: Sequence[str] = (), planes: np.ndarray | None = None
    ) -> RoiSet:
        """Rebuild from :meth:`to_sparse`."""
        matrix = matrix.tocsr()
        return cls(
            frame_shape_px,
            matrix.indptr,
            matrix.indices // frame_shape_px[1],
            matrix.indices % frame_shape_px[1],
            matrix.data,
            tuple(ids),
            planes,
        )

    def to_labels(self) -> np.ndarray:
        """Return a label image ``(y, x)``, int32: 0 background, ROI number + 1; where ROIs overlap the heavier pixel wins."""
        labels = np.zeros(self.frame_shape_px, np.int32)
        order = np.argsort(self.weights, kind="stable")
        owner = np.repeat(np.arange(self.n_rois), self.n_pixels)
        labels[self.y_px[order], self.x_px[order]] = owner[order] + 1
        return labels

    def __repr__(self) -> str:
        return f"RoiSet({self.n_rois} ROIs in {self.frame_shape_px[0]} x {self.frame_shape_px[1]} px)"
