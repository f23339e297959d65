"""The noise level of a trace."""

from __future__ import annotations

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging._traces import check_traces, kept_frames, quantile_rows, row_blocks


def compute_noise(dff: np.ndarray, *, rate_hz: float, exclude: np.ndarray | None = None) -> np.ndarray:
    """Compute the standardised noise level of each ROI.

    Parameters
    ----------
    dff
        dF/F as a fraction, shape ``(n_rois, n_frames)``.
    rate_hz
        Frames per second.
    exclude
        Frames to leave out (artefacts), boolean ``(n_frames,)``: every pair of neighbouring frames that touches one is
        left out, and so is every pair with a NaN.

    Returns
    -------
    numpy.ndarray
        Noise in percent per square root of hertz, shape ``(n_rois,)``, float32; NaN where no pair is left.

    Notes
    -----
    ``nu = median |dF/F[t + 1] - dF/F[t]| / sqrt(rate)`` (CASCADE: Rupprecht et al. 2021, Nature Neuroscience 24, 1324).
    About 1 is a good recording, 8 a noisy one, whatever the frame rate.

    Example
    -------
    >>> compute_noise(np.array([[0.0, 0.1, 0.0, 0.1]]), rate_hz=25.0)
    array([2.], dtype=float32)
    """
    dff = check_traces("dff", dff)
    check_positive("rate_hz", rate_hz)
    kept = kept_frames(exclude, dff.shape[1])
    first = kept[:-1][np.diff(kept) == 1]
    noise = np.empty(len(dff), np.float32)
    for rows in row_blocks(*dff.shape):
        block = dff[rows].astype(np.float32, copy=False)
        steps = np.diff(block) if len(first) == block.shape[1] - 1 else block[:, first + 1] - block[:, first]
        noise[rows] = quantile_rows(np.abs(steps, out=steps), 0.5)
    return noise * np.float32(100.0 / np.sqrt(rate_hz))
