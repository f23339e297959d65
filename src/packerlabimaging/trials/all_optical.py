"""All-optical experiments: two-photon imaging with holographic photostimulation of targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from packerlabimaging import analysis as tl
from packerlabimaging import preprocessing as pp
from packerlabimaging._check import check_choice
from packerlabimaging.analysis import ResponseSettings, Sta, StaSettings, TargetingSettings, TargetMatch
from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import rois_of
from packerlabimaging.core.streaming import Reducer, RoiTraces
from packerlabimaging.errors import ConfigError, SyncError
from packerlabimaging.trials.inputs import PhotostimInput
from packerlabimaging.trials.settings import ArtefactSettings, PlaneSettings
from packerlabimaging.trials.two_photon import TwoPhotonImagingTrial

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


class AllOpticalTrial(TwoPhotonImagingTrial):
    """A two-photon imaging recording with holographic photostimulation.

    Further inputs are ``photostim``, the protocol (e.g. a NAPARM folder), and ``sync`` must hold the trigger pulses.

    Further results are ``targets`` (targets x stims: which ROI each target hit, what its disc of pixels did) and
    ``responses`` (ROIs x stims: scores, and per ROI whether it responded).
    """

    steps: ClassVar[tuple[str, ...]] = (*TwoPhotonImagingTrial.steps, "targets", "responses")
    versions: ClassVar[Mapping[str, int]] = {**TwoPhotonImagingTrial.versions, "targets": 2, "responses": 2}
    sections: ClassVar[Mapping[str, type]] = {
        **TwoPhotonImagingTrial.sections,
        "artefacts": ArtefactSettings,
        "plane": PlaneSettings,
        "targeting": TargetingSettings,
        "responses": ResponseSettings,
    }

    photostim = PhotostimInput(required=True, help="the photostimulation protocol")

    @property
    def artefact(self) -> np.ndarray:
        """Frames that stimulation light reached, with guard frames, boolean ``(n_frames,)``.

        Raises
        ------
        SyncError
            If there are no stimulation times, also where the findings that say so were accepted.
        """
        audit = self.sync
        if audit.light is None:
            faults = "\n".join(
                f"- {finding.code}: {finding.message}" for finding in audit.findings if finding.severity == "error"
            )
            raise SyncError(
                f"Trial '{self.id}' has no stimulation times, and no finding can be accepted in their place:\n{faults}\n"
                "Mend the input, name the channel of the triggers, or analyse the trial as a TwoPhotonImagingTrial."
            )
        return pp.compute_artefact_mask(audit.clock, audit.light, guard_frames=self.settings["artefacts"].guard_frames)

    @property
    def stims(self) -> pd.DataFrame:
        """Stims of the protocol, as the audit lists them; those of further channels are left out."""
        stims = self.sync.stims
        return stims[stims["channel"] == next(iter(self.sync.triggers), None)]

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
        """The disc of light on each target within the movie's frames, in pixels of the movie."""
        metadata = self.metadata
        return tl.target_discs(self.photostim, frame_shape_px=metadata.frame_shape_px, pixel_size_um=metadata.pixel_size_um)

    @property
    def discs_in_plane(self) -> RoiSet:
        """The target discs of the imaged plane: ROIs for an engine that takes some."""
        discs, metadata = self.target_discs, self.metadata
        depths = dict(zip(self.photostim.target_ids, self.photostim.targets_px[:, 0], strict=True))
        away_um = np.abs([depths[target] - self._plane_z_um(metadata.n_planes) for target in discs.ids])
        return discs.subset(away_um <= self.settings["targeting"].axial_gate_um)

    def match_targets(self) -> TargetMatch:
        """Match the targets of the imaged plane to the ROIs of the cells table.

        Raises
        ------
        ConfigError
            If the plane is one of a volume, and its depth on the scale of the targets' z was not given.
        """
        cells = self.cells
        rois = rois_of(cells)
        assert rois.planes is not None
        n_planes = max(self.metadata.n_planes, int(rois.planes.max(initial=0)) + 1)
        return tl.match_targets(
            self.photostim,
            rois,
            pixel_size_um=self.metadata.pixel_size_um,
            iscell=cells.obs["iscell"].to_numpy(bool),
            plane_z_um=(self._plane_z_um(n_planes),) * n_planes,
            settings=self.settings["targeting"],
        )

    def sta(
        self,
        *,
        kinds: Literal["all", "group"] | Sequence[str | int] = "all",
        settings: StaSettings | None = None,
        artefacts: Literal["nan", "keep"] = "nan",
        progress: bool = False,
    ) -> Sta:
        """Average the raw movie around the stims: computed anew, not stored; :func:`packerlabimaging.export.write_sta` writes it.

        Parameters
        ----------
        kinds
            ``"all"``: all stims are of one kind. ``"group"``: each group of targets is, from its own first light. Or the kind
            of each stim, in their order.
        settings
            Windows; STAMovieMaker's by default, with the trial's dark level.
        artefacts
            ``"nan"``: frames that stimulation light reached are left out; ``"keep"``: they are averaged.
        """
        check_choice("artefacts", artefacts, ("nan", "keep"))
        if isinstance(kinds, str):
            check_choice("kinds", kinds, ("all", "group"))
            stims, of = (self.sync.rows, self.sync.rows["group"].tolist()) if kinds == "group" else (self.stims, None)
        else:
            stims, of = self.stims, list(kinds)
        return tl.compute_sta(
            self.movie,
            self.frame_clock,
            stims["onset_s"].to_numpy(np.float64),
            kinds=of,
            settings=settings or StaSettings(dark_level=self.settings["dff"].dark_level or 0.0),
            exclude=self.artefact if artefacts == "nan" else None,
            progress=progress,
        )

    def make_sync(self) -> SyncAudit:
        """Audit frame clock and stimulation against the protocol."""
        return self.audit(stim=self.role("sync", "stim"), protocol=self.photostim)

    def _can_go_on(self) -> bool:
        return super()._can_go_on() and self.sync.light is not None

    def make_reducers(self) -> dict[str, Reducer]:
        """Add the traces of the target discs."""
        return {**super().make_reducers(), "targets": RoiTraces(self.target_discs)}

    def _plane_z_um(self, n_planes: int) -> float:
        """Return the depth of the imaged plane on the scale of the targets' z."""
        z_um = self.settings["plane"].z_um
        if z_um is None and n_planes > 1:
            known = ", ".join(f"{z:g}" for z in np.unique(self.photostim.targets_px[:, 0])[:9])
            depths = ", ".join(f"{z:g}" for z in self.metadata.plane_z_um or ()) or "unknown"
            raise ConfigError(
                f"Trial '{self.id}' is one of {n_planes} planes, and which of the targets are in it can't be told. Say how deep "
                f"it is on the scale of the targets' z: [trial.plane] z_um = ... in the experiment file, settings={{'plane': "
                f"{{'z_um': ...}}}} in Python. The targets' z: {known} um; the planes' depths in the movie's metadata: {depths}."
            )
        return z_um or 0.0

    def make_targets(self) -> AnnData:
        """Match targets to ROIs, and score the response of each target's own disc of the raw movie."""
        if not self.has_input("movie"):
            raise self.declared_inputs["movie"].missing(self)  # an adopted segmentation has no pixels of the targets
        responses, match = self.settings["responses"], self.match_targets()
        return tl.compute_target_responses(
            self._target_traces(match) - np.float32(self.settings["dff"].dark_level or 0.0),
            self.frame_clock,
            self.stims,
            match,
            self.photostim,
            preset=responses.preset,
            overrides=responses.overrides,
            artefact=self.artefact,
            trial=self.id,
        )

    def _target_traces(self, match: TargetMatch) -> np.ndarray:
        """Return the trace of every target's disc, ``(n_targets, n_frames)``; NaN where a target is not in the movie's plane."""
        traces, targets = self.traces["targets"], self.photostim.target_ids
        found = np.full((len(targets), traces.shape[1]), np.nan, np.float32)
        found[[targets.index(target) for target in self.target_discs.ids]] = traces
        found[~match.targets["in_plane"]] = np.nan
        return found

    def make_responses(self) -> AnnData:
        """Score every ROI's response to every stim and call the ROIs that respond, within each population."""
        responses = self.settings["responses"]
        return tl.compute_responses(
            self.cells,
            self.stims,
            preset=responses.preset,
            overrides=responses.overrides,
            populations=self.match_targets().rois["population"],
        )
