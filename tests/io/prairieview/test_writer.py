"""Recordings that we write: read by tifffile, by xml.etree, and by our reader."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.prairieview import PrairieViewWriter
from packerlabimaging.io.readers import open_movie

PLAIN = ImagingMetadata(frame_shape_px=(5, 7), frame_rate_hz=30.0)


def write(folder: Path, frames: np.ndarray, times: np.ndarray, **options: object) -> None:
    options.setdefault("metadata", PLAIN)
    with PrairieViewWriter(folder, **options) as writer:  # type: ignore[arg-type]
        writer.write(frames[:1], times[:1])
        writer.write(frames[1:], times[1:])


def test_files_are_named_and_laid_out_as_on_the_rig(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 8192, (4, 5, 7)).astype(np.uint16)
    write(tmp_path / "t-013", frames, 0.2 + np.arange(4) / 30)
    names = [f"t-013_Cycle00001_Ch2_{n:06d}.ome.tif" for n in (1, 2, 3, 4)]
    assert sorted(file.name for file in (tmp_path / "t-013").iterdir()) == sorted(["t-013.env", "t-013.xml", *names])
    starts = []
    for name, frame in zip(names, frames, strict=True):
        with tifffile.TiffFile(tmp_path / "t-013" / name, is_ome=False) as tiff:
            np.testing.assert_array_equal(tiff.pages[0].asarray(), frame)
            starts.append(tiff.pages[0].dataoffsets[0])
    assert starts[0] > starts[1] == starts[2] == starts[3] == 8  # the first carries the OME-XML before its pixels
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "t-013" / names[0]), frames)  # and leads to its sisters


def test_the_xml_is_what_the_rig_writes(tmp_path: Path) -> None:
    metadata = PLAIN.replace(pixel_size_um=(2.0, 1.5), acquired=datetime(2020, 3, 4, 13, 5, 6), laser_power={"Mira": 30.0})
    write(tmp_path / "a", np.zeros((3, 5, 7), np.uint16), np.array([0.25, 0.3, 0.35]), metadata=metadata, name="t-013")
    raw = (tmp_path / "a" / "t-013.xml").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf<?xml")
    root = ElementTree.fromstring(raw.decode("utf-8-sig"))
    assert root.attrib == {"version": "5.5.64.600", "date": "3/4/2020 1:05:06 PM", "notes": ""}
    found = root.findall("Sequence/Frame")
    assert [float(frame.attrib["absoluteTime"]) for frame in found] == [0.25, 0.3, 0.35]
    assert float(found[0].attrib["relativeTime"]) == 0
    assert [frame.attrib["index"] for frame in found] == ["1", "2", "3"]
    assert root.find("PVStateShard/PVStateValue[@key='framePeriod']").attrib["value"] == repr(1 / 30)
    assert root.find("PVStateShard/PVStateValue[@key='micronsPerPixel']/IndexedValue[@index='XAxis']").attrib["value"] == "1.5"
    assert ElementTree.parse(tmp_path / "a" / "t-013.env").getroot().tag == "Environment"


NUMBERS = st.floats(1e-3, 1e4)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[ImagingMetadata, np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    n_frames = draw(st.integers(2, 8))
    intervals = draw(st.lists(st.floats(0.01, 0.012), min_size=n_frames, max_size=n_frames))
    metadata = ImagingMetadata(
        frame_shape_px=shape,
        frame_rate_hz=draw(st.none() | NUMBERS),
        pixel_size_um=draw(st.none() | st.tuples(NUMBERS, NUMBERS)),
        acquired=draw(st.none() | st.datetimes(datetime(1000, 1, 1)).map(lambda value: value.replace(microsecond=0))),
        zoom=draw(st.none() | NUMBERS),
        objective=draw(st.none() | TEXTS.map(str.strip).filter(bool)),
        bit_depth=draw(st.none() | st.integers(1, 16)),
        scan_center_v=draw(st.none() | st.tuples(st.floats(-5, 5), st.floats(-5, 5))),
        laser_power=draw(st.dictionaries(TEXTS, NUMBERS, max_size=3)),
        pmt_gain=draw(st.dictionaries(TEXTS, NUMBERS, max_size=3)),
        plane_z_um=draw(st.none() | st.tuples(st.floats(-1e4, 1e4))),
    )
    seed = draw(st.integers(0, 1000))
    frames = np.random.default_rng(seed).integers(0, 65536, (n_frames, *shape)).astype(np.uint16)
    return metadata, frames, draw(st.floats(0, 100)) + np.cumsum(intervals)


@given(
    recording=recordings(),
    stacked=st.booleans(),
    channel=st.integers(1, 4),
    name=st.sampled_from(["t-001", "a b&c_Cycle00001", "µ"]),
    version=st.sampled_from(["5.3.64.400", "5.5.64.600", "5.8.64.813"]),
)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read(
    tmp_path_factory,
    recording: tuple[ImagingMetadata, np.ndarray, np.ndarray],
    stacked: bool,
    channel: int,
    name: str,
    version: str,
) -> None:
    metadata, frames, times = recording
    folder = tmp_path_factory.mktemp("a") / "rec"
    write(
        folder,
        frames,
        times,
        metadata=metadata,
        stacked=stacked,
        channel=channel,
        channel_name=f"Ch{channel}",
        name=name,
        version=version,
    )
    movie = open_movie(folder)
    np.testing.assert_array_equal(movie.read(0, len(frames)), frames)
    found = movie.metadata
    for field in (
        "pixel_size_um",
        "acquired",
        "zoom",
        "objective",
        "bit_depth",
        "scan_center_v",
        "laser_power",
        "pmt_gain",
        "plane_z_um",
    ):
        assert getattr(found, field) == getattr(metadata, field), field
    np.testing.assert_allclose(found.frame_times_s, times - times[0], atol=1e-12)
    assert found.frame_rate_hz == pytest.approx(1 / np.diff(times).mean())
    assert (found.channels, found.program_version) == ((f"Ch{channel}",), version)


def test_a_recording_broken_off_has_images_but_no_xml(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="rig"), PrairieViewWriter(tmp_path / "a", metadata=PLAIN) as writer:
        writer.write(np.ones((2, 5, 7), np.uint16), np.arange(2) / 30)
        raise RuntimeError("the rig stopped")
    movie = open_movie(tmp_path / "a")
    assert movie.n_frames == 2
    assert "no-xml" in [finding.code for finding in movie.findings]
    with pytest.raises(RuntimeError), PrairieViewWriter(tmp_path / "b", metadata=PLAIN, stacked=True) as writer:
        writer.write(np.ones((2, 5, 7), np.uint16), np.arange(2) / 30)
        raise RuntimeError
    assert list((tmp_path / "b").iterdir()) == []


def test_wrong_input_is_refused(tmp_path: Path) -> None:
    frames, times = np.zeros((2, 5, 7), np.uint16), np.arange(2) / 30
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises(ParameterError, match="is not empty"), PrairieViewWriter(tmp_path / "full", metadata=PLAIN):
        pass
    with pytest.raises(ParameterError, match="No frame was written"), PrairieViewWriter(tmp_path / "a", metadata=PLAIN):
        pass
    with PrairieViewWriter(tmp_path / "b", metadata=PLAIN) as writer:
        with pytest.raises(ParameterError, match=r"Expected \(n, 5, 7\) uint16"):
            writer.write(frames.astype(np.int16), times)
        with pytest.raises(ParameterError, match=r"Frames are \(2, 7, 5\)"):
            writer.write(frames.transpose(0, 2, 1), times)
        with pytest.raises(ParameterError, match="times_s has 1 items. Expected 2, one per frame"):
            writer.write(frames, times[:1])
        writer.write(frames, times)
        for bad in (times, times + 0.01, np.array([1.0, np.nan])):
            with pytest.raises(ParameterError, match="times_s must be finite and increase"):
                writer.write(frames, bad)
    with pytest.raises(ParameterError, match="is not open"):
        writer.write(frames, times + 1)
    for name in ("a/b", "..", "a\x01", "a:b"):
        with pytest.raises(ParameterError, match="can't be part of a file name"):
            PrairieViewWriter(tmp_path / "c", metadata=PLAIN, name=name)
    with pytest.raises(ParameterError, match="metadata are of 2 planes"):
        PrairieViewWriter(tmp_path / "c", metadata=PLAIN.replace(n_planes=2))
