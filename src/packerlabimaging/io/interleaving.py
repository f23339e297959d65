"""How the images of several channels and planes follow one another in a file, and which of them make one movie.

Most acquisition programs write one image after the other: all channels of a plane, then the next plane, then the next time,
with some images of a flying-back objective in between. :class:`Interleaving` says so in one value, and gives the images of
one channel of one plane; the readers of raw binaries, HDF5, Zarr, ThorImage, ScanImage and Scanbox share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from packerlabimaging._check import check_positive
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError


@dataclass(frozen=True, slots=True)
class Interleaving:
    """Order of the images of a recording.

    Parameters
    ----------
    n_channels, n_planes
        How many there are.
    n_flyback
        Images of each channel that follow the last plane of a volume and belong to none.
    n_repeats
        Images taken of a plane, one after another, before the next plane.
    order
        Axes of the images, the one that changes slowest first: ``"tzc"`` means that the channels of a plane come first, then
        the next plane, then the next time.

    Raises
    ------
    ParameterError
        If a number makes no sense, or ``order`` does not hold t, z and c once each, or needs another place for the flyback.
    """

    n_channels: int = 1
    n_planes: int = 1
    n_flyback: int = 0
    n_repeats: int = 1
    order: str = "tzc"

    def __post_init__(self) -> None:
        for name in ("n_channels", "n_planes", "n_flyback", "n_repeats"):
            object.__setattr__(self, name, check_count(name, getattr(self, name), zero=name == "n_flyback"))
        order = str(self.order).lower()
        if sorted(order) != ["c", "t", "z"]:
            raise ParameterError(f"order = {self.order!r} is not possible. Give t, z and c once each, slowest first, e.g. 'tzc'.")
        if (self.n_flyback or self.n_repeats > 1) and order != "tzc":
            raise ParameterError(f"Flyback and repeated images are known in the order 'tzc' only, not in {self.order!r}.")
        object.__setattr__(self, "order", order)

    @property
    def images_per_time(self) -> int:
        """Images from one time to the next, flyback included."""
        return self.n_channels * (self.n_planes * self.n_repeats + self.n_flyback)

    def n_frames(self, n_images: int) -> int:
        """Return how many frames each channel of each plane has; an incomplete last time is left out.

        Raises
        ------
        FormatError
            If images are missing and time is not the slowest axis: then it can't be told which.
        """
        if n_images % self.images_per_time and self.order[0] != "t":
            raise FormatError(
                f"{n_images} images are no multiple of {self.images_per_time} (channels x planes), which order='{self.order}' "
                "needs. Check n_channels= and n_planes=."
            )
        return n_images // self.images_per_time * self.n_repeats

    def images(self, n_images: int, *, channel: int = 0, plane: int = 0) -> Sequence[int]:
        """Return the images of one channel of one plane, both zero-based, in the order of time; a ``range`` where they can be."""
        n_frames = self.n_frames(n_images)
        if not n_frames:
            return range(0)
        if self.n_repeats > 1:
            first = (plane * self.n_repeats + np.arange(self.n_repeats)) * self.n_channels + channel
            volumes = np.arange(n_frames // self.n_repeats)[:, np.newaxis] * self.images_per_time
            return (volumes + first).ravel()  # type: ignore[return-value]
        sizes = {"c": self.n_channels, "z": self.n_planes + self.n_flyback, "t": n_frames}
        steps, step = {}, 1
        for axis in reversed(self.order):
            steps[axis] = step
            step *= sizes[axis]
        start = channel * steps["c"] + plane * steps["z"]
        return range(start, start + n_frames * steps["t"], steps["t"])

    def findings(self, n_images: int, source: str) -> tuple[Finding, ...]:
        """Return what the number of images shows: an incomplete last time."""
        rest = n_images % self.images_per_time
        if not rest:
            return ()
        return (
            Finding(
                "incomplete-last-volume",
                f"{n_images} images are no multiple of {self.images_per_time} (channels x planes): the last {rest} are left out.",
                where=source,
                evidence={"n_images": n_images, "images_per_time": self.images_per_time},
            ),
        )


def check_count(name: str, value: object, *, zero: bool = False) -> int:
    """Return a whole number > 0 (>= 0 with ``zero``), or raise a ParameterError."""
    number = check_positive(name, value, zero=zero)  # type: ignore[arg-type]
    if number != int(number):
        raise ParameterError(f"{name} = {value!r} is not possible. Give a whole number.")
    return int(number)


def choose_channel(channel: int | str | None, names: Sequence[str], source: str, *, numbers: Sequence[int] = ()) -> int:
    """Return the zero-based place of a channel in the file.

    Parameters
    ----------
    channel
        Its name or number, or None where there is only one.
    names
        Names of the channels, in the file's order.
    numbers
        Numbers that the program gives them; by default 1, 2, ...

    Raises
    ------
    AmbiguousInputError
        If there are several and none was chosen.
    ParameterError
        If there is no such channel.
    """
    numbers = numbers or range(1, len(names) + 1)
    labels = [name if name == str(number) else f"{name} ({number})" for name, number in zip(names, numbers, strict=True)]
    if channel is None:
        if len(names) > 1:
            raise AmbiguousInputError(f"'{source}' has {len(names)} channels: {', '.join(labels)}. Choose with channel=.")
        return 0
    text = str(channel).strip().lower()
    lowered = [name.lower() for name in names]
    if lowered.count(text) == 1:
        return lowered.index(text)
    if text in [str(number) for number in numbers]:
        return [str(number) for number in numbers].index(text)
    raise ParameterError(f"channel = {channel!r} is not in '{source}'. Its channels: {', '.join(labels)}.")


def choose_plane(plane: int | None, n_planes: int, source: str) -> int:
    """Return the zero-based plane.

    Raises
    ------
    AmbiguousInputError
        If there are several and none was chosen.
    ParameterError
        If there is no such plane.
    """
    if plane is None:
        if n_planes > 1:
            raise AmbiguousInputError(f"'{source}' has {n_planes} planes: 0 to {n_planes - 1}. Choose with plane=.")
        return 0
    if isinstance(plane, bool) or not isinstance(plane, Integral) or plane not in range(n_planes):
        raise ParameterError(f"plane = {plane!r} is not in '{source}'. Its planes: 0 to {n_planes - 1}.")
    return int(plane)
