"""Files of stimulus-triggered averages: TIFF movies and images under STAMovieMaker's names, and MP4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging._optional import import_optional
from packerlabimaging.analysis.sta import METHODS, Method, Sta
from packerlabimaging.core.movie import Movie
from packerlabimaging.errors import ParameterError, StoreError
from packerlabimaging.io.tiff import write_tiff_stack

_SUFFIXES: dict[Method, str] = {"raw": "raw", "df": "dF", "dff": "dFF", "z": "zscore"}
_FULL_SCALE: dict[Method, float] = {"raw": np.inf, "df": 1000.0, "dff": 1.0, "z": 5.0}
"""Response that is shown at full brightness in colour images: STAMovieMaker's 1000 counts, 100 %, 5 sd."""


def write_sta(
    folder: str | Path,
    sta: Sta,
    *,
    name: str = "sta",
    plane: int = 0,
    method: Method = "dff",
    movie: Movie | None = None,
    threshold: float | None = None,
    pixel_size_um: tuple[float, float] | None = None,
    mp4: bool = False,
) -> list[Path]:
    """Write the averages of one plane as files.

    Parameters
    ----------
    folder
        Where to; made if it is not there. Files of the same names are never overwritten.
    sta
        The averages.
    name
        Beginning of every file name.
    plane
        Zero-based plane; stands one-based in the names, as STAMovieMaker writes it.
    method
        Scale of movies and images beside the raw ones. dF/F is in percent in the files.
    movie
        The movie, if the single stims shall be written too: ``*_AllTrials.tif`` of each kind, one stim after another, raw.
    threshold
        Images show pixels below it (in the unit of ``method``, dF/F as a fraction) as 0, colour images as black.
    pixel_size_um
        ``(y, x)``, stored in the TIFF files.
    mp4
        Write the movies as MP4 also, grey, one scale for all frames of all kinds.

    Returns
    -------
    list of pathlib.Path
        The files. For each kind ``<name>_Stim<k>_STA_Plane<p>_raw.tif``, ``_dFF.tif`` (or ``_dF``, ``_zscore``),
        ``_AvgImage.tif``, ``_TimePeak.tif`` (RGB: hue is the time of the peak, brightness its size), ``_Corr.tif``, and with at
        least two stims ``_tMap.tif`` and ``_qMap.tif``, t and corrected p of each pixel. Of several kinds
        ``<name>_STA_Plane<p>_MaxResponseImage.tif`` and ``_PrefImage.tif`` (RGB: hue is the preferred kind, saturation the
        selectivity, brightness the response).

    Raises
    ------
    StoreError
        If a file is there already; nothing is written then.
    ParameterError
        If the method is unknown.
    MissingDependencyError
        If MP4 is wanted and its package is not installed.
    """
    if method not in METHODS or method == "raw":
        raise ParameterError(
            f"method = {method!r} is not possible. Choose from: df, dff, z; the raw averages are always written."
        )
    encoder = import_optional("imageio_ffmpeg", extra="video", purpose="Writing MP4") if mp4 else None
    files = _Files(Path(folder), f"{name}_", plane, pixel_size_um)
    for kind in range(len(sta.kinds)):
        _add_kind(files, sta, kind, method, threshold)
        if movie is not None:
            files.stims(f"Stim{kind + 1}_STA", sta, kind, movie)
    if mp4:
        limits = _limits(sta, method)
        for kind in range(len(sta.kinds)):
            files.video(f"Stim{kind + 1}_STA", partial(sta.movie, kind, method=method), limits, sta.plan.frame_rate_hz, encoder)
    if len(sta.kinds) > 1:
        files.image("STA", "MaxResponseImage", lambda: _cut(sta.max_image(method=method), threshold) * _in_files(method))
        files.image("STA", "PrefImage", lambda: colour_by_kind(sta, method=method, threshold=threshold))
    return files.write()


def _add_kind(files: _Files, sta: Sta, kind: int, method: Method, threshold: float | None) -> None:
    stem, rate_hz, scale = f"Stim{kind + 1}_STA", sta.plan.frame_rate_hz, _in_files(method)
    files.movie(stem, "raw", lambda: sta.movie(kind, method="raw"), rate_hz)
    files.movie(stem, _SUFFIXES[method], lambda: sta.movie(kind, method=method) * np.float32(scale), rate_hz)
    files.image(stem, "AvgImage", lambda: _cut(sta.average_image(kind, method=method), threshold) * scale)
    files.image(stem, "Corr", lambda: sta.correlation_image(kind))
    files.image(stem, "TimePeak", lambda: colour_by_time(sta, kind, method=method, threshold=threshold))
    if sta.n_stims[kind] > 1:
        files.image(stem, "tMap", lambda: sta.test(kind).t)
        files.image(stem, "qMap", lambda: sta.test(kind).pvalue_adjusted)


def _in_files(method: Method) -> float:
    """Return what values are multiplied by in files: dF/F is in percent there, as STAMovieMaker writes it."""
    return 100.0 if method == "dff" else 1.0


def colour_by_time(sta: Sta, kind: int, *, method: Method = "dff", threshold: float | None = None) -> np.ndarray:
    """Return when each pixel's average is greatest as colour: uint8 RGB ``(y, x, 3)``, from red (onset) to blue (end)."""
    time_s, peak = sta.peak_time_image(kind, method=method)
    after = sta.time_s[sta.time_s >= 0]
    hue = np.nan_to_num((time_s - after[0]) / max(after[-1] - after[0], 1e-9)) * 2 / 3
    return _rgb(hue, np.ones_like(hue), _brightness(_cut(peak, threshold), method))


def colour_by_kind(sta: Sta, *, method: Method = "dff", threshold: float | None = None) -> np.ndarray:
    """Return which kind each pixel prefers as colour: uint8 RGB ``(y, x, 3)``; saturation is the selectivity."""
    preferred = sta.preferred(method=method, threshold=threshold)
    hue = np.maximum(preferred.kind, 0) / len(sta.kinds)
    return _rgb(hue, preferred.selectivity, _brightness(preferred.response, method))


def _cut(image: np.ndarray, threshold: float | None) -> np.ndarray:
    return image if threshold is None else np.where(image >= threshold, image, np.where(np.isnan(image), np.nan, 0.0))


def _brightness(values: np.ndarray, method: Method) -> np.ndarray:
    """Scale responses to 0..1: full at the 99th percentile of the pixels that respond, at most at the method's full scale."""
    positive = values[values > 0]
    top = min(float(np.percentile(positive, 99)), _FULL_SCALE[method]) if len(positive) else 1.0
    return np.clip(np.nan_to_num(values) / top, 0.0, 1.0)


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    from matplotlib.colors import hsv_to_rgb

    return np.asarray(np.round(255 * hsv_to_rgb(np.stack([hue, saturation, value], axis=-1))), np.uint8)


def _limits(sta: Sta, method: Method) -> tuple[float, float]:
    """Return the values shown black and white in videos: the 1st and 99.8th percentile over all kinds."""
    shown = np.concatenate([np.percentile(_known(sta.movie(kind, method=method)), (1, 99.8)) for kind in range(len(sta.kinds))])
    low, high = float(shown[::2].min()), float(shown[1::2].max())
    return low, high if high > low else low + 1.0


def _known(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    return known if len(known) else np.zeros(1)


class _Files:
    """Files to be written: all names are known, and checked, before the first one is made."""

    def __init__(self, folder: Path, beginning: str, plane: int, pixel_size_um: tuple[float, float] | None) -> None:
        self._folder, self._beginning, self._plane = folder, beginning, plane + 1
        self._pixel_size_um = pixel_size_um
        self._writers: dict[Path, Callable[[Path], Any]] = {}

    def movie(self, stem: str, suffix: str, frames: Callable[[], np.ndarray], rate_hz: float) -> None:
        self._add(stem, suffix, lambda path: self._write_stack(path, [frames()], rate_hz))

    def stims(self, stem: str, sta: Sta, kind: int, movie: Movie) -> None:
        plan, rate_hz = sta.plan, sta.plan.frame_rate_hz
        of_kind = set(plan.stims[plan.numbers == kind].tolist())
        whole = [stim for stim in plan.whole_stims(movie.n_frames) if stim in of_kind]
        if whole:
            self._add(
                stem,
                f"All{len(whole)}Trials",
                lambda path: self._write_stack(path, (frames for _, frames in plan.single_stims(movie, stims=whole)), rate_hz),
            )

    def image(self, stem: str, suffix: str, image: Callable[[], np.ndarray]) -> None:
        def write(path: Path) -> None:
            from tifffile import imwrite

            values = image()
            if values.ndim == 3:
                imwrite(path, values, photometric="rgb")
            else:
                imwrite(path, values.astype(np.float32))

        self._add(stem, suffix, write)

    def video(
        self, stem: str, frames: Callable[[], np.ndarray], limits: tuple[float, float], rate_hz: float, encoder: Any
    ) -> None:
        self._add(stem, "mp4", lambda path: _write_mp4(path, frames(), limits, rate_hz, encoder))

    def _add(self, stem: str, suffix: str, write: Callable[[Path], Any]) -> None:
        ending = ".mp4" if suffix == "mp4" else f"_{suffix}.tif"
        self._writers[self._folder / f"{self._beginning}{stem}_Plane{self._plane}{ending}"] = write

    def _write_stack(self, path: Path, chunks: Any, rate_hz: float) -> None:
        write_tiff_stack(path, chunks, frame_rate_hz=rate_hz, pixel_size_um=self._pixel_size_um)

    def write(self) -> list[Path]:
        there = [path.name for path in self._writers if path.exists()]
        if there:
            raise StoreError(
                f"'{self._folder}' holds {_listed(there)} already. Give another folder or name; nothing is overwritten."
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        for path, write in self._writers.items():
            write(path)
        return list(self._writers)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more of these files"


def _write_mp4(path: Path, frames: np.ndarray, limits: tuple[float, float], rate_hz: float, encoder: Any) -> None:
    """Write grey frames ``(time, y, x)``; sizes are made even, as the format wants, by repeating the last line or column."""
    low, high = limits
    height, width = frames.shape[1:]
    shape = (height + height % 2, width + width % 2)
    writer = encoder.write_frames(
        str(path), shape[::-1], pix_fmt_in="gray", fps=rate_hz, quality=8, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    try:
        for frame in frames:
            grey = np.round(255 * np.clip((np.nan_to_num(frame, nan=low) - low) / (high - low), 0.0, 1.0)).astype(np.uint8)
            writer.send(np.ascontiguousarray(np.pad(grey, ((0, height % 2), (0, width % 2)), mode="edge")))
    finally:
        writer.close()
