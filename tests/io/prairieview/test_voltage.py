"""PrairieView's voltage recordings and outputs: written by hand here, as the program writes them, and real ones."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io import open_signals
from packerlabimaging.io.prairieview.voltage import (
    PrairieViewVoltageReader,
    open_voltage_recording,
    read_voltage_output,
    read_voltage_settings,
    samples,
)

NAME = "t-001_Cycle00001_VoltageRecording_001"
REAL = "darikoneil__CalSciPy/tests/testing_samples/datasets/1channels_4planes_100frames_256height_256width/bruker_folder"


def settings_xml(signals, *, rate="1000", n_samples=None, is_csv="true", lost="false"):
    """The XML with the elements that the program writes; ``signals`` are (name, enabled, unit, multiplier, divisor)."""
    listed = "".join(
        f"<VRecSignal><Type>Physical</Type><Name>{name}</Name><Gain>-1</Gain><Unit><UnitName>{unit}</UnitName>"
        f"<Multiplier>{multiplier}</Multiplier><Divisor>{divisor}</Divisor><PatchclampDevice /></Unit>"
        f"<Card>1</Card><Channel>{number}</Channel><Enabled>{str(enabled).lower()}</Enabled></VRecSignal>\r\n"
        for number, (name, enabled, unit, multiplier, divisor) in enumerate(signals)
    )
    counted = "" if n_samples is None else f"<SamplesAcquired>{n_samples}</SamplesAcquired>"
    return (
        f"<VRecSessionEntry>\r\n<Experiment><Name>Current</Name><SignalList>{listed}</SignalList><Rate>{rate}</Rate></Experiment>"
        f"{counted}<DataFile>{NAME}</DataFile><DateTime>2021-12-01T10:52:35.3717813-05:00</DateTime>"
        f"<IsCSV>{is_csv}</IsCSV><LostData>{lost}</LostData></VRecSessionEntry>"
    )


VOLTS = [("frame", True, "Volt", 1, 1), ("unused", False, "Volt", 1, 1), ("Input 1", True, "Volt", 1, 1)]


def write(folder, columns, values, *, rate=1000.0, signals=VOLTS, name=NAME, step_ms=None, xml=True, end="\r\n", **options):
    """Write a recording; returns the CSV."""
    step_ms = 1000 / rate if step_ms is None else step_ms
    rows = [", ".join([f"{index * step_ms:.13g}", *(f"{value:.9g}" for value in row)]) for index, row in enumerate(values)]
    path = folder / f"{name}.csv"
    path.write_text("Time(ms), " + ", ".join(columns) + "\r\n" + "\r\n".join(rows) + end, newline="")
    if xml:
        path.with_suffix(".xml").write_text(settings_xml(signals, rate=rate, n_samples=len(values), **options))
    return path


def codes(signals):
    return [finding.code for finding in signals.findings]


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".csv", ".xml", ""])
def test_opens_from_xml_csv_and_folder(tmp_path, values, suffix):
    path = write(tmp_path, ["frame", "Input 1"], values)
    signals = open_signals(path.with_suffix(suffix) if suffix else tmp_path)
    assert signals.names == ("frame", "Input 1") and codes(signals) == []
    for column, channel in enumerate(signals.values()):
        assert (channel.rate_hz, channel.unit, len(channel)) == (1000.0, "V", 500)
        np.testing.assert_array_equal(channel.read(), values[:, column])
        np.testing.assert_array_equal(channel.read(17, 303), values[17:303, column])
        np.testing.assert_array_equal(channel.read_between(0.1, 0.2), values[100:200, column])


def test_values_are_scaled_to_the_unit_of_the_xml(tmp_path, values):
    signals = [("Primary", True, "mV", 1, 0.01), ("Secondary", True, "pA", 2, 0.005)]
    path = write(tmp_path, ["Primary", "Secondary"], values, signals=signals)
    opened = open_voltage_recording(path)
    assert [channel.unit for channel in opened.values()] == ["mV", "pA"]
    np.testing.assert_allclose(opened["Primary"].read(), values[:, 0] * 100.0, rtol=1e-6)
    np.testing.assert_allclose(opened["Secondary"].read(), values[:, 1] * 400.0, rtol=1e-6)


def test_a_rate_cut_to_whole_hertz_in_the_times_is_told_and_not_used(tmp_path):
    """As in a real recording: 25,132 samples at 29.99998 Hz, times written with 29 Hz."""
    path = write(tmp_path, ["frame", "Input 1"], np.zeros((25132, 2)), rate=29.9999850000075, step_ms=1000 / 29)
    signals = open_voltage_recording(path)
    assert signals.duration_s == pytest.approx(25132 / 29.9999850000075)
    (finding,) = signals.findings
    assert (finding.code, finding.severity) == ("times-disagree", "warning")
    assert finding.evidence["written_s"] == pytest.approx(25131 / 29)
    assert finding.evidence["duration_s"] == pytest.approx(25131 / 29.9999850000075)
    assert open_voltage_recording(path, rate_hz=29).duration_s == pytest.approx(25132 / 29)
    assert codes(open_voltage_recording(path, rate_hz=29)) == []


def test_names_of_header_and_xml_that_differ(tmp_path, values):
    path = write(tmp_path, ["Secondary", "LED"], values)
    signals = open_voltage_recording(path)
    assert signals.names == ("frame", "Input 1")
    assert codes(signals) == ["names-differ"] and "Secondary is frame; LED is Input 1" in signals.findings[0].message
    path = write(tmp_path, ["Input 1", "frame"], values)  # the same names in another order: the header knows
    signals = open_voltage_recording(path)
    np.testing.assert_array_equal(signals["frame"].read(), values[:, 1])
    assert codes(signals) == []


def test_columns_that_are_not_those_recorded(tmp_path, values):
    path = write(tmp_path, ["frame", "Input 1"], values, signals=[("frame", True, "Volt", 1, 1)])
    with pytest.raises(FormatError, match="has the columns frame, Input 1; its XML says that frame was recorded"):
        open_voltage_recording(path)


def test_two_inputs_of_one_name(tmp_path, values):
    signals = open_voltage_recording(write(tmp_path, ["x", "x"], values, signals=[("x", True, "Volt", 1, 1)] * 2))
    assert signals.names == ("x", "x-1") and codes(signals) == ["channel-renamed"]
    np.testing.assert_array_equal(signals["x-1"].read(), values[:, 1])


def test_without_xml(tmp_path, values):
    path = write(tmp_path, ["frame", "Input 1"], values, xml=False)
    signals = open_signals(path)
    assert (signals["frame"].rate_hz, signals["frame"].unit) == (pytest.approx(1000.0), "")
    assert codes(signals) == ["no-settings", "rate-of-times"]
    assert codes(open_signals(path, rate_hz=1000)) == ["no-settings"]
    path = write(tmp_path, ["frame"], values[:1, :1], xml=False)
    with pytest.raises(ParameterError, match="Give it with rate_hz="):
        open_signals(path)


def test_without_csv(tmp_path):
    path = tmp_path / f"{NAME}.xml"
    path.write_text(settings_xml(VOLTS, is_csv="false"))
    with pytest.raises(MissingFileError, match=f"there is no '{NAME}.csv'.*let PrairieView write it from its raw file '{NAME}'"):
        open_signals(path)
    seen = PrairieViewVoltageReader().inspect(path)
    assert seen.facts["channels"] == ["frame", "Input 1"] and seen.facts["acquired"].startswith(
        "2021-12-01T10:52:35.371781-05:00"
    )
    assert [(finding.code, finding.severity) for finding in seen.findings] == [("unreadable", "error")]


def test_several_recordings_in_a_folder(tmp_path, values):
    for cycle in (1, 2):
        write(tmp_path, ["frame", "Input 1"], values, name=f"t-001_Cycle0000{cycle}_VoltageRecording_001")
    assert not PrairieViewVoltageReader().detect(tmp_path)
    with pytest.raises(AmbiguousInputError, match="holds 2 voltage recordings: t-001_Cycle00001_.*t-001_Cycle00002_"):
        open_voltage_recording(tmp_path)
    assert len(open_signals(tmp_path / "t-001_Cycle00002_VoltageRecording_001.csv")) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="holds no voltage recording"):
        open_voltage_recording(tmp_path / "empty")


def test_a_last_row_that_does_not_end(tmp_path, values):
    whole = write(tmp_path, ["frame", "Input 1"], values, end="")
    signals = open_voltage_recording(whole)  # the XML counts it
    assert len(signals["frame"]) == 500 and codes(signals) == []
    np.testing.assert_array_equal(signals["Input 1"].read(490, 500), values[490:, 1])
    whole.write_bytes(whole.read_bytes()[:-30])
    signals = open_voltage_recording(whole)
    assert len(signals["frame"]) == 498 or len(signals["frame"]) == 499
    assert codes(signals) == ["cut-row", "sample-count-differs"]
    np.testing.assert_array_equal(signals["Input 1"].read(), values[: len(signals["frame"]), 1])


def test_blank_lines_at_the_end_and_no_rows(tmp_path, values):
    path = write(tmp_path, ["frame", "Input 1"], values, end="\r\n\r\n  \r\n")
    assert len(open_voltage_recording(path)["frame"]) == 500
    path = write(tmp_path, ["frame", "Input 1"], values[:0])
    signals = open_voltage_recording(path)
    assert codes(signals) == ["no-samples"] and len(signals["frame"].read()) == 0


def test_lost_data_is_told(tmp_path, values):
    assert codes(open_voltage_recording(write(tmp_path, ["frame", "Input 1"], values, lost="true"))) == ["lost-data"]


@pytest.mark.parametrize(
    "row",
    [
        b"20, 1\r\n",
        b"20, 1, 2, 3\r\n",
        b"20, 1, word\r\n",
        b"\r\n",
        b"20; 0,5; 0,25\r\n",
        b'20, 1, "2\r\n',
        b"20, 1, \x00\xff\r\n",
    ],
)
def test_a_row_in_the_middle_that_is_none(tmp_path, values, row):
    path = write(tmp_path, ["frame", "Input 1"], values)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[200] = row
    path.write_bytes(b"".join(lines))
    channel = open_voltage_recording(path)["Input 1"]
    np.testing.assert_array_equal(channel.read(0, 199), values[:199, 1])
    with pytest.raises(FormatError, match=r"rows 1 to 500: not every row holds 3 numbers"):
        channel.read()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", [b"1e308", b"1e308696042717", b"-1e40", b"Infinity"])
def test_numbers_beyond_all_size_are_infinite(tmp_path, values, text):
    path = write(tmp_path, ["frame", "Input 1"], values)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[200] = b"199, 1, " + text + b"\r\n"
    path.write_bytes(b"".join(lines))
    read = open_voltage_recording(path)["Input 1"].read()
    assert np.flatnonzero(~np.isfinite(read)).tolist() == [199]


@settings(max_examples=25, deadline=None)
@given(
    n_rows=st.integers(1, 300),
    block=st.integers(10, 400),
    pieces=st.integers(100, 4000),
    cut=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    seed=st.integers(0, 1000),
)
def test_any_range_of_rows(tmp_path_factory, n_rows, block, pieces, cut, seed):
    """Rows of different lengths, blocks and pieces of text that end anywhere."""
    values = np.random.default_rng(seed).choice([0, 1, -2.5, 1.25e-7, 12345.5], (n_rows, 2)).astype(np.float32)
    path = write(tmp_path_factory.mktemp("vr"), ["frame", "Input 1"], values)
    start, stop = sorted(min(place, n_rows) for place in cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "BLOCK_BYTES", block)
        patch.setattr(samples, "PARSE_BYTES", pieces)
        channel = open_voltage_recording(path)["Input 1"]
        assert len(channel) == n_rows
        np.testing.assert_array_equal(channel.read(start, stop), values[start:stop, 1])
        np.testing.assert_array_equal(np.concatenate([part for _, part in channel.chunks(7)]), values[:, 1])


def test_travels_as_a_recipe_and_parses_once(tmp_path, values, monkeypatch):
    channel = open_voltage_recording(write(tmp_path, ["frame", "Input 1"], values))["Input 1"]
    for _ in range(2):
        list(channel.chunks(100))
    assert len(pickle.dumps(channel)) < 2000
    monkeypatch.setattr(type(channel.table), "rows", None)
    np.testing.assert_array_equal(channel.read(3, 9), values[3:9, 1])
    kept = channel.read()
    kept[:] = 7  # what is handed out is the caller's own
    np.testing.assert_array_equal(channel.read(), values[:, 1])


def test_memory_is_set_by_the_piece(tmp_path, monkeypatch):
    path = tmp_path / f"{NAME}.csv"
    line = b"1234.5, 0.0123456789, -1.23456789\r\n"
    path.write_bytes(b"Time(ms), frame, Input 1\r\n" + line * 100_000)
    path.with_suffix(".xml").write_text(settings_xml(VOLTS, rate=1000))
    channel = open_voltage_recording(path)["frame"]
    for name, value in (("KEPT_SAMPLES", 10), ("PARSE_BYTES", 100_000), ("BLOCK_BYTES", 100_000)):
        monkeypatch.setattr(samples, name, value)
    tracemalloc.start()
    assert sum(len(part) for _, part in channel.chunks(5000)) == 100_000
    assert tracemalloc.get_traced_memory()[1] < 1_500_000  # the text has 3.5 MB
    tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_raise_only_our_errors(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("vr")
    path = write(folder, ["frame", "Input 1"], np.arange(16).reshape(8, 2) / 3)
    path = path.with_suffix(data.draw(st.sampled_from([".csv", ".xml"])))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    reader = PrairieViewVoltageReader()
    reader.detect(path)
    reader.inspect(path)
    with only_our_errors():
        for channel in open_voltage_recording(path).values():
            channel.read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("<Divisor>1</Divisor>", "<Divisor>0</Divisor>"), "scales the signal 'frame' by '1' / '0'"),
        (("<Divisor>1</Divisor>", "<Divisor>NaN</Divisor>"), "scales the signal 'frame' by '1' / 'NaN'"),
        (("<VRecSessionEntry>", '<!DOCTYPE a [<!ENTITY b "c">]><VRecSessionEntry>'), "document type declaration"),
        (("VRecSessionEntry", "PVScan"), "has the root element PVScan. Expected VRecSessionEntry"),
    ],
)
def test_settings_that_make_no_sense(tmp_path, change, message):
    path = tmp_path / f"{NAME}.xml"
    path.write_text(settings_xml(VOLTS).replace(*change))
    with pytest.raises(FormatError, match=message):
        read_voltage_settings(path)


@pytest.mark.parametrize("rate", ["0", "-5", "NaN", "inf", "1e300", "fast", ""])
def test_a_rate_that_makes_no_sense_is_none(tmp_path, values, rate):
    path = write(tmp_path, ["frame", "Input 1"], values)
    path.with_suffix(".xml").write_text(settings_xml(VOLTS, rate=rate))
    signals = open_voltage_recording(path)
    assert signals["frame"].rate_hz == pytest.approx(1000) and codes(signals) == ["rate-of-times"]


def test_what_is_detected(tmp_path, values):
    reader = PrairieViewVoltageReader()
    path = write(tmp_path, ["frame", "Input 1"], values)
    other = tmp_path / "other.csv"
    other.write_text("Time(ms), a\n0, 1\n")
    assert reader.detect(path) and reader.detect(path.with_suffix(".xml")) and reader.detect(tmp_path)
    assert not reader.detect(other)  # nothing but its header says what it is
    path.with_suffix(".xml").rename(other.with_suffix(".xml"))
    assert reader.detect(other)
    path.write_text("frame, Input 1\n0, 1\n")
    assert not reader.detect(path)


def test_voltage_output(tmp_path):
    path = tmp_path / "t-001_Cycle00001_VoltageOutput_001.xml"
    path.write_text(
        "<Experiment><Name>LED</Name><UpdateRate>10000</UpdateRate><Waveform><Name>LED</Name><Enabled>true</Enabled>"
        "<AOLine>3</AOLine><Units>V</Units><WaveformComponent_PulseTrain><Name>#1</Name><PulseCount>4</PulseCount>"
        "<PulseWidth>0.3</PulseWidth><PulseSpacing>49.7</PulseSpacing></WaveformComponent_PulseTrain></Waveform></Experiment>"
    )
    output = read_voltage_output(path)
    assert (output.name, output.rate_hz) == ("LED", 10000)
    (waveform,) = output.waveforms
    assert (waveform.name, waveform.enabled, waveform.line, waveform.unit) == ("LED", True, 3, "V")
    (part,) = waveform.components
    assert (part.kind, part.settings) == ("PulseTrain", {"PulseCount": 4, "PulseWidth": 0.3, "PulseSpacing": 49.7})
    path.write_text("<Experiment><Name>notes</Name></Experiment>")
    with pytest.raises(FormatError, match="holds no Waveform"):
        read_voltage_output(path)
    assert not PrairieViewVoltageReader().detect(path)


@pytest.mark.realdata
def test_real_files(realdata):
    (xml,) = (realdata / REAL).glob("*_VoltageRecording_001.xml")
    read = read_voltage_settings(xml)
    assert (read.rate_hz, read.n_samples, read.is_csv, read.lost_data) == (1000, 1200090, False, False)
    assert [signal.name for signal in read.recorded] == ["PicoSpritzer", "PhotoDiode", "Locomotion", "VISstim"]
    assert [signal.line for signal in read.recorded] == ["AI(1,0)", "AI(1,1)", "AI(1,3)", "AI(1,6)"]
    assert {signal.unit for signal in read.signals} == {"V"} and len(read.signals) == 8
    reader = PrairieViewVoltageReader()
    assert reader.detect(xml) and reader.detect(realdata / REAL)
    with pytest.raises(MissingFileError, match="from its raw file 'reg1"):
        open_signals(realdata / REAL)
    (put_out,) = reader.inspect(xml).facts["put_out"]
    assert (put_out["name"], put_out["components"][0]["FirstPulseDelay"]) == ("Voltage Output 0", 600000)
    (xml,) = (realdata / REAL).glob("*_VoltageOutput_001.xml")
    assert [waveform.enabled for waveform in read_voltage_output(xml).waveforms] == [True] + [False] * 7
