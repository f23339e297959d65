"""Every format that the package ``roiextractors`` reads: its extractors as our movies and segmentations.

An extractor is named, never detected: ``open_movie(path, reader="roiextractors", extractor="SbxImagingExtractor")``. An
extractor object of one's own is wrapped by :func:`movie_of_extractor` and :func:`segmentation_of_extractor`. What a file may
do while it is read is then in the hands of that package.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from packerlabimaging._check import check_choice
from packerlabimaging._optional import import_optional
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import (
    AmbiguousInputError,
    FormatError,
    MissingDependencyError,
    ParameterError,
)
from packerlabimaging.io.foreign import errors_of
from packerlabimaging.io.readers import Inspection, Kind, Reader
from packerlabimaging.io.rois import check_frame_shape

_TRACES = {"neuropil": "Fneu", "deconvolved": "spks", "dff": "dff", "denoised": "denoised"}
"""Their names of traces besides ``raw``, and ours."""

_REFUSED = {
    "Suite2pSegmentationExtractor": "Suite2p folders have a reader of their own: reader='suite2p'.",
    "SimaSegmentationExtractor": "Convert the data set first.",
}
"""Extractors that run what a file holds (they unpickle), and what to do instead."""


def movie_of_extractor(extractor: Any, *, plane: int | None = None) -> ExtractorMovie:
    """Wrap an ``ImagingExtractor`` of roiextractors as a movie.

    Parameters
    ----------
    extractor
        The open extractor.
    plane
        Zero-based plane; needed where the extractor is of a volume.

    Returns
    -------
    ExtractorMovie
        A movie whose frame rate is the extractor's sampling frequency, and whose frame times are its native timestamps where
        it has them. It travels to another process as the arguments that the extractor was made from.

    Raises
    ------
    AmbiguousInputError
        If there are several planes and none is chosen.
    FormatError
        If the extractor fails, or contradicts itself.
    """
    return ExtractorMovie(extractor, plane=plane, recipe=None)


class ExtractorMovie(Movie):
    """One plane of an ``ImagingExtractor``; see :func:`movie_of_extractor`.

    Parameters
    ----------
    extractor
        The open extractor.
    plane
        Zero-based plane.
    recipe
        Name and arguments that open it again, from the reader; None for an extractor that was given.
    """

    def __init__(self, extractor: Any, *, plane: int | None, recipe: tuple[str, Mapping[str, Any]] | None) -> None:
        self.extractor, self._recipe = extractor, recipe
        self._lock = threading.Lock()
        source = _source(extractor)
        with errors_of("roiextractors", source):
            height, width = check_frame_shape(extractor.get_image_shape(), where=source)
            n_frames = int(extractor.get_num_samples())
            n_planes = int(extractor.get_num_planes()) if getattr(extractor, "is_volumetric", False) else 1
            dtype = np.dtype(extractor.get_dtype())
            rate = extractor.get_sampling_frequency()
            times, findings = _frame_times(extractor, n_frames, source)
        if n_planes > 1 and plane is None:
            raise AmbiguousInputError(f"'{source}' holds {n_planes} planes, 0 to {n_planes - 1}. Say which with plane=.")
        if not 0 <= (plane or 0) < n_planes:
            raise ParameterError(f"'{source}' holds no plane {plane}. It holds {n_planes}, counted from 0.")
        self.plane = plane or 0
        self._n_planes = n_planes
        known_rate = float(rate) if rate is not None and np.isfinite(rate) and rate > 0 else None
        if times is not None and n_frames > 1:
            known_rate = (n_frames - 1) / float(times[-1] - times[0])
        metadata = ImagingMetadata(
            frame_shape_px=(height, width),
            n_frames=n_frames,
            n_planes=n_planes,
            frame_rate_hz=known_rate,
            frame_rate_source=None if known_rate is None else "nominal" if times is None else "frame times",
            frame_times_s=times if times is None or n_planes == 1 else np.repeat(times[:, None], n_planes, axis=1),
            program=f"roiextractors {type(extractor).__name__}",
        )
        super().__init__((n_frames, height, width), dtype, metadata=metadata, source=source, findings=findings)

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        with self._lock, errors_of("roiextractors", self.source):
            frames = np.asarray(self.extractor.get_series(start_sample=start, end_sample=stop))
        if frames.ndim == 4 and frames.shape[3] == self._n_planes:
            frames = frames[..., self.plane]
        if frames.shape != out.shape:
            raise FormatError(
                f"{type(self.extractor).__name__} gave frames of shape {frames.shape} for {start} to {stop} of '{self.source}'. "
                f"Expected {out.shape}. Is the recording complete?"
            )
        out[...] = frames

    def __reduce__(self) -> Any:
        if self._recipe is not None:
            name, arguments = self._recipe
            return _movie_again, (name, dict(arguments), self.plane)
        own: Mapping[str, Any] | None = getattr(self.extractor, "_kwargs", None)
        if not own or not _is_plain(own):
            raise ParameterError(
                f"This {type(self.extractor).__name__} does not say what it was made from: it can't be sent to another process. "
                "Open it by its path: open_movie(path, reader='roiextractors', extractor=...), or stream it with threads."
            )
        return _wrapped_again, (type(self.extractor), dict(own), self.plane)


def _movie_again(name: str, arguments: Mapping[str, Any], plane: int) -> ExtractorMovie:
    return ExtractorMovie(_made(name, "ImagingExtractor", arguments), plane=plane, recipe=(name, arguments))


def _wrapped_again(cls: type, arguments: Mapping[str, Any], plane: int) -> ExtractorMovie:
    return movie_of_extractor(cls(**arguments), plane=plane)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool, Path))


def _frame_times(extractor: Any, n_frames: int, source: str) -> tuple[np.ndarray | None, list[Finding]]:
    """Return the file's own times in seconds from the first frame, where they make sense."""
    native = extractor.get_native_timestamps()
    if native is None:
        return None, []
    times = np.asarray(native, np.float64).ravel()
    if len(times) == n_frames > 1 and np.all(np.isfinite(times)) and np.all(np.diff(times) > 0):
        return times - times[0], []
    message = f"The file's own {len(times)} frame times do not fit its {n_frames} frames, or do not ascend: they are left out."
    return None, [Finding("frame-times", message, where=source)]


def segmentation_of_extractor(extractor: Any) -> Segmentation:
    """Wrap a ``SegmentationExtractor`` of roiextractors as a segmentation; everything is read.

    Returns
    -------
    Segmentation
        ``F`` is the extractor's ``raw``, ``Fneu`` its ``neuropil``, ``spks`` its ``deconvolved``; ``dff`` and ``denoised`` are in
        ``other_traces``; without ``raw`` there are no traces. ``obs`` has the extractor's own ``roi_id``.

    Raises
    ------
    FormatError
        If the extractor fails, or contradicts itself.
    """
    import pandas as pd

    source = _source(extractor)
    with errors_of("roiextractors", source):
        frame = check_frame_shape(extractor.get_frame_shape()[:2], where=source)
        ids = list(extractor.get_roi_ids())
        masks = [np.asarray(extractor.get_roi_image_masks(roi_ids=[one])).reshape(*frame, -1)[..., 0] for one in ids]
        found = {name: extractor.get_traces(name=name) for name in ("raw", *_TRACES)}
        images = {name: np.asarray(image) for name, image in extractor.get_images_dict().items() if image is not None}
        rate = extractor.get_sampling_frequency()
    findings: list[Finding] = []
    kept = [index for index, mask in enumerate(masks) if np.any(mask > 0)]
    if not kept:
        raise FormatError(f"'{source}' holds no ROI with a pixel. Is it the right file?")
    if len(kept) < len(ids):
        message = f"{len(ids) - len(kept)} of {len(ids)} ROIs have no pixel and are left out."
        findings.append(Finding("rois-without-pixels", message, where=source))
    pixels = [np.nonzero(masks[index] > 0) for index in kept]
    rois = RoiSet.from_pixels(
        frame,
        [(y, x) for y, x in pixels],
        weights=[masks[index][places].astype(np.float32) for index, places in zip(kept, pixels, strict=True)],
    )
    traces = {name: _rows(name, values, len(ids), kept, source) for name, values in found.items() if values is not None}
    common: dict[str, Any] = {
        "obs": pd.DataFrame({"roi_id": [str(ids[index]) for index in kept]}),
        "images": {name: image.astype(np.float32) for name, image in images.items() if image.shape == frame},
        "engine": f"roiextractors {type(extractor).__name__}",
        "source": source,
        "extra": {"rate_hz": float(rate) if rate else None},
    }
    F = traces.pop("raw", None)
    if F is None:
        message = f"The extractor gives no fluorescence ('raw'); it gives: {', '.join(traces) or 'no traces'}."
        findings.append(Finding("no-traces", message, severity="info", where=source))
        return Segmentation.of_rois(rois, findings=tuple(findings), **common)
    named = {_TRACES[name]: values for name, values in traces.items() if values.shape == F.shape}
    return Segmentation(
        rois=rois,
        F=F,
        Fneu=named.pop("Fneu", None),
        spks=named.pop("spks", None),
        other_traces=named,
        findings=tuple(findings),
        **common,
    )


def _rows(name: str, values: Any, n_rois: int, kept: list[int], source: str) -> np.ndarray:
    """Return traces ``(roi, time)``; extractors give ``(time, roi)``."""
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != n_rois:
        raise FormatError(
            f"The traces '{name}' of '{source}' have the shape {array.shape} for {n_rois} ROIs. Expected (time, roi)."
        )
    return np.ascontiguousarray(array[:, kept].T, np.float32)


# readers


class _ExtractorReader(Reader):
    """What both readers share."""

    base: ClassVar[str]
    """Class of roiextractors that its extractors are subclasses of."""

    def detect(self, path: Path) -> bool:
        """Return False: which of many extractors reads a file is for the user to say."""
        return False

    def inspect(self, path: Path) -> Inspection:
        """List the extractors that there are; which of them reads the file is not tried."""
        try:
            facts: dict[str, Any] = {"extractors": sorted(_extractors(self.base))}
            findings: tuple[Finding, ...] = ()
        except MissingDependencyError as error:
            facts, findings = {"extractors": []}, (Finding("not-installed", str(error), where=str(path)),)
        return Inspection(str(path), self.name, self.kind, facts or {"extractors": []}, findings)


class ExtractorMovieReader(_ExtractorReader):
    """Reader of movies by an ``ImagingExtractor`` that is named."""

    name: ClassVar[str] = "roiextractors"
    kind: ClassVar[Kind] = "movie"
    description: ClassVar[str] = "any format of the package roiextractors, with extractor='...ImagingExtractor'"
    base: ClassVar[str] = "ImagingExtractor"

    def open(
        self,
        path: Path,
        *,
        extractor: str | None = None,
        channel: int | str | None = None,
        plane: int | None = None,
        **arguments: Any,
    ) -> ExtractorMovie:
        """Open a movie.

        Parameters
        ----------
        path
            File or folder; goes to the extractor as its first argument.
        extractor
            Name of the extractor, as in ``roiextractors``.
        channel
            Goes to the extractor as ``channel_name``.
        plane
            Zero-based plane; needed where the extractor is of a volume.
        arguments
            Further arguments of the extractor.

        Raises
        ------
        MissingDependencyError
            If the package ``roiextractors`` is not installed.
        ParameterError
            If there is no such extractor, or it has no such argument.
        FormatError
            If the extractor can't read the file.
        """
        if channel is not None:
            arguments["channel_name"] = str(channel)
        name, complete = _complete(extractor, self.base, Path(path), arguments)
        return ExtractorMovie(_made(name, self.base, complete), plane=plane, recipe=(name, complete))


class ExtractorSegmentationReader(_ExtractorReader):
    """Reader of segmentations by a ``SegmentationExtractor`` that is named."""

    name: ClassVar[str] = "roiextractors-segmentation"
    kind: ClassVar[Kind] = "segmentation"
    description: ClassVar[str] = "any format of the package roiextractors, with extractor='...SegmentationExtractor'"
    base: ClassVar[str] = "SegmentationExtractor"

    def open(self, path: Path, *, extractor: str | None = None, **arguments: Any) -> Segmentation:
        """Read a segmentation; parameters and errors as :meth:`ExtractorMovieReader.open`."""
        name, complete = _complete(extractor, self.base, Path(path), arguments)
        return segmentation_of_extractor(_made(name, self.base, complete))


def _extractors(base: str) -> dict[str, type]:
    """Return the installed extractors of a kind, by name."""
    package = import_optional("roiextractors", extra="roiextractors", purpose="Reading by an extractor of roiextractors")
    found = {name: value for name, value in vars(package).items() if inspect.isclass(value)}
    return {name: cls for name, cls in found.items() if issubclass(cls, found[base]) and cls is not found[base]}


def _complete(name: str | None, base: str, path: Path, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the extractor's name and all its arguments, the path as its first."""
    known = _extractors(base)
    if name is None:
        raise ParameterError(f"Say which extractor reads '{path}': extractor=. There are: {', '.join(sorted(known))}.")
    check_choice("extractor", name, sorted(known))
    if name in _REFUSED:
        raise ParameterError(f"'{name}' reads pickles, and a file must never be able to run code. {_REFUSED[name]}")
    parameters = inspect.signature(known[name]).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [argument for argument in arguments if argument not in parameters]
    if unknown and not open_ended:
        raise ParameterError(f"{name} has no argument '{unknown[0]}'. It has: {', '.join(parameters)}.")
    first = next(iter(parameters))
    place = [str(path.absolute())] if first.endswith("paths") else str(path.absolute())
    return name, {first: place, **arguments}


def _made(name: str, base: str, arguments: Mapping[str, Any]) -> Any:
    with errors_of("roiextractors", str(next(iter(arguments.values()), name))):
        return _extractors(base)[name](**arguments)


def _source(extractor: Any) -> str:
    arguments = getattr(extractor, "_kwargs", None) or {}
    places = [str(value) for key, value in arguments.items() if isinstance(value, (str, Path)) and "path" in key]
    return (
        places[0] if places else next((value for value in arguments.values() if isinstance(value, str)), type(extractor).__name__)
    )
