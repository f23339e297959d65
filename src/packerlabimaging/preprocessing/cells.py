"""From a segmentation to the ``cells`` table: neuropil, dF/F, noise, artefacts, provenance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._check import check_length
from packerlabimaging._provenance import record
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.schema import make_cells_table
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import ParameterError
from packerlabimaging.preprocessing.dff import DffSettings, compute_dff
from packerlabimaging.preprocessing.neuropil import NeuropilSettings, neuropil_offset, subtract_neuropil
from packerlabimaging.preprocessing.noise import compute_noise

if TYPE_CHECKING:
    from anndata import AnnData

_DARK_LEVEL_UNKNOWN = Finding(
    "dark-level-unknown",
    "The value of a pixel without light is not known and taken as 0. Where the digitiser has an offset, dF/F is too small.",
    severity="info",
    advice="Give it, e.g. the mean of some frames with the shutter closed: [trial.dff] dark_level = ...",
)


def build_cells(
    segmentation: Segmentation,
    *,
    trial: str,
    clock: FrameClock,
    metadata: ImagingMetadata,
    artefact: np.ndarray | None = None,
    neuropil: NeuropilSettings | None = None,
    dff: DffSettings | None = None,
) -> AnnData:
    """Build the ``cells`` table of one trial.

    Parameters
    ----------
    segmentation
        ROIs and traces of this trial only (see ``Segmentation.of_trial``).
    trial
        Id of the trial.
    clock
        Times of its frames.
    metadata
        Gives the pixel size.
    artefact
        Frames that stimulation light reached, boolean ``(n_frames,)``; none by default. They are left out of neuropil fit,
        F0 and noise, and are NaN in X and ``spks``; the layers F and Fneu keep them as recorded.
    neuropil, dff
        Settings; the defaults of :class:`NeuropilSettings` and :class:`DffSettings`.

    Returns
    -------
    anndata.AnnData
        ROIs x frames. X: dF/F as a fraction. layers: ``F``, and where they exist ``Fneu``, ``spks``
        and the engine's other traces by their names; ``F0`` where it
        varies in time (otherwise ``obs["f0"]``). obs, besides the schema's and the engine's columns: ``noise`` (%/sqrt(Hz)),
        ``f0_low`` (F0 within the noise of zero), ``neuropil_coefficient`` (0 where there is no Fneu) and ``offset``: dF/F is
        of ``F - neuropil_coefficient * Fneu + offset``, which takes off the dark level and, where it is asked for, adds the
        neuropil at rest back (``NeuropilSettings.rebaseline``). var: ``artefact``.
        ``uns["packerlabimaging"]["neuropil_subtracted"]`` says whether there was an Fneu.

    Raises
    ------
    ParameterError
        If the traces and the clock, or the mask, differ in their number of frames.
    """
    neuropil, dff = neuropil or NeuropilSettings(), dff or DffSettings()
    if segmentation.n_frames != clock.n_frames:
        raise ParameterError(
            f"The traces of trial '{trial}' have {segmentation.n_frames} frames and its frame clock {clock.n_frames}. "
            "Both must be of the same frames. Check which frames the segmentation belongs to and how the clock was matched."
        )
    mask = np.zeros(clock.n_frames, bool) if artefact is None else np.asarray(artefact, bool)
    check_length("artefact", mask, clock.n_frames, per="frame")
    corrected, coefficients, offset = _correct(segmentation, neuropil, mask, dark_level=dff.dark_level or 0.0)
    result = compute_dff(
        corrected,
        rate_hz=clock.rate_hz,
        baseline=dff.baseline,
        percentile=dff.percentile,
        window_s=dff.window_s,
        exclude=mask,
        floor=dff.floor,
    )
    layers, columns = _layers(segmentation, mask), _engine_columns(segmentation)
    columns["noise"] = compute_noise(result.dff, rate_hz=clock.rate_hz, exclude=mask)
    columns["f0_low"] = result.low_baseline
    columns["neuropil_coefficient"], columns["offset"] = coefficients, offset
    if result.f0.shape == result.dff.shape:
        layers["F0"] = result.f0
    else:
        columns["f0"] = result.f0[:, 0]
    if dff.artefact == "nan":
        result.dff[:, mask] = np.nan
    table = make_cells_table(
        result.dff,
        rois=segmentation.rois,
        clock=clock,
        trial=trial,
        layers=layers,
        artefact=mask,
        metadata=metadata,
        iscell=segmentation.iscell,
        obs=columns,
        uns={
            "engine": segmentation.engine,
            "neuropil_subtracted": segmentation.Fneu is not None,
            "dark_level": dff.dark_level or 0.0,
            "findings": [] if dff.dark_level is not None else [json.dumps(_DARK_LEVEL_UNKNOWN.to_dict())],
        },
    )
    record(table, "pp.build_cells", trial=trial, neuropil=neuropil, dff=dff, source=segmentation.source)
    return table


def _correct(
    segmentation: Segmentation, neuropil: NeuropilSettings, mask: np.ndarray, *, dark_level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return corrected traces, ``F - coefficient * Fneu + offset``, with the coefficient and the offset of each ROI."""
    offset = np.full(len(segmentation.rois), -dark_level)
    if segmentation.Fneu is None:
        return segmentation.F - np.float32(dark_level), np.zeros(len(offset)), offset
    corrected, coefficients = subtract_neuropil(segmentation.F, segmentation.Fneu, coefficient=neuropil.coefficient, exclude=mask)
    if neuropil.rebaseline:
        offset += neuropil_offset(segmentation.Fneu, coefficients, exclude=mask)
    else:
        offset += coefficients * dark_level  # the neuropil's own dark level must not be subtracted from the cell
    corrected += offset[:, None].astype(np.float32)
    return corrected, coefficients, offset


def _layers(segmentation: Segmentation, mask: np.ndarray) -> dict[str, np.ndarray]:
    layers = {"F": segmentation.F, **segmentation.other_traces}
    if segmentation.Fneu is not None:
        layers["Fneu"] = segmentation.Fneu
    if segmentation.spks is not None:
        spks = np.array(segmentation.spks, np.float32)
        spks[:, mask] = np.nan
        layers["spks"] = spks
    return layers


def _engine_columns(segmentation: Segmentation) -> Any:
    import pandas as pd

    ids = pd.Index(segmentation.rois.ids, dtype=object)
    return pd.DataFrame(index=ids) if segmentation.obs is None else segmentation.obs.set_axis(ids, axis=0).copy()
