"""Fingerprints of input files: enough to notice that a file was replaced or changed, quick enough for a large recording.

A file's fingerprint is its size and a hash of its first and last 64 kB; a folder's is the list of its files with their
sizes, and the fingerprints of its first, middle and last files and of all small ones. Paths are relative to the folder, so
moved data keep their fingerprint. A change in the middle of a large file that leaves its size as it was is not seen.
"""

from __future__ import annotations

import hashlib
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
    files = sorted(file for file in path.rglob("*") if file.is_file())
    sizes = [file.stat().st_size for file in files]
    digest = hashlib.sha256()
    for file, size in zip(files, sizes, strict=True):
        digest.update(f"{file.relative_to(path).as_posix()}\0{size}\n".encode())
    sampled = {files[index] for index in (0, len(files) // 2, -1)} if files else set()
    small = [file for file, size in zip(files, sizes, strict=True) if size <= SMALL_BYTES and file.suffix.lower() != ".tif"]
    for file in sorted(sampled | set(small[:MAX_SMALL_FILES])):
        digest.update(_edges_hash(file).encode())
    return f"folder:{len(files)}:{sum(sizes)}:{digest.hexdigest()[:32]}"
