"""Movies in Zarr folders (formats 2 and 3, OME-Zarr): one array, chosen by its key.

What an array is stands in small JSON files, which are read here; pixels are read by the zarr package, chunk by chunk. Only
codecs that turn bytes into numbers are accepted: numcodecs can also unpickle, which would let a file run code.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError, MissingFileError, PackerLabImagingError
from packerlabimaging.io.arrays.hdf5 import not_stored
from packerlabimaging.io.arrays.stored import ArrayOptions, StoredArray, StoredArrayMovie, array_facts, choose_array
from packerlabimaging.io.readers import Inspection, Reader

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_LARGEST_METADATA = 16 << 20
_DEEPEST, _MOST_FOLDERS, _MOST_CHUNKS = 6, 20_000, 1_000_000

_CODECS = {
    *("blosc", "zstd", "gzip", "zlib", "lz4", "lzma", "bz2", "pcodec", "zfpy"),
    *("shuffle", "delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype"),
    *("bytes", "endian", "transpose", "sharding_indexed"),
    *("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"),
    *("imagecodecs_jpeg2k", "imagecodecs_jpegxl", "imagecodecs_lerc", "imagecodecs_delta", "imagecodecs_floatpred"),
}


class ZarrMovie(StoredArrayMovie):
    """One channel of one plane of an array; see :class:`~packerlabimaging.io.arrays.stored.StoredArrayMovie`."""

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import zarr

        folder = self.path / self.key
        _check_codecs(_metadata(folder), folder)
        yield zarr.open_array(str(folder), mode="r")


class ZarrReader(Reader):
    """Reader of an array of a Zarr folder as a movie; it gives way to readers that know the program."""

    name = "zarr"
    kind = "movie"
    description = "an array of a Zarr folder (formats 2 and 3, OME-Zarr) with 3 to 5 axes, chosen by key="
    generic = True
    options = ArrayOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a Zarr folder with an array that can be a movie."""
        if not path.is_dir() or not any((path / name).is_file() for name in _METADATA):
            return False
        try:
            return any(array.can_be_movie for array in _arrays(path).values())
        except (PackerLabImagingError, OSError):
            return False

    def open(self, path: Path, **options: Any) -> ZarrMovie:
        """Open an array; reads its metadata only.

        Parameters
        ----------
        options
            Those of :class:`~packerlabimaging.io.arrays.stored.ArrayOptions`. Without ``key``, the full resolution of an OME-Zarr
            image is opened.

        Raises
        ------
        AmbiguousInputError
            If several arrays, channels or planes can be meant, or nothing says what the axes are.
        FormatError
            If the metadata are damaged, name a codec that is not accepted, or there is no array that can be a movie.
        ParameterError
            If an option does not fit the array.
        """
        chosen = ArrayOptions(**options)
        path = Path(path)
        image = _ome_image(path)
        array = choose_array(
            image.key if chosen.key is None and image is not None else chosen.key, _arrays(path, image), str(path)
        )
        values = _metadata(path / array.key)
        _check_codecs(values, path / array.key)
        pieces = _piece_shape(values, array, path)
        findings, stored_bytes = _check_stored(path / array.key, array, pieces, values.get("fill_value"))
        size = image.pixel_sizes_um.get(array.key) if image is not None else None
        return ZarrMovie(
            path, array, chosen, stored_bytes=stored_bytes, piece_shape=pieces, pixel_size_um=size, findings=findings
        )

    def inspect(self, path: Path) -> Inspection:
        """Describe the arrays that can be movies."""
        arrays = [array for array in _arrays(path, _ome_image(path)).values() if array.can_be_movie]
        findings: list[Finding] = []
        for array in arrays[:50]:
            values = _metadata(path / array.key)
            found, _ = _check_stored(path / array.key, array, _piece_shape(values, array, path), values.get("fill_value"))
            findings.extend(found)
        return Inspection(str(path), self.name, self.kind, array_facts(arrays), tuple(findings))


def _metadata(folder: Path) -> dict[str, Any]:
    """Return the metadata of the array or group in a folder, empty where there are none."""
    for name in _METADATA:
        if (folder / name).is_file():
            return _read_json(folder / name)
    return {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_METADATA:
            raise FormatError(f"'{path}' has {path.stat().st_size:,} bytes. Expected the short metadata of a Zarr array.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file '{path}'. Copy the whole Zarr folder again.") from error
    except (ValueError, RecursionError) as error:  # JSON and text errors are ValueErrors
        if isinstance(error, PackerLabImagingError):
            raise
        raise FormatError(f"'{path}' is no JSON ({error}). The folder is damaged: copy it again.") from error
    if not isinstance(values, dict):
        raise FormatError(f"'{path}' holds no metadata of Zarr. The folder is damaged: copy it again.")
    return values


def _attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of the array or group in a folder."""
    if (folder / "zarr.json").is_file():
        values = _read_json(folder / "zarr.json").get("attributes")
    else:
        values = _read_json(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}
    return values if isinstance(values, dict) else {}


def _arrays(path: Path, image: OmeImage | None = None) -> dict[str, StoredArray]:
    """Return the arrays in a folder and its sub-folders by name."""
    found: dict[str, StoredArray] = {}
    left = [(path, 0)]
    for _ in range(_MOST_FOLDERS):
        if not left:
            break
        folder, depth = left.pop()
        values = _metadata(folder)
        if "shape" in values and values.get("node_type", "array") == "array":
            key = folder.relative_to(path).as_posix() if folder != path else ""
            found[key] = _described(key, folder, values, image)
        elif values and depth < _DEEPEST:
            with os.scandir(folder) as entries:
                children = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            left.extend((folder / name, depth + 1) for name in reversed(children))
    return found


def _described(key: str, folder: Path, values: Mapping[str, Any], image: OmeImage | None) -> StoredArray:
    shape = values["shape"]
    if not isinstance(shape, list) or not all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape
    ):
        raise FormatError(f"'{folder}' is an array of the shape {shape!r}. Expected whole numbers; the folder is damaged.")
    labels = values.get("dimension_names") or _attributes(folder).get("_ARRAY_DIMENSIONS")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        labels = image.labels if image is not None and key in image.pixel_sizes_um else ()
    return StoredArray(key, tuple(shape), _dtype(values.get("dtype", values.get("data_type"))), tuple(labels))


def _dtype(name: Any) -> np.dtype | None:
    """Return the type of pixels, in this machine's byte order where the format 3 names none."""
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except TypeError:
        return None
    return dtype if dtype is not None and dtype.kind in "uif" else None


def _check_codecs(values: Mapping[str, Any], folder: Path) -> None:
    """Raise a FormatError if an array names a codec that is not known to turn bytes into numbers and nothing else."""
    for codec in _codecs([values.get("filters"), values.get("compressor"), values.get("codecs")]):
        if codec.removeprefix("numcodecs.") not in _CODECS:
            raise FormatError(
                f"'{folder}' is stored with the codec '{codec}', which is not accepted. Accepted: {', '.join(sorted(_CODECS))}. "
                "Write the array again with one of these."
            )


def _codecs(values: Any, depth: int = 0) -> Iterator[str]:
    """Yield the names of all codecs in a piece of metadata, those within a sharding codec too."""
    if depth > 16:
        raise FormatError("The codecs of a Zarr array are nested too deeply. The folder is damaged: copy it again.")
    if isinstance(values, list):
        for value in values:
            yield from _codecs(value, depth + 1)
    elif isinstance(values, dict):
        name = values.get("id", values.get("name"))
        if name is not None:
            yield str(name)
        for key, value in values.items():
            if key in ("configuration", "codecs", "index_codecs"):
                yield from _codecs(value, depth + 1)
    elif isinstance(values, str):
        yield values


def _piece_shape(values: Mapping[str, Any], array: StoredArray, path: Path) -> tuple[int, ...]:
    """Return the shape of what one file of an array holds."""
    grid = values.get("chunk_grid")
    configuration = grid.get("configuration") if isinstance(grid, dict) else None
    shape = configuration.get("chunk_shape") if isinstance(configuration, dict) else values.get("chunks")
    whole = isinstance(shape, list) and all(isinstance(size, int) and size > 0 for size in shape)
    if not whole or len(shape or ()) != len(array.shape):
        raise FormatError(f"'{path / array.key}' is stored in pieces of {shape!r}, which makes no sense for {array}.")
    return tuple(shape)  # type: ignore[arg-type]


def _check_stored(folder: Path, array: StoredArray, pieces: tuple[int, ...], fill_value: Any) -> tuple[list[Finding], int]:
    """Return a finding where pieces are not stored, and the bytes that are."""
    expected = math.prod(-(-size // piece) for size, piece in zip(array.shape, pieces, strict=True))
    stored = n_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.startswith(".z") and name != "zarr.json":
                stored += 1
                n_bytes += os.stat(f"{parent}/{name}").st_size
        if stored > _MOST_CHUNKS:
            return [], n_bytes
    return ([] if stored >= expected else [not_stored(str(folder), stored, expected, repr(fill_value))]), n_bytes


@dataclass(frozen=True)
class OmeImage:
    """What the metadata of an OME-Zarr image say.

    Parameters
    ----------
    labels
        Names of the axes.
    pixel_sizes_um
        Pixel size ``(y, x)`` or None of each resolution by its key, the full resolution first.
    """

    labels: tuple[str, ...]
    pixel_sizes_um: Mapping[str, tuple[float, float] | None]

    @property
    def key(self) -> str:
        """Key of the full resolution."""
        return next(iter(self.pixel_sizes_um))


def _ome_image(path: Path) -> OmeImage | None:
    """Return what an OME-Zarr folder says about its image; None where it is none, or says it in another way."""
    attributes = _attributes(path)
    ome = attributes.get("ome")
    scales = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    try:
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales[0]["axes"]]  # type: ignore[index]
        labels = tuple(str(axis["name"]) for axis in axes)
        places = {label: labels.index(label) for label in "yx"}
        micrometres = all(axes[place].get("unit") in ("micrometer", "micrometre") for place in places.values())
        sizes: dict[str, tuple[float, float] | None] = {}
        for dataset in scales[0]["datasets"]:  # type: ignore[index]
            factors = [step["scale"] for step in dataset.get("coordinateTransformations", ()) if "scale" in step]
            size = (float(factors[0][places["y"]]), float(factors[0][places["x"]])) if factors and micrometres else None
            sizes[str(dataset["path"])] = size if size and all(math.isfinite(um) and um > 0 for um in size) else None
        return OmeImage(labels, sizes) if sizes else None
    except (TypeError, KeyError, IndexError, ValueError, AttributeError):
        return None
