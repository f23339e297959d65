"""Runs of several recordings, split by their own lists of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingInputError, ParameterError
from packerlabimaging.io.suite2p import Recording, check_single, split_run


def run_of(files: dict[str, int], **changes: Any) -> Segmentation:
    """A run that joined files of so many frames; frame ``i`` has the value ``i``."""
    n_frames = sum(files.values())
    rois = RoiSet.from_discs(np.array([[4.0, 4.0]]), 2.0, (8, 9))
    extra = {"files": tuple(files), "frames_per_file": tuple(files.values()), **changes}
    return Segmentation(rois=rois, F=np.arange(n_frames, dtype=np.float32)[None], source="s2p", extra=extra)


def sequence(folder: str, numbers: Any, frames: int = 1) -> dict[str, int]:
    return {f"{folder}/x_Cycle00001_Ch3_{number:06d}.ome.tif": frames for number in numbers}


def test_trials_are_found_by_path_whatever_their_order() -> None:
    run = run_of({"D:\\raw\\t-002\\a.tif": 5, "D:\\raw\\t-002\\b.tif": 6, "D:\\raw\\t-001\\a.tif": 7})
    recordings = [Recording("one", Path("/mnt/lab/raw/t-001")), Recording("two", Path("/mnt/lab/raw/t-002"), 11)]
    for order in (recordings, recordings[::-1]):
        found = split_run(run, order)
        assert found.trial_frames == {"one": (11, 18), "two": (0, 11)}
        np.testing.assert_array_equal(found.of_trial("one").F[0], np.arange(11, 18))
        assert found.findings == ()


def test_trials_without_a_movie_are_found_by_their_id() -> None:
    run = run_of({"/raw/2020-01-07_t-013/x.tif": 5, "/raw/2020-01-07_t-013-2/x.tif": 6, "/raw/spont_t-0130.tif": 7})
    found = split_run(run, [Recording("t-013"), Recording("t-013-2"), Recording("t-0130")])
    assert found.trial_frames == {"t-013": (0, 5), "t-013-2": (5, 11), "t-0130": (11, 18)}
    stacks = run_of({"/s2p_in/RL109_t-002_Ch3.tif": 4, "/s2p_in/RL109_t-001_Ch3.tif": 3})
    found = split_run(stacks, [Recording("t-001", Path("/raw/t-001"), 3), Recording("t-002", Path("/raw/t-002"), 4)])
    assert found.trial_frames == {"t-001": (4, 7), "t-002": (0, 4)}


def test_a_run_of_thousands_of_files() -> None:
    run = run_of({**sequence("D:/t-2", range(1, 9001)), **sequence("D:/t-1", range(1, 8001))})
    found = split_run(run, [Recording("t-1", Path("/x/t-1"), 8000), Recording("t-2", Path("/x/t-2"), 9000)])
    assert found.trial_frames == {"t-1": (9000, 17000), "t-2": (0, 9000)}


def test_missing_and_extra_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "t-1"
    folder.mkdir()
    for number in (1, 2, 3, 4, 5, 6):
        (folder / f"x_Cycle00001_Ch3_{number:06d}.ome.tif").touch()
        (folder / f"x_Cycle00001_Ch2_{number:06d}.ome.tif").touch()
    lacking = run_of(sequence("D:/t-1", (1, 2, 4, 5, 6)))
    with pytest.raises(FormatError, match=r"has 6 frames, its 5 files .* have 5 .*run lacks: x_Cycle00001_Ch3_000003.ome.tif\."):
        split_run(lacking, [Recording("t-1", folder, 6)])
    extra = run_of(sequence("D:/t-1", range(1, 8)))
    with pytest.raises(FormatError, match=r"only the run has: x_Cycle00001_Ch3_000007\.ome\.tif\."):
        split_run(extra, [Recording("t-1", folder, 6)])
    elsewhere = run_of(sequence("D:/t-1", (1, 2, 4, 5, 6)))
    with pytest.raises(FormatError, match=r"run lacks: x_Cycle00001_Ch3_000003\.ome\.tif"):
        split_run(elsewhere, [Recording("t-1", tmp_path / "gone" / "t-1", 6)])
    found = split_run(elsewhere, [Recording("t-1")])
    assert found.findings[0].code == "run-files-missing" and "000003" in found.findings[0].message


def test_files_that_belong_to_nobody_are_named() -> None:
    run = run_of({"/raw/t-1/a.tif": 5, "/raw/t-9/a.tif": 6})
    found = split_run(run, [Recording("t-1", Path("/raw/t-1"), 5)])
    assert found.trial_frames == {"t-1": (0, 5)}
    assert found.findings[0].code == "run-files-unused" and "/raw/t-9/a.tif" in found.findings[0].message


def test_files_out_of_order_are_named() -> None:
    run = run_of({"/raw/t-1/a_1.tif": 5, "/raw/t-1/a_10.tif": 5, "/raw/t-1/a_2.tif": 5})
    with pytest.raises(FormatError, match=r"out of order: '/raw/t-1/a_10.tif' comes before '/raw/t-1/a_2.tif'"):
        split_run(run, [Recording("t-1", Path("/raw/t-1"))])
    mixed = run_of({"/raw/t-1/a_1.tif": 5, "/raw/t-2/a.tif": 5, "/raw/t-1/a_2.tif": 5})
    with pytest.raises(AmbiguousInputError, match="not next to each other.*'/raw/t-2/a.tif' lies between"):
        split_run(mixed, [Recording("t-1", Path("/raw/t-1")), Recording("t-2", Path("/raw/t-2"))])


def test_a_common_name_is_no_proof() -> None:
    run = run_of({"/raw/t-1/movie.tif": 5, "/raw/other/clip.tif": 5})
    with pytest.raises(MissingInputError, match=r"did not read '/raw/t-5/movie\.tif' of trial 't-5'"):
        split_run(run, [Recording("t-5", Path("/raw/t-5/movie.tif"), 5)])
    with pytest.raises(AmbiguousInputError, match="fits several recordings"):
        split_run(run_of({"/a/1/t/x.tif": 5, "/a/2/t/x.tif": 5}), [Recording("t", Path("/b/t"))])
    with pytest.raises(AmbiguousInputError, match="fits both trial 'p' and trial 'q'"):
        split_run(run, [Recording("p", Path("/raw/t-1/movie.tif")), Recording("q", Path("/raw/t-1"))])


def test_one_recording_that_was_renamed() -> None:
    run = run_of(sequence("D:/old name", range(1, 6)))
    assert split_run(run, [Recording("t-1", Path("/raw/t-1"), 5)]).trial_frames == {"t-1": (0, 5)}
    with pytest.raises(MissingInputError, match="did not read"):
        split_run(run, [Recording("t-1", Path("/raw/t-1"), 6)])
    with pytest.raises(MissingInputError, match="did not read a movie of trial 't-1'"):
        split_run(run, [Recording("t-1")])


def test_an_incomplete_last_volume_is_left_out() -> None:
    found = split_run(run_of({"/raw/t-1.tif": 8, "/raw/t-2.tif": 4}), [Recording("t-1", Path("/raw/t-1.tif"), 7, n_planes=3)])
    assert found.trial_frames == {"t-1": (0, 7)} and found.findings[0].code == "incomplete-volume"
    with pytest.raises(FormatError, match="has 7 frames, its 1 files .* have 8"):
        split_run(run_of({"/raw/t-1.tif": 8}), [Recording("t-1", Path("/raw/t-1.tif"), 7)])


def test_a_segmentation_of_one_trial_must_be_as_long_as_its_movie() -> None:
    run = run_of({"x.tif": 8})
    assert check_single(run, Recording("t-1", None, 8)) is run and check_single(run, Recording("t-1")) is run
    with pytest.raises(ParameterError, match="has 8 frames, the movie of trial 't-1' 7"):
        check_single(run, Recording("t-1", None, 7))


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
    st.booleans(),
    st.booleans(),
)
def test_every_frame_goes_to_the_trial_that_it_was_recorded_in(
    trials: list[tuple[int, int]], random: Any, windows: bool, with_movie: bool
) -> None:
    files: dict[str, int] = {}
    expected = {}
    order = list(range(len(trials)))
    random.shuffle(order)
    for trial in order:
        n_files, frames = trials[trial]
        start = sum(files.values())
        for number in range(n_files):
            path = f"D:/data/2020/t-{trial:03d}/x_{number + 1}.tif"
            files[path.replace("/", "\\") if windows else path] = frames
        expected[f"t-{trial:03d}"] = (start, start + n_files * frames)
    recordings = [
        Recording(name, Path("/elsewhere") / name if with_movie else None, stop - start if with_movie else None)
        for name, (start, stop) in expected.items()
    ]
    random.shuffle(recordings)
    assert split_run(run_of(files), recordings).trial_frames == expected
