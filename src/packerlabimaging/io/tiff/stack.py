"""One TIFF stack as its headers describe it: how many images, of which size, in which order of channels and planes.

Programs describe their stacks in the text of the first page: ImageJ by lines ``images=``, ``channels=``, ``slices=``,
``frames=``, tifffile by JSON with a ``shape``, OME by the ``Pixels`` element. A text is believed only where it agrees with
the number of pages; OME-XML that describes other files as well (as in the first file of a Bruker series) is left alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import FormatError
from packerlabimaging.io.interleaving import Interleaving
from packerlabimaging.io.tiff.files import OpenTiff, PageTable, cut_error, find_pages
from packerlabimaging.io.tiff.layout import DESCRIPTION, SOFTWARE, X_RESOLUTION, Y_RESOLUTION, PageLayout

_MICROMETRES = {"um", "µm", "μm", "micron", "microns", "\\u00B5m", "micrometer"}
_LARGEST_DECODED = 1 << 28


@dataclass(frozen=True)
class TiffStack:
    """What the headers of one TIFF file say.

    Parameters
    ----------
    path
        The file.
    n_images
        Images in it.
    first
        Layout of the first.
    dtype
        Type of the pixels in native byte order.
    repeated
        True where one directory describes all images, which follow one another.
    table
        Where the directories lie.
    order
        Order of channels and planes as described, or None.
    unnamed_axes
        Sizes of the axes before y and x where the description has several of unknown meaning.
    frame_rate_hz, pixel_size_um
        As ImageJ wrote them, or None.
    program
        The TIFF tag ``Software``, or ``"ImageJ"``.
    findings
        What was tolerated.
    """

    path: str
    n_images: int
    first: PageLayout
    dtype: np.dtype
    repeated: bool
    table: PageTable
    order: Interleaving | None
    unnamed_axes: tuple[int, ...]
    frame_rate_hz: float | None
    pixel_size_um: tuple[float, float] | None
    program: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Described:
    n_images: int | None = None
    order: Interleaving | None = None
    frame_rate_hz: float | None = None
    unit: str = ""
    program: str | None = None
    unnamed_axes: tuple[int, ...] = ()
    as_time: str = ""
    whole: bool = False  # False where the text may describe other files too


def read_stack(path: str) -> TiffStack:
    """Read the headers of a TIFF file, never its pixels.

    Raises
    ------
    FormatError
        If it is no TIFF file, is cut, or holds no images that can be movie frames.
    """
    with OpenTiff(path) as file:
        table = find_pages(file)
        first_ifd = file.ifd(file.header.first_ifd, 0)
        tags = file.tags(first_ifd)
        first = file.layout(first_ifd, 0)
        text = tags.text(DESCRIPTION)
        described = _describe(text)
        n_repeated = count_repeated(file, table, first)
        n_images = n_repeated or table.n_pages
        _check_complete(file, table, first, n_repeated)
        dtype = _dtype(file, first)
        pixel_size = _pixel_size(tags.ratio(X_RESOLUTION), tags.ratio(Y_RESOLUTION), described.unit)
        program = described.program or tags.text(SOFTWARE) or None
    agrees = described.n_images == n_images
    findings = [] if agrees or not described.whole else [_disagreement(path, described.n_images or 0, n_images)]
    if agrees and described.as_time:
        findings.append(_taken_as_time(path, described.as_time, n_images))
    return TiffStack(
        path=path,
        n_images=n_images,
        first=first,
        dtype=dtype,
        repeated=n_repeated > 0,
        table=table,
        order=described.order if agrees else None,
        unnamed_axes=described.unnamed_axes,
        frame_rate_hz=described.frame_rate_hz,
        pixel_size_um=pixel_size,
        program=program,
        findings=tuple(findings),
    )


def count_repeated(file: OpenTiff, table: PageTable, first: PageLayout) -> int:
    """Return how many images follow one another under a single directory (ImageJ's large stacks), 0 where it is not so."""
    if table.n_pages > 1 or len(first.segments) != 1:
        return 0
    described = _describe(file.tags(first.ifd).text(DESCRIPTION))
    return described.n_images or 0 if described.whole and (described.n_images or 0) > 1 else 0


def _dtype(file: OpenTiff, first: PageLayout) -> np.dtype:
    if first.not_plain and first.n_bytes > max(_LARGEST_DECODED, 2000 * file.n_bytes):
        raise FormatError(
            f"'{file.path}' claims pages of {first.height} x {first.width} px in a file of {file.n_bytes:,} bytes. "
            "The file is damaged: copy it again."
        )
    if first.dtype is not None:
        return first.dtype.newbyteorder("=")
    dtype = file.decoder_page(first.ifd.offset, 0).dtype
    if dtype.kind not in "uif":
        raise FormatError(f"'{file.path}' holds pixels of type {dtype}. Expected whole or real numbers.")
    return dtype.newbyteorder("=")


def _check_complete(file: OpenTiff, table: PageTable, first: PageLayout, n_repeated: int) -> None:
    """Raise if the file ends before the pixels of its last image do."""
    if n_repeated:
        start = first.segments[0][0]
        room = max(0, file.n_bytes - start)
        if room < n_repeated * first.n_bytes:
            page = room // first.n_bytes
            raise cut_error(
                file.path, page, expected=first.n_bytes, found=room % first.n_bytes, offset=start + page * first.n_bytes
            )
        return
    for page in {0, table.n_pages - 1}:
        layout = first if page == 0 else file.layout(file.ifd(table.offset(page), page), page)
        found = sum(max(0, min(n_bytes, file.n_bytes - offset)) for offset, n_bytes in layout.segments)
        if layout.segments and found < layout.n_bytes:
            raise cut_error(file.path, page, expected=layout.n_bytes, found=found, offset=layout.segments[0][0])


def _disagreement(path: str, described: int, found: int) -> Finding:
    return Finding(
        "image-count-differs",
        f"The description names {described} images, the file holds {found}; the pages were counted.",
        where=path,
        advice="If channels or planes are interleaved, pass n_channels= and n_planes=.",
        evidence={"described": described, "found": found},
    )


def _taken_as_time(path: str, axis: str, n_images: int) -> Finding:
    return Finding(
        "axis-taken-as-time",
        f"The description calls the {n_images} images {axis} of a single time; they were taken as frames in time.",
        "info",
        where=path,
        advice="If they are planes or channels, pass n_planes= or n_channels=.",
    )


def _pixel_size(x_per_unit: float | None, y_per_unit: float | None, unit: str) -> tuple[float, float] | None:
    if unit not in _MICROMETRES or not x_per_unit or not y_per_unit:
        return None
    return 1 / y_per_unit, 1 / x_per_unit


def _describe(text: str) -> _Described:
    if text.startswith("ImageJ="):
        return _describe_imagej(dict(line.split("=", 1) for line in text.splitlines() if "=" in line))
    if text.startswith("{"):
        return _describe_tifffile(text)
    if "<OME" in text:
        return _describe_ome(text)
    return _Described()


def _describe_imagej(values: Mapping[str, str]) -> _Described:
    def count(name: str) -> int:
        value = values.get(name, "1")
        return int(value) if value.isascii() and value.isdigit() and 0 < int(value) < 1 << 40 else 1

    order, as_time = _in_time("CZT", {"C": count("channels"), "Z": count("slices"), "T": count("frames")})
    interval_s = _positive(values.get("finterval")) if values.get("tunit", "sec") in ("s", "sec", "seconds") else None
    return _Described(
        n_images=count("images"),
        order=order,
        as_time=as_time,
        frame_rate_hz=1 / interval_s if interval_s else _positive(values.get("fps")),
        unit=values.get("unit", "").strip(),
        program="ImageJ",
        whole=True,
    )


def _positive(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 and math.isfinite(1 / number) else None


def _describe_tifffile(text: str) -> _Described:
    try:
        values = json.loads(text)
        shape, axes = values.get("shape"), str(values.get("axes", ""))
    except (ValueError, AttributeError, RecursionError):
        return _Described()
    if not isinstance(shape, list) or len(shape) < 2 or not all(isinstance(size, int) and size > 0 for size in shape):
        return _Described()
    leading = shape[:-2]
    order, unnamed = _order_of(leading, axes[: len(leading)] if len(axes) == len(shape) else "")
    return _Described(n_images=math.prod(leading), order=order, unnamed_axes=unnamed, whole=True, program="tifffile")


def _order_of(leading: list[int], axes: str) -> tuple[Interleaving | None, tuple[int, ...]]:
    """Return the order of images from a shape's leading axes, or the sizes of those that have no name."""
    sizes = tuple(size for size in leading if size > 1)
    named = dict(zip(axes, leading, strict=True)) if axes and set(axes) <= set("TCZ") and len(set(axes)) == len(axes) else None
    if named is None:
        return (Interleaving(), ()) if len(sizes) <= 1 else (None, sizes)
    axes = "".join(reversed(named)) + "".join(axis for axis in "CZT" if axis not in named)
    return _in_time(axes, {axis: named.get(axis, 1) for axis in "CZT"})[0], ()


def _in_time(axes: str, sizes: Mapping[str, int]) -> tuple[Interleaving, str]:
    """Return the order, and the axis that was taken as time: the only one, where a program wrote it as channels or slices.

    ImageJ and tifffile write stacks in time as ``slices=`` or ``channels=`` unless told otherwise; a movie of one time is none.
    """
    long = [axis for axis in "CZ" if sizes[axis] > 1]
    if sizes["T"] > 1 or not long:
        return Interleaving(sizes["C"], sizes["Z"], order=axes[::-1]), ""
    axis = "Z" if "Z" in long else "C"
    n_channels = sizes["C"] if axis == "Z" else 1
    order = axes.translate(str.maketrans(f"{axis}T", f"T{axis}"))[::-1]
    return Interleaving(n_channels, order=order), {"Z": "slices", "C": "channels"}[axis]


def _describe_ome(text: str) -> _Described:
    match = re.search(r"<(?:\w+:)?Pixels\b([^>]*)>", text)
    if match is None:
        return _Described()
    attributes = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', match.group(1)))
    sizes = {axis: attributes.get(f"Size{axis}", "") for axis in "CZT"}
    axes = attributes.get("DimensionOrder", "XYCZT")[2:]
    if sorted(axes) != ["C", "T", "Z"] or not all(value.isascii() and value.isdigit() and int(value) for value in sizes.values()):
        return _Described()
    counts = {axis: int(size) for axis, size in sizes.items()}
    order, as_time = _in_time(axes, counts)
    return _Described(n_images=math.prod(counts.values()), order=order, as_time=as_time, program="OME")
