"""Neuropil: the out-of-focus fluorescence around a cell, scaled and taken off the cell's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from packerlabimaging._check import check_choice
from packerlabimaging._traces import check_traces, kept_frames, quantile_rows, row_blocks, take_frames
from packerlabimaging.errors import ParameterError

SUITE2P_COEFFICIENT = 0.7
"""Suite2p's default ``neucoeff`` (Pachitariu et al. 2017, bioRxiv 061507), after Chen et al. 2013 (Nature 499, 295)."""

_BISQUARE = 4.685
"""Tukey's constant: 95 % efficiency for normal noise (Beaton & Tukey 1974, Technometrics 16, 147)."""
_MAD_TO_SD = 1.4826
_N_ITERATIONS = 20


@dataclass(frozen=True, kw_only=True)
class NeuropilSettings:
    """How neuropil is subtracted; the section ``[trial.neuropil]`` of the experiment file.

    Parameters
    ----------
    coefficient
        Share of the neuropil trace to subtract, 0 to 1; Suite2p's 0.7 by default. ``"fit"`` estimates one per cell.
    rebaseline
        If false (default), ``F - coefficient * Fneu``: the neuropil's share of the light at rest is taken off too, so that dF/F
        is the cell's own, as Suite2p and most papers have it (about 0.9 of the truth on the simulated standard recording with
        its dark level given). In cells hardly brighter than their surround F0 comes near zero; ``f0_low`` flags these. If true,
        ``coefficient * median(Fneu)`` is added back, so that only the neuropil's *changes* are subtracted (as in Dalgleish
        et al. 2020, eLife 9, e58889): F0 stays well above zero, and dF/F is smaller than the cell's own (about 0.7 of it
        there). Calls of responses hardly differ.

    Raises
    ------
    ParameterError
        If the coefficient is neither ``"fit"`` nor a number from 0 to 1.
    """

    coefficient: float | Literal["fit"] = SUITE2P_COEFFICIENT
    rebaseline: bool = False

    def __post_init__(self) -> None:
        check_coefficient(self.coefficient)


def check_coefficient(coefficient: float | str) -> float | str:
    """Return a neuropil coefficient: a number from 0 to 1, or ``"fit"``.

    Raises
    ------
    ParameterError
        If it is anything else.
    """
    if isinstance(coefficient, str):
        return check_choice("neuropil coefficient", coefficient, ("fit",))
    if isinstance(coefficient, bool) or not 0 <= coefficient <= 1:
        raise ParameterError(f"neuropil coefficient = {coefficient!r} is out of range. Give a number from 0 to 1, or 'fit'.")
    return float(coefficient)


def subtract_neuropil(
    F: np.ndarray,
    Fneu: np.ndarray,
    *,
    coefficient: float | Literal["fit"] = SUITE2P_COEFFICIENT,
    exclude: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Subtract neuropil: ``F - coefficient * Fneu``.

    Parameters
    ----------
    F, Fneu
        Fluorescence of ROIs and of their surrounds, shape ``(n_rois, n_frames)``, any number type.
    coefficient
        Share to subtract, 0 to 1. ``"fit"`` takes, for each cell, the slope of a robust regression of F on Fneu
        (iteratively reweighted least squares, Tukey's bisquare, so that the cell's own transients count little), clipped
        to [0, 1]. Where it can't be told (constant Fneu, fewer than 3 frames) it is 0.7.
    exclude
        Frames left out of the fit (artefacts), boolean ``(n_frames,)``. They are subtracted like all others.

    Returns
    -------
    corrected
        float32, shape ``(n_rois, n_frames)``. NaN where F or Fneu is.
    coefficients
        The coefficient of each ROI, shape ``(n_rois,)``, float64.

    Raises
    ------
    ParameterError
        If shapes differ or the coefficient is out of range.

    Notes
    -----
    A fitted coefficient is biased where the cell's activity goes with its surround's, and by bleaching that both share;
    look at its spread before trusting it. The fixed 0.7 is wrong by another amount in every cell, but by the same rule.
    """
    F, Fneu = check_traces("F", F), check_traces("Fneu", Fneu)
    if F.shape != Fneu.shape:
        raise ParameterError(f"F has the shape {F.shape} and Fneu {Fneu.shape}. Give one neuropil trace per ROI.")
    value = check_coefficient(coefficient)
    n_rois, n_frames = F.shape
    kept = kept_frames(exclude, n_frames)
    corrected = np.empty(F.shape, np.float32)
    coefficients = np.full(n_rois, SUITE2P_COEFFICIENT if isinstance(value, str) else value)
    for rows in row_blocks(n_rois, n_frames):
        if value == "fit":
            slopes = _robust_slopes(take_frames(Fneu[rows], kept), take_frames(F[rows], kept))
            coefficients[rows] = np.where(np.isnan(slopes), SUITE2P_COEFFICIENT, np.clip(slopes, 0.0, 1.0))
        np.subtract(F[rows], coefficients[rows, None].astype(np.float32) * Fneu[rows], out=corrected[rows], casting="unsafe")
    return corrected, coefficients


def neuropil_offset(Fneu: np.ndarray, coefficients: np.ndarray, *, exclude: np.ndarray | None = None) -> np.ndarray:
    """Return ``coefficient * median(Fneu)`` of each ROI, shape ``(n_rois,)``: what re-baselining adds back.

    ``exclude`` marks frames that are left out of the median. 0 where Fneu has no finite value.
    """
    Fneu = check_traces("Fneu", Fneu)
    kept = kept_frames(exclude, Fneu.shape[1])
    medians = np.zeros(len(Fneu))
    for rows in row_blocks(*Fneu.shape):
        medians[rows] = quantile_rows(take_frames(Fneu[rows], kept), 0.5)
    return np.nan_to_num(coefficients * medians)


def _robust_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slope of y on x in each row by bisquare-weighted least squares; NaN where x does not vary."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    good = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(good, x, 0.0), np.where(good, y, 0.0)
    weights = good.astype(np.float64)
    slopes = np.full(len(x), np.nan)
    if x.shape[1] < 3:
        return slopes
    for _ in range(_N_ITERATIONS):
        total = np.maximum(weights.sum(axis=1), 1e-12)
        x_mean, y_mean = (weights * x).sum(axis=1) / total, (weights * y).sum(axis=1) / total
        dx, dy = x - x_mean[:, None], y - y_mean[:, None]
        spread = (weights * dx**2).sum(axis=1)
        varies = spread > 1e-12 * total * np.maximum(x_mean**2, 1e-30)
        slopes = np.where(varies, (weights * dx * dy).sum(axis=1) / np.where(varies, spread, 1.0), np.nan)
        residual = np.abs(dy - np.nan_to_num(slopes)[:, None] * dx)
        scale = _MAD_TO_SD * quantile_rows(np.where(good, residual, np.nan), 0.5)
        scaled = residual / np.maximum(_BISQUARE * np.nan_to_num(scale), 1e-9 * np.abs(y_mean) + 1e-12)[:, None]
        weights = np.where(good & (scaled < 1), (1 - np.minimum(scaled, 1.0) ** 2) ** 2, 0.0)
    return slopes
