"""Images: the field of view with ROIs and targets, and the motion that registration took out."""

from __future__ import annotations

from typing import Any

import numpy as np

from packerlabimaging import plotting as pl
from packerlabimaging.core.schema import rois_of
from packerlabimaging.report.contract import ReportFigure, ReportSection, SectionContent
from packerlabimaging.report.stored import counts, optional, pixel_size

PREFERRED = ("segmentation_mean", "mean")  # ROIs refer to the registered frames, whose mean the segmentation keeps
OTHERS = ("segmentation_correlation", "correlation", "max", "std")
RAW = ("mean", "max", "std")  # of the movie as recorded, motion included
SHIFTS = "shifts_px"


class FieldOfView(ReportSection):
    """Mean image with ROIs and targets, and the other images."""

    name = "field-of-view"
    title = "Field of view"
    order = 40

    def applies(self, trial: Any) -> bool:
        """Where there is any image."""
        return bool(optional(trial, "images"))

    def render(self, trial: Any) -> SectionContent:
        """Draw ROIs taken for cells, and targets, onto the mean image; other images beside it."""
        images, size = trial.images, pixel_size(trial)
        name = next((name for name in PREFERRED if name in images), next(iter(images)))
        rois = _cells_outlined(trial, np.shape(images[name]))
        targets = trial.targets if trial.has("targets") else None
        drawn = pl.fov(
            images[name], rois=rois, targets=targets, pixel_size_um=size, target_diameter_um=_spot(trial), percentiles=(1.0, 99.5)
        )
        caption = f"{_words(name).capitalize()} image"
        caption += "" if rois is None else f" with the outlines of the {len(rois)} ROIs taken for cells"
        if targets is not None:
            caption += f" and the {targets.n_obs} photostimulation targets ({counts(targets.obs['status'])})"
        caption += ". Axes in pixels: the pixel size is not known." if size is None else "."
        others = [other for other in OTHERS if other in images and other != name]
        figures = [ReportFigure(drawn, caption)]
        if others:
            named = ", ".join(map(_words, others)).capitalize()
            figures.append(
                ReportFigure(_beside(images, others, size), f"{named} image{'s, from left to right' if others[1:] else ''}.")
            )
        return SectionContent(figures=figures)


def _cells_outlined(trial: Any, shape: tuple[int, ...]) -> Any:
    if not trial.has("cells"):
        return None
    rois = rois_of(trial.cells)
    if rois.frame_shape_px != tuple(shape):
        return None
    return rois.subset(trial.cells.obs["iscell"].to_numpy(bool))


def _spot(trial: Any) -> float | None:
    return getattr(optional(trial, "photostim"), "spiral_diameter_um", None)


def _words(name: str) -> str:
    name = f"raw {name}" if name in RAW else name.replace("segmentation_", "registered ")
    return name.replace("_", " ").replace("std", "standard deviation").replace("max", "maximum")


def _beside(images: Any, names: list[str], size: tuple[float, float] | None) -> Any:
    from matplotlib.figure import Figure

    with pl.style():
        figure = Figure(figsize=(3.2 * len(names), 3.3), layout="constrained")
        for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            pl.image(images[name], pixel_size_um=size, ax=ax)
            ax.set_title(_words(name))
    return figure


class Registration(ReportSection):
    """Shift of each frame."""

    name = "registration"
    title = "Registration"
    order = 50

    def applies(self, trial: Any) -> bool:
        """Where the segmentation engine kept the shifts of this trial's frames."""
        return bool(trial.has("segmentation")) and _shifts(trial) is not None

    def render(self, trial: Any) -> SectionContent:
        """Show the shifts over time, and say how large they are."""
        shifts, size = _shifts(trial), pixel_size(trial)
        assert shifts is not None  # applies() has looked
        scaled = shifts * (size or (1.0, 1.0))
        unit = "px" if size is None else "µm"
        distance = np.hypot(*(scaled - np.nanmedian(scaled, axis=0)).T)
        steps = np.hypot(*np.diff(scaled, axis=0).T)
        facts = {
            f"median distance from the median place ({unit})": float(np.nanmedian(distance)),
            f"99th percentile ({unit})": float(np.nanpercentile(distance, 99)),
            f"largest step between frames ({unit})": float(np.nanmax(steps)) if len(steps) else None,
        }
        times = trial.frame_clock.starts_s if trial.has("sync") else None
        drawn = pl.registration(shifts, time_s=times, pixel_size_um=size)
        return SectionContent(
            facts=facts,
            figures=[ReportFigure(drawn, f"Shift ({unit}) of each of {len(shifts):,} frames from the reference image.")],
        )


def _shifts(trial: Any) -> np.ndarray | None:
    segmentation = optional(trial, "segmentation")
    found = None if segmentation is None else segmentation.extra.get(SHIFTS)
    if found is None or np.shape(found) != (segmentation.n_frames, 2):
        return None
    return np.asarray(found, np.float64)
