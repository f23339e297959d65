"""Read a MarkPoints series as a photostimulation protocol, so that a rig without NAPARM has one too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, PackerLabImagingError, ParameterError
from packerlabimaging.io.markpoints.describing import NAPARM, describe_list, describe_series
from packerlabimaging.io.markpoints.parsing import GPL_TAG, SERIES_TAGS, read_gpl, read_markpoints
from packerlabimaging.io.markpoints.placing import PlacedPoints, place_list, place_points
from packerlabimaging.io.markpoints.protocol import checked_shape, one_diameter, place_findings, protocol_row
from packerlabimaging.io.markpoints.resolving import rows_by_trigger
from packerlabimaging.io.markpoints.values import (
    GalvoExtent,
    GalvoPointList,
    MarkPointRow,
    MarkPointSeries,
    PowerCalibration,
    SpiralCalibration,
)
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable
from packerlabimaging.io.untrusted.xml import root_tag

SAVED_WITH_SCAN = "*_MarkPoints.xml"


@dataclass(frozen=True)
class _Frame:
    """The image that fractions refer to: ``(height, width)``, and its width in micrometres where known."""

    shape: tuple[int, int]
    width_um: float | None = None


@dataclass(frozen=True)
class _Rig:
    """What is known of the rig: galvo volts at the image's edges, size of spirals in volts, power under the objective."""

    extent: GalvoExtent | None
    spiral: SpiralCalibration | None
    power: PowerCalibration | None


class MarkPointsReader(Reader):
    """Reads MarkPoints series of PrairieView, and lists of galvo points."""

    name: ClassVar[str] = "markpoints"
    kind: ClassVar[Kind] = "photostim"
    description: ClassVar[str] = "PrairieView MarkPoints series (.xml), its scan's folder, or galvo points (.gpl)"

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a series, a point list, or a folder with series that were saved with a scan."""
        if path.is_dir():
            return any(_is_own_series(xml) for xml in path.glob(SAVED_WITH_SCAN))
        return path.suffix.lower() in (".xml", ".gpl") and root_tag(path) in (*SERIES_TAGS, GPL_TAG)

    def open(
        self,
        path: Path,
        *,
        image_shape_px: Sequence[int] | None = None,
        gpl: str | Path | None = None,
        galvo_extent_v: GalvoExtent | Sequence[Sequence[float]] | None = None,
        v_per_um: float | None = None,
        offset_v: float = 0.0,
        power_calibration: PowerCalibration | Sequence[Sequence[float]] | None = None,
    ) -> PhotostimProtocol:
        """Read a series as a protocol. One iteration is one stim.

        Parameters
        ----------
        path
            The series, the folder of the scan that it was saved with, or a ``.gpl`` (targets without rows).
        image_shape_px
            ``(height, width)`` of the image that the fractions refer to; by default that of the scan in the same folder.
        gpl
            Galvo point list, for a series that only names points; by default the one of the series' name, or the only one
            beside it.
        galvo_extent_v
            Galvo volts at the image's edges, ``((top, bottom), (left, right))``: places the points of a ``.gpl``. They depend
            on rig and zoom; there is no default.
        v_per_um, offset_v
            Calibration of spirals whose size is in volts only: ``um = (V + offset_v) / v_per_um``. Without it their size is
            not known.
        power_calibration
            Pairs ``(units, mW)`` measured under the objective; without it ``power_mw`` is None.

        Raises
        ------
        MissingFileError
            If the file or folder, or the ``.gpl``, is not there.
        FormatError
            If a file is damaged, or points can't be placed.
        AmbiguousInputError
            If the folder holds different series, or there are several ``.gpl`` files.
        ParameterError
            If the size of the image or the galvo volts are needed and not known.

        Notes
        -----
        That a fraction f of the width W lies at ``f W - 0.5`` pixels (0 and 1 are the outer edges) is an assumption; it is
        told by a finding. Points of a row are lit one after another unless the file says ``AllPointsAtOnce="True"``.
        """
        path = Path(path)
        if not path.exists():
            raise MissingFileError(f"There is no file or folder '{path}'. Check the path, and that its disk is connected.")
        rig = _Rig(
            None if galvo_extent_v is None else GalvoExtent.from_option(galvo_extent_v),
            None if v_per_um is None else SpiralCalibration(v_per_um, offset_v),
            None if power_calibration is None else PowerCalibration.from_option(power_calibration),
        )
        if root_tag(path) == GPL_TAG:
            return _protocol_of_list(path, _frame(path, image_shape_px), rig)
        xml, n_files = _series_file(path)
        series = read_markpoints(xml)
        if series.category == NAPARM:
            raise ParameterError(
                f"'{xml}' was made by NAPARM: its points are the middles of the groups, not the targets. Pass the NAPARM "
                "folder, which knows them."
            )
        points = _point_list(xml, gpl) if any(not row.points for row in series.rows) else None
        return _protocol(xml, series, points, _frame(xml, image_shape_px), rig, n_files=n_files)

    def inspect(self, path: Path) -> Inspection:
        """Describe a series or a point list; what can't be read is a finding, not an error."""
        facts: dict[str, Any] = {}
        findings: list[Finding] = []
        try:
            if root_tag(path) == GPL_TAG:
                describe_list(read_gpl(path), facts, findings)
            else:
                xml, n_files = _series_file(path)
                series = read_markpoints(xml)
                facts |= {"series_files": n_files}
                describe_series(series, facts, findings)
                if any(row.points for row in series.rows) and series.category != NAPARM:
                    self._describe_placed(xml, facts, findings)
        except PackerLabImagingError as error:
            findings.append(unreadable(error, path))
        return Inspection(str(path), self.name, self.kind, facts, tuple(findings))

    def _describe_placed(self, xml: Path, facts: dict[str, Any], findings: list[Finding]) -> None:
        """Add what is known once the points are on the image; what keeps them from it is a finding."""
        try:
            protocol = self.open(xml)
        except PackerLabImagingError as error:
            findings.append(Finding("not-placed", str(error), where=str(xml)))
            return
        facts |= {
            "n_targets": protocol.n_targets,
            "n_groups": protocol.n_groups,
            "trigger": protocol.trigger,
            "stim_duration_s": protocol.stim_duration_s,
            "image_shape_px": list(protocol.image_shape_px),
        }
        findings += [finding for finding in protocol.findings if finding not in findings]


def _is_own_series(path: Path) -> bool:
    """Say whether a file is a series of PrairieView's own; one that NAPARM made does not know its targets."""
    if root_tag(path) not in SERIES_TAGS:
        return False
    try:
        with path.open("rb") as file:
            return f'Category="{NAPARM}"'.encode() not in file.read(1024)
    except OSError:
        return False


def _series_file(path: Path) -> tuple[Path, int]:
    """Return the series and how many files hold it: a t-series of several cycles saves it once a cycle."""
    if path.is_file():
        return path, 1
    found = sorted(xml for xml in path.glob(SAVED_WITH_SCAN) if root_tag(xml) in SERIES_TAGS)
    if not found:
        raise MissingFileError(f"'{path}' holds no MarkPoints series ({SAVED_WITH_SCAN}). Pass the file itself.")
    first = read_markpoints(found[0])
    different = [xml.name for xml in found[1:] if replace(read_markpoints(xml), findings=()) != replace(first, findings=())]
    if different:
        names = ", ".join([found[0].name, *different][:5])
        raise AmbiguousInputError(f"'{path}' holds {len(found)} MarkPoints series that differ: {names}. Pass one of the files.")
    return found[0], len(found)


def _point_list(xml: Path, given: str | Path | None) -> GalvoPointList | None:
    """Return the point list of a series: the given one, that of its name, or the only one beside it."""
    if given is not None:
        return read_gpl(given)
    named = xml.with_suffix(".gpl")
    if named.is_file():
        return read_gpl(named)
    found = sorted(xml.parent.glob("*.gpl"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:5])
        raise AmbiguousInputError(f"Beside '{xml}' are several point lists: {names}. Say which one was loaded: gpl=.")
    return read_gpl(found[0]) if found else None


def _frame(path: Path, given: Sequence[int] | None) -> _Frame:
    """Return the image that fractions refer to: as given, else that of the scan in the same folder."""
    if given is not None:
        return _Frame(checked_shape(given))
    from packerlabimaging.io.prairieview import read_prairieview_metadata

    try:
        metadata = read_prairieview_metadata(path.parent)
    except PackerLabImagingError as error:
        raise ParameterError(
            f"The size of the image that the points of '{path.name}' refer to is not known ({error}) "
            "Give it: image_shape_px=(height, width)."
        ) from error
    if metadata.sequence_type == "Linescan":
        raise ParameterError(
            f"The scan beside '{path.name}' is a line scan, whose frames are no image of the field. "
            "Give the size of the image that the points were placed on: image_shape_px=(height, width)."
        )
    pixel = metadata.pixel_size_um
    return _Frame(metadata.frame_shape_px, None if pixel is None else pixel[1] * metadata.frame_shape_px[1])


def _protocol(
    xml: Path, series: MarkPointSeries, gpl: GalvoPointList | None, frame: _Frame, rig: _Rig, *, n_files: int
) -> PhotostimProtocol:
    where = str(xml)
    findings = [*series.findings, *(() if gpl is None else gpl.findings)]
    if not series.rows:
        raise FormatError(f"'{xml}' holds no row. It may be cut.")
    rows, trigger, found = rows_by_trigger(_with_order(series, findings, where), where=where)
    findings += found
    placed = place_points(rows, gpl, extent=rig.extent, calibration=rig.spiral, frame_width_um=frame.width_um, where=where)
    findings += [*placed.findings, *place_findings(placed.targets_px(frame.shape), frame.shape, where)]
    if any(row.points for row in rows):
        message = "Places are fractions of the frame; a fraction f of a width W is taken to lie at f W - 0.5 pixels."
        findings.append(Finding("fractions-assumed", message, "info", where))
    if n_files > 1:
        message = f"The scan saved this series {n_files} times, once a cycle: each is {series.iterations} stims."
        findings.append(Finding("one-series-a-cycle", message, "info", where))
    made = tuple(
        protocol_row(row, group, len(placed.groups[group]), number, rig.power, findings, where)
        for number, (row, group) in enumerate(zip(rows, placed.group_of_row, strict=True), 1)
    )
    diameter = _diameter(placed, gpl, findings, where)
    protocol = PhotostimProtocol(
        targets_px=placed.targets_px(frame.shape),
        image_shape_px=frame.shape,
        groups=tuple(placed.groups),
        rows=made,
        n_stims=series.iterations * n_files,
        trigger=trigger,
        spiral_diameter_um=diameter,
        name=series.name or xml.stem,
        source=where,
        findings=tuple(findings),
        extra=_extra(series, placed),
    )
    untriggered = any(finding.code == "no-trigger" for finding in findings)
    if untriggered and n_files == 1 and series.iterations > 1:  # nothing waits: iterations follow one another
        return replace(protocol, stim_interval_s=protocol.stim_duration_s + series.iteration_delay_ms / 1000)
    return protocol


def _protocol_of_list(path: Path, frame: _Frame, rig: _Rig) -> PhotostimProtocol:
    gpl = read_gpl(path)
    if rig.extent is None:
        raise ParameterError(
            f"The points of '{path}' lie at galvo volts, which depend on rig and zoom. Give the volts at the edges of the "
            "image: galvo_extent_v=((top, bottom), (left, right))."
        )
    if not gpl.points:
        raise FormatError(f"'{path}' holds no point. It may be cut.")
    placed = place_list(gpl, rig.extent, rig.spiral, where=str(path))
    findings = [*gpl.findings, *place_findings(placed.targets_px(frame.shape), frame.shape, str(path))]
    message = "A galvo point list tells where, not when: the protocol has targets and no rows."
    findings.append(Finding("no-rows", message, "error", str(path), "Pass the MarkPoints series (.xml)."))
    diameter = _diameter(placed, gpl, findings, str(path))
    return PhotostimProtocol(
        targets_px=placed.targets_px(frame.shape),
        image_shape_px=frame.shape,
        groups=tuple(placed.groups),
        rows=(),
        spiral_diameter_um=diameter,
        name=path.stem,
        source=str(path),
        findings=tuple(findings),
        extra={"point_numbers": placed.numbers},
    )


def _diameter(placed: PlacedPoints, gpl: GalvoPointList | None, findings: list[Finding], where: str) -> float | None:
    """Return the diameter of the light on each target; that it is not known is told where volts would tell it."""
    if not placed.sizes_um and gpl is not None and any(point.is_spiral and point.spiral_size_v for point in gpl.points):
        message = "The spirals' size is in galvo volts, and no calibration was given: it is not known."
        findings.append(Finding("spiral-size-unknown", message, where=where, advice="Give v_per_um and offset_v."))
    return one_diameter(placed.sizes_um, findings, where)


def _with_order(series: MarkPointSeries, findings: list[Finding], where: str) -> list[MarkPointRow]:
    """Settle for each row whether its points are lit together: as the row says, else the series, else one after another."""
    rows = [row if row.all_at_once is not None else replace(row, all_at_once=series.all_at_once) for row in series.rows]
    open_rows = [
        number for number, row in enumerate(rows, 1) if row.all_at_once is None and max(len(row.points), len(row.indices)) > 1
    ]
    if open_rows:
        message = f"{len(open_rows)} rows do not say whether their points are lit together: one after another is assumed."
        findings.append(Finding("order-assumed", message, where=where, evidence={"rows": open_rows[:50]}))
    return [row if row.all_at_once is not None else replace(row, all_at_once=False) for row in rows]


def _extra(series: MarkPointSeries, placed: PlacedPoints) -> dict[str, Any]:
    first = series.rows[0]
    values = {
        "iteration_delay_s": series.iteration_delay_ms / 1000,
        "laser": first.attributes.get("UncagingLaser"),
        "trigger_line": first.attributes.get("TriggerSelection"),
        "spiral_revolutions": first.point_attributes.get("SpiralRevolutions"),
        "point_numbers": placed.numbers,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}
