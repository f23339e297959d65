"""Where Suite2p's files are, and its settings and outputs under one name each, whatever the version.

Up to 0.14 everything but ROIs and traces is in ``ops.npy``. From 1.0 on it is in ``db.npy``, ``settings.npy``,
``reg_outputs.npy`` and ``detect_outputs.npy``, and ``ops.npy`` is an option that repeats them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError
from packerlabimaging.io.untrusted.npy import read_dict_npy

MAX_FRAME_SIDE_PX = 65_535
"""No frame is taken for longer or wider than this."""

_PLANE = re.compile(r"plane(\d+)")
_FILES = ("stat.npy", "F.npy", "Fneu.npy", "spks.npy", "iscell.npy", "ops.npy", "db.npy")
_VALUE_FILES = ("db.npy", "settings.npy", "reg_outputs.npy", "detect_outputs.npy", "ops.npy")


def plane_folders(path: Path) -> dict[int, Path]:
    """Return the folders with results by plane: ``path`` itself, or its ``planeN``, or those of its ``suite2p``."""
    if _is_plane(path):
        return {_plane_number(path): path}
    for parent in (path, path / "suite2p"):
        if parent.is_dir():
            found = {
                _plane_number(child): child for child in parent.iterdir() if _PLANE.fullmatch(child.name) and _is_plane(child)
            }
            if found:
                return dict(sorted(found.items()))
    return {}


def choose_plane(path: Path, plane: int | None) -> tuple[int, Path]:
    """Return number and folder of one plane.

    Raises
    ------
    FormatError
        If it is the folder ``combined``, in which Suite2p tiles all planes into one picture.
    MissingFileError
        If there are no Suite2p results, or not of this plane.
    AmbiguousInputError
        If there are several planes and none is chosen.
    """
    if path.name == "combined" and _is_plane(path):
        raise FormatError(
            f"'{path}' holds all planes of the run tiled into one picture: its positions are of no plane. Give the folder above "
            "it, and say which plane with plane=."
        )
    folders = plane_folders(path)
    if not folders:
        raise MissingFileError(
            f"'{path}' holds no Suite2p results. Expected 'planeN' folders with {', '.join(_FILES[:5])}, in it or in its "
            "'suite2p' folder. Give Suite2p's output folder."
        )
    listed = ", ".join(str(number) for number in folders)
    if plane is None:
        if len(folders) > 1:
            raise AmbiguousInputError(f"'{path}' holds several planes: {listed}. Say which with plane=.")
        return next(iter(folders.items()))
    if plane not in folders:
        raise MissingFileError(f"'{path}' holds no plane {plane}. It holds: {listed}.")
    return plane, folders[plane]


@dataclass(frozen=True)
class RunValues:
    """What a run says about itself.

    Parameters
    ----------
    values
        Settings, inputs and outputs, by Suite2p's names; empty where the folder holds none.
    folder
        Folder of the plane, for messages.
    """

    values: Mapping[str, Any]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> RunValues:
        """Read ``ops.npy`` and the files of Suite2p 1.x, as far as they are there.

        Raises
        ------
        FormatError
            If one is damaged, or holds more than plain values.
        """
        merged: dict[str, Any] = {}
        for name in _VALUE_FILES:
            if (folder / name).is_file():
                merged.update(read_dict_npy(folder / name))
        return cls(merged, folder)

    def number(self, *names: str, section: str | None = None) -> float | None:
        """Return the first of ``names`` that is a finite number, else that of the section of settings, else None."""
        within = self.values.get(section) if section else None
        for source in (self.values, within if isinstance(within, dict) else {}):
            for name in names:
                value = source.get(name)
                if isinstance(value, (int, float, np.integer, np.floating)) and np.isfinite(value):
                    return float(value)
        return None

    def switched_off(self, *names: str, section: str) -> bool:
        """Say whether a step was switched off by a setting that has one of ``names``, at the top or in its section."""
        within = self.values.get(section)
        sources = (self.values, within if isinstance(within, dict) else {})
        return any(name in source and not source[name] for source in sources for name in names)

    @property
    def version(self) -> str | None:
        """Version of Suite2p as recorded; None where it is not."""
        for name in ("suite2p_version", "version"):
            if isinstance(self.values.get(name), str):
                return str(self.values[name])
        return None

    @property
    def frame_shape_px(self) -> tuple[int, int]:
        """``(height, width)`` of the registered movie.

        Raises
        ------
        FormatError
            If the folder does not say.
        """
        shape = self.known_frame_shape_px
        if shape is None:
            raise FormatError(
                f"'{self.folder}' does not say how large the frames are. Expected 'Ly' and 'Lx' in ops.npy or db.npy. "
                "Copy these files from the run as well, or give frame_shape_px=(height, width)."
            )
        return shape

    @property
    def known_frame_shape_px(self) -> tuple[int, int] | None:
        """``(height, width)`` of the registered movie, or None where the folder does not say.

        Raises
        ------
        FormatError
            If it says something impossible.
        """
        height, width = self.number("Ly"), self.number("Lx")
        if height is None or width is None:
            image = self.values.get("meanImg")
            if not isinstance(image, np.ndarray) or image.ndim != 2:
                return None
            height, width = image.shape
        if not all(1 <= side <= MAX_FRAME_SIDE_PX and side == int(side) for side in (height, width)):
            raise FormatError(
                f"'{self.folder}' says that frames are {height:g} x {width:g} pixels large. Expected 1 to {MAX_FRAME_SIDE_PX} "
                "each. Copy ops.npy or db.npy from the run again."
            )
        return int(height), int(width)

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the run read, in its order; folders where it counted only their frames; empty where it does not say."""
        return self._accounting[0]

    @property
    def frames_per_file(self) -> tuple[int, ...]:
        """Frames of each of :attr:`files` in this plane; empty where the run does not say."""
        return self._accounting[1]

    @cached_property
    def _accounting(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        files = self._texts("filelist") or self._texts("file_list")
        if counts := self._counts("frames_per_file", len(files)):
            return files, counts
        by_channel: dict[str, list[str]] = {}  # Bruker runs count the frames of one channel and list the files of all
        for file in files:
            channel = re.search(r"_(Ch\d+)_", file)
            by_channel.setdefault(channel[1] if channel else "", []).append(file)
        for own in by_channel.values():
            if len(by_channel) > 1 and (counts := self._counts("frames_per_file", len(own))):
                return tuple(own), counts
        starts = self._starts(len(files))
        for name in ("frames_per_folder", "nframes_per_folder"):
            if counts := self._counts(name, len(files)):
                return files, counts
            if starts and (counts := self._counts(name, len(starts))):
                return tuple(str(files[index].replace("\\", "/").rsplit("/", 1)[0]) for index in starts), counts
        return files, ()

    def _texts(self, name: str) -> tuple[str, ...]:
        listed = self.values.get(name)
        found = listed.ravel().tolist() if isinstance(listed, np.ndarray) else listed
        usable = isinstance(found, (list, tuple)) and all(isinstance(file, str) for file in found)
        return tuple(found) if usable and found else ()

    def _counts(self, name: str, expected: int) -> tuple[int, ...]:
        """Return so many numbers of frames, or nothing where there are not so many or they are none."""
        stored = self.values.get(name)
        if not isinstance(stored, (list, tuple, np.ndarray, int, np.integer)) or not expected:
            return ()
        counts = (
            stored.ravel().tolist()
            if isinstance(stored, np.ndarray)
            else np.atleast_1d(np.array(stored, object)).ravel().tolist()
        )
        whole = all(isinstance(n, (int, float, np.integer)) and n == n and 0 <= n < 1 << 40 and n == int(n) for n in counts)
        return tuple(int(n) for n in counts) if whole and len(counts) == expected else ()

    def _starts(self, n_files: int) -> list[int]:
        """Return the positions of the first file of each folder."""
        for name in ("first_tiffs", "first_files"):
            marks = self.values.get(name)
            if isinstance(marks, np.ndarray) and marks.shape == (n_files,) and marks.dtype.kind in "biu" and n_files and marks[0]:
                return [int(index) for index in np.flatnonzero(marks)]
        return []

    def images(self) -> tuple[dict[str, np.ndarray], list[Finding]]:
        """Return the images of the run on the whole frame, float32, NaN where Suite2p cropped; and what did not fit."""
        shape = self.known_frame_shape_px
        if shape is None:
            return {}, []
        images, findings = {}, []
        for name, own in _IMAGES.items():
            image = self.values.get(name)
            if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype.kind not in "biuf":
                continue
            placed = self._place(image, shape)
            if placed is None:
                message = f"The image '{name}' has the shape {image.shape}, which fits neither the frame {shape} nor its crop."
                findings.append(Finding("image-shape", message, where=str(self.folder), advice="It is left out."))
            else:
                images[own] = placed
        return images, findings

    def _place(self, image: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
        if image.shape == shape:
            return image.astype(np.float32)
        top, bottom = _range(self.values.get("yrange"), shape[0])
        left, right = _range(self.values.get("xrange"), shape[1])
        if image.shape != (bottom - top, right - left) or 16 * image.size < shape[0] * shape[1]:
            return None  # a crop takes off the border; nothing so large is made of a small one
        placed = np.full(shape, np.nan, np.float32)
        placed[top:bottom, left:right] = image
        return placed


_IMAGES = {
    "meanImg": "mean",
    "meanImgE": "mean_enhanced",
    "max_proj": "max",
    "Vcorr": "correlation",
    "refImg": "reference",
    "meanImg_chan2": "mean_channel2",
}
"""Suite2p's names of images, and ours; ``max`` is that of the binned, high-passed movie that cells were found in."""


def _range(limits: Any, size: int) -> tuple[int, int]:
    """Return ``(start, stop)`` of a crop as stored; the whole frame where there is none or it makes no sense."""
    plain = isinstance(limits, np.ndarray) or (isinstance(limits, (list, tuple)) and len(limits) == 2)
    try:
        numbers = np.asarray(limits).ravel() if plain else np.zeros(0)
    except ValueError:  # lists of different lengths
        numbers = np.zeros(0)
    if len(numbers) == 2 and numbers.dtype.kind in "iuf" and 0 <= numbers[0] < numbers[1] <= size:
        return int(numbers[0]), int(numbers[1])
    return 0, size


def _is_plane(path: Path) -> bool:
    named = _PLANE.fullmatch(path.name) is not None and (path / "F.npy").is_file()  # elsewhere F.npy is a common name
    own = named or any((path / name).is_file() for name in ("stat.npy", "ops.npy", "db.npy"))
    return path.is_dir() and own and sum((path / name).is_file() for name in _FILES) >= 2


def _plane_number(path: Path) -> int:
    match = _PLANE.fullmatch(path.name)
    return int(match.group(1)) if match else 0
