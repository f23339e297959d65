"""Small recordings of rigs of which no real files are at hand, written byte by byte as public readers expect them.

Nothing here uses the package. Sources: ThorImage 4.0's real Experiment.xml; the ThorSync 3.0 manual; the ScanImage BigTIFF
specification and a real header of ScanImage 2020; Scanbox's own sbxread.m.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile


def write_thor_xml(
    folder: Path,
    shape: tuple[int, int],
    *,
    channels: int = 4,
    only_enabled: str | None = "1",
    frames: int = 6,
    average: tuple[int, int] = (0, 10),
    steps: int = 1,
    flyback: int = 1,
    fast_z: int = 0,
    mode: int = 1,
    status: str = "Complete",
    frame_rate: str = "22.279",
) -> Path:
    """Write an Experiment.xml with the elements of the real one that matter; ``channels`` is a bit mask."""
    names = [f'<Wavelength name="Chan{"ABCD"[bit]}" exposureTimeMS="0" />' for bit in range(4) if channels >> bit & 1]
    raw = "" if only_enabled is None else f'<RawData onlyEnabledChannels="{only_enabled}" />'
    path = folder / "Experiment.xml"
    path.write_text(
        f"""<?xml version="1.0"?>
<ThorImageExperiment>
  <Date date="03/14/2024 09:49:55" uTime="1710409795" />
  <Software version="4.0.2020.2171" />
  <Magnification mag="14.2" name="16X Nikon" />
  <Wavelengths>{"".join(names)}<ChannelEnable Set="{channels}" /></Wavelengths>
  <ZStage name="ThorMCM3000" steps="{steps}" stepSizeUM="5" startPos="-0.07" enable="1" />
  <Timelapse timepoints="{frames}" intervalSec="0" />
  <LSM name="ResonanceGalvo" channel="{channels}" pixelX="{shape[1]}" pixelY="{shape[0]}" averageMode="{average[0]}"
    averageNum="{average[1]}" pixelSizeUM="0.5" widthUM="{shape[1] * 0.5}" heightUM="{shape[0] * 0.5}" frameRate="{frame_rate}" />
  <PMT gainA="10" gainB="20" gainC="50" gainD="0" />
  <Pockels start="20" stop="20" /><Pockels start="0" stop="0" />
  <Streaming enable="1" frames="{frames}" zFastEnable="{fast_z}" flybackFrames="{flyback}" />
  <CaptureMode mode="{mode}" />
  <ExperimentStatus value="{status}" />
  {raw}
</ThorImageExperiment>""",
        encoding="utf-8",
    )
    return path


def write_thorsync(
    folder: Path,
    *,
    n_samples: int = 3000,
    rate_hz: float = 30000.0,
    written_hz: float | None = 30000.0,
    lines: Mapping[str, np.ndarray] | None = None,
    clock: np.ndarray | None = None,
    name: str = "Episode001.h5",
) -> Path:
    """Write an episode: each line of shape (n, 1), a clock of 20 MHz, settings with an inactive board before the active one."""
    import h5py

    rng = np.random.default_rng(3)
    lines = lines or {
        "AI/Pockels Monitor": rng.normal(size=n_samples),
        "DI/Frame_Out": (np.arange(n_samples) // 100 % 2 * 2).astype(np.uint32),
        "CI/Frame Counter": np.cumsum(np.arange(n_samples) % 200 == 100).astype(np.uint32),
    }
    path = folder / name
    with h5py.File(path, "w") as file:
        for key, values in lines.items():
            file.create_dataset(key, data=np.asarray(values).reshape(-1, 1), chunks=(min(500, n_samples), 1), compression="gzip")
        file.create_dataset("Freq/Hz", data=np.zeros((10, 1)))
        if clock is None:
            clock = np.round(5000 + np.arange(n_samples) * 20e6 / rate_hz).astype(np.uint64)
        if len(clock):
            file.create_dataset("Global/GCtr", data=clock.reshape(-1, 1))
    if written_hz is not None:
        (folder / "ThorRealTimeDataSettings.xml").write_text(
            f"""<?xml version="1.0"?><RealTimeDataSettings><DaqDevices>
            <AcquireBoard type="Simulator" devID="NONE" active="0"><SampleRate rate="1000" enable="1" /></AcquireBoard>
            <AcquireBoard type="NI6363" devID="Dev1" active="1"><SampleRate rate="1000" enable="0" />
            <SampleRate rate="{written_hz:g}" enable="1" /></AcquireBoard></DaqDevices></RealTimeDataSettings>"""
        )
    return path


def matlab_text(value: Any) -> str:
    """Write a value as ScanImage does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, str) for item in value):
            return "{" + " ".join(matlab_text(item) for item in value) + "}"
        if value and all(isinstance(item, (list, tuple)) for item in value):
            return "[" + ";".join(" ".join(map(matlab_text, row)) for row in value) + "]"
        return "[" + " ".join(map(matlab_text, value)) + "]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def scanimage_header(**changes: Any) -> str:
    """Return the text of a header of ScanImage 2020 with one channel and one plane; keys with ``__`` for the dot."""
    values: dict[str, Any] = {
        "VERSION_MAJOR": 2020,
        "VERSION_MINOR": 1,
        "hChannels.channelSave": [1],
        "hChannels.channelName": ["Channel 1", "Channel 2", "Channel 3", "Channel 4"],
        "hScan2D.logAverageFactor": 1,
        "hRoiManager.scanFrameRate": 30.0,
        "hRoiManager.scanZoomFactor": 2.5,
        "hRoiManager.imagingFovUm": [[-250, -200], [250, -200], [250, 200], [-250, 200]],
        "hRoiManager.mroiEnable": False,
        "hStackManager.enable": False,
        "hFastZ.enable": False,
        "objectiveResolution": 15,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return "\n".join(f"SI.{key} = {matlab_text(value)}" for key, value in values.items())


def page_texts(numbers: Sequence[int], *, n_channels: int = 1, rate_hz: float = 30.0, start_s: float = 0.0) -> list[str]:
    """Return the text of each page: one for each frame number and channel."""
    return [
        f"frameNumbers = {number}\nacquisitionNumbers = 1\nframeNumberAcquisition = {number}\n"
        f"frameTimestamps_sec = {start_s + (number - 1) / rate_hz:.9f}\nepoch = [2021  2 12 10 31 4.125]\n"
        for number in numbers
        for _ in range(n_channels)
    ]


def write_scanimage(path: Path, pages: np.ndarray, header: str, texts: Sequence[str], *, bigtiff: bool = False) -> Path:
    """Write a classic TIFF with the header in the tag Software, or a BigTIFF with it in ScanImage's block."""
    if bigtiff:
        path.write_bytes(_bigtiff(pages, header.encode(), texts))
        return path
    with tifffile.TiffWriter(path) as tiff:
        for page, text in zip(pages, texts, strict=True):
            tiff.write(page, photometric="minisblack", description=text, software=header, metadata=None, contiguous=False)
    return path


def _bigtiff(pages: np.ndarray, header: bytes, texts: Sequence[str], rois: bytes = b'{"RoiGroups": {}}') -> bytes:
    """Return a BigTIFF with ScanImage's block between header and first page."""
    block = struct.pack("<IIII", 117637889, 4, len(header) + 1, len(rois) + 1) + header + b"\0" + rois + b"\0"
    start = 16 + len(block)
    out = bytearray(b"II" + struct.pack("<HHHQ", 43, 8, 0, start) + block)
    for index, (page, text) in enumerate(zip(pages, texts, strict=True)):
        data, words = page.astype("<i2").tobytes(), text.encode() + b"\0"
        ifd = len(out)
        n_tags = 9
        words_at = ifd + 8 + n_tags * 20 + 8
        data_at = words_at + len(words)
        following = data_at + len(data) if index + 1 < len(pages) else 0
        tags = [
            (256, 4, 1, page.shape[1]),
            (257, 4, 1, page.shape[0]),
            (258, 3, 1, 16),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (270, 2, len(words), words_at),
            (273, 16, 1, data_at),
            (279, 16, 1, len(data)),
            (339, 3, 1, 2),
        ]
        out += struct.pack("<Q", n_tags) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags) + struct.pack("<Q", following)
        out += words + data
    return bytes(out)


def write_scanbox(path: Path, pixels: np.ndarray, **changes: Any) -> Path:
    """Write an .sbx file of pixels (time, y, x, channel) and its .mat file as version 2 does."""
    from scipy.io import savemat

    height, width, n_channels = pixels.shape[1:]
    (65535 - pixels.astype(np.int64)).astype("<u2").tofile(path)
    info: dict[str, Any] = {
        "scanbox_version": 2,
        "sz": np.array([height, width], np.uint16),
        "recordsPerBuffer": height,
        "channels": 1 if n_channels == 2 else 2,
        "scanmode": 1,
        "resfreq": 7930,
        "volscan": 0,
        "otwave": np.zeros((0, 0), np.uint8),
        "objective": "Nikon_16x_dlr",
        "calibration": np.array([(1.5, 2.0), (0.75, 1.0)], dtype=[("x", float), ("y", float)]).reshape(1, 2),
        "config": {
            "magnification": 2,
            "magnification_list": np.array(["1.0", "2.0"], dtype=object),
            "pmt0_gain": 0.77,
            "pmt1_gain": 0.0,
            "wavelength": 920,
        },
        "frame": np.array([1, 3, 65534, 2], np.uint16),
        "line": np.array([0, height // 2, 0, 1], np.uint16),
        "event_id": np.array([1, 2, 1, 1], np.uint8),
        **changes,
    }
    savemat(path.with_suffix(".mat"), {"info": {key: value for key, value in info.items() if value is not None}})
    return path
