"""ThorImage's ``Experiment.xml``: frame size, rate, channels and planes of a recording.

The file keeps every setting of the program, used or not: 53 z-steps stand there for a movie of a single plane. A volume is
believed only where fast z-scanning was on while streaming, or where z-steps were taken between images. ``frameRate`` counts
the frames of the scanner: where the program averaged frames, fewer were saved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.untrusted.xml import parse_xml

EXPERIMENT_FILE, ROOT = "Experiment.xml", "ThorImageExperiment"
CHANNELS = ("ChanA", "ChanB", "ChanC", "ChanD")
"""Names of the channels; bit k of ``LSM channel`` and ``ChannelEnable Set`` is channel k."""

MAX_SIZE_PX, MAX_IMAGES = 1 << 16, 1 << 40

_PIXEL_SIZE_DISAGREES = 0.02


@dataclass(frozen=True)
class ThorExperiment:
    """What an ``Experiment.xml`` says.

    Parameters
    ----------
    path
        The file.
    frame_shape_px
        ``(height, width)``.
    channels
        Names of the channels that were on.
    only_enabled_saved
        Whether a raw file holds only these; None where the program does not say (old versions).
    n_planes
        Planes of a volume.
    n_flyback
        Frames of each volume that were taken while the objective flew back; they are saved as well.
    n_images
        Images of each channel that were to be taken, flyback included; None where it does not say.
    n_averaged
        Frames of the scanner in one saved image.
    frame_rate_hz
        Volumes (or frames, where there is one plane) per second; None where images were taken one by one.
    metadata
        All that is known, without a number of frames.
    findings
        What looks odd.
    """

    path: Path
    frame_shape_px: tuple[int, int]
    channels: tuple[str, ...]
    only_enabled_saved: bool | None
    n_planes: int
    n_flyback: int
    n_images: int | None
    n_averaged: int
    frame_rate_hz: float | None
    metadata: ImagingMetadata
    findings: tuple[Finding, ...] = field(default=())


def read_experiment(path: str | Path) -> ThorExperiment:
    """Read an ``Experiment.xml``, or that of a folder.

    Raises
    ------
    MissingFileError
        If there is none.
    FormatError
        If it is not ThorImage's, lacks the frame size, or holds numbers that make no sense.
    """
    path = Path(path)
    path = path / EXPERIMENT_FILE if path.is_dir() else path
    if not path.is_file():
        raise MissingFileError(f"There is no '{path}'. ThorImage writes it beside its images: copy it from the rig.")
    root = parse_xml(path)
    if root.tag != ROOT:
        raise FormatError(f"'{path}' is no ThorImage experiment: its root is '{root.tag}'. Expected '{ROOT}'.")
    values = _Values(root, path)
    shape = values.count("LSM", "pixelY", most=MAX_SIZE_PX), values.count("LSM", "pixelX", most=MAX_SIZE_PX)
    channels = _channels(values)
    mode = values.number("CaptureMode", "mode")  # 0: images one by one in time and z, 1: streaming
    streaming = mode == 1 if mode is not None else values.number("Streaming", "enable") == 1
    volumes = streaming and values.number("Streaming", "zFastEnable") == 1
    n_steps = values.optional_count("ZStage", "steps") or 1
    stepped = not streaming and values.number("ZStage", "enable") != 0
    n_planes = n_steps if volumes or stepped else 1
    n_flyback = values.optional_count("Streaming", "flybackFrames", zero=True) or 0 if volumes and n_planes > 1 else 0
    n_averaged = (values.optional_count("LSM", "averageNum") or 1) if values.number("LSM", "averageMode") == 1 else 1
    rate = values.number("LSM", "frameRate")
    rate = rate / n_averaged / (n_planes + n_flyback) if streaming and rate is not None and rate > 0 else None
    pixel_size, findings = _pixel_size(values, shape)
    return ThorExperiment(
        path=path,
        frame_shape_px=shape,
        channels=channels,
        only_enabled_saved=_flag(values.number("RawData", "onlyEnabledChannels")),
        n_planes=n_planes,
        n_flyback=n_flyback,
        n_images=_announced(values, streaming, n_planes),
        n_averaged=n_averaged,
        frame_rate_hz=rate,
        metadata=_metadata(values, shape, channels, n_planes, rate, pixel_size),
        findings=findings,
    )


class _Values:
    """Attributes of the elements of an experiment, as numbers that make sense."""

    def __init__(self, root: ElementTree.Element, path: Path) -> None:
        self.root, self.path = root, path

    def text(self, element: str, attribute: str) -> str | None:
        found = self.root.find(element)
        return None if found is None else found.get(attribute)

    def number(self, element: str, attribute: str) -> float | None:
        """Return a finite number, None where there is none."""
        text = self.text(element, attribute)
        try:
            number = float(text) if text else None
        except ValueError:
            return None
        return number if number is not None and math.isfinite(number) else None

    def optional_count(self, element: str, attribute: str, *, zero: bool = False) -> int | None:
        """Return a whole number in range, None where there is none.

        Raises
        ------
        FormatError
            If there is one that makes no sense.
        """
        text = self.text(element, attribute)
        if text is None:
            return None
        number = self.number(element, attribute)
        if number is None or number != int(number) or not (0 if zero else 1) <= number <= MAX_IMAGES:
            raise FormatError(
                f"'{self.path}' says {element} {attribute}=\"{text}\". Expected a whole number{' or 0' if zero else ' > 0'}. "
                "The file is damaged: copy it again."
            )
        return int(number)

    def count(self, element: str, attribute: str, *, most: int) -> int:
        """Return a whole number that must be there."""
        number = self.optional_count(element, attribute)
        if number is None or number > most:
            raise FormatError(
                f"'{self.path}' has {element} {attribute} = {number}. Expected a whole number up to {most}: only recordings of a "
                "laser scanning microscope (LSM) are read."
            )
        return number


def _flag(number: float | None) -> bool | None:
    return None if number is None else number != 0


def _channels(values: _Values) -> tuple[str, ...]:
    """Return the channels that were on: by the bits of a number, else by the names of the wavelengths."""
    for element, attribute in (("Wavelengths/ChannelEnable", "Set"), ("LSM", "channel")):
        bits = values.number(element, attribute)
        if bits is not None and bits == int(bits) and 0 < bits < 1 << len(CHANNELS):
            return tuple(name for place, name in enumerate(CHANNELS) if int(bits) >> place & 1)
    named = [wavelength.get("name", "") for wavelength in values.root.findall("Wavelengths/Wavelength")]
    found = tuple(name for name in CHANNELS if name in named)
    if not found:
        raise FormatError(
            f"'{values.path}' does not say which channels were on. Expected ChannelEnable Set= with a bit for each of "
            f"{', '.join(CHANNELS)}."
        )
    return found


def _announced(values: _Values, streaming: bool, n_planes: int) -> int | None:
    """Return how many images of each channel were to be taken."""
    if streaming:
        return values.optional_count("Streaming", "frames")
    times = values.optional_count("Timelapse", "timepoints")
    return None if times is None else times * n_planes


def _pixel_size(values: _Values, shape: tuple[int, int]) -> tuple[tuple[float, float] | None, tuple[Finding, ...]]:
    """Return ``(y, x)`` from the size of the field, which has more digits, else as written."""
    height, width, written = (values.number("LSM", name) for name in ("heightUM", "widthUM", "pixelSizeUM"))
    written = written if written is not None and written > 0 else None
    if height is None or width is None or height <= 0 or width <= 0:
        return (None if written is None else (written, written)), ()
    size = (height / shape[0], width / shape[1])
    if written is None or abs(size[1] - written) <= _PIXEL_SIZE_DISAGREES * written:
        return size, ()
    message = f"The field of {width:g} um over {shape[1]} px gives {size[1]:.4g} um per pixel, but pixelSizeUM is {written:g}."
    evidence = {"from_field_um": size[1], "written_um": written}
    advice = "The size of the field was used. Check it, and pass pixel_size_um= if it is wrong."
    return size, (Finding("pixel-size-disagrees", message, where=str(values.path), advice=advice, evidence=evidence),)


def _metadata(
    values: _Values,
    shape: tuple[int, int],
    channels: tuple[str, ...],
    n_planes: int,
    rate: float | None,
    pixel_size: tuple[float, float] | None,
) -> ImagingMetadata:
    gains = {name: values.number("PMT", f"gain{name[-1]}") for name in channels}
    pockels = [_start(pockel) for pockel in values.root.findall("Pockels")]
    extra: dict[str, Any] = {
        "z_step_um": values.number("ZStage", "stepSizeUM") if n_planes > 1 else None,
        "dwell_time_us": values.number("LSM", "dwellTime"),
        "magnification": values.number("Magnification", "mag"),
        "status": values.text("ExperimentStatus", "value"),
    }
    return ImagingMetadata(
        frame_shape_px=shape,
        n_planes=n_planes,
        channels=channels,
        frame_rate_hz=rate,
        frame_rate_source=None if rate is None else "nominal",
        pixel_size_um=pixel_size,
        program="ThorImage",
        program_version=values.text("Software", "version"),
        sequence_type=values.text("LSM", "name"),
        acquired=_date(values.text("Date", "date")),
        objective=values.text("Magnification", "name"),
        laser_power={f"pockels{index}": power for index, power in enumerate(pockels, 1) if power},
        pmt_gain={name: gain for name, gain in gains.items() if gain is not None},
        extra={name: value for name, value in extra.items() if value is not None},
    )


def _start(pockels: ElementTree.Element) -> float | None:
    """Return the power at the start, in per cent of the modulator's range."""
    try:
        power = float(pockels.get("start", ""))
    except ValueError:
        return None
    return power if math.isfinite(power) else None


def _date(text: str | None) -> datetime | None:
    """Return a date in US style, None where it is written in another way."""
    for form in ("%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M:%S"):
        try:
            return datetime.strptime(text or "", form)
        except ValueError:
            continue
    return None
