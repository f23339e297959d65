"""A pretend third-party package: one lab's eye camera, its own engine, its own trial type. Nothing in packerlabimaging knows it.

It is also the code of the page "Extend it". Load it with ``pli run --plugin pupil_lab.py``, or just import it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import packerlabimaging as pli
from packerlabimaging.io import Inspection, Reader, register_reader
from packerlabimaging.report import ReportSection, SectionContent, register_section
from packerlabimaging.segmentation import Engine, Setting, register_engine


@register_reader
class EyeReader(Reader):
    """Pupil area of the lab's eye camera: a text file with the rate on its first line, one value per line below."""

    name = "lab-eye"
    kind = "signals"
    description = "eye camera of our lab, *.eye"

    def detect(self, path: Path) -> bool:
        return path.suffix == ".eye"

    def open(self, path: Path) -> pli.Signals:
        rate, *values = Path(path).read_text(encoding="utf-8").split()
        channel = pli.ArrayChannel("pupil_area", np.array(values, np.float32), rate_hz=float(rate), unit="px")
        return pli.Signals([channel], source=str(path))

    def inspect(self, path: Path) -> Inspection:
        signals = self.open(path)
        return Inspection(str(path), self.name, self.kind, {"rate_hz": signals["pupil_area"].rate_hz})


@register_engine
class BrightestEngine(Engine):
    """Takes the brightest pixels of the mean image for cells: the shortest engine that works."""

    name = "brightest"
    description = "discs on the brightest places; an example"

    def settings(self):
        return {"n_cells": Setting(10, "cells to take"), "radius_px": Setting(3.0, "radius of a disc")}

    def run(self, job, folder, settings, progress):
        movie = next(iter(job.movies.values()))
        mean = pli.stream(movie, {"images": pli.core.Projections(exclude=job.artefact_mask())})["images"]["mean"]
        centers = []
        for _ in range(settings["n_cells"]):
            y, x = np.unravel_index(np.argmax(mean), mean.shape)
            centers.append((y, x))
            rows, columns = np.ogrid[: mean.shape[0], : mean.shape[1]]
            mean[(rows - y) ** 2 + (columns - x) ** 2 <= (3 * settings["radius_px"]) ** 2] = -np.inf
        labels = pli.RoiSet.from_discs(np.array(centers), settings["radius_px"], movie.frame_shape_px).to_labels()
        rois = pli.RoiSet.from_labels(labels)
        np.save(folder / "labels.npy", labels)
        np.save(folder / "F.npy", pli.stream(movie, {"F": pli.core.RoiTraces(rois)}, progress=progress)["F"])

    def load(self, folder):
        rois = pli.RoiSet.from_labels(np.load(folder / "labels.npy"))
        return pli.core.Segmentation(rois=rois, F=np.load(folder / "F.npy"), engine="brightest 1")


class PupilTrial(pli.AllOpticalTrial):
    """All-optical trial with a pupil camera."""

    steps = (*pli.AllOpticalTrial.steps, "pupil_summary")

    eye: str = "left"
    pupil = pli.SignalsInput(help="pupil area of the eye camera")

    def make_cells(self):
        cells = super().make_cells()
        pli.pp.add_signal(cells, self.pupil["pupil_area"], self.frame_clock, key_added="pupil_area")
        return cells

    def make_pupil_summary(self):
        return {"eye": self.eye, "mean_area": float(np.nanmean(self.cells.var["pupil_area"]))}


@register_section
class PupilSection(ReportSection):
    """Shows the pupil in the report of trials that have one."""

    name = "pupil"
    title = "Pupil"
    order = 55

    def applies(self, trial):
        return trial.has("pupil_summary")

    def render(self, trial):
        return SectionContent(facts=trial.result("pupil_summary"), text=["Pupil area, averaged over each frame."])
