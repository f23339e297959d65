"""NumPy archives from elsewhere (``.npz``): sizes are checked against what is stored, objects are read without running code."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from packerlabimaging.errors import FormatError, MissingFileError, PackerLabImagingError
from packerlabimaging.io.untrusted.npy import read_npy_header
from packerlabimaging.io.untrusted.pickles import restricted_loads

FREE_BYTES, EXPANSION = 32 << 20, 64
"""An array may have this many bytes, or this many times what is stored of it: compression of real traces is far below."""

_BLOCK_BYTES = 8 << 20


class NpzFile:
    """The arrays of an open archive, by name; see :func:`open_npz`."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.path = path
        self._archive = archive
        self._members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return shape and type of an array."""
        with self._open(name) as (_, shape, _, dtype):
            return shape, dtype

    def read(self, name: str) -> Any:
        """Read an array, or plain values where Python objects are stored.

        Raises
        ------
        FormatError
            If it claims far more than is stored of it, or could run code.
        """
        with self._open(name) as (file, shape, fortran_order, dtype):
            if dtype.hasobject:
                content = file.read(self._limit(name))
                return restricted_loads(content, source=f"{self.path}:{name}")
            self._check(name, math.prod(shape) * dtype.itemsize)
            values = np.frombuffer(_exactly(file, math.prod(shape) * dtype.itemsize, self.path), dtype)
            return values.reshape(shape, order="F" if fortran_order else "C")

    def nonzeros(self, name: str) -> tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray]:
        """Read a large, mostly empty matrix a piece at a time.

        Returns
        -------
        shape, rows, columns, values
            Of the entries that are not 0.
        """
        with self._open(name) as (file, shape, fortran_order, dtype):
            if len(shape) != 2 or dtype.kind not in "biuf":
                raise FormatError(f"'{name}' in '{self.path}' holds {dtype} of shape {shape}. Expected a matrix of numbers.")
            outer, inner = (shape[1], shape[0]) if fortran_order else shape
            found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
            step = max(1, _BLOCK_BYTES // max(1, inner * dtype.itemsize))
            self._check(name, min(step, outer) * inner * dtype.itemsize)
            for start in range(0, outer if inner else 0, step):
                n_lines = min(step, outer - start)
                content = _exactly(file, n_lines * inner * dtype.itemsize, self.path)
                block = np.frombuffer(content, dtype).reshape(n_lines, inner)
                lines, places = np.nonzero(block)
                found.append((lines + start, places, block[lines, places].astype(np.float32)))
        lines, places, values = (np.concatenate([part[k] for part in found]) if found else np.zeros(0, int) for k in range(3))
        rows, columns = (places, lines) if fortran_order else (lines, places)
        return (shape[0], shape[1]), rows, columns, values

    def _limit(self, name: str) -> int:
        return FREE_BYTES + EXPANSION * self._archive.getinfo(self._members[name]).compress_size

    def _check(self, name: str, n_bytes: int) -> None:
        if n_bytes > self._limit(name):
            raise FormatError(f"'{name}' in '{self.path}' claims {n_bytes} bytes, far more than is stored. Save the file again.")

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype]]:
        if name not in self._members:
            raise FormatError(f"'{self.path}' holds no '{name}'. It holds: {', '.join(self.names) or 'nothing'}.")
        with self._archive.open(self._members[name]) as file:
            shape, fortran_order, dtype = read_npy_header(file, f"{self.path}:{name}")
            yield file, shape, fortran_order, dtype


def _exactly(file: IO[bytes], n_bytes: int, path: Path) -> bytes:
    content = file.read(n_bytes)
    if len(content) != n_bytes:
        raise FormatError(f"'{path}' is cut: {n_bytes} bytes are promised, {len(content)} are there. Copy it again.")
    return content


@contextmanager
def open_npz(path: Path) -> Iterator[NpzFile]:
    """Open an archive for reading.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is no readable archive.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield NpzFile(archive, path)
    except PackerLabImagingError:
        raise
    except Exception as error:  # zipfile and zlib have many errors for damaged files
        raise FormatError(
            f"'{path}' is no readable .npz file: {type(error).__name__}: {str(error)[:200]}. Copy it again from its source."
        ) from error
