"""File names by the ten thousand, in the memory of two numbers each.

The images of a recording are named alike but for their numbers. A name is kept as a pattern, which it shares with its like,
and the digits of its last numbers as one integer; both give the name back to the letter.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_THREE_NUMBERS = re.compile(r"(.*[^0-9]|)([0-9]{1,6})([^0-9]+)([0-9]{1,3})([^0-9]+)([0-9]{1,9})([^0-9]*)", re.DOTALL)
_ONE_NUMBER = re.compile(r"(.*[^0-9]|)([0-9]{1,18})([^0-9]*)", re.DOTALL)

_Pattern = tuple[str | int, ...]
"""Texts and, between them, lengths of numbers."""


class FileNames(Sequence[str]):
    """A sequence of names, read-only once made by :class:`NamesBuilder`."""

    def __init__(self, patterns: Sequence[_Pattern], pattern_index: np.ndarray, digits: np.ndarray) -> None:
        self._patterns = tuple(patterns)
        self._pattern_index = pattern_index
        self._digits = digits

    @classmethod
    def of(cls, names: Iterable[str]) -> FileNames:
        """Keep names, in their order."""
        if isinstance(names, FileNames):
            return names
        builder = NamesBuilder()
        for name in names:
            builder.append(name)
        return builder.finish()

    def __len__(self) -> int:
        return len(self._digits)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self._name(int(self._pattern_index[index]), int(self._digits[index]))

    def __iter__(self) -> Iterator[str]:
        for pattern, digits in zip(self._pattern_index, self._digits, strict=True):
            yield self._name(int(pattern), int(digits))

    def _name(self, pattern: int, digits: int) -> str:
        parts = self._patterns[pattern]
        text = str(digits).zfill(sum(parts[1::2]))  # type: ignore[arg-type]  # every second part is a length
        name, at = str(parts[0]), 0
        for length, literal in zip(parts[1::2], parts[2::2], strict=True):
            name += f"{text[at : at + int(length)]}{literal}"
            at += int(length)
        return name

    def take(self, index: np.ndarray) -> FileNames:
        """Return the names at some positions."""
        return FileNames(self._patterns, self._pattern_index[index], self._digits[index])

    def find_repeated(self, *labels: np.ndarray) -> int | None:
        """Return the position of a name that came before (with the same labels, e.g. page numbers), None where there is none."""
        keys = (*labels, self._digits, self._pattern_index)
        order = np.lexsort(keys)
        same = np.ones(max(0, len(order) - 1), bool)
        for key in keys:
            same &= key[order[1:]] == key[order[:-1]]
        repeated = order[1:][same]
        return int(repeated.min()) if repeated.size else None

    def find(self, names: FileNames) -> np.ndarray:
        """Return the position of each of ``names`` in this sequence, -1 where it is not here; shape ``(len(names),)``."""
        own = {pattern: number for number, pattern in enumerate(self._patterns)}
        order, starts = _by_pattern(self)
        wanted, wanted_starts = _by_pattern(names)
        found = np.full(len(names), -1, np.int64)
        for number, pattern in enumerate(names._patterns):
            asked = wanted[wanted_starts[number] : wanted_starts[number + 1]]
            if pattern not in own or not asked.size:
                continue
            here = order[starts[own[pattern]] : starts[own[pattern] + 1]]
            place = np.searchsorted(self._digits[here], names._digits[asked])
            place[place == len(here)] = 0
            if here.size:
                found[asked] = np.where(self._digits[here[place]] == names._digits[asked], here[place], -1)
        return found


def _by_pattern(names: FileNames) -> tuple[np.ndarray, np.ndarray]:
    """Return the order by pattern and number, and where in it each pattern starts."""
    order = np.lexsort((names._digits, names._pattern_index))
    return order, np.searchsorted(names._pattern_index[order], np.arange(len(names._patterns) + 1))


class NamesBuilder:
    """Collects names one by one."""

    def __init__(self) -> None:
        self._known: dict[_Pattern, int] = {}
        self._pattern_index = array("i")
        self._digits = array("q")

    def append(self, name: str) -> None:
        """Add a name after the others."""
        match = _THREE_NUMBERS.fullmatch(name)
        if match is not None:
            before, first, between, second, after, third, end = match.groups()
            pattern: _Pattern = (before, len(first), between, len(second), after, len(third), end)
            digits = int(first + second + third)
        elif match := _ONE_NUMBER.fullmatch(name):
            pattern, digits = (match[1], len(match[2]), match[3]), int(match[2])
        else:
            pattern, digits = (name,), 0
        self._pattern_index.append(self._known.setdefault(pattern, len(self._known)))
        self._digits.append(digits)

    def finish(self) -> FileNames:
        """Return the names."""
        return FileNames(tuple(self._known), np.array(self._pattern_index, np.int32), np.array(self._digits, np.int64))


@dataclass(frozen=True, eq=False)
class FolderListing:
    """The files directly in a folder.

    Parameters
    ----------
    folder
        The folder.
    names
        Names of the files, in no order.
    sizes
        Their sizes in bytes, shape ``(n_files,)``.
    """

    folder: Path
    names: FileNames
    sizes: np.ndarray

    def find(self, names: Iterable[str]) -> np.ndarray:
        """Return the position of each name in the listing, -1 where there is no such file."""
        return self.names.find(FileNames.of(names))


def list_folder(folder: Path) -> FolderListing:
    """List the files directly in a folder."""
    names, sizes = NamesBuilder(), array("q")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                names.append(entry.name)
                sizes.append(entry.stat().st_size)
    return FolderListing(folder, names.finish(), np.array(sizes, np.int64))
