"""From the full field, on which targets are chosen, to the part of it that is imaged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.errors import ParameterError

FULL_LINE_PX = 1024
"""Pixels of a line of the full field at the imaging zoom; a smaller frame is cut from it, around the scan centre."""


@dataclass(frozen=True, kw_only=True)
class SubField:
    """The part of the full field that was imaged.

    Parameters
    ----------
    frame_shape_px
        ``(height, width)`` of the movie's frames.
    scan_center_v
        ``(y, x)`` of ``currentScanCenter``, volts: 0 is the middle of the full field.
    zoom
        Optical zoom of the movie.
    scan_amplitude_v
        ``(y, x)``: volts that the galvos travel across the full field at zoom 1. A parameter of the rig, without a default
        (2.84 * 2 and 2.62 * 2 on the Packer lab's).
    full_shape_px
        ``(height, width)`` of the full field in pixels of the movie.
    full_zoom
        Optical zoom of the image that the targets were chosen on, where it is not the movie's.

    Raises
    ------
    ParameterError
        If a size, zoom or amplitude is not positive and finite.
    """

    frame_shape_px: tuple[int, int]
    scan_center_v: tuple[float, float]
    zoom: float
    scan_amplitude_v: tuple[float, float]
    full_shape_px: tuple[int, int] = (FULL_LINE_PX, FULL_LINE_PX)
    full_zoom: float | None = None

    def __post_init__(self) -> None:
        for name in ("frame_shape_px", "scan_center_v", "scan_amplitude_v", "full_shape_px"):
            pair = getattr(self, name)
            if isinstance(pair, str) or np.shape(pair) != (2,) or not np.all(np.isfinite(np.asarray(pair, float))):
                raise ParameterError(f"{name} = {pair!r} is not possible. Give two numbers: (y, x).")
            if name != "scan_center_v":
                for value in pair:
                    check_positive(name, value)
        check_positive("zoom", self.zoom)
        if self.full_zoom is not None:
            check_positive("full_zoom", self.full_zoom)

    def to_frame(self, points_px: np.ndarray, image_shape_px: tuple[int, int]) -> np.ndarray:
        """Turn ``(y, x)`` pixels of the targets' image, shape ``(n, 2)``, into pixels of the movie's frames.

        Pixels become galvo volts across the full field and back: at one zoom, the frame is moved by ``scan_center_v /
        (scan_amplitude_v / zoom / full_shape_px)`` pixels, to larger x and smaller y.
        """
        size, full, frame = (np.array(pair, float) for pair in (image_shape_px, self.full_shape_px, self.frame_shape_px))
        zoom_ratio = self.zoom / (self.full_zoom or self.zoom)
        from_middle = ((np.asarray(points_px, float) + 0.5) / size - 0.5) * full * zoom_ratio
        moved = np.array(self.scan_center_v) / (np.array(self.scan_amplitude_v) / self.zoom / full) * np.array([-1.0, 1.0])
        return np.asarray(from_middle - moved + frame / 2 - 0.5)


def crop_to_field(protocol: PhotostimProtocol, field: SubField, *, keep_outside: bool = True) -> PhotostimProtocol:
    """Return a protocol whose targets are in pixels of the imaged part of the field.

    Parameters
    ----------
    protocol
        Targets in pixels of the full field.
    field
        What was imaged.
    keep_outside
        Targets outside the frame stay, with places outside it (they were lit); False leaves them out.

    Returns
    -------
    PhotostimProtocol
        With ``image_shape_px`` the movie's frame. Targets outside it are told by the finding ``targets-outside-field``.

    Raises
    ------
    ParameterError
        If no target lies in the frame, or leaving targets out would empty a group or change the times of points that are lit
        one after another.

    Notes
    -----
    The rule is the Packer lab's: a frame smaller than the full field is cut from it at the same size of pixels, around the
    scan centre. The lab's own crop counts from pixel 511 of 1024 and rounds to whole pixels, so that it differs from this one
    by up to 1.5 pixels.
    """
    places = field.to_frame(protocol.targets_px[:, 1:], protocol.image_shape_px)
    height, width = field.frame_shape_px
    inside = np.all((places >= -0.5) & (places <= np.array([height, width]) - 0.5), axis=1)
    if not inside.any():
        raise ParameterError(
            f"No target of '{protocol.source or protocol.name}' lies in the imaged part of the field. Check scan_center_v, zoom, "
            "scan_amplitude_v, and that the protocol belongs to this movie."
        )
    findings = list(protocol.findings)
    if not inside.all():
        outside = [protocol.target_ids[number] for number in np.flatnonzero(~inside)]
        message = f"{len(outside)} of {len(inside)} targets lie outside the imaged part of the field, {height} x {width} pixels."
        advice = "They were lit, but are not in the movie."
        findings.append(
            Finding("targets-outside-field", message, where=protocol.source, advice=advice, evidence={"targets": outside[:50]})
        )
    moved = replace(
        protocol,
        targets_px=np.column_stack([protocol.targets_px[:, 0], places]),
        image_shape_px=(height, width),
        findings=tuple(findings),
    )
    return moved if keep_outside or inside.all() else _only(moved, inside)


def _only(protocol: PhotostimProtocol, inside: np.ndarray) -> PhotostimProtocol:
    """Leave targets out."""
    numbers = np.cumsum(inside) - 1
    groups = tuple(tuple(int(numbers[target]) for target in group if inside[target]) for group in protocol.groups)
    empty = [number for number, group in enumerate(groups) if not group]
    if empty:
        raise ParameterError(
            f"No target of the groups {empty} lies in the imaged part of the field. Keep them: keep_outside=True."
        )
    ordered = {row.group for row in protocol.rows if not row.all_at_once}
    if any(len(groups[number]) < len(protocol.groups[number]) for number in ordered):
        raise ParameterError(
            "Points are lit one after another, so that leaving some out would change the times of the others. Keep them: "
            "keep_outside=True."
        )
    return replace(
        protocol,
        targets_px=protocol.targets_px[inside],
        groups=groups,
        target_ids=tuple(np.array(protocol.target_ids, object)[inside]),
        weights=None if protocol.weights is None else protocol.weights[inside],
        extra={name: value for name, value in protocol.extra.items() if name != "target_planes"},
    )
