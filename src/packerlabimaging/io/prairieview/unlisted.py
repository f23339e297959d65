"""PrairieView images without their XML: what their names tell, and what they can't.

The names hold cycle, channel and number. One cycle is taken as frames in time. With several cycles of several numbers the
number may be a plane (a volume a cycle) or a time (a t-series of cycles): that is asked, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError, UnknownFormatError
from packerlabimaging.io.interleaving import choose_plane
from packerlabimaging.io.prairieview.folder import ImageName, RecordingFolder
from packerlabimaging.io.prairieview.frames import FrameFiles, choose_channel, place_frames
from packerlabimaging.io.tiff.numbered import format_ranges
from packerlabimaging.io.tiff.stack import read_stack


@dataclass(frozen=True)
class PlainFolder:
    """The frames of one channel of one plane of a folder without XML."""

    folder: Path
    name: str
    files: FrameFiles
    channels: Mapping[int, str]
    channel: int
    plane: int
    n_planes: int

    def metadata(self) -> ImagingMetadata:
        """Return what is known without the XML."""
        return ImagingMetadata(
            frame_shape_px=self.files.shape[1:],
            n_frames=self.files.shape[0],
            n_planes=self.n_planes,
            channels=tuple(self.channels.values()),
            program="PrairieView",
        )

    def missing_xml(self, metadata: ImagingMetadata) -> tuple[Finding, ...]:
        """Return the finding that says what is missing, and how to give it."""
        lacking = {
            "frame rate": (metadata.frame_rate_hz, "frame_rate_hz="),
            "pixel size": (metadata.pixel_size_um, "pixel_size_um=(y, x)"),
            "frame times": (metadata.frame_times_s, "metadata= (or the frame clock)"),
        }
        missing = [name for name, (value, _) in lacking.items() if value is None]
        give = [how for value, how in lacking.values() if value is None]
        return (
            Finding(
                "no-xml",
                f"The scan's XML (root PVScan) is not in the folder: {', '.join(missing) or 'nothing needed'} "
                f"{'is' if len(missing) == 1 else 'are'} unknown; the order of the frames was taken from the file names.",
                "info" if metadata.frame_rate_hz and metadata.pixel_size_um else "warning",
                where=str(self.folder),
                advice=f"Copy the XML from the rig, or pass {', '.join(give)}." if give else "Copy the XML from the rig.",
                evidence={"unknown": missing},
            ),
        )


def find_unlisted_frames(
    recording: RecordingFolder, *, channel: int | str | None, plane: int | None, n_planes: int | None, allow_gaps: bool
) -> PlainFolder:
    """Return the frames of one channel of one plane from the file names.

    Raises
    ------
    UnknownFormatError
        If there are no images.
    AmbiguousInputError
        If there are several recordings, channels or planes, or number may mean plane or time.
    MissingFileError
        If numbers are missing in between.
    FormatError
        If cycles have unequal numbers of planes.
    """
    folder = recording.folder
    images = sorted(recording.find_images(), key=lambda image: (image.cycle, image.number or 0, image.file))
    if not images:
        raise UnknownFormatError(f"'{folder}' holds no PrairieView images and no XML of a scan. Pass the recording's own folder.")
    names = sorted({image.name for image in images})
    if len(names) > 1:
        raise AmbiguousInputError(
            f"'{folder}' holds images of {len(names)} recordings: {', '.join(names[:10])}. Give each a folder."
        )
    channels = {number: f"Ch{number}" for number in sorted({image.channel for image in images})}
    number = choose_channel(channel, channels, list(channels), folder)
    cycles: dict[int, list[ImageName]] = {}
    for image in images:
        if image.channel == number:
            cycles.setdefault(image.cycle, []).append(image)
    findings = _check_numbers(folder, cycles, allow_gaps)
    if n_planes is not None and (n_planes < 1 or n_planes != int(n_planes)):
        raise ParameterError(f"n_planes = {n_planes} is not possible. Give a whole number from 1 on.")
    places = {cycle: _places(folder, files) for cycle, files in cycles.items()}
    found, used_planes, noticed = _arrange(folder, places, plane, n_planes)
    file = recording.listing.find([name for name, _ in found])
    files = place_frames(recording.listing, file, np.array([page for _, page in found], np.int64), (*findings, *noticed))
    return PlainFolder(folder, names[0], files, channels, number, choose_plane(plane, used_planes, str(folder)), used_planes)


def _places(folder: Path, images: Sequence[ImageName]) -> list[tuple[str, int]]:
    """Return name and page of each image of a cycle; the pages of the files are those of the first."""
    n_pages = read_stack(str(folder / images[0].file)).n_images
    if n_pages > 1 and len(images) > 1:
        return [(image.file, page) for image in images for page in range(read_stack(str(folder / image.file)).n_images)]
    return [(image.file, page) for image in images for page in range(n_pages)]


def _arrange(
    folder: Path, places: Mapping[int, list[tuple[str, int]]], plane: int | None, n_planes: int | None
) -> tuple[list[tuple[str, int]], int, list[Finding]]:
    counts = {cycle: len(items) for cycle, items in places.items()}
    ordered = list(chain.from_iterable(places[cycle] for cycle in sorted(places)))
    most = max(counts.values())
    if n_planes is None and len(places) > 1 and most > 1:
        raise AmbiguousInputError(
            f"'{folder}' has no XML, and {len(places)} cycles of up to {most} images: the number in a name may be "
            f"a plane (one volume a cycle) or a time. Pass n_planes={most} for volumes, or n_planes=1 for frames in time."
        )
    if n_planes is None or n_planes == 1:
        return ordered, 1, [] if n_planes == 1 or len(ordered) == 1 else [_assumed_time(folder, len(ordered))]
    if most != n_planes:
        raise FormatError(
            f"'{folder}' has cycles of {format_ranges(counts.values())} images. "
            f"Expected n_planes={n_planes} in each, one volume a cycle."
        )
    index = choose_plane(plane, n_planes, str(folder))
    complete = [cycle for cycle in sorted(places) if counts[cycle] == n_planes]
    dropped = [cycle for cycle in sorted(places) if counts[cycle] < n_planes]
    findings = [] if not dropped else [_incomplete(folder, dropped, n_planes)]
    return [places[cycle][index] for cycle in complete], n_planes, findings


def _check_numbers(folder: Path, cycles: Mapping[int, Sequence[ImageName]], allow_gaps: bool) -> list[Finding]:
    missing: dict[str, list[int]] = {}
    late: list[str] = []
    order = sorted(cycles)
    if order[0] > 1:
        late.append(f"cycles start at {order[0]}")
    if gaps := list(islice(chain.from_iterable(_all_gaps(order)), 10_000)):
        missing["cycles"] = gaps
    for cycle in order:
        numbers = [image.number for image in cycles[cycle] if image.number is not None]
        if len(numbers) != len(cycles[cycle]) and len(cycles[cycle]) > 1:
            files = ", ".join(image.file for image in cycles[cycle][:3])
            raise AmbiguousInputError(
                f"'{folder}' holds both a stack and other images of cycle {cycle}: {files}. Take one of them away."
            )
        if numbers and numbers[0] > 1:
            late.append(f"numbers of cycle {cycle} start at {numbers[0]}")
        if gaps := list(islice(chain.from_iterable(_all_gaps(numbers)), 10_000)):
            missing[f"images of cycle {cycle}"] = gaps
    text = "; ".join(f"{what} {format_ranges(numbers)}" for what, numbers in list(missing.items())[:5])
    if missing and not allow_gaps:
        raise MissingFileError(
            f"Images are missing in '{folder}': {text}. Expected numbers without gaps. Copy them from the rig, or pass "
            "allow_gaps=True to join the rest without them (frame times are then unknown)."
        )
    findings = []
    if missing:
        findings.append(
            Finding("missing-frames", f"Images are missing: {text}; the movie joins what is there.", where=str(folder))
        )
    if late:
        findings.append(
            Finding(
                "numbering-starts-late",
                f"The {'; the '.join(late[:3])}: earlier images were perhaps not copied.",
                where=str(folder),
                advice="Frame 0 of the movie is the first file that is there.",
                evidence={"first": late[:100]},
            )
        )
    return findings


def _all_gaps(numbers: Sequence[int]) -> list[range]:
    """Return every number missing in between; PrairieView counts by ones."""
    return [range(before + 1, after) for before, after in zip(numbers, numbers[1:], strict=False) if after > before + 1]


def _assumed_time(folder: Path, n_images: int) -> Finding:
    return Finding(
        "order-from-names",
        f"{n_images} images of one cycle were taken as frames in time; without the XML a z-series looks the same.",
        "info",
        where=str(folder),
        advice="Pass n_planes=1 to say so.",
    )


def _incomplete(folder: Path, cycles: Sequence[int], n_planes: int) -> Finding:
    return Finding(
        "incomplete-volumes",
        f"{len(cycles)} volumes have fewer than {n_planes} planes (cycles {format_ranges(cycles)}) and were left out.",
        where=str(folder),
        evidence={"cycles": list(cycles)[:1000]},
    )
