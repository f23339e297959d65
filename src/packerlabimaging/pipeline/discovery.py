"""Finding recordings: every movie, signal file, protocol and segmentation below a folder that some reader recognises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packerlabimaging.errors import MissingFileError
from packerlabimaging.io.readers import KINDS, Reader, find_readers
from packerlabimaging.trials.experiment import EXPERIMENT_FILE

MAX_DEPTH = 6
IMAGE_SUFFIXES = (".tif", ".tiff")


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

    A recognised folder is one recording, and what belongs to it is not listed again: the files of a movie with its reference
    images and projections, the target images of a protocol, the planes of a segmentation. Signals, a protocol or a
    segmentation inside a movie's folder are found, and so are recordings beside the ``suite2p/`` of a folder. Results folders
    of this package, hidden files and links are left out.

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
    _search(folder, max_depth, found, kinds=frozenset(KINDS))
    return found


def _search(folder: Path, depth: int, found: list[Recording], *, kinds: frozenset[str]) -> None:
    if (folder / EXPERIMENT_FILE).is_file() and (folder / "receipts").is_dir():
        return
    here = [reader for reader in find_readers(folder) if reader.kind in kinds]
    found += [Recording(folder, reader) for reader in here]
    own = {reader.kind for reader in here}
    if "photostim" in own:
        return
    inner = kinds - own  # a movie's References/ are no movies, a segmentation's planes no further segmentations
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            part = "segmentation" in own and any(reader.kind == "segmentation" for reader in find_readers(path))
            if depth > 0 and not part:
                _search(path, depth - 1, found, kinds=inner)
        elif not ("movie" in own and path.suffix.lower() in IMAGE_SUFFIXES):  # thousands of frames need no second look
            found += [Recording(path, reader) for reader in find_readers(path) if reader.kind in inner]
