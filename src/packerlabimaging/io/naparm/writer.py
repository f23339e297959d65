"""Write a protocol as the NAPARM folder that the rig would have made: XML, ``.gpl``, points, target images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.markpoints import (
    GalvoPoint,
    MarkPointRow,
    MarkPointSeries,
    SpiralCalibration,
    write_gpl,
    write_markpoints,
)
from packerlabimaging.io.markpoints.protocol import milliseconds
from packerlabimaging.io.markpoints.writing import GPL_CONSTANTS
from packerlabimaging.io.naparm.targets import drawn_pixels, drawn_values
from packerlabimaging.io.naparm.waveforms import planned_length, write_waveforms

DUMMY_S = 0.001
"""Length of the dummy element that may come first."""


def write_naparm(
    folder: str | Path,
    protocol: PhotostimProtocol,
    *,
    pixel_size_um: float | tuple[float, float],
    name: str | None = None,
    calibration: SpiralCalibration | None = None,
) -> Path:
    """Write a NAPARM folder.

    Parameters
    ----------
    folder
        Folder to make; it must not exist, or be empty.
    protocol
        The protocol. It must be one that NAPARM can hold: every target in one group, rows that light groups with equal
        numbers of shots, all points at once. Trigger waveforms are written where ``stim_interval_s`` is known.
    pixel_size_um
        Size of a pixel, or ``(y, x)``, of the image that the targets refer to: for the galvo positions.
    name
        Name of the files; the folder's by default.
    calibration
        Volts of the galvos; the Packer lab's by default.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ParameterError
        If the folder is not empty, or NAPARM can't hold the protocol; the message says why.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterError(f"'{folder}' exists and is not an empty folder. Protocols are never overwritten; choose another.")
    faults = _why_not(protocol)
    if faults:
        raise ParameterError("NAPARM can't hold this protocol:\n" + "\n".join(f"- {fault}" for fault in faults))
    name = folder.name if name is None else name
    size_um = np.broadcast_to(np.asarray(pixel_size_um, np.float64), (2,))
    (folder / "Targets").mkdir(parents=True, exist_ok=True)
    write_markpoints(folder / f"{name}.xml", _series(protocol))
    write_gpl(folder / f"{name}.gpl", _galvo_points(protocol, size_um, calibration or SpiralCalibration()))
    _write_points(folder / f"{name}_Points.mat", protocol)
    _write_config(folder / f"{name}_Config.mat", str(protocol.extra.get("identifier", name)))
    _write_images(folder / "Targets", name, protocol)
    write_waveforms(folder, protocol)
    return folder


def _why_not(protocol: PhotostimProtocol) -> list[str]:
    """List what keeps NAPARM from holding a protocol."""
    faults = []
    if any(len(groups) != 1 for groups in protocol.group_of_target):
        faults.append("every target must belong to exactly one group")
    if not protocol.rows:
        faults.append("it must have rows")
    elif "series_name" not in protocol.extra:  # one that was read is written as it was
        if len(protocol.rows) % protocol.n_groups:
            faults.append(f"{len(protocol.rows)} rows are no multiple of the {protocol.n_groups} groups")
        if len({row.n_shots for row in protocol.rows}) > 1:
            faults.append("all rows must have the same number of shots")
    if any(not row.all_at_once for row in protocol.rows):
        faults.append("the points of a group are lit together, not one after another")
    if protocol.n_stims is None:
        faults.append("n_stims must be known")
    if protocol.lead_in_s not in (0, DUMMY_S):
        faults.append(f"lead_in_s must be 0, or {DUMMY_S} s for the dummy element, not {protocol.lead_in_s}")
    faults += planned_length(protocol)[1]
    places = drawn_pixels(protocol.targets_px)
    if np.any(places < 0) or np.any(places >= np.array(protocol.image_shape_px)):
        faults.append("every target must lie within the image")
    return faults


def _series(protocol: PhotostimProtocol) -> MarkPointSeries:
    laser = str(protocol.extra.get("laser", "Uncaging"))
    line = str(protocol.extra.get("trigger_line", "PFI1"))
    revolutions = str(protocol.extra.get("spiral_revolutions", 3))
    rows = []
    for number, row in enumerate(protocol.rows):
        waits = number == 0 or protocol.trigger == "each"
        rows.append(
            MarkPointRow(
                repetitions=row.n_shots,
                duration_ms=milliseconds(row.shot_duration_s),
                inter_point_delay_ms=milliseconds(row.inter_shot_s),
                initial_delay_ms=milliseconds(row.initial_delay_s),
                power=row.power,
                indices=(row.group + 1,),
                points_name=f"Point {row.group + 1}",
                trigger="First Repetition" if waits else "None",
                attributes=_row_attributes(laser, line if waits else "None", waits),
                point_attributes={"SpiralRevolutions": revolutions},
            )
        )
    if protocol.lead_in_s:
        attributes, turns = _row_attributes(laser, "None", False), {"SpiralRevolutions": "1"}
        dummy = MarkPointRow(
            1, 1000 * DUMMY_S, power=0, indices=(1,), points_name="Point 1", attributes=attributes, point_attributes=turns
        )
        rows.insert(0, dummy)
    n_repeats = len(protocol.rows) // protocol.n_groups
    name = f"{protocol.n_groups}Patterns_{n_repeats}Repeats_x{protocol.rows[0].n_shots}ShotPerPattern"
    name = str(protocol.extra.get("series_name", name))
    delay_ms = milliseconds(float(protocol.extra.get("iteration_delay_s", 0)))
    return MarkPointSeries(tuple(rows), int(protocol.n_stims or 0), delay_ms, "NAPARM", name)


def _row_attributes(laser: str, line: str, waits: bool) -> dict[str, str]:
    return {
        "UncagingLaser": laser,
        "TriggerSelection": line,
        "TriggerCount": "1",
        "AsyncSyncFrequency": "FirstRepetition" if waits else "None",
        "VoltageOutputCategoryName": "None",
        "VoltageRecCategoryName": "None",
        "parameterSet": "CurrentSettings",
    }


def _galvo_points(protocol: PhotostimProtocol, size_um: np.ndarray, calibration: SpiralCalibration) -> list[GalvoPoint]:
    """One point per group, at the centroid of its targets, counted from 0."""
    center = (np.array(protocol.image_shape_px) - 1) / 2
    diameter = protocol.spiral_diameter_um
    revolutions = float(protocol.extra.get("spiral_revolutions", 3))
    points = []
    for number, centroid in enumerate(_centroids(protocol)):
        y_v, x_v = np.round((centroid - center) * size_um * calibration.v_per_um, 10)
        points.append(
            GalvoPoint(
                x_v=float(x_v),
                y_v=float(y_v),
                index=number,
                name=f"Point {number + 1}",
                is_spiral=diameter is not None,
                spiral_size_v=None if diameter is None else calibration.to_volts(diameter),
                spiral_revolutions=revolutions,
                attributes=GPL_CONSTANTS,
            )
        )
    return points


def _centroids(protocol: PhotostimProtocol) -> np.ndarray:
    """Centroid ``(y, x)`` of each group, in 0-based pixels."""
    return np.array([protocol.targets_px[list(group), 1:].mean(axis=0) for group in protocol.groups])


def _planes(protocol: PhotostimProtocol) -> np.ndarray:
    """Number the planes from 1, as written before or by depth."""
    given = protocol.extra.get("target_planes")
    if given is not None and len(given) == protocol.n_targets:
        return np.array(given, np.float64)
    return np.unique(protocol.targets_px[:, 0], return_inverse=True)[1].reshape(-1) + 1.0


def _write_points(path: Path, protocol: PhotostimProtocol) -> None:
    from scipy.io import savemat

    z, y, x = protocol.targets_px.T
    group = np.array([groups[0] for groups in protocol.group_of_target])
    centroid_y, centroid_x = np.round(_centroids(protocol)[group]).T + 1
    height, width = protocol.image_shape_px
    count = protocol.n_targets
    points = {
        "h": np.zeros((0, 0)),
        "X": x + 1,
        "Y": y + 1,
        "Z": _planes(protocol),
        "Zum": z,
        "OffsetX": x + 1 - centroid_x + width / 2,
        "OffsetY": y + 1 - centroid_y + height / 2,
        "Idx": np.arange(1.0, count + 1),
        "Img": np.ones(count),
        "Group": group + 1.0,
        "GroupCentroidX": centroid_x,
        "GroupCentroidY": centroid_y,
        "Counter": float(count),
        "Weight": np.ones(count) if protocol.weights is None else protocol.weights,
        "Selected": np.zeros(count),
    }
    savemat(path, {"points": points}, oned_as="row")


def _write_config(path: Path, identifier: str) -> None:
    from scipy.io import savemat

    savemat(path, {"parameters": {"ExperimentIdentifier": identifier}}, oned_as="row")


def _write_images(folder: Path, name: str, protocol: PhotostimProtocol) -> None:
    """Write one image per group, of all, and of all in each plane: weights 0..1 as pixel values 0..255."""
    import tifffile

    weights = np.ones(protocol.n_targets) if protocol.weights is None else protocol.weights
    values = drawn_values(weights)
    places = drawn_pixels(protocol.targets_px)

    def write(label: str, targets: np.ndarray) -> None:
        image = np.zeros(protocol.image_shape_px, np.uint8)
        np.maximum.at(image, (places[targets, 0], places[targets, 1]), values[targets])
        tifffile.imwrite(folder / f"{label}_{name}.tif", image)

    for number, group in enumerate(protocol.groups, 1):
        write(f"FOVTargets_{number:03d}", np.array(group))
    write("AllFOVTargets", np.arange(protocol.n_targets))
    planes = _planes(protocol)
    for number, plane in enumerate(np.unique(planes), 1):
        write(f"AllFOVTargets_Plane{number}", np.flatnonzero(planes == plane))
