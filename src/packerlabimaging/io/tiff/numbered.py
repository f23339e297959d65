"""A folder of numbered TIFF files: which files belong together, in which order, and which are missing."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, MissingFileError, UnknownFormatError

TIFF_SUFFIXES = (".tif", ".tiff", ".btf")


@dataclass(frozen=True)
class NumberedFiles:
    """Files whose names differ by one number only, in its order.

    Parameters
    ----------
    names
        File names.
    numbers
        Their numbers, ascending.
    pattern
        The name with ``*`` for the number.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    pattern: str


def is_tiff_name(name: str) -> bool:
    """Say whether a name ends like a TIFF file and is not hidden."""
    return name.lower().endswith(TIFF_SUFFIXES) and not name.startswith(".")


def has_series(names: Iterable[str]) -> bool:
    """Say whether at least two of the names are TIFF files of one numbered series; looks no farther than to these two."""
    lonely: dict[str, str] = {}  # by what stays without the last number
    for name in names:
        if is_tiff_name(name):
            stem, suffix = _without_suffix(name)
            number = re.search(r"[0-9]+(?=[^0-9]*$)", stem)
            key = name if number is None else f"{stem[: number.start()]}*{stem[number.end() :]}{suffix}"
            if key in lonely:
                return True
            lonely[key] = name
    return any(len(members) > 1 for members in _group(list(lonely.values())).values())


def find_series(folder: Path, names: Iterable[str], *, pattern: str | None = None) -> NumberedFiles:
    """Return the one series of numbered TIFF files of a folder.

    Parameters
    ----------
    pattern
        Glob pattern that chooses the files where there are several series, e.g. ``"*_Ch2_*.tif"``.

    Raises
    ------
    UnknownFormatError
        If there are no such files.
    AmbiguousInputError
        If the names make several series; their patterns are listed.
    """
    chosen = sorted(name for name in names if is_tiff_name(name) and (pattern is None or fnmatch.fnmatch(name, pattern)))
    if not chosen:
        hint = f" that match pattern={pattern!r}" if pattern else ""
        raise UnknownFormatError(f"'{folder}' holds no TIFF files{hint}. Pass the folder that holds the frames.")
    if len(chosen) == 1:
        return NumberedFiles((chosen[0],), (0,), chosen[0])
    groups = _group(chosen)
    if len(groups) > 1:
        listed = "; ".join(f"{key} ({len(files)} files)" for key, files in list(groups.items())[:10])
        raise AmbiguousInputError(
            f"'{folder}' holds TIFF files of {len(groups)} kinds: {listed}. Choose with pattern=, or pass one file."
        )
    key, files = next(iter(groups.items()))
    files.sort()
    if len({number for number, _ in files}) < len(files):
        raise AmbiguousInputError(
            f"'{folder}' holds files of the same number in '{key}'. Choose with pattern=, or pass one file."
        )
    return NumberedFiles(tuple(name for _, name in files), tuple(number for number, _ in files), key)


def _group(names: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
    """Group names by what stays when the number that counts is taken out: the one that varies, else the last one."""
    split = {name: (re.split(r"(\d+)", _without_suffix(name)[0]), _without_suffix(name)[1]) for name in names}
    varying = _varying_token([tokens for tokens, _ in split.values()])
    groups: dict[str, list[tuple[int, str]]] = {}
    for name, (tokens, suffix) in split.items():
        place = varying if varying is not None else len(tokens) - 2
        if place < 0:
            groups.setdefault(name, []).append((0, name))
        else:
            key = "".join([*tokens[:place], "*", *tokens[place + 1 :], suffix])
            groups.setdefault(key, []).append((int(tokens[place]), name))
    return groups


def _varying_token(names: Sequence[Sequence[str]]) -> int | None:
    if len({len(tokens) for tokens in names}) != 1:
        return None
    varying = [place for place, values in enumerate(zip(*names, strict=True)) if len(set(values)) > 1]
    return varying[0] if len(varying) == 1 and varying[0] % 2 else None  # odd places hold the numbers


def _without_suffix(name: str) -> tuple[str, str]:
    match = re.search(r"(\.ome)?\.[^.]+$", name, re.IGNORECASE)
    return (name[: match.start()], match.group()) if match else (name, "")


def find_gaps(numbers: Sequence[int]) -> list[range]:
    """Return the numbers missing within an ascending series of a constant step (its smallest)."""
    steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    step = min(steps, default=1)
    return [range(before + step, before + gap, step) for before, gap in zip(numbers, steps, strict=False) if gap > step]


def format_ranges(numbers: Iterable[int], *, limit: int = 8) -> str:
    """Return numbers as ranges: ``"1-1812"``, ``"3, 7-9"``; at most ``limit`` of them, then how many more there are."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs[:limit])
    rest = sum(last - first + 1 for first, last in runs[limit:])
    return f"{shown} and {rest} more" if rest else shown


def check_gaps(folder: Path, series: NumberedFiles, *, allow_gaps: bool) -> tuple[Finding, ...]:
    """Return what the numbering shows.

    Raises
    ------
    MissingFileError
        If numbers are missing in between and ``allow_gaps`` is False.
    """
    gaps = find_gaps(series.numbers)
    if not gaps:
        return ()
    n_missing, missing = sum(len(gap) for gap in gaps), list(islice(chain.from_iterable(gaps), 10_000))
    message = f"{n_missing} files are missing in the numbering of '{series.pattern}': {format_ranges(missing)}"
    if not allow_gaps:
        raise MissingFileError(
            f"{message}, in '{folder}'. Expected all from {series.numbers[0]} to {series.numbers[-1]}. "
            "Copy them again, or pass allow_gaps=True to join the rest without them (frame times are then unknown)."
        )
    return (
        Finding(
            "missing-frames",
            f"{message}; the movie joins what is there.",
            where=str(folder),
            advice="Frame numbers and times after the first gap are not those of the recording.",
            evidence={"n_missing": n_missing, "missing": missing[:1000]},
        ),
    )
