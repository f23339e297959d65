"""What lies in a PrairieView folder: its XML, and which image files are frames of which channel.

Names are those that PrairieView gives: ``<name>_Cycle00001_Ch2_000001.ome.tif`` (5.x), with ``_CurrentSettings`` before the
channel and ``.tif`` in 4.3, and ``<name>_Cycle00001_Ch3.tif`` for a cycle that the lab stacked into one file. Previews in
``References/`` and ``MIP/``, ``*Source.tif`` of line scans and ``*Reference.tif`` are never frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError
from packerlabimaging.io.tiff.names import FolderListing, list_folder

_IMAGE = re.compile(
    r"(?P<name>.+)_Cycle(?P<cycle>\d{1,9})(?:_(?P<settings>[^_]+))?_Ch(?P<channel>\d{1,9})(?:_(?P<number>\d{1,9}))?\.(?:ome\.)?tiff?",
    re.IGNORECASE,
)
_PVSCAN = re.compile(rb"<PVScan[\s>/]")


@dataclass(frozen=True, slots=True)
class ImageName:
    """What PrairieView's name of an image says; ``number`` is None for a stack of a whole cycle."""

    file: str
    name: str
    cycle: int
    channel: int
    number: int | None


def parse_image_name(file: str) -> ImageName | None:
    """Return what a file name says, or None if it is not one of an image that is a frame."""
    match = _IMAGE.fullmatch(file)
    if match is None:
        return None
    number = match["number"]
    return ImageName(file, match["name"], int(match["cycle"]), int(match["channel"]), None if number is None else int(number))


def is_pvscan(path: str | Path) -> bool:
    """Say whether a file is the XML of a scan, by its first bytes."""
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return _PVSCAN.search(start.replace(b"\0", b"")) is not None  # zero bytes: UTF-16


def is_prairieview_folder(path: Path) -> bool:
    """Say whether a folder holds a scan's XML, or images that PrairieView named. Looks at names and first bytes only."""
    with os.scandir(path) as entries:
        return any(parse_image_name(entry.name) is not None or _is_scan(path, entry.name) for entry in entries if entry.is_file())


def find_scans(folder: Path, names: Iterable[str] | None = None) -> list[str]:
    """Return the names of the scans' XML files in a folder (of ``names``, where the caller has listed it)."""
    return sorted(name for name in (os.listdir(folder) if names is None else names) if _is_scan(folder, name))


def _is_scan(folder: Path, name: str) -> bool:
    return name.lower().endswith(".xml") and is_pvscan(folder / name)


@dataclass(frozen=True, eq=False)
class RecordingFolder:
    """A recording's files.

    Parameters
    ----------
    xml
        The scan's XML, or None.
    listing
        The files directly in the folder.
    """

    xml: Path | None
    listing: FolderListing

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.listing.folder

    def require_xml(self) -> Path:
        """Return the XML.

        Raises
        ------
        MissingFileError
            If there is none.
        """
        if self.xml is None:
            raise MissingFileError(
                f"'{self.folder}' holds no XML of a scan (root PVScan): rate, pixel size and frame times are not known. "
                "Copy it from the rig, or give them when opening the movie (frame_rate_hz=, pixel_size_um=, metadata=)."
            )
        return self.xml

    def find_environment(self, name: str) -> Path | None:
        """Return the ``.env`` file of a recording of that name, None where there is none."""
        return self.folder / f"{name}.env" if self.listing.find([f"{name}.env"])[0] >= 0 else None

    def find_images(self) -> Iterator[ImageName]:
        """Yield the images with PrairieView's names, in no order."""
        for name in self.listing.names:
            image = parse_image_name(name)
            if image is not None:
                yield image

    @cached_property
    def stacks(self) -> dict[tuple[str, int, int], str]:
        """Files that hold a whole cycle of a channel, by ``(name, cycle, channel)``."""
        return {(image.name, image.cycle, image.channel): image.file for image in self.find_images() if image.number is None}


def find_recording(path: Path) -> RecordingFolder:
    """Return the files of a recording from its folder or its XML.

    Raises
    ------
    MissingFileError
        If there is no such path.
    AmbiguousInputError
        If the folder holds several scans.
    FormatError
        If the file is not the XML of a scan.
    """
    if not path.exists():
        raise MissingFileError(f"There is no file or folder '{path}'. Check the path, and that its disk is connected.")
    if path.is_dir():
        listing = list_folder(path)
        scans = find_scans(path, listing.names)
        if len(scans) > 1:
            raise AmbiguousInputError(
                f"'{path}' holds {len(scans)} scans: {', '.join(scans[:10])}. Pass the XML file of one of them."
            )
        return RecordingFolder(path / scans[0] if scans else None, listing)
    if not is_pvscan(path):
        raise FormatError(f"'{path}' is not the XML of a PrairieView scan. Expected one with the root element PVScan.")
    return RecordingFolder(path, list_folder(path.parent))
