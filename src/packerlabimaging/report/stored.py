"""What a report can take from a trial: results that may be missing, and raw files that may not be at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from packerlabimaging._provenance import UNS_KEY
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import MissingFileError, MissingInputError, NotComputedError, SyncError


def optional(trial: Any, name: str) -> Any:
    """Return an attribute of a trial, or None where it was not given, not computed, or its raw file is not at hand."""
    try:
        return getattr(trial, name, None)
    except (MissingFileError, MissingInputError, NotComputedError):
        return None


def clock_of_audit(audit: Any) -> FrameClock | None:
    """Return the frame clock of a sync audit, or None where the audit could not make one out."""
    try:
        found: FrameClock = audit.clock
    except SyncError:
        return None
    return found


def own(table: Any) -> Mapping[str, Any]:
    """Return what this package noted about a table."""
    noted: Mapping[str, Any] = table.uns.get(UNS_KEY, {})
    return noted


def pixel_size(trial: Any) -> tuple[float, float] | None:
    """Return the pixel size ``(y, x)`` in micrometres, from the table of cells or the metadata; None if unknown."""
    size = own(trial.cells).get("pixel_size_um") if trial.has("cells") else None
    if size is None:
        size = getattr(optional(trial, "metadata"), "pixel_size_um", None)
    return None if size is None else (float(size[0]), float(size[1]))


def counts(values: Any) -> str:
    """Return how often each value occurs, in words: ``"33 matched, 3 unmatched"``."""
    names, numbers = np.unique(np.asarray(values, dtype=str), return_counts=True)
    return ", ".join(f"{number} {name}" for name, number in sorted(zip(names, numbers, strict=True), key=lambda pair: -pair[1]))
