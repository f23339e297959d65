"""A PrairieView recording as a movie: one channel of one plane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.interleaving import choose_plane
from packerlabimaging.io.movie_options import MovieOptions
from packerlabimaging.io.prairieview.arrangement import arrange_frames
from packerlabimaging.io.prairieview.environment import read_environment
from packerlabimaging.io.prairieview.folder import RecordingFolder, find_recording
from packerlabimaging.io.prairieview.frames import FrameFiles, channels_with_images, choose_channel, locate_frames
from packerlabimaging.io.prairieview.metadata import build_metadata, complete_from_environment
from packerlabimaging.io.prairieview.unlisted import find_unlisted_frames
from packerlabimaging.io.prairieview.xml import read_pvscan
from packerlabimaging.io.tiff.movie import TiffMovie


@dataclass(frozen=True, kw_only=True)
class PrairieViewOptions(MovieOptions):
    """Options of :func:`open_prairieview`, beside those of :class:`~packerlabimaging.io.movie_options.MovieOptions`.

    Parameters
    ----------
    n_planes
        Planes per volume, where there is no XML to tell; 1 says that all files are frames in time.
    allow_gaps
        Where there is no XML: join the files even where numbers are missing in between.
    """

    n_planes: int | None = None
    allow_gaps: bool = False


class PrairieViewMovie(TiffMovie):
    """One channel of one plane of a PrairieView recording, read from its image files.

    Made by :func:`open_prairieview`. ``channel`` is the program's number of the channel, ``plane`` the zero-based plane.
    ``metadata`` are those of the recording: of several planes, ``frame_times_s`` has a column for each.
    """

    def __init__(
        self,
        files: FrameFiles,
        *,
        channel: int,
        plane: int,
        metadata: ImagingMetadata,
        source: str,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        super().__init__(
            files.places,
            frame_shape_px=files.shape[1:],
            dtype=files.first.dtype,
            metadata=metadata,
            source=source,
            findings=(*findings, *files.findings),
        )
        self.channel = channel
        self.plane = plane


def open_prairieview(path: str | Path, **options: Any) -> PrairieViewMovie:
    """Open a recording from its folder or its XML, headers only.

    Parameters
    ----------
    path
        Folder, or the scan's XML in it.
    options
        Those of :class:`PrairieViewOptions`.

    Raises
    ------
    MissingFileError
        If frames have no image; they are named.
    AmbiguousInputError
        If there are several scans, channels or planes and none was chosen, or without an XML the order is not certain.
    FormatError
        If the XML or an image is damaged.
    """
    chosen = PrairieViewOptions(**options)
    recording = find_recording(Path(path))
    if recording.xml is None:
        return _open_unlisted(recording, chosen)
    if chosen.n_planes is not None or chosen.allow_gaps:
        raise ParameterError(
            f"'{recording.xml}' tells planes and frames. n_planes= and allow_gaps= are for folders without an XML."
        )
    arrangement = arrange_frames(read_pvscan(recording.xml))
    if not arrangement.channels:
        raise ParameterError(f"'{recording.xml}' lists no image files. Expected File elements in its frames.")
    channel = choose_channel(chosen.channel, arrangement.channels, channels_with_images(arrangement, recording), recording.xml)
    plane = choose_plane(chosen.plane, arrangement.n_planes, str(recording.xml))
    files = locate_frames(arrangement, recording, channel=channel, plane=plane)
    found, noticed = build_metadata(arrangement, channel=channel, frame_shape_px=files.shape[1:])
    metadata, given = _with_given(found, files, chosen, str(recording.xml))
    findings = (*arrangement.findings, *noticed, *given)
    return PrairieViewMovie(files, channel=channel, plane=plane, metadata=metadata, source=str(path), findings=findings)


def _open_unlisted(recording: RecordingFolder, chosen: PrairieViewOptions) -> PrairieViewMovie:
    plain = find_unlisted_frames(
        recording, channel=chosen.channel, plane=chosen.plane, n_planes=chosen.n_planes, allow_gaps=chosen.allow_gaps
    )
    source = str(recording.folder)
    found, noticed = plain.metadata(), tuple[Finding, ...]()
    environment = recording.find_environment(plain.name)
    if environment is not None:
        try:
            found, noticed = complete_from_environment(found, *read_environment(environment), str(environment))
        except FormatError as error:  # the images are there all the same
            noticed = (Finding("unreadable-env", str(error), where=str(environment)),)
    metadata, given = _with_given(found, plain.files, chosen, source)
    findings = (*plain.missing_xml(metadata), *noticed, *given)
    return PrairieViewMovie(
        plain.files, channel=plain.channel, plane=plain.plane, metadata=metadata, source=source, findings=findings
    )


def _with_given(
    found: ImagingMetadata, files: FrameFiles, chosen: PrairieViewOptions, source: str
) -> tuple[ImagingMetadata, tuple[Finding, ...]]:
    """Return metadata with what was given by hand, and a finding where the rate contradicts the frame times."""
    metadata = chosen.complete(found, files.shape, source)
    measured, given = found.frame_rate_hz, metadata.frame_rate_hz
    if found.frame_rate_source != "frame times" or not measured or not given or abs(given / measured - 1) <= 0.01:
        return metadata, ()
    finding = Finding(
        "given-rate-differs",
        f"The given rate is {given:.6g} Hz, the frame times say {measured:.6g} Hz; the given one counts.",
        where=source,
        evidence={"given_hz": given, "measured_hz": measured},
    )
    return metadata, (finding,)


def read_prairieview_metadata(path: str | Path) -> ImagingMetadata:
    """Read how a recording was taken from its XML alone; the images need not be there.

    Parameters
    ----------
    path
        Folder, or the scan's XML.

    Raises
    ------
    MissingFileError
        If there is no XML.
    FormatError
        If it is damaged, holds no frames (a voltage recording), or does not tell the frame size.
    """
    recording = find_recording(Path(path))
    return build_metadata(arrange_frames(read_pvscan(recording.require_xml())))[0]
