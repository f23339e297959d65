"""How the frames of a scan make a movie: cycles one after another, or one volume a cycle.

A ``TSeries Timed Element`` is frames in time; its cycles follow each other. A ``TSeries ZSeries Element`` is one volume, a
frame per plane; a t-series of volumes has one such sequence per volume. A ``ZSeries`` is a single volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError
from packerlabimaging.io.prairieview.xml import PVScan, PVSequence
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


@dataclass(frozen=True, eq=False)
class Arrangement:
    """The frames of a scan in the order of a movie.

    Parameters
    ----------
    scan
        The scan.
    sequence_type
        The program's name for the kind of recording.
    frames
        Position in the scan of each frame, shape ``(n_times, n_planes)``.
    findings
        What was tolerated.
    """

    scan: PVScan
    sequence_type: str
    frames: np.ndarray
    findings: tuple[Finding, ...]

    @property
    def n_planes(self) -> int:
        """Planes per volume, 1 where there are no volumes."""
        return int(self.frames.shape[1])

    @property
    def channels(self) -> dict[int, str]:
        """Channel names by number, ascending."""
        return dict(sorted(self.scan.channels.items()))

    def times_s(self, channel: int | None = None) -> np.ndarray | None:
        """Return the program's time of each frame, shape ``(n_times, n_planes)``, None where some are not recorded.

        Parameters
        ----------
        channel
            Channel whose own times count where the file has them (5.8, channels acquired one after the other).
        """
        columns, files = self.scan.frames, self.scan.files
        times = _own_times(columns.absolute_time_s, files.absolute_time_s, self, channel)
        if np.isnan(times).any() and len(np.unique(columns.sequence[self.frames])) == 1:
            times = _own_times(columns.relative_time_s, files.relative_time_s, self, channel)  # they restart in each sequence
        return None if np.isnan(times).any() else times


def _own_times(of_frames: np.ndarray, of_files: np.ndarray, arrangement: Arrangement, channel: int | None) -> np.ndarray:
    times = of_frames[arrangement.frames]
    if channel is None or np.isnan(of_files).all():
        return times
    file = arrangement.scan.files.of_channel(channel, len(arrangement.scan.frames))[arrangement.frames]
    own = np.where(file >= 0, of_files[file], np.nan)
    return np.where(np.isnan(own), times, own)


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
        raise FormatError(
            f"'{scan.path}' holds no frames (sequences: {', '.join(scan.types) or 'none'}). Expected a recording with images. "
            "A voltage recording is read as signals, not as a movie."
        )
    volumes = {is_volume(sequence) for sequence in imaging}
    if len(volumes) > 1:
        raise AmbiguousInputError(
            f"'{scan.path}' mixes sequences of volumes and of single frames: {', '.join(sorted({s.type for s in imaging}))}. "
            "They can't be one movie; split the recording."
        )
    findings = [*scan.findings, *_last_good_findings(scan)]
    if True in volumes:
        frames, found = _arrange_volumes(scan, imaging)
        findings += found
    else:
        frames = np.arange(len(scan.frames))[:, np.newaxis]
    if imaging[0].type == "Linescan":
        findings.append(_line_scan_finding(scan))
    return Arrangement(scan, imaging[0].type, frames, tuple(findings))


def _arrange_volumes(scan: PVScan, sequences: list[PVSequence]) -> tuple[np.ndarray, list[Finding]]:
    counts = np.array([len(sequence.frames) for sequence in sequences])
    starts = np.array([sequence.frames.start for sequence in sequences])
    n_planes = int(counts.max())
    complete = counts == n_planes
    findings = [] if complete.all() else [_incomplete_finding(scan, sequences, np.flatnonzero(~complete).tolist(), n_planes)]
    to_and_fro = np.array([sequence.bidirectional_z for sequence in sequences])[complete] & (np.flatnonzero(complete) % 2 == 1)
    frames = starts[complete, np.newaxis] + np.arange(n_planes)
    frames[to_and_fro] = frames[to_and_fro, ::-1]
    if to_and_fro.any():
        findings.append(
            Finding(
                "bidirectional-z",
                f"The planes were scanned to and fro: {to_and_fro.sum()} volumes (every second) were put into the order of the "
                "first.",
                where=str(scan.path),
                advice="Compare a plane of neighbouring volumes by eye; the depths are in plane_z_um.",
                evidence={"n_reversed": int(to_and_fro.sum())},
            )
        )
    return frames, findings


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


def _last_good_findings(scan: PVScan) -> list[Finding]:
    marked = np.flatnonzero(scan.frames.last_good_frame)
    if not marked.size:
        return []
    shown = [
        [
            scan.sequences[scan.frames.sequence[frame]].cycle,
            int(scan.frames.index[frame]),
            int(scan.frames.last_good_frame[frame]),
        ]
        for frame in marked[:1000]
    ]
    return [
        Finding(
            "last-good-frame",
            f"PrairieView marked {marked.size} frames as not good (first: cycle {shown[0][0]}, frame {shown[0][1]}).",
            advice="Look at these frames before using them; they were kept.",
            evidence={"cycle_frame_last_good": shown},
        )
    ]


def _line_scan_finding(scan: PVScan) -> Finding:
    return Finding(
        "line-scan",
        "This is a line scan: the rows of an image are repeated scans of one line, not a field of view.",
        where=str(scan.path),
        advice="Do not segment it as a movie.",
    )
