"""Every PVScan XML at hand: what it holds, as a table, checked against an independent reading by plain xml.etree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from packerlabimaging.errors import MissingFileError
from packerlabimaging.io.prairieview import read_prairieview_metadata
from packerlabimaging.io.readers import inspect_path, open_movie

pytestmark = pytest.mark.realdata


@dataclass(frozen=True)
class Row:
    """What a file holds; the rate is that of the frame times, None for a single image."""

    path: str
    type: str
    version: str
    n_frames: int
    n_planes: int
    channels: tuple[str, ...]
    rate_hz: float | None
    pixel_um: float
    has_images: bool = False


BOTH = ("Ch1", "Ch2")
VIEWER, GATOR, ROI = "swharden__PrairieViewer/data", "swharden__ScanAGator/data", "swharden__ROI-Analysis-Pipeline/data"
TABLE = (
    Row(f"{VIEWER}/minimal/SingleImage-01142019-1352-387", "Single", "5.4.64.500", 1, 1, BOTH, None, 0.147349),
    Row(f"{VIEWER}/minimal/TSeries-01142019-1352-1365", "TSeries Timed Element", "5.4.64.500", 1812, 1, BOTH, 0.999749, 1.178794),
    Row(f"{VIEWER}/stripped/SingleImage-09162014-1448-2961", "Single", "4.3.2.13", 1, 1, BOTH, None, 0.171532),
    Row(f"{VIEWER}/stripped/TSeries-01252019-1046-1394", "TSeries Timed Element", "5.4.64.500", 162, 1, BOTH, 1.001871, 1.178794),
    Row(
        f"{VIEWER}/stripped/TSeries-01252019-1046-1397",
        "TSeries Timed Element",
        "5.4.64.500",
        119,
        1,
        ("Ch2",),
        1.001871,
        1.178794,
    ),
    Row(f"{VIEWER}/stripped/TSeries-01252019-1046-1398", "TSeries Timed Element", "5.4.64.500", 79, 1, BOTH, 0.499630, 0.589397),
    Row(f"{VIEWER}/stripped/t1BL_dendriteD_1", "Linescan", "5.3.64.400", 1, 1, BOTH, None, 0.294118),
    Row(f"{ROI}/ZSeries-09092022-1241-1659", "ZSeries", "5.6.64.200", 1, 39, BOTH, None, 0.294698),
    Row(f"{ROI}/linescan/realistic/LineScan-06162017-1223-628", "Linescan", "5.3.64.400", 15, 1, BOTH, 0.019375, 0.294118),
    Row(f"{GATOR}/linescans/LineScan-02132019-1317-2775", "Linescan", "5.4.64.500", 10, 1, ("Ch2",), 0.199982, 0.589397, True),
    Row(f"{GATOR}/linescans/LineScan-03052024-1208-1065", "Linescan", "5.6.64.400", 1, 1, BOTH, None, 0.294698, True),
    Row(f"{GATOR}/linescans/LineScan-03292014-1525-552", "Linescan", "4.3.2.13", 1, 1, BOTH, None, 1.372255, True),
    Row(f"{GATOR}/linescans/LineScan-08092022-1225-528", "Linescan", "5.6.64.200", 3, 1, BOTH, 0.099995, 0.294698, True),
    Row(f"{GATOR}/tseries", "TSeries Timed Element", "5.4.64.700", 1378, 1, ("Ch2",), 1.529681, 0.589397),
)
rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.path.rsplit("/", 1)[-1])


def is_scan(path: Path) -> bool:
    try:
        return ElementTree.parse(path).getroot().tag == "PVScan"
    except ElementTree.ParseError:
        return False


def find_xml(folder: Path) -> Path:
    (path,) = [path for path in folder.glob("*.xml") if is_scan(path)]
    return path


def test_the_table_has_every_scan(realdata: Path) -> None:
    found = sorted(path.parent.relative_to(realdata).as_posix() for path in realdata.rglob("*.xml") if is_scan(path))
    assert found == sorted(row.path for row in TABLE)


@rows
def test_a_scan_is_read_as_the_table_says(realdata: Path, row: Row) -> None:
    found = read_prairieview_metadata(realdata / row.path)
    assert (found.sequence_type, found.program_version, found.channels) == (row.type, row.version, row.channels)
    assert (found.n_frames, found.n_planes) == (row.n_frames, row.n_planes)
    assert found.frame_rate_hz == (None if row.rate_hz is None else pytest.approx(row.rate_hz, rel=2e-5))
    assert found.frame_rate_source == (None if row.rate_hz is None else "frame times")
    assert found.pixel_size_um == pytest.approx((row.pixel_um, row.pixel_um), abs=1e-6)


@rows
def test_a_scan_is_read_as_its_xml_says(realdata: Path, row: Row) -> None:
    """The same by xml.etree alone; cycles are one volume each in a z-series, otherwise frames in time."""
    root = ElementTree.parse(find_xml(realdata / row.path)).getroot()
    found = read_prairieview_metadata(realdata / row.path)
    sequences = root.findall("Sequence")
    frames = root.findall("Sequence/Frame")
    volumes = "ZSeries" in row.type
    assert {sequence.get("type") for sequence in sequences} == {row.type}
    assert root.get("version") == row.version
    assert len(frames) == found.n_frames * found.n_planes
    assert (found.n_planes > 1) == volumes
    names = {file.get("channel"): file.get("channelName") for file in root.findall("Sequence/Frame/File")}
    assert tuple(name for _, name in sorted(names.items())) == found.channels
    times = np.array([float(frame.get("absoluteTime")) for frame in frames]).reshape(found.n_frames, found.n_planes)
    np.testing.assert_allclose(found.frame_times_s.reshape(times.shape), times - times[0, 0], atol=1e-12)
    if found.n_frames > 1:
        intervals = np.diff(times[:, 0])
        usual = intervals[np.abs(intervals / np.median(intervals) - 1) < 0.5]
        assert found.frame_rate_hz == pytest.approx(1 / usual.mean())
    for axis, value in zip(("YAxis", "XAxis"), found.pixel_size_um, strict=True):
        assert value == pytest.approx(first_value(root, frames[0], "micronsPerPixel", axis))
    assert found.zoom == first_value(root, frames[0], "opticalZoom")
    assert found.frame_shape_px == tuple(first_value(root, frames[0], key) for key in ("linesPerFrame", "pixelsPerLine"))


def first_value(root: ElementTree.Element, frame: ElementTree.Element, key: str, axis: str | None = None) -> float:
    """The value of a key in the frame, else in the scan; 5.x nested, 4.3 with the axis in the key."""
    for element in (frame, root):
        for state in element.iter():
            if state.get("key") == key and axis is None:
                return float(state.attrib["value"])
            if state.get("key") == key:
                return float(next(item.attrib["value"] for item in state if item.get("index") == axis))
            if axis is not None and state.get("key") == f"{key}_{axis}":
                return float(state.attrib["value"])
    raise KeyError(key)


@rows
def test_missing_images_are_named_and_the_rest_is_read(realdata: Path, row: Row) -> None:
    folder = realdata / row.path
    root = ElementTree.parse(find_xml(folder)).getroot()
    listed = {file.attrib["filename"] for file in root.findall("Sequence/Frame/File")}
    lost = listed - {file.name for file in folder.iterdir()}
    (inspected,) = [item for item in inspect_path(folder) if item.format == "prairieview"]
    assert inspected.facts["files_missing"] == len(lost)
    assert (not lost) == row.has_images
    codes = {finding.code: finding for finding in inspected.findings}
    assert ("missing-images" in codes) == bool(lost)
    if not lost:
        assert open_movie(folder, channel=2).n_frames == row.n_frames
    elif row.n_planes == 1:
        named = rf"frames? 1(-{row.n_frames})?\b" if len(root.findall("Sequence")) == 1 else "cycle 1: frames 1"
        with pytest.raises(MissingFileError, match=rf"{row.n_frames} of {row.n_frames} frames of channel 2 .*{named}"):
            open_movie(folder, channel=2)
    else:
        with pytest.raises(MissingFileError, match=r"1 of 1 frames .*: frames 39 "):
            open_movie(folder, channel=2, plane=38)
