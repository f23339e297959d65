"""What a simulated field of view looks like at rest: cells, blurred cells out of focus, neuropil, vessels.

The scene is larger than a frame by a margin on each side, so that rigid motion brings new pixels in and never invents any.
All brightness is in photons per pixel and frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from packerlabimaging.core import RoiSet
from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate.parameters import SimulationParameters
from packerlabimaging.simulate.timeline import random_generator

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

EDGE_UM = 0.6
"""Softness of a soma's edge: the width of a logistic, about the blur of a two-photon microscope with NA 0.8 (0.5 to 1 um)."""
NUCLEUS = 0.55
"""Radius of the nucleus, which holds less indicator, as a fraction of the soma's."""
DISPLACED_NEUROPIL = 0.3
"""Fraction of the neuropil's light that is missing within a soma (Suite2p and CNMF users subtract 0.7 of the surround)."""
AUTOFLUORESCENCE_PHOTONS = 0.03
"""Photons per pixel and frame that come from everywhere."""
FOOTPRINT_CUT = 0.01
"""Tails of footprints below this fraction of the peak are dropped."""
_SEPARATION, _EMPTY_SEPARATION, _OVERLAP = 1.3, 1.5, (0.65, 0.85)
"""Distances between centres in soma diameters: separate cells, a cell and a target without one, overlapping pairs."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A field of view at rest, without motion.

    Parameters
    ----------
    frame_shape_px
        ``(height, width)`` of a frame.
    margin_px
        Pixels by which the scene is larger than a frame, on each side.
    centers_px
        Centres of the cells ``(y, x)`` in frame coordinates, shape ``(n_cells, 2)``.
    diameters_um
        Diameter of each cell, geometric mean of its axes, shape ``(n_cells,)``.
    photons
        Mean photons per pixel and frame that each resting soma adds within its outline, shape ``(n_cells,)``.
    dim, overlapping
        Masks, shape ``(n_cells,)``.
    rois
        Outlines of the cells in frame coordinates, weighted with their resting brightness.
    sources
        Resting light of every cell, then of every cell out of focus: sparse ``(scene pixels, sources)``, float32.
    neuropil
        Resting light of each neuropil component, ``(n_neuropil, scene pixels)``, float32.
    empty_px
        Places without a cell, for targets, ``(n_empty_targets, 2)``.
    """

    frame_shape_px: tuple[int, int]
    margin_px: int
    centers_px: np.ndarray
    diameters_um: np.ndarray
    photons: np.ndarray
    dim: np.ndarray
    overlapping: np.ndarray
    rois: RoiSet
    sources: csr_matrix
    neuropil: np.ndarray
    empty_px: np.ndarray

    @property
    def shape_px(self) -> tuple[int, int]:
        """``(height, width)`` of the scene, margins included."""
        return self.frame_shape_px[0] + 2 * self.margin_px, self.frame_shape_px[1] + 2 * self.margin_px

    def expected_frame(self) -> np.ndarray:
        """Return the photons expected per pixel in a frame at rest without motion, ``(height, width)``, float32."""
        rest = self.neuropil.sum(axis=0) + np.asarray(self.sources.sum(axis=1)).ravel() + AUTOFLUORESCENCE_PHOTONS
        m = self.margin_px
        height, width = self.frame_shape_px
        return rest.reshape(self.shape_px)[m : m + height, m : m + width].astype(np.float32)


def make_scene(parameters: SimulationParameters) -> Scene:
    """Draw a field of view.

    Raises
    ------
    ParameterError
        If the cells don't fit into it.
    """
    from scipy.sparse import csr_matrix, vstack

    rng = random_generator(parameters, "cells")
    background = random_generator(parameters, "background")
    margin = int(np.ceil(4 * parameters.motion_px + parameters.drift_px)) + 3
    shape = (parameters.frame_shape_px[0] + 2 * margin, parameters.frame_shape_px[1] + 2 * margin)
    openness = _vessels(parameters, shape, background)
    centers, overlapping, empty = _place(parameters, openness[margin:-margin, margin:-margin], rng)
    n_cells = len(centers)
    dim = np.zeros(n_cells, bool)
    dim[rng.choice(n_cells, round(parameters.dim_fraction * n_cells), replace=False)] = True
    level = np.where(dim, parameters.dim_photons, parameters.bright_photons)
    photons = level * rng.lognormal(0.0, 0.2, n_cells)
    cells, rois, diameters, occupied = _draw_somata(parameters, centers + margin, photons, shape, margin, rng)
    blurred = _draw_out_of_focus(parameters, shape, background)
    neuropil = _draw_neuropil(parameters, openness, background)
    neuropil *= (1.0 - DISPLACED_NEUROPIL * np.minimum(occupied, 1.0)).ravel()
    sources = csr_matrix(vstack([cells, blurred]).T, dtype=np.float32)
    return Scene(parameters.frame_shape_px, margin, centers, diameters, photons, dim, overlapping, rois, sources, neuropil, empty)


def _place(
    parameters: SimulationParameters, openness: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place cells and empty spots; returns cell centres (px), which overlap another cell, and empty spots (px)."""
    pixel_um = np.array(parameters.pixel_size_um)
    size_px = np.array(parameters.frame_shape_px)
    diameter = parameters.cell_diameter_um
    border_px = 0.5 * diameter / pixel_um + 3.0
    n_pairs = round(parameters.overlapping_fraction * parameters.n_cells / 2)
    placed: list[np.ndarray] = []

    def free(point_px: np.ndarray, distance_um: float, others: list[np.ndarray]) -> bool:
        if np.any(point_px < border_px) or np.any(point_px > size_px - 1 - border_px):
            return False
        if openness[tuple(np.round(point_px).astype(int))] < 0.9:
            return False
        return not others or float(np.min(np.linalg.norm((np.array(others) - point_px) * pixel_um, axis=1))) >= distance_um

    def add(propose: str, distance_um: float, partner: np.ndarray | None = None) -> None:
        others = [other for other in placed if other is not partner]
        for _ in range(2000):
            if partner is None:
                point = rng.uniform(0.0, 1.0, 2) * (size_px - 1)
            else:
                angle = rng.uniform(0.0, 2 * np.pi)
                point = partner + rng.uniform(*_OVERLAP) * diameter * np.array([np.sin(angle), np.cos(angle)]) / pixel_um
            if free(point, distance_um, others):
                placed.append(point)
                return
        raise ParameterError(
            f"There is no room for n_cells = {parameters.n_cells} cells of {diameter:g} um in a field of "
            f"{size_px[0] * pixel_um[0]:.0f} x {size_px[1] * pixel_um[1]:.0f} um (stopped at {propose} {len(placed) + 1}). "
            "Lower n_cells or n_empty_targets, or enlarge frame_shape_px."
        )

    for _ in range(parameters.n_empty_targets):
        add("the empty spot", _EMPTY_SEPARATION * diameter)
    empty = np.array(placed).reshape(-1, 2)
    for index in range(parameters.n_cells - n_pairs):
        if index < n_pairs:  # both of a pair at once, while there is room around them
            add("the cell", (_SEPARATION + _OVERLAP[1]) * diameter)
            add("the overlapping cell", _SEPARATION * diameter, partner=placed[-1])
        else:
            add("the cell", _SEPARATION * diameter)
    centers = np.array(placed[len(empty) :]).reshape(-1, 2)
    overlapping = np.arange(len(centers)) < 2 * n_pairs
    order = rng.permutation(len(centers))
    return centers[order], overlapping[order], empty


def _draw_somata(
    parameters: SimulationParameters,
    centers_px: np.ndarray,
    photons: np.ndarray,
    shape: tuple[int, int],
    margin: int,
    rng: np.random.Generator,
) -> tuple[csr_matrix, RoiSet, np.ndarray, np.ndarray]:
    """Draw each cell as a soft-edged ellipse with a darker nucleus; returns sparse light, outlines, diameters, occupancy."""
    from scipy.sparse import csr_matrix

    pixel_y, pixel_x = parameters.pixel_size_um
    rows, flat, light, outlines, weights, diameters = [], [], [], [], [], []
    occupied = np.zeros(shape)
    for index, (y0, x0) in enumerate(centers_px):
        radius = 0.5 * parameters.cell_diameter_um * np.clip(rng.normal(1.0, 0.08), 0.75, 1.25)
        stretch, angle, depth = np.sqrt(rng.uniform(1.0, 1.3)), rng.uniform(0.0, np.pi), rng.uniform(0.2, 0.6)
        reach = radius * stretch + 6 * EDGE_UM
        y = np.arange(max(0, int(y0 - reach / pixel_y)), min(shape[0], int(y0 + reach / pixel_y) + 2))
        x = np.arange(max(0, int(x0 - reach / pixel_x)), min(shape[1], int(x0 + reach / pixel_x) + 2))
        dy, dx = np.meshgrid((y - y0) * pixel_y, (x - x0) * pixel_x, indexing="ij")
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        distance = np.hypot(along / stretch, across * stretch) / radius  # 1 on the outline
        outer = 1.0 / (1.0 + np.exp((distance - 1.0) * radius / EDGE_UM))
        footprint = outer * (1.0 - depth / (1.0 + np.exp((distance - NUCLEUS) * radius / EDGE_UM)))
        inside = distance <= 1.0
        footprint /= footprint[inside].mean()
        keep = footprint > FOOTPRINT_CUT * footprint.max()
        pixel = y[:, None] * shape[1] + x[None, :]
        rows.append(np.full(keep.sum(), index))
        flat.append(pixel[keep])
        light.append(footprint[keep] * photons[index])
        iy, ix = np.nonzero(inside)
        outlines.append((y[iy] - margin, x[ix] - margin))
        weights.append(footprint[inside])
        diameters.append(2 * radius)
        occupied[np.ix_(y, x)] += outer
    ids = [f"cell-{index:03d}" for index in range(len(centers_px))]
    rois = RoiSet.from_pixels(parameters.frame_shape_px, outlines, weights=weights, ids=ids)
    entries = (
        (np.concatenate(light), (np.concatenate(rows), np.concatenate(flat)))
        if rows
        else (np.zeros(0), (np.zeros(0), np.zeros(0)))
    )
    return csr_matrix(entries, shape=(len(centers_px), shape[0] * shape[1])), rois, np.array(diameters), occupied


def _draw_out_of_focus(parameters: SimulationParameters, shape: tuple[int, int], rng: np.random.Generator) -> csr_matrix:
    """Draw cells above and below the plane as Gaussian blobs; sparse ``(n_out_of_focus, scene pixels)``."""
    from scipy.sparse import csr_matrix

    pixel_um = np.array(parameters.pixel_size_um)
    rows, flat, light = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
    for index in range(parameters.n_out_of_focus):
        y0, x0 = rng.uniform(0.0, 1.0, 2) * shape
        sigma = rng.uniform(7.0, 12.0) / pixel_um
        peak = parameters.neuropil_photons * rng.uniform(0.2, 0.7)
        y = np.arange(max(0, int(y0 - 3 * sigma[0])), min(shape[0], int(y0 + 3 * sigma[0]) + 1))
        x = np.arange(max(0, int(x0 - 3 * sigma[1])), min(shape[1], int(x0 + 3 * sigma[1]) + 1))
        blob = peak * np.exp(-0.5 * (((y[:, None] - y0) / sigma[0]) ** 2 + ((x[None, :] - x0) / sigma[1]) ** 2))
        rows.append(np.full(blob.size, index))
        flat.append((y[:, None] * shape[1] + x[None, :]).ravel())
        light.append(blob.ravel())
    entries = (np.concatenate(light), (np.concatenate(rows), np.concatenate(flat)))
    return csr_matrix(entries, shape=(parameters.n_out_of_focus, shape[0] * shape[1]))


def _smooth_noise(
    shape: tuple[int, int], sigma_um: float, parameters: SimulationParameters, rng: np.random.Generator
) -> np.ndarray:
    """Return Gaussian noise of unit variance and zero mean, smooth at ``sigma_um``."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(shape), [sigma_um / size for size in parameters.pixel_size_um], mode="wrap")
    return (field - field.mean()) / field.std()


def _draw_neuropil(parameters: SimulationParameters, openness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Divide the resting neuropil among smooth components, with the fine texture of processes and dark vessels."""
    shape = openness.shape
    coarse, fine = _smooth_noise(shape, 60.0, parameters, rng), _smooth_noise(shape, 1.0, parameters, rng)
    total = parameters.neuropil_photons * np.exp(0.2 * coarse + 0.25 * fine) * openness
    parts = np.stack([np.exp(1.5 * _smooth_noise(shape, 40.0, parameters, rng)) for _ in range(parameters.n_neuropil)])
    parts *= total / parts.sum(axis=0)
    return parts.reshape(parameters.n_neuropil, -1).astype(np.float32)


def _vessels(parameters: SimulationParameters, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return how much light passes at each pixel: 1, and 0.15 within blood vessels, about one per 0.15 mm^2."""
    from scipy.ndimage import distance_transform_edt
    from scipy.special import expit

    pixel_y, pixel_x = parameters.pixel_size_um
    openness = np.ones(shape)
    for _ in range(round(shape[0] * pixel_y * shape[1] * pixel_x / 150_000)):
        n_steps = 4 * max(shape)
        angle = rng.uniform(0.0, 2 * np.pi) + np.cumsum(rng.normal(0.0, 0.06, n_steps))
        y = rng.uniform(0.0, shape[0]) + np.cumsum(np.sin(angle)) / pixel_y
        x = rng.uniform(0.0, shape[1]) + np.cumsum(np.cos(angle)) / pixel_x
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        path = np.ones(shape, bool)
        path[y[inside].astype(int), x[inside].astype(int)] = False
        distance_um = distance_transform_edt(path, sampling=parameters.pixel_size_um)
        openness *= 1.0 - 0.85 * expit(rng.uniform(4.0, 8.0) - distance_um)
    return openness
