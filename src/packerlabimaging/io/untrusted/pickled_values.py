"""What pickles may hold: numbers, text, lists, dictionaries, arrays, dates, paths, and how each is made here.

Nothing that a file names is imported: :data:`KNOWN` maps the names that NumPy, scipy and the standard library write to parts
of this module, which check what they are given.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, Literal

import numpy as np

_DTYPE = re.compile(r"[|<>=]?(?:[biufc]\d{1,2}|\?|O8?|[SU]\d{0,9})")


class Refused(Exception):
    """Something in the pickle that is not read; the message is a noun."""


class PickledDtype:
    """An array type in the making."""

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise Refused(f"an array of type {told(code)}")
        self.value = np.dtype(code)

    def set_state(self, state: tuple[Any, ...]) -> None:
        if any(part is not None for part in state[2:5]):
            raise Refused("an array of records")
        if state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class PickledArray:
    """An array in the making."""

    def __init__(self, kind: Any, *_: Any) -> None:
        if kind is not _NDARRAY:
            raise Refused("an array of a class of its own")
        self.value: np.ndarray | None = None

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if self.value is not None:
            raise Refused("an array that is filled twice")
        self.value = _filled(content, dtype, shape, "F" if fortran else "C")


def _filled(content: Any, dtype: PickledDtype, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise Refused("an array whose shape is no list of sizes")
    if dtype.value.hasobject:  # numpy lists objects in C order, whatever the order of the array
        if not isinstance(content, list):
            raise Refused("an array of objects without a list of them")
        return object_array(content).reshape(shape)
    _check_bytes(content, math.prod(shape) * dtype.value.itemsize)
    if dtype.value.kind == "U" and np.any(np.frombuffer(content, dtype.value.str[0] + "u4") > 0x10FFFF):
        raise Refused("text with characters that there are not")
    return np.frombuffer(content, dtype.value).reshape(shape, order=order)


def _array_of_buffer(content: Any, dtype: PickledDtype, shape: Any, order: str, axes: Any = None) -> PickledArray:
    """An array as pickles of protocol 5 spell it."""
    array = PickledArray(_NDARRAY)
    array.value = _filled(content, dtype, shape, "F" if order == "F" else "C")
    if order == "K" and axes is not None:
        array.value = array.value.transpose(axes)
    return array


class PickledSparse:
    """A compressed sparse matrix of scipy in the making; it becomes the dictionary of its parts."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}

    def set_state(self, state: Any) -> None:
        if not isinstance(state, dict) or not {"data", "indices", "indptr", "_shape"} <= set(state):
            raise Refused("a sparse matrix without its parts")
        self.parts = {"format": self.name, "shape": state["_shape"]}
        self.parts |= {name: state[name] for name in ("data", "indices", "indptr")}


class _Csc(PickledSparse):
    name = "csc"


class _Csr(PickledSparse):
    name = "csr"


class Unmade:
    """Stands for a class that a file may name but not call."""


_NDARRAY = Unmade()


def object_array(items: list[Any]) -> np.ndarray:
    """Return a one-dimensional array of the items as they are, lists and arrays included."""
    values = np.empty(len(items), object)
    for index, item in enumerate(items):
        values[index] = item
    return values


def _check_bytes(content: Any, expected: int) -> None:
    if not isinstance(content, bytes) or len(content) != expected:
        raise Refused(f"an array whose content is not the {expected} bytes that its shape asks for")


def _scalar(dtype: PickledDtype, content: Any) -> Any:
    if dtype.value.hasobject or dtype.value.itemsize == 0:
        raise Refused("a scalar without a fixed size")
    _check_bytes(content, dtype.value.itemsize)
    return np.frombuffer(content, dtype.value)[0]


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, as pickles of protocol 2 spell them (numpy before 1.17)."""
    if encoding != "latin1":
        raise Refused("bytes that are not spelled in latin1")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _posix_path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _windows_path(*parts: str) -> str:
    return str(PureWindowsPath(*parts))


def _ordered(pairs: Iterable[tuple[Any, Any]] = ()) -> dict[Any, Any]:
    """A dictionary in its order, as all are today."""
    return {checked_key(key): value for key, value in pairs}


def make_set(items: Iterable[Any] = ()) -> set[Any]:
    return {checked_key(item) for item in items}


def checked_key(key: Any) -> Any:
    """Return what can be a key of a dictionary: nothing of which a file could choose very many that collide."""
    if type(key) in (str, bytes, bool) or key is None or (type(key) is int and abs(key) < 1 << 32):
        return key
    raise Refused(f"a dictionary or set with a key of the type '{type(key).__name__}'")


KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): PickledDtype,
    **{
        (f"numpy.{core}.{module}", name): made
        for core in ("core", "_core")
        for module, name, made in (
            ("multiarray", "_reconstruct", PickledArray),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _array_of_buffer),
        )
    },
    **{("datetime", name): getattr(datetime, name) for name in ("datetime", "date", "time", "timedelta", "timezone")},
    **{
        (module, f"{pure}{system}Path"): make
        for module in ("pathlib", "pathlib._local")
        for pure in ("", "Pure")
        for system, make in (("Posix", _posix_path), ("Windows", _windows_path))
    },
    **{(module, "Path"): _posix_path for module in ("pathlib", "pathlib._local")},
    **{(module, "PurePath"): _posix_path for module in ("pathlib", "pathlib._local")},
    ("collections", "OrderedDict"): _ordered,
    **{
        (f"scipy.sparse.{private}{kind.name}", f"{kind.name}_{shape}"): kind
        for private in ("", "_")
        for kind in (_Csc, _Csr)
        for shape in ("matrix", "array")
    },
    ("_codecs", "encode"): _encoded,
    **{(module, "bytes"): _empty_bytes for module in ("builtins", "__builtin__")},
    **{(module, "set"): make_set for module in ("builtins", "__builtin__")},
    **{(module, "complex"): complex for module in ("builtins", "__builtin__")},
}

MADE_EMPTY = (_Csc, _Csr)
CALLABLE = {id(made) for made in KNOWN.values() if made is not _NDARRAY and not any(made is empty for empty in MADE_EMPTY)}


def told(value: Any) -> str:
    """Name a value in a message; never written out, since values can refer to themselves."""
    if isinstance(value, str):
        return repr(value[:40])
    return getattr(value, "__name__", f"a value of the type '{type(value).__name__}'")


def shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} ..."
