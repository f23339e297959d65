"""ThorImage's images: one raw file, or TIFF files of one frame or many.

A raw file holds little-endian uint16 images: the channels of a plane one after another, then the next plane, then the frames
of the objective's flight back, then the next time. Which channels it holds the XML says only in part: where only some of the
four were on, the size of the file decides, and where it can't nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding, Severity
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, PackerLabImagingError, ParameterError
from packerlabimaging.io.binary import BinaryMovie, count_images
from packerlabimaging.io.interleaving import Interleaving, choose_channel, choose_plane
from packerlabimaging.io.movie_options import MovieOptions
from packerlabimaging.io.readers import Inspection, Reader
from packerlabimaging.io.thor.experiment import CHANNELS, EXPERIMENT_FILE, ROOT, ThorExperiment, read_experiment
from packerlabimaging.io.tiff.movie import FramePlaces, TiffMovie, Zeros
from packerlabimaging.io.tiff.names import FileNames, list_folder
from packerlabimaging.io.tiff.numbered import NumberedFiles, check_gaps
from packerlabimaging.io.tiff.stack import read_stack
from packerlabimaging.io.untrusted.xml import root_tag

RAW_NAME = re.compile(r"Image_[0-9]{3,4}_[0-9]{3,4}\.raw", re.IGNORECASE)
TIFF_NAME = re.compile(r"(Chan[A-D])_([0-9]{3,5})_([0-9]{3,5})_([0-9]{3,5})_([0-9]{3,9})\.tiff?", re.IGNORECASE)
"""Channel, tile along x and y, plane, time."""


@dataclass(frozen=True, kw_only=True)
class ThorImageOptions(MovieOptions):
    """Options of :meth:`ThorImageReader.open`, beside those of :class:`~packerlabimaging.io.movie_options.MovieOptions`.

    Parameters
    ----------
    channel
        ``"ChanA"`` to ``"ChanD"``, or its number 1 to 4, where several were on.
    n_channels
        Channels that a raw file holds, where neither the XML nor the file's size says: those that were on, or all four.
    allow_gaps
        Join TIFF files even where numbers are missing in between.
    """

    n_channels: int | None = None
    allow_gaps: bool = False


class ThorImageReader(Reader):
    """Reads the folders of ThorImage."""

    name = "thorimage"
    kind = "movie"
    description = "a ThorImage folder (Experiment.xml with .raw or TIFF images)"
    options = ThorImageOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a folder with ThorImage's Experiment.xml, that file, or the raw file beside it."""
        xml = path / EXPERIMENT_FILE if path.is_dir() else path
        if RAW_NAME.fullmatch(path.name):
            xml = path.with_name(EXPERIMENT_FILE)
        return xml.suffix.lower() == ".xml" and xml.is_file() and root_tag(xml) == ROOT

    def open(self, path: Path, **options: Any) -> Movie:
        """Open one channel of one plane, headers only.

        Parameters
        ----------
        path
            The folder, its ``Experiment.xml``, or one of several raw files.
        options
            Those of :class:`ThorImageOptions`.

        Raises
        ------
        AmbiguousInputError
            If there are several channels, planes or raw files and none was chosen, or it can't be told which channels a raw
            file holds.
        MissingFileError
            If there are no images, or some of a numbered series are missing.
        FormatError
            If the XML makes no sense, or images are not of the size that it says.
        """
        chosen = ThorImageOptions(**options)
        path = Path(path)
        folder = path if path.is_dir() else path.parent
        experiment = read_experiment(folder)
        raw = _find_raw(path, folder)
        if raw is not None:
            return _open_raw(raw, experiment, chosen)
        return _open_tiffs(folder, experiment, chosen)

    def inspect(self, path: Path) -> Inspection:
        """Describe a recording; images that can't be read are a finding, not an error."""
        folder = path if path.is_dir() else path.parent
        experiment = read_experiment(folder)
        facts: dict[str, Any] = {
            "program_version": experiment.metadata.program_version,
            "frame_shape_px": list(experiment.frame_shape_px),
            "channels": list(experiment.channels),
            "n_planes": experiment.n_planes,
            "n_flyback_frames": experiment.n_flyback,
            "n_averaged": experiment.n_averaged,
            "n_images_announced": experiment.n_images,
            "frame_rate_hz": experiment.frame_rate_hz,
            "pixel_size_um": None if experiment.metadata.pixel_size_um is None else list(experiment.metadata.pixel_size_um),
            "status": experiment.metadata.extra.get("status"),
        }
        findings = experiment.findings
        try:
            movie = self.open(path, channel=experiment.channels[0], plane=0)
            facts["n_frames"], findings = movie.n_frames, movie.findings
        except PackerLabImagingError as error:
            findings = (*findings, Finding("no-images", str(error), "warning", where=str(folder)))
        return Inspection(str(path), self.name, self.kind, facts, findings)


def _find_raw(path: Path, folder: Path) -> Path | None:
    """Return the raw file, None where there is none."""
    if RAW_NAME.fullmatch(path.name):
        return path
    found = sorted(file for file in folder.iterdir() if RAW_NAME.fullmatch(file.name))
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:10])
        raise AmbiguousInputError(f"'{folder}' holds {len(found)} raw files: {names}. Pass the path of one of them.")
    return found[0] if found else None


def _open_raw(raw: Path, experiment: ThorExperiment, options: ThorImageOptions) -> Movie:
    n_images, _ = count_images(raw, experiment.frame_shape_px, "<u2")
    stored = _stored_channels(raw, n_images, experiment, options.n_channels)
    channel = _choose_channel(experiment, options, str(raw))
    plane = choose_plane(options.plane, experiment.n_planes, str(raw))
    interleaving = Interleaving(len(stored), experiment.n_planes, experiment.n_flyback)
    if n_images < interleaving.images_per_time:
        raise FormatError(
            f"'{raw}' holds {n_images} images. Expected at least one volume of {interleaving.images_per_time}: the file is cut."
        )
    images = interleaving.images(n_images, channel=stored.index(experiment.channels[channel]), plane=plane)
    findings = (
        *experiment.findings,
        *interleaving.findings(n_images, str(raw)),
        *_announced_differs(experiment, n_images // len(stored), str(raw)),
    )
    return BinaryMovie(
        raw,
        frame_shape_px=experiment.frame_shape_px,
        dtype="<u2",
        images=images,
        metadata=_metadata(experiment, experiment.n_planes, len(images), options, str(raw)),
        findings=findings,
    )


def _stored_channels(raw: Path, n_images: int, experiment: ThorExperiment, given: int | None) -> tuple[str, ...]:
    """Return the channels that a raw file holds: those that were on, or all four."""
    choices = {len(experiment.channels): experiment.channels, len(CHANNELS): CHANNELS}
    if given is not None:
        if given not in choices:
            possible = " or ".join(map(str, choices))
            raise ParameterError(f"n_channels = {given!r} is not possible for '{raw}'. Expected {possible}.")
        return choices[given]
    if experiment.only_enabled_saved or len(choices) == 1:
        return experiment.channels
    fitting = [names for count, names in choices.items() if experiment.n_images and n_images == count * experiment.n_images]
    if len(fitting) == 1:
        return fitting[0]
    if experiment.only_enabled_saved is None and len(experiment.channels) == 1:
        return experiment.channels  # old versions: one channel that is on is saved alone
    raise AmbiguousInputError(
        f"'{raw}' holds {n_images} images, which is neither {len(experiment.channels)} nor {len(CHANNELS)} times the "
        f"{experiment.n_images} that '{experiment.path.name}' announces: it can't be told whether all four channels were saved. "
        f"Pass n_channels={len(experiment.channels)} or n_channels={len(CHANNELS)}."
    )


def _choose_channel(experiment: ThorExperiment, options: ThorImageOptions, source: str) -> int:
    """Return the place of the channel among those that were on."""
    numbers = [CHANNELS.index(name) + 1 for name in experiment.channels]
    return choose_channel(options.channel, experiment.channels, source, numbers=numbers)


def _announced_differs(experiment: ThorExperiment, n_images: int, source: str) -> tuple[Finding, ...]:
    expected, stopped = experiment.n_images, experiment.metadata.extra.get("status") == "Stopped"
    if expected is None or n_images == expected:
        return ()
    message = f"'{experiment.path.name}' announces {expected} images of each channel, there are {n_images}; they were counted."
    severity: Severity = "info" if stopped and n_images < expected else "warning"
    advice = "The recording was stopped by hand." if severity == "info" else "Check that the recording was copied completely."
    evidence = {"announced": expected, "found": n_images}
    return (Finding("image-count-differs", message, severity, where=source, advice=advice, evidence=evidence),)


def _metadata(
    experiment: ThorExperiment, n_planes: int, n_frames: int, options: ThorImageOptions, source: str
) -> ImagingMetadata:
    found = experiment.metadata.replace(n_frames=n_frames, n_planes=n_planes)
    return options.complete(found, (n_frames, *experiment.frame_shape_px), source)


@dataclass(frozen=True)
class _Files:
    """TIFF files of one channel: their names, and the number of plane and time in each name."""

    names: list[str]
    planes: np.ndarray
    times: np.ndarray


def _open_tiffs(folder: Path, experiment: ThorExperiment, options: ThorImageOptions) -> Movie:
    found = dict(_group(folder))
    if not found:
        raise MissingFileError(
            f"'{folder}' holds no images of ThorImage. Expected Image_0001_0001.raw or ChanA_0001_0001_0001_0001.tif beside "
            f"{EXPERIMENT_FILE}: copy them from the rig."
        )
    channel = _choose_channel(experiment, options, str(folder))
    name = experiment.channels[channel]
    if name not in found:
        raise MissingFileError(f"'{folder}' holds no images of {name}. It holds: {', '.join(found)}. Copy them from the rig.")
    files = found[name]
    first = read_stack(f"{folder}/{files.names[0]}")
    if (first.first.height, first.first.width) != experiment.frame_shape_px:
        raise FormatError(
            f"'{folder / files.names[0]}' is {first.first.height} x {first.first.width} px. Expected "
            f"{experiment.frame_shape_px} as in {EXPERIMENT_FILE}: they are of different recordings."
        )
    if len(files.names) == 1 and first.n_images > 1:
        order = first.order
        n_channels = order.n_channels if order is not None and order.n_channels == len(experiment.channels) else 1
        interleaving = Interleaving(n_channels, experiment.n_planes, experiment.n_flyback)
        plane = choose_plane(options.plane, experiment.n_planes, str(folder))
        pages = interleaving.images(first.n_images, channel=channel if n_channels > 1 else 0, plane=plane)
        places = FramePlaces(folder, FileNames.of(files.names), Zeros(len(pages)), pages, False)
        n_planes, n_images = experiment.n_planes, first.n_images // n_channels
        gaps = interleaving.findings(first.n_images, str(folder))
    else:
        places, n_planes, gaps = _place_files(folder, files, experiment, options)
        n_images = len(files.names)
    return TiffMovie(
        places,
        frame_shape_px=experiment.frame_shape_px,
        dtype=first.dtype,
        metadata=_metadata(experiment, n_planes, len(places), options, str(folder)),
        source=str(folder),
        findings=(*experiment.findings, *gaps, *_announced_differs(experiment, n_images, str(folder))),
    )


def _group(folder: Path) -> Iterator[tuple[str, _Files]]:
    """Yield the files of each channel."""
    rows: dict[str, list[tuple[int, int, str]]] = {name: [] for name in CHANNELS}
    tiles = set()
    for name in list_folder(folder).names:
        match = TIFF_NAME.fullmatch(name)
        if match is not None:
            rows[f"Chan{match[1][-1].upper()}"].append((int(match[5]), int(match[4]), name))
            tiles.add((int(match[2]), int(match[3])))
    if len(tiles) > 1:
        raise FormatError(f"'{folder}' holds images of {len(tiles)} tiles. Expected a movie of one field; tiles are not joined.")
    for channel, files in rows.items():
        if files:
            files.sort()
            times, planes, names = zip(*files, strict=True)
            yield channel, _Files(list(names), np.array(planes), np.array(times))


def _place_files(
    folder: Path, files: _Files, experiment: ThorExperiment, options: ThorImageOptions
) -> tuple[FramePlaces, int, tuple[Finding, ...]]:
    """Return where the frames of one plane lie among files of one frame each, how many planes there are, and what is odd."""
    numbers = np.unique(files.planes)
    if len(numbers) == 1:  # planes, if any, follow one another in time
        n_planes = experiment.n_planes
        plane = choose_plane(options.plane, n_planes, str(folder))
        interleaving = Interleaving(1, n_planes, experiment.n_flyback)
        chosen = np.asarray(interleaving.images(len(files.names), plane=plane))
        odd = interleaving.findings(len(files.names), str(folder))
        checked, where = files.times, np.arange(len(files.names))
    else:
        n_planes = experiment.n_planes if len(numbers) == experiment.n_planes + experiment.n_flyback else len(numbers)
        plane = choose_plane(options.plane, n_planes, str(folder))
        counts = [int(np.sum(files.planes == number)) for number in numbers]
        chosen = np.flatnonzero(files.planes == numbers[plane])
        odd = _unequal_planes(counts, str(folder)) if len(set(counts)) > 1 else ()
        checked, where = files.times[chosen], chosen
        chosen = chosen[: min(counts)]
    series = NumberedFiles(tuple(files.names[place] for place in where), tuple(checked.tolist()), TIFF_NAME.pattern)
    gaps = check_gaps(folder, series, allow_gaps=options.allow_gaps)
    names = FileNames.of([files.names[place] for place in chosen])
    return FramePlaces(folder, names, range(len(names)), Zeros(len(names)), True), n_planes, (*odd, *gaps)


def _unequal_planes(counts: list[int], source: str) -> tuple[Finding, ...]:
    message = f"The planes have {min(counts)} to {max(counts)} images; those after the last complete volume are left out."
    return (Finding("incomplete-last-volume", message, where=source, evidence={"images_of_planes": counts[:100]}),)
