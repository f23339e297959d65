"""HDF5 files from elsewhere: nothing outside the file is read, and sizes are checked against what is stored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging.errors import FormatError, MissingFileError, PackerLabImagingError
from packerlabimaging.io.untrusted.hdf5_trial import check_survives

if TYPE_CHECKING:
    import h5py

MAGIC = b"\x89HDF\r\n\x1a\n"

FREE_BYTES, EXPANSION = 32 << 20, 64
"""An array may have this many bytes, or this many times what is stored of it: compression of real data is far below."""

_HEAP = b"GCOL\x01\x00\x00\x00"
"""How a heap of texts begins (HDF5 file format specification, "Global Heap")."""

_HEAP_SCAN_BYTES = 32 << 20
"""So much of the start and of the end of a file is searched for damaged heaps."""


def is_hdf5(path: Path) -> bool:
    """Say whether a file begins as HDF5 does (a user block may precede it, at 512 bytes and its doubles)."""
    try:
        with path.open("rb") as file:
            return any(_at(file, offset) == MAGIC for offset in (0, 512, 1024, 2048))
    except OSError:
        return False


def _at(file: Any, offset: int) -> bytes:
    file.seek(offset)
    return bytes(file.read(len(MAGIC)))


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; whatever h5py makes of a damaged one becomes an error of ours.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is no readable HDF5 file.
    """
    import h5py

    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    status = path.stat()
    _check_heaps(path, status.st_size, status.st_mtime_ns)
    check_survives(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except PackerLabImagingError:
        raise
    except Exception as error:  # OSError, KeyError, RuntimeError, ValueError, TypeError: h5py's errors on damaged files
        raise FormatError(
            f"'{path}' is no readable HDF5 file: {type(error).__name__}: {str(error)[:200]}. Copy it again from its source."
        ) from error


@lru_cache(maxsize=4096)
def _check_heaps(path: Path, n_bytes: int, modified_ns: int) -> None:
    """Refuse a file with a heap of texts in which the HDF5 library would go round for ever: an entry that takes no space.

    Programs write texts first, with the structure of the file, or last, when they close it: these parts are searched, once
    while the file is unchanged.

    Raises
    ------
    FormatError
        If there is one.
    """
    with path.open("rb") as file:
        for start in sorted({0, max(0, n_bytes - _HEAP_SCAN_BYTES)}):
            file.seek(start)
            place = _endless_text(file.read(_HEAP_SCAN_BYTES), n_bytes)
            if place is not None:
                raise FormatError(
                    f"'{path}' is damaged: a text at byte {start + place:,} takes no space. Copy it again from its source."
                )


def _endless_text(content: bytes, n_bytes: int) -> int | None:
    """Return the place of an entry of a heap that takes no space, or more than the file of ``n_bytes`` has."""
    start = content.find(_HEAP)
    while start >= 0:
        end = min(start + int.from_bytes(content[start + 8 : start + 16], "little"), len(content))
        place = start + 16
        while place + 16 <= end:
            index = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            taken = 16 + -(-size // 8) * 8 if index else size
            if taken < 16 or size > n_bytes:
                return place
            place += taken
        start = content.find(_HEAP, start + 8)
    return None


def find(group: h5py.Group, name: str) -> Any:
    """Return a member by its path, or None; a link that leads out of the file is refused.

    Raises
    ------
    FormatError
        If it is a link to another file.
    """
    import h5py

    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or part not in group:
            return None
        if isinstance(group.get(part, getlink=True), h5py.ExternalLink):
            raise FormatError(f"'{name}' in '{group.file.filename}' is a link to another file, which is not followed.")
        group = group[part]
    return group


def read_array(dataset: Any, *, ndim: int | tuple[int, ...], path: Path, what: str, kinds: str = "biuf") -> np.ndarray:
    """Read an array of numbers; mapped into memory where it is stored in one piece.

    Raises
    ------
    FormatError
        If it is not one, has another number of dimensions, or claims far more than the file stores of it.
    """
    check_dataset(dataset, path=path, what=what)
    dtype, shape = dataset.dtype, dataset.shape
    if shape is None or dtype.kind not in kinds or len(shape) not in (ndim if isinstance(ndim, tuple) else (ndim,)):
        raise FormatError(f"'{what}' in '{path}' holds {dtype} of shape {shape}. Expected {ndim} dimensions of numbers.")
    n_bytes = math.prod(shape) * dtype.itemsize
    offset = dataset.id.get_offset() if dataset.chunks is None and dataset.id.get_storage_size() == n_bytes else None
    if offset is not None and n_bytes and offset + n_bytes <= path.stat().st_size and dtype.kind in "iuf":
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    return np.asarray(dataset[()])


def check_dataset(dataset: Any, *, path: Path, what: str) -> None:
    """Check that a member is a dataset whose size is explained by what the file stores of it.

    Raises
    ------
    FormatError
        If not.
    """
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        raise FormatError(f"'{what}' in '{path}' is {'missing' if dataset is None else 'no array'}. Save the results again.")
    if dataset.is_virtual or dataset.external:
        raise FormatError(f"'{what}' in '{path}' lies in another file, which is not read. Save it in one file.")
    shape = dataset.shape or ()
    n_bytes, stored = math.prod(shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if n_bytes > FREE_BYTES + EXPANSION * min(stored, path.stat().st_size):
        raise FormatError(
            f"'{what}' in '{path}' claims {n_bytes} bytes (shape {shape}), of which {stored} are stored. "
            "The file is damaged or was not written to its end. Save the results again."
        )


def text_of(value: Any) -> str | None:
    """Return an attribute or a scalar as text, or None where it is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None
