"""PrairieView's state values (``PVStateShard``): numbers and texts by key, some by axis or index, in all three ways of writing.

``<PVStateValue key= value=>`` holds one value, its children ``<IndexedValue index= value=>`` one per axis, laser or channel,
and ``<SubindexedValues index=><SubindexedValue subindex= value=>`` several per axis (z: 0 is the motor, 1 the piezo or lens).
PrairieView 4.3 writes flat ``<Key key="micronsPerPixel_XAxis" value=>``, which is read as the indexed form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

State = Mapping[str, "StateValue"]
"""State values by key."""
NO_STATE: State = {}

_FLAT_KEY = re.compile(r"(.+)_(XAxis|YAxis|ZAxis|\d+)")


@dataclass(frozen=True, slots=True)
class StateItem:
    """One written value and its description (e.g. the laser's name)."""

    value: str
    description: str = ""

    @property
    def number(self) -> float | None:
        """The value as a finite number, or None."""
        return to_number(self.value)


@dataclass(frozen=True, slots=True)
class StateValue:
    """The value of one key.

    Parameters
    ----------
    single
        The value itself, or None where there are only indexed ones.
    indexed
        Values by index: an axis name or a number as text.
    subindexed
        Values by index and subindex.
    """

    single: StateItem | None = None
    indexed: Mapping[str, StateItem] = field(default_factory=dict)
    subindexed: Mapping[str, Mapping[str, StateItem]] = field(default_factory=dict)

    def items(self) -> dict[str, StateItem]:
        """Return all values by a name: the description where one has it alone, otherwise the index."""
        items = dict(self.indexed)
        for index, values in self.subindexed.items():
            items.update({f"{index}_{subindex}" if len(values) > 1 else index: item for subindex, item in values.items()})
        if self.single is not None:
            items[""] = self.single
        described = [item.description for item in items.values()]
        return {
            item.description if item.description and described.count(item.description) == 1 else index: item
            for index, item in items.items()
        }


def to_number(text: str | None) -> float | None:
    """Return a text as a finite number, or None where it is none."""
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def text(state: State, key: str) -> str | None:
    """Return the text of a key, None where it is missing or empty."""
    value = state.get(key)
    return value.single.value or None if value is not None and value.single is not None else None


def number(state: State, key: str) -> float | None:
    """Return the number of a key, None where it is missing or none."""
    return to_number(text(state, key))


def axis_number(state: State, key: str, axis: str) -> float | None:
    """Return the number of a key for an axis; of several per axis the sum (z: motor and piezo)."""
    value = state.get(key)
    if value is None:
        return None
    if axis in value.indexed:
        return value.indexed[axis].number
    parts = [item.number for item in value.subindexed.get(axis, {}).values()]
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def numbers(state: State, key: str) -> dict[str, float]:
    """Return all numbers of a key by description or index."""
    value = state.get(key)
    named = {} if value is None else {name: item.number for name, item in value.items().items()}
    return {name: found for name, found in named.items() if found is not None}


def fold_flat_keys(flat: Mapping[str, StateItem]) -> dict[str, StateValue]:
    """Turn the flat keys of PrairieView 4.3 into state values."""
    state: dict[str, StateValue] = {}
    indexed: dict[str, dict[str, StateItem]] = {}
    for key, item in flat.items():
        match = _FLAT_KEY.fullmatch(key)
        if match is None:
            state[key] = StateValue(item)
        else:
            indexed.setdefault(match[1], {})[match[2]] = item
    for key, items in indexed.items():
        single = state.get(key)
        state[key] = StateValue(single.single if single else None, items)
    return state


class ShardCollector:
    """Collects the values of one ``PVStateShard``, element by element."""

    def __init__(self) -> None:
        self._values: list[tuple[str, str, str, str, str]] = []  # key, index, subindex, value, description
        self._flat: list[tuple[str, str, str]] = []
        self._key = self._index = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the start of an element within the shard."""
        get = attributes.get
        value, description = get("value"), get("description", "")
        if tag == "PVStateValue":
            self._key = get("key", "")
            if value is not None:
                self._values.append((self._key, "", "", value, description))
        elif tag == "IndexedValue":
            self._values.append((self._key, get("index", ""), "", value or "", description))
        elif tag == "SubindexedValues":
            self._index = get("index", "")
        elif tag == "SubindexedValue":
            self._values.append((self._key, self._index, get("subindex", "0"), value or "", description))
        elif tag == "Key":
            self._flat.append((get("key", ""), value or "", description))

    def end(self, tag: str) -> None:
        """Take its end."""
        if tag == "SubindexedValues":
            self._index = ""

    def key(self) -> tuple[Any, ...]:
        """Return what two shards of the same values have in common."""
        return tuple(self._values), tuple(self._flat)

    def state(self) -> State:
        """Return the values by key."""
        state: dict[str, StateValue] = fold_flat_keys({key: StateItem(value, text) for key, value, text in self._flat})
        grouped: dict[str, list[tuple[str, str, StateItem]]] = {}
        for key, index, subindex, value, text in self._values:
            grouped.setdefault(key, []).append((index, subindex, StateItem(value, text)))
        for key, values in grouped.items():
            subindexed: dict[str, dict[str, StateItem]] = {}
            for index, subindex, item in values:
                if subindex:
                    subindexed.setdefault(index, {})[subindex] = item
            state[key] = StateValue(
                next((item for index, subindex, item in values if not index and not subindex), None),
                {index: item for index, subindex, item in values if index and not subindex},
                subindexed,
            )
        return state
