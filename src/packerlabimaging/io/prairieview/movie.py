"""A PrairieView recording as a movie: one channel of one plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.prairieview.arrangement import arrange_frames
from packerlabimaging.io.prairieview.folder import find_recording
from packerlabimaging.io.prairieview.frames import FrameFiles, channels_with_images, choose_channel, choose_plane, locate_frames
from packerlabimaging.io.prairieview.metadata import build_metadata
from packerlabimaging.io.prairieview.unlisted import PlainFolder, find_unlisted_frames
from packerlabimaging.io.prairieview.xml import read_pvscan
from packerlabimaging.io.tiff.movie import TiffMovie
from packerlabimaging.io.tiff.reader import check_given, pixel_size_pair


class PrairieViewMovie(TiffMovie):
    """One channel of one plane of a PrairieView recording, read from its image files.

    Made by :func:`open_prairieview`. ``channel`` is the program's number of the channel, ``plane`` the zero-based plane.
    ``metadata`` are those of the recording: of several planes, ``frame_times_s`` has a column for each.
    """

    def __init__(
        self, folder: Path, files: FrameFiles, *, channel: int, plane: int, metadata: ImagingMetadata, **rest: Any
    ) -> None:
        first = files.first
        super().__init__(
            folder,
            files.names,
            file_index=files.file_index,  # type: ignore[arg-type]
            page_index=files.page_index,  # type: ignore[arg-type]
            one_page=first.n_images == 1 and not files.page_index.any(),
            shape=(len(files.file_index), first.first.height, first.first.width),
            dtype=first.dtype,
            metadata=metadata,
            **rest,
        )
        self.channel = channel
        self.plane = plane


def open_prairieview(
    path: str | Path,
    *,
    channel: int | str | None = None,
    plane: int | None = None,
    metadata: ImagingMetadata | None = None,
    frame_rate_hz: float | None = None,
    pixel_size_um: float | tuple[float, float] | None = None,
    n_planes: int | None = None,
    allow_gaps: bool = False,
) -> PrairieViewMovie:
    """Open a recording from its folder or its XML, headers only.

    Parameters
    ----------
    path
        Folder, or the scan's XML in it.
    channel
        Number or name of the channel; needed where images of several are there.
    plane
        Zero-based plane; needed where there are several.
    metadata
        How the movie was taken, by hand, in place of what the XML says.
    frame_rate_hz, pixel_size_um
        The same, only these two; the pixel size as ``(y, x)`` or one number.
    n_planes
        Planes per volume, where there is no XML to tell; 1 says that all files are frames in time.
    allow_gaps
        Where there is no XML: join the files even where numbers are missing in between.

    Raises
    ------
    MissingFileError
        If frames have no image; they are named.
    AmbiguousInputError
        If there are several scans, channels or planes and none was chosen, or without an XML the order is not certain.
    FormatError
        If the XML or an image is damaged.
    """
    recording = find_recording(Path(path))
    if recording.xml is None:
        plain = find_unlisted_frames(recording, channel=channel, plane=plane, n_planes=n_planes, allow_gaps=allow_gaps)
        return _open_unlisted(plain, metadata, frame_rate_hz, pixel_size_um)
    if n_planes is not None or allow_gaps:
        raise ParameterError(
            f"'{recording.xml}' tells planes and frames. n_planes= and allow_gaps= are for folders without an XML."
        )
    arrangement = arrange_frames(read_pvscan(recording.xml))
    if not arrangement.channels:
        raise ParameterError(f"'{recording.xml}' lists no image files. Expected File elements in its frames.")
    number = choose_channel(channel, arrangement.channels, channels_with_images(arrangement, recording), recording.xml)
    index = choose_plane(plane, arrangement.n_planes, recording.xml)
    files = locate_frames(arrangement, recording, channel=number, plane=index)
    shape = (files.first.first.height, files.first.first.width)
    found, noticed = build_metadata(arrangement, channel=number, frame_shape_px=shape)
    if metadata is not None:
        found = check_given(metadata, (len(files.file_index), *shape), str(recording.xml))
    found, given = apply_given(found, frame_rate_hz, pixel_size_um, str(recording.xml))
    return PrairieViewMovie(
        recording.folder,
        files,
        channel=number,
        plane=index,
        metadata=found,
        source=str(path),
        findings=(*arrangement.findings, *files.findings, *noticed, *given),
    )


def _open_unlisted(
    plain: PlainFolder,
    metadata: ImagingMetadata | None,
    frame_rate_hz: float | None,
    pixel_size_um: float | tuple[float, float] | None,
) -> PrairieViewMovie:
    shape = (len(plain.files.file_index), plain.files.first.first.height, plain.files.first.first.width)
    found = plain.metadata(shape) if metadata is None else check_given(metadata, shape, str(plain.folder))
    found, given = apply_given(found, frame_rate_hz, pixel_size_um, str(plain.folder))
    return PrairieViewMovie(
        plain.folder,
        plain.files,
        channel=plain.channel,
        plane=plain.plane,
        metadata=found,
        source=str(plain.folder),
        findings=(*plain.files.findings, *plain.missing_xml(found), *given),
    )


def apply_given(
    metadata: ImagingMetadata, frame_rate_hz: float | None, pixel_size_um: float | tuple[float, float] | None, source: str
) -> tuple[ImagingMetadata, tuple[Finding, ...]]:
    """Return metadata with rate and pixel size given by hand, and a finding where the rate contradicts the frame times."""
    findings: tuple[Finding, ...] = ()
    if frame_rate_hz is not None:
        frame_rate_hz = check_positive("frame_rate_hz", frame_rate_hz)
        measured = metadata.frame_rate_hz
        if metadata.frame_rate_source == "frame times" and measured is not None and abs(frame_rate_hz / measured - 1) > 0.01:
            findings = (
                Finding(
                    "given-rate-differs",
                    f"The given rate is {frame_rate_hz:.6g} Hz, the frame times say {measured:.6g} Hz; the given one counts.",
                    where=source,
                    evidence={"given_hz": frame_rate_hz, "measured_hz": measured},
                ),
            )
        metadata = metadata.replace(frame_rate_hz=frame_rate_hz, frame_rate_source="given")
    if pixel_size_um is not None:
        metadata = metadata.replace(pixel_size_um=pixel_size_pair(pixel_size_um))
    return metadata, findings


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
