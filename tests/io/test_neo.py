"""Readers of the package neo as signals."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError, UnknownFormatError
from packerlabimaging.io.neo import NeoReader, signals_of_neo
from packerlabimaging.io.readers import open_signals

neo = pytest.importorskip("neo")
SAMPLES = np.random.default_rng(0).integers(-3000, 3000, (5000, 3)).astype(np.int16)
OPTIONS = {"io": "RawBinarySignalRawIO", "dtype": "int16", "nb_channel": 3, "sampling_rate": 2000.0, "signal_gain": 0.5}


def write_raw(path: Path) -> Path:
    SAMPLES.tofile(path)
    return path


def test_signals(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "rec.raw")
    signals = open_signals(path, reader="neo", **OPTIONS)
    assert len(signals) == 3
    for index, channel in enumerate(signals.values()):
        assert channel.rate_hz == 2000.0 and channel.n_samples == 5000
        np.testing.assert_array_equal(channel.read(), SAMPLES[:, index] * np.float32(0.5))
        np.testing.assert_array_equal(channel.read(17, 23), SAMPLES[17:23, index] * np.float32(0.5))
        recipe = pickle.dumps(channel)
        assert len(recipe) < 2000
        np.testing.assert_array_equal(pickle.loads(recipe).read(), channel.read())  # noqa: S301 - made by the line above
    np.testing.assert_array_equal(open_signals(path, reader="neo", **{**OPTIONS, "io": "RawBinarySignalIO"})["ch0"].read(0, 3),
                                  SAMPLES[:3, 0] * np.float32(0.5))  # fmt: skip


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "rec.dat")
    with pytest.raises(AmbiguousInputError, match="can be read by neo's .*RawBinarySignalRawIO.*io="):
        open_signals(path, reader="neo")
    with pytest.raises(ParameterError, match="neo has no reader 'RawBinary'"):
        open_signals(path, reader="neo", io="RawBinary")
    with pytest.raises(ParameterError, match="has no argument 'channels'. It has: filename, dtype"):
        open_signals(path, reader="neo", io="RawBinarySignalRawIO", channels=3)
    with pytest.raises(ParameterError, match="reads pickles"):
        open_signals(path, reader="neo", io="PickleIO")
    with pytest.raises(FormatError, match="can't be read by neo"):
        open_signals(path, reader="neo", io="AxonRawIO")
    (tmp_path / "x.nothing").touch()
    with pytest.raises(UnknownFormatError, match="neo has no reader for files such as"):
        open_signals(tmp_path / "x.nothing", reader="neo")
    assert "RawBinarySignalRawIO" in NeoReader().inspect(path).facts["candidates"]
    with pytest.raises(ParameterError, match="holds no segment 4"):
        open_signals(path, reader="neo", **OPTIONS, segment=4)


def test_blocks_and_segments_are_never_guessed() -> None:
    reader = neo.rawio.ExampleRawIO(filename="whatever.fake")
    with pytest.raises(AmbiguousInputError, match="holds 2 blocks, 0 to 1"):
        signals_of_neo(reader)
    with pytest.raises(AmbiguousInputError, match="holds 3 segments"):
        signals_of_neo(reader, block=1)
    signals = signals_of_neo(reader, block=1, segment=0)
    raw = reader.get_analogsignal_chunk(block_index=1, seg_index=0, i_start=5, i_stop=50, stream_index=0)
    values = reader.rescale_signal_raw_to_float(raw, stream_index=0)
    for index, channel in enumerate(list(signals.values())[: values.shape[1]]):
        np.testing.assert_allclose(channel.read(5, 50), values[:, index], rtol=1e-6)
    assert signals.findings[0].code == "events-left-out"


def test_readers_that_read_as_a_whole(tmp_path: Path) -> None:
    times = np.arange(50) / 100
    np.savetxt(tmp_path / "rec.txt", np.stack([times, np.sin(times), np.cos(times)], axis=1), delimiter="\t")
    options = {"io": "AsciiSignalIO", "sampling_rate": neo.io.asciisignalio.pq.Quantity(100, "Hz")}
    signals = open_signals(tmp_path / "rec.txt", reader="neo", **options)
    values = [channel.read() for channel in signals.values()]
    assert any(np.allclose(one, np.cos(times), atol=1e-6) for one in values)
    assert {channel.rate_hz for channel in signals.values()} == {100.0}
