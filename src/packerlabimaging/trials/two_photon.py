"""Two-photon calcium imaging: from a movie (or an existing segmentation) to a table of cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from packerlabimaging import preprocessing as pp
from packerlabimaging._check import did_you_mean
from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.analysis.sync import ImagedFrames, audit_sync
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.core.streaming import FovTrace, Projections, Reducer, stream
from packerlabimaging.errors import MissingInputError, SyncError
from packerlabimaging.preprocessing import DffSettings, NeuropilSettings
from packerlabimaging.trials.inputs import MovieInput, SyncInput
from packerlabimaging.trials.results import PixelResults
from packerlabimaging.trials.settings import MetadataSettings, SyncSettings
from packerlabimaging.trials.trial import Trial

if TYPE_CHECKING:
    from anndata import AnnData

_ACCEPT = (
    "Mend the input, or accept a finding that you have checked, by its code: [trial.sync] accept = [...] in the experiment "
    "file, settings={'sync': {'accept': [...]}} in Python."
)


class TwoPhotonImagingTrial(Trial):
    """A two-photon calcium imaging recording.

    Inputs are ``movie`` (not needed where an existing segmentation is adopted) and ``sync``, signals that hold the frame
    clock; without it the frame times come from the acquisition program, or from its nominal rate, and findings say so.

    Results are ``sync`` (a :class:`~packerlabimaging.analysis.audit.SyncAudit`), ``images`` and ``traces`` of the raw movie,
    ``segmentation``, and ``cells``: an AnnData of ROIs x frames with dF/F in ``X``.
    """

    steps: ClassVar[tuple[str, ...]] = ("sync", "images", "segmentation", "cells")
    versions: ClassVar[Mapping[str, int]] = {"sync": 2}
    sections: ClassVar[Mapping[str, type]] = {
        "metadata": MetadataSettings,
        "sync": SyncSettings,
        "neuropil": NeuropilSettings,
        "dff": DffSettings,
    }

    movie = MovieInput(help="the t-series")
    signals = SyncInput(name="sync", help="signals with the frame clock")

    # facts

    @property
    def metadata(self) -> ImagingMetadata:
        """How the movie was taken: from its reader, or from an adopted segmentation, overridden by the settings."""
        by_hand = self.settings["metadata"]
        found = self.movie.metadata if self.has_input("movie") else self._adopted_metadata()
        changes: dict[str, Any] = {}
        if by_hand.frame_rate_hz is not None:
            changes |= {"frame_rate_hz": by_hand.frame_rate_hz, "frame_rate_source": "given"}
        if by_hand.pixel_size_um is not None:
            changes["pixel_size_um"] = by_hand.pixel_size_um
        if by_hand.indicator_decay_s is not None:
            changes["indicator_decay_s"] = by_hand.indicator_decay_s
        return found.replace(**changes) if changes else found

    def _adopted_metadata(self) -> ImagingMetadata:
        adopted = self.adopted_segmentation()
        if adopted is None:
            raise MissingInputError(
                f"Trial '{self.id}' has neither a movie nor a segmentation. Pass inputs={{'movie': 'path'}}, or run the "
                "experiment with segmentation='path/to/suite2p' to adopt an existing one."
            )
        rate = adopted.extra.get("rate_hz")
        return ImagingMetadata(
            frame_shape_px=adopted.rois.frame_shape_px,
            n_frames=adopted.n_frames,
            frame_rate_hz=rate,
            frame_rate_source=None if rate is None else "nominal",
        )

    @property
    def frame_clock(self) -> FrameClock:
        """When each frame was taken."""
        return self.sync.clock

    @property
    def artefact(self) -> np.ndarray:
        """Frames that stimulation light reached, boolean ``(n_frames,)``: none without stimulation."""
        return np.zeros(self.frame_clock.n_frames, bool)

    # results

    @property
    def sync(self) -> SyncAudit:
        """The audited synchronisation."""
        return self.result("sync")

    @property
    def images(self) -> Mapping[str, np.ndarray]:
        """Images of the raw movie (``mean``, ``max``, ``std``) and those that the segmentation made."""
        found = dict(self.result("images").images) if self.has("images") else {}
        if self.has("segmentation"):
            found |= {f"segmentation_{name}": image for name, image in self.segmentation.images.items()}
        return found

    @property
    def traces(self) -> Mapping[str, np.ndarray]:
        """Traces of the raw movie: ``fov``, the mean of all pixels, ``(n_frames,)``."""
        traces: Mapping[str, np.ndarray] = self.result("images").traces
        return traces

    @property
    def segmentation(self) -> Segmentation:
        """ROIs and traces of this trial's frames."""
        segmentation: Segmentation = self.result("segmentation")
        return segmentation

    @property
    def cells(self) -> AnnData:
        """Table of ROIs x frames; ``X`` is dF/F as a fraction, the layers stay on disk until they are used."""
        return self.result("cells")

    # steps

    def make_sync(self) -> SyncAudit:
        """Audit the synchronisation: frame times, and what looks wrong."""
        return self.audit()

    def audit(self, **stimulation: Any) -> SyncAudit:
        """Audit anew, for the hook ``make_sync``; the audit that was stored is ``trial.sync``.

        ``stimulation`` goes to :func:`~packerlabimaging.tl.audit_sync`; without it no stims are looked for.
        """
        plane = self.inputs["movie"].options.get("plane") or 0 if "movie" in self.inputs else 0
        if self.has_input("movie"):
            frames = ImagedFrames.of(self.movie, metadata=self.metadata, plane=plane)
        else:
            frames = ImagedFrames.described(self.metadata)
        for role in ("frame_clock", "stim") if "stim" in stimulation else ("frame_clock",):
            self._check_channels(role)
        return audit_sync(
            self.signals if self.has_input("sync") else None,
            frames,
            frame_clock=self.role("sync", "frame_clock"),
            block=self.settings["sync"].block,
            active_low=self.settings["sync"].active_low,
            **stimulation,
        )

    def _check_channels(self, role: str) -> None:
        """Raise if a channel that was named for a role of the input ``sync`` is not in it."""
        if not self.has_input("sync"):
            return
        named = self.role("sync", role)
        for name in [named] if isinstance(named, str) else named or ():
            if name not in self.signals:
                raise MissingInputError(
                    f"Trial '{self.id}': '{self.inputs['sync'].path}' has no channel '{name}' to be its {role}."
                    f"{did_you_mean(name, self.signals)} Its channels: {', '.join(self.signals) or 'none'}. Name the right one: "
                    f"sync = {{ path = ..., options = {{ {role} = '...' }} }} in the experiment file."
                )

    def check_result(self, step: str) -> None:
        """Stop the trial where the synchronisation failed, unless the user accepts the findings."""
        if step != "sync":
            return
        findings, accepted = self.sync.findings, self.settings["sync"].accept
        faults = [finding for finding in findings if finding.severity == "error" and finding.code not in accepted]
        if faults:
            besides = [finding for finding in findings if finding.severity == "warning"]
            lines = [f"The synchronisation of trial '{self.id}' failed:"]
            lines += [f"- {finding.code}: {finding.message} {finding.advice}".rstrip() for finding in faults]
            lines += ["Noticed besides:"] * bool(besides)
            lines += [f"- {finding.code}: {finding.message}" for finding in besides]
            lines += [_ACCEPT if self._can_go_on() else "Mend the input: there is no answer that could be accepted."]
            raise SyncError("\n".join(lines))

    def _can_go_on(self) -> bool:
        """Say whether the audit has an answer that the later steps could use, if the user accepted its findings."""
        return self.sync.ticks is not None

    def make_reducers(self) -> dict[str, Reducer]:
        """Hook: what the pass over the raw movie computes. Images come from ``projections``, traces from all others."""
        return {"projections": Projections(exclude=self.artefact), "fov": FovTrace()}

    def make_images(self) -> PixelResults:
        """Read the raw movie once: mean, maximum and spread images, traces."""
        if not self.has_input("movie"):
            return PixelResults()
        results = stream(self.movie, self.make_reducers(), workers=2, progress=self.progress, description=f"{self.id}: images")
        images = results.pop("projections")
        return PixelResults(
            images={name: images[name] for name in ("mean", "max", "std") if images[name] is not None}, traces=results
        )

    def make_cells(self) -> AnnData:
        """Build the table of cells: F, neuropil, dF/F, noise."""
        return pp.build_cells(
            self.segmentation,
            trial=self.id,
            clock=self.frame_clock,
            metadata=self.metadata,
            artefact=self.artefact,
            neuropil=self.settings["neuropil"],
            dff=self.settings["dff"],
        )
