"""What an NWB 2 file holds, as far as segmentation goes: objects by their type, links followed within the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.errors import FormatError
from packerlabimaging.io.untrusted import hdf5

MAX_OBJECTS = 100_000
"""Most groups and datasets that are looked at."""

_MAX_DEPTH = 12


@dataclass(frozen=True)
class NwbObjects:
    """Objects of an open file.

    Parameters
    ----------
    path
        The file.
    version
        Version of NWB that it was written in.
    found
        ``{place in the file: (type, group)}`` of every object that has a type.
    session_description
        As written, or empty.
    """

    path: Path
    version: str
    found: dict[str, tuple[str, Any]]
    session_description: str

    @classmethod
    def of(cls, file: Any, path: Path) -> NwbObjects:
        """List the objects of an open file.

        Raises
        ------
        FormatError
            If it is not an NWB 2 file.
        """
        version = hdf5.text_of(file.attrs.get("nwb_version")) or hdf5.text_of(_value(file, "nwb_version"))
        if version is None:
            raise FormatError(f"'{path}' is HDF5 but not NWB: it has no 'nwb_version'. Is it the right file?")
        if not version.removeprefix("NWB-").startswith("2"):
            raise FormatError(
                f"'{path}' is of version {version} of NWB, which arranges ROIs otherwise. Versions 2 and later are read: convert "
                "it, or export the ROIs as a label image."
            )
        found: dict[str, tuple[str, Any]] = {}
        _walk(file, "", found, depth=0, count=[0], path=path)
        return cls(path, version, found, hdf5.text_of(_value(file, "session_description")) or "")

    def of_type(self, *types: str) -> dict[str, Any]:
        """Return the groups of these types by their place."""
        return {place: group for place, (kind, group) in self.found.items() if kind in types}

    def parent_type(self, place: str) -> str:
        """Return the type of the object that holds another, or nothing."""
        return self.found.get(place.rsplit("/", 1)[0], ("", None))[0]

    def contents(self) -> str:
        """Say what the file holds, for messages."""
        listed = [
            f"{kind} '{place}'"
            for place, (kind, _) in self.found.items()
            if kind not in ("VectorData", "VectorIndex", "ElementIdentifiers")
        ]
        return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "") or "nothing with a type"


def _value(file: Any, name: str) -> Any:
    dataset = hdf5.find(file, name)
    return dataset[()] if dataset is not None and getattr(dataset, "shape", None) == () else None


def _walk(group: Any, place: str, found: dict[str, tuple[str, Any]], *, depth: int, count: list[int], path: Path) -> None:
    import h5py

    if depth > _MAX_DEPTH:
        return
    for name in group:
        count[0] += 1
        if count[0] > MAX_OBJECTS:
            raise FormatError(f"'{path}' holds more than {MAX_OBJECTS} objects. Is it damaged?")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):  # what is linked stands elsewhere, or in another file
            continue
        member = group[name]
        where = f"{place}/{name}" if place else name
        kind = hdf5.text_of(member.attrs.get("neurodata_type"))
        if kind is not None:
            found[where] = (kind, member)
        if isinstance(member, h5py.Group) and where != "specifications":
            _walk(member, where, found, depth=depth + 1, count=count, path=path)


def column(table: Any, name: str, path: Path) -> tuple[Any, np.ndarray | None] | None:
    """Return the dataset of a column of a table, and where each row ends in it (None for one value a row).

    Raises
    ------
    FormatError
        If the ends make no sense.
    """
    data = hdf5.find(table, name)
    if data is None:
        return None
    hdf5.check_dataset(data, path=path, what=name)
    index = hdf5.find(table, f"{name}_index")
    if index is None:
        return data, None
    ends = np.asarray(hdf5.read_array(index, ndim=1, path=path, what=f"{name}_index", kinds="iu")).astype(np.int64)
    if len(ends) and (np.any(np.diff(ends, prepend=0) < 0) or ends[-1] != len(data)):
        raise FormatError(f"The rows of '{name}' in '{path}' do not fit its content. The file is damaged; write it again.")
    return data, ends
