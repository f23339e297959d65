"""The files of a ScanImage recording, and what their pages say: times, frame numbers, whether files belong together.

Frame numbers in the pages show whether flyback frames were saved, frames are missing, and files are of one acquisition. The rate
comes from the times of the first and last page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError
from packerlabimaging.io.interleaving import check_count
from packerlabimaging.io.scanimage.arrangement import ScanImageArrangement, arrange, header_findings
from packerlabimaging.io.scanimage.header import ScanImageHeader, find_header
from packerlabimaging.io.tiff.files import OpenTiff, find_pages
from packerlabimaging.io.tiff.layout import DESCRIPTION
from packerlabimaging.io.tiff.movie import FramePlaces, Zeros
from packerlabimaging.io.tiff.names import list_folder
from packerlabimaging.io.tiff.numbered import check_gaps, find_series
from packerlabimaging.io.tiff.stack import read_stack

_NUMBER = re.compile(r"(?:frameNumbers|Frame Number)\s*=\s*([0-9]{1,12})\b")
_TIME = re.compile(r"(?:frameTimestamps_sec|Frame Timestamp\(s\))\s*=\s*\[?\s*(-?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)")
_EPOCH = re.compile(r"(?:epoch|Epoch)\s*=\s*\[([^\]\n]{5,80})\]")

_RATE_DISAGREES = 0.01


@dataclass(frozen=True)
class _Page:
    """What the text of a page says: number of the frame, and its time in seconds."""

    number: int | None
    time_s: float | None


@dataclass(frozen=True)
class RecordingFiles:
    """The files of a recording, how many pages each holds, and what the first and last pages of each say."""

    folder: Path
    names: tuple[str, ...]
    counts: tuple[int, ...]
    shape: tuple[int, int]
    dtype: np.dtype
    findings: tuple[Finding, ...]

    @property
    def n_images(self) -> int:
        """Pages of all files."""
        return sum(self.counts)

    def place(self, image: int) -> tuple[Path, int]:
        """Return file and page of an image."""
        file = int(np.searchsorted(np.cumsum(self.counts), image, side="right"))
        return self.folder / self.names[file], image - sum(self.counts[:file])

    def places(self, images: Sequence[int]) -> FramePlaces:
        """Return where images lie."""
        if len(self.names) == 1:
            return FramePlaces(self.folder, self.names, Zeros(len(images)), images, False)
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        file = np.searchsorted(starts, np.asarray(images), side="right") - 1
        return FramePlaces(self.folder, self.names, file, np.asarray(images) - starts[file], False)  # type: ignore[arg-type]


def find_files(path: Path, *, pattern: str | None, allow_gaps: bool) -> RecordingFiles:
    findings: tuple[Finding, ...] = ()
    folder, names = path.parent, [path.name]
    if path.is_dir():
        series = find_series(path, list_folder(path).names, pattern=pattern)
        findings = check_gaps(path, series, allow_gaps=allow_gaps)
        folder, names = path, list(series.names)
    stacks = [read_stack(f"{folder}/{name}") for name in names]
    first = stacks[0]
    shape = first.first.height, first.first.width
    for stack in stacks[1:]:
        if (stack.first.height, stack.first.width) != shape or stack.dtype != first.dtype:
            raise FormatError(
                f"'{stack.path}' holds pages of {stack.first.height} x {stack.first.width} px, {stack.dtype}. Expected "
                f"{shape[0]} x {shape[1]}, {first.dtype}, as in '{first.path}': they are of different recordings. Use pattern=."
            )
    counts = tuple(stack.n_images for stack in stacks)
    return RecordingFiles(folder, tuple(names), counts, shape, first.dtype, (*findings, *first.findings))


def page_text(file: OpenTiff, offset: int, page: int) -> str:
    return file.tags(file.ifd(offset, page), page).text(DESCRIPTION)


def page_time(text: str) -> float | None:
    match = _TIME.search(text)
    return float(match[1]) if match is not None and np.isfinite(float(match[1])) else None


def _read_pages(path: Path, pages: Sequence[int]) -> list[_Page]:
    """Return what some pages of a file say."""
    found = []
    with OpenTiff(str(path)) as file:
        table = find_pages(file)
        for page in pages:
            text = page_text(file, table.offset(page), page)
            number = _NUMBER.search(text)
            found.append(_Page(int(number[1]) if number is not None else None, page_time(text)))
    return found


@dataclass(frozen=True)
class Recording:
    """What headers and pages say about a recording."""

    header: ScanImageHeader
    arrangement: ScanImageArrangement
    measured_hz: float | None
    acquired: datetime | None
    findings: tuple[Finding, ...]

    @classmethod
    def read(cls, files: RecordingFiles, *, n_flyback: int | None = None) -> Recording:
        """Read the header of the first file, and the texts of the first and last page of each."""
        path = files.folder / files.names[0]
        with OpenTiff(str(path)) as file:
            header = find_header(file)
            acquired = _acquired(page_text(file, file.header.first_ifd, 0))
        if header is None:
            raise FormatError(f"'{path}' has no header of ScanImage. Open it with reader='tiff'.")
        arrangement = arrange(header)
        n_channels = arrangement.interleaving.n_channels
        ends = [
            _read_pages(files.folder / name, (0, max(0, (count - 1) // n_channels * n_channels)))
            for name, count in zip(files.names, files.counts, strict=True)
        ]
        n_taken = [max(1, -(-count // n_channels)) for count in files.counts]
        findings = [*header_findings(header), *_separate_files(files, ends)]
        arrangement, missing = _flyback(arrangement, ends, n_taken, n_flyback, str(path))
        measured = _measured_rate(ends, n_taken, arrangement.n_averaged)
        findings.extend(missing)
        findings.extend(_rate_findings(arrangement, measured, str(path)))
        return cls(header, arrangement, measured, acquired, tuple(findings))

    @property
    def rate_hz(self) -> tuple[float | None, bool]:
        """Frames of one plane per second, and whether it was measured by the pages' times; None for a slow stack."""
        nominal = self.arrangement.frame_rate_hz
        rate = self.measured_hz or (None if nominal is None else nominal / self.arrangement.n_averaged)
        if rate is None or self.arrangement.slow_stack or self.arrangement.interleaving.n_repeats > 1:
            return None, False
        return rate / self.arrangement.frames_per_volume, self.measured_hz is not None


def _acquired(text: str) -> datetime | None:
    """Return the start of the acquisition from its page's ``epoch = [y m d h m s]``."""
    match = _EPOCH.search(text)
    try:
        numbers = [float(part) for part in re.split(r"[\s,;]+", match[1].strip())] if match is not None else []
        year, month, day, hour, minute = (int(number) for number in numbers[:5])
        return datetime(year, month, day, hour, minute) + timedelta(seconds=numbers[5])
    except (ValueError, IndexError, OverflowError):
        return None


def _flyback(
    arrangement: ScanImageArrangement, ends: list[list[_Page]], n_taken: list[int], n_flyback: int | None, source: str
) -> tuple[ScanImageArrangement, list[Finding]]:
    """Return the arrangement with the flyback frames that the file really holds, and a finding where frames are missing."""
    layout = arrangement.interleaving
    if n_flyback is not None:
        given = check_count("n_flyback", n_flyback, zero=True)
        n_frames = max(arrangement.frames_per_volume, layout.n_planes * layout.n_repeats + given)
        return replace(arrangement, interleaving=replace(layout, n_flyback=given), frames_per_volume=n_frames), []
    first, last = ends[0][0].number, ends[0][1].number
    if first is None or last is None or arrangement.n_averaged > 1 or last < first:
        return arrangement, []
    n_missing = last - first + 1 - n_taken[0]
    if n_missing <= 0:
        return arrangement, []
    kept = layout.n_planes * layout.n_repeats
    if layout.n_flyback and (n_taken[0] - 1) // kept * layout.n_flyback == n_missing:
        return replace(arrangement, interleaving=replace(layout, n_flyback=0)), [_flyback_not_saved(layout.n_flyback, source)]
    message = f"The pages' frame numbers run from {first} to {last}, but there are {n_taken[0]} frames: {n_missing} are missing."
    advice = "Planes and times after the first missing frame are not those of the recording; compare with the frame clock."
    evidence = {"first": first, "last": last, "n_frames": n_taken[0], "n_missing": n_missing}
    return arrangement, [Finding("missing-frames", message, where=source, advice=advice, evidence=evidence)]


def _flyback_not_saved(n_flyback: int, source: str) -> Finding:
    message = f"The pages' frame numbers leave {n_flyback} out after each volume: flyback frames were taken but not saved."
    return Finding("flyback-not-saved", message, "info", where=source)


def _measured_rate(ends: list[list[_Page]], n_taken: list[int], n_averaged: int) -> float | None:
    """Return frames per second between the first and last page of the longest file."""
    longest = int(np.argmax(n_taken))
    (first, last), n_frames = ends[longest], n_taken[longest]
    if first.time_s is None or last.time_s is None or last.time_s <= first.time_s or n_frames < 2:
        return None
    steps = n_frames - 1
    if n_averaged == 1 and first.number is not None and last.number is not None and last.number > first.number:
        steps = last.number - first.number
    return steps / (last.time_s - first.time_s)


def _rate_findings(arrangement: ScanImageArrangement, measured: float | None, source: str) -> list[Finding]:
    nominal = None if arrangement.frame_rate_hz is None else arrangement.frame_rate_hz / arrangement.n_averaged
    if arrangement.slow_stack or arrangement.interleaving.n_repeats > 1:
        message = "The planes were taken one after another, many frames each: there is no one rate."
        return [Finding("no-single-rate", message, "info", where=source, advice="Use frame_times=True.")]
    if measured is None:
        message = f"The pages have no times; the rate of {nominal or 0:.6g} Hz is that of the settings."
        return [Finding("rate-nominal", message, where=source)] if nominal else []
    if nominal is None or abs(measured / nominal - 1) <= _RATE_DISAGREES:
        return []
    message = (
        f"By the pages' times there were {measured:.6g} frames per second, by the settings {nominal:.6g}; the times were used."
    )
    return [Finding("rate-disagrees", message, where=source, evidence={"measured_hz": measured, "nominal_hz": nominal})]


def _separate_files(files: RecordingFiles, ends: list[list[_Page]]) -> list[Finding]:
    """Return a finding where frame numbers do not run on from one file to the next."""
    breaks = []
    for index, (before, after) in enumerate(zip(ends, ends[1:], strict=False), 1):
        last, first = before[1].number, after[0].number
        if last is not None and first is not None and first != last + 1:
            breaks.append(files.names[index])
    if not breaks:
        return []
    message = f"Frame numbers do not run on from one file to the next at {', '.join(breaks[:5])}: {len(breaks) + 1} acquisitions."
    advice = "The movie joins them; the time between them is not known from the images."
    return [Finding("several-acquisitions", message, where=str(files.folder), advice=advice, evidence={"files": breaks[:1000]})]
