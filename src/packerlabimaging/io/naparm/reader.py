"""Read a NAPARM folder: rows and timing from its MarkPoints XML, targets from its points, light size from its ``.gpl``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging._check import check_choice
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow, TriggerMode
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError
from packerlabimaging.io._xml import root_tag
from packerlabimaging.io.markpoints import (
    SERIES_TAGS,
    GalvoPointList,
    MarkPointRow,
    MarkPointSeries,
    SpiralCalibration,
    read_gpl,
    read_markpoints,
    zero_based,
)
from packerlabimaging.io.naparm.targets import NaparmTargets, image_shape, read_points_mat, read_target_images
from packerlabimaging.io.readers import Inspection, Kind, Reader

NAME = re.compile(r"(\d{1,6})Patterns_(\d{1,6})Repeats_x(\d{1,6})ShotPerPattern")
"""``Name`` of the series: groups, repeats of them in one stim, shots of a row."""

FIRST_REPETITION = "firstrepetition"
"""A row that waits for a trigger, compared without blanks and case."""

PLAUSIBLE_UM = (1.0, 60.0)
"""Diameters of a spiral outside this range are told: the calibration is probably another rig's."""

MAX_ROW_S = 3600.0


class NaparmReader(Reader):
    """Reads NAPARM folders."""

    name: ClassVar[str] = "naparm"
    kind: ClassVar[Kind] = "photostim"
    description: ClassVar[str] = "NAPARM folder (.xml, .gpl, _Points.mat, Targets/)"

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a folder with a NAPARM series, or with its points and target images."""
        if not path.is_dir():
            return False
        if any(_is_naparm_xml(xml) for xml in path.glob("*.xml")):
            return True
        return any(path.glob("*_Points.mat")) and (path / "Targets").is_dir()

    def open(
        self,
        path: Path,
        *,
        image_shape_px: Sequence[int] | None = None,
        v_per_um: float = SpiralCalibration.v_per_um,
        offset_v: float = SpiralCalibration.offset_v,
        **options: Any,
    ) -> PhotostimProtocol:
        """Read a NAPARM folder.

        Parameters
        ----------
        image_shape_px
            ``(height, width)`` of the image that the targets were chosen on; by default that of the target images.
        v_per_um, offset_v
            Calibration of the spiral's size, used where the ``.gpl`` does not give micrometres; the default is the Packer
            lab's (see :class:`~packerlabimaging.io.markpoints.SpiralCalibration`).

        Raises
        ------
        MissingFileError
            If the folder or its XML is not there.
        FormatError
            If a file is damaged, or rows and targets do not fit together.
        AmbiguousInputError
            If there are several files of one kind.
        ParameterError
            If the image's size is not known, or given otherwise than the target images have it.

        Notes
        -----
        Power stays in PrairieView's units: milliwatts need the rig's power calibration. In the mode of one trigger per row,
        the times of the rows come from the recorded pulses only.
        """
        if options:
            known = ("image_shape_px", "v_per_um", "offset_v")
            check_choice("option of the reader 'naparm'", next(iter(options)), known)
        path = Path(path)
        if not path.is_dir():
            raise MissingFileError(f"There is no folder '{path}'. Pass the NAPARM folder, not a file in it.")
        xml = _series_file(path)
        series = read_markpoints(xml)
        findings = [*series.findings]
        gpl = _galvo_points(path, xml.stem, findings)
        points = _one_file(path, f"{xml.stem}_Points.mat", "*_Points.mat")
        targets = read_target_images(path) if points is None else read_points_mat(points)
        findings += [*gpl.findings, *targets.findings]
        shape = _image_shape(path, image_shape_px)
        findings += _outside_findings(targets, shape, path)
        rows, lead_in_s = _without_dummy(series)
        groups = _groups_of_rows(series, rows, gpl, targets, xml, findings)
        trigger = _trigger(rows, xml, findings)
        return PhotostimProtocol(
            targets_px=targets.targets_px,
            image_shape_px=shape,
            groups=targets.groups,
            rows=tuple(
                _protocol_row(row, group, number, xml, findings)
                for number, (row, group) in enumerate(zip(rows, groups, strict=True), 1)
            ),
            n_stims=series.iterations,
            trigger=trigger,
            lead_in_s=lead_in_s,
            weights=targets.weights,
            spiral_diameter_um=_spiral_diameter(gpl, SpiralCalibration(v_per_um, offset_v), path, findings),
            name=xml.stem,
            source=str(path),
            findings=tuple(findings),
            extra=_extra(series, rows, gpl, targets),
        )

    def inspect(self, path: Path) -> Inspection:
        """Describe a NAPARM folder."""
        protocol = self.open(path)
        facts = {
            "name": protocol.name,
            "n_targets": protocol.n_targets,
            "n_groups": protocol.n_groups,
            "n_rows": len(protocol.rows),
            "n_shots": sorted({row.n_shots for row in protocol.rows}),
            "shot_duration_s": sorted({row.shot_duration_s for row in protocol.rows}),
            "stim_duration_s": protocol.stim_duration_s,
            "n_stims": protocol.n_stims,
            "trigger": protocol.trigger,
            "power": sorted({row.power for row in protocol.rows if row.power is not None}),
            "spiral_diameter_um": protocol.spiral_diameter_um,
            "image_shape_px": list(protocol.image_shape_px),
        }
        return Inspection(str(path), self.name, self.kind, facts, protocol.findings)


def _is_naparm_xml(path: Path) -> bool:
    if root_tag(path) not in SERIES_TAGS:
        return False
    with path.open("rb") as file:
        return b'Category="NAPARM"' in file.read(1024)


def _one_file(folder: Path, name: str, pattern: str) -> Path | None:
    """Find the file called ``name``, else the only one of its kind; None where there is none."""
    if (folder / name).is_file():
        return folder / name
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:5])
        raise AmbiguousInputError(f"'{folder}' holds several files {pattern}: {names}. Expected '{name}', or one only.")
    return found[0] if found else None


def _series_file(folder: Path) -> Path:
    """Find the XML of the series: that of the folder's name, else the only series among the XML files."""
    found = [path for path in sorted(folder.glob("*.xml")) if root_tag(path) in SERIES_TAGS]
    named = [path for path in found if path.stem == folder.name]
    if named or len(found) == 1:
        return (named or found)[0]
    if found:
        names = ", ".join(path.name for path in found[:5])
        raise AmbiguousInputError(f"'{folder}' holds several MarkPoints series: {names}. Keep '{folder.name}.xml' only.")
    damaged = folder / f"{folder.name}.xml"
    if damaged.is_file():
        return damaged  # reading it says what is wrong
    raise MissingFileError(f"'{folder}' holds no MarkPoints series (.xml), so its timing is not known. Copy it from the rig.")


def _galvo_points(folder: Path, stem: str, findings: list[Finding]) -> GalvoPointList:
    path = _one_file(folder, f"{stem}.gpl", "*.gpl")
    if path is not None:
        return read_gpl(path)
    message = "There is no .gpl file: the size of the light on each target is not known."
    findings.append(Finding("no-gpl", message, where=str(folder), advice="Copy it from the rig."))
    return GalvoPointList(())


def _image_shape(folder: Path, given: Sequence[int] | None) -> tuple[int, int]:
    found = image_shape(folder)
    if given is None and found is None:
        raise ParameterError(
            f"'{folder}' holds no target images, so the size of the image that its targets refer to is not known. "
            "Give it: image_shape_px=(height, width)."
        )
    if given is None:
        assert found is not None
        return found
    shape = (int(given[0]), int(given[1]))
    if found is not None and found != shape:
        raise ParameterError(f"image_shape_px = {shape}, but the target images of '{folder}' are {found}. Leave it out.")
    return shape


def _outside_findings(targets: NaparmTargets, shape: tuple[int, int], folder: Path) -> list[Finding]:
    places = targets.targets_px[:, 1:]
    outside = np.flatnonzero(np.any((places < -0.5) | (places > np.array(shape) - 0.5), axis=1))
    if not len(outside):
        return []
    message = f"{len(outside)} of {len(places)} targets lie outside the image of {shape[0]} x {shape[1]} pixels."
    advice = "Check image_shape_px."
    return [Finding("targets-outside-image", message, "error", str(folder), advice, {"targets": outside.tolist()[:50]})]


def _without_dummy(series: MarkPointSeries) -> tuple[tuple[MarkPointRow, ...], float]:
    """Leave out the dummy element that the program may put first; return the rows and how long it takes."""
    rows = series.rows
    if len(rows) > 1:
        first = rows[0]
        dark = first.power == 0 and first.inter_point_delay_ms == 0 and first.initial_delay_ms == 0
        if dark and first.duration_ms == 1 and first.repetitions == 1 and not _waits(first):
            return rows[1:], first.duration_ms / 1000
    return rows, 0.0


def _waits(row: MarkPointRow) -> bool:
    return row.trigger.replace(" ", "").lower() == FIRST_REPETITION


def _trigger(rows: Sequence[MarkPointRow], xml: Path, findings: list[Finding]) -> TriggerMode:
    """Tell whether one pulse starts the whole stim, or one each row."""
    other = sorted({row.trigger for row in rows if not _waits(row) and row.trigger.strip().lower() not in ("none", "")})
    if other:
        raise FormatError(f"'{xml}' has rows triggered at '{other[0]}'. Only 'First Repetition' and 'None' are understood.")
    waiting = [_waits(row) for row in rows]
    if not any(waiting):
        message = "No row waits for a trigger: the stims' times relative to any pulse are a guess of the experimenter's."
        findings.append(Finding("no-trigger", message, where=str(xml), advice="Check that the trigger pulses start the stims."))
        return "once"
    if all(waiting) and len(rows) > 1:
        return "each"
    if waiting[0] and not any(waiting[1:]):
        return "once"
    numbers = [number for number, waits in enumerate(waiting, 1) if waits]
    raise FormatError(f"'{xml}' has triggers on the rows {numbers} of {len(rows)}. Expected the first row only, or every row.")


def _groups_of_rows(
    series: MarkPointSeries,
    rows: Sequence[MarkPointRow],
    gpl: GalvoPointList,
    targets: NaparmTargets,
    xml: Path,
    findings: list[Finding],
) -> list[int]:
    """Tell which group each row lights: by its index, else by the order that the series' name implies."""
    if not rows:
        raise FormatError(f"'{xml}' holds no row. It may be cut.")
    n_groups = len(targets.groups)
    named = NAME.search(series.name)
    for number, row in enumerate(rows, 1):
        if len(row.indices) > 1:
            raise FormatError(f"'{xml}', row {number} names {len(row.indices)} points. A NAPARM row names one: its group's.")
    if all(row.indices for row in rows):
        groups = _positions([row.indices for row in rows], gpl)
    elif named is not None and not any(row.indices for row in rows):
        groups = [number % int(named.group(1)) for number in range(len(rows))]
        findings.append(
            Finding("groups-by-name", f"The rows name no points; their order follows '{series.name}'.", where=str(xml))
        )
    else:
        raise FormatError(f"'{xml}' does not say which group each row lights: Indices is empty, and the name does not tell.")
    unknown = sorted({group + 1 for group in groups if not 0 <= group < n_groups})
    if unknown:
        raise FormatError(f"'{xml}' has rows for the groups {unknown}, but the targets are in {n_groups} groups.")
    findings += _name_findings(series, rows, n_groups, named, xml)
    if gpl.points and len(gpl.points) != n_groups:
        message = f"The .gpl holds {len(gpl.points)} points, the targets are in {n_groups} groups; expected one each."
        findings.append(Finding("gpl-differs", message, where=str(xml.with_suffix(".gpl"))))
    dark = sorted(set(range(1, n_groups + 1)) - {group + 1 for group in groups})
    if dark:
        findings.append(
            Finding("groups-not-lit", f"The groups {dark} have targets but no row: they are never lit.", where=str(xml))
        )
    return groups


def _positions(indices: Sequence[Sequence[int]], gpl: GalvoPointList) -> list[int]:
    """Tell which point of the ``.gpl`` each row names, by its place in the list: the groups have the same order."""
    places = {point.index: place for place, point in enumerate(gpl.points)}
    numbers = [row[0] for row in zero_based(indices, gpl.points)]
    if all(number in places for number in numbers):
        return [places[number] for number in numbers]
    return [row[0] for row in zero_based(indices)]  # no .gpl, or another's: told by the caller


def _name_findings(
    series: MarkPointSeries, rows: Sequence[MarkPointRow], n_groups: int, named: re.Match[str] | None, xml: Path
) -> list[Finding]:
    """Compare the series' name with what it holds."""
    if named is None:
        message = f"The series is called '{series.name}', not like '4Patterns_1Repeats_x10ShotPerPattern'."
        return [Finding("unusual-name", message, "info", str(xml))]
    told = tuple(int(number) for number in named.groups())
    shots = {row.repetitions for row in rows}
    if told[0] == n_groups and told[0] * told[1] == len(rows) and shots == {told[2]}:
        return []
    message = (
        f"The series is called '{series.name}', but holds {len(rows)} rows for {n_groups} groups with "
        f"{', '.join(map(str, sorted(shots)))} shots; the rows are taken as they are."
    )
    return [Finding("name-differs", message, where=str(xml), advice="Check that the files belong together.")]


def _protocol_row(row: MarkPointRow, group: int, number: int, xml: Path, findings: list[Finding]) -> PhotostimRow:
    delay_ms = row.initial_delay_ms
    if delay_ms < 0:
        message = (
            f"Row {number} has an InitialDelay of {delay_ms:g} ms: its shots take longer than the change of patterns allows."
        )
        advice = "It is taken to follow at once; check the light's times."
        findings.append(Finding("negative-delay", message, "error", str(xml), advice))
    if row.duration_ms == 0 or max(row.duration_ms, row.inter_point_delay_ms, delay_ms) > MAX_ROW_S * 1000:
        raise FormatError(f"'{xml}', row {number}: a shot of {row.duration_ms:g} ms, with its delays, makes no sense.")
    return PhotostimRow(
        group=group,
        n_shots=row.repetitions,
        shot_duration_s=row.duration_ms / 1000,
        inter_shot_s=row.inter_point_delay_ms / 1000,
        initial_delay_s=max(0.0, delay_ms) / 1000,
        power=row.power,
    )


def _spiral_diameter(gpl: GalvoPointList, calibration: SpiralCalibration, folder: Path, findings: list[Finding]) -> float | None:
    """Tell the diameter of the light on each target, in micrometres."""
    sizes = set()
    for point in gpl.points:
        if point.is_spiral and point.spiral_size_um is not None:
            sizes.add(point.spiral_size_um)
        elif point.is_spiral and point.spiral_size_v is not None:
            sizes.add(calibration.to_um(abs(point.spiral_size_v)))
    if not sizes:
        return None
    diameter = max(sizes)
    if len(sizes) > 1:
        message = f"Spirals have {len(sizes)} sizes, {min(sizes):g} to {diameter:g} um; the largest is used for all."
        findings.append(Finding("spiral-sizes-differ", message, where=str(folder)))
    if not PLAUSIBLE_UM[0] <= diameter <= PLAUSIBLE_UM[1]:
        message = f"A spiral of {diameter:g} um is not plausible: the calibration from volts is probably another rig's."
        findings.append(Finding("implausible-spiral", message, where=str(folder), advice="Give v_per_um and offset_v."))
    return diameter if diameter > 0 else None


def _extra(series: MarkPointSeries, rows: Sequence[MarkPointRow], gpl: GalvoPointList, targets: NaparmTargets) -> dict[str, Any]:
    """Keep what has no place in the protocol, under plain names; only what is there."""
    attributes = rows[0].attributes
    revolutions = gpl.points[0].spiral_revolutions if gpl.points else None
    values = {
        "series_name": series.name,
        "iteration_delay_s": series.iteration_delay_ms / 1000,
        "laser": attributes.get("UncagingLaser"),
        "trigger_line": attributes.get("TriggerSelection"),
        "spiral_revolutions": revolutions,
        "target_planes": list(targets.planes) or None,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}
