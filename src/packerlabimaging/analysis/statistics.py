"""Statistics over stims: the signed-rank test for many ROIs at once, corrections for many tests, what n stims can show.

The unit of replication is the stim, never the frame. Every function leaves NaN out and returns NaN where nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from packerlabimaging.errors import ParameterError

_EXACT_UP_TO = 50
_ENUMERATE_UP_TO = 13
"""Where scipy's ``wilcoxon(method="auto")`` switches from exact to approximate, without and with ties or zeros."""


def wilcoxon_signed_rank(differences: np.ndarray) -> np.ndarray:
    """Test in each row whether paired differences lie symmetrically around zero (Wilcoxon 1945).

    Parameters
    ----------
    differences
        Post minus pre, shape ``(n_rois, n_stims)``. NaN is left out; zeros are dropped before ranking (Wilcoxon's rule).

    Returns
    -------
    numpy.ndarray
        Two-sided p value of each row, shape ``(n_rois,)``: equal to ``scipy.stats.wilcoxon`` of the row (``method="auto"``).
        1 where all differences are zero, NaN where there are none.

    Notes
    -----
    Exact for up to 50 stims without ties and zeros, by enumeration for up to 13 with them, otherwise by the normal
    approximation with tie correction. The test assumes *symmetric* differences. Calcium transients rise fast and decay
    slowly, so that without any response most differences are slightly negative and few are large and positive: at many
    stims this test finds suppression that is not there. Trust its excitation, not its suppression.
    """
    d = np.array(differences, dtype=np.float64)
    if d.ndim != 2:
        raise ParameterError(f"differences has {d.ndim} dimensions. Expected 2: (n_rois, n_stims).")
    n_given = np.sum(~np.isnan(d), axis=1)
    zeros = d == 0
    d[zeros] = np.nan
    n = np.sum(~np.isnan(d), axis=1)
    order = np.argsort(np.abs(d), axis=1)
    positive = np.take_along_axis(d > 0, order, axis=1)
    ordered = np.take_along_axis(np.abs(d), order, axis=1)
    tied = np.any(ordered[:, 1:] == ordered[:, :-1], axis=1)
    rank_sums = positive @ np.arange(1.0, d.shape[1] + 1)
    p = np.full(len(d), np.nan)
    exact = (n_given <= _EXACT_UP_TO) & ~tied & ~zeros.any(axis=1) & (n > 0)
    for count in np.unique(n[exact]):
        rows = exact & (n == count)
        p[rows] = _exact_p(rank_sums[rows], int(count))
    few = ~exact & (n_given <= _ENUMERATE_UP_TO) & (n > 0)
    for row in np.flatnonzero(few):
        p[row] = _enumerated_p(d[row][~np.isnan(d[row])])
    normal = ~exact & ~few & (n > 0)
    for row in np.flatnonzero(normal & tied):
        p[row] = _normal_p(*_tied_ranks(d[row][~np.isnan(d[row])]))
    untied = normal & ~tied
    p[untied] = _normal_p(rank_sums[untied], n[untied])
    p[(n == 0) & (n_given > 0)] = 1.0
    return p


@lru_cache(maxsize=64)
def _cumulative_counts(n: int) -> np.ndarray:
    """Number of sign patterns of ranks 1..n whose positive rank sum is at most w, divided by 2^n, for each w."""
    probability = np.zeros(n * (n + 1) // 2 + 1)
    probability[0] = 1.0
    for rank in range(1, n + 1):
        probability[rank:] += probability[:-rank].copy()
        probability *= 0.5
    return np.cumsum(probability)


def _exact_p(rank_sums: np.ndarray, n: int) -> np.ndarray:
    smaller = np.minimum(rank_sums, n * (n + 1) / 2 - rank_sums).astype(np.int64)
    return np.minimum(2 * _cumulative_counts(n)[smaller], 1.0)


def _enumerated_p(values: np.ndarray) -> float:
    """All sign patterns of the (tied) ranks of the non-zero differences."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(values))
    signs = (np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks))) & 1
    null, observed = signs @ ranks, ranks[values > 0].sum()
    tail = min(np.mean(null <= observed + 1e-9), np.mean(null >= observed - 1e-9))
    return min(2 * float(tail), 1.0)


def _tied_ranks(values: np.ndarray) -> tuple[float, int, float]:
    """Return the positive rank sum, the number of differences, and the tie correction of the variance."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(values))
    _, ties = np.unique(ranks, return_counts=True)
    return float(ranks[values > 0].sum()), len(values), float(np.sum(ties.astype(np.float64) ** 3 - ties)) / 2


def _normal_p(rank_sum: np.ndarray | float, n: np.ndarray | int, tie_correction: float = 0.0) -> np.ndarray | float:
    from scipy.special import ndtr

    n = np.asarray(n, np.float64)
    variance = (n * (n + 1) * (2 * n + 1) - tie_correction) / 24
    return 2 * ndtr(-np.abs(rank_sum - n * (n + 1) / 4) / np.sqrt(variance))


def smallest_attainable_p(n_stims: int) -> float:
    """Return the smallest two-sided p that a signed-rank test of ``n_stims`` differences can give: ``2 / 2 ** n``."""
    return min(1.0, 2.0 ** (1 - int(n_stims)))


def calls_needed(smallest_p: float, *, n_tests: int, alpha: float) -> int:
    """Return how many of ``n_tests`` ROIs must reach the smallest attainable p for Benjamini-Hochberg to call any.

    1 means that a single responding ROI can be found; more than ``n_tests``, that nothing can.
    """
    return max(1, int(np.ceil(smallest_p * n_tests / alpha - 1e-9)))


def one_sample_t_test(values: np.ndarray) -> np.ndarray:
    """Test in each row whether the mean is zero (Student's t), two-sided.

    Parameters
    ----------
    values
        Shape ``(n_rois, n_stims)``. NaN is left out.

    Returns
    -------
    numpy.ndarray
        Shape ``(n_rois,)``: equal to ``scipy.stats.ttest_1samp``; 1 where all values are zero, NaN with fewer than two.
    """
    from scipy.special import stdtr

    values = np.asarray(values, np.float64)
    there = ~np.isnan(values)
    n = there.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=1) / n
        variance = np.where(there, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / (n - 1)
        t = np.where(mean == 0, 0.0, mean / np.sqrt(variance / n))
        p = 2.0 * stdtr(n - 1, -np.abs(t))
    return np.where(n < 2, np.nan, p)


def wilson_interval(successes: np.ndarray, n: np.ndarray, *, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of Wilson's (1927) interval of a proportion; NaN where ``n`` is 0."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    n = np.where(np.asarray(n) > 0, n, np.nan).astype(np.float64)
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def correct_for_false_alarms(
    hits: np.ndarray, n: np.ndarray, false_alarms: np.ndarray, n_shams: np.ndarray, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate the probability of a response from the share of stims that look like one.

    Parameters
    ----------
    hits, n
        Stims that look like a response, of how many, shape ``(n_rois,)``.
    false_alarms, n_shams
        The same of stims without light.

    Returns
    -------
    probability, low, high
        ``(hit rate - false-alarm rate) / (1 - false-alarm rate)``, at least 0 (Abbott 1925, J. Econ. Entomol. 18, 265): what
        light adds, where a response and a false alarm are independent. Limits from Wilson's intervals of both rates by
        the method of variance estimates recovery for ratios (Donner & Zou 2012, Stat. Methods Med. Res. 21, 347). NaN without
        shams.
    """
    missed_high, missed_low = (1.0 - limit for limit in wilson_interval(hits, n, confidence=confidence))
    quiet_high, quiet_low = (1.0 - limit for limit in wilson_interval(false_alarms, n_shams, confidence=confidence))
    with np.errstate(divide="ignore", invalid="ignore"):
        missed = 1.0 - hits / np.where(np.asarray(n) > 0, n, np.nan)
        quiet = 1.0 - false_alarms / np.where(np.asarray(n_shams) > 0, n_shams, np.nan)
        product = missed * quiet

        def limit(own: np.ndarray, other: np.ndarray, sign: float) -> np.ndarray:
            scale = other * (2 * quiet - other)
            root = np.sqrt(np.maximum(product**2 - own * scale * (2 * missed - own), 0.0))
            return (product + sign * root) / np.where(scale > 0, scale, np.nan)

        ratio = missed / np.where(quiet > 0, quiet, np.nan)
        ratio_low, ratio_high = limit(missed_low, quiet_high, -1.0), limit(missed_high, quiet_low, 1.0)
    probability, low, high = (np.clip(1.0 - value, 0.0, 1.0) for value in (ratio, ratio_high, ratio_low))
    return probability, low, high


def permutation_pvalue(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Compute one-sided permutation p values, ``(b + 1) / (B + 1)`` (Phipson & Smyth 2010).

    Parameters
    ----------
    observed
        Statistics, shape ``(n,)``; large is extreme.
    null
        Statistics under permutation, shape ``(n, B)``.

    Returns
    -------
    numpy.ndarray
        Shape ``(n,)``; NaN where the observed statistic is.
    """
    observed, null = np.asarray(observed, np.float64), np.asarray(null, np.float64)
    if null.ndim != 2 or len(null) != len(observed):
        raise ParameterError(f"null has the shape {null.shape}. Expected ({len(observed)}, number of permutations).")
    drawn = np.sum(~np.isnan(null), axis=1)
    p = (np.sum(null >= observed[:, None], axis=1) + 1) / (drawn + 1)
    return np.where(np.isnan(observed), np.nan, p)


def adjust_bonferroni(p: np.ndarray) -> np.ndarray:
    """Adjust p values by Bonferroni: times their number, at most 1. NaN stays and does not count."""
    p = np.asarray(p, np.float64)
    return np.minimum(p * np.sum(~np.isnan(p)), 1.0)


def adjust_bh(p: np.ndarray) -> np.ndarray:
    """Adjust p values by Benjamini & Hochberg (1995): the smallest FDR at which each is called. NaN stays, uncounted."""
    return _step_up(p, lambda m: 1.0)


def adjust_by(p: np.ndarray) -> np.ndarray:
    """Adjust p values by Benjamini & Yekutieli (2001), valid under any dependence. NaN stays and does not count."""
    return _step_up(p, lambda m: float(np.sum(1.0 / np.arange(1, m + 1))))


def _step_up(p: np.ndarray, penalty: Callable[[int], float]) -> np.ndarray:
    p = np.asarray(p, np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    if len(tested) == 0:
        return adjusted
    m = len(tested)
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * m * penalty(m) / np.arange(1, m + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
