"""The scan's XML: forms of values, encodings, damage, speed."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.prairieview import read_pvscan, state
from packerlabimaging.io.prairieview.reader import PrairieViewReader


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_all_three_forms_of_values_are_read(tmp_path: Path, rig: SimpleNamespace) -> None:
    found = read_pvscan(write(tmp_path / "a.xml", rig.scan_xml(rig.sequence_xml([rig.FRAME])))).state
    assert state.number(found, "bitDepth") == 13
    assert state.text(found, "objectiveLens") == "16X"
    assert state.axis_number(found, "micronsPerPixel", "YAxis") == 1.5
    assert state.axis_number(found, "positionCurrent", "ZAxis") == -87.5  # motor and piezo
    assert state.numbers(found, "laserPower") == {"Mira": 30.5}
    assert state.number(found, "absent") is None
    assert state.axis_number(found, "absent", "XAxis") is None


def test_two_lasers_of_one_name_are_both_kept(tmp_path: Path, rig: SimpleNamespace) -> None:
    lasers = ((0, 40, "Pockels"), (1, 7, "Pockels"), (2, 1, "Mira"))
    values = "".join(f'<IndexedValue index="{index}" value="{value}" description="{name}"/>' for index, value, name in lasers)
    shard = f'<PVStateShard><PVStateValue key="laserPower">{values}</PVStateValue></PVStateShard>'
    found = read_pvscan(write(tmp_path / "a.xml", rig.scan_xml(rig.sequence_xml([rig.FRAME]), shard=shard))).state
    assert state.numbers(found, "laserPower") == {"0": 40.0, "1": 7.0, "Mira": 1.0}


def test_frames_override_their_sequence_and_the_scan(tmp_path: Path, rig: SimpleNamespace) -> None:
    shard = '<PVStateShard><PVStateValue key="framePeriod" value="{}" /></PVStateShard>'
    inside = rig.frame_xml([], 1.0, 1, inside=shard.format(3))
    text = rig.scan_xml(rig.sequence_xml([shard.format(2), inside, rig.frame_xml([], 2.0, 2)]), period="1")
    scan = read_pvscan(write(tmp_path / "a.xml", text))
    (sequence,) = scan.sequences
    assert [state.number(scan.state_of(frame), "framePeriod") for frame in sequence.frames] == [3, 2]
    assert state.number(scan.state, "framePeriod") == 1
    assert state.number(scan.state_of(0), "bitDepth") == 13


def test_flat_keys_of_version_4_3_are_read(tmp_path: Path) -> None:
    keys = "".join(
        f'<Key key="{key}" permissions="ReadWriteSave" value="{value}" />'
        for key, value in {
            "micronsPerPixel_XAxis": 0.5,
            "micronsPerPixel_YAxis": 0.25,
            "pmtGain_0": 650,
            "framePeriod": 9,
        }.items()
    )
    text = (
        '<PVScan version="4.3.2.13"><Sequence type="Single" cycle="0"><Frame index="1" label="CurrentSettings">'
        f"<PVStateShard>{keys}</PVStateShard></Frame></Sequence></PVScan>"
    )
    scan = read_pvscan(write(tmp_path / "a.xml", text))
    found = scan.state_of(0)
    assert state.axis_number(found, "micronsPerPixel", "YAxis") == 0.25
    assert state.numbers(found, "pmtGain") == {"0": 650}
    assert state.number(found, "framePeriod") == 9


@pytest.mark.parametrize(
    "prefix", [b"", b"\xef\xbb\xbf", b'<?xml version="1.0"?>', b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>']
)
def test_declaration_and_byte_order_mark_are_optional(tmp_path: Path, prefix: bytes) -> None:
    path = write(tmp_path / "a.xml", prefix + b'<PVScan version="5.5"><Sequence type="Single" cycle="1"/></PVScan>')
    assert PrairieViewReader().detect(path)
    assert read_pvscan(path).version == "5.5"


def test_utf_16_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", '<?xml version="1.0" encoding="utf-16"?><PVScan version="5.5"/>'.encode("utf-16"))
    assert PrairieViewReader().detect(path)
    assert read_pvscan(path).version == "5.5"


@pytest.mark.parametrize(
    ("notes", "repair"),
    [
        (b"a&#x1;b", "references to control characters"),
        (b"a\x01b", "control characters"),
        ("400 µm".encode("latin-1"), "ISO 8859-1"),
    ],
)
def test_what_xml_forbids_but_programs_write_is_repaired_and_reported(tmp_path: Path, notes: bytes, repair: str) -> None:
    scan = read_pvscan(write(tmp_path / "a.xml", b'<PVScan version="5.5" notes="' + notes + b'"/>'))
    assert scan.version == "5.5"
    assert [finding.code for finding in scan.findings] == ["xml-repaired"]
    assert repair in scan.findings[0].message


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="can't be read in the encoding that it names"):
        read_pvscan(write(tmp_path / "a.xml", '<?xml version="1.0" encoding="klingon"?><PVScan/>'))


def test_entity_bombs_and_dtds_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE PVScan [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><PVScan version="&b;"/>'
    with pytest.raises(FormatError, match="holds a document type declaration"):
        read_pvscan(write(tmp_path / "a.xml", bomb))
    with pytest.raises(FormatError, match="holds a document type"):
        read_pvscan(write(tmp_path / "a.xml", '<!DOCTYPE PVScan SYSTEM "file:///etc/passwd"><PVScan/>'))


def test_cut_and_foreign_documents_are_refused(tmp_path: Path, rig: SimpleNamespace) -> None:
    whole = rig.scan_xml(rig.sequence_xml([rig.FRAME] * 20))
    with pytest.raises(FormatError, match=r"a\.xml' is not well-formed XML: .* \(line 22, column"):
        read_pvscan(write(tmp_path / "a.xml", whole[: len(whole) // 2]))
    with pytest.raises(FormatError, match="root element Environment. Expected PVScan"):
        read_pvscan(write(tmp_path / "a.xml", "<Environment/>"))
    with pytest.raises(MissingFileError, match="There is no file"):
        read_pvscan(tmp_path / "absent.xml")


@pytest.mark.parametrize("name", ["../b.tif", "b/c.tif", "c:\\\\b.tif", ""])
def test_file_names_with_folders_are_refused(tmp_path: Path, name: str, rig: SimpleNamespace) -> None:
    text = rig.scan_xml(rig.sequence_xml([rig.frame_xml([rig.file_xml(name)], 0.5, 1)]))
    with pytest.raises(FormatError, match="Expected a number and a plain file name"):
        read_pvscan(write(tmp_path / "a.xml", text))


def many_frames(rig: SimpleNamespace, n_frames: int) -> str:
    inside = '<ExtraParameters lastGoodFrame="0" /><PVStateShard><PVStateValue key="framePeriod" value="0.033" /></PVStateShard>'
    listed = [
        rig.frame_xml([rig.file_xml(f"a_Cycle00001_Ch{c}_{n:06d}.ome.tif", c) for c in (1, 2)], 0.1 + n / 30, n, inside=inside)
        for n in range(1, n_frames + 1)
    ]
    return rig.scan_xml(rig.sequence_xml(listed))


def test_twenty_thousand_frames_parse_fast(tmp_path: Path, rig: SimpleNamespace) -> None:
    path = write(tmp_path / "a.xml", many_frames(rig, 20_000))
    start = time.perf_counter()
    scan = read_pvscan(path)
    assert time.perf_counter() - start < 5  # half a second on an idle core
    assert len(scan.frames) == 20_000
    assert len(scan.states) == 2  # equal overrides are kept once


def test_a_frame_costs_a_few_numbers(tmp_path: Path, rig: SimpleNamespace) -> None:
    """A scan of ten times the frames needs hardly more memory while it is parsed, nor afterwards."""
    path = write(tmp_path / "a.xml", many_frames(rig, 4000))
    tracemalloc.start()
    scan = read_pvscan(path)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(scan.files) == 8000
    assert kept < 4000 * 200
    assert peak < 4000 * 350


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_damaged_documents_raise_our_errors_only(tmp_path_factory, data: st.DataObject, rig: SimpleNamespace) -> None:
    folder = tmp_path_factory.mktemp("a")
    text = bytearray(rig.scan_xml(rig.sequence_xml([rig.FRAME, rig.FRAME]), shard=rig.SHARD).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path = write(folder / "a.xml", bytes(text))
    reader = PrairieViewReader()
    reader.detect(folder)
    reader.inspect(folder)
    reader.inspect(path)
    with only_our_errors():
        read_pvscan(path)
