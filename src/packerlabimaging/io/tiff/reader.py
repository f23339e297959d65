"""The reader of TIFF movies of any program: one stack, or a folder of numbered files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import AmbiguousInputError, FormatError, PackerLabImagingError, ParameterError
from packerlabimaging.io.readers import Inspection, Reader
from packerlabimaging.io.tiff.movie import TiffMovie
from packerlabimaging.io.tiff.numbered import check_gaps, find_series, has_series, list_files
from packerlabimaging.io.tiff.stack import ImageOrder, TiffStack, read_stack


class TiffReader(Reader):
    """TIFF stacks and folders of numbered TIFFs, classic and BigTIFF, from any program.

    It gives way to readers that know the program: a folder that PrairieView wrote belongs to ``prairieview``, which knows its
    order and times.
    """

    name = "tiff"
    kind = "movie"
    description = "a TIFF stack, or a folder of numbered TIFF files"
    generic = True

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a TIFF file, or a folder that holds a numbered series of them."""
        try:
            if path.is_dir():
                return has_series(list_files(path))
            with path.open("rb") as file:
                return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        except OSError:
            return False

    def open(  # type: ignore[override]  # the options by name
        self,
        path: Path,
        *,
        channel: int | str | None = None,
        plane: int | None = None,
        metadata: ImagingMetadata | None = None,
        frame_rate_hz: float | None = None,
        pixel_size_um: float | tuple[float, float] | None = None,
        n_channels: int | None = None,
        n_planes: int | None = None,
        pattern: str | None = None,
        allow_gaps: bool = False,
    ) -> TiffMovie:
        """Open a stack or a folder of numbered files, headers only.

        Parameters
        ----------
        channel
            One-based channel, where several are interleaved.
        plane
            Zero-based plane, where several are interleaved.
        metadata
            How the movie was taken, by hand.
        frame_rate_hz, pixel_size_um
            The same, only these two; the pixel size as ``(y, x)`` or one number.
        n_channels, n_planes
            How many channels and planes are interleaved: image 0 is channel 1 of plane 0, then come the other channels,
            then the next plane, then the next time. By default as the file describes it (ImageJ, OME), else 1.
        pattern
            Glob pattern of the file names, where a folder holds several series.
        allow_gaps
            Join the files of a folder even where numbers are missing in between.

        Raises
        ------
        AmbiguousInputError
            If there are several channels or planes, or series of files, and none was chosen.
        MissingFileError
            If numbers are missing within a series.
        FormatError
            If a file is cut, damaged, or not made of greyscale images of one size and type.
        """
        source, findings = _find_frames(path, pattern=pattern, allow_gaps=allow_gaps)
        order = _order(source, path, n_channels, n_planes)
        n_images = source.n_images
        per_time = order.n_channels * order.n_planes
        n_frames = n_images // per_time
        if n_images % per_time:
            findings = (*findings, _incomplete(path, n_images, per_time))
        pages = order.pages(n_frames, _channel_index(channel, order, path), _plane_index(plane, order, path))
        shape = (n_frames, source.stack.first.height, source.stack.first.width)
        return TiffMovie(
            source.folder,
            source.names,
            file_index=source.file_index(pages),
            page_index=source.page_index(pages),
            one_page=source.one_page,
            shape=shape,
            dtype=source.stack.dtype,
            metadata=_metadata(source.stack, order, shape, metadata, frame_rate_hz, pixel_size_um),
            source=str(path),
            findings=findings,
        )

    def inspect(self, path: Path) -> Inspection:
        """Describe a stack or a folder; what can't be read is a finding, not an error."""
        try:
            source, findings = _find_frames(path, pattern=None, allow_gaps=True)
        except PackerLabImagingError as error:
            finding = Finding("unreadable", str(error), "error", where=str(path))
            return Inspection(str(path), self.name, self.kind, {}, (finding,))
        stack, order = source.stack, source.stack.order or ImageOrder()
        facts: dict[str, Any] = {
            "program": stack.program,
            "files": len(source.names),
            "images": source.n_images,
            "channels": order.n_channels,
            "planes": order.n_planes,
            "frame_shape_px": [stack.first.height, stack.first.width],
            "dtype": str(stack.dtype),
            "stored": stack.first.not_plain or "uncompressed",
            "frame_rate_hz": stack.frame_rate_hz,
            "pixel_size_um": None if stack.pixel_size_um is None else list(stack.pixel_size_um),
        }
        return Inspection(str(path), self.name, self.kind, facts, findings)


class _Frames:
    """All images of a path, whatever their channel: the files, and how many images each holds."""

    def __init__(self, folder: Path, names: Sequence[str], stack: TiffStack, counts: Sequence[int] | None) -> None:
        self.folder, self.names, self.stack = folder, tuple(names), stack
        self.one_page = counts is not None and stack.n_images == 1
        self._starts = None if counts is None else np.concatenate([[0], np.cumsum(counts)])
        self.n_images = stack.n_images if self._starts is None else int(self._starts[-1])

    def file_index(self, images: range) -> Sequence[int]:
        """Return the file of each image."""
        if self._starts is None:
            return _Zeros(len(images))
        return np.searchsorted(self._starts, np.asarray(images), side="right") - 1  # type: ignore[return-value]

    def page_index(self, images: range) -> Sequence[int]:
        """Return the page of each image in its file."""
        if self._starts is None:
            return images
        return np.asarray(images) - self._starts[self.file_index(images)]


class _Zeros(Sequence[int]):
    """``n`` zeros in no memory: the file of each frame of a single stack, however long."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        if not -self._n <= index < self._n:
            raise IndexError(index)
        return 0


def _find_frames(path: Path, *, pattern: str | None, allow_gaps: bool) -> tuple[_Frames, tuple[Finding, ...]]:
    if not path.is_dir():
        stack = read_stack(str(path))
        return _Frames(path.parent, (path.name,), stack, None), (*stack.findings, *_xml_beside(path))
    sizes = list_files(path)
    series = find_series(path, sizes, pattern=pattern)
    findings = check_gaps(path, series, allow_gaps=allow_gaps)
    first = read_stack(f"{path}/{series.names[0]}")
    if first.n_images == 1:
        check_sizes(path, series.names, sizes, first)
        return _Frames(path, series.names, first, np.ones(len(series.names), np.int64).tolist()), (*findings, *first.findings)
    counts = [first.n_images, *(read_stack(f"{path}/{name}").n_images for name in series.names[1:])]
    return _Frames(path, series.names, first, counts), (*findings, *first.findings)


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


def check_sizes(folder: Path, names: Sequence[str], sizes: dict[str, int], first: TiffStack) -> None:
    """Raise a FormatError if a file of a series of single frames is too short for the pixels of one."""
    if first.first.not_plain:
        return
    needed = first.first.n_bytes
    cut = [name for name in names if sizes.get(name, needed) < needed]
    if cut:
        raise FormatError(
            f"'{folder / cut[0]}' is cut: page 1 needs {needed:,} bytes of pixels, but the whole file has {sizes[cut[0]]:,}"
            f"{f' ({len(cut)} files are cut)' if len(cut) > 1 else ''}. Copy it again from the rig."
        )


def _order(source: _Frames, path: Path, n_channels: int | None, n_planes: int | None) -> ImageOrder:
    if n_channels is None and n_planes is None:
        if source.stack.unnamed_axes:
            raise AmbiguousInputError(
                f"'{path}' holds images along the axes {source.stack.unnamed_axes} without saying which are channels, planes and "
                "time. Pass n_channels= and n_planes=."
            )
        return source.stack.order or ImageOrder()
    for name, value in (("n_channels", n_channels), ("n_planes", n_planes)):
        if value is not None and (value != int(check_positive(name, value)) or value > source.n_images):
            raise ParameterError(
                f"{name} = {value} is not possible: '{path}' has {source.n_images} images. Give a whole number up to that."
            )
    return ImageOrder("CZT", int(n_channels or 1), int(n_planes or 1))


def _channel_index(channel: int | str | None, order: ImageOrder, path: Path) -> int:
    choices = range(1, order.n_channels + 1)
    if channel is None:
        if order.n_channels > 1:
            raise AmbiguousInputError(
                f"'{path}' has {order.n_channels} channels: {', '.join(map(str, choices))}. Choose with channel=."
            )
        return 0
    text = str(channel)
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number not in choices:
        raise ParameterError(f"channel = {channel!r} is not in '{path}'. Its channels: {', '.join(map(str, choices))}.")
    return number - 1


def _plane_index(plane: int | None, order: ImageOrder, path: Path) -> int:
    if plane is None:
        if order.n_planes > 1:
            raise AmbiguousInputError(f"'{path}' has {order.n_planes} planes: 0 to {order.n_planes - 1}. Choose with plane=.")
        return 0
    if plane not in range(order.n_planes):
        raise ParameterError(f"plane = {plane!r} is not in '{path}'. Its planes: 0 to {order.n_planes - 1}.")
    return plane


def _incomplete(path: Path, n_images: int, per_time: int) -> Finding:
    return Finding(
        "incomplete-last-volume",
        f"{n_images} images are no multiple of {per_time} (channels x planes): the last {n_images % per_time} were left out.",
        where=str(path),
        evidence={"n_images": n_images, "images_per_time": per_time},
    )


def pixel_size_pair(pixel_size_um: float | tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a pixel size given by hand as ``(y, x)``.

    Raises
    ------
    ParameterError
        If it is neither one positive number nor two.
    """
    if pixel_size_um is None:
        return None
    sizes = pixel_size_um if isinstance(pixel_size_um, Sequence) else (pixel_size_um, pixel_size_um)
    if isinstance(sizes, str) or len(sizes) != 2:
        raise ParameterError(f"pixel_size_um = {pixel_size_um!r} is not possible. Give (y, x) in micrometres, or one number.")
    return check_positive("pixel_size_um", sizes[0]), check_positive("pixel_size_um", sizes[1])


def check_given(metadata: ImagingMetadata, shape: tuple[int, int, int], source: str) -> ImagingMetadata:
    """Return metadata given by hand for a movie of ``shape``.

    Raises
    ------
    ParameterError
        If they are of another frame size, or name times for another number of frames.
    """
    if metadata.frame_shape_px != shape[1:]:
        raise ParameterError(f"The metadata are for frames of {metadata.frame_shape_px}. Expected {shape[1:]}, as in '{source}'.")
    times = metadata.frame_times_s
    if times is not None and len(times) != shape[0]:
        raise ParameterError(f"The metadata name the times of {len(times)} frames. Expected {shape[0]}, as in '{source}'.")
    return metadata.replace(n_frames=shape[0])


def _metadata(
    stack: TiffStack,
    order: ImageOrder,
    shape: tuple[int, int, int],
    given: ImagingMetadata | None,
    frame_rate_hz: float | None,
    pixel_size_um: float | tuple[float, float] | None,
) -> ImagingMetadata:
    metadata = given and check_given(given, shape, stack.path)
    if metadata is None:
        metadata = ImagingMetadata(
            frame_shape_px=shape[1:],
            n_frames=shape[0],
            n_planes=order.n_planes,
            channels=tuple(str(number + 1) for number in range(order.n_channels)) if order.n_channels > 1 else (),
            frame_rate_hz=stack.frame_rate_hz,
            frame_rate_source=None if stack.frame_rate_hz is None else "nominal",
            pixel_size_um=stack.pixel_size_um,
            program=stack.program,
        )
    if frame_rate_hz is not None:
        metadata = metadata.replace(frame_rate_hz=frame_rate_hz, frame_rate_source="given")
    if pixel_size_um is not None:
        metadata = metadata.replace(pixel_size_um=pixel_size_pair(pixel_size_um))
    return metadata
