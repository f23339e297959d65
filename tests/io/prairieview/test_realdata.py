"""Files of real rigs, checked against tifffile and xml.etree."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from packerlabimaging.errors import AmbiguousInputError, MissingFileError
from packerlabimaging.io.prairieview import read_prairieview_metadata, read_pvscan
from packerlabimaging.io.prairieview.environment import read_environment
from packerlabimaging.io.prairieview.state import axis_number
from packerlabimaging.io.readers import find_readers, inspect_path, open_movie

pytestmark = pytest.mark.realdata

BRUKER = "darikoneil__CalSciPy/tests/testing_samples/datasets"
ONE_PLANE = f"{BRUKER}/1channels_1planes_100frames_512height_512width/bruker_folder"
FOUR_PLANES = f"{BRUKER}/1channels_4planes_100frames_256height_256width/bruker_folder"
MINIMAL = "swharden__PrairieViewer/data/minimal/TSeries-01142019-1352-1365"


@pytest.fixture(autouse=True)
def quiet_tifffile() -> None:
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it reports MetaMorph tags that PrairieView fills with zeros


@pytest.fixture
def scans(realdata: Path) -> list[Path]:
    """Every PVScan XML."""
    return sorted(path for path in realdata.rglob("*.xml") if b"<PVScan" in path.read_bytes()[:300])


def test_eighteen_frames_are_one_movie_with_their_real_pixels(realdata: Path) -> None:
    folder = realdata / ONE_PLANE
    movie = open_movie(folder, reader="prairieview", frame_rate_hz=30, pixel_size_um=(1.1, 1.1))
    files = sorted(folder.glob("*.ome.tif"))
    assert movie.shape == (18, 512, 512)
    for index, file in enumerate(files):
        np.testing.assert_array_equal(movie.read(index, index + 1)[0], tifffile.imread(file, is_ome=False))
    np.testing.assert_array_equal(movie.read(0, 18), np.stack([tifffile.imread(file, is_ome=False) for file in files]))
    assert [movie.frame_source(index)[0] for index in range(18)] == files
    assert {finding.code: finding.severity for finding in movie.findings}["no-xml"] == "info"
    unknown = open_movie(folder)
    assert (unknown.metadata.frame_rate_hz, unknown.metadata.pixel_size_um) == (None, None)
    (missing,) = [finding for finding in unknown.findings if finding.code == "no-xml"]
    assert "frame rate, pixel size, frame times are unknown" in missing.message
    assert "frame_rate_hz=" in missing.advice


def test_four_planes_without_xml_are_asked_for(realdata: Path) -> None:
    folder = realdata / FOUR_PLANES
    with pytest.raises(AmbiguousInputError, match="18 cycles of up to 4 images.*n_planes=4"):
        open_movie(folder)
    for plane in range(4):
        movie = open_movie(folder, n_planes=4, plane=plane)
        expected = [tifffile.imread(file, is_ome=False) for file in sorted(folder.glob(f"*_{plane + 1:06d}.ome.tif"))]
        np.testing.assert_array_equal(movie.read(0, 18), np.stack(expected))


def test_the_minimal_t_series_has_the_metadata_of_its_xml(realdata: Path) -> None:
    root = ElementTree.parse(realdata / MINIMAL / f"{Path(MINIMAL).name}.xml").getroot()
    times = np.array([float(frame.attrib["absoluteTime"]) for frame in root.findall("Sequence/Frame")])
    found = read_prairieview_metadata(realdata / MINIMAL)
    assert found.n_frames == len(times) == 1812
    assert found.frame_rate_source == "frame times"
    assert found.frame_rate_hz == pytest.approx((len(times) - 1) / (times[-1] - times[0]), rel=1e-6)
    assert found.frame_rate_hz == pytest.approx(0.99975, rel=1e-4)  # framePeriod says 0.928 s, which would be 1.0776 Hz
    np.testing.assert_allclose(found.frame_times_s, times - times[0])
    axes = {item.attrib["index"]: float(item.attrib["value"]) for item in root.find(".//*[@key='micronsPerPixel']")}
    assert found.pixel_size_um == (axes["YAxis"], axes["XAxis"])
    assert (found.frame_shape_px, found.channels, found.bit_depth, found.zoom) == ((256, 256), ("Ch1", "Ch2"), 13, 1.0)
    assert found.objective == "40X LUMPlanFL/IR"
    assert found.acquired.isoformat() == "2019-01-14T15:12:36"
    assert found.laser_power["Insight X3"] == 300
    with pytest.raises(MissingFileError, match=r"1812 of 1812 frames of channel 2 \(Ch2\) have no image .*: frames 1-1812"):
        open_movie(realdata / MINIMAL, channel=2)


def test_a_file_missing_of_a_z_series_is_named(realdata: Path) -> None:
    folder = realdata / "swharden__ROI-Analysis-Pipeline/data/ZSeries-09092022-1241-1659"
    movie = open_movie(folder, channel=1, plane=2)
    expected = tifffile.imread(next(folder.glob("*_Ch1_000003.ome.tif")), is_ome=False)
    np.testing.assert_array_equal(movie.read(0, 1)[0], expected)
    with pytest.raises(MissingFileError, match="frames 5 .*_Ch1_000005"):
        open_movie(folder, channel=1, plane=4)


def test_every_scan_parses_to_what_its_xml_says(scans: list[Path]) -> None:
    assert len(scans) >= 11
    for path in scans:
        root = ElementTree.parse(path).getroot()
        scan = read_pvscan(path)
        assert scan.version == root.attrib["version"], path
        assert [(s.type, len(s.frames)) for s in scan.sequences] == [
            (s.attrib["type"], len(s.findall("Frame"))) for s in root.findall("Sequence")
        ], path
        assert list(scan.files.names) == [file.attrib["filename"] for file in root.findall("Sequence/Frame/File")], path
        found = read_prairieview_metadata(path)
        first = root.find("Sequence/Frame")
        pixels = first.find(".//*[@key='micronsPerPixel_XAxis']") if root.find("PVStateShard") is None else None
        if pixels is None:
            pixels = (first.find(".//*[@key='micronsPerPixel']") or root.find(".//*[@key='micronsPerPixel']"))[0]
        assert found.pixel_size_um[1] == pytest.approx(float(pixels.attrib["value"])), path


def test_every_scan_is_detected_once_and_inspected(scans: list[Path]) -> None:
    for path in [*scans, *{scan.parent for scan in scans}]:
        assert [reader.name for reader in find_readers(path, "movie")] == ["prairieview"]
        (found,) = [item for item in inspect_path(path) if item.format == "prairieview"]
        assert json.dumps(found.facts)
        assert found.facts["frames_listed"] > 0


def test_every_env_file_is_read(realdata: Path) -> None:
    """About half of them are not well-formed; their pixel size is that of the scan beside them."""
    paths = sorted(realdata.rglob("*.env"))
    assert len(paths) >= 10
    for path in paths:
        found, attributes = read_environment(path)
        size = axis_number(found, "micronsPerPixel", "XAxis")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        written = re.search(r'key="micronsPerPixel">\s*<IndexedValue index="XAxis" value="([^"]+)"', text)
        assert size == float(written[1]), path
        assert attributes.get("version", "5.3")[:2] == "5."
