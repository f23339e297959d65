"""Interleaved images: the same as indexing an array whose axes are laid out by numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError
from packerlabimaging.io.interleaving import Interleaving, choose_channel, choose_plane

COUNTS = st.integers(1, 4)


@given(COUNTS, COUNTS, COUNTS, st.permutations("tzc"))
def test_images_are_those_of_an_array_with_these_axes(n_frames, n_planes, n_channels, axes):
    order = "".join(axes)
    sizes = {"t": n_frames, "z": n_planes, "c": n_channels}
    numbers = np.arange(n_frames * n_planes * n_channels).reshape([sizes[axis] for axis in order])
    by_axis = numbers.transpose([order.index(axis) for axis in "tzc"])
    layout = Interleaving(n_channels, n_planes, order=order)
    for plane in range(n_planes):
        for channel in range(n_channels):
            images = layout.images(numbers.size, channel=channel, plane=plane)
            assert list(images) == by_axis[:, plane, channel].tolist()


@given(COUNTS, COUNTS, COUNTS, st.integers(0, 3), COUNTS, st.integers(0, 30))
def test_flyback_and_repeats_and_an_incomplete_end(n_volumes, n_planes, n_channels, n_flyback, n_repeats, stray):
    labels = []
    for volume in range(n_volumes + 1):  # what the microscope does, image by image
        for plane in [*range(n_planes), *[-1] * n_flyback]:
            for repeat in range(n_repeats if plane >= 0 else 1):
                labels.extend((volume * n_repeats + repeat, plane, channel) for channel in range(n_channels))
    per_volume = len(labels) // (n_volumes + 1)
    n_images = n_volumes * per_volume + stray % per_volume
    layout = Interleaving(n_channels, n_planes, n_flyback, n_repeats)
    assert layout.images_per_time == per_volume and layout.n_frames(n_images) == n_volumes * n_repeats
    for plane in range(n_planes):
        for channel in range(n_channels):
            images = list(layout.images(n_images, channel=channel, plane=plane))
            assert [labels[image] for image in images] == [(t, plane, channel) for t in range(n_volumes * n_repeats)]
    assert bool(layout.findings(n_images, "file")) == bool(stray % per_volume)


def test_huge_counts_take_no_memory():
    layout = Interleaving(2, 1 << 30, 3, 1 << 40)
    assert list(layout.images(1000, channel=1)) == []
    images = Interleaving(2).images(1 << 50, channel=1)
    assert isinstance(images, range) and images[-1] == (1 << 50) - 1


def test_what_makes_no_sense_is_refused():
    for values in ({"n_channels": 0}, {"n_planes": -1}, {"n_flyback": -1}, {"n_planes": 1.5}, {"n_channels": float("nan")}):
        with pytest.raises(ParameterError, match=next(iter(values))):
            Interleaving(**values)
    with pytest.raises(ParameterError, match="order = 'tz'"):
        Interleaving(order="tz")
    with pytest.raises(ParameterError, match="in the order 'tzc' only"):
        Interleaving(n_flyback=1, order="ztc")
    with pytest.raises(FormatError, match="7 images are no multiple of 2.*order='ztc'"):
        Interleaving(n_planes=2, order="ztc").n_frames(7)


def test_channels_are_chosen_by_name_or_number():
    names, numbers = ("GCaMP", "ChanC"), (1, 3)
    assert choose_channel("gcamp", names, "file", numbers=numbers) == 0
    assert choose_channel(3, names, "file", numbers=numbers) == choose_channel("3", names, "file", numbers=numbers) == 1
    assert choose_channel(None, ("1",), "file") == 0
    with pytest.raises(AmbiguousInputError, match=r"'file' has 2 channels: GCaMP \(1\), ChanC \(3\)"):
        choose_channel(None, names, "file", numbers=numbers)
    with pytest.raises(ParameterError, match="channel = 2 is not in 'file'"):
        choose_channel(2, names, "file", numbers=numbers)
    with pytest.raises(AmbiguousInputError, match="3 planes: 0 to 2"):
        choose_plane(None, 3, "file")
    for plane in (3, -1, "x", True, 1.0):
        with pytest.raises(ParameterError, match="plane = "):
            choose_plane(plane, 3, "file")
