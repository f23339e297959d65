"""Argument checks that word every bad value the same way: what was given, what is possible, what was perhaps meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

import numpy as np

from packerlabimaging.errors import ParameterError

T = TypeVar("T")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` where a choice resembles ``word``, otherwise an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def check_choice(name: str, value: T, choices: Collection[T]) -> T:
    """Return ``value`` if it is one of ``choices``.

    Raises
    ------
    ParameterError
        If it is not; the message lists the choices and suggests the nearest.
    """
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        hint = did_you_mean(str(value), [str(choice) for choice in choices])
        raise ParameterError(f"{name} = {value!r} is not possible. Choose one of: {listed}.{hint}")
    return value


def check_positive(name: str, value: float, *, zero: bool = False) -> float:
    """Return ``value`` as a float if it is finite and > 0 (or >= 0 with ``zero``).

    Raises
    ------
    ParameterError
        If it is not a finite number in range.
    """
    expected = "a finite number >= 0" if zero else "a finite number > 0"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} = {value!r} is not a number. Give {expected}.") from None
    if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ParameterError(f"{name} = {value!r} is out of range. Give {expected}.")
    return number


def check_length(name: str, values: Any, expected: int, *, per: str) -> Any:
    """Return ``values`` if it has ``expected`` items, one per ``per``.

    Raises
    ------
    ParameterError
        If the length differs.
    """
    if len(values) != expected:
        raise ParameterError(f"{name} has {len(values)} items. Expected {expected}, one per {per}.")
    return values


def frozen_array(values: Any, dtype: Any = None, *, ndim: int | None = None, name: str = "array") -> np.ndarray:
    """Return a read-only copy of ``values`` as an array, checked for its number of dimensions.

    Raises
    ------
    ParameterError
        If ``ndim`` is given and differs.
    """
    array = np.array(values, dtype=dtype, copy=True)
    if ndim is not None and array.ndim != ndim:
        raise ParameterError(f"{name} has {array.ndim} dimensions. Expected {ndim}.")
    array.flags.writeable = False
    return array
