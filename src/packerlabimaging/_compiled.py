"""Compiling numerical kernels with numba: one decorator, so that every kernel is compiled alike.

A module of kernels is imported inside the functions that use it, so that importing the package loads no compiler. Each kernel
has a twin in plain numpy in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile a function on its first call, without the interpreter's lock; the outcome is kept on disk where that can be."""
    try:
        return cast(Kernel, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no folder to keep it in can be written: it is compiled anew in every process
        return cast(Kernel, numba.njit(nogil=True)(function))
