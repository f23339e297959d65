"""Thresholds for single stims from catch stims: how far a score must lie from a ROI's scores without light.

The convention of Dalgleish et al. 2020 (eLife 9, e58889): mean plus or minus k standard deviations of each ROI's catch scores,
with one k per session and sign, chosen by cross-validation so that 5 % of the held-out catch scores pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.errors import ParameterError

FALSE_POSITIVE_RATE = 0.05
"""Share of the session's ROIs and catch stims that may pass, for each sign."""
SCALES = np.round(np.arange(1.0, 3.05, 0.1), 1)
"""k that are tried."""
N_SPLITS = 1000
"""Random splits of the catch stims; the paper's code draws 10,000."""
TRAINING_SHARE = 0.8
FEWEST_CATCH = 5
"""With fewer catch stims nothing is calibrated."""
FEW_CATCH = 10
"""With fewer catch stims the rate is uncertain."""


@dataclass(frozen=True, eq=False)
class CatchThresholds:
    """Thresholds of one session.

    Parameters
    ----------
    low, high
        A score below or above is a response, suppressed or excited, shape ``(n_rois,)``.
    scale_low, scale_high
        The k of each sign.
    n_catch
        Catch stims that they rest on.
    """

    low: np.ndarray
    high: np.ndarray
    scale_low: float
    scale_high: float
    n_catch: int


def calibrate_thresholds(
    scores: np.ndarray, *, rng: np.random.Generator, false_positive_rate: float = FALSE_POSITIVE_RATE
) -> CatchThresholds:
    """Choose each ROI's thresholds from its scores without light.

    Parameters
    ----------
    scores
        Scores of the catch stims, shape ``(n_rois, n_catch)``. Catch stims without any score and ROIs with NaN in what is left
        do not take part; the latter have NaN thresholds.
    rng
        Draws the splits.
    false_positive_rate
        Share of the held-out catch scores, over all ROIs, that may pass, for each sign.

    Returns
    -------
    CatchThresholds
        For each sign the k, between those tried by linear interpolation, at which the median over the splits of the
        false-positive rate in the held-out fifth is ``false_positive_rate``.

    Raises
    ------
    ParameterError
        If there are fewer than ``FEWEST_CATCH`` catch stims, or no k from 1 to 3 gives the rate.

    Notes
    -----
    The rate is that of the session: single ROIs lie above and below it. Of a few held-out scores the false-positive rate is
    coarse, and its median over splits is below its mean where few ROIs take part.
    """
    scores = np.asarray(scores, np.float64)
    scores = scores[:, ~np.all(np.isnan(scores), axis=0)]
    n_catch = scores.shape[1]
    if n_catch < FEWEST_CATCH:
        raise ParameterError(
            f"There are {n_catch} catch stims (stims without light), too few to calibrate thresholds. Give at least "
            f"{FEWEST_CATCH}, marked in the column 'catch' of the stims, better {2 * FEW_CATCH}. Or override "
            "catch_source = 'sham' to take sham stims in their place, which is then said with the results."
        )
    mean, sd = scores.mean(axis=1), scores.std(axis=1, ddof=1)
    complete = np.isfinite(mean) & (sd > 0)
    rates = _held_out_rates(scores[complete], rng)
    names = ("suppression", "excitation")
    low, high = (_scale_at(rate, false_positive_rate, name) for rate, name in zip(rates, names, strict=True))
    mean[~complete] = np.nan
    return CatchThresholds(mean - low * sd, mean + high * sd, low, high, n_catch)


def _held_out_rates(scores: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the median false-positive rate at each k, of suppression and excitation."""
    n_catch = scores.shape[1]
    n_training = min(max(round(TRAINING_SHARE * n_catch), 2), n_catch - 1)
    beyond = np.zeros((2, N_SPLITS, len(SCALES)))
    for split in range(N_SPLITS):
        order = rng.permutation(n_catch)
        training, held_out = scores[:, order[:n_training]], scores[:, order[n_training:]]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (held_out - training.mean(axis=1, keepdims=True)) / training.std(axis=1, ddof=1, keepdims=True)
        for side, values in enumerate((-z, z)):
            passed = np.bincount(np.searchsorted(SCALES, values.ravel()), minlength=len(SCALES) + 1)
            beyond[side, split] = (values.size - np.cumsum(passed)[:-1]) / max(values.size, 1)
    low, high = np.median(beyond, axis=1)
    return low, high


def _scale_at(rates: np.ndarray, wanted: float, name: str) -> float:
    """Return the k at which the falling ``rates`` reach ``wanted``."""
    if not rates[-1] <= wanted <= rates[0]:
        raise ParameterError(
            f"No threshold from {SCALES[0]:g} to {SCALES[-1]:g} sd gives {wanted:.0%} false positives of {name}: the catch stims "
            f"give {rates[0]:.1%} to {rates[-1]:.1%}. "
            "Give more catch stims, or look at their scores: light or movement may be in them."
        )
    return float(np.interp(-wanted, -rates, SCALES))
