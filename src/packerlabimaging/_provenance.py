"""Provenance: which function, with which parameters and versions, made or changed a table."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

UNS_KEY = "packerlabimaging"
"""The one place in ``uns`` that belongs to this package."""


def to_plain(value: Any) -> Any:
    """Return ``value`` as JSON-compatible values: arrays become lists, paths and dates strings, dataclasses dicts."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [to_plain(item) for item in items]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return str(value)


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, packerlabimaging, numpy and the named packages, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in ("packerlabimaging", "numpy", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Return the present time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record(table: AnnData, function: str, /, **parameters: Any) -> None:
    """Append one entry to the table's own log, ``uns["packerlabimaging"]["history"]``.

    Parameters
    ----------
    table
        The table that was made or changed.
    function
        Public name of the function, e.g. ``"pp.compute_dff"``.
    parameters
        What it was called with; arrays are stored by their shape only.
    """
    shown = {
        name: f"array{value.shape}" if isinstance(value, np.ndarray) and value.size > 64 else to_plain(value)
        for name, value in parameters.items()
    }
    entry = json.dumps({"function": function, "parameters": shown, "versions": versions(), "time": now()}, sort_keys=True)
    own = table.uns.setdefault(UNS_KEY, {})
    own["history"] = [*(str(item) for item in own.get("history", [])), entry]


def history(table: AnnData) -> list[dict[str, Any]]:
    """Return the entries that :func:`record` wrote, oldest first."""
    return [json.loads(str(item)) for item in table.uns.get(UNS_KEY, {}).get("history", [])]
