"""The contract test of a reader: subclass :class:`ReaderContract`, name the reader and make a sample."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from packerlabimaging._provenance import to_plain
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.core.schema import findings_of
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.core.signals import Signals
from packerlabimaging.errors import MissingFileError, PackerLabImagingError
from packerlabimaging.io.readers import KINDS, Inspection, Reader, find_reader, find_readers, open_path, readers

_VALUES: Mapping[str, type] = {
    "movie": Movie,
    "signals": Signals,
    "photostim": PhotostimProtocol,
    "segmentation": Segmentation,
}


class ReaderContract:
    """Tests that every reader passes.

    Subclass it, set ``name``, write ``make_sample``; pytest collects the subclass. The reader must be registered.

    Attributes
    ----------
    name
        Name of the reader.
    options
        Options that the sample needs to be opened.
    detected
        False for a reader that is always named and recognises nothing, such as one that hands over to another package.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    detected: ClassVar[bool] = True

    def make_sample(self, folder: Path) -> Path:
        """Write a small recording into an empty folder by other means than the reader's own package; return its path."""
        raise NotImplementedError

    @pytest.fixture
    def reader(self) -> Reader:
        """The reader, by its name."""
        return readers.get(self.name)()

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Path:
        """The sample."""
        folder = tmp_path / "a folder with blanks"
        folder.mkdir()
        return self.make_sample(folder)

    def open(self, reader: Reader, path: Path) -> Any:
        """Open the sample as the package does."""
        named = {"channel": None, "plane": None} if reader.kind == "movie" else {}
        return reader.open(path, **{**named, **self.options})

    def test_declares_what_it_is(self, reader: Reader) -> None:
        assert reader.name == self.name and reader.kind in KINDS
        assert reader.description and "\n" not in reader.description

    def test_recognises_its_sample_and_is_the_only_one_of_its_kind(self, reader: Reader, sample: Path) -> None:
        if not self.detected:
            assert not reader.detect(sample)
            assert find_reader(sample, reader.kind, reader=self.name).name == self.name
            return
        assert [found.name for found in find_readers(sample, reader.kind)] == [self.name]
        assert find_reader(sample, reader.kind).name == self.name

    def test_recognises_nothing_else(self, reader: Reader, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for name, content in (("zero.bin", b""), ("text.txt", b"hello"), ("noise.dat", bytes(range(256)) * 16)):
            (tmp_path / name).write_bytes(content)
            assert not reader.detect(tmp_path / name), name
        assert not reader.detect(tmp_path / "empty")

    def test_opens_to_a_value_of_its_kind(self, reader: Reader, sample: Path) -> None:
        value = self.open(reader, sample)
        assert isinstance(value, _VALUES[reader.kind])
        assert all(finding.code and finding.message for finding in findings_of(value))

    def test_travels_to_another_process_as_a_recipe(self, reader: Reader, sample: Path) -> None:
        value = self.open(reader, sample)
        if isinstance(value, Movie):
            recipe = pickle.dumps(value)
            again = pickle.loads(recipe)  # noqa: S301 - made by the line above
            np.testing.assert_array_equal(again.read(0, value.n_frames), value.read(0, value.n_frames))
        elif isinstance(value, Signals):
            for channel in value.values():
                again = pickle.loads(pickle.dumps(channel))  # noqa: S301 - made here
                np.testing.assert_array_equal(again.read(), channel.read())

    def test_reads_pieces_as_it_reads_the_whole(self, reader: Reader, sample: Path) -> None:
        value = self.open(reader, sample)
        if isinstance(value, Movie):
            whole = value.read(0, value.n_frames)
            assert whole.shape == value.shape and whole.dtype == value.dtype
            for start in range(value.n_frames):
                np.testing.assert_array_equal(value.read(start, start + 1)[0], whole[start])
        elif isinstance(value, Signals):
            for channel in value.values():
                pieces = [piece for _, piece in channel.chunks(7)] if channel.n_samples < 10_000 else [channel.read()]
                np.testing.assert_array_equal(np.concatenate(pieces), channel.read())

    def test_says_what_it_is_in_plain_values(self, reader: Reader, sample: Path) -> None:
        inspection = reader.inspect(sample)
        assert isinstance(inspection, Inspection)
        assert (inspection.format, inspection.kind) == (reader.name, reader.kind) and inspection.facts
        json.dumps(to_plain(inspection.facts), allow_nan=False)
        json.dumps([finding.to_dict() for finding in inspection.findings], allow_nan=False)

    def test_leaves_the_files_as_they_are(self, reader: Reader, sample: Path) -> None:
        before = _hashes(sample.parent)
        self.open(reader, sample)
        reader.inspect(sample)
        assert _hashes(sample.parent) == before

    def test_an_unknown_option_is_refused(self, reader: Reader, sample: Path) -> None:
        with pytest.raises(PackerLabImagingError, match="no_such_option"):
            open_path(sample, reader.kind, reader=self.name, options={**self.options, "no_such_option": 1})

    def test_a_missing_file_is_named(self, reader: Reader, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="nothing here"):
            find_reader(tmp_path / "nothing here", reader.kind, reader=self.name)

    def test_a_cut_file_gives_one_of_our_errors_or_a_finding(self, reader: Reader, sample: Path) -> None:
        files = [sample] if sample.is_file() else sorted(path for path in sample.rglob("*") if path.is_file())
        for path in files:
            content = path.read_bytes()
            for keep in (0, 1, len(content) // 2, len(content) - 1):
                path.write_bytes(content[:keep])
                try:
                    value = self.open(reader, sample)
                    if isinstance(value, Movie):
                        value.read(0, value.n_frames)
                except PackerLabImagingError as error:
                    assert str(error)
            path.write_bytes(content)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
