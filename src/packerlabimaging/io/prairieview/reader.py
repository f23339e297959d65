"""The reader of PrairieView recordings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import PackerLabImagingError
from packerlabimaging.io.prairieview.arrangement import KINDS, arrange_frames
from packerlabimaging.io.prairieview.folder import RecordingFolder, find_recording, is_prairieview_folder, is_pvscan
from packerlabimaging.io.prairieview.frames import missing_in_words, unlisted_findings
from packerlabimaging.io.prairieview.metadata import PROGRAM, build_metadata
from packerlabimaging.io.prairieview.movie import PrairieViewMovie, PrairieViewOptions, open_prairieview
from packerlabimaging.io.prairieview.xml import PVScan, read_pvscan
from packerlabimaging.io.readers import Inspection, Reader, unreadable
from packerlabimaging.io.tiff.numbered import format_ranges


class PrairieViewReader(Reader):
    """Recordings of Bruker's PrairieView, versions 4.3 to 5.8: a folder, or the scan's XML in it."""

    name = "prairieview"
    kind = "movie"
    description = "a Bruker PrairieView folder, or its PVScan XML"
    options = PrairieViewOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a scan's XML, or a folder that holds one or images with PrairieView's names."""
        try:
            if path.is_dir():
                return is_prairieview_folder(path)
            return path.suffix.lower() == ".xml" and is_pvscan(path)
        except OSError:
            return False

    def open(self, path: Path, **options: Any) -> PrairieViewMovie:
        """Open one channel of one plane, headers only; see :func:`~packerlabimaging.io.prairieview.open_prairieview`."""
        return open_prairieview(path, **options)

    def inspect(self, path: Path) -> Inspection:
        """Describe a recording of any kind; what can't be read is a finding, not an error."""
        facts: dict[str, Any] = {"program": PROGRAM}
        findings: list[Finding] = []
        try:
            recording = find_recording(path)
            if recording.xml is None:
                _describe_names(recording, facts, findings)
            else:
                scan = read_pvscan(recording.xml)
                facts |= {"xml": recording.xml.name, "program_version": scan.version}
                _describe_sequences(scan, facts, findings)
                if len(scan.frames):
                    _describe_frames(scan, recording, facts, findings)
        except PackerLabImagingError as error:
            findings.append(unreadable(error, path))
        return Inspection(str(path), self.name, self.kind, facts, tuple(findings))


def _describe_names(recording: RecordingFolder, facts: dict[str, Any], findings: list[Finding]) -> None:
    images = list(recording.find_images())
    facts |= {
        "xml": None,
        "images": len(images),
        "recordings": sorted({image.name for image in images}),
        "channels": [f"Ch{number}" for number in sorted({image.channel for image in images})],
        "cycles": format_ranges(image.cycle for image in images),
        "numbers": format_ranges(image.number for image in images if image.number is not None),
    }
    findings.append(
        Finding(
            "no-xml",
            "The scan's XML (root PVScan) is not in the folder: frame rate, pixel size and frame times are unknown.",
            where=str(recording.folder),
            advice="Copy it from the rig, or pass frame_rate_hz= and pixel_size_um=(y, x) or metadata= when opening.",
        )
    )


def _describe_sequences(scan: PVScan, facts: dict[str, Any], findings: list[Finding]) -> None:
    types = Counter(sequence.type or "untyped" for sequence in scan.sequences)
    facts["recording"] = ", ".join(dict.fromkeys(KINDS.get(kind, kind) for kind in types)) or "empty"
    facts["sequences"] = dict(types)
    facts["frames_listed"] = len(scan.frames)
    if scan.attributes.get("date"):
        facts["date"] = scan.attributes["date"]
    if not facts["frames_listed"]:
        findings.extend(scan.findings)


def _describe_frames(scan: PVScan, recording: RecordingFolder, facts: dict[str, Any], findings: list[Finding]) -> None:
    arrangement = arrange_frames(scan)
    findings.extend(arrangement.findings)
    listed = scan.files.names
    lost = np.flatnonzero(recording.listing.names.find(listed) < 0)
    facts |= {"files_listed": len(listed), "files_missing": len(lost), "stacks": sorted(recording.stacks.values())}
    if lost.size and not recording.stacks:
        frames = missing_in_words(arrangement, np.unique(scan.files.frame[lost]))
        findings.append(
            Finding(
                "missing-images",
                f"{len(lost)} of {len(listed)} image files that the XML lists are not there: {frames} "
                f"(first: '{listed[lost[0]]}').",
                "error",
                where=str(recording.folder),
                advice="Copy them from the rig; without them only the metadata can be read.",
                evidence={"missing": len(lost), "listed": len(listed)},
            )
        )
    findings.extend(unlisted_findings(arrangement, recording))
    metadata, noticed = build_metadata(arrangement)
    findings.extend(noticed)
    facts |= {
        "n_frames": metadata.n_frames,
        "n_planes": metadata.n_planes,
        "channels": list(metadata.channels),
        "frame_shape_px": list(metadata.frame_shape_px),
        "frame_rate_hz": metadata.frame_rate_hz,
        "frame_rate_source": metadata.frame_rate_source,
        "pixel_size_um": None if metadata.pixel_size_um is None else list(metadata.pixel_size_um),
        "duration_s": None if metadata.frame_times_s is None else float(metadata.frame_times_s.max()),
        "acquired": None if metadata.acquired is None else metadata.acquired.isoformat(),
        "zoom": metadata.zoom,
        "objective": metadata.objective,
        "bit_depth": metadata.bit_depth,
        "scan_center_v": None if metadata.scan_center_v is None else list(metadata.scan_center_v),
        "laser_power": dict(metadata.laser_power),
        "pmt_gain": dict(metadata.pmt_gain),
        "plane_z_um": None if metadata.plane_z_um is None else list(metadata.plane_z_um[:200]),
    }
