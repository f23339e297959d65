"""Movies made without the package, on the fly, so that they cost no memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from packerlabimaging.core import Movie


def texture(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth random structure, mean 300, all positive."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    image = np.fft.irfft2(spectrum * np.exp(-60.0 * (fy**2 + fx**2)), s=shape)
    return 300.0 + 80.0 * image / image.std()


def displaced(image: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Move the content down by dy and right by dx (periodic, exact for band-limited images)."""
    fy, fx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None]
    return np.fft.irfft2(np.fft.rfft2(image) * np.exp(-2j * np.pi * (fy * dy + fx * dx)), s=image.shape)


class LazyCells(Movie):
    """Noisy frames made when they are read: discs of 4 px radius that flicker, each frame from its number alone."""

    def __init__(self, n_frames: int, shape: tuple[int, int] = (64, 64)) -> None:
        super().__init__((n_frames, *shape), np.uint16, source="lazy")
        y, x = np.mgrid[: shape[0], : shape[1]]
        self.discs = [np.hypot(y - cy, x - cx) <= 4 for cy, cx in ((15, 15), (15, 45), (45, 30))]

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        for index in range(start, stop):
            rng = np.random.default_rng(index)
            scene = np.full(self.frame_shape_px, 50.0)
            for number, disc in enumerate(self.discs):
                scene[disc] += 120.0 * ((index // 15 + 5 * number) % 20 == 0)
            out[index - start] = rng.normal(scene, 8.0).clip(0)

    def __reduce__(self) -> Any:
        return LazyCells, (self.n_frames, self.frame_shape_px)
