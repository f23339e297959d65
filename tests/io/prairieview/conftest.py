"""PrairieView recordings written by hand: XML as text, images by tifffile; nothing of the package under test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

SHARD = """<PVStateShard>
    <PVStateValue key="bitDepth" value="13" />
    <PVStateValue key="framePeriod" value="{period}" />
    <PVStateValue key="linesPerFrame" value="6" />
    <PVStateValue key="pixelsPerLine" value="8" />
    <PVStateValue key="opticalZoom" value="2" />
    <PVStateValue key="objectiveLens" value="16X" />
    <PVStateValue key="laserPower"><IndexedValue index="0" value="30.5" description="Mira" /></PVStateValue>
    <PVStateValue key="pmtGain"><IndexedValue index="0" value="700" description="Ch 1 HV" /></PVStateValue>
    <PVStateValue key="currentScanCenter">
      <IndexedValue index="XAxis" value="-0.25" /><IndexedValue index="YAxis" value="0.5" />
    </PVStateValue>
    <PVStateValue key="micronsPerPixel">
      <IndexedValue index="XAxis" value="1.25" /><IndexedValue index="YAxis" value="1.5" />
    </PVStateValue>
    <PVStateValue key="positionCurrent">
      <SubindexedValues index="ZAxis">
        <SubindexedValue subindex="0" value="-100" description="motor" />
        <SubindexedValue subindex="1" value="12.5" description="piezo" />
      </SubindexedValues>
    </PVStateValue>
  </PVStateShard>"""


def frame_xml(files: list[str], absolute: float | None, index: int, *, relative: float = 0.0, inside: str = "") -> str:
    time = "" if absolute is None else f' relativeTime="{relative!r}" absoluteTime="{absolute!r}"'
    return f'<Frame{time} index="{index}" parameterSet="CurrentSettings">{"".join(files)}{inside}</Frame>'


def file_xml(name: str, channel: int = 2, more: str = "") -> str:
    return f'<File channel="{channel}" channelName="Ch{channel}" {more} filename="{name}" />'


def scan_xml(sequences: str, *, period: str = "0.1", shard: str = SHARD) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><PVScan version="5.5.64.600" date="1/14/2019 12:12:36 AM" notes="">'
        f"{shard.replace('{period}', period)}{sequences}</PVScan>"
    )


def sequence_xml(frames: list[str], cycle: int = 1, type: str = "TSeries Timed Element", more: str = "") -> str:
    return f'<Sequence type="{type}" cycle="{cycle}" time="00:12:36.4174992" {more}>{"".join(frames)}</Sequence>'


@pytest.fixture
def frames() -> np.ndarray:
    """Twelve frames of 6 x 8."""
    return np.random.default_rng(3).integers(0, 8192, (12, 6, 8)).astype(np.uint16)


@pytest.fixture
def t_series(tmp_path: Path, frames: np.ndarray) -> Path:
    """A t-series of 12 frames, 0.1 s apart, channel 2."""
    return write_t_series(tmp_path / "t-001", frames)


def write_t_series(
    folder: Path,
    frames: np.ndarray,
    *,
    times: Callable[[int], float] = lambda index: 0.17 + 0.1 * index,
    period: str = "0.1",
    channels: tuple[int, ...] = (2,),
) -> Path:
    folder.mkdir()
    listed = []
    for index, frame in enumerate(frames):
        names = {channel: f"t-001_Cycle00001_Ch{channel}_{index + 1:06d}.ome.tif" for channel in channels}
        for channel, name in names.items():
            tifffile.imwrite(folder / name, frame + channel - 2, metadata=None, rowsperstrip=2)
        listed.append(frame_xml([file_xml(name, channel) for channel, name in names.items()], times(index), index + 1))
    (folder / "t-001.xml").write_text(scan_xml(sequence_xml(listed), period=period), encoding="utf-8-sig")
    return folder


def write_cycles(folder: Path, planes: list[int], frames: np.ndarray, *, type: str, more: str = "", pause: float = 0.0) -> Path:
    """Cycles of the given numbers of frames, 0.1 s apart; image values come from ``frames`` in the order of the files."""
    folder.mkdir()
    sequences, at = [], 0
    for cycle, count in enumerate(planes, start=1):
        listed = []
        for position in range(count):
            name = f"t_Cycle{cycle:05d}_Ch2_{position + 1:06d}.ome.tif"
            tifffile.imwrite(folder / name, frames[at % len(frames)], metadata=None)
            time = 0.5 + 0.1 * at + pause * (cycle - 1)
            depth = (
                '<PVStateShard><PVStateValue key="positionCurrent"><SubindexedValues index="ZAxis">'
                f'<SubindexedValue subindex="0" value="{10 * position}" /></SubindexedValues></PVStateValue></PVStateShard>'
            )
            listed.append(frame_xml([file_xml(name)], time, position + 1, relative=0.1 * position, inside=depth))
            at += 1
        sequences.append(sequence_xml(listed, cycle, type, more))
    (folder / "t.xml").write_text(scan_xml("".join(sequences)))
    return folder


@pytest.fixture(scope="session")
def rig() -> SimpleNamespace:
    """The functions above, for the tests."""
    return SimpleNamespace(
        SHARD=SHARD,
        FRAME=frame_xml([file_xml("a_Cycle00001_Ch2_000001.ome.tif")], 0.5, 1),
        file_xml=file_xml,
        frame_xml=frame_xml,
        scan_xml=scan_xml,
        sequence_xml=sequence_xml,
        write_cycles=write_cycles,
        write_t_series=write_t_series,
    )
