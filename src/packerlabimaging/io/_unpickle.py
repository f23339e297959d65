"""Reading of pickled arrays without the power of pickle.

NumPy stores arrays of Python objects as pickles, and a pickle is a program: loading one from elsewhere can run anything.
Suite2p's ``stat.npy``, ``ops.npy`` and their kind hold only numbers, text, lists, dictionaries, arrays, dates and paths,
so this reader knows only these. Everything else is refused by name, and nothing that the file names is ever imported.

It builds on the Python version of the standard library's unpickler, whose every operation can be seen and replaced (and
which, unlike the C version, keeps no table whose size the file may choose). Arrays and their types are rebuilt here from
checked parts, never by numpy's own unpickling, which trusts its input.

What a file may cost is bounded, too: a few bytes of a pickle can ask for a long list once more, for a new copy of a large
text, or for dictionary keys that all collide. Each operation is charged for the memory that it takes, and the whole may
take a few times the size of the file.
"""

from __future__ import annotations

import datetime
import math
import mmap
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, Literal

import numpy as np

from packerlabimaging.errors import FormatError

_DTYPE = re.compile(r"[|<>=]?(?:[biufc]\d{1,2}|\?|O8?|[SU]\d{0,9})")
_MAX_DEPTH = 64
"""Lists within lists; Suite2p needs about five."""

_MAX_VALUES = 10_000_000
"""Values in all lists and dictionaries; what is referred to twice counts twice, as it does for whoever walks through it."""

_MAX_PIECE_BYTES = 256 << 20
"""Largest single text or array content."""

_MAX_LINE_BYTES = 16 << 20
"""Longest line of the oldest, textual kind of pickle."""

_FREE_BYTES, _BYTES_PER_BYTE = 64 << 20, 16
"""Memory that a pickle may take: this much, and this much more for each byte of its own size."""


class _Refused(Exception):
    """Something in the pickle that is not read; the message is a noun."""


class _Dtype:
    """An array type in the making."""

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _Refused(f"an array of type {_told(code)}")
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
            raise _Refused("an array of a class of its own")
        self.value: np.ndarray | None = None

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if self.value is not None:
            raise _Refused("an array that is filled twice")
        self.value = _filled(content, dtype, shape, "F" if fortran else "C")


def _filled(content: Any, dtype: _Dtype, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise _Refused("an array whose shape is no list of sizes")
    if dtype.value.hasobject:  # numpy lists objects in C order, whatever the order of the array
        if not isinstance(content, list):
            raise _Refused("an array of objects without a list of them")
        return _object_array(content).reshape(shape)
    _check_bytes(content, math.prod(shape) * dtype.value.itemsize)
    if dtype.value.kind == "U" and np.any(np.frombuffer(content, dtype.value.str[0] + "u4") > 0x10FFFF):
        raise _Refused("text with characters that there are not")
    return np.frombuffer(content, dtype.value).reshape(shape, order=order)


def _array_of_buffer(content: Any, dtype: _Dtype, shape: Any, order: str, axes: Any = None) -> _Array:
    """An array as pickles of protocol 5 spell it."""
    array = _Array(_NDARRAY)
    array.value = _filled(content, dtype, shape, "F" if order == "F" else "C")
    if order == "K" and axes is not None:
        array.value = array.value.transpose(axes)
    return array


class _Sparse:
    """A compressed sparse matrix of scipy in the making; it becomes the dictionary of its parts."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}

    def set_state(self, state: Any) -> None:
        if not isinstance(state, dict) or not {"data", "indices", "indptr", "_shape"} <= set(state):
            raise _Refused("a sparse matrix without its parts")
        self.parts = {"format": self.name, "shape": state["_shape"]}
        self.parts |= {name: state[name] for name in ("data", "indices", "indptr")}


class _Csc(_Sparse):
    name = "csc"


class _Csr(_Sparse):
    name = "csr"


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
        raise _Refused("bytes that are not spelled in latin1")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _posix_path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _windows_path(*parts: str) -> str:
    return str(PureWindowsPath(*parts))


def _ordered(pairs: Iterable[tuple[Any, Any]] = ()) -> dict[Any, Any]:
    """A dictionary in its order, as all are today."""
    return {_checked_key(key): value for key, value in pairs}


def _set(items: Iterable[Any] = ()) -> set[Any]:
    return {_checked_key(item) for item in items}


def _checked_key(key: Any) -> Any:
    """Return what can be a key of a dictionary: nothing of which a file could choose very many that collide."""
    if type(key) in (str, bytes, bool) or key is None or (type(key) is int and abs(key) < 1 << 32):
        return key
    raise _Refused(f"a dictionary or set with a key of the type '{type(key).__name__}'")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    **{
        (f"numpy.{core}.{module}", name): made
        for core in ("core", "_core")
        for module, name, made in (
            ("multiarray", "_reconstruct", _Array),
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
    **{(module, name): made for module in ("builtins", "__builtin__") for name, made in (("set", _set), ("complex", complex))},
}

_MADE_EMPTY = (_Csc, _Csr)
_CALLABLE = {id(made) for made in _ALLOWED.values() if made is not _NDARRAY and not any(made is empty for empty in _MADE_EMPTY)}
_FORBIDDEN = (
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.FROZENSET),
)

_COSTS = {
    **dict.fromkeys((pickle.MEMOIZE, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MARK), 100),
    **dict.fromkeys((pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3), 80),
    **dict.fromkeys((pickle.LIST, pickle.DICT, pickle.SETITEM, pickle.SETITEMS, pickle.ADDITEMS), 100),
    **dict.fromkeys((pickle.REDUCE, pickle.NEWOBJ, pickle.EMPTY_SET), 250),
}
_COST = 32
"""Bytes of memory that an operation takes at most, besides its content (measured with CPython 3.11)."""


def _charged(load: Callable[[Any], None], cost: int) -> Callable[[Any], None]:
    def charge_and_load(unpickler: _Unpickler) -> None:
        unpickler.charge(cost)
        load(unpickler)

    return charge_and_load


class _Content:
    """The bytes of a pickle, read in pieces of a bounded size."""

    def __init__(self, data: bytes | mmap.mmap, start: int) -> None:
        self.data, self.at = data, start

    def read(self, size: int) -> bytes:
        if size > _MAX_PIECE_BYTES:
            raise _Refused(f"a single value of {size} bytes")
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.at, self.at + _MAX_LINE_BYTES)
        if end < 0:
            raise _Refused("a line without end")
        return self.read(end + 1 - self.at)


class _Unpickler(pickle._Unpickler):
    """The standard library's unpickler with a closed list of names and without the operations that reach further."""

    dispatch: ClassVar[dict[int, Any]]
    stack: list[Any]

    def __init__(self, data: bytes | mmap.mmap, start: int) -> None:
        super().__init__(_Content(data, start))
        self._left = _FREE_BYTES + _BYTES_PER_BYTE * (len(data) - start)

    def charge(self, n_bytes: int) -> None:
        """Take a piece of the memory that the pickle may use."""
        self._left -= n_bytes
        if self._left < 0:
            raise _Refused("values that need far more memory than the file has bytes")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"'{_shortened(module)}.{_shortened(name)}'") from None

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if id(function) not in _CALLABLE:
            raise _Refused(f"a call of {_told(function)}")
        self._charge_for(arguments)
        self.stack[-1] = function(*arguments)

    def load_build(self) -> None:
        state = self.stack.pop()
        instance = self.stack[-1]
        if not isinstance(instance, (_Array, _Dtype, _Sparse)):
            raise _Refused(f"a change of {_told(instance)}")
        if not isinstance(instance, _Sparse):
            self._charge_for(state)
        instance.set_state(state)

    def load_newobj(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not any(kind is made for made in _MADE_EMPTY) or type(arguments) is not tuple or arguments:
            raise _Refused(f"a new {_told(kind)}")
        self.stack.append(kind())

    def _charge_for(self, arguments: tuple[Any, ...]) -> None:
        """Charge for a copy of the arguments: they can stand in the file once and be copied many times."""
        if not isinstance(arguments, tuple):
            raise _Refused("a call without a list of arguments")
        text = sum(len(part) for part in arguments if isinstance(part, (str, bytes)))
        self.charge(2 * text + 100 * sum(len(part) for part in arguments if isinstance(part, (list, tuple))))

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.stack.append(self.read(size))  # type: ignore[attr-defined]

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise _Refused(f"items of {_told(target)}")
        self.charge(50 * len(items))
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value

    def load_additems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        if not isinstance(self.stack[-1], set):
            raise _Refused(f"items of {_told(self.stack[-1])}")
        self.charge(100 * len(items))
        self.stack[-1].update(_set(items))


_OWN = {
    pickle.REDUCE: _Unpickler.load_reduce,
    pickle.BUILD: _Unpickler.load_build,
    pickle.NEWOBJ: _Unpickler.load_newobj,
    pickle.BYTEARRAY8: _Unpickler.load_bytearray8,
    pickle.SETITEM: _Unpickler.load_setitem,
    pickle.SETITEMS: _Unpickler.load_setitems,
    pickle.DICT: _Unpickler.load_dict,
    pickle.ADDITEMS: _Unpickler.load_additems,
}
_Unpickler.dispatch = {
    code: _charged(_OWN.get(bytes([code]), load), _COSTS.get(bytes([code]), _COST))
    for code, load in pickle._Unpickler.dispatch.items()
    if bytes([code]) not in _FORBIDDEN
}


def restricted_loads(data: bytes | mmap.mmap, *, source: str, start: int = 0) -> Any:
    """Unpickle plain values and arrays; refuse everything else.

    Parameters
    ----------
    data
        The pickle, or a file mapped into memory.
    source
        File that it comes from, for messages.
    start
        Where the pickle begins in ``data``.

    Returns
    -------
    object
        Numbers, text, bytes, lists, tuples, sets, dictionaries, dates and arrays; paths come as text, a compressed sparse
        matrix of scipy as a dictionary of its ``format``, ``shape``, ``data``, ``indices`` and ``indptr``.

    Raises
    ------
    FormatError
        If the pickle is damaged, names anything that is not such a value, or asks for more memory than its size explains.
    """
    try:
        return _Resolver().resolve(_Unpickler(data, start).load(), 0)
    except _Refused as error:
        raise FormatError(
            f"'{source}' holds {error}, which is not read: a file must never be able to run code or to fill the memory. "
            "Expected only numbers, text, lists, dictionaries, arrays, dates and paths. Get the file from its source again."
        ) from None
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise FormatError(
            f"'{source}' is damaged: {type(error).__name__}: {_shortened(str(error))}. Expected an array of Python objects as "
            "numpy.save writes it. Get the file from its source again."
        ) from error


def _told(value: Any) -> str:
    """Name a value in a message; never written out, since values can refer to themselves."""
    if isinstance(value, str):
        return repr(value[:40])
    return getattr(value, "__name__", f"a value of the type '{type(value).__name__}'")


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} ..."


_BUSY = object()


class _Resolver:
    """Replaces the stand-ins for arrays, deep inside; each object once, whatever refers to it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, int]] = {}
        self._n_values = 0

    def resolve(self, value: Any, depth: int) -> Any:
        """Return the value with all arrays in their places."""
        self._count(1)
        if not isinstance(value, (_Array, _Dtype, _Sparse, _Name, list, tuple, dict)) and not callable(value):
            return value
        if depth > _MAX_DEPTH or self._known.get(id(value), (None, 0))[0] is _BUSY:
            raise _Refused("values nested without end")
        if id(value) in self._known:
            resolved, n_values = self._known[id(value)]
            self._count(n_values)
            return resolved
        before = self._n_values
        self._known[id(value)] = (_BUSY, 0)
        resolved = self._resolve_new(value, depth + 1)
        self._known[id(value)] = (resolved, self._n_values - before)
        return resolved

    def _count(self, n_values: int) -> None:
        self._n_values += n_values
        if self._n_values > _MAX_VALUES:
            raise _Refused(f"more than {_MAX_VALUES} values")

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [self.resolve(item, depth) for item in values]

    def _resolve_new(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Array) and value.value is not None:
            if value.value.dtype.hasobject:
                return _object_array(self._items(value.value.ravel(), depth)).reshape(value.value.shape)
            return value.value
        if isinstance(value, _Sparse):
            value = value.parts
        if isinstance(value, dict):
            return dict(zip(value, self._items(value.values(), depth), strict=True))
        if isinstance(value, list):
            return self._items(value, depth)
        if isinstance(value, tuple):
            return tuple(self._items(value, depth))
        if isinstance(value, _Dtype):
            return value.value
        raise _Refused(f"{_told(value)} as a value")
