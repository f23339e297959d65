"""ScanImage's header: lines ``key = value`` in MATLAB's notation, in one of four places of a TIFF file.

Versions from 2016 on write them once: in BigTIFF files in a block before the first page (with the regions of interest as
JSON after it), else in the tag Software of the first page. Versions 4, 5 and 2015 repeat them in each page's description, with
the prefix ``scanimage.SI4.``, ``scanimage.SI5.`` or ``scanimage.SI.``; version 3.8 writes ``state.`` lines there. Keys are
kept here without their prefix. Only values that are asked for are parsed; nothing is evaluated.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packerlabimaging.errors import FormatError
from packerlabimaging.io.tiff.files import OpenTiff
from packerlabimaging.io.tiff.layout import DESCRIPTION, SOFTWARE

ARTIST = 315
"""Tag that holds the regions of interest of a file that is no BigTIFF."""

MAGIC, VERSIONS = 117637889, (3, 4)
"""Of that block (ScanImage BigTIFF specification)."""

_LARGEST_BLOCK = 32 << 20
_LINE = re.compile(r"^\s*(scanimage\.SI[45]?|SI[45]?|state)\.([\w.]+)\s*=[ \t]*(.*?)\s*$", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?(?:Inf|NaN|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)", re.IGNORECASE)
_TEXT = re.compile(r"'((?:[^']|'')*)'")


@dataclass(frozen=True)
class ScanImageHeader:
    """Values of a header by their keys.

    Parameters
    ----------
    path
        The file.
    prefix
        ``"SI"`` (2016 on), ``"scanimage.SI"`` (2015), ``"scanimage.SI5"``, ``"scanimage.SI4"`` or ``"state"`` (3.8).
    values
        Text of each value, by key without prefix: ``"hRoiManager.scanFrameRate"``.
    rois
        Regions of interest, as JSON; empty where there are none.
    """

    path: str
    prefix: str
    values: Mapping[str, str]
    rois: Mapping[str, Any]

    def numbers(self, *keys: str) -> tuple[float, ...]:
        """Return the finite numbers of the first of ``keys`` that is there, row by row; empty where there are none."""
        for key in keys:
            if key in self.values:
                found = (float(text) for text in _NUMBER.findall(self.values[key]))
                return tuple(number for number in found if math.isfinite(number))
        return ()

    def number(self, *keys: str) -> float | None:
        """Return the first number of the first of ``keys`` that has one."""
        return next((numbers[0] for key in keys if (numbers := self.numbers(key))), None)

    def positive(self, *keys: str) -> float | None:
        """Return the first number > 0 among the values of ``keys``."""
        return next((number for key in keys if (number := self.number(key)) is not None and number > 0), None)

    def count(self, *keys: str, zero: bool = False) -> int | None:
        """Return the first whole number > 0 (or 0) among the values of ``keys``, up to 2 ** 40."""
        least = 0 if zero else 1
        for key in keys:
            number = self.number(key)
            if number is not None and number == int(number) and least <= number <= 1 << 40:
                return int(number)
        return None

    def flag(self, *keys: str) -> bool:
        """Say whether the first of ``keys`` that is there is true (``true``, ``1``)."""
        for key in keys:
            if key in self.values:
                return self.values[key].lower() == "true" or bool(self.number(key))
        return False

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the quoted texts of a value."""
        return tuple(text.replace("''", "'") for text in _TEXT.findall(self.values.get(key, "")))

    @property
    def version(self) -> str | None:
        """Version of the program as written, e.g. ``"2020.1.4"``."""
        parts = []
        for key in ("VERSION_MAJOR", "VERSION_MINOR", "VERSION_UPDATE"):
            if key in self.values and (part := self.values[key].strip("'\" ")):
                parts.append(part)
        if parts:
            return ".".join(parts)
        number = self.number("versionMajor", "software.version")
        return {"scanimage.SI5": "5", "scanimage.SI": "2015"}.get(self.prefix) if number is None else f"{number:g}"


def read_scanimage_header(path: str | Path) -> ScanImageHeader:
    """Read the header of a ScanImage TIFF file.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is no TIFF file, or no program called ScanImage wrote it.
    """
    with OpenTiff(str(path)) as file:
        found = find_header(file)
    if found is None:
        raise FormatError(f"'{path}' has no header of ScanImage. Open it with reader='tiff', and say by hand how it was taken.")
    return found


def find_header(file: OpenTiff) -> ScanImageHeader | None:
    """Return the header of an open file, or None where it has none."""
    block, rois = _read_block(file)
    tags = file.tags(file.ifd(file.header.first_ifd, 0))
    for text in (block, tags.text(SOFTWARE), tags.text(DESCRIPTION)):
        if "SI" not in text and "state." not in text:
            continue
        lines = _LINE.findall(text.replace("\r\n", "\n").replace("\r", "\n"))
        if lines and _is_scanimage(lines):
            rois = rois or _json(tags.text(ARTIST))
            return ScanImageHeader(file.path, lines[0][0], {key: value for _, key, value in lines}, rois)
    return None


def _is_scanimage(lines: list[tuple[str, str, str]]) -> bool:
    """Say whether lines are ScanImage's: version 3 has ``state.acq``, later ones many keys of one prefix."""
    if lines[0][0] == "state":
        return any(key.startswith("acq.") for _, key, _ in lines)
    return any(
        key in ("VERSION_MAJOR", "versionMajor") or key.startswith(("hRoiManager.", "hChannels.", "scanFrame"))
        for _, key, _ in lines
    )


def _read_block(file: OpenTiff) -> tuple[str, Mapping[str, Any]]:
    """Return text and regions of the block before the first page of a BigTIFF, empty where there is none."""
    start = file.fetch(16, 16)
    if not file.header.big or len(start) < 16:
        return "", {}
    magic, version, n_text, n_rois = struct.unpack("<IIII", start)
    if magic != MAGIC or version not in VERSIONS:
        return "", {}
    if n_text + n_rois > min(_LARGEST_BLOCK, file.n_bytes):
        raise FormatError(
            f"'{file.path}' claims a header of {n_text + n_rois:,} bytes in a file of {file.n_bytes:,}. "
            "The file is cut or damaged: copy it again."
        )
    text = file.fetch(32, n_text).split(b"\0", 1)[0].decode("utf-8", "replace")
    return text, _json(file.fetch(32 + n_text, n_rois).split(b"\0", 1)[0].decode("utf-8", "replace"))


def _json(text: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
