"""How the frames of a scan make a movie: cycles one after another, or one volume a cycle.

A ``TSeries Timed Element`` is frames in time; its cycles follow each other. A ``TSeries ZSeries Element`` is one volume, a
frame per plane; a t-series of volumes has one such sequence per volume. A ``ZSeries`` is a single volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError
from packerlabimaging.io.prairieview.xml import PVFrame, PVScan, PVSequence
from packerlabimaging.io.tiff.numbered import format_ranges

KINDS = {
    "TSeries Timed Element": "t-series",
    "TSeries ZSeries Element": "t-series of volumes",
    "TSeries Brightness Over Time Element": "brightness over time",
    "BrightnessOverTime": "brightness over time",
    "ZSeries": "z-series",
    "Single": "single image",
    "Linescan": "line scan",
}
"""What the program's sequence types are in plain words."""


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """A frame with its sequence and its position there (zero-based)."""

    sequence: PVSequence
    position: int
    frame: PVFrame


@dataclass(frozen=True)
class Arrangement:
    """The frames of a scan in the order of a movie.

    Parameters
    ----------
    scan
        The scan.
    sequence_type
        The program's name for the kind of recording.
    frames
        ``frames[time][plane]``.
    channels
        Channel names by number, ascending.
    findings
        What was tolerated.
    """

    scan: PVScan
    sequence_type: str
    frames: tuple[tuple[PlacedFrame, ...], ...]
    channels: dict[int, str]
    findings: tuple[Finding, ...]

    @property
    def n_planes(self) -> int:
        """Planes per volume, 1 where there are no volumes."""
        return len(self.frames[0])

    def times_s(self, channel: int | None = None) -> np.ndarray | None:
        """Return the program's time of each frame, shape ``(n_frames, n_planes)``, None where some are not recorded.

        Parameters
        ----------
        channel
            Channel whose own times count where the file has them (5.8, channels acquired one after the other).
        """
        times = [[_time_s(placed.frame, channel, relative=False) for placed in row] for row in self.frames]
        if any(time is None for row in times for time in row):
            if len({id(placed.sequence) for row in self.frames for placed in row}) > 1:
                return None  # relative times restart in each sequence
            times = [[_time_s(placed.frame, channel, relative=True) for placed in row] for row in self.frames]
            if any(time is None for row in times for time in row):
                return None
        return np.array(times, dtype=np.float64)


def _time_s(frame: PVFrame, channel: int | None, *, relative: bool) -> float | None:
    for file in frame.files:
        own = file.relative_time_s if relative else file.absolute_time_s
        if file.channel == channel and own is not None:
            return own
    return frame.relative_time_s if relative else frame.absolute_time_s


def is_volume(sequence: PVSequence) -> bool:
    """Say whether a sequence is a volume, a frame per plane."""
    return "zseries" in sequence.type.lower()


def arrange_frames(scan: PVScan) -> Arrangement:
    """Return the frames of a scan in the order of a movie.

    Raises
    ------
    FormatError
        If the scan holds no frames.
    AmbiguousInputError
        If it holds both volumes and single frames.
    """
    imaging = [sequence for sequence in scan.sequences if sequence.frames]
    if not imaging:
        types = ", ".join(sorted({sequence.type or "untyped" for sequence in scan.sequences})) or "none"
        raise FormatError(
            f"'{scan.path}' holds no frames (sequences: {types}). Expected a recording with images. "
            "A voltage recording is read as signals, not as a movie."
        )
    volumes = {is_volume(sequence) for sequence in imaging}
    if len(volumes) > 1:
        raise AmbiguousInputError(
            f"'{scan.path}' mixes sequences of volumes and of single frames: {', '.join(sorted({s.type for s in imaging}))}. "
            "They can't be one movie; split the recording."
        )
    findings = [*scan.findings, *_last_good_findings(imaging)]
    if True in volumes:
        frames, found = _arrange_volumes(scan, imaging)
        findings += found
    else:
        frames = [(PlacedFrame(sequence, at, frame),) for sequence in imaging for at, frame in enumerate(sequence.frames)]
    channels = {file.channel: file.channel_name for row in reversed(frames) for placed in row for file in placed.frame.files}
    if imaging[0].type == "Linescan":
        findings.append(_line_scan_finding(scan))
    return Arrangement(scan, imaging[0].type, tuple(frames), dict(sorted(channels.items())), tuple(findings))


def _arrange_volumes(scan: PVScan, sequences: list[PVSequence]) -> tuple[list[tuple[PlacedFrame, ...]], list[Finding]]:
    n_planes = max(len(sequence.frames) for sequence in sequences)
    findings = []
    incomplete = [position for position, sequence in enumerate(sequences) if len(sequence.frames) < n_planes]
    if incomplete:
        findings.append(_incomplete_finding(scan, sequences, incomplete, n_planes))
    rows, n_reversed = [], 0
    for position, sequence in enumerate(sequences):
        if len(sequence.frames) < n_planes:
            continue
        placed = tuple(PlacedFrame(sequence, at, frame) for at, frame in enumerate(sequence.frames))
        if sequence.attributes.get("bidirectionalZ", "").lower() == "true" and position % 2:
            placed, n_reversed = placed[::-1], n_reversed + 1
        rows.append(placed)
    if n_reversed:
        findings.append(
            Finding(
                "bidirectional-z",
                f"The planes were scanned to and fro: {n_reversed} volumes (every second) were put into the order of the first.",
                where=str(scan.path),
                advice="Compare a plane of neighbouring volumes by eye; the depths are in plane_z_um.",
                evidence={"n_reversed": n_reversed},
            )
        )
    return rows, findings


def _incomplete_finding(scan: PVScan, sequences: list[PVSequence], incomplete: list[int], n_planes: int) -> Finding:
    only_last = incomplete == [len(sequences) - 1]
    cycles = [sequences[position].cycle for position in incomplete]
    counts = [len(sequences[position].frames) for position in incomplete]
    return Finding(
        "incomplete-last-volume" if only_last else "incomplete-volumes",
        f"{len(incomplete)} of {len(sequences)} volumes have fewer than {n_planes} planes (cycles {format_ranges(cycles)}) "
        "and were left out.",
        "info" if only_last else "warning",
        where=str(scan.path),
        advice="" if only_last else "Frame numbers after the first of them are not cycle numbers; use the frame times.",
        evidence={"n_planes": n_planes, "cycles": cycles[:1000], "planes_found": counts[:1000]},
    )


def _last_good_findings(sequences: list[PVSequence]) -> list[Finding]:
    bad = [
        (sequence.cycle, frame.index, frame.last_good_frame)
        for sequence in sequences
        for frame in sequence.frames
        if frame.last_good_frame
    ]
    if not bad:
        return []
    return [
        Finding(
            "last-good-frame",
            f"PrairieView marked {len(bad)} frames as not good (first: cycle {bad[0][0]}, frame {bad[0][1]}).",
            advice="Look at these frames before using them; they were kept.",
            evidence={"cycle_frame_last_good": [list(item) for item in bad[:1000]]},
        )
    ]


def _line_scan_finding(scan: PVScan) -> Finding:
    return Finding(
        "line-scan",
        "This is a line scan: the rows of an image are repeated scans of one line, not a field of view.",
        where=str(scan.path),
        advice="Do not segment it as a movie.",
    )
