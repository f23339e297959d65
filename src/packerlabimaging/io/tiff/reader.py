"""The reader of TIFF movies of any program: one stack, or a folder of numbered files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import AmbiguousInputError, FormatError, PackerLabImagingError
from packerlabimaging.io.interleaving import Interleaving, choose_channel, choose_plane
from packerlabimaging.io.movie_options import InterleavedOptions
from packerlabimaging.io.readers import Inspection, Reader, unreadable
from packerlabimaging.io.tiff.movie import FramePlaces, TiffMovie, Zeros
from packerlabimaging.io.tiff.names import FileNames, FolderListing, list_folder
from packerlabimaging.io.tiff.numbered import check_gaps, find_series, has_series
from packerlabimaging.io.tiff.stack import TiffStack, read_stack


@dataclass(frozen=True, kw_only=True)
class TiffOptions(InterleavedOptions):
    """Options of :meth:`TiffReader.open`, beside those of
    :class:`~packerlabimaging.io.movie_options.InterleavedOptions`.

    Parameters
    ----------
    pattern
        Glob pattern of the file names, where a folder holds several series.
    allow_gaps
        Join the files of a folder even where numbers are missing in between.
    """

    pattern: str | None = None
    allow_gaps: bool = False


class TiffReader(Reader):
    """TIFF stacks and folders of numbered TIFFs, classic and BigTIFF, from any program.

    It gives way to readers that know the program: a folder that PrairieView wrote belongs to ``prairieview``, which knows its
    order and times.
    """

    name = "tiff"
    kind = "movie"
    description = "a TIFF stack, or a folder of numbered TIFF files"
    generic = True
    options = TiffOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a TIFF file, or a folder that holds a numbered series of them."""
        try:
            if path.is_dir():
                with os.scandir(path) as entries:
                    return has_series(entry.name for entry in entries if entry.is_file())
            with path.open("rb") as file:
                return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        except OSError:
            return False

    def open(self, path: Path, **options: Any) -> TiffMovie:
        """Open a stack or a folder of numbered files, headers only.

        Parameters
        ----------
        options
            Those of :class:`TiffOptions`.

        Raises
        ------
        AmbiguousInputError
            If there are several channels or planes, or series of files, and none was chosen.
        MissingFileError
            If numbers are missing within a series.
        FormatError
            If a file is cut, damaged, or not made of greyscale images of one size and type.
        """
        chosen = TiffOptions(**options)
        images, findings = _find_images(path, pattern=chosen.pattern, allow_gaps=chosen.allow_gaps)
        order, source = _order(images, path, chosen), str(path)
        channels = tuple(str(number + 1) for number in range(order.n_channels))
        channel, plane = choose_channel(chosen.channel, channels, source), choose_plane(chosen.plane, order.n_planes, source)
        pages = order.images(images.n_images, channel=channel, plane=plane)
        shape = (len(pages), images.stack.first.height, images.stack.first.width)
        findings = (*findings, *order.findings(images.n_images, source))
        metadata = chosen.complete(_metadata(images.stack, order, shape), shape, source)
        return TiffMovie(
            images.places(pages),
            frame_shape_px=shape[1:],
            dtype=images.stack.dtype,
            metadata=metadata,
            source=str(path),
            findings=findings,
        )

    def inspect(self, path: Path) -> Inspection:
        """Describe a stack or a folder; what can't be read is a finding, not an error."""
        try:
            images, findings = _find_images(path, pattern=None, allow_gaps=True)
        except PackerLabImagingError as error:
            return Inspection(str(path), self.name, self.kind, {}, (unreadable(error, path),))
        stack, order = images.stack, images.stack.order or Interleaving()
        facts: dict[str, Any] = {
            "program": stack.program,
            "files": len(images.names),
            "images": images.n_images,
            "channels": order.n_channels,
            "planes": order.n_planes,
            "frame_shape_px": [stack.first.height, stack.first.width],
            "dtype": str(stack.dtype),
            "stored": stack.first.not_plain or "uncompressed",
            "frame_rate_hz": stack.frame_rate_hz,
            "pixel_size_um": None if stack.pixel_size_um is None else list(stack.pixel_size_um),
        }
        return Inspection(str(path), self.name, self.kind, facts, findings)


class _Images:
    """All images of a path, whatever their channel: the files, and how many images each holds."""

    def __init__(self, folder: Path, names: Sequence[str], stack: TiffStack, counts: Sequence[int] = ()) -> None:
        self.folder, self.names, self.stack = folder, names, stack
        self._one_page = len(names) > 1 and not counts
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.n_images = int(self._starts[-1]) if counts else stack.n_images if len(names) == 1 else len(names)

    def places(self, images: Sequence[int]) -> FramePlaces:
        """Return where some of the images lie."""
        if len(self.names) == 1:
            return FramePlaces(self.folder, self.names, Zeros(len(images)), images, False)
        if self._one_page:
            return FramePlaces(self.folder, self.names, images, Zeros(len(images)), True)
        file = np.searchsorted(self._starts, np.asarray(images), side="right") - 1
        page = np.asarray(images) - self._starts[file]
        return FramePlaces(self.folder, self.names, file, page, False)  # type: ignore[arg-type]


def _find_images(path: Path, *, pattern: str | None, allow_gaps: bool) -> tuple[_Images, tuple[Finding, ...]]:
    if not path.is_dir():
        stack = read_stack(str(path))
        return _Images(path.parent, (path.name,), stack), (*stack.findings, *_xml_beside(path))
    listing = list_folder(path)
    series = find_series(path, listing.names, pattern=pattern)
    findings = check_gaps(path, series, allow_gaps=allow_gaps)
    names = FileNames.of(series.names)
    first = read_stack(f"{path}/{names[0]}")
    findings = (*findings, *first.findings)
    if first.n_images == 1:
        _check_sizes(listing, names, first)
        return _Images(path, names, first), findings
    counts = [first.n_images, *(read_stack(f"{path}/{name}").n_images for name in names[1:])]
    return _Images(path, names, first, counts), findings


def _xml_beside(path: Path) -> tuple[Finding, ...]:
    """Tell where the rate of a stack of PrairieView images is to be had."""
    from packerlabimaging.io.prairieview.folder import find_scans, parse_image_name

    if parse_image_name(path.name) is None or not find_scans(path.parent):
        return ()
    return (
        Finding(
            "xml-beside",
            "The file lies in a PrairieView folder, whose XML knows rate, pixel size and frame times; a single file does not.",
            "info",
            where=str(path),
            advice=f"Open the folder '{path.parent}' to have them.",
        ),
    )


def _check_sizes(listing: FolderListing, names: FileNames, first: TiffStack) -> None:
    """Raise a FormatError if a file of a series of single frames is too short for the pixels of one."""
    if first.first.not_plain:
        return
    needed = first.first.n_bytes
    sizes = listing.sizes[listing.find(names)]
    cut = np.flatnonzero(sizes < needed)
    if cut.size:
        raise FormatError(
            f"'{listing.folder / names[cut[0]]}' is cut: page 1 needs {needed:,} bytes of pixels, but the whole file has "
            f"{sizes[cut[0]]:,}{f' ({cut.size} files are cut)' if cut.size > 1 else ''}. Copy it again from the rig."
        )


def _order(images: _Images, path: Path, options: TiffOptions) -> Interleaving:
    """Return how images are interleaved: as the user says, else as the file does."""
    given = options.interleaving(images.n_images, str(path))
    if given is None and images.stack.unnamed_axes:
        raise AmbiguousInputError(
            f"'{path}' holds images along the axes {images.stack.unnamed_axes} without saying which are channels, planes and "
            "time. Pass n_channels= and n_planes=."
        )
    return given or images.stack.order or Interleaving()


def _metadata(stack: TiffStack, order: Interleaving, shape: tuple[int, int, int]) -> ImagingMetadata:
    """Return what a stack says of itself."""
    return ImagingMetadata(
        frame_shape_px=shape[1:],
        n_frames=shape[0],
        n_planes=order.n_planes,
        channels=tuple(str(number + 1) for number in range(order.n_channels)) if order.n_channels > 1 else (),
        frame_rate_hz=stack.frame_rate_hz,
        frame_rate_source=None if stack.frame_rate_hz is None else "nominal",
        pixel_size_um=stack.pixel_size_um,
        program=stack.program,
    )
