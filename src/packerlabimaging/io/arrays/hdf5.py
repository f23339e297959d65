"""Movies in HDF5 files of any program: one dataset, chosen by its key.

Datasets are read a piece at a time, compressed chunks by h5py; a file is open only while something is read from it. Links to
other files are not followed when datasets are listed. Where chunks were never written HDF5 gives zeros: that is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, PackerLabImagingError
from packerlabimaging.io.arrays.stored import ArrayOptions, StoredArray, StoredArrayMovie, array_facts, choose_array
from packerlabimaging.io.readers import Inspection, Reader
from packerlabimaging.io.untrusted.hdf5 import is_hdf5, open_hdf5

_MOST_OBJECTS = 20_000


class HDF5Movie(StoredArrayMovie):
    """One channel of one plane of a dataset; see :class:`~packerlabimaging.io.arrays.stored.StoredArrayMovie`."""

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with open_hdf5(self.path) as file:
            yield file[self.key]


class HDF5Reader(Reader):
    """Reader of a dataset of an HDF5 file as a movie; it gives way to readers that know the program."""

    name = "hdf5"
    kind = "movie"
    description = "a dataset of an HDF5 file (.h5, .hdf5, MATLAB 7.3) with 3 to 5 axes, chosen by key="
    generic = True
    options = ArrayOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is an HDF5 file with a dataset that can be a movie. NWB files have readers of their own."""
        if not path.is_file() or not is_hdf5(path):
            return False
        try:
            with open_hdf5(path) as file:
                return "nwb_version" not in file.attrs and any(array.can_be_movie for array in _datasets(file).values())
        except PackerLabImagingError:
            return False

    def open(self, path: Path, **options: Any) -> HDF5Movie:
        """Open a dataset; reads headers only.

        Parameters
        ----------
        options
            Those of :class:`~packerlabimaging.io.arrays.stored.ArrayOptions`. Without ``axes``, three axes are those that the
            file labels, else (time, x, y) where MATLAB wrote them, else (time, y, x).

        Raises
        ------
        AmbiguousInputError
            If several datasets, channels or planes can be meant, or nothing says what the axes are.
        FormatError
            If the file is cut or damaged, or holds no dataset that can be a movie.
        ParameterError
            If an option does not fit the file.
        """
        chosen = ArrayOptions(**options)
        path = Path(path)
        with open_hdf5(path) as file:
            array = choose_array(chosen.key, _datasets(file), str(path))
            if "nwb_version" in file.attrs and chosen.axes is None:
                raise AmbiguousInputError(
                    f"'{path}' is an NWB file: its standard order is (time, x, y), but many programs write (time, y, x). "
                    "Give axes='txy' or axes='tyx', or use a reader of NWB."
                )
            dataset = file[array.key]
            findings = _check_stored(dataset, path, array)
            pieces = dataset.chunks or ()
        return HDF5Movie(path, array, chosen, stored_bytes=path.stat().st_size, piece_shape=pieces, findings=findings)

    def inspect(self, path: Path) -> Inspection:
        """Describe the datasets that can be movies."""
        with open_hdf5(path) as file:
            arrays = [array for array in _datasets(file).values() if array.can_be_movie]
            findings = [finding for array in arrays[:50] for finding in _check_stored(file[array.key], path, array)]
        return Inspection(str(path), self.name, self.kind, array_facts(arrays), tuple(findings))


def _datasets(file: Any) -> dict[str, StoredArray]:
    """Return the datasets of a file by name; at most some thousands are looked at."""
    import h5py

    found: dict[str, StoredArray] = {}
    seen = 0

    def visit(name: str, item: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = _described(name, item)
        return True if seen >= _MOST_OBJECTS else None

    file.visititems(visit)
    return found


def _described(name: str, dataset: Any) -> StoredArray:
    numeric = dataset.dtype.kind in "uif" and dataset.dtype.subdtype is None
    labels = tuple(dimension.label for dimension in dataset.dims) if 3 <= len(dataset.shape) <= 5 else ()
    matlab = len(dataset.shape) == 3 and "MATLAB_class" in dataset.attrs
    return StoredArray(name, tuple(dataset.shape), dataset.dtype if numeric else None, labels, "txy" if matlab else "")


def _check_stored(dataset: Any, path: Path, array: StoredArray) -> list[Finding]:
    """Return what is missing of a dataset that HDF5 would fill with zeros.

    Raises
    ------
    FormatError
        If the file ends before an uncompressed dataset does, or its pixels lie in another file.
    MissingFileError
        If a file that a virtual dataset is made of is not there.
    """
    where = f"{path}:{array.key}"
    if dataset.external:
        raise FormatError(f"'{where}' lies in another file, which is not read. Save it in one file.")
    if dataset.is_virtual:
        folder = path.parent
        names = {source.file_name for source in dataset.virtual_sources()} - {"."}
        missing = sorted(name for name in names if not (folder / name).is_file())
        if missing:
            listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise MissingFileError(f"'{where}' is made of files that are not there: {listed}. Put them into '{folder}'.")
        return []
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        if offset is not None and offset + dataset.nbytes > path.stat().st_size:
            raise FormatError(
                f"'{where}' is cut: it needs {dataset.nbytes:,} bytes from byte {offset:,}, but the file has "
                f"{path.stat().st_size:,}. Copy the file again."
            )
        stored, expected = (1 if offset is not None else 0), 1
    else:
        stored = dataset.id.get_num_chunks()
        expected = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    return [] if stored >= expected else [not_stored(where, stored, expected, str(dataset.fillvalue))]


def not_stored(where: str, stored: int, expected: int, fill_value: str) -> Finding:
    """Return the finding that pieces of an array were never written, or were lost."""
    return Finding(
        "chunks-not-stored",
        f"{expected - stored} of {expected} pieces are not in the file: they read as {fill_value}.",
        where=where,
        advice="Normal where nothing but this value was recorded; else the recording or a copy was interrupted.",
        evidence={"n_stored": stored, "n_expected": expected},
    )
