"""What functions on traces share: checks, blocks of rows that bound the memory, quantiles along rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from packerlabimaging.errors import ParameterError

BLOCK_BYTES = 8 << 20
"""Memory of one block of rows while it is worked on."""


def check_traces(name: str, traces: np.ndarray) -> np.ndarray:
    """Return ``traces`` as an array with two dimensions, ``(n_rois, n_frames)``.

    Raises
    ------
    ParameterError
        If there are more or fewer dimensions, or values are not numbers.
    """
    array = np.asanyarray(traces)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise ParameterError(f"{name} is {array.dtype} with shape {array.shape}. Expected numbers of shape (n_rois, n_frames).")
    return array


def check_mask(exclude: np.ndarray, n_frames: int) -> np.ndarray:
    """Return ``exclude`` as an array of booleans, one per frame.

    Raises
    ------
    ParameterError
        If it is anything else.
    """
    mask = np.asarray(exclude)
    if mask.dtype != bool or mask.shape != (n_frames,):
        raise ParameterError(
            f"The mask of frames to leave out is {mask.dtype} with shape {mask.shape}. Expected booleans, one per frame "
            f"({n_frames})."
        )
    return mask


def kept_frames(exclude: np.ndarray | None, n_frames: int) -> np.ndarray:
    """Return the numbers of the frames that ``exclude`` (boolean, one per frame; None = none) does not mark."""
    return np.arange(n_frames) if exclude is None else np.flatnonzero(~check_mask(exclude, n_frames))


def take_frames(block: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the columns ``kept`` of a block as floats; a view where nothing is left out and the block is float."""
    block = block if block.dtype.kind == "f" else block.astype(np.float32)
    return block if len(kept) == block.shape[1] else block[:, kept]


def row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield slices of rows, so many at a time as fill ``BLOCK_BYTES`` of float32."""
    step = max(1, BLOCK_BYTES // (4 * max(1, n_columns)))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def quantile_rows(values: np.ndarray, quantile: float) -> np.ndarray:
    """Return one quantile of each row, NaN left out, linearly interpolated (numpy's default definition).

    One partial sort per row instead of ``numpy.nanpercentile``, which sorts a masked copy of each row.

    Parameters
    ----------
    values
        Floats, shape ``(n_rows, n)``.
    quantile
        0 to 1.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_rows,)``, float64; NaN for a row without any finite number.
    """
    n_rows, n = values.shape
    result = np.full(n_rows, np.nan)
    if n == 0:
        return result
    with_nan = np.isnan(values.min(axis=1))
    complete = values if not with_nan.any() else values[~with_nan]
    result[~with_nan] = _quantile_complete(complete, quantile)
    for row in np.flatnonzero(with_nan):
        finite = values[row][~np.isnan(values[row])]
        if len(finite):
            result[row] = _quantile_complete(finite[None], quantile)[0]
    return result


def _quantile_complete(values: np.ndarray, quantile: float) -> np.ndarray:
    n = values.shape[1]
    place = quantile * (n - 1)
    below = int(np.floor(place))
    parted = np.partition(values, below, axis=1)
    low: np.ndarray = parted[:, below].astype(np.float64)
    if below + 1 >= n or place == below:
        return low
    high = parted[:, below + 1 :].min(axis=1).astype(np.float64)
    between: np.ndarray = low + (place - below) * (high - low)
    return between
