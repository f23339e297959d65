"""CaImAn's results: the ``.hdf5`` that ``CNMF.save`` writes, and the ``.npz`` of its older notebooks.

CaImAn keeps footprints as a sparse matrix ``A`` (pixels x ROIs) whose pixels are counted down the columns of the frame
(Fortran order): pixel ``p`` of a frame of ``dims = (height, width)`` is row ``p % height``, column ``p // height``. Traces are
split into the cell's own ``C`` (denoised), its residual ``YrA`` and a background ``b f`` shared by all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import FormatError, PackerLabImagingError, ParameterError
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable
from packerlabimaging.io.rois import check_frame_shape
from packerlabimaging.io.untrusted import hdf5
from packerlabimaging.io.untrusted.npz import NpzFile, open_npz

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

_SPARSE = ("data", "indices", "indptr", "shape")
_QUALITY = {"SNR_comp": "snr", "r_values": "spatial_correlation", "cnn_preds": "cnn_probability"}
"""CaImAn's measures of each component, and our columns."""


@dataclass(frozen=True)
class _Results:
    """One way to CaImAn's values by name, whatever file they are in.

    ``get(name, ndim)`` returns an array or None; ``names`` lists what there is.
    """

    path: Path
    names: tuple[str, ...]
    get: Callable[..., np.ndarray | None]
    footprints: Callable[[], csc_matrix]


class CaimanReader(Reader):
    """Reader of CaImAn's results, ``.hdf5`` and ``.npz``."""

    name: ClassVar[str] = "caiman"
    kind: ClassVar[Kind] = "segmentation"
    description: ClassVar[str] = "CaImAn results, .hdf5 of CNMF.save or .npz with A, C and dims"

    def detect(self, path: Path) -> bool:
        try:
            if not path.is_file():
                return False
            if path.suffix.lower() == ".npz":
                with open_npz(path) as archive:
                    return "C" in archive and any(name == "A" or name[:2] in ("A_", "A/", "A.") for name in archive.names)
            if path.suffix.lower() == ".nwb" or not hdf5.is_hdf5(path):
                return False
            with hdf5.open_hdf5(path) as file:
                return hdf5.find(file, "estimates/A") is not None
        except (PackerLabImagingError, OSError):
            return False

    def open(self, path: Path, *, frame_shape_px: tuple[int, int] | None = None) -> Segmentation:
        """Read footprints and traces.

        Parameters
        ----------
        path
            The file.
        frame_shape_px
            ``(height, width)``, where the file does not hold ``dims``.

        Returns
        -------
        Segmentation
            All components in CaImAn's order. ``F`` is ``C + YrA`` plus the background under each ROI, scaled so that the
            weights of a footprint have unit norm, as in CaImAn's ``detrend_df_f``; ``spks`` is ``S``; ``other_traces`` has
            ``F_dff`` and ``C`` where they are. ``iscell`` is ``idx_components``. ``obs`` has ``snr``,
            ``spatial_correlation``, ``cnn_probability`` where CaImAn computed them.

        Raises
        ------
        MissingFileError
            If there is no such file.
        FormatError
            If it is damaged, arrays do not fit each other, or the recording is a volume.
        ParameterError
            If the size of the frame is neither stored nor given.
        """
        with _opened(Path(path)) as results:
            A = results.footprints()
            shape = _frame_shape(results, A.shape[0], frame_shape_px)
            rois, kept, findings = _rois(A, shape, results.path)
            F, trace_findings = _fluorescence(results, A, kept)
            n_frames = F.shape[1]
            others = {name: _traces(results, name, A.shape[1], n_frames, kept) for name in ("S", "F_dff", "C")}
            return Segmentation(
                rois=rois,
                F=F,
                spks=others.pop("S"),
                other_traces={name: traces for name, traces in others.items() if traces is not None},
                iscell=_accepted(results, A.shape[1], kept),
                obs=_quality(results, A.shape[1], kept),
                images=_images(results, shape),
                engine="caiman",
                source=str(path),
                findings=(*findings, *trace_findings),
                extra={"rate_hz": _rate(results), "plane": 0},
            )

    def inspect(self, path: Path) -> Inspection:
        try:
            found = self.open(path)
        except PackerLabImagingError as error:
            return Inspection(str(path), self.name, self.kind, {"n_bytes": path.stat().st_size}, (unreadable(error, path),))
        assert found.iscell is not None
        facts = {
            "n_rois": len(found.rois),
            "n_cells": int(found.iscell.sum()),
            "n_frames": found.n_frames,
            "frame_shape_px": list(found.rois.frame_shape_px),
            "rate_hz": found.extra["rate_hz"],
            "has_deconvolved": found.spks is not None,
            "other_traces": sorted(found.other_traces),
        }
        return Inspection(str(path), self.name, self.kind, facts, found.findings)


# the two kinds of file


@contextmanager
def _opened(path: Path) -> Iterator[_Results]:
    if path.suffix.lower() == ".npz":
        with open_npz(path) as archive:
            yield _Results(path, archive.names, lambda name, ndim: _of_npz(archive, name, ndim), lambda: _npz_matrix(archive))
        return
    with hdf5.open_hdf5(path) as file:
        estimates = hdf5.find(file, "estimates")
        if not hasattr(estimates, "keys"):
            raise FormatError(f"'{path}' holds no 'estimates'. Expected the file that CaImAn's CNMF.save writes.")

        def get(name: str, ndim: Any) -> np.ndarray | None:
            found = hdf5.find(estimates, name)
            if found is None and name in ("dims", "fr"):
                found = next(
                    (member for place in ("", "params/data/") if (member := hdf5.find(file, place + name)) is not None), None
                )
            if found is None or not hasattr(found, "dtype") or found.dtype.kind not in "biuf":  # None is stored as text
                return None
            return hdf5.read_array(found, ndim=ndim, path=path, what=name)

        yield _Results(path, tuple(estimates), get, lambda: _hdf5_matrix(estimates, path))


def _of_npz(archive: NpzFile, name: str, ndim: Any) -> np.ndarray | None:
    if name not in archive or archive.header(name)[1].kind not in "biuf":
        return None
    values: np.ndarray = archive.read(name)
    if values.ndim not in (ndim if isinstance(ndim, tuple) else (ndim,)):
        raise FormatError(f"'{name}' in '{archive.path}' has {values.ndim} dimensions. Expected {ndim}. Save it again.")
    return values


def _hdf5_matrix(estimates: Any, path: Path) -> csc_matrix:
    A = hdf5.find(estimates, "A")
    if hasattr(A, "dtype"):  # stored whole
        dense = hdf5.read_array(A, ndim=2, path=path, what="A")
        rows, columns = np.nonzero(dense)
        return _matrix(dense[rows, columns], rows, columns, dense.shape)
    parts = {name: hdf5.find(A, name) for name in _SPARSE} if A is not None else dict.fromkeys(_SPARSE)
    return _compressed({name: hdf5.read_array(part, ndim=1, path=path, what=f"A/{name}") for name, part in parts.items()}, path)


def _npz_matrix(archive: NpzFile) -> csc_matrix:
    for mark in ("_", "/", "."):
        if all(f"A{mark}{name}" in archive for name in _SPARSE):
            return _compressed({name: np.asarray(archive.read(f"A{mark}{name}")) for name in _SPARSE}, archive.path)
    if "A" not in archive:
        raise FormatError(f"'{archive.path}' holds no footprints. Expected 'A'; it holds: {', '.join(archive.names)}.")
    if archive.header("A")[1].hasobject:
        stored = archive.read("A")
        parts = stored.item() if isinstance(stored, np.ndarray) and stored.size == 1 else None
        if not isinstance(parts, dict) or parts.get("format") != "csc" or not set(_SPARSE) <= set(parts):
            raise FormatError(
                f"'A' in '{archive.path}' is a Python object, but no sparse matrix of compressed columns. Save it as A.toarray()."
            )
        return _compressed({name: np.asarray(parts[name]) for name in _SPARSE}, archive.path)
    shape, rows, columns, values = archive.nonzeros("A")
    return _matrix(values, rows, columns, shape)


def _matrix(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> csc_matrix:
    from scipy.sparse import csc_matrix

    return csc_matrix((values.astype(np.float32), (rows, columns)), shape=shape)


def _compressed(parts: dict[str, np.ndarray], path: Path) -> csc_matrix:
    """Return a checked matrix from its compressed columns."""
    from scipy.sparse import csc_matrix

    data, indices, indptr, shape = (np.asarray(parts[name]).ravel() for name in _SPARSE)
    whole = all(part.dtype.kind in "iu" for part in (indices, indptr, shape)) and data.dtype.kind in "biuf"
    fits = (
        whole
        and len(shape) == 2
        and 0 < int(shape[0]) < 1 << 40
        and len(indptr) == int(shape[1]) + 1
        and len(data) == len(indices)
        and int(indptr[0]) == 0
        and int(indptr[-1]) == len(data)
        and bool(np.all(np.diff(indptr.astype(np.int64)) >= 0))
        and (len(indices) == 0 or (int(indices.min()) >= 0 and int(indices.max()) < int(shape[0])))
    )
    if not fits:
        raise FormatError(
            f"The footprints 'A' in '{path}' are no matrix of compressed columns (data, indices, indptr, shape do not fit "
            "together). The file is damaged; save the results again."
        )
    matrix = csc_matrix(
        (data.astype(np.float32), indices.astype(np.int64), indptr.astype(np.int64)), shape=(int(shape[0]), int(shape[1]))
    )
    matrix.sum_duplicates()
    return matrix


# values


def _frame_shape(results: _Results, n_pixels: int, given: tuple[int, int] | None) -> tuple[int, int]:
    stored = results.get("dims", 1)
    if stored is None and (d1 := results.get("d1", 0)) is not None and (d2 := results.get("d2", 0)) is not None:
        stored = np.array([d1, d2])
    if stored is not None and len(stored) != 2:
        raise FormatError(
            f"'{results.path}' is of a volume of {tuple(stored.tolist())} pixels. Only single planes are read: run "
            "CaImAn plane by plane."
        )
    if stored is None and given is None:
        raise ParameterError(
            f"'{results.path}' does not hold 'dims', the size of its frames. Give frame_shape_px=(height, width)."
        )
    shape = check_frame_shape(stored if stored is not None else given, where=str(results.path))  # type: ignore[arg-type]
    if shape[0] * shape[1] != n_pixels:
        raise FormatError(
            f"The footprints in '{results.path}' have {n_pixels} pixels, a frame of {shape[0]} x {shape[1]} has "
            f"{shape[0] * shape[1]}. They are not of one recording. Save the results again."
        )
    return shape


def _rois(A: csc_matrix, shape: tuple[int, int], path: Path) -> tuple[RoiSet, np.ndarray, list[Finding]]:
    """Return the footprints, which components they are (those with a pixel), and what was left out."""
    positive = np.isfinite(A.data) & (A.data > 0)
    owner = np.repeat(np.arange(A.shape[1]), np.diff(A.indptr))
    counts = np.bincount(owner[positive], minlength=A.shape[1])
    kept = np.flatnonzero(counts)
    if len(kept) == 0:
        raise FormatError(f"'{path}' holds no component with a footprint. Save the results again.")
    pixels = A.indices[positive]
    rois = RoiSet(
        shape,
        np.concatenate([[0], np.cumsum(counts[kept])]),
        pixels % shape[0],
        pixels // shape[0],
        A.data[positive],
        ids=tuple(f"roi-{index:04d}" for index in kept),
    )
    findings = []
    if len(kept) < A.shape[1]:
        message = f"{A.shape[1] - len(kept)} of {A.shape[1]} components have no footprint and are left out."
        findings.append(Finding("components-without-pixels", message, where=str(path)))
    return rois, kept, findings


def _traces(results: _Results, name: str, n_rois: int, n_frames: int, kept: np.ndarray) -> np.ndarray | None:
    traces = results.get(name, 2)
    if traces is None or (traces.size == 0 and n_frames):
        return None
    if traces.shape != (n_rois, n_frames):
        raise FormatError(
            f"'{name}' in '{results.path}' has the shape {traces.shape}. Expected {(n_rois, n_frames)}: one row per component of "
            "'A', one column per frame of 'C'. The arrays are not of one run; save the results again."
        )
    return traces[kept].astype(np.float32)


def _fluorescence(results: _Results, A: csc_matrix, kept: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    C = results.get("C", 2)
    if C is None:
        raise FormatError(f"'{results.path}' holds no traces 'C'. It holds: {', '.join(results.names)}. Save the results again.")
    n_rois, n_frames = A.shape[1], C.shape[1]
    F = _traces(results, "C", n_rois, n_frames, kept)
    assert F is not None
    residual = _traces(results, "YrA", n_rois, n_frames, kept)
    findings = []
    if residual is None:
        message = "There is no residual 'YrA': F is the denoised trace, without the recording's noise."
        findings.append(Finding("no-residual", message, where=str(results.path), advice="Noise measures are too small."))
    else:
        F += residual
    norm = np.sqrt(np.asarray(A.power(2).sum(axis=0)).ravel()[kept])
    F *= norm[:, None].astype(np.float32)
    b, f = results.get("b", 2), results.get("f", 2)
    if b is not None and f is not None and b.size and f.size:
        if b.shape[0] != A.shape[0] or f.shape != (b.shape[1], n_frames):
            raise FormatError(
                f"The background in '{results.path}' does not fit: b {b.shape}, f {f.shape}. Expected ({A.shape[0]}, n) and "
                f"(n, {n_frames}). Save the results again."
            )
        F += ((A[:, kept].T @ b) / norm[:, None] @ f).astype(np.float32)
    else:
        message = "There is no background 'b', 'f' (as after CNMF-E): F has no baseline, and dF/F computed from it means nothing."
        advice = "Take CaImAn's own 'F_dff' from other_traces, or extract the ROIs anew with the engine 'masks'."
        findings.append(Finding("no-baseline", message, where=str(results.path), advice=advice))
    return F, findings


def _accepted(results: _Results, n_rois: int, kept: np.ndarray) -> np.ndarray | None:
    index = results.get("idx_components", 1)
    if index is None:
        return None
    accepted = np.zeros(n_rois, bool)
    if index.dtype.kind not in "iu" or (len(index) and not (index.min() >= 0 and index.max() < n_rois)):
        raise FormatError(f"'idx_components' in '{results.path}' names components that there are not. Save the results again.")
    accepted[index.astype(np.int64)] = True
    return accepted[kept]


def _quality(results: _Results, n_rois: int, kept: np.ndarray) -> Any:
    import pandas as pd

    columns: dict[str, np.ndarray] = {"component": kept}
    for theirs, ours in _QUALITY.items():
        values = results.get(theirs, (1, 2))
        if values is not None and values.size == n_rois:
            columns[ours] = values.ravel()[kept].astype(np.float64)
    return pd.DataFrame(columns)


def _images(results: _Results, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    image = results.get("Cn", (1, 2))
    return {"correlation": image.astype(np.float32)} if image is not None and image.shape == shape else {}


def _rate(results: _Results) -> float | None:
    rate = results.get("fr", 0)
    return float(rate) if rate is not None and np.isfinite(rate) and rate > 0 else None
