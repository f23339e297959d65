"""How values are written in a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from packerlabimaging._provenance import to_plain


def show(value: Any) -> str:
    """Return a value as a person would write it: four significant digits, yes and no, a dash for what is not known."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, str):
        return value or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (tuple, list, np.ndarray)) and len(value) <= 12 and not any(isinstance(item, Mapping) for item in value):
        return ", ".join(show(item) for item in value) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {show(item)}" for key, item in value.items()) or "–"
    return str(value)


def pretty_json(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(to_plain(value), indent=2, ensure_ascii=False)
