"""Options that readers of movies share: which channel and plane, and what the user says by hand where a file can't.

The options of a reader are :class:`MovieOptions`, or a subclass with those of its format; :class:`InterleavedOptions` is for
files of bare images whose order the user knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from packerlabimaging._check import check_positive
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.errors import ParameterError
from packerlabimaging.io.interleaving import Interleaving, check_count


@dataclass(frozen=True, kw_only=True)
class MovieOptions:
    """Options of every reader of movies.

    Parameters
    ----------
    channel
        Channel by name or by the number that the program gives it; needed where there are several.
    plane
        Zero-based plane; needed where there are several.
    metadata
        How the movie was taken, by hand; replaces all that the file says.
    frame_rate_hz, pixel_size_um
        By hand, only these two; the pixel size as ``(y, x)`` or one number.
    """

    channel: int | str | None = None
    plane: int | None = None
    metadata: ImagingMetadata | None = None
    frame_rate_hz: float | None = None
    pixel_size_um: float | tuple[float, float] | None = None

    def complete(self, found: ImagingMetadata, shape: tuple[int, int, int], source: str) -> ImagingMetadata:
        """Return what a file says about its movie, with what the user says in its place.

        Parameters
        ----------
        found
            As read from the file.
        shape
            Of the movie, ``(n_frames, height, width)``.
        source
            The file, for messages.

        Raises
        ------
        ParameterError
            If what is given does not fit the movie, or makes no sense.
        """
        result = found if self.metadata is None else _fitting(self.metadata, shape, source)
        if self.frame_rate_hz is not None:
            result = result.replace(frame_rate_hz=self.frame_rate_hz, frame_rate_source="given")
        if self.pixel_size_um is not None:
            result = result.replace(pixel_size_um=_pair(self.pixel_size_um))
        return result


@dataclass(frozen=True, kw_only=True)
class InterleavedOptions(MovieOptions):
    """Options where channels and planes follow one another in time: those of :class:`MovieOptions`, and how.

    Parameters
    ----------
    n_channels, n_planes
        How many channels and planes are interleaved; by default as the file says, else 1.
    order
        Axes of the images, slowest first (``"tzc"``: the channels of a plane come first, then the next plane, then the next
        time).
    """

    n_channels: int | None = None
    n_planes: int | None = None
    order: str = "tzc"

    def interleaving(self, n_images: int, source: str) -> Interleaving | None:
        """Return how ``n_images`` images are interleaved, None where the user does not say it.

        Raises
        ------
        ParameterError
            If the numbers make no sense, or ask for more images than there are.
        """
        if self.n_channels is None and self.n_planes is None:
            if self.order != InterleavedOptions.order:
                raise ParameterError(f"order = {self.order!r} orders channels and planes. Give n_channels= or n_planes=, too.")
            return None
        given = {"n_channels": self.n_channels, "n_planes": self.n_planes}
        counts = {name: check_count(name, value) for name, value in given.items() if value is not None}
        found = Interleaving(**counts, order=self.order)
        if found.images_per_time > n_images:
            raise ParameterError(
                f"'{source}' holds {n_images} images. Expected at least {found.images_per_time} (channels x planes). "
                "Check n_channels= and n_planes=."
            )
        return found


def _pair(size_um: float | tuple[float, float]) -> tuple[float, float]:
    """Return a pixel size as ``(y, x)``."""
    sizes = size_um if isinstance(size_um, Sequence) else (size_um, size_um)
    if isinstance(sizes, str) or len(sizes) != 2:
        raise ParameterError(f"pixel_size_um = {size_um!r} is not possible. Give (y, x) in micrometres, or one number.")
    return check_positive("pixel_size_um", sizes[0]), check_positive("pixel_size_um", sizes[1])


def _fitting(metadata: ImagingMetadata, shape: tuple[int, int, int], source: str) -> ImagingMetadata:
    """Return metadata given by hand for a movie of ``shape``, or raise if they are another's."""
    if metadata.frame_shape_px != shape[1:]:
        raise ParameterError(f"The metadata are for frames of {metadata.frame_shape_px}. Expected {shape[1:]}, as in '{source}'.")
    times = metadata.frame_times_s
    if times is not None and len(times) != shape[0]:
        raise ParameterError(f"The metadata name the times of {len(times)} frames. Expected {shape[0]}, as in '{source}'.")
    return metadata.replace(n_frames=shape[0])
