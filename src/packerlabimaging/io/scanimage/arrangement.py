"""How the pages of a ScanImage recording are arranged, how fast, and how large a pixel is: as the header says it.

Slice counts go stale: ``numSlices`` keeps what an earlier setting left, so a volume is believed only where a stack or fast
z-scanning was on, and its size is that of ``actualNumSlices`` or of the frames per volume. Frames taken while the objective
flew back lie at the end of each volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import FormatError
from packerlabimaging.io.interleaving import Interleaving
from packerlabimaging.io.scanimage.header import ScanImageHeader


@dataclass(frozen=True)
class ScanImageArrangement:
    """What a header says about the pages.

    Parameters
    ----------
    channels, channel_numbers
        Names and numbers of the channels that were saved, in the file's order.
    interleaving
        How the pages follow one another.
    frames_per_volume
        Pages of one channel that the scanner made in the time of a volume, whether or not those of the flyback were saved.
    n_volumes
        Volumes that were to be taken, None where it does not say.
    n_averaged
        Frames of the scanner in one page.
    slow_stack
        Whether the planes were taken one after another with the motor, many frames each.
    frame_rate_hz
        Frames of the scanner per second.
    """

    channels: tuple[str, ...]
    channel_numbers: tuple[int, ...]
    interleaving: Interleaving
    frames_per_volume: int
    n_volumes: int | None
    n_averaged: int
    slow_stack: bool
    frame_rate_hz: float | None


def arrange(header: ScanImageHeader) -> ScanImageArrangement:
    """Return how the pages are arranged.

    Raises
    ------
    FormatError
        If the header does not say which channels were saved, or its numbers contradict each other.
    """
    numbers, names = _channels(header)
    n_averaged = header.count("hScan2D.logAverageFactor", "acqNumAveragedFrames", "acq.numAvgFramesSave") or 1
    rate = header.positive("hRoiManager.scanFrameRate", "scanFrameRate", "acq.frameRate")
    period = header.positive("hRoiManager.scanFramePeriod", "scanFramePeriod")
    n_planes, n_repeats, n_flyback, slow = _volume(header, n_averaged)
    return ScanImageArrangement(
        channels=names,
        channel_numbers=numbers,
        interleaving=Interleaving(len(numbers), n_planes, n_flyback, n_repeats),
        frames_per_volume=n_planes * n_repeats + n_flyback,
        n_volumes=header.count(
            "hStackManager.actualNumVolumes", "hStackManager.numVolumes", "hFastZ.numVolumes", "fastZNumVolumes"
        ),
        n_averaged=n_averaged,
        slow_stack=slow,
        frame_rate_hz=rate if rate is not None or period is None else 1 / period,
    )


def _channels(header: ScanImageHeader) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return numbers and names of the saved channels."""
    if header.prefix == "state":
        numbers = tuple(number for number in range(1, 5) if header.flag(f"acq.savingChannel{number}"))
    else:
        found = header.numbers("hChannels.channelSave", "channelsSave", "hChannels.channelsActive")
        numbers = tuple(int(number) for number in found if number == int(number) and 0 < number < 1000)
    if not numbers or len(set(numbers)) < len(numbers) or len(numbers) > 64:
        raise FormatError(
            f"'{header.path}' does not say which channels were saved ({numbers}). Expected hChannels.channelSave. "
            "Open it with reader='tiff' and n_channels=."
        )
    named = header.texts("hChannels.channelName") or header.texts("channelsName")
    names = tuple(named[number - 1] if number <= len(named) and named[number - 1] else str(number) for number in numbers)
    return numbers, names if len(set(names)) == len(names) else tuple(map(str, numbers))


def _volume(header: ScanImageHeader, n_averaged: int) -> tuple[int, int, int, bool]:
    """Return planes, pages of each plane in a volume, flyback pages after it, and whether it is a slow stack."""
    if header.prefix == "state":
        n_slices = header.count("acq.numberOfZSlices") or 1
        n_frames = 1 if header.flag("acq.averaging") else header.count("acq.numberOfFrames") or 1
        return (n_slices, n_frames, 0, True) if n_slices > 1 else (1, 1, 0, False)
    if header.prefix in ("scanimage.SI4", "scanimage.SI5") and "hStackManager.numSlices" not in header.values:
        return _volume_of_4(header, n_averaged)
    fast = header.flag("hFastZ.enable")
    stack = header.flag("hStackManager.enable") if "hStackManager.enable" in header.values else False
    n_slices = header.count("hStackManager.numSlices", "hStackManager.slicesPerAcq") or 1
    if not fast and not stack:
        old = "hStackManager.enable" not in header.values and n_slices > 1
        n_frames = header.count("hStackManager.framesPerSlice") or 1
        return (n_slices, _averaged(n_frames, n_averaged, header), 0, True) if old else (1, 1, 0, False)
    return _volume_of_stack(header, n_averaged, n_slices)


def _volume_of_stack(header: ScanImageHeader, n_averaged: int, n_slices: int) -> tuple[int, int, int, bool]:
    n_discarded = header.count("hFastZ.numDiscardFlybackFrames", zero=True) or 0
    whole = header.count("hStackManager.numFramesPerVolumeWithFlyback", "hFastZ.numFramesPerVolume")
    n_frames = header.count("hStackManager.numFramesPerVolume") or (None if whole is None else max(1, whole - n_discarded))
    slow = "slow" in header.values.get("hStackManager.stackMode", "").lower()
    planes = header.count("hStackManager.actualNumSlices")
    if planes is None:
        planes = n_slices if slow or n_frames is None else n_frames
    if planes == 1:
        return 1, 1, 0, False
    n_frames = n_frames if n_frames is not None else planes * (header.count("hStackManager.framesPerSlice") or 1)
    n_repeats, rest = divmod(n_frames, planes)
    n_flyback = (whole if whole is not None else n_frames) - n_frames
    if rest or n_flyback < 0 or not n_repeats:
        raise FormatError(
            f"'{header.path}' contradicts itself: {planes} slices, {n_frames} frames in a volume, {whole} with flyback. "
            "Open it with reader='tiff', n_channels= and n_planes=."
        )
    return planes, _averaged(n_repeats, n_averaged, header), n_flyback, slow and planes > 1


def _volume_of_4(header: ScanImageHeader, n_averaged: int) -> tuple[int, int, int, bool]:
    """Return the volume as versions 4 and 5.0 describe it."""
    n_slices = header.count("stackNumSlices") or 1
    if n_slices == 1:
        return 1, 1, 0, False
    if not header.flag("fastZEnable"):
        return n_slices, _averaged(header.count("acqNumFrames") or 1, n_averaged, header), 0, True
    discards = header.flag("fastZDiscardFlybackFrames")
    return n_slices, 1, (header.count("fastZNumDiscardFrames", zero=True) or 0) if discards else 0, False


def _averaged(n_frames: int, n_averaged: int, header: ScanImageHeader) -> int:
    """Return how many pages frames that were averaged in groups make."""
    if n_frames % n_averaged:
        raise FormatError(
            f"'{header.path}' contradicts itself: {n_frames} frames of a plane, averaged in groups of {n_averaged}. "
            "Open it with reader='tiff', n_channels= and n_planes=."
        )
    return n_frames // n_averaged


def pixel_size(header: ScanImageHeader, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Return ``(y, x)`` in micrometres of a page of ``shape``: field of view over pixels.

    The field of view is ``imagingFovUm``, or in degrees of the scanner ``imagingFovDeg``, or with several regions the size of
    one; ``objectiveResolution`` is the number of micrometres per degree.
    """
    um_per_degree = header.positive("objectiveResolution")
    for key, factor in (("hRoiManager.imagingFovUm", 1.0), ("hRoiManager.imagingFovDeg", um_per_degree)):
        corners = header.numbers(key)
        if len(corners) >= 8 and factor is not None:
            width, height = (max(corners[axis::2]) - min(corners[axis::2]) for axis in (0, 1))
            if width > 0 and height > 0:
                return height * factor / shape[0], width * factor / shape[1]
    sizes = set()
    for field in scan_fields(header):
        try:
            (width, height), (n_x, n_y) = field["sizeXY"], field["pixelResolutionXY"]
            sizes.add((float(height) / float(n_y), float(width) / float(n_x)))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
    if um_per_degree is None or len(sizes) != 1:
        return None
    y_degrees, x_degrees = sizes.pop()
    return (y_degrees * um_per_degree, x_degrees * um_per_degree) if y_degrees > 0 and x_degrees > 0 else None


def imaging_rois(header: ScanImageHeader) -> list[Mapping[str, Any]]:
    """Return the regions that were imaged; empty where regions were not used."""
    groups = header.rois.get("RoiGroups")
    group = groups.get("imagingRoiGroup") if isinstance(groups, dict) else None
    rois = group.get("rois") if isinstance(group, dict) else None
    listed = rois if isinstance(rois, list) else [rois]
    return [roi for roi in listed if isinstance(roi, dict)] if header.flag("hRoiManager.mroiEnable") else []


def scan_fields(header: ScanImageHeader) -> list[Mapping[str, Any]]:
    """Return the fields of all regions."""
    fields = [roi.get("scanfields") for roi in imaging_rois(header)]
    flat = [field for item in fields for field in (item if isinstance(item, list) else [item])]
    return [field for field in flat if isinstance(field, dict)]


def header_findings(header: ScanImageHeader) -> tuple[Finding, ...]:
    """Return what the header says that the movie does not show."""
    n_rois = len(imaging_rois(header))
    if n_rois < 2:
        return ()
    return (
        Finding(
            "several-regions",
            f"{n_rois} regions were imaged; those of one plane stand above each other in each page, with lines between them.",
            where=header.path,
            advice="The movie shows whole pages. Cut the regions out before cells are looked for.",
            evidence={"n_regions": n_rois},
        ),
    )


def describe(header: ScanImageHeader, shape: tuple[int, int], arrangement: ScanImageArrangement) -> ImagingMetadata:
    """Return what the header says about how a movie with frames of ``shape`` was taken, without number and rate of frames."""
    n_planes = arrangement.interleaving.n_planes
    depths = header.numbers("hStackManager.zs") if n_planes > 1 else ()
    powers = header.numbers("hBeams.powers", "beamPowers")
    gains = header.numbers("hPmts.gains")
    return ImagingMetadata(
        frame_shape_px=shape,
        n_planes=n_planes,
        channels=arrangement.channels,
        pixel_size_um=pixel_size(header, shape),
        plane_z_um=depths if len(depths) == n_planes else None,
        program="ScanImage",
        program_version=header.version,
        zoom=header.positive("hRoiManager.scanZoomFactor", "scanZoomFactor", "acq.zoomFactor"),
        laser_power={f"beam{index}": power for index, power in enumerate(powers, 1)},
        pmt_gain={f"pmt{index}": gain for index, gain in enumerate(gains, 1)},
    )
