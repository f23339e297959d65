"""What PrairieView's MarkPoints files hold, as plain values: rows, points, groups, and the calibrations that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import ParameterError

WHOLE_UM = 0.001
"""A diameter this near a whole number of micrometres is one that a person typed."""


@dataclass(frozen=True)
class SpiralCalibration:
    """How the volts of ``SpiralSize`` become micrometres: ``um = (V + offset_v) / v_per_um``.

    The default is the Packer lab's constant for its Bruker 2pPlus (0.047535 V = 10 um). It depends on the rig and on the
    zoom: on another rig it turns a spiral of 20 um into one of 73 um.
    """

    v_per_um: float = 0.005269
    offset_v: float = 0.005155

    def __post_init__(self) -> None:
        check_positive("v_per_um", self.v_per_um)

    def to_um(self, volts: float) -> float:
        """Return a spiral's diameter in micrometres, without the last digits of the division."""
        return round((volts + self.offset_v) / self.v_per_um, 9)

    def to_volts(self, um: float) -> float:
        """Return the ``SpiralSize`` of a diameter in micrometres."""
        return round(um * self.v_per_um - self.offset_v, 12)

    def explains(self, volts: float) -> bool:
        """Say whether the diameter comes out as a whole number of micrometres, as a person would have typed it."""
        um = self.to_um(volts)
        return abs(um) < 1e6 and abs(um - round(um)) < WHOLE_UM


@dataclass(frozen=True)
class GalvoExtent:
    """Galvo volts at the edges of the image: how the places of a ``.gpl`` become places on the image.

    Parameters
    ----------
    y_v
        Volts at the upper and the lower edge.
    x_v
        Volts at the left and the right edge.

    Raises
    ------
    ParameterError
        If they are not two pairs of different finite numbers.

    Notes
    -----
    They depend on the rig and the zoom (full scan amplitude / zoom), and their signs on how the galvos are mounted: there is
    no default.
    """

    y_v: tuple[float, float]
    x_v: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("y_v", "x_v"):
            edges = np.asarray(getattr(self, name), np.float64)
            if edges.shape != (2,) or not np.all(np.isfinite(edges)) or edges[0] == edges[1]:
                raise ParameterError(f"{name} = {getattr(self, name)!r} is not possible. Give the volts at both edges.")

    @classmethod
    def from_option(cls, given: GalvoExtent | Sequence[Sequence[float]]) -> GalvoExtent:
        """Return an extent given as ``((top, bottom), (left, right))`` volts, as in a configuration file."""
        if isinstance(given, GalvoExtent):
            return given
        try:
            (top, bottom), (left, right) = given
            return cls((float(top), float(bottom)), (float(left), float(right)))
        except (TypeError, ValueError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError(
                f"galvo_extent_v = {given!r} is not possible. Give volts at the image's edges: ((top, bottom), (left, right))."
            ) from None

    def to_fractions(self, points_v: np.ndarray) -> np.ndarray:
        """Turn ``(y, x)`` volts, shape ``(n, 2)``, into fractions of the image."""
        first, last = np.array([self.y_v, self.x_v]).T
        return np.asarray((np.asarray(points_v, np.float64) - first) / (last - first))


@dataclass(frozen=True)
class PowerCalibration:
    """How the laser power in PrairieView's units becomes milliwatts on the sample: a measured table, interpolated linearly.

    Parameters
    ----------
    units
        Powers in PrairieView's units, ascending.
    mw
        Total milliwatts under the objective at each, ascending.

    Raises
    ------
    ParameterError
        If there are fewer than two, or they do not ascend.
    """

    units: tuple[float, ...]
    mw: tuple[float, ...]

    def __post_init__(self) -> None:
        table = np.array([self.units, self.mw], np.float64) if len(self.units) == len(self.mw) else np.zeros((2, 0))
        if table.shape[1] < 2 or not np.all(np.isfinite(table)) or np.any(np.diff(table) <= 0):
            raise ParameterError("A power calibration needs two or more pairs (units, mW), both ascending.")

    @classmethod
    def from_option(cls, given: PowerCalibration | Sequence[Sequence[float]]) -> PowerCalibration:
        """Return a calibration given as pairs ``(units, mW)``, as in a configuration file."""
        if isinstance(given, PowerCalibration):
            return given
        try:
            units, mw = zip(*((float(unit), float(milliwatts)) for unit, milliwatts in given), strict=True)
        except (TypeError, ValueError):
            raise ParameterError(f"power_calibration = {given!r} is not possible. Give pairs (units, mW).") from None
        return cls(units, mw)

    def to_mw(self, units: float) -> float | None:
        """Return milliwatts; None outside the measured range, where nothing is known (0 units are dark)."""
        if units == 0:
            return 0.0
        if not self.units[0] <= units <= self.units[-1]:
            return None
        return float(np.interp(units, self.units, self.mw))


@dataclass(frozen=True)
class GalvoPoint:
    """One point of a ``.gpl`` file.

    ``x_v, y_v`` and ``spiral_size_v`` are galvo volts, ``z_um`` is as written (depth of the plane, or motor position),
    ``index`` the point's number in the file (0-based there); ``attributes`` is everything else, as written.
    """

    x_v: float
    y_v: float
    index: int
    name: str = ""
    z_um: float | None = None
    is_spiral: bool = True
    spiral_size_v: float | None = None
    spiral_size_um: float | None = None
    spiral_revolutions: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GalvoGroup:
    """A named set of points of a ``.gpl`` file, by their ``index``; ``attributes`` is everything else, as written."""

    name: str
    points: tuple[int, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GalvoPointList:
    """The points and groups of a ``.gpl`` file."""

    points: tuple[GalvoPoint, ...]
    groups: tuple[GalvoGroup, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class MarkPoint:
    """A point saved with a scan.

    ``x, y, spiral_width`` and ``spiral_height`` are fractions of the frame, ``z_um`` is as written; None where they are absent
    or not finite. ``attributes`` is everything else, as written.
    """

    index: int
    x: float | None
    y: float | None
    z_um: float | None = None
    is_spiral: bool = True
    spiral_width: float | None = None
    spiral_height: float | None = None
    spiral_size_um: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MarkPointRow:
    """One row of a series: what is lit, how often, for how long, after which trigger.

    Parameters
    ----------
    repetitions
        Shots: how often the row's points are lit.
    duration_ms, inter_point_delay_ms, initial_delay_ms
        Light-on time of a shot, dark time after it, dark time before the first.
    power
        Laser power in PrairieView's units.
    indices
        Numbers of the points as written; ``0`` among them means that they count from 0.
    points_name
        Name of the point or group, e.g. ``"Point 3"``.
    all_at_once
        True if all points are lit together; None where the file does not say.
    trigger
        ``TriggerFrequency`` as written, e.g. ``"First Repetition"``, ``"None"``.
    points
        The points themselves, where they were saved with the scan.
    attributes, point_attributes
        Everything else of the row and of its points' element, as written.
    """

    repetitions: int
    duration_ms: float
    inter_point_delay_ms: float = 0.0
    initial_delay_ms: float = 0.0
    power: float | None = None
    indices: tuple[int, ...] = ()
    points_name: str = ""
    all_at_once: bool | None = None
    trigger: str = "None"
    points: tuple[MarkPoint, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    point_attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MarkPointSeries:
    """A series of rows, run ``iterations`` times; ``attributes`` is everything else of its root, as written."""

    rows: tuple[MarkPointRow, ...]
    iterations: int = 1
    iteration_delay_ms: float = 0.0
    category: str = ""
    name: str = ""
    all_at_once: bool | None = None
    saved_with_scan: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
