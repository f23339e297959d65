"""All-optical experiments: two-photon imaging with holographic photostimulation of targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from packerlabimaging import analysis as tl
from packerlabimaging import preprocessing as pp
from packerlabimaging.analysis import ResponseSettings, TargetingSettings, TargetMatch
from packerlabimaging.analysis.sync import SyncAudit
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import rois_of
from packerlabimaging.core.streaming import Reducer, RoiTraces
from packerlabimaging.errors import MissingInputError
from packerlabimaging.trials.inputs import PhotostimInput
from packerlabimaging.trials.settings import ArtefactSettings
from packerlabimaging.trials.two_photon import TwoPhotonImagingTrial

if TYPE_CHECKING:
    from anndata import AnnData


class AllOpticalTrial(TwoPhotonImagingTrial):
    """A two-photon imaging recording with holographic photostimulation.

    Further inputs are ``photostim``, the protocol (e.g. a NAPARM folder), and ``sync`` must hold the trigger pulses.

    Further results are ``targets`` (targets x stims: which ROI each target hit, what its disc of pixels did) and
    ``responses`` (ROIs x stims: scores, and per ROI whether it responded).
    """

    steps: ClassVar[tuple[str, ...]] = (*TwoPhotonImagingTrial.steps, "targets", "responses")
    sections: ClassVar[Mapping[str, type]] = {
        **TwoPhotonImagingTrial.sections,
        "artefacts": ArtefactSettings,
        "targets": TargetingSettings,
        "responses": ResponseSettings,
    }

    photostim = PhotostimInput(required=True, help="the photostimulation protocol")

    @property
    def artefact(self) -> np.ndarray:
        """Frames that stimulation light reached, with guard frames, boolean ``(n_frames,)``."""
        audit = self.sync
        assert audit.light is not None  # make_sync always passes a protocol
        return pp.compute_artefact_mask(audit.clock, audit.light, guard_frames=self.settings["artefacts"].guard_frames)

    @property
    def targets(self) -> AnnData:
        """Table of targets x stims."""
        return self.result("targets")

    @property
    def responses(self) -> AnnData:
        """Table of ROIs x stims."""
        return self.result("responses")

    @property
    def target_discs(self) -> RoiSet:
        """The light's disc on each target, in pixels of the movie."""
        protocol, metadata = self.photostim, self.metadata
        size_um = metadata.pixel_size_um
        if size_um is None:
            raise MissingInputError(
                f"The pixel size of trial '{self.id}' is not known, so its targets can't be placed. "
                "Give it: settings={'metadata': {'pixel_size_um': (y, x)}}, or in the experiment file [trial.metadata] pixel_size_um = [y, x]."
            )
        return tl.target_discs(protocol, frame_shape_px=metadata.frame_shape_px, pixel_size_um=size_um)

    def match_targets(self) -> TargetMatch:
        """Match the targets to the ROIs of the cells table."""
        return tl.match_targets(
            self.photostim, rois_of(self.cells), pixel_size_um=self.metadata.pixel_size_um, settings=self.settings["targets"]
        )

    def make_sync(self) -> SyncAudit:
        """Audit frame clock and stimulation against the protocol."""
        return self.audit(stim=self.role("sync", "stim"), protocol=self.photostim)

    def make_reducers(self) -> dict[str, Reducer]:
        """Add the traces of the target discs."""
        return {**super().make_reducers(), "targets": RoiTraces(self.target_discs)}

    def make_targets(self) -> AnnData:
        """Match targets to ROIs and score the response of each target's own pixels."""

    def make_responses(self) -> AnnData:
        """Score every ROI's response to every stim and call responders."""
