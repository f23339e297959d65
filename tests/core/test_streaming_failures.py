"""A pass that fails says so at once, whatever the threads are doing."""

from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.core.movie import ArrayMovie, Movie
from packerlabimaging.core.streaming import FovTrace, Projections, stream
from packerlabimaging.errors import FormatError


class _Cut(Movie):
    """A movie that can't be read from a frame on."""

    def __init__(self, good: int) -> None:
        super().__init__((64, 4, 4), np.uint16)
        self.good = good

    def _read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        if stop > self.good:
            raise FormatError("cut")
        out[...] = start


class _Ordered(Projections):
    ordered = True

    def update(self, chunk: np.ndarray, start: int) -> None:
        if start >= 32:
            raise ValueError("no room")
        super().update(chunk, start)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("good", [0, 7, 40])
@pytest.mark.parametrize("reducer", [Projections, _Ordered])
def test_an_unreadable_frame_ends_the_pass(workers: int, good: int, reducer: type) -> None:
    with pytest.raises((FormatError, ValueError), match="cut|no room"):
        stream(_Cut(good), {"images": reducer(), "fov": FovTrace()}, chunk_frames=1, workers=workers)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_failing_reducer_ends_the_pass(workers: int) -> None:
    movie = ArrayMovie(np.zeros((64, 4, 4), np.uint16))
    with pytest.raises(ValueError, match="no room"):
        stream(movie, {"images": _Ordered()}, chunk_frames=1, workers=workers)
