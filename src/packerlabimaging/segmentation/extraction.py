"""Traces of ROIs and of the neuropil around them, streamed from the movie into files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging._progress import Progress
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.streaming import RoiTraces, stream

BLOCK_BYTES = 16 << 20
"""Traces that are kept in memory before they are written."""

MIN_OWN_FRACTION = 0.25
"""Where less than this fraction of an ROI's pixels is its own, its trace uses the shared ones too."""


def own_pixels(rois: RoiSet) -> RoiSet:
    """Return the ROIs without the pixels that they share, so that the trace of one is free of the other.

    An ROI that would keep less than :data:`MIN_OWN_FRACTION` of its pixels keeps all.
    """
    users = np.bincount(rois.flat_index, minlength=rois.frame_shape_px[0] * rois.frame_shape_px[1])
    pixels, weights = [], []
    for index in range(rois.n_rois):
        y, x, weight = rois.pixels(index)
        own = users[y.astype(np.int64) * rois.frame_shape_px[1] + x] == 1
        keep = own if own.mean() >= MIN_OWN_FRACTION else np.ones(len(y), bool)
        pixels.append((y[keep], x[keep]))
        weights.append(weight[keep])
    return RoiSet.from_pixels(rois.frame_shape_px, pixels, weights=weights, ids=rois.ids, planes=rois.planes)


def find_neuropil(rois: RoiSet, *, gap_px: int, n_pixels: int, valid: np.ndarray | None = None) -> RoiSet | None:
    """Find the neuropil around each ROI: the nearest pixels that belong to no ROI.

    Parameters
    ----------
    rois
        All ROIs; none of their pixels, and none closer to any of them than the gap, is used.
    gap_px
        Pixels left free around every ROI.
    n_pixels
        Pixels of each neuropil region; a few more where several are equally far, fewer only if the frame has no more.
    valid
        Pixels that may be used, boolean ``(y, x)``; all by default.

    Returns
    -------
    RoiSet or None
        One region per ROI, of uniform weight, with the ROI's id; None where no pixel is free.
    """
    from scipy.ndimage import distance_transform_edt

    check_positive("n_pixels", n_pixels)
    check_positive("gap_px", gap_px, zero=True)
    occupied = np.zeros(rois.frame_shape_px, bool)
    occupied[rois.y_px, rois.x_px] = True
    free = distance_transform_edt(~occupied) > gap_px if rois.n_rois else ~occupied
    if valid is not None:
        free &= valid
    wanted = min(int(n_pixels), int(free.sum()))
    if wanted == 0:
        return None
    rings = [_nearest_free(free, *rois.pixels(index)[:2], wanted) for index in range(rois.n_rois)]
    return RoiSet.from_pixels(rois.frame_shape_px, rings, ids=rois.ids, planes=rois.planes)


def _nearest_free(free: np.ndarray, y: np.ndarray, x: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``wanted`` free pixels nearest to a mask, with all that are as far as the last."""
    from scipy.ndimage import distance_transform_edt

    reach = int(np.sqrt(wanted)) + 1
    while True:
        top, left = max(0, int(y.min()) - reach), max(0, int(x.min()) - reach)
        part = free[top : int(y.max()) + reach + 1, left : int(x.max()) + reach + 1]
        mask = np.ones(part.shape, bool)
        mask[y - top, x - left] = False
        distance = np.where(part, distance_transform_edt(mask), np.inf)
        near = distance[distance <= reach]  # beyond, the window is not complete
        if len(near) >= wanted or part.shape == free.shape:
            limit = np.partition(distance[np.isfinite(distance)], wanted - 1)[wanted - 1]
            rows, columns = np.nonzero(distance <= limit)
            return rows + top, columns + left
        reach *= 2


def write_traces(
    movie: Movie, regions: dict[str, RoiSet], folder: Path, *, workers: int = 1, progress: Progress = lambda done, total: None
) -> None:
    """Write the traces of one or more sets of ROIs, in one pass over the movie and in memory that does not grow with it.

    Parameters
    ----------
    movie
        The (registered) movie.
    regions
        ROIs by the name of the file: ``{"F": ..., "Fneu": ...}`` writes ``F.npy`` and ``Fneu.npy``, float32
        ``(n_rois, n_frames)``.
    folder
        Folder to write to.
    """
    files = {}
    for name, rois in regions.items():
        shape = (rois.n_rois, movie.n_frames)
        if 0 in shape:
            np.save(folder / f"{name}.npy", np.zeros(shape, np.float32))
        else:
            files[name] = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)
    if not files:
        progress(movie.n_frames, movie.n_frames)
        return
    block = max(64, BLOCK_BYTES // (4 * sum(len(traces) for traces in files.values())))
    for start in range(0, movie.n_frames, block):
        stop = min(start + block, movie.n_frames)
        reducers = {name: RoiTraces(regions[name]) for name in files}
        report = _from(start, movie.n_frames, progress)
        parts = stream(movie.frames(start, stop), reducers, workers=workers, progress=report)
        for name, traces in files.items():
            traces[:, start:stop] = parts[name]
    for traces in files.values():
        traces.flush()


def _from(start: int, total: int, progress: Progress) -> Progress:
    return lambda done, _: progress(start + done, total)
