"""Reading of pickled arrays without the power of pickle.

NumPy stores arrays of Python objects as pickles, and a pickle is a program: loading one from elsewhere can run anything.
Suite2p's ``stat.npy``, ``ops.npy`` and their kind hold only numbers, text, lists, dictionaries, arrays, dates and paths,
so this reader knows only these. Everything else is refused by name, and nothing that the file names is ever imported.

It builds on the Python version of the standard library's unpickler, whose every operation can be seen and replaced (and
which, unlike the C version, keeps no table whose size the file may choose). Arrays and their types are rebuilt here from
checked parts, never by numpy's own unpickling, which trusts its input.
"""

from __future__ import annotations

import datetime
import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

import numpy as np

from packerlabimaging.errors import FormatError

_DTYPE = re.compile(r"[|<>=]?(?:[biufc]\d{1,2}|\?|O8?|[SU]\d{0,9})")
_MAX_DEPTH = 64
"""Lists within lists; Suite2p needs about five."""


class _Refused(Exception):
    """Something in the pickle that is not read; the message is a noun."""


class _Dtype:
    """An array type in the making."""

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _Refused(f"an array of type {code!r}")
        self.value = np.dtype(code)

    def set_state(self, state: tuple[Any, ...]) -> None:
        if any(part is not None for part in state[2:5]):
            raise _Refused("an array of records")
        if state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class _Array:
    """An array in the making."""

    def __init__(self, kind: Any, *_: Any) -> None:
        if kind is not _NDARRAY:
            raise _Refused(f"an array of the class {kind!r}")
        self.value: np.ndarray | None = None

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if self.value is not None or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise _Refused(f"an array of shape {shape!r}")
        if dtype.value.hasobject:  # numpy lists objects in C order, whatever the order of the array
            self.value = _object_array(content).reshape(shape)
        else:
            _check_bytes(content, math.prod(shape) * dtype.value.itemsize)
            self.value = np.frombuffer(content, dtype.value).reshape(shape, order="F" if fortran else "C")


class _Name:
    """Stands for a class that a file may name but not call."""


_NDARRAY = _Name()


def _object_array(items: list[Any]) -> np.ndarray:
    """Return a one-dimensional array of the items as they are, lists and arrays included."""
    values = np.empty(len(items), object)
    for index, item in enumerate(items):
        values[index] = item
    return values


def _check_bytes(content: Any, expected: int) -> None:
    if not isinstance(content, bytes) or len(content) != expected:
        raise _Refused(f"an array whose content is not the {expected} bytes that its shape asks for")


def _scalar(dtype: _Dtype, content: Any) -> Any:
    if dtype.value.hasobject or dtype.value.itemsize == 0:
        raise _Refused("a scalar without a fixed size")
    _check_bytes(content, dtype.value.itemsize)
    return np.frombuffer(content, dtype.value)[0]


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, as pickles of protocol 2 spell them (numpy before 1.17)."""
    if encoding != "latin1":
        raise _Refused(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _posix_path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _windows_path(*parts: str) -> str:
    return str(PureWindowsPath(*parts))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    **{
        (f"numpy.{core}.multiarray", name): made
        for core in ("core", "_core")
        for name, made in (("_reconstruct", _Array), ("scalar", _scalar))
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
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encoded,
    **{(module, "bytes"): _empty_bytes for module in ("builtins", "__builtin__")},
    **{(module, name): made for module in ("builtins", "__builtin__") for name, made in (("set", set), ("complex", complex))},
}

_CALLABLE = {id(made) for made in _ALLOWED.values() if made is not _NDARRAY}
_FORBIDDEN = (
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


class _Unpickler(pickle._Unpickler):
    """The standard library's unpickler with a closed list of names and without the operations that reach further."""

    dispatch: ClassVar[dict[int, Any]] = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in _FORBIDDEN
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"'{module}.{name}'") from None

    def load_reduce(self) -> None:
        arguments = self.stack.pop()  # type: ignore[attr-defined]
        function = self.stack[-1]  # type: ignore[attr-defined]
        if id(function) not in _CALLABLE:
            raise _Refused(f"a call of {function!r}")
        self.stack[-1] = function(*arguments)  # type: ignore[attr-defined]

    def load_build(self) -> None:
        state = self.stack.pop()  # type: ignore[attr-defined]
        instance = self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(instance, (_Array, _Dtype)):
            raise _Refused(f"a change of {instance!r}")
        instance.set_state(state)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build


def restricted_loads(data: bytes, *, source: str) -> Any:
    """Unpickle plain values and arrays; refuse everything else.

    Parameters
    ----------
    data
        The pickle.
    source
        File that it comes from, for messages.

    Returns
    -------
    object
        Numbers, text, bytes, lists, tuples, sets, dictionaries, dates and arrays; paths come as text.

    Raises
    ------
    FormatError
        If the pickle is damaged, or names anything that is not such a value.
    """
    try:
        return _resolve(_Unpickler(io.BytesIO(data)).load(), {}, 0)
    except _Refused as error:
        raise FormatError(
            f"'{source}' holds {error}, which is not read: a file must never be able to run code. "
            "Expected only numbers, text, lists, dictionaries, arrays, dates and paths. Get the file from its source again."
        ) from None
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise FormatError(
            f"'{source}' is damaged: {type(error).__name__}: {error}. Expected an array of Python objects as numpy.save "
            "writes it. Get the file from its source again."
        ) from error


_BUSY = object()


def _resolve(value: Any, known: dict[int, Any], depth: int) -> Any:
    """Replace the stand-ins for arrays, deep inside; each object once, whatever refers to it."""
    if not isinstance(value, (_Array, _Dtype, _Name, list, tuple, dict)) and not callable(value):
        return value
    if depth > _MAX_DEPTH or known.get(id(value)) is _BUSY:
        raise _Refused("values nested without end")
    if id(value) not in known:
        known[id(value)] = _BUSY
        known[id(value)] = _resolve_new(value, known, depth + 1)
    return known[id(value)]


def _resolve_new(value: Any, known: dict[int, Any], depth: int) -> Any:
    def items(values: Iterable[Any]) -> list[Any]:
        return [_resolve(item, known, depth) for item in values]

    if isinstance(value, _Array) and value.value is not None:
        if value.value.dtype.hasobject:
            return _object_array(items(value.value.ravel())).reshape(value.value.shape)
        return value.value
    if isinstance(value, dict):
        return dict(zip(value, items(value.values()), strict=True))
    if isinstance(value, list):
        return items(value)
    if isinstance(value, tuple):
        return tuple(items(value))
    if isinstance(value, _Dtype):
        return value.value
    raise _Refused(f"{value!r} as a value")
