"""What segmentation gives: ROIs, their traces, and the images that they were found on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._check import check_length
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """ROIs and traces of one trial, or of several trials of one field of view run together.

    Parameters
    ----------
    rois
        All ROIs that the engine found, also those that it does not take for cells.
    F
        Fluorescence of each ROI, shape ``(n_rois, n_frames)``, float32, in the movie's units. May be a memory map.
        Without any frame where the ROIs come without traces, see :meth:`of_rois`.
    Fneu
        Neuropil fluorescence around each ROI, same shape; None where the engine gives none.
    spks
        Deconvolved activity, same shape, arbitrary units; None where the engine gives none.
    other_traces
        Further traces of the ROIs by the program's name for them, same shape: ``F_chan2``, ``F_dff``.
    iscell
        Which ROIs are taken for cells, boolean ``(n_rois,)``; all by default.
    obs
        Further columns per ROI (a pandas DataFrame, ROIs in the same order), e.g. ``iscell_probability``.
    images
        Images that the ROIs were found on, by name (``mean``, ``correlation``, ...), each ``(y, x)``.
    trial_frames
        ``{trial id: (first frame, end)}``: where each trial lies in the run; empty where it is not known.
    engine
        Name and version of what made it, e.g. ``"suite2p 1.1.0"``.
    source
        Folder that it was read from.
    findings
        What was noticed and tolerated.
    extra
        Further facts, e.g. the frame rate that the engine used. ``shifts_px``, where there, is the displacement ``(y, x)`` of
        each frame, ``(n_frames, 2)``, and is cut with the traces by :meth:`of_trial`.

    Raises
    ------
    ParameterError
        If an array does not have one row per ROI, or trials overlap or reach past the last frame.
    """

    rois: RoiSet
    F: np.ndarray
    Fneu: np.ndarray | None = None
    spks: np.ndarray | None = None
    other_traces: Mapping[str, np.ndarray] = field(default_factory=dict)
    iscell: np.ndarray | None = None
    obs: pd.DataFrame | None = None
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    trial_frames: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    engine: str = ""
    source: str = ""
    findings: tuple[Finding, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.F.ndim != 2:
            raise ParameterError(f"F has {self.F.ndim} dimensions. Expected 2: (n_rois, n_frames).")
        for name, traces in {"F": self.F, "Fneu": self.Fneu, "spks": self.spks, **self.other_traces}.items():
            if traces is not None and traces.shape != (len(self.rois), self.n_frames):
                raise ParameterError(
                    f"{name} of {self.source or 'the segmentation'} has the shape {traces.shape}. "
                    f"Expected {(len(self.rois), self.n_frames)}: one row per ROI, all ROIs included."
                )
        iscell = np.ones(len(self.rois), bool) if self.iscell is None else np.asarray(self.iscell, bool)
        check_length("iscell", iscell, len(self.rois), per="ROI")
        object.__setattr__(self, "iscell", iscell)
        if self.obs is not None:
            check_length("obs", self.obs, len(self.rois), per="ROI")
        stop_before = 0
        for trial, (start, stop) in sorted(self.trial_frames.items(), key=lambda item: item[1]):
            if not stop_before <= start <= stop <= self.n_frames:
                raise ParameterError(
                    f"Trial '{trial}' is said to be frames {start} to {stop} of {self.n_frames}, which overlaps another "
                    "trial or does not exist. Check the run's file list and frame counts."
                )
            stop_before = stop

    @classmethod
    def of_rois(cls, rois: RoiSet, **values: Any) -> Segmentation:
        """Return ROIs that come without traces, such as drawn ones or a label image; ``values`` are further parameters."""
        return cls(rois=rois, F=np.zeros((len(rois), 0), np.float32), **values)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.F.shape[1])

    @property
    def has_traces(self) -> bool:
        """False for ROIs that come without traces."""
        return self.n_frames > 0

    def of_trial(self, trial: str) -> Segmentation:
        """Return the frames of one trial, by the run's own accounting (``trial_frames``).

        Raises
        ------
        ParameterError
            If the run does not name the trial.
        """
        if trial not in self.trial_frames:
            raise ParameterError(
                f"Trial '{trial}' is not part of the segmentation {self.source}. "
                f"It holds: {', '.join(self.trial_frames) or 'no named trials'}."
            )
        part = slice(*self.trial_frames[trial])
        return replace(
            self,
            F=self.F[:, part],
            Fneu=None if self.Fneu is None else self.Fneu[:, part],
            spks=None if self.spks is None else self.spks[:, part],
            other_traces={name: traces[:, part] for name, traces in self.other_traces.items()},
            trial_frames={trial: (0, part.stop - part.start)},
            extra={name: value[part] if name == "shifts_px" else value for name, value in self.extra.items()},
        )

    def __repr__(self) -> str:
        assert self.iscell is not None
        return f"Segmentation({len(self.rois)} ROIs, {int(self.iscell.sum())} cells, {self.n_frames} frames, {self.engine})"
