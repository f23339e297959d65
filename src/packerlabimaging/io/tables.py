"""Tables on disk: AnnData in Zarr folders, written whole and opened lazily.

The large arrays (``X`` and layers) are chunked by 100 rows x 5,000 columns and compressed with lz4, so that one ROI's
trace and a window of frames are both quick to read. Any AnnData program opens the folders with ``anndata.read_zarr``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packerlabimaging.core.schema import check_table
from packerlabimaging.errors import FormatError, MissingFileError, StoreError

if TYPE_CHECKING:
    from anndata import AnnData

CHUNKS = (100, 5_000)


def write_table(table: AnnData, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a table to a Zarr folder.

    Parameters
    ----------
    table
        A table that follows the data model (see :mod:`packerlabimaging.core.schema`).
    path
        The folder to make, by custom ``*.zarr``.
    overwrite
        Replace an existing table.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    SchemaError
        If the table breaks the data model.
    StoreError
        If the folder exists and ``overwrite`` is not given.
    """
    import zarr
    from anndata import settings
    from anndata.experimental import write_dispatched
    from zarr.codecs import BloscCodec

    check_table(table)
    path = Path(path)
    if path.exists():
        if not overwrite:
            raise StoreError(f"'{path}' exists already. Choose another name, or pass overwrite=True.")
        shutil.rmtree(path)

    def write(func: Any, store: Any, key: str, elem: Any, dataset_kwargs: Any, iospec: Any) -> None:
        if getattr(elem, "shape", None) == table.shape and getattr(elem, "dtype", None) is not None and key:
            chunks = tuple(max(1, min(size, chunk)) for size, chunk in zip(table.shape, CHUNKS, strict=True))
            layout = {"chunks": chunks, "shards": None, "compressors": [BloscCodec(cname="lz4", clevel=5)]}
            dataset_kwargs = {**dataset_kwargs, **layout}
        func(store, key, elem, dataset_kwargs=dataset_kwargs)

    group = zarr.open_group(path, mode="w", zarr_format=3)
    with settings.override(auto_shard_zarr_v3=False):  # small chunks stay files of their own, read one by one
        write_dispatched(group, "/", table, callback=write)
    return path


def open_table(path: str | Path) -> AnnData:
    """Open a table lazily: ``X`` and layers stay on disk as Zarr arrays, everything else is read.

    Slices read what they need; ``table.to_memory()`` reads all. Changes are made in memory only and never reach the folder.

    Raises
    ------
    MissingFileError
        If there is no such folder.
    FormatError
        If it holds no AnnData.
    SchemaError
        If the table does not follow the data model.
    """
    import zarr
    from anndata import AnnData
    from anndata.io import read_elem

    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"There is no table '{path}'. Check the path.")
    try:
        group: Any = zarr.open_group(path, mode="r")
        table = AnnData(
            X=group["X"],
            layers={name: group["layers"][name] for name in group["layers"]},
            **{name: read_elem(group[name]) for name in ("obs", "var", "obsm", "varm", "uns")},
        )
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise FormatError(f"'{path}' is not a complete AnnData table in Zarr format: {error}. Run the step again.") from error
    return check_table(table)


def read_table(path: str | Path) -> AnnData:
    """Read a table into memory; see :func:`open_table` for the errors."""
    return open_table(path).to_memory()
