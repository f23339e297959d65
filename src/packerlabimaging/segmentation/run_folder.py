"""The files in which our own engines leave a run: plain arrays and JSON, no pickles, readable by anybody with numpy.

========================  =====================================================================================
``rois.npz``              ``frame_shape_px``, ``indptr``, ``y_px``, ``x_px``, ``weights``, ``ids``, ``planes`` (see RoiSet)
``roi_columns.npz``       one array per column, one value per ROI; ``iscell`` among them
``F.npy``, ``Fneu.npy``   float32 ``(n_rois, n_frames)``, in the movie's units; ``Fneu.npy`` only where there is neuropil
``shifts_px.npy``         float32 ``(n_frames, 2)``: displacement ``(y, x)`` of each frame
``images/<name>.npy``     ``(y, x)`` images
``findings.json``         what was noticed
========================  =====================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from packerlabimaging._provenance import to_plain
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import StoreError

_ROIS, _COLUMNS, _SHIFTS, _IMAGES, _FINDINGS = "rois.npz", "roi_columns.npz", "shifts_px.npy", "images", "findings.json"


def write_rois(folder: Path, rois: RoiSet, columns: Mapping[str, np.ndarray]) -> None:
    """Write ROIs, and columns with one value per ROI."""
    np.savez(
        folder / _ROIS,
        frame_shape_px=np.array(rois.frame_shape_px),
        indptr=rois.indptr,
        y_px=rois.y_px,
        x_px=rois.x_px,
        weights=rois.weights,
        ids=np.array(rois.ids, dtype=np.str_),
        planes=np.asarray(rois.planes),
    )
    arrays: dict[str, Any] = dict(columns)
    np.savez(folder / _COLUMNS, **arrays)


def write_shifts(folder: Path, shifts_px: np.ndarray) -> None:
    """Write the displacement of each frame, ``(n_frames, 2)``."""
    np.save(folder / _SHIFTS, shifts_px.astype(np.float32))


def write_images(folder: Path, images: Mapping[str, np.ndarray]) -> None:
    """Write images ``(y, x)``, each under its name."""
    (folder / _IMAGES).mkdir()
    for name, image in images.items():
        np.save(folder / _IMAGES / f"{name}.npy", image)


def write_findings(folder: Path, findings: Iterable[Finding]) -> None:
    """Write what was noticed."""
    values = [to_plain(finding.to_dict()) for finding in findings]
    (folder / _FINDINGS).write_text(json.dumps(values, indent=2), encoding="utf-8")


def read_outcome(folder: Path) -> Segmentation:
    """Read a run; traces, shifts and images are memory maps. The engine's name is left to the caller.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    StoreError
        If a file is missing or damaged.
    """
    import pandas as pd

    columns = _read_npz(folder / _COLUMNS)
    iscell = columns.pop("iscell")
    values = json.loads((folder / _FINDINGS).read_text(encoding="utf-8")) if (folder / _FINDINGS).exists() else []
    return Segmentation(
        rois=_read_rois(folder / _ROIS),
        F=_read_npy(folder / "F.npy"),
        Fneu=_read_npy(folder / "Fneu.npy") if (folder / "Fneu.npy").exists() else None,
        iscell=iscell,
        obs=pd.DataFrame(columns) if columns else None,
        images={path.stem: _read_npy(path) for path in sorted((folder / _IMAGES).glob("*.npy"))},
        source=str(folder),
        findings=tuple(Finding.from_dict(value) for value in values),
        extra={"shifts_px": _read_npy(folder / _SHIFTS)} if (folder / _SHIFTS).exists() else {},
    )


def _read_rois(path: Path) -> RoiSet:
    arrays = _read_npz(path)
    height, width = arrays.pop("frame_shape_px").tolist()
    return RoiSet((height, width), **{**arrays, "ids": tuple(arrays["ids"].tolist())})  # type: ignore[arg-type]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise _damaged(path) from error


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path) from error
    return array


def _damaged(path: Path) -> StoreError:
    state = "is damaged" if path.exists() else "is missing"
    return StoreError(
        f"'{path}' {state}, so the segmentation run can't be read. Restore the file, or run the segmentation again."
    )
