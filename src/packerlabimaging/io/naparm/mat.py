"""A struct of NAPARM's MATLAB files, and its fields as numbers or text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.errors import FormatError
from packerlabimaging.io.untrusted.mat import read_mat


def load_struct(path: Path, name: str) -> Mapping[str, Any]:
    """Return a variable that is a struct of one element.

    Raises
    ------
    FormatError
        If the file is damaged, too large, of MATLAB's 7.3 format, or holds no such struct.
    """
    found = read_mat(path, name)
    if not isinstance(found, Mapping):
        raise FormatError(f"'{path}' is not a NAPARM file: it holds no struct '{name}'. Copy it again from the rig.")
    return found


def column(
    values: Mapping[str, Any], name: str, path: Path, *, count: int | None = None, default: float | None = None
) -> np.ndarray:
    """Take one field of a struct as floats; ``default`` for all ``count`` items where it is absent or empty.

    Raises
    ------
    FormatError
        If it is needed and absent, does not hold numbers, or has another length.
    """
    found = values.get(name)
    optional = count is not None and default is not None
    if found is None and not optional:
        raise FormatError(f"'{path}' has no field points.{name}. It is not NAPARM's, or of an unknown version.")
    if found is None or (isinstance(found, (str, list)) and not found):
        found = np.zeros(0)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise FormatError(f"'{path}': points.{name} does not hold numbers. The file is damaged or not NAPARM's.")
    numbers = found.ravel(order="F").astype(np.float64)
    if not optional or len(numbers) == count:
        return numbers
    if len(numbers) == 0:
        return np.full(count or 0, default)
    raise FormatError(f"'{path}' holds {count} X but {len(numbers)} {name}. The file is damaged or not NAPARM's.")


def text(values: Mapping[str, Any], name: str) -> str | None:
    """Take one field of a struct as text; None where it is absent or holds none."""
    found = values.get(name)
    return found if isinstance(found, str) else None
