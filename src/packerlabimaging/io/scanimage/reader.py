"""The reader of ScanImage movies: one TIFF file, or a folder with the files of one acquisition."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packerlabimaging.errors import FormatError, PackerLabImagingError
from packerlabimaging.io.interleaving import choose_channel, choose_plane
from packerlabimaging.io.movie_options import MovieOptions
from packerlabimaging.io.readers import Inspection, Reader, unreadable
from packerlabimaging.io.scanimage.arrangement import describe
from packerlabimaging.io.scanimage.header import find_header
from packerlabimaging.io.scanimage.recording import Recording, RecordingFiles, find_files, page_text, page_time
from packerlabimaging.io.tiff.files import OpenTiff, find_pages
from packerlabimaging.io.tiff.movie import TiffMovie
from packerlabimaging.io.tiff.numbered import is_tiff_name


@dataclass(frozen=True, kw_only=True)
class ScanImageOptions(MovieOptions):
    """Options of :meth:`ScanImageReader.open`, beside those of :class:`~packerlabimaging.io.movie_options.MovieOptions`.

    Parameters
    ----------
    frame_times
        Read the time of every frame from its page, into ``metadata.frame_times_s``: one small read a frame.
    n_flyback
        Flyback frames that the file holds after each volume, where the header is wrong.
    pattern
        Glob pattern of the file names, where a folder holds several series.
    allow_gaps
        Join the files of a folder even where numbers are missing in between.
    """

    frame_times: bool = False
    n_flyback: int | None = None
    pattern: str | None = None
    allow_gaps: bool = False


class ScanImageMovie(TiffMovie):
    """A movie of ScanImage; each page knows when it was taken."""

    def read_frame_times(self) -> np.ndarray:
        """Read the time of each frame from its page.

        Returns
        -------
        numpy.ndarray
            Start of each frame on ScanImage's clock, float64, shape ``(n_frames,)``, seconds.

        Raises
        ------
        FormatError
            If a page has no time.
        """
        times = np.empty(self.n_frames)
        frame = 0
        while frame < self.n_frames:
            path, _ = self.frame_source(frame)
            with OpenTiff(str(path)) as file:
                table = find_pages(file)
                while frame < self.n_frames and self.frame_source(frame)[0] == path:
                    page = self.frame_source(frame)[1]
                    time = page_time(page_text(file, table.offset(page), page))
                    if time is None:
                        raise FormatError(f"'{path}' page {page + 1} has no time. Only ScanImage 4 and later writes them.")
                    times[frame] = time
                    frame += 1
        return times


class ScanImageReader(Reader):
    """Reads TIFF files of ScanImage."""

    name = "scanimage"
    kind = "movie"
    description = "ScanImage TIFF (versions 3.8 to 2023), one file or a folder with those of one acquisition"
    options = ScanImageOptions

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is a TIFF file with ScanImage's header, or a folder whose first TIFF file is one."""
        try:
            file = _first_tiff(path) if path.is_dir() else path
            if file is None or not is_tiff_name(file.name):
                return False
            with OpenTiff(str(file)) as tiff:
                return find_header(tiff) is not None
        except (PackerLabImagingError, OSError):
            return False

    def open(self, path: Path, **options: Any) -> ScanImageMovie:
        """Open one channel of one plane, headers only.

        Parameters
        ----------
        path
            A TIFF file, or a folder with the numbered files of one acquisition.
        options
            Those of :class:`ScanImageOptions`.

        Raises
        ------
        AmbiguousInputError
            If there are several channels, planes or series of files and none was chosen.
        MissingFileError
            If numbers are missing within a series.
        FormatError
            If a file is cut or damaged, or its header makes no sense.
        """
        chosen = ScanImageOptions(**options)
        path = Path(path)
        files = find_files(path, pattern=chosen.pattern, allow_gaps=chosen.allow_gaps)
        recording = Recording.read(files, n_flyback=chosen.n_flyback)
        layout, source = recording.arrangement.interleaving, str(path)
        channels = recording.arrangement.channels, recording.arrangement.channel_numbers
        channel = choose_channel(chosen.channel, channels[0], source, numbers=channels[1])
        plane = choose_plane(chosen.plane, layout.n_planes, source)
        images = layout.images(files.n_images, channel=channel, plane=plane)
        if not len(images):
            raise FormatError(
                f"'{path}' holds {files.n_images} pages. Expected at least one volume of {layout.images_per_time} (channels x "
                "frames of a volume): the recording was stopped within the first, or the header is wrong. Use reader='tiff' then."
            )
        movie = self._movie(files, recording, images, chosen, source)
        if chosen.frame_times:
            times = movie.read_frame_times()
            movie.metadata = movie.metadata.replace(frame_times_s=times - times[0])
        return movie

    def _movie(
        self, files: RecordingFiles, recording: Recording, images: Sequence[int], options: ScanImageOptions, source: str
    ) -> ScanImageMovie:
        shape = (len(images), *files.shape)
        rate, from_times = recording.rate_hz
        found = describe(recording.header, files.shape, recording.arrangement).replace(
            n_frames=shape[0],
            frame_rate_hz=rate,
            frame_rate_source=None if rate is None else "frame times" if from_times else "nominal",
            acquired=recording.acquired,
        )
        metadata = options.complete(found, shape, source)
        return ScanImageMovie(
            files.places(images),
            frame_shape_px=files.shape,
            dtype=files.dtype,
            metadata=metadata,
            source=source,
            findings=(*files.findings, *recording.findings, *recording.arrangement.interleaving.findings(files.n_images, source)),
        )

    def inspect(self, path: Path) -> Inspection:
        """Describe a file or folder; what can't be read is a finding, not an error."""
        try:
            files = find_files(path, pattern=None, allow_gaps=True)
            recording = Recording.read(files)
        except PackerLabImagingError as error:
            return Inspection(str(path), self.name, self.kind, {}, (unreadable(error, path),))
        arrangement, metadata = recording.arrangement, describe(recording.header, files.shape, recording.arrangement)
        facts: dict[str, Any] = {
            "program_version": recording.header.version,
            "files": len(files.names),
            "images": files.n_images,
            "n_frames": arrangement.interleaving.n_frames(files.n_images),
            "frame_shape_px": list(files.shape),
            "dtype": str(files.dtype),
            "channels": list(arrangement.channels),
            "n_planes": arrangement.interleaving.n_planes,
            "n_flyback_frames": arrangement.interleaving.n_flyback,
            "n_averaged": arrangement.n_averaged,
            "frame_rate_hz": recording.rate_hz[0],
            "pixel_size_um": None if metadata.pixel_size_um is None else list(metadata.pixel_size_um),
            "zoom": metadata.zoom,
            "acquired": None if recording.acquired is None else recording.acquired.isoformat(),
        }
        layout = arrangement.interleaving.findings(files.n_images, str(path))
        return Inspection(str(path), self.name, self.kind, facts, (*files.findings, *recording.findings, *layout))


def _first_tiff(folder: Path) -> Path | None:
    with os.scandir(folder) as entries:
        name = next((entry.name for entry in entries if is_tiff_name(entry.name) and entry.is_file()), None)
    return None if name is None else folder / name
