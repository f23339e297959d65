"""Recordings of any arrangement, written by hand: every pixel of every channel and plane is found where it belongs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.io.prairieview import PrairieViewMovie
from packerlabimaging.io.readers import open_movie

HEIGHT, WIDTH, PERIOD_S = 6, 8, 0.125


@st.composite
def arrangements(draw: st.DrawFn) -> SimpleNamespace:
    return SimpleNamespace(
        volumes=draw(st.booleans()),
        cycles=draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)),
        channels=draw(st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True)),
        paged=draw(st.booleans()),  # a file per cycle and channel, as 5.8 writes, or one per frame
        version=draw(st.sampled_from(["4.3.2.13", "5.3.64.400", "5.5.64.600", "5.8.64.813"])),
        names=draw(
            st.sampled_from(
                ["t_Cycle{cycle:05d}_Ch{channel}_{n:06d}.ome.tif", "t_Cycle{cycle:05d}_CurrentSettings_Ch{channel}_{n:06d}.tif"]
            )
        ),
    )


def write_recording(folder: Path, rig: SimpleNamespace, what: SimpleNamespace) -> np.ndarray:
    """Write it; return pixels ``(frame in the scan, channel, y, x)``."""
    n_frames = sum(what.cycles)
    pixels = np.arange(n_frames * len(what.channels) * HEIGHT * WIDTH).astype(np.uint16)
    pixels = pixels.reshape(n_frames, len(what.channels), HEIGHT, WIDTH)
    sequences, at = [], 0
    for cycle, count in enumerate(what.cycles, start=1):
        listed = []
        for position in range(count):
            files = []
            for column, channel in enumerate(what.channels):
                name = what.names.format(cycle=cycle, channel=channel, n=1 if what.paged else position + 1)
                page = f'page="{position + 1}"' if what.paged else ""
                files.append(rig.file_xml(name, channel, page))
                if not what.paged:
                    tifffile.imwrite(folder / name, pixels[at, column], metadata=None)
                elif position == 0:
                    tifffile.imwrite(folder / name, pixels[at : at + count, column], photometric="minisblack", metadata=None)
            listed.append(rig.frame_xml(files, 3.0 + PERIOD_S * at, position + 1, relative=PERIOD_S * position))
            at += 1
        kind = "ZSeries" if what.volumes else "Timed"
        sequences.append(rig.sequence_xml(listed, cycle, f"TSeries {kind} Element"))
    (folder / "t.xml").write_text(rig.scan_xml("".join(sequences)).replace("5.5.64.600", what.version))
    return pixels


@given(what=arrangements())
@settings(deadline=None, max_examples=40)
def test_every_pixel_is_where_it_belongs(
    tmp_path_factory: pytest.TempPathFactory, rig: SimpleNamespace, what: SimpleNamespace
) -> None:
    folder = tmp_path_factory.mktemp("t")
    pixels = write_recording(folder, rig, what)
    starts = np.concatenate([[0], np.cumsum(what.cycles)[:-1]])
    n_planes = max(what.cycles) if what.volumes else 1
    whole = [start for start, count in zip(starts, what.cycles, strict=True) if count == n_planes]
    frames = np.add.outer(whole, np.arange(n_planes)) if what.volumes else np.arange(len(pixels))[:, np.newaxis]
    for column, channel in enumerate(what.channels):
        for plane in range(n_planes):
            movie = open_movie(folder, channel=channel, plane=plane)
            assert isinstance(movie, PrairieViewMovie)
            np.testing.assert_array_equal(movie.read(0, movie.n_frames), pixels[frames[:, plane], column])
    found = movie.metadata
    assert (found.n_frames, found.n_planes, found.program_version) == (len(frames), n_planes, what.version)
    assert found.channels == tuple(f"Ch{channel}" for channel in sorted(what.channels))
    times = PERIOD_S * (frames - frames[0, 0])
    np.testing.assert_allclose(found.frame_times_s.reshape(times.shape), times, atol=1e-12)
