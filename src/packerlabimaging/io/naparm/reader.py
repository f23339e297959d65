"""Read a NAPARM folder: rows and timing from its MarkPoints XML, targets from its points, light size from its ``.gpl``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from packerlabimaging._check import check_choice, check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.errors import MissingFileError, PackerLabImagingError, ParameterError
from packerlabimaging.io.markpoints import (
    GalvoPointList,
    MarkPointSeries,
    PowerCalibration,
    SpiralCalibration,
    read_markpoints,
)
from packerlabimaging.io.markpoints.describing import describe_series
from packerlabimaging.io.markpoints.placing import galvo_diameter
from packerlabimaging.io.markpoints.protocol import checked_shape, one_diameter, place_findings, protocol_row
from packerlabimaging.io.naparm.field import SubField, crop_to_field
from packerlabimaging.io.naparm.folder import galvo_points, is_naparm_xml, one_file, read_config, series_file
from packerlabimaging.io.naparm.images import TargetImages, find_images
from packerlabimaging.io.naparm.rows import read_rows
from packerlabimaging.io.naparm.targets import (
    DEFAULT_SHAPE,
    NaparmTargets,
    compare_with_images,
    read_points_mat,
    read_target_images,
    with_depths,
)
from packerlabimaging.io.naparm.waveforms import PlannedTimes, read_planned_times
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable


class NaparmReader(Reader):
    """Reads NAPARM folders."""

    name: ClassVar[str] = "naparm"
    kind: ClassVar[Kind] = "photostim"
    description: ClassVar[str] = "NAPARM folder (.xml, .gpl, _Points.mat, Targets/)"

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a folder with a NAPARM series, or with its points and target images."""
        if not path.is_dir():
            return False
        if any(is_naparm_xml(xml) for xml in path.glob("*.xml")):
            return True
        return any(path.glob("*_Points.mat")) and (path / "Targets").is_dir()

    def open(
        self,
        path: Path,
        *,
        image_shape_px: Sequence[int] | None = None,
        v_per_um: float | None = None,
        offset_v: float | None = None,
        power_calibration: PowerCalibration | Sequence[Sequence[float]] | None = None,
        plane_z_um: Sequence[float] | None = None,
        sub_field: SubField | Mapping[str, Any] | None = None,
        waveform_rate_hz: float | None = None,
    ) -> PhotostimProtocol:
        """Read a NAPARM folder.

        Parameters
        ----------
        image_shape_px
            ``(height, width)`` of the image that the targets were chosen on; by default that of the target images, else as
            the points' offsets tell, else NAPARM's 512 x 512 (both with a finding).
        v_per_um, offset_v
            Calibration of the spiral's size, ``um = (V + offset_v) / v_per_um``, where the ``.gpl`` gives no micrometres. By
            default the Packer lab's constants, with a finding where they do not come out at a whole number of micrometres.
        power_calibration
            Pairs ``(units, mW)`` measured under the objective; without it ``power_mw`` is None.
        plane_z_um
            Depths of the planes, in the order of their numbers, where the files do not tell them.
        sub_field
            What was imaged of the full field, where the movie shows only a part: a
            :class:`~packerlabimaging.io.naparm.field.SubField`, or its values by name, and ``keep_outside``; see
            :func:`~packerlabimaging.io.naparm.field.crop_to_field`.
        waveform_rate_hz
            Sampling rate of the trigger waveforms (``.dat``); by default from their names or the width of their pulses.

        Raises
        ------
        MissingFileError
            If the folder or its XML is not there.
        FormatError
            If a file is damaged, or rows and targets do not fit together.
        AmbiguousInputError
            If there are several files of one kind.
        ParameterError
            If an option makes no sense, the image's size is not known, or given otherwise than the target images have it.

        Notes
        -----
        Power stays in PrairieView's units: milliwatts need the rig's power calibration. In the mode of one trigger per row,
        the times of the rows come from the recorded pulses only; the waveforms tell how they were planned.
        """
        path = Path(path)
        if not path.is_dir():
            raise MissingFileError(f"There is no folder '{path}'. Pass the NAPARM folder, not a file in it.")
        power = None if power_calibration is None else PowerCalibration.from_option(power_calibration)
        xml = series_file(path)
        series = read_markpoints(xml)
        findings = [*series.findings]
        gpl = galvo_points(path, xml.stem, findings)
        images = find_images(path)
        targets = _targets(path, xml.stem, images, plane_z_um, findings)
        shape = _image_shape(path, image_shape_px, images, targets, findings)
        findings += place_findings(targets.targets_px, shape, str(path))
        rows = read_rows(series, gpl, len(targets.groups), xml, findings)
        made = tuple(
            protocol_row(row, group, len(targets.groups[group]), number, power, findings, str(xml))
            for number, (row, group) in enumerate(zip(rows.rows, rows.groups, strict=True), 1)
        )
        planned = _planned(path, series, rows.trigger, len(made), waveform_rate_hz, findings)
        extra = {**_extra(series, gpl, targets, planned), **read_config(path, xml.stem, findings)}
        diameter = _spiral_diameter(gpl, _calibration(gpl, v_per_um, offset_v, path, findings), path, findings)
        protocol = PhotostimProtocol(
            targets_px=targets.targets_px,
            image_shape_px=shape,
            groups=targets.groups,
            rows=made,
            n_stims=series.iterations,
            trigger=rows.trigger,
            lead_in_s=rows.lead_in_s,
            stim_interval_s=planned.stim_interval_s,
            row_interval_s=planned.row_interval_s if rows.trigger == "each" else None,
            weights=targets.weights,
            spiral_diameter_um=diameter,
            name=xml.stem,
            source=str(path),
            findings=tuple(findings),
            extra=extra,
        )
        return protocol if sub_field is None else _crop(protocol, sub_field)

    def inspect(self, path: Path) -> Inspection:
        """Describe a NAPARM folder; what can't be read is a finding, not an error."""
        try:
            protocol = self.open(path)
        except PackerLabImagingError as error:
            return _inspect_damaged(path, error)
        facts = {
            "name": protocol.name,
            "n_targets": protocol.n_targets,
            "n_groups": protocol.n_groups,
            "targets_per_group": sorted({len(group) for group in protocol.groups}),
            "n_planes": len(set(protocol.targets_px[:, 0].tolist())),
            "n_rows": len(protocol.rows),
            "n_shots": sorted({row.n_shots for row in protocol.rows}),
            "shot_duration_s": sorted({row.shot_duration_s for row in protocol.rows}),
            "stim_duration_s": protocol.stim_duration_s,
            "stim_interval_s": protocol.stim_interval_s,
            "row_interval_s": protocol.row_interval_s,
            "n_stims": protocol.n_stims,
            "trigger": protocol.trigger,
            "power": sorted({row.power for row in protocol.rows if row.power is not None}),
            "spiral_diameter_um": protocol.spiral_diameter_um,
            "image_shape_px": list(protocol.image_shape_px),
        }
        return Inspection(str(path), self.name, self.kind, facts, protocol.findings)


def _inspect_damaged(path: Path, error: PackerLabImagingError) -> Inspection:
    facts: dict[str, Any] = {}
    findings: list[Finding] = []
    try:
        describe_series(read_markpoints(series_file(path)), facts, findings)
    except PackerLabImagingError:
        facts = {}  # the error at hand tells
    findings = [finding for finding in findings if finding.code not in ("points-by-name-only", "belongs-to-naparm")]
    findings.append(unreadable(error, path))
    return Inspection(str(path), NaparmReader.name, NaparmReader.kind, facts, tuple(findings))


def _targets(
    folder: Path, stem: str, images: TargetImages, plane_z_um: Sequence[float] | None, findings: list[Finding]
) -> NaparmTargets:
    points = one_file(folder, f"{stem}_Points.mat", "*_Points.mat")
    targets = read_target_images(images) if points is None else read_points_mat(points)
    if plane_z_um is not None:
        targets = with_depths(targets, plane_z_um, str(folder))
    findings += targets.findings
    if points is not None:
        findings += compare_with_images(targets, images)
        if not images.groups:
            message = "There are no target images (Targets/FOVTargets_001_...tif) to compare the points with."
            findings.append(Finding("no-target-images", message, "info", str(folder)))
    return targets


def _image_shape(
    folder: Path, given: Sequence[int] | None, images: TargetImages, targets: NaparmTargets, findings: list[Finding]
) -> tuple[int, int]:
    """Return the size of the image that the targets were chosen on."""
    found = images.shape
    if given is not None:
        shape = checked_shape(given)
        if found is not None and found != shape:
            raise ParameterError(f"image_shape_px = {shape}, but the target images of '{folder}' are {found}. Leave it out.")
        return shape
    if found is not None:
        return found
    shape = targets.field_shape or DEFAULT_SHAPE
    if (targets.targets_px[:, 1:].max(axis=0) > [size - 0.5 for size in shape]).any():
        raise ParameterError(
            f"'{folder}' holds no target images, and targets beyond {shape[0]} x {shape[1]} pixels: the size of the image that "
            "they refer to is not known. Give it: image_shape_px=(height, width)."
        )
    source = "as the points' offsets tell" if targets.field_shape else "which is NAPARM's own size"
    message = (
        f"There are no target images: the targets are taken to refer to an image of {shape[0]} x {shape[1]} pixels, {source}."
    )
    advice = "Give image_shape_px=(height, width) to be sure."
    findings.append(Finding("image-size-assumed", message, where=str(folder), advice=advice))
    return shape


def _planned(
    folder: Path, series: MarkPointSeries, trigger: str, n_rows: int, rate_hz: float | None, findings: list[Finding]
) -> PlannedTimes:
    """Read the trigger waveforms."""
    if rate_hz is not None:
        check_positive("waveform_rate_hz", rate_hz)
    per_stim = n_rows if trigger == "each" else 1
    planned = read_planned_times(folder, n_stims=series.iterations, pulses_per_stim=per_stim, n_rows=n_rows, rate_hz=rate_hz)
    findings += planned.findings
    if trigger == "each" and planned.row_interval_s is None and n_rows > 1:
        message = "Every row waits for a trigger; when they were to come is only in the waveforms (ToPV_AllTrials.dat)."
        advice = "The rows' times come from the recorded pulses."
        findings.append(Finding("row-interval-unknown", message, "info", str(folder), advice))
    return planned


def _calibration(
    gpl: GalvoPointList, v_per_um: float | None, offset_v: float | None, folder: Path, findings: list[Finding]
) -> SpiralCalibration:
    """Return the calibration given, or the Packer lab's; whether that fits is seen by the diameters that it gives."""
    if v_per_um is not None:
        return SpiralCalibration(v_per_um, 0.0 if offset_v is None else offset_v)
    if offset_v is not None:
        raise ParameterError(f"offset_v = {offset_v!r} was given without v_per_um. Give both.")
    default = SpiralCalibration()
    volts = {
        abs(point.spiral_size_v)
        for point in gpl.points
        if point.is_spiral and point.spiral_size_um is None and point.spiral_size_v is not None
    }
    odd = sorted(size for size in volts if not default.explains(size))
    if odd:
        message = (
            f"A SpiralSize of {odd[0]:.3g} V is {default.to_um(odd[0]):.3g} um by the Packer lab's calibration, no whole number: "
            "it may be another rig's or zoom's."
        )
        findings.append(Finding("spiral-calibration-assumed", message, where=str(folder), advice="Give v_per_um and offset_v."))
    return default


def _spiral_diameter(gpl: GalvoPointList, calibration: SpiralCalibration, folder: Path, findings: list[Finding]) -> float | None:
    """Tell the diameter of the light on each target, in micrometres."""
    sizes = {size for point in gpl.points if (size := galvo_diameter(point, calibration)) is not None}
    return one_diameter(sizes, findings, str(folder))


def _extra(series: MarkPointSeries, gpl: GalvoPointList, targets: NaparmTargets, planned: PlannedTimes) -> dict[str, Any]:
    """Keep what has no place in the protocol, under plain names; only what is there."""
    last = series.rows[-1].attributes
    revolutions = gpl.points[0].spiral_revolutions if gpl.points else None
    values = {
        "series_name": series.name,
        "iteration_delay_s": series.iteration_delay_ms / 1000,
        "laser": last.get("UncagingLaser"),
        "trigger_line": next((row.attributes.get("TriggerSelection") for row in series.rows if row.trigger != "None"), None),
        "spiral_revolutions": revolutions,
        "target_planes": list(targets.planes) or None,
        "first_trigger_s": planned.first_trigger_s,
        "planned_row_interval_s": planned.row_interval_s,
        "waveform_rate_hz": planned.rate_hz,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def _crop(protocol: PhotostimProtocol, given: SubField | Mapping[str, Any]) -> PhotostimProtocol:
    """Apply the option ``sub_field``."""
    if isinstance(given, SubField):
        return crop_to_field(protocol, given)
    values = dict(given)
    keep = bool(values.pop("keep_outside", True))
    for name in values:
        check_choice("value of sub_field", name, tuple(SubField.__dataclass_fields__))
    try:
        field = SubField(**values)
    except TypeError as error:
        raise ParameterError(f"sub_field = {dict(given)!r} is not complete: {error}.") from None
    return crop_to_field(protocol, field, keep_outside=keep)
