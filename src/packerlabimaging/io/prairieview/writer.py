"""Writing a recording as PrairieView 5.5 does: images, the scan's XML and an ``.env`` file.

For simulated recordings and for tests. Images are on disk at once, the XML when the recording ends: a folder without XML is
a recording that was broken off, as on the rig.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from xml.sax.saxutils import quoteattr

import numpy as np

from packerlabimaging._check import check_length
from packerlabimaging._files import replacing
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.tiff.files import byte_view
from packerlabimaging.io.tiff.layout import DESCRIPTION, SOFTWARE
from packerlabimaging.io.tiff.writer import IfdWriter, TiffStackWriter, header_bytes

_ROWS_PER_STRIP = 8  # as PrairieView writes
_OME_OPEN = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2012-06" UUID="urn:uuid:{uuid}">'


class PrairieViewWriter:
    """Writes a single-plane t-series of one channel, within a ``with`` block.

    Parameters
    ----------
    folder
        Folder of the recording; made if it does not exist, refused if it is not empty.
    metadata
        Frame size (needed), nominal rate (written as ``framePeriod``, whatever the frame times are), pixel size, date and
        optics; what is None is not written.
    name
        Name of the recording, first part of all file names; by default the folder's name.
    channel, channel_name
        Number and name of the channel.
    version
        Version of PrairieView to write down.
    stacked
        True writes one file ``<name>_Cycle00001_Ch2.tif``, as labs make them, beside the XML that lists single files.

    Raises
    ------
    ParameterError
        If the folder is not empty, a name can't be one, or the metadata are of several planes.

    Notes
    -----
    The first file carries the OME-XML of the whole series before its pixels, the others a short one that points to it: their
    pixels begin at different bytes, and programs that follow OME-XML find the sister files.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        metadata: ImagingMetadata,
        name: str | None = None,
        channel: int = 2,
        channel_name: str = "Ch2",
        version: str = "5.5.64.600",
        stacked: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.name
        if metadata.n_planes != 1:
            raise ParameterError(
                f"The metadata are of {metadata.n_planes} planes. PrairieViewWriter writes single-plane recordings."
            )
        if not re.fullmatch(r'[^\x00-\x1f<>:"/\\|?*]+', self.name) or self.name in (".", ".."):
            raise ParameterError(f"name = {self.name!r} can't be part of a file name. Use letters, digits, '-', '_' and '.'.")
        if channel < 1:
            raise ParameterError(f"channel = {channel} is not possible. PrairieView numbers channels from 1 on.")
        self._metadata, self._version, self._stacked = metadata, version, stacked
        self._channel, self._channel_name = int(channel), channel_name
        self._times: list[float] = []
        self._first_frame: np.ndarray | None = None
        self._stack: TiffStackWriter | None = None
        self._open = False
        self._ifds = IfdWriter(metadata.frame_shape_px, np.dtype("<u2"), rows_per_strip=_ROWS_PER_STRIP)

    @property
    def xml_path(self) -> Path:
        """The scan's XML, written by :meth:`close`."""
        return self.folder / f"{self.name}.xml"

    @property
    def n_frames(self) -> int:
        """Frames written so far."""
        return len(self._times)

    def __enter__(self) -> PrairieViewWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()):
            raise ParameterError(f"The folder '{self.folder}' is not empty. Choose a new one; recordings are never overwritten.")
        if self._stacked:
            self._stack = TiffStackWriter(self.folder / f"{self._base}.tif").__enter__()
        self._open = True
        return self

    def write(self, frames: np.ndarray, times_s: np.ndarray) -> None:
        """Append frames.

        Parameters
        ----------
        frames
            Shape ``(n, height, width)``, uint16.
        times_s
            Start of each frame on the program's clock, shape ``(n,)``, seconds, increasing.

        Raises
        ------
        ParameterError
            If shape, type, or times are not as expected.
        """
        frames, times = np.asarray(frames), np.asarray(times_s, dtype=np.float64)
        if not self._open:
            raise ParameterError(f"The writer of '{self.folder}' is not open. Use it in a with block.")
        if frames.ndim != 3 or frames.shape[1:] != self._metadata.frame_shape_px or frames.dtype != np.uint16:
            raise ParameterError(
                f"Frames are {frames.shape} {frames.dtype}. Expected (n, {self._metadata.frame_shape_px[0]}, "
                f"{self._metadata.frame_shape_px[1]}) uint16, as the metadata say."
            )
        check_length("times_s", times, len(frames), per="frame")
        if not np.all(np.isfinite(times)) or np.any(np.diff([*self._times[-1:], *times]) <= 0):
            raise ParameterError(
                "times_s must be finite and increase from frame to frame. Give the start of each frame in seconds."
            )
        if self._stack is not None:
            self._stack.write(frames)
        else:
            self._write_files(frames)
        self._times.extend(times.tolist())

    def close(self) -> None:
        """Finish the recording: the first file's OME-XML, the scan's XML, the ``.env`` file. Does nothing the second time.

        Raises
        ------
        ParameterError
            If no frame was written.
        """
        if not self._open:
            return
        self._open = False
        if not self._times:
            raise ParameterError(f"No frame was written to '{self.folder}'. A recording can't be empty.")
        if self._stack is not None:
            self._stack.__exit__(None, None, None)
        else:
            self._write_master()
        _write_lines(self.folder / f"{self.name}.env", _environment_lines(self._metadata, self._version))
        _write_lines(self.xml_path, self._scan_lines())

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        elif self._stack is not None:
            self._stack.__exit__(kind, value, trace)

    @property
    def _base(self) -> str:
        return f"{self.name}_Cycle00001_Ch{self._channel}"

    def _file_name(self, frame: int) -> str:
        return f"{self._base}_{frame + 1:06d}.ome.tif"

    def _uuid(self, frame: int) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self._file_name(frame)))

    def _write_files(self, frames: np.ndarray) -> None:
        pixels = 8
        header = header_bytes(pixels + self._ifds.image_bytes, big=False)
        start = _OME_OPEN.format(uuid=self._uuid(0))
        pointer = f'{start}<BinaryOnly MetadataFile={_quoted(self._file_name(0))} UUID="urn:uuid:{self._uuid(0)}"/></OME>'
        texts = {DESCRIPTION: pointer, SOFTWARE: f"Prairie View {self._version}"}
        tail = self._ifds.build(pixels + self._ifds.image_bytes, pixels, last=True, texts=texts)
        own = tail.index(self._uuid(0).encode())  # the file's own identifier stands where the first one's was built in
        stored = np.ascontiguousarray(frames, "<u2")
        for row, frame in enumerate(stored, start=self.n_frames):
            if row == 0:
                self._first_frame = frame.copy()
            identifier = self._uuid(row).encode()
            with open(self.folder / self._file_name(row), "xb") as file:
                file.write(header)
                file.write(byte_view(frame))
                file.write(tail[:own] + identifier + tail[own + len(identifier) :])

    def _write_master(self) -> None:
        """Write the first file again, now with the OME-XML that names all files."""
        if self._first_frame is None:
            return
        texts = {DESCRIPTION: "".join(self._ome_parts()), SOFTWARE: f"Prairie View {self._version}"}
        n_bytes = len(self._ifds.build(8, 0, last=True, texts=texts))
        block = self._ifds.build(8, 8 + n_bytes, last=True, texts=texts)
        with replacing(self.folder / self._file_name(0)) as temporary:
            temporary.write_bytes(header_bytes(8, big=False) + block + self._first_frame.tobytes())

    def _ome_parts(self) -> Iterator[str]:
        height, width = self._metadata.frame_shape_px
        yield _OME_OPEN.format(uuid=self._uuid(0))
        yield f'<Image ID="Image:0" Name={_quoted(self.name)}><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
        yield f'SizeX="{width}" SizeY="{height}" SizeC="1" SizeZ="1" SizeT="{self.n_frames}">'
        yield f'<Channel ID="Channel:0:0" Name={_quoted(self._channel_name)} SamplesPerPixel="1"/>'
        for frame in range(self.n_frames):
            yield f'<TiffData FirstC="0" FirstZ="0" FirstT="{frame}" IFD="0" PlaneCount="1">'
            yield f"<UUID FileName={_quoted(self._file_name(frame))}>urn:uuid:{self._uuid(frame)}</UUID></TiffData>"
        yield "</Pixels></Image></OME>"

    def _scan_lines(self) -> Iterator[str]:
        yield '<?xml version="1.0" encoding="utf-8"?>'
        notes = _quoted(str(self._metadata.extra.get("notes", "")))
        yield f"<PVScan version={_quoted(self._version)}{_date(self._metadata)} notes={notes}>"
        yield from _shard_lines(self._metadata)
        acquired = self._metadata.acquired
        time = f' time="{acquired:%H:%M:%S.%f}0"' if acquired is not None else ""
        yield f'  <Sequence type="TSeries Timed Element" cycle="1"{time} xYStageGridDefined="False">'
        yield "    <PVStateShard />"
        name, channel_name = _quoted, _quoted(self._channel_name)
        for frame, time_s in enumerate(self._times):
            times = f'relativeTime="{time_s - self._times[0]!r}" absoluteTime="{time_s!r}"'
            yield f'    <Frame {times} index="{frame + 1}" parameterSet="CurrentSettings">'
            yield f'      <File channel="{self._channel}" channelName={channel_name} filename={name(self._file_name(frame))} />'
            yield '      <ExtraParameters lastGoodFrame="0" />'
            yield "    </Frame>"
        yield "  </Sequence>"
        yield "</PVScan>"


def _quoted(text: str) -> str:
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]", text):
        raise ParameterError(f"The text {text!r} holds characters that XML forbids. Leave control characters out.")
    return quoteattr(text, {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})


def _date(metadata: ImagingMetadata) -> str:
    acquired = metadata.acquired
    if acquired is None:
        return ""
    hour, half = acquired.hour % 12 or 12, "PM" if acquired.hour >= 12 else "AM"
    return f' date="{acquired.month}/{acquired.day}/{acquired.year:04d} {hour}:{acquired:%M:%S} {half}"'


def _shard_lines(metadata: ImagingMetadata) -> Iterator[str]:
    """Yield the scan's state."""
    height, width = metadata.frame_shape_px
    period_s = None if metadata.frame_rate_hz is None else repr(1 / metadata.frame_rate_hz)
    pixel, center, depth = metadata.pixel_size_um, metadata.scan_center_v, metadata.plane_z_um
    yield "  <PVStateShard>"
    yield from _value("activeMode", metadata.extra.get("activeMode", "ResonantGalvo"))
    yield from _value("bitDepth", metadata.bit_depth)
    yield from _indexed("currentScanCenter", () if center is None else (("XAxis", center[1], ""), ("YAxis", center[0], "")))
    yield from _value("framePeriod", period_s)
    yield from _indexed("laserPower", _by_name(metadata.laser_power))
    yield from _value("linesPerFrame", height)
    yield from _indexed("micronsPerPixel", () if pixel is None else (("XAxis", pixel[1], ""), ("YAxis", pixel[0], "")))
    yield from _value("objectiveLens", metadata.objective)
    yield from _value("opticalZoom", metadata.zoom)
    yield from _value("pixelsPerLine", width)
    yield from _indexed("pmtGain", _by_name(metadata.pmt_gain))
    if depth is not None:
        yield '    <PVStateValue key="positionCurrent">'
        yield f'      <SubindexedValues index="ZAxis"><SubindexedValue subindex="0" value="{depth[0]!r}" /></SubindexedValues>'
        yield "    </PVStateValue>"
    yield "  </PVStateShard>"


def _by_name(named: Mapping[str, float]) -> list[tuple[str, float, str]]:
    return [(str(index), value, name) for index, (name, value) in enumerate(named.items())]


def _value(key: str, value: object) -> Iterator[str]:
    if value is not None:
        yield f'    <PVStateValue key="{key}" value={_quoted(str(value))} />'


def _indexed(key: str, items: Iterable[tuple[str, float, str]]) -> Iterator[str]:
    lines = [
        f'      <IndexedValue index="{index}" value="{value!r}"{f" description={_quoted(name)}" if name else ""} />'
        for index, value, name in items
    ]
    if lines:
        yield from (f'    <PVStateValue key="{key}">', *lines, "    </PVStateValue>")


def _environment_lines(metadata: ImagingMetadata, version: str) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield f"<Environment version={_quoted(version)}{_date(metadata)}>"
    yield from _shard_lines(metadata)
    yield "</Environment>"


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file with a byte order mark, as PrairieView does, complete or not at all."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
