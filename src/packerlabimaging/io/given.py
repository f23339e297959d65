"""What a user says by hand where a file can't: rate, pixel size, or everything that is known about a movie."""

from __future__ import annotations

from collections.abc import Sequence

from packerlabimaging._check import check_positive
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import ParameterError


def pixel_size_pair(pixel_size_um: float | tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a pixel size given by hand as ``(y, x)``.

    Raises
    ------
    ParameterError
        If it is neither one positive number nor two.
    """
    if pixel_size_um is None:
        return None
    sizes = pixel_size_um if isinstance(pixel_size_um, Sequence) else (pixel_size_um, pixel_size_um)
    if isinstance(sizes, str) or len(sizes) != 2:
        raise ParameterError(f"pixel_size_um = {pixel_size_um!r} is not possible. Give (y, x) in micrometres, or one number.")
    return check_positive("pixel_size_um", sizes[0]), check_positive("pixel_size_um", sizes[1])


def check_given(metadata: ImagingMetadata, shape: tuple[int, int, int], source: str) -> ImagingMetadata:
    """Return metadata given by hand for a movie of ``shape``.

    Raises
    ------
    ParameterError
        If they are of another frame size, or name times for another number of frames.
    """
    if metadata.frame_shape_px != shape[1:]:
        raise ParameterError(f"The metadata are for frames of {metadata.frame_shape_px}. Expected {shape[1:]}, as in '{source}'.")
    times = metadata.frame_times_s
    if times is not None and len(times) != shape[0]:
        raise ParameterError(f"The metadata name the times of {len(times)} frames. Expected {shape[0]}, as in '{source}'.")
    return metadata.replace(n_frames=shape[0])


def complete_metadata(
    found: ImagingMetadata,
    shape: tuple[int, int, int],
    source: str,
    *,
    metadata: ImagingMetadata | None = None,
    frame_rate_hz: float | None = None,
    pixel_size_um: float | tuple[float, float] | None = None,
) -> ImagingMetadata:
    """Return what a file says about its movie, with what the user says in its place.

    Parameters
    ----------
    found
        As read from the file.
    shape
        Of the movie, ``(n_frames, height, width)``.
    source
        The file, for messages.
    metadata
        Given by hand; replaces all that was found.
    frame_rate_hz, pixel_size_um
        Given by hand; replace only these. The pixel size as ``(y, x)`` or one number.

    Raises
    ------
    ParameterError
        If what is given does not fit the movie, or makes no sense.
    """
    result = found if metadata is None else check_given(metadata, shape, source)
    if frame_rate_hz is not None:
        result = result.replace(frame_rate_hz=frame_rate_hz, frame_rate_source="given")
    if pixel_size_um is not None:
        result = result.replace(pixel_size_um=pixel_size_pair(pixel_size_um))
    return result
