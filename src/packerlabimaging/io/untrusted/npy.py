"""NumPy files from elsewhere: headers are checked before anything is allocated, objects are read without running code."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.untrusted.pickles import restricted_loads

_MAX_OBJECT_BYTES = 1 << 30
"""Largest file of Python objects that is read; Suite2p's stay far below."""


def open_npy(path: Path, *, ndim: int | tuple[int, ...]) -> np.ndarray:
    """Map an array of numbers in a ``.npy`` file into memory; only its header is read.

    Parameters
    ----------
    path
        The file.
    ndim
        Dimensions that it must have; several where it may have any of them.

    Returns
    -------
    numpy.ndarray
        A read-only memory map (an empty array where there is nothing to map).

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is no ``.npy`` file, holds no numbers, has another number of dimensions, or is shorter than its header says.
    """
    with _open(path) as file:
        shape, fortran_order, dtype = read_npy_header(file, path)
        offset = file.tell()
    if dtype.kind not in "biuf":
        raise FormatError(f"'{path}' holds values of type {dtype}. Expected numbers. Is it the right file?")
    possible = ndim if isinstance(ndim, tuple) else (ndim,)
    if len(shape) not in possible:
        listed = " or ".join(str(number) for number in possible)
        raise FormatError(f"'{path}' holds an array of shape {shape}. Expected {listed} dimensions. Is it the right file?")
    needed, present = math.prod(shape) * dtype.itemsize, path.stat().st_size - offset
    if present < needed:
        raise FormatError(
            f"'{path}' is cut: its header promises an array of shape {shape}, {needed} bytes, but {present} are there. "
            "Copy it again from its source."
        )
    if needed == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran_order else "C")


def read_object_npy(path: Path) -> np.ndarray:
    """Read an array of Python objects from a ``.npy`` file, without the power of pickle.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is no ``.npy`` file of objects, is damaged, or holds anything but plain values (see
        :func:`packerlabimaging.io.untrusted.pickles.restricted_loads`).
    """
    with _open(path) as file:
        shape, _, dtype = read_npy_header(file, path)
        if dtype != np.dtype(object):
            raise FormatError(f"'{path}' holds values of type {dtype}. Expected Python objects. Is it the right file?")
        size = path.stat().st_size
        if size > _MAX_OBJECT_BYTES:
            raise FormatError(f"'{path}' has {size} bytes, more than a file of settings or ROIs ever has. Is it the right file?")
        if file.tell() >= size:
            raise FormatError(f"'{path}' ends after its header. Copy it again from its source.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            loaded = restricted_loads(content, source=str(path), start=file.tell())
    if not isinstance(loaded, np.ndarray) or not loaded.dtype.hasobject or loaded.size != math.prod(shape):
        raise FormatError(f"'{path}' is damaged: its content is not the array of shape {shape} that its header promises.")
    return loaded.reshape(shape)


def read_dict_npy(path: Path) -> dict[str, Any]:
    """Read a dictionary that ``numpy.save`` stored; see :func:`read_object_npy` for the errors."""
    loaded = read_object_npy(path)
    values = loaded.item() if loaded.size == 1 else None
    if not isinstance(values, dict):
        raise FormatError(f"'{path}' holds no dictionary of values. Is it the right file?")
    return values


def _open(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.") from error
    except OSError as error:
        raise FormatError(f"'{path}' can't be read: {error}. Check its permissions, and that its disk is connected.") from error


def read_npy_header(file: IO[bytes], path: str | Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, whether it is in column order, and type of the array in an open ``.npy`` file; it then stands at its content.

    Raises
    ------
    FormatError
        If it is no ``.npy`` file.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran_order, dtype = readers[np.lib.format.read_magic(file)](file)
    except Exception as error:  # numpy raises several kinds on damaged headers
        raise FormatError(f"'{path}' is no readable .npy file: {error}. Copy it again from its source.") from error
    if any(size < 0 for size in shape):
        raise FormatError(f"'{path}' claims an array of shape {shape}. Its header is damaged; copy it again from its source.")
    return shape, fortran_order, dtype
