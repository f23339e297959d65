"""Which image file and page holds each frame of a recording, and which frames have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packerlabimaging._check import did_you_mean
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io.prairieview.arrangement import Arrangement, PlacedFrame
from packerlabimaging.io.prairieview.folder import RecordingFolder, parse_image_name
from packerlabimaging.io.prairieview.xml import PVFile
from packerlabimaging.io.tiff.numbered import format_ranges
from packerlabimaging.io.tiff.single import check_same
from packerlabimaging.io.tiff.stack import TiffStack, read_stack


@dataclass(frozen=True)
class FrameFiles:
    """Files and pages of the frames of one channel of one plane.

    Parameters
    ----------
    names
        File names.
    file_index
        File of each frame, position in ``names``.
    page_index
        Zero-based page of each frame.
    first
        Headers of the first frame's file.
    findings
        What was tolerated.
    """

    names: tuple[str, ...]
    file_index: np.ndarray
    page_index: np.ndarray
    first: TiffStack
    findings: tuple[Finding, ...] = ()


def frame_files(
    folder: Path, places: Sequence[tuple[str, int]], sizes: Mapping[str, int], findings: Sequence[Finding] = ()
) -> FrameFiles:
    """Return the files of frames, given the name and page of each; reads the first file's headers and checks all sizes.

    Raises
    ------
    FormatError
        If a file is too short for its pages.
    """
    position = {name: index for index, name in enumerate(dict.fromkeys(name for name, _ in places))}
    first = read_stack(str(folder / places[0][0]))
    if not first.first.not_plain:
        n_bytes = first.first.n_bytes
        needed: dict[str, int] = {}
        for name, page in places:
            needed[name] = max(needed.get(name, 0), page + 1)
        cut = [name for name, n_pages in needed.items() if sizes[name] < n_pages * n_bytes]
        if cut and not _is_compressed(folder / cut[0], first):
            page, name = sizes[cut[0]] // n_bytes, cut[0]
            raise FormatError(
                f"'{folder / name}' is cut: page {page + 1} needs {n_bytes:,} bytes of pixels, but the file ends after "
                f"{sizes[name]:,} bytes{f' ({len(cut)} files are cut)' if len(cut) > 1 else ''}. Copy it again from the rig."
            )
    return FrameFiles(
        tuple(position),
        np.array([position[name] for name, _ in places], np.int32),
        np.array([page for _, page in places], np.int64),
        first,
        tuple(findings),
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
    column = [row[plane] for row in arrangement.frames]
    listed = [_listed_file(placed, channel) for placed in column]
    stacks = _usable_stacks(arrangement, recording, channel)
    _check_distinct(arrangement, [file for file in listed if file is not None])
    places: list[tuple[str, int]] = []
    missing: list[tuple[PlacedFrame, str]] = []
    for placed, file in zip(column, listed, strict=True):
        stack = stacks.get(id(placed.sequence))
        if file is not None and file.filename in recording.sizes:
            places.append((file.filename, max(0, (file.page or 1) - 1)))
        elif stack is not None:
            places.append((stack, placed.position))
        else:
            missing.append((placed, file.filename if file is not None else "no file listed"))
    if missing:
        raise _missing_error(arrangement, recording, channel, missing, len(column))
    used = sorted({name for name, _ in places} & set(stacks.values()))
    findings = [_stack_finding(recording, used, len(column))] if used else []
    findings += _unlisted_findings(arrangement, recording, set(stacks.values()))
    return frame_files(recording.folder, places, recording.sizes, findings)


def channels_with_images(arrangement: Arrangement, recording: RecordingFolder) -> list[int]:
    """Return the channels of the XML of which at least one image is there."""
    present = {
        file.channel
        for row in arrangement.frames
        for placed in row
        for file in placed.frame.files
        if file.filename in recording.sizes
    }
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


def choose_plane(plane: int | None, n_planes: int, source: Path) -> int:
    """Return the zero-based plane.

    Raises
    ------
    AmbiguousInputError
        If none was chosen of several.
    ParameterError
        If there is no such plane.
    """
    if plane is None and n_planes > 1:
        raise AmbiguousInputError(f"'{source}' has {n_planes} planes: 0 to {n_planes - 1}. Choose with plane=.")
    if plane is not None and plane not in range(n_planes):
        raise ParameterError(f"plane = {plane!r} is not in '{source}'. Its planes: 0 to {n_planes - 1}.")
    return plane or 0


def _listed_file(placed: PlacedFrame, channel: int) -> PVFile | None:
    return next((file for file in placed.frame.files if file.channel == channel), None)


def _usable_stacks(arrangement: Arrangement, recording: RecordingFolder, channel: int) -> dict[int, str]:
    """Return the stack of each sequence (by identity) whose listed files are not all there.

    Raises
    ------
    FormatError
        If a stack holds another number of images than its sequence has frames.
    """
    chosen: dict[int, str] = {}
    sequences = {id(placed.sequence): placed.sequence for row in arrangement.frames for placed in row}
    for key, sequence in sequences.items():
        files = [file for frame in sequence.frames for file in frame.files if file.channel == channel]
        if all(file.filename in recording.sizes for file in files) and len(files) == len(sequence.frames):
            continue
        image = parse_image_name(files[0].filename) if files else None
        stem, cycle = (image.name, image.cycle) if image else (arrangement.scan.path.stem, sequence.cycle)
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
        chosen[key] = name
    return chosen


def _check_distinct(arrangement: Arrangement, files: Sequence[PVFile]) -> None:
    """Raise if two frames are listed with one image: a file of several pages whose XML does not tell them."""
    seen: set[tuple[str, int | None]] = set()
    for file in files:
        if (file.filename, file.page) in seen:
            raise FormatError(
                f"'{arrangement.scan.path}' lists '{file.filename}' (page {file.page or 1}) for several frames. "
                "Expected an image of its own for each; which page is which frame can't be told."
            )
        seen.add((file.filename, file.page))


def _unlisted_findings(arrangement: Arrangement, recording: RecordingFolder, stacks: set[str]) -> list[Finding]:
    every = {file.filename for sequence in arrangement.scan.sequences for frame in sequence.frames for file in frame.files}
    own = {image.name for image in map(parse_image_name, sorted(every)[:1]) if image is not None}
    others = filter(None, map(parse_image_name, recording.sizes.keys() - every - stacks))
    extra = sorted(image.file for image in others if image.name in own and image.number is not None)
    if not extra:
        return []
    return [
        Finding(
            "unlisted-images",
            f"{len(extra)} images are there that the XML does not list (first: '{extra[0]}'); they were left out.",
            where=str(recording.folder),
            advice="The XML may have been written before the recording ended; compare the numbers of frames.",
            evidence={"count": len(extra), "first": extra[:20]},
        )
    ]


def _stack_finding(recording: RecordingFolder, names: Sequence[str], n_frames: int) -> Finding:
    return Finding(
        "stacked-images",
        f"The single files that the XML lists are not there; stacks hold the {n_frames} frames: {', '.join(names[:5])}.",
        "info",
        where=str(recording.folder),
    )


def _missing_error(
    arrangement: Arrangement, recording: RecordingFolder, channel: int, missing: Sequence[tuple[PlacedFrame, str]], n_frames: int
) -> MissingFileError:
    by_cycle: dict[int, list[int]] = {}
    for placed, _ in missing:
        by_cycle.setdefault(placed.sequence.cycle, []).append(placed.frame.index)
    if len(by_cycle) == 1:
        which = f"frames {format_ranges(next(iter(by_cycle.values())))}"
    elif arrangement.n_planes > 1:
        which = f"cycles {format_ranges(by_cycle)}"
    else:
        shown = [f"cycle {cycle}: frames {format_ranges(frames)}" for cycle, frames in list(by_cycle.items())[:5]]
        which = "; ".join(shown) + (f"; and {len(by_cycle) - 5} more cycles" if len(by_cycle) > 5 else "")
    raw = any("_RAWDATA_" in name.upper() for name in recording.sizes)
    return MissingFileError(
        f"{len(missing)} of {n_frames} frames of channel {channel} ({arrangement.channels[channel]}) have no image in "
        f"'{recording.folder}': {which} (first: '{missing[0][1]}'). "
        f"Expected every file that '{arrangement.scan.path.name}' lists. "
        f"{'Convert the RAWDATA files with PrairieView' if raw else 'Copy them from the rig'}; "
        "the metadata alone are read by read_prairieview_metadata or pli inspect."
    )
