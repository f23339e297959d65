"""What identifies the code of a step, so that a changed hook makes its results stale.

Our own hooks carry version numbers. A user's code is followed by name: from the step's method to every method and property
that it names and that a class of the user's defines, and from there on, also through our own code that calls the user's.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

_OURS = "packerlabimaging."


def code_of(cls: type, names: Iterable[str]) -> tuple[str, ...]:
    """Return what identifies the code that is reached from attributes of a class.

    Parameters
    ----------
    cls
        The class whose objects run it.
    names
        Attributes that are called or read first.

    Returns
    -------
    tuple of str
        For each attribute that was reached and that a class outside this package defines: class, name, and a hash of its
        source. Sorted; empty where all code is ours.
    """
    reached: set[str] = set()
    waiting = list(names)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for base in cls.__mro__:
            if name not in vars(base):
                continue
            value = vars(base)[name]
            functions = list(_functions(value))
            if not base.__module__.startswith(_OURS) and base is not object:
                found.add(f"{base.__module__}:{base.__qualname__}.{name} {_hash(functions or [value])}")
            waiting += [inner for function in functions for inner in names_in(function.__code__)]
    return tuple(sorted(found))


def _functions(value: Any) -> Iterator[Any]:
    """Yield the Python functions behind a method, property, static or class method."""
    candidates = (value.fget, value.fset) if isinstance(value, property) else (getattr(value, "__func__", value),)
    for candidate in candidates:
        function = inspect.unwrap(candidate) if callable(candidate) and not isinstance(candidate, type) else candidate
        if hasattr(function, "__code__"):
            yield function


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the attributes and globals that a function names, those of functions inside it as well."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def _hash(values: Iterable[Any]) -> str:
    return hashlib.sha256("\n".join(_text(value) for value in values).encode()).hexdigest()[:16]


def _text(value: Any) -> str:
    if not hasattr(value, "__code__"):
        return f"{type(value).__name__} {value!r}" if isinstance(value, (bool, int, float, str, tuple)) else type(value).__name__
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):  # typed into an interpreter that keeps no source
        return repr((value.__code__.co_code, value.__code__.co_consts))
