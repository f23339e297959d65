"""The data model of the tables, and the one place that builds and checks them.

Three kinds of AnnData tables carry all results. ``cells`` is ROIs x frames, ``responses`` ROIs x stims, ``targets``
photostimulation targets x stims. Every reader and step ends in :func:`make_table`, so that a table that exists is a valid
one; :func:`check_table` says all that is wrong with any other.

pandas, scipy and anndata are imported inside the functions: importing the package stays light.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from packerlabimaging._check import check_choice
from packerlabimaging._provenance import UNS_KEY
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import SchemaError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

SCHEMA_VERSION = 1

TableKind = Literal["cells", "responses", "targets"]

# numpy kinds that a column may have: b bool, i/u integer, f float, s text (str, category, nullable string)
_BOOL, _INTEGER, _NUMBER, _TEXT = "b", "iu", "iuf", "s"


@dataclass(frozen=True)
class TableSchema:
    """Fields that a kind of table must have; anything else may be added.

    Parameters
    ----------
    obs, var
        Required columns and the kinds of value that they hold.
    layers
        Required layers.
    uns
        Required entries of ``uns["packerlabimaging"]``.
    """

    obs: Mapping[str, str] = field(default_factory=dict)
    var: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    uns: tuple[str, ...] = ()


_ROI_COLUMNS = {"plane": _INTEGER, "y_px": _NUMBER, "x_px": _NUMBER, "iscell": _BOOL}
_STIM_COLUMNS = {
    "trial": _TEXT,
    "onset_s": _NUMBER,
    "end_s": _NUMBER,
    "frame": _INTEGER,
    "valid": _BOOL,
}

SCHEMAS: Mapping[TableKind, TableSchema] = {
    "cells": TableSchema(
        obs={**_ROI_COLUMNS, "n_pixels": _INTEGER},
        var={"trial": _TEXT, "frame": _INTEGER, "time_s": _NUMBER, "artefact": _BOOL},
        layers=("F",),
        uns=("frame_shape_px", "clock_source"),
    ),
    "responses": TableSchema(obs=_ROI_COLUMNS, var=_STIM_COLUMNS, uns=("preset",)),
    "targets": TableSchema(
        obs={"y_px": _NUMBER, "x_px": _NUMBER, "status": _TEXT, "roi": _TEXT, "distance_um": _NUMBER}, var=_STIM_COLUMNS
    ),
}


def make_table(
    kind: TableKind,
    X: Any,
    *,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    layers: Mapping[str, Any] | None = None,
    obsm: Mapping[str, Any] | None = None,
    uns: Mapping[str, Any] | None = None,
) -> AnnData:
    """Build a valid table.

    Parameters
    ----------
    kind
        ``"cells"``, ``"responses"`` or ``"targets"``.
    X
        Values, shape ``(n_obs, n_var)``; stored as float32.
    obs, var
        Rows and columns; their indexes are the stable string ids.
    layers, obsm
        As in AnnData.
    uns
        Entries of ``uns["packerlabimaging"]``.

    Raises
    ------
    SchemaError
        If the table would break the data model; all faults are listed.
    """
    from anndata import AnnData

    own = {"kind": kind, "schema_version": SCHEMA_VERSION, **(uns or {})}
    table = AnnData(
        X=np.asarray(X, dtype=np.float32),
        obs=obs,
        var=var,
        layers=dict(layers or {}),
        obsm=dict(obsm or {}),
        uns={UNS_KEY: own},
    )
    return check_table(table, kind)


def make_cells_table(
    dff: np.ndarray,
    *,
    rois: RoiSet,
    clock: FrameClock,
    trial: str,
    layers: Mapping[str, np.ndarray],
    artefact: np.ndarray,
    metadata: ImagingMetadata,
    iscell: np.ndarray | None = None,
    obs: pd.DataFrame | None = None,
    uns: Mapping[str, Any] | None = None,
) -> AnnData:
    """Build a ``cells`` table (ROIs x frames).

    Parameters
    ----------
    dff
        dF/F as a fraction, shape ``(n_rois, n_frames)``; NaN where it is undefined.
    rois
        The ROIs, in the order of the rows.
    clock
        Times of the frames, in the order of the columns.
    trial
        Id of the trial that the frames belong to.
    layers
        ``F``, and ``Fneu``, ``spks`` where they exist; each ``(n_rois, n_frames)``.
    artefact
        Frames that stimulation light reached, boolean ``(n_frames,)``.
    metadata
        Gives the pixel size for ``obsm["spatial"]`` (y, x in um; in pixels where it is unknown, ``uns`` says which).
    iscell
        Which ROIs are taken for cells, boolean ``(n_rois,)``; all by default.
    obs
        Further columns, one row per ROI in the same order.
    uns
        Further entries of ``uns["packerlabimaging"]``.
    """
    import pandas as pd

    centers = rois.centroids_px
    columns = pd.DataFrame(
        {
            "plane": rois.planes,
            "y_px": centers[:, 0],
            "x_px": centers[:, 1],
            "n_pixels": rois.n_pixels,
            "iscell": np.ones(len(rois), bool) if iscell is None else np.asarray(iscell, bool),
        },
        index=pd.Index(rois.ids, dtype=object, name="roi"),
    )
    if obs is not None:
        for name in obs.columns:
            columns[name] = obs[name].to_numpy()
    frames = np.arange(clock.n_frames)
    var = pd.DataFrame(
        {
            "trial": pd.Categorical([trial] * clock.n_frames),
            "frame": frames,
            "time_s": clock.starts_s,
            "artefact": np.asarray(artefact, bool),
        },
        index=pd.Index([f"{trial}:{frame:06d}" for frame in frames], dtype=object, name="trial_frame"),
    )
    scale = metadata.pixel_size_um
    own: dict[str, Any] = {
        "frame_shape_px": np.array(rois.frame_shape_px),
        "clock_source": clock.source,
        "rate_hz": clock.rate_hz,
        "spatial_unit": "px" if scale is None else "um",
        **({} if scale is None else {"pixel_size_um": np.array(scale)}),
        **(uns or {}),
    }
    return make_table(
        "cells",
        dff,
        obs=columns,
        var=var,
        layers={name: np.asarray(layer, np.float32) for name, layer in layers.items()},
        obsm={"spatial": centers * (1.0 if scale is None else np.array(scale)), "footprints": rois.to_sparse()},
        uns=own,
    )


def rois_of(cells: AnnData) -> RoiSet:
    """Return the ROIs whose footprints a ``cells`` table keeps, in the order of its rows.

    Raises
    ------
    SchemaError
        If the table keeps none.
    """
    if "footprints" not in cells.obsm:
        raise SchemaError("The table has no obsm['footprints']. Pass a cells table: trial.cells.")
    shape = tuple(int(size) for size in cells.uns[UNS_KEY]["frame_shape_px"])
    planes = cells.obs["plane"].to_numpy()
    return RoiSet.from_sparse(cells.obsm["footprints"], shape, ids=list(cells.obs_names), planes=planes)  # type: ignore[arg-type]


def clock_of(cells: AnnData) -> FrameClock:
    """Return the frame clock of a ``cells`` table of one trial."""
    own = cells.uns[UNS_KEY]
    period_s = math.nan if cells.n_vars > 1 else 1.0 / float(own["rate_hz"])
    return FrameClock(cells.var["time_s"].to_numpy(np.float64), own["clock_source"], period_s)


def check_table(table: AnnData, kind: TableKind | None = None) -> AnnData:
    """Return ``table`` if it follows the data model.

    Parameters
    ----------
    table
        The table.
    kind
        Kind that it must be of; by default the one that it names itself.

    Raises
    ------
    SchemaError
        If it does not; every fault is listed with its place.
    """
    own = table.uns.get(UNS_KEY, {})
    expected: TableKind = check_choice("table kind", own.get("kind", "") if kind is None else kind, tuple(SCHEMAS))
    faults: list[str] = []
    if own.get("kind") != expected:
        faults.append(f"uns['{UNS_KEY}']['kind'] is {own.get('kind')!r}, expected '{expected}'")
    if int(own.get("schema_version", 0)) > SCHEMA_VERSION:
        faults.append(f"schema version {own['schema_version']} is newer than this package reads ({SCHEMA_VERSION})")
    schema = SCHEMAS[expected]
    faults += [f"uns['{UNS_KEY}'] lacks '{name}'" for name in schema.uns if name not in own]
    for name, frame, required in (("obs", table.obs, schema.obs), ("var", table.var, schema.var)):
        if not frame.index.is_unique:
            faults.append(f"{name}: index has repeated ids, e.g. '{frame.index[frame.index.duplicated()][0]}'")
        for column, kinds in required.items():
            if column not in frame:
                faults.append(f"{name} lacks the column '{column}'")
            elif _value_kind(frame[column]) not in kinds:
                faults.append(f"{name}['{column}'] holds {frame[column].dtype}, expected {_KIND_WORDS[kinds]}")
    for layer in schema.layers:
        if layer not in table.layers:
            faults.append(f"layers lacks '{layer}'")
    if expected == "cells" and "time_s" in table.var and "trial" in table.var:
        for trial, rows in table.var.groupby("trial", observed=True):
            if np.any(np.diff(rows["time_s"].to_numpy()) <= 0):
                faults.append(f"var['time_s'] of trial '{trial}' is not strictly ascending")
    if faults:
        raise SchemaError(f"The {expected} table breaks the data model:\n" + "\n".join(f"- {fault}" for fault in faults))
    return table


def findings_of(value: Any) -> list[Finding]:
    """Return the findings that a value carries: a core value's own, or those that a table keeps in ``uns``."""
    if hasattr(value, "uns"):
        return [Finding.from_dict(json.loads(str(item))) for item in value.uns.get(UNS_KEY, {}).get("findings", [])]
    return list(getattr(value, "findings", ()))


_KIND_WORDS = {_BOOL: "true/false", _INTEGER: "integers", _NUMBER: "numbers", _TEXT: "text"}


def _value_kind(column: pd.Series) -> str:
    """Reduce a pandas dtype to one of b, i, u, f, s (text), o (other)."""
    import pandas as pd
    from pandas.api import types

    if types.is_bool_dtype(column.dtype):
        return "b"
    if types.is_integer_dtype(column.dtype):
        return "i"
    if types.is_float_dtype(column.dtype):
        return "f"
    if isinstance(column.dtype, (pd.CategoricalDtype, pd.StringDtype)):
        return "s"
    if column.dtype == object and all(isinstance(value, str) for value in column):
        return "s"
    return "o"
