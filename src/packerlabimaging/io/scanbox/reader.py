"""The reader of Scanbox movies: 16-bit samples of an inverted detector, all channels of a pixel together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.errors import AmbiguousInputError, FormatError, PackerLabImagingError
from packerlabimaging.io.binary.movie import count_images, fill
from packerlabimaging.io.interleaving import Interleaving, choose_channel, choose_plane
from packerlabimaging.io.movie_options import MovieOptions
from packerlabimaging.io.readers import Inspection, Reader, unreadable
from packerlabimaging.io.scanbox.info import ScanboxInfo, read_scanbox_info

BRIGHTEST = 65535
"""The detector's signal is negative: a pixel is this less the sample (Scanbox's ``sbxread`` does the same)."""

_READ_BYTES = 4 << 20


class ScanboxMovie(Movie):
    """One channel of some of the frames of an ``.sbx`` file, brighter where more light fell.

    Parameters
    ----------
    path
        The ``.sbx`` file.
    frame_shape_px
        ``(lines, columns)``.
    n_channels
        Channels of each pixel.
    channel
        Zero-based channel.
    images
        Frames of the file that are the frames of the movie.
    metadata, findings
        See :class:`~packerlabimaging.core.movie.Movie`.
    """

    def __init__(
        self,
        path: Path,
        *,
        frame_shape_px: tuple[int, int],
        n_channels: int,
        channel: int,
        images: Sequence[int],
        metadata: ImagingMetadata,
        findings: Sequence[Finding] = (),
    ) -> None:
        shape = (len(images), *frame_shape_px)
        super().__init__(shape, "uint16", metadata=metadata, source=str(path), findings=findings)
        self.path = path
        self._n_channels, self._channel, self._images = n_channels, channel, images

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        height, width = self.frame_shape_px
        frame_bytes = height * width * self._n_channels * 2
        images = self._images[start:stop]
        adjacent = isinstance(images, range) and images.step == 1
        n_at_once = max(1, _READ_BYTES // frame_bytes) if adjacent else 1
        samples = np.empty((min(n_at_once, len(images)), height, width, self._n_channels), "<u2")
        with open(self.path, "rb", buffering=0) as file:
            for first in range(0, len(images), n_at_once):
                part = samples[: len(images) - first]
                file.seek(int(images[first]) * frame_bytes)
                fill(file, part, self.path)
                np.subtract(BRIGHTEST, part[..., self._channel], out=out[first : first + len(part)], casting="unsafe")


@dataclass(frozen=True, kw_only=True)
class ScanboxOptions(MovieOptions):
    """Options of :meth:`ScanboxReader.open`, beside those of :class:`~packerlabimaging.io.movie_options.MovieOptions`.

    Parameters
    ----------
    channel
        ``"pmt0"`` (green) or ``"pmt1"`` (red), or 1 or 2 as Scanbox's reader counts them, where both were saved.
    n_planes
        Planes of a volume, where the ``.mat`` file does not say.
    """

    n_planes: int | None = None


class ScanboxReader(Reader):
    """Reads Scanbox's ``.sbx`` files."""

    name = "scanbox"
    kind = "movie"
    description = "a Scanbox movie, .sbx with its .mat beside it (versions 1 to 3)"
    options = ScanboxOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is an ``.sbx`` file."""
        return path.suffix.lower() == ".sbx" and path.is_file() and path.with_suffix(".mat").is_file()

    def open(self, path: Path, **options: Any) -> ScanboxMovie:
        """Open one channel of one plane; reads the ``.mat`` file only.

        Parameters
        ----------
        path
            The ``.sbx`` file.
        options
            Those of :class:`ScanboxOptions`.

        Raises
        ------
        MissingFileError
            If one of the two files is not there.
        AmbiguousInputError
            If there are several channels or planes and none was chosen, or nothing says how many planes there are.
        FormatError
            If the ``.mat`` file can't be read or makes no sense, or there is not one whole volume.
        """
        chosen = ScanboxOptions(**options)
        path = Path(path)
        info = read_scanbox_info(path)
        height, width = info.frame_shape_px
        n_images, rest = count_images(path, (height, width * len(info.channels)), "<u2")
        layout = Interleaving(1, _n_planes(info, chosen.n_planes), 0)
        n_frames = layout.n_frames(n_images)
        if not n_frames:
            raise FormatError(
                f"'{path}' holds {n_images} frames of {height} x {width} px and {len(info.channels)} channels. Expected at least "
                f"one volume of {layout.n_planes}: the file is cut, or the .mat file is another's."
            )
        channel = choose_channel(chosen.channel, info.channels, str(path), numbers=[int(name[3:]) + 1 for name in info.channels])
        plane = choose_plane(chosen.plane, layout.n_planes, str(path))
        rate = None if info.frame_rate_hz is None else info.frame_rate_hz / layout.n_planes
        found = info.metadata.replace(
            n_frames=n_frames, n_planes=layout.n_planes, frame_rate_hz=rate, frame_rate_source=None if rate is None else "nominal"
        )
        metadata = chosen.complete(found, (n_frames, height, width), str(path))
        return ScanboxMovie(
            path,
            frame_shape_px=info.frame_shape_px,
            n_channels=len(info.channels),
            channel=channel,
            images=layout.images(n_images, plane=plane),
            metadata=metadata,
            findings=(*info.findings, *_cut(path, rest), *layout.findings(n_images, str(path))),
        )

    def inspect(self, path: Path) -> Inspection:
        """Describe a recording; what can't be read is a finding, not an error."""
        try:
            info = read_scanbox_info(path)
        except PackerLabImagingError as error:
            return Inspection(str(path), self.name, self.kind, {}, (unreadable(error, path),))
        facts: dict[str, Any] = {
            "program_version": info.metadata.program_version,
            "frame_shape_px": list(info.frame_shape_px),
            "channels": list(info.channels),
            "n_planes": info.n_planes,
            "scanning": info.metadata.sequence_type,
            "frame_rate_hz": None if info.frame_rate_hz is None or not info.n_planes else info.frame_rate_hz / info.n_planes,
            "pixel_size_um": None if info.metadata.pixel_size_um is None else list(info.metadata.pixel_size_um),
            "n_events": {str(number): int(np.sum(info.events[2] == number)) for number in np.unique(info.events[2])},
        }
        findings = info.findings
        try:
            movie = self.open(path, channel=info.channels[0], plane=0)
            facts["n_frames"], findings = movie.n_frames, movie.findings
        except PackerLabImagingError as error:
            findings = (*findings, unreadable(error, path))
        return Inspection(str(path), self.name, self.kind, facts, findings)


def _n_planes(info: ScanboxInfo, given: int | None) -> int:
    if given is not None:
        return given
    if info.n_planes is None:
        raise AmbiguousInputError(
            f"'{info.path}' says that a volume was scanned, but not of how many planes (no etl_table, no otwave). Pass n_planes=."
        )
    return info.n_planes


def _cut(path: Path, rest: int) -> tuple[Finding, ...]:
    if not rest:
        return ()
    message = f"The file ends {rest} bytes into a frame: that frame is left out."
    return (Finding("cut-frame", message, where=str(path), advice="Was the recording stopped, or a copy interrupted?"),)
