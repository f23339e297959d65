"""A struct of a MATLAB file, with the file's sizes checked before anything is unpacked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from packerlabimaging.errors import FormatError

MAX_BYTES = 64 << 20
"""NAPARM's files are some kilobytes; a larger one, unpacked or not, is not believed."""

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_BOXED = {1, 2, 3}
"""Classes whose items are arrays: cell, struct, object."""
_HDF5 = b"\x89HDF"


def load_struct(path: Path, name: str) -> Any:
    """Return a variable of a MATLAB file (format 5, ``save -v7``) that is a struct of one element.

    Raises
    ------
    FormatError
        If the file is damaged, too large, of MATLAB's 7.3 format, or holds no such struct.
    """
    from scipy.io import loadmat

    with path.open("rb") as file:
        _check_sizes(file, path)
    try:
        found = loadmat(path, variable_names=[name])[name]
        if found.dtype.names is None or found.size != 1:
            raise TypeError(f"'{name}' is not a struct")
        return found.ravel()[0]
    except Exception as error:  # a damaged file makes scipy raise almost anything
        raise FormatError(
            f"'{path}' is not a NAPARM file (a MATLAB struct '{name}'): {type(error).__name__}: {error}. "
            "Copy it again from the rig."
        ) from error


def column(values: Any, name: str, path: Path, *, count: int | None = None, default: float | None = None) -> np.ndarray:
    """Take one field of a struct as floats; ``default`` for all ``count`` items where it is absent or empty.

    Raises
    ------
    FormatError
        If it is needed and absent, does not hold numbers, or has another length.
    """
    present = name in values.dtype.names
    found = np.asarray(values[name]).ravel() if present else np.zeros(0)
    try:
        numbers = found.astype(np.float64) if found.dtype.kind in "biuf" else np.array([float(item) for item in found])
    except (TypeError, ValueError):
        raise FormatError(f"'{path}': points.{name} does not hold numbers. The file is damaged or not NAPARM's.") from None
    if count is None or default is None:
        if not present:
            raise FormatError(f"'{path}' has no field points.{name}. It is not NAPARM's, or of an unknown version.")
        return numbers
    if len(numbers) == 0:
        return np.full(count, default)
    if len(numbers) != count:
        raise FormatError(f"'{path}' holds {count} X but {len(numbers)} {name}. The file is damaged or not NAPARM's.")
    return numbers


def text(values: Any, name: str) -> str | None:
    """Take one field of a struct as text; None where it is absent or holds none."""
    if name not in (values.dtype.names or ()):
        return None
    found = np.asarray(values[name]).ravel()
    return str(found[0]) if found.size == 1 and found.dtype.kind in "US" else None


def _check_sizes(file: BinaryIO, path: Path) -> None:
    """Refuse a file whose elements reach beyond its end, or unpack to more than it may hold."""
    n_bytes = file.seek(0, 2)
    if n_bytes > MAX_BYTES:
        raise FormatError(f"'{path}' is {n_bytes >> 20} MB large. Expected a file of some kilobytes.")
    file.seek(0)
    header = file.read(_HEADER_BYTES)
    if header.startswith(_HDF5) or b"HDF5" in header or header[:10] == b"MATLAB 7.3":
        raise FormatError(
            f"'{path}' was saved in MATLAB's 7.3 format, which is not read here. In MATLAB: load it, then save(..., '-v7')."
        )
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if len(header) < _HEADER_BYTES or order is None:
        raise FormatError(f"'{path}' is not a NAPARM file: it has no header of a MATLAB file. Copy it again from the rig.")
    room = MAX_BYTES
    while len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        if size > n_bytes - file.tell():
            raise _damaged(path, "it is cut")
        data = file.read(size)
        if kind == _COMPRESSED:
            data = _unpack(data, room, path)
            room -= len(data)
            kind, size = struct.unpack_from(f"{order}II", data) if len(data) >= 8 else (0, 0)
            data = data[8 : 8 + size]
        if kind == _MATRIX:
            _check_array(data, order, path)


def _unpack(data: bytes, room: int, path: Path) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, room)
    except zlib.error as error:
        raise _damaged(path, str(error)) from error
    if unpacker.unconsumed_tail:
        raise FormatError(f"'{path}' unpacks to more than {MAX_BYTES >> 20} MB. Expected a file of some kilobytes.")
    return unpacked


def _check_array(data: bytes, order: str, path: Path) -> None:
    """Refuse an array that is said to hold more items than its bytes can: such a count would be allocated as it stands.

    Cells, structs and objects hold arrays of at least eight bytes each.
    """
    waiting = [data]
    while waiting:
        array = waiting.pop()
        parts = list(_parts(array, order))
        if len(parts) < 2 or len(parts[0][1]) < 4:
            continue
        dimensions = np.frombuffer(parts[1][1][: len(parts[1][1]) // 4 * 4], f"{order}i4").astype(np.float64)
        boxed = parts[0][1][0 if order == "<" else 3] in _BOXED
        if np.any(dimensions < 0) or np.prod(dimensions) > len(array) / (8 if boxed else 1 / 8):
            raise _damaged(path, "an array is said to be larger than the file")
        waiting += [part for kind, part in parts if kind == _MATRIX]


def _parts(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the bytes of each element of an array; stops where the rest makes no sense."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element: size and type share a word, the data fill the other
            yield kind & 0xFFFF, data[at + 4 : at + 4 + min(4, kind >> 16)]
            at += 8
        else:
            yield kind, data[at + 8 : at + 8 + size]
            at += 8 + size + -size % 8


def _damaged(path: Path, why: str) -> FormatError:
    return FormatError(f"'{path}' is not a NAPARM file: {why}. It is damaged: copy it again from the rig.")
