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

import mmap
import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from packerlabimaging.errors import FormatError
from packerlabimaging.io.untrusted.pickled_values import (
    CALLABLE,
    KNOWN,
    MADE_EMPTY,
    PickledArray,
    PickledDtype,
    PickledSparse,
    Refused,
    Unmade,
    checked_key,
    make_set,
    object_array,
    shortened,
    told,
)

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
            raise Refused(f"a single value of {size} bytes")
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.at, self.at + _MAX_LINE_BYTES)
        if end < 0:
            raise Refused("a line without end")
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
            raise Refused("values that need far more memory than the file has bytes")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return KNOWN[module, name]
        except KeyError:
            raise Refused(f"'{shortened(module)}.{shortened(name)}'") from None

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if id(function) not in CALLABLE:
            raise Refused(f"a call of {told(function)}")
        self._charge_for(arguments)
        self.stack[-1] = function(*arguments)

    def load_build(self) -> None:
        state = self.stack.pop()
        instance = self.stack[-1]
        if not isinstance(instance, (PickledArray, PickledDtype, PickledSparse)):
            raise Refused(f"a change of {told(instance)}")
        if not isinstance(instance, PickledSparse):
            self._charge_for(state)
        instance.set_state(state)

    def load_newobj(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not any(kind is made for made in MADE_EMPTY) or type(arguments) is not tuple or arguments:
            raise Refused(f"a new {told(kind)}")
        self.stack.append(kind())

    def _charge_for(self, arguments: tuple[Any, ...]) -> None:
        """Charge for a copy of the arguments: they can stand in the file once and be copied many times."""
        if not isinstance(arguments, tuple):
            raise Refused("a call without a list of arguments")
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
            raise Refused(f"items of {told(target)}")
        self.charge(50 * len(items))
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def load_additems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        if not isinstance(self.stack[-1], set):
            raise Refused(f"items of {told(self.stack[-1])}")
        self.charge(100 * len(items))
        self.stack[-1].update(make_set(items))


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
    except Refused as error:
        raise FormatError(
            f"'{source}' holds {error}, which is not read: a file must never be able to run code or to fill the memory. "
            "Expected only numbers, text, lists, dictionaries, arrays, dates and paths. Get the file from its source again."
        ) from None
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise FormatError(
            f"'{source}' is damaged: {type(error).__name__}: {shortened(str(error))}. Expected an array of Python objects as "
            "numpy.save writes it. Get the file from its source again."
        ) from error


_BUSY = object()


class _Resolver:
    """Replaces the stand-ins for arrays, deep inside; each object once, whatever refers to it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, int]] = {}
        self._n_values = 0

    def resolve(self, value: Any, depth: int) -> Any:
        """Return the value with all arrays in their places."""
        self._count(1)
        if not isinstance(value, (PickledArray, PickledDtype, PickledSparse, Unmade, list, tuple, dict)) and not callable(value):
            return value
        if depth > _MAX_DEPTH or self._known.get(id(value), (None, 0))[0] is _BUSY:
            raise Refused("values nested without end")
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
            raise Refused(f"more than {_MAX_VALUES} values")

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [self.resolve(item, depth) for item in values]

    def _resolve_new(self, value: Any, depth: int) -> Any:
        if isinstance(value, PickledArray) and value.value is not None:
            if value.value.dtype.hasobject:
                return object_array(self._items(value.value.ravel(), depth)).reshape(value.value.shape)
            return value.value
        if isinstance(value, PickledSparse):
            value = value.parts
        if isinstance(value, dict):
            return dict(zip(value, self._items(value.values(), depth), strict=True))
        if isinstance(value, list):
            return self._items(value, depth)
        if isinstance(value, tuple):
            return tuple(self._items(value, depth))
        if isinstance(value, PickledDtype):
            return value.value
        raise Refused(f"{told(value)} as a value")
