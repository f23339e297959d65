"""Finding recordings: every movie, signal file, protocol and segmentation below a folder that some reader recognises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packerlabimaging.errors import MissingFileError
from packerlabimaging.io.readers import Reader, find_readers

MAX_DEPTH = 6


@dataclass(frozen=True)
class Recording:
    """One thing that was found: where it is and the reader that recognised it."""

    path: Path
    reader: Reader

    @property
    def kind(self) -> str:
        """What it holds."""
        return self.reader.kind


def find_recordings(folder: str | Path, *, max_depth: int = MAX_DEPTH) -> list[Recording]:
    """Find everything below a folder that a reader recognises.

    A recognised folder is one recording and its files are not looked at again, except for folders in it: a protocol or a
    segmentation often lies inside a movie's folder. Hidden files and links are left out.

    Parameters
    ----------
    folder
        Where to look.
    max_depth
        How many folders deep.

    Raises
    ------
    MissingFileError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder '{folder}'. Check the path, and that its disk is connected.")
    found: list[Recording] = []
    _search(folder, max_depth, found)
    return found


def _search(folder: Path, depth: int, found: list[Recording]) -> None:
    readers = find_readers(folder)
    found += [Recording(folder, reader) for reader in readers]
    inner = {"segmentation", "photostim"}
    if any(reader.kind in inner for reader in readers):
        return  # plane folders, Targets/ and the like are parts of it
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            if depth > 0:
                _search(path, depth - 1, found)
        elif not readers:
            found += [Recording(path, reader) for reader in find_readers(path)]
