"""Which image file and page holds each frame of a recording, and which frames have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packerlabimaging._check import did_you_mean
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io.prairieview.arrangement import Arrangement
from packerlabimaging.io.prairieview.folder import RecordingFolder, parse_image_name
from packerlabimaging.io.tiff.movie import FramePlaces, Zeros
from packerlabimaging.io.tiff.names import FolderListing
from packerlabimaging.io.tiff.numbered import format_ranges
from packerlabimaging.io.tiff.single import check_same
from packerlabimaging.io.tiff.stack import TiffStack, read_stack


@dataclass(frozen=True, eq=False)
class FrameFiles:
    """Files and pages of the frames of one channel of one plane.

    Parameters
    ----------
    places
        Where the frames lie.
    first
        Headers of the first frame's file.
    findings
        What was tolerated.
    """

    places: FramePlaces
    first: TiffStack
    findings: tuple[Finding, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(n_frames, height, width)``."""
        return (len(self.places), self.first.first.height, self.first.first.width)


def place_frames(listing: FolderListing, file: np.ndarray, page: np.ndarray, findings: Sequence[Finding] = ()) -> FrameFiles:
    """Return where frames lie, given the file (position in the listing) and zero-based page of each.

    Reads the headers of the first file, and checks the sizes of all.

    Raises
    ------
    FormatError
        If a file is too short for its pages.
    """
    used, file_index = np.unique(file, return_inverse=True)
    last_page = np.zeros(len(used), np.int64)
    np.maximum.at(last_page, file_index, page)
    names = listing.names.take(used)
    first = read_stack(f"{listing.folder}/{names[file_index[0]]}")
    _check_lengths(listing, used, last_page + 1, first)
    if len(used) == len(file):  # a file of its own for each frame: no index needed
        places = FramePlaces(
            listing.folder,
            listing.names.take(file),
            file_index=range(len(file)),
            page_index=page if page.any() else Zeros(len(page)),  # type: ignore[arg-type]
            one_page=first.n_images == 1 and not page.any(),
        )
    else:
        places = FramePlaces(listing.folder, names, file_index.astype(np.int32), page.astype(np.int32), False)  # type: ignore[arg-type]
    return FrameFiles(places, first, tuple(findings))


def _check_lengths(listing: FolderListing, used: np.ndarray, n_pages: np.ndarray, first: TiffStack) -> None:
    if first.first.not_plain:
        return
    n_bytes, sizes = first.first.n_bytes, listing.sizes[used]
    cut = np.flatnonzero(sizes < n_pages * n_bytes)
    if not cut.size:
        return
    path, size = listing.folder / listing.names[int(used[cut[0]])], int(sizes[cut[0]])
    if not _is_compressed(path, first):
        raise FormatError(
            f"'{path}' is cut: page {size // n_bytes + 1} needs {n_bytes:,} bytes of pixels, but the file ends after "
            f"{size:,} bytes{f' ({cut.size} files are cut)' if cut.size > 1 else ''}. Copy it again from the rig."
        )


def _is_compressed(path: Path, first: TiffStack) -> bool:
    """Say why a file is too small for its frames: True if its pixels are compressed, False if it is cut.

    Raises
    ------
    FormatError
        If it holds frames of another kind than the first file's.
    """
    try:
        layout = read_stack(str(path)).first
    except FormatError:  # cut within its headers or pixels
        return False
    if layout.not_plain:
        return True
    check_same(layout, (first.first.height, first.first.width), first.dtype, path=str(path), page=0)
    return False


def locate_frames(arrangement: Arrangement, recording: RecordingFolder, *, channel: int, plane: int) -> FrameFiles:
    """Return the files of one channel of one plane as the XML lists them, or the stacks that a lab made of them.

    Raises
    ------
    MissingFileError
        If frames have no image; they are named.
    FormatError
        If a stack has more images than the XML has frames, or a file is cut.
    """
    scan, listing = arrangement.scan, recording.listing
    frames = arrangement.frames[:, plane]
    row = scan.files.of_channel(channel, len(scan.frames))  # of every frame of the scan
    _check_distinct(arrangement, row[frames])
    there = listing.names.find(scan.files.names)
    file = np.where(row >= 0, there[row], -1) if len(there) else row
    page = np.where(row >= 0, np.maximum(scan.files.page[row] - 1, 0), 0) if len(there) else np.zeros_like(row)
    stacks = _usable_stacks(arrangement, recording, channel, file)
    for position, name in stacks.items():
        own = np.asarray(scan.sequences[position].frames)
        lost = file[own] < 0
        file[own[lost]] = listing.find([name])[0]
        page[own[lost]] = np.flatnonzero(lost)
    missing = file[frames] < 0
    if missing.any():
        raise _missing_error(arrangement, recording, channel, frames[missing], len(frames))
    findings = [_stack_finding(recording, sorted(stacks.values()), len(frames))] if stacks else []
    return place_frames(listing, file[frames], page[frames], (*findings, *unlisted_findings(arrangement, recording)))


def channels_with_images(arrangement: Arrangement, recording: RecordingFolder) -> list[int]:
    """Return the channels of the XML of which at least one image is there."""
    files = arrangement.scan.files
    present = set(np.unique(files.channel[recording.listing.names.find(files.names) >= 0]).tolist())
    if len(present) < len(arrangement.channels):
        present |= {channel for _, _, channel in recording.stacks}
    return [channel for channel in arrangement.channels if channel in present]


def choose_channel(channel: int | str | None, channels: Mapping[int, str], present: Sequence[int], source: Path) -> int:
    """Return the number of the wanted channel.

    Parameters
    ----------
    channel
        Number or name; None takes the only one.
    channels
        Names by number.
    present
        Channels that have images.

    Raises
    ------
    AmbiguousInputError
        If none was chosen of several.
    ParameterError
        If there is no such channel.
    """
    listed = ", ".join(f"{number} ({name})" for number, name in channels.items())
    if channel is None:
        possible = list(present) or list(channels)
        if len(possible) == 1 or not present:
            return possible[0]
        raise AmbiguousInputError(f"'{source}' has {len(possible)} channels: {listed}. Choose with channel=.")
    text = str(channel)
    for number, name in channels.items():
        if text == name:
            return number
    digits = text[2:] if text.lower().startswith("ch") else text
    number = int(digits) if digits.isascii() and digits.isdigit() else -1
    if number not in channels:
        hint = did_you_mean(text, channels.values())
        raise ParameterError(f"channel = {channel!r} is not in '{source}'. Its channels: {listed}.{hint}")
    return number


def _usable_stacks(arrangement: Arrangement, recording: RecordingFolder, channel: int, file: np.ndarray) -> dict[int, str]:
    """Return the stack of each sequence (by position) whose listed files are not all there.

    Parameters
    ----------
    file
        File of each frame of the scan, -1 where it is not there.

    Raises
    ------
    FormatError
        If a stack holds another number of images than its sequence has frames.
    """
    scan, chosen = arrangement.scan, {}
    used = np.unique(scan.frames.sequence[arrangement.frames])
    lacking = np.intersect1d(used, scan.frames.sequence[file < 0])
    if not lacking.size or not recording.stacks:
        return {}
    row = scan.files.of_channel(channel, len(scan.frames))
    for position in lacking.tolist():
        sequence = scan.sequences[position]
        rows = row[np.asarray(sequence.frames)]
        rows = rows[rows >= 0]
        image = parse_image_name(scan.files.names[int(rows[0])]) if rows.size else None
        stem, cycle = (image.name, image.cycle) if image else (scan.path.stem, sequence.cycle)
        name = recording.stacks.get((stem, cycle, channel))
        if name is None:
            continue
        n_images, n_frames = read_stack(str(recording.folder / name)).n_images, len(sequence.frames)
        if n_images != n_frames:
            lost = f"frames {format_ranges(range(n_images + 1, n_frames + 1))} are missing" if n_images < n_frames else "too many"
            raise FormatError(
                f"The stack '{recording.folder / name}' has {n_images} images, but the XML lists {n_frames} frames in cycle "
                f"{sequence.cycle} ({lost}). Expected one image a frame, so that times and frames agree. "
                "Make the stack again from all files, or open it alone as a TIFF (reader='tiff')."
            )
        chosen[position] = name
    return chosen


def _check_distinct(arrangement: Arrangement, rows: np.ndarray) -> None:
    """Raise if two frames are listed with one image: a file of several pages whose XML does not tell them."""
    files = arrangement.scan.files
    rows = rows[rows >= 0]
    names, pages = files.names.take(rows), np.maximum(files.page[rows], 1)
    repeated = names.find_repeated(pages)
    if repeated is not None:
        raise FormatError(
            f"'{arrangement.scan.path}' lists '{names[repeated]}' (page {pages[repeated]}) for several frames. "
            "Expected an image of its own for each; which page is which frame can't be told."
        )


def unlisted_findings(arrangement: Arrangement, recording: RecordingFolder) -> list[Finding]:
    """Return a finding where images lie in the folder that the XML does not list."""
    names = arrangement.scan.files.names
    own = parse_image_name(names[0]) if len(names) else None
    if own is None:
        return []
    rest = np.flatnonzero(names.find(recording.listing.names) < 0)
    images = [parse_image_name(name) for name in recording.listing.names.take(rest)]
    extra = [image for image in images if image is not None and image.name == own.name and image.number is not None]
    if not extra:
        return []
    extra.sort(key=lambda image: (image.cycle, image.number or 0, image.channel))
    return [
        Finding(
            "unlisted-images",
            f"{len(extra)} images are there that the XML does not list (first: '{extra[0].file}'); they were left out.",
            where=str(recording.folder),
            advice="The XML may have been written before the recording ended; compare the numbers of frames.",
            evidence={"count": len(extra), "first": [image.file for image in extra[:20]]},
        )
    ]


def missing_in_words(arrangement: Arrangement, frames: np.ndarray) -> str:
    """Return which frames (positions in the scan) these are, as ranges by cycle."""
    scan = arrangement.scan
    by_cycle: dict[int, list[int]] = {}
    for frame in frames.tolist():
        by_cycle.setdefault(scan.sequences[scan.frames.sequence[frame]].cycle, []).append(int(scan.frames.index[frame]))
    if len(by_cycle) == 1:
        return f"frames {format_ranges(next(iter(by_cycle.values())))}"
    if arrangement.n_planes > 1:
        return f"cycles {format_ranges(by_cycle)}"
    shown = [f"cycle {cycle}: frames {format_ranges(frames)}" for cycle, frames in list(by_cycle.items())[:5]]
    return "; ".join(shown) + (f"; and {len(by_cycle) - 5} more cycles" if len(by_cycle) > 5 else "")


def _stack_finding(recording: RecordingFolder, names: Sequence[str], n_frames: int) -> Finding:
    return Finding(
        "stacked-images",
        f"The single files that the XML lists are not there; stacks hold the {n_frames} frames: {', '.join(names[:5])}.",
        "info",
        where=str(recording.folder),
    )


def _missing_error(
    arrangement: Arrangement, recording: RecordingFolder, channel: int, missing: np.ndarray, n_frames: int
) -> MissingFileError:
    files = arrangement.scan.files
    row = int(files.of_channel(channel, len(arrangement.scan.frames))[missing[0]])
    raw = any("_RAWDATA_" in name.upper() for name in recording.listing.names)
    return MissingFileError(
        f"{len(missing)} of {n_frames} frames of channel {channel} ({arrangement.channels[channel]}) have no image in "
        f"'{recording.folder}': {missing_in_words(arrangement, missing)} "
        f"(first: '{files.names[row] if row >= 0 else 'no file listed'}'). "
        f"Expected every file that '{arrangement.scan.path.name}' lists. "
        f"{'Convert the RAWDATA files with PrairieView' if raw else 'Copy them from the rig'}; "
        "the metadata alone are read by read_prairieview_metadata or pli inspect."
    )
