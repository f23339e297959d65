"""The reader of segmentations in NWB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import AmbiguousInputError, FormatError, PackerLabImagingError, ParameterError
from packerlabimaging.io.nwb.file import NwbObjects
from packerlabimaging.io.nwb.rois import accepted_rows, read_planar_rois
from packerlabimaging.io.nwb.traces import Response, read_rate, read_response, responses_of
from packerlabimaging.io.readers import Inspection, Kind, Reader, unreadable
from packerlabimaging.io.untrusted import hdf5


class NwbReader(Reader):
    """Reader of the ROIs and traces in an NWB 2 file (HDF5)."""

    name: ClassVar[str] = "nwb"
    kind: ClassVar[Kind] = "segmentation"
    description: ClassVar[str] = "NWB 2 file with a PlaneSegmentation, .nwb"

    def detect(self, path: Path) -> bool:
        return path.suffix.lower() == ".nwb" and path.is_file() and hdf5.is_hdf5(path)

    def open(
        self,
        path: Path,
        *,
        table: str | None = None,
        plane: int | None = None,
        traces: str | None = None,
        axes: str | None = None,
        frame_shape_px: tuple[int, int] | None = None,
    ) -> Segmentation:
        """Read the ROIs of one table and their traces.

        Parameters
        ----------
        path
            The file.
        table
            Name of the ``PlaneSegmentation``; needed where there are several.
        plane
            Plane of a volume; needed where voxels are on several.
        traces
            Name of the series that is the fluorescence; needed where several could be.
        axes
            ``"xy"`` or ``"yx"``: what masks count first. By default x, as the schema of NWB has it; y in Suite2p's own export.
        frame_shape_px
            ``(height, width)``, where the masks are lists of pixels.

        Returns
        -------
        Segmentation
            ROIs in the table's order. ``F`` is the fluorescence; ``Fneu`` and ``spks`` are series called neuropil and
            deconvolved (or spikes, events); dF/F is ``other_traces["dff"]``. Without a fluorescence there are no traces.

        Raises
        ------
        MissingFileError
            If there is no such file.
        AmbiguousInputError
            If there are several tables, planes or fluorescences and none is chosen.
        FormatError
            If the file is damaged, of NWB 1, or holds no segmentation; the message says what it holds.
        ParameterError
            If an option does not fit the file.
        """
        path = Path(path)
        with hdf5.open_hdf5(path) as file:
            objects = NwbObjects.of(file, path)
            place, group = _table(objects, table)
            by_suite2p = objects.session_description == "suite2p_proc"
            used_axes = axes or ("yx" if by_suite2p else "xy")
            rois, rows, number, findings = read_planar_rois(
                group, path, axes=used_axes, plane=plane, frame_shape_px=frame_shape_px or _imaged_shape(objects, used_axes)
            )
            n_rows = int(rows[-1]) + 1 if (ids := hdf5.find(group, "id")) is None else int(ids.shape[0])
            found = responses_of(objects, group, n_rows)
            chosen = _fluorescence(found, traces, path)
            accepted = accepted_rows(group, path, n_rows)
            if axes is None:
                findings.append(_axes_finding(path, used_axes, by_suite2p))
            common = {
                "iscell": None if accepted is None else accepted[rows],
                "obs": _columns(rows),
                "engine": f"nwb {objects.version}",
                "source": str(path),
                "extra": {"plane": number, "table": place, "rate_hz": read_rate(chosen, path)},
            }
            if chosen is None:
                message = f"The file holds no fluorescence of the ROIs '{place}' ({', '.join(found) or 'no series of them'})."
                findings.append(Finding("no-traces", message, severity="info", where=str(path)))
                return Segmentation.of_rois(rois, findings=tuple(findings), **common)
            F, kept = read_response(chosen, rows, path)
            if len(kept) < len(rows):
                message = f"{len(rows) - len(kept)} of {len(rows)} ROIs have no fluorescence in '{chosen.name}' and are left out."
                findings.append(Finding("rois-without-traces", message, where=str(path)))
                rois, rows = rois.subset(kept), rows[kept]
                common["obs"] = _columns(rows)
                common["iscell"] = None if accepted is None else accepted[rows]
            others = _others(found, chosen, rows, F.shape[1], path, findings)
            return Segmentation(
                rois=rois,
                F=F,
                Fneu=others.pop("Fneu", None),
                spks=others.pop("spks", None),
                other_traces=others,
                findings=tuple(findings),
                **common,
            )

    def inspect(self, path: Path) -> Inspection:
        facts: dict[str, Any] = {}
        findings: tuple[Finding, ...] = ()
        try:
            with hdf5.open_hdf5(path) as file:
                objects = NwbObjects.of(file, path)
                tables = list(objects.of_type("PlaneSegmentation"))
                facts = {"nwb_version": objects.version, "tables": tables, "contents": objects.contents()}
            if tables:
                found = self.open(path, table=tables[0] if len(tables) > 1 else None)
                facts |= {
                    "n_rois": len(found.rois),
                    "n_frames": found.n_frames,
                    "frame_shape_px": list(found.rois.frame_shape_px),
                    "rate_hz": found.extra["rate_hz"],
                }
                findings = found.findings
            else:
                message = "The file holds no segmentation (PlaneSegmentation)."
                findings = (Finding("no-segmentation", message, severity="info", where=str(path)),)
        except PackerLabImagingError as error:
            facts = facts or {"n_bytes": path.stat().st_size}
            findings = (unreadable(error, path),)
        return Inspection(str(path), self.name, self.kind, facts, findings)


def _table(objects: NwbObjects, name: str | None) -> tuple[str, Any]:
    tables = objects.of_type("PlaneSegmentation")
    if not tables:
        raise FormatError(
            f"'{objects.path}' (NWB {objects.version}) holds no segmentation. Expected a PlaneSegmentation; it holds: "
            f"{objects.contents()}. Is it the right file?"
        )
    if name is None:
        if len(tables) > 1:
            raise AmbiguousInputError(
                f"'{objects.path}' holds several tables of ROIs: {', '.join(tables)}. Say which with table=."
            )
        return next(iter(tables.items()))
    chosen = [place for place in tables if place == name or place.rsplit("/", 1)[-1] == name]
    if len(chosen) != 1:
        raise ParameterError(f"table = {name!r} names {len(chosen)} tables of '{objects.path}'. It holds: {', '.join(tables)}.")
    return chosen[0], tables[chosen[0]]


def _fluorescence(found: dict[str, Response], name: str | None, path: Path) -> Response | None:
    if name is not None:
        chosen = [response for response in found.values() if response.name == name or response.place == name]
        if len(chosen) != 1:
            raise ParameterError(f"traces = {name!r} names {len(chosen)} series of '{path}'. It holds: {', '.join(found)}.")
        return chosen[0]
    raw = [response for response in found.values() if response.role == "F"]
    if len(raw) > 1:
        listed = ", ".join(response.place for response in raw)
        raise AmbiguousInputError(f"'{path}' holds several fluorescences of its ROIs: {listed}. Say which with traces=.")
    return raw[0] if raw else None


def _others(
    found: dict[str, Response], chosen: Response, rows: np.ndarray, n_frames: int, path: Path, findings: list[Finding]
) -> dict[str, np.ndarray]:
    """Read all other series that have the same ROIs and frames; name those that have not."""
    others: dict[str, np.ndarray] = {}
    for response in found.values():
        if response is chosen:
            continue
        values, kept = read_response(response, rows, path)
        name = response.name if response.role == "F" else response.role
        if len(kept) == len(rows) and values.shape[1] == n_frames and name not in (*others, "F"):
            others[name] = values
        else:
            message = f"'{response.place}' has other ROIs or frames than '{chosen.place}', or its name: it is left out."
            findings.append(Finding("other-series", message, where=str(path)))
    return others


def _axes_finding(path: Path, axes: str, by_suite2p: bool) -> Finding:
    reason = "as Suite2p's own export writes it" if by_suite2p else "as NWB prescribes; some programs write y first"
    return Finding(
        "axes-assumed",
        f"Masks are taken to count {'y' if axes == 'yx' else 'x'} first, {reason}.",
        severity="info",
        where=str(path),
        advice="Compare the ROIs with the mean image; give axes='xy' or 'yx' where they are mirrored.",
    )


def _imaged_shape(objects: NwbObjects, axes: str) -> tuple[int, int] | None:
    """Return the frame size of the only imaging series, ``dimension`` being (x, y), or None."""
    sizes = set()
    for group in objects.of_type("TwoPhotonSeries", "OnePhotonSeries").values():
        dimension = hdf5.find(group, "dimension")
        if dimension is not None and dimension.shape == (2,) and dimension.dtype.kind in "iu":
            first, second = (int(size) for size in dimension[()])
            sizes.add((second, first) if axes == "xy" else (first, second))
    return sizes.pop() if len(sizes) == 1 and min(min(size) for size in sizes) > 0 else None


def _columns(rows: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame({"table_row": rows})
