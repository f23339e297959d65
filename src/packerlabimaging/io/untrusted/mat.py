"""MATLAB files of format 5 (``save -v6`` and ``-v7``): one variable as plain Python values.

A file from elsewhere is not trusted: every size is checked against the bytes that are there before memory is taken for it
(scipy's compiled reader crashes the process on some damaged files). Layout: "MAT-File Format" (The MathWorks), level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.errors import FormatError, MissingFileError

HEADER_BYTES, MATRIX, COMPRESSED, DEEPEST = 128, 14, 15, 32

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _OBJECT, _CHAR = 1, 2, 3, 4
_NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_mat(path: Path, name: str, *, most_bytes: int = 64 << 20) -> Any:
    """Return a variable of a MATLAB file.

    Parameters
    ----------
    name
        Name of the variable.
    most_bytes
        Larger files, packed or unpacked, are refused.

    Returns
    -------
    Any
        Numbers as an array of their MATLAB shape, text as str, a struct as dict, a struct array or cell array as a list in
        MATLAB's order; None for what has no such counterpart (objects, functions, sparse arrays) or is not there.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is no MATLAB file of format 5, is cut, damaged or too large.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    if path.stat().st_size > most_bytes:
        raise FormatError(f"'{path}' has {path.stat().st_size:,} bytes. Expected at most {most_bytes:,}.")
    content = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:HEADER_BYTES])
    if content[:10] == b"MATLAB 7.3":
        raise FormatError(f"'{path}' was saved in MATLAB's 7.3 format. In MATLAB: load it, then save(..., '-v7').")
    if order is None:
        raise FormatError(f"'{path}' is no MATLAB file: it has no header of one. Copy it again.")
    room = most_bytes
    try:
        for kind, data in _elements(memoryview(content)[HEADER_BYTES:], order):
            if kind == COMPRESSED:
                unpacked = _unpack(data, room)
                room -= len(unpacked)
                kind, data = next(_elements(memoryview(unpacked), order), (0, data))
            if kind == MATRIX:
                matrix = _matrix(data, order)
                if matrix.name == name:
                    return _value(matrix, order, 0)
    except (_DamagedError, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise FormatError(f"'{path}' is a damaged MATLAB file: {error}. Copy it again.") from error
    return None


class _DamagedError(Exception):
    """Something in the file can't be; becomes a FormatError that names the file."""


@dataclass(frozen=True)
class _Matrix:
    """One array: its class, shape, name, and the elements that hold its values."""

    kind: int
    shape: tuple[int, ...]
    name: str
    parts: list[tuple[int, memoryview]]


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield type and bytes of the elements in a piece of a file."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if small := kind >> 16:  # size and type share a word, the data fill the next
            kind, size, start = kind & 0xFFFF, small, at + 4
        following = at + 8 if small else start + size + (0 if kind == COMPRESSED else -size % 8)
        if start + size > len(data) or small > 4:
            raise _DamagedError(f"an element of {size:,} bytes reaches beyond the end")
        yield kind, data[start : start + size]
        at = following


def _unpack(data: memoryview, room: int) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(data, room)
    if unpacker.unconsumed_tail:
        raise _DamagedError(f"it unpacks to more than {room:,} bytes")
    return unpacked


def _matrix(data: memoryview, order: str) -> _Matrix:
    parts = list(_elements(data, order))
    if not parts:
        return _Matrix(0, (0, 0), "", [])  # an empty field
    if len(parts) < 3 or len(parts[0][1]) < 4:
        raise _DamagedError("an array has no size or name")
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    shape = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist()) if len(parts[1][1]) % 4 == 0 else (-1,)
    if flags & 0xFF == 17:  # an object of a class: its second element is text, not a shape
        return _Matrix(17, (), bytes(parts[1][1]).decode("latin-1"), [])
    if min(shape, default=-1) < 0 or len(shape) > 32:
        raise _DamagedError(f"an array has the shape {shape[:5]}")
    return _Matrix(flags & 0xFF, shape, bytes(parts[2][1]).decode("latin-1"), parts[3:])


def _value(matrix: _Matrix, order: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise _DamagedError(f"arrays lie in each other more than {DEEPEST} deep")
    if matrix.kind in _NUMERIC:
        return _array(matrix, order)
    if matrix.kind == _CHAR:
        return _text(matrix, order)
    if matrix.kind == _CELL:
        return [_value(_matrix(data, order), order, depth + 1) for kind, data in matrix.parts if kind == MATRIX]
    if matrix.kind in (_STRUCT, _OBJECT):
        return _structs(matrix, order, depth)
    return None


def _array(matrix: _Matrix, order: str) -> np.ndarray:
    """Return numbers; MATLAB stores whole numbers in as few bytes as hold them."""
    n_items = math.prod(matrix.shape)
    kind, data = matrix.parts[0] if matrix.parts else (9, memoryview(b""))
    stored = _NUMBERS.get(kind)
    if stored is None or len(data) != n_items * np.dtype(stored).itemsize:
        raise _DamagedError(f"an array of {n_items:,} numbers has {len(data):,} bytes of type {kind}")
    values = np.frombuffer(data, f"{order}{stored}").astype(_NUMERIC[matrix.kind])
    return values.reshape(matrix.shape, order="F")


def _text(matrix: _Matrix, order: str) -> str:
    """Return text; of several rows, each on a line."""
    kind, data = matrix.parts[0] if matrix.parts else (_CHAR, memoryview(b""))
    if kind in _TEXTS:
        suffix = "" if kind == 16 else "-le" if order == "<" else "-be"
        letters = bytes(data).decode(_TEXTS[kind] + suffix)
    elif kind in (2, 4):
        letters = "".join(map(chr, np.frombuffer(data, f"{order}{_NUMBERS[kind]}").tolist()))
    else:
        raise _DamagedError(f"text is stored as type {kind}")
    n_rows = matrix.shape[0] if matrix.shape else 1
    return letters if n_rows <= 1 else "\n".join(letters[row::n_rows] for row in range(min(n_rows, len(letters))))


def _structs(matrix: _Matrix, order: str, depth: int) -> Any:
    """Return a struct as a dict, or a list of them."""
    parts = matrix.parts[1:] if matrix.kind == _OBJECT else matrix.parts
    if len(parts) < 2 or len(parts[0][1]) < 4:
        raise _DamagedError("a struct has no field names")
    length = struct.unpack_from(f"{order}i", parts[0][1])[0]
    names = bytes(parts[1][1])
    if not 0 < length <= 256 or len(names) % length:
        raise _DamagedError(f"a struct has field names of {length} letters")
    fields = [names[at : at + length].split(b"\0", 1)[0].decode("latin-1") for at in range(0, len(names), length)]
    arrays = [data for kind, data in parts[2:] if kind == MATRIX]
    n_structs = math.prod(matrix.shape)
    if n_structs * len(fields) != len(arrays):
        raise _DamagedError(f"{n_structs:,} structs of {len(fields)} fields have {len(arrays)} values")
    values = [_value(_matrix(data, order), order, depth + 1) for data in arrays]
    n_fields = len(fields)
    structs = [dict(zip(fields, values[at : at + n_fields], strict=True)) for at in range(0, len(values), max(1, n_fields))]
    return structs[0] if n_structs == 1 and structs else structs
