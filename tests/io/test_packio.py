"""PackIO files: what is written comes back, cut and damaged files are told, and channels stay lazy."""

from __future__ import annotations

import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.errors import FormatError, MissingFileError, ParameterError
from packerlabimaging.io.packio import PackIOReader, PaqWriter, channels, iter_channels, read_paq_header, write_paq
from packerlabimaging.io.readers import open_signals

REAL = "Packer-Lab__OPSF_vs_PPSF/2020-09-25_axialRes_PPSF_RL091_Cell36_NA0.73_fast_00001.paq"


def raw_paq(rate, names, hardware, units, rows):
    """The bytes of a file, packed number by number: the format as its description says, without our writer."""
    numbers = [rate, len(names)]
    for texts in (names, hardware, units) if hardware is not None else (names,):
        for text in texts:
            numbers += [len(text), *map(ord, text)]
    numbers += [value for row in rows for value in row]
    return struct.pack(f">{len(numbers)}f", *numbers)


@pytest.fixture
def paq(tmp_path):
    path = tmp_path / "a.paq"
    path.write_bytes(raw_paq(20000, ["clock", "x"], ["Dev1/ai0", ""], ["V", "mV"], [(0, 1.5), (5, -2.25), (0, 3)]))
    return path


def test_reads_packed_bytes(paq):
    signals = PackIOReader().open(paq)
    assert signals.names == ("clock", "x")
    assert signals["x"].unit == "mV"
    assert signals["x"].rate_hz == 20000
    assert signals.findings == ()
    assert read_paq_header(paq).hardware == ("Dev1/ai0", "")
    np.testing.assert_array_equal(signals["clock"].read(), [0, 5, 0])
    np.testing.assert_array_equal(signals["x"].read(1, 3), [-2.25, 3])
    assert signals["x"].read().dtype == np.dtype("=f4")


def test_writer_writes_the_bytes_of_the_format(paq, tmp_path):
    values = np.array([(0, 1.5), (5, -2.25), (0, 3)])
    write_paq(tmp_path / "b.paq", values, rate_hz=20000, names=["clock", "x"], units=["V", "mV"], hardware=["Dev1/ai0", ""])
    assert (tmp_path / "b.paq").read_bytes() == paq.read_bytes()


@settings(max_examples=60, deadline=None)
@given(
    variant=st.sampled_from(["paq", "bin"]),
    names=st.lists(st.text("abcXYZ_ 09µ–Ω", min_size=1, max_size=9), min_size=1, max_size=5, unique=True),
    n_samples=st.integers(0, 300),
    piece=st.integers(1, 97),
    rate=st.sampled_from([1.0, 999.5, 10000.0, 250000.0]),
    seed=st.integers(0, 2**31),
)
def test_round_trip(tmp_path_factory, variant, names, n_samples, piece, rate, seed):
    values = np.random.default_rng(seed).normal(size=(n_samples, len(names))).astype(np.float32)
    path = tmp_path_factory.mktemp("paq") / f"a.{variant}"
    with PaqWriter(path, rate_hz=rate, names=names) as paq:
        for start in range(0, n_samples, piece):
            paq.write(values[start : start + piece])
    assert PackIOReader().detect(path)
    signals = PackIOReader().open(path)
    assert signals.names == tuple(names)
    assert read_paq_header(path).variant == variant
    for column, channel in enumerate(signals.values()):
        assert (channel.rate_hz, channel.unit) == (rate, "V" if variant == "paq" else "")
        np.testing.assert_array_equal(channel.read(), values[:, column])
        np.testing.assert_array_equal(
            channel.read(n_samples // 3, n_samples // 2), values[n_samples // 3 : n_samples // 2, column]
        )
        pieces = list(channel.chunks(piece))
        assert [start for start, _ in pieces] == list(range(0, n_samples, piece))
        np.testing.assert_array_equal(np.concatenate([np.zeros(0), *(part for _, part in pieces)]), values[:, column])
    together = [part for _, part in iter_channels(list(signals.values()), n_samples=piece)]
    np.testing.assert_array_equal(np.concatenate([np.zeros((len(names), 0)), *together], axis=1), values.T)


def test_pieces_larger_than_the_read_buffer(tmp_path, monkeypatch):
    monkeypatch.setattr("packerlabimaging.io.packio.channels.READ_BYTES", 40)
    values = np.arange(303, dtype=np.float32).reshape(101, 3)
    write_paq(tmp_path / "a.paq", values, rate_hz=10, names=["a", "b", "c"])
    channel = PackIOReader().open(tmp_path / "a.paq")["b"]
    np.testing.assert_array_equal(channel.read(5, 99), values[5:99, 1])
    np.testing.assert_array_equal(np.concatenate([part for _, part in channel.chunks(50)]), values[:, 1])


@pytest.mark.parametrize(
    ("cut", "n_samples", "message"), [(4, 2, "1 stray numbers after 2"), (5, 2, "0 stray numbers and 3 bytes")]
)
def test_a_cut_row_is_left_out_and_told(paq, cut, n_samples, message):
    paq.write_bytes(paq.read_bytes()[:-cut])
    signals = PackIOReader().open(paq)
    np.testing.assert_array_equal(signals["x"].read(), [1.5, -2.25])
    (finding,) = signals.findings
    assert (finding.code, finding.severity, finding.evidence["n_samples"]) == ("cut-row", "warning", n_samples)
    assert message in finding.message


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([], "ends before the sampling rate"),
        ([0, 2], "sampling rate would be 0"),
        ([-20000, 2], "sampling rate would be -20000"),
        ([float("nan"), 2], "sampling rate would be nan"),
        ([20000, 1e30], "number of channels would be 1e\\+30"),
        ([20000, -1], "number of channels would be -1"),
        ([20000, 1000, 1, 65], "ends before the names of 1000 channels"),
        ([20000, 1, 1000, 65, 66], "ends before the name of channel 0"),
        ([20000, 1.5], "number of channels would be 1.5"),
        ([20000, 1, 1e9, 0, 0], "length of the name of channel 0 would be 1e\\+09"),
        ([20000, 1, 4, 65, 66], "ends before the name of channel 0"),
        ([20000, 1, 1, 7, 0, 0], "name of channel 0 would be"),
        ([20000, 1, 1, float("inf"), 0], "a character would be inf"),
    ],
)
def test_nonsense_in_the_header(tmp_path, numbers, message):
    path = tmp_path / "bad.paq"
    path.write_bytes(struct.pack(f">{len(numbers)}f", *numbers))
    with pytest.raises(FormatError, match=message):
        PackIOReader().open(path)
    assert PackIOReader().detect(path)  # by its name, so that the user is told what is wrong with it
    path.rename(tmp_path / "bad.dat")
    assert not PackIOReader().detect(tmp_path / "bad.dat")


def test_detects_by_content(paq, tmp_path):
    paq.rename(tmp_path / "renamed.dat")
    assert PackIOReader().detect(tmp_path / "renamed.dat")
    assert not PackIOReader().detect(tmp_path)
    (tmp_path / "text.txt").write_text("frame_clock, x\n" * 100)
    assert not PackIOReader().detect(tmp_path / "text.txt")


ROWS = [(0, 1.5), (5, -2.25), (0, 3)]


def test_the_variant_without_hardware_lines_and_units(tmp_path):
    path = tmp_path / "a.BIN"
    path.write_bytes(raw_paq(20000, ["clock", "x"], None, None, ROWS))
    assert PackIOReader().detect(path)
    signals = PackIOReader().open(path)
    np.testing.assert_array_equal(signals["x"].read(), [1.5, -2.25, 3])
    assert [(finding.code, finding.severity) for finding in signals.findings] == [("no-units", "info")]
    assert PackIOReader().inspect(path).facts["variant"] == "bin"
    write_paq(tmp_path / "b.bin", np.array(ROWS), rate_hz=20000, names=["clock", "x"])
    assert (tmp_path / "b.bin").read_bytes() == path.read_bytes()
    with pytest.raises(ParameterError, match="neither units nor hardware lines"):
        write_paq(tmp_path / "c.bin", np.array(ROWS), rate_hz=20000, names=["clock", "x"], units=["V", "V"])


def test_a_variant_under_the_other_name(tmp_path):
    renamed = tmp_path / "a.bin"
    renamed.write_bytes(raw_paq(20000, ["clock", "x"], ["ai0", "ai1"], ["V", "V"], ROWS))
    assert read_paq_header(renamed).variant == "paq"
    np.testing.assert_array_equal(PackIOReader().open(renamed)["x"].read(), [1.5, -2.25, 3])
    short = tmp_path / "b.paq"
    short.write_bytes(raw_paq(20000, ["clock", "x"], None, None, ROWS))
    with pytest.raises(FormatError, match='pass variant="bin"'):
        PackIOReader().open(short)
    np.testing.assert_array_equal(PackIOReader().open(short, variant="bin")["x"].read(), [1.5, -2.25, 3])
    with pytest.raises(ParameterError, match="variant = 'wav'"):
        PackIOReader().open(short, variant="wav")


def test_samples_of_zero_are_not_taken_for_empty_texts(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(raw_paq(20000, ["clock", "x"], None, None, [(0, 0)] * 100))
    assert read_paq_header(path).variant == "bin"
    assert len(PackIOReader().open(path)["x"]) == 100


@pytest.mark.parametrize(
    "content",
    [
        np.zeros((10, 64, 64), "<u2"),
        np.random.default_rng(0).poisson(300, (10, 64, 64)).astype("<u2"),
        np.random.default_rng(0).poisson(300, (10, 64, 64)).astype("<i2"),
        np.concatenate([np.array([512, 512], "<u2"), np.arange(40_000, dtype="<u2")]),  # PrairieLink: its frame size first
        np.random.default_rng(0).normal(0, 1, 5000).astype("<f4"),
        np.random.default_rng(0).normal(0, 1, 5000).astype(">f4"),
        np.array([20000, 1, 1, 97, *([1e30] * 64)], ">f4"),  # a header, but no samples
        np.array([20000, 1, 0, *([0.5] * 64)], ">f4"),  # no name
        np.array([0.5, 1, 1, 97, *([0.5] * 64)], ">f4"),  # a sample in two seconds
    ],
)
def test_other_bin_files_are_not_taken_for_recordings(tmp_path, content):
    content.tofile(tmp_path / "a.bin")
    assert not PackIOReader().detect(tmp_path / "a.bin")


def test_names_as_western_windows_writes_them(tmp_path):
    path = tmp_path / "a.paq"
    numbers = [10, 1, 3, 0xB5, 0x96, 0x80, 0, 1, 86, 7.5]  # micro sign, dash, euro sign: bytes of code page 1252
    path.write_bytes(struct.pack(f">{len(numbers)}f", *numbers))
    (name,) = PackIOReader().open(path).names
    assert name == "µ–€"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_raise_only_our_errors(tmp_path_factory, data):
    block = ["ai0", "ai1"] if data.draw(st.booleans()) else None
    raw = bytearray(raw_paq(20000, ["clock", "x"], block, block, [(0, 1)] * 5))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("paq") / ("a.paq" if block else "a.bin")
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    PackIOReader().detect(path)
    with only_our_errors():
        signals = PackIOReader().open(path)
        for channel in signals.values():
            channel.read()
    with only_our_errors():
        PackIOReader().inspect(path)


def test_a_time_range_reads_no_more_than_its_rows(tmp_path, monkeypatch):
    values = np.arange(80_000, dtype=np.float32).reshape(10_000, 8)
    write_paq(tmp_path / "a.paq", values, rate_hz=1000, names=list("abcdefgh"))
    channel = PackIOReader().open(tmp_path / "a.paq")["c"]
    read = []
    fill = channels._fill
    monkeypatch.setattr(
        channels, "_fill", lambda file, view, path: (read.append((file.tell(), len(view))), fill(file, view, path))
    )
    np.testing.assert_array_equal(channel.read_between(5.0, 5.004), values[5000:5004, 2])
    assert read == [(channel.header.offset + 5000 * 32, 4 * 32)]


def test_samples_that_are_not_numbers_stay_so(tmp_path):
    values = np.array([[np.nan], [np.inf], [-np.inf], [1.0]], np.float32)
    write_paq(tmp_path / "a.paq", values, rate_hz=10, names=["a"])
    np.testing.assert_array_equal(PackIOReader().open(tmp_path / "a.paq")["a"].read(), values[:, 0])


def test_a_file_that_is_gone_is_told(paq):
    channel = PackIOReader().open(paq)["x"]
    paq.unlink()
    with pytest.raises(MissingFileError, match="gone since it was opened"):
        channel.read()


def test_missing_overwritten_misused(paq, tmp_path):
    with pytest.raises(MissingFileError, match="There is no file"):
        PackIOReader().open(tmp_path / "none.paq")
    with pytest.raises(ParameterError, match="exists, and recordings are never overwritten"):
        write_paq(paq, np.zeros((1, 1)), rate_hz=1, names=["a"])
    with pytest.raises(ParameterError, match=r"shape \(3,\). Expected \(n_samples, 1\)"):
        write_paq(tmp_path / "b.paq", np.zeros(3), rate_hz=1, names=["a"])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.paq"]
    with pytest.raises(ParameterError, match="inside a with block"):
        PaqWriter(tmp_path / "b.paq", rate_hz=1, names=["a"]).write(np.zeros((1, 1)))
    with pytest.raises(ParameterError, match="no option 'channel'. Options: variant"):
        open_signals(paq, channel="x")


def test_file_that_shrinks_after_opening(paq):
    channel = PackIOReader().open(paq)["x"]
    paq.write_bytes(paq.read_bytes()[:-8])
    with pytest.raises(FormatError, match="became shorter"):
        channel.read()


def test_repeated_and_empty_names(tmp_path):
    path = tmp_path / "a.paq"
    path.write_bytes(raw_paq(10, ["a", "a", "", "a-1"], [""] * 4, [""] * 4, [(1, 2, 3, 4)]))
    signals = PackIOReader().open(path)
    assert len(set(signals.names)) == 4
    assert signals["a-1"].read() == [4]  # a recorded name always means its own channel
    assert [finding.code for finding in signals.findings] == ["channel-renamed"] * 2


def test_channels_pickle_as_recipes(paq):
    channel = PackIOReader().open(paq)["x"]
    raw = pickle.dumps(channel)
    assert len(raw) < 1000
    np.testing.assert_array_equal(pickle.loads(raw).read(), channel.read())  # noqa: S301 (our own bytes)


def test_opening_and_reading_need_little_memory(tmp_path):
    path = tmp_path / "long.paq"
    header = raw_paq(20000, list("abcdefgh"), [""] * 8, [""] * 8, [])
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 32 * 24_000_000)  # 20 minutes of zeros: a sparse file
    tracemalloc.start()
    signals = PackIOReader().open(path)
    assert len(signals["a"]) == 24_000_000
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    for _ in zip(range(5), signals["h"].chunks(), strict=False):
        pass
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_terabyte_opens(tmp_path):
    path = tmp_path / "huge.paq"
    header = raw_paq(20000, ["a"], [""], [""], [])
    with path.open("wb") as file:
        file.write(header)
        try:
            file.truncate(1 << 40)
        except OSError:
            pytest.skip("the file system has no room for a sparse file of 1 TB")
    signals = PackIOReader().open(path)
    np.testing.assert_array_equal(signals["a"].read(200_000_000_000, 200_000_000_003), [0, 0, 0])


def test_inspect(paq):
    seen = PackIOReader().inspect(paq)
    assert (seen.format, seen.kind) == ("packio", "signals")
    assert seen.facts["channels"] == ["clock", "x"]
    assert seen.facts["duration_s"] == pytest.approx(3 / 20000)


@pytest.mark.realdata
def test_real_file(realdata):
    path = realdata / REAL
    signals = PackIOReader().open(path)
    assert PackIOReader().detect(path)
    assert signals.names == ("StimGalvo", "ImageTrigOut")
    assert read_paq_header(path).offset == 228
    independent = np.fromfile(path, ">f4", offset=228).reshape(-1, 2)
    for column, channel in enumerate(signals.values()):
        assert (channel.rate_hz, len(channel)) == (10000, 444380)
        np.testing.assert_array_equal(channel.read(), independent[:, column])
