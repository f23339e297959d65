"""How results of steps are written and read: one codec per kind of value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._files import write_json
from packerlabimaging._provenance import UNS_KEY
from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.errors import StoreError
from packerlabimaging.io.tables import open_table, read_table, write_table


@dataclass(frozen=True, eq=False)
class PixelResults:
    """What one pass over the movie gave.

    Parameters
    ----------
    images
        Images by name, each ``(y, x)``; stored as TIFF.
    traces
        Traces by name, ``(n_frames,)`` or ``(n, n_frames)``; stored as ``.npy``.
    """

    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    traces: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Codec:
    """How one kind of value is stored: ``write(value, path)`` and ``read(path)``."""

    name: str
    suffix: str
    matches: Callable[[Any], bool]
    write: Callable[[Any, Path], Any]
    read: Callable[[Path], Any]


def _is_table(value: Any) -> bool:
    return type(value).__name__ == "AnnData" and hasattr(value, "obs")


def _write_pixels(value: PixelResults, path: Path) -> None:
    from tifffile import imwrite

    path.mkdir()
    for name, image in value.images.items():
        (path / "images").mkdir(parents=True, exist_ok=True)
        imwrite(path / "images" / f"{name}.tif", image)
    for name, trace in value.traces.items():
        (path / "traces").mkdir(parents=True, exist_ok=True)
        np.save(path / "traces" / f"{name}.npy", trace, allow_pickle=False)


def _read_pixels(path: Path) -> PixelResults:
    from tifffile import imread

    return PixelResults(
        images={file.stem: imread(file) for file in sorted(path.glob("images/*.tif"))},
        traces={file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in sorted(path.glob("traces/*.npy"))},
    )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


CODECS = (
    # cells are large and stay on disk; responses and targets are small and are read whole
    Codec("cells", ".zarr", lambda v: _is_table(v) and v.uns.get(UNS_KEY, {}).get("kind") == "cells", write_table, open_table),
    Codec("table", ".zarr", _is_table, write_table, read_table),
    Codec(
        "sync",
        ".json",
        lambda value: isinstance(value, SyncAudit),
        lambda value, path: write_json(path, value.to_dict()),
        lambda path: SyncAudit.from_dict(_read_json(path)),
    ),
    Codec("pixels", "", lambda value: isinstance(value, PixelResults), _write_pixels, _read_pixels),
    Codec(
        "array",
        ".npy",
        lambda value: isinstance(value, np.ndarray),
        lambda value, path: np.save(path, value, allow_pickle=False),
        lambda path: np.load(path, mmap_mode="r", allow_pickle=False),
    ),
    Codec(
        "json",
        ".json",
        lambda value: isinstance(value, (dict, list, str, int, float, bool)),
        lambda v, p: write_json(p, v),
        _read_json,
    ),
)


def codec_for(value: Any, *, step: str) -> Codec:
    """Return the codec for a value.

    Raises
    ------
    StoreError
        If there is none.
    """
    for codec in CODECS:
        if codec.matches(value):
            return codec
    raise StoreError(
        f"The step '{step}' returned a {type(value).__name__}, which can't be stored. Return an AnnData table, a numpy array, "
        "PixelResults, or a dict or list of plain values."
    )


def codec_named(name: str) -> Codec:
    """Return the codec called ``name``."""
    for codec in CODECS:
        if codec.name == name:
            return codec
    raise StoreError(f"Results of the kind '{name}' are not known to this version of packerlabimaging. Update it.")
