"""Fingerprints of input files: enough to notice that a file was replaced or changed, quick enough for a large recording.

A file's fingerprint is its size and a hash of its first and last 64 kB; a folder's is the list of its files with their
sizes, and the fingerprints of its first, middle and last files and of all small ones. Paths are relative to the folder, so
moved data keep their fingerprint. A change in the middle of a large file that leaves its size as it was is not seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from packerlabimaging.errors import MissingFileError

EDGE_BYTES = 1 << 16
SMALL_BYTES = 1 << 20
MAX_SMALL_FILES = 200


def fingerprint(path: Path) -> str:
    """Return the fingerprint of a file or folder.

    Raises
    ------
    MissingFileError
        If there is no such file or folder.
    """
    if path.is_file():
        return f"file:{path.stat().st_size}:{_edges_hash(path)}"
    if path.is_dir():
        return _folder(path)
    raise MissingFileError(f"There is no file or folder '{path}'. Check the path, and that its disk is connected.")


def _edges_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(EDGE_BYTES))
        size = path.stat().st_size
        if size > EDGE_BYTES:
            file.seek(max(EDGE_BYTES, size - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()[:32]


def _folder(path: Path) -> str:
    files = sorted(_walk(path), key=lambda file: file[0].replace("/", "\0"))  # as paths are sorted: part by part
    digest = hashlib.sha256()
    for name, size in files:
        digest.update(f"{name}\0{size}\n".encode())
    sampled = {files[index] for index in (0, len(files) // 2, -1)} if files else set()
    small = (file for file in files if file[1] <= SMALL_BYTES and not file[0].lower().endswith(".tif"))
    for name, _ in sorted(sampled | set(islice(small, MAX_SMALL_FILES)), key=lambda file: file[0].replace("/", "\0")):
        digest.update(_edges_hash(path / name).encode())
    return f"folder:{len(files)}:{sum(size for _, size in files)}:{digest.hexdigest()[:32]}"


def _walk(folder: Path, within: str = "") -> Iterator[tuple[str, int]]:
    """Yield the path (relative, with slashes) and size of each file: a recording has tens of thousands."""
    with os.scandir(folder / within) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder, f"{within}{entry.name}/")
            elif entry.is_file():
                yield f"{within}{entry.name}", entry.stat().st_size
