"""Folders without the scan's XML."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, UnknownFormatError
from packerlabimaging.io.prairieview import open_prairieview, read_prairieview_metadata
from packerlabimaging.io.readers import inspect_path, open_movie


def write(folder: Path, cycles: dict[int, list[int]], *, channel: int = 2, name: str = "x") -> Path:
    """Write images whose first pixel is 1000 x cycle + number."""
    folder.mkdir(exist_ok=True)
    for cycle, numbers in cycles.items():
        for number in numbers:
            file = folder / f"{name}_Cycle{cycle:05d}_Ch{channel}_{number:06d}.ome.tif"
            tifffile.imwrite(file, np.full((4, 5), 1000 * cycle + number, np.uint16), metadata=None)
    return folder


def values(movie: object) -> list[int]:
    return movie.read(0, movie.n_frames)[:, 0, 0].tolist()  # type: ignore[attr-defined]


def test_one_cycle_is_frames_in_time_and_says_what_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {1: [2, 3, 4, 5]})
    movie = open_movie(folder)
    assert values(movie) == [1002, 1003, 1004, 1005]
    assert movie.metadata.frame_rate_hz is None
    found = {finding.code: finding for finding in movie.findings}
    assert set(found) == {"numbering-starts-late", "order-from-names", "no-xml"}
    assert "frame rate, pixel size, frame times are unknown" in found["no-xml"].message
    assert "frame_rate_hz=, pixel_size_um=(y, x)" in found["no-xml"].advice
    assert found["no-xml"].severity == "warning"


def test_what_is_missing_can_be_given(tmp_path: Path) -> None:
    movie = open_movie(
        write(tmp_path / "a", {1: [1, 2]}), reader="prairieview", frame_rate_hz=30, pixel_size_um=(1.0, 2.0), n_planes=1
    )
    assert (movie.metadata.frame_rate_hz, movie.metadata.pixel_size_um) == (30, (1.0, 2.0))
    assert [(finding.code, finding.severity) for finding in movie.findings] == [("no-xml", "info")]


def test_several_cycles_are_ambiguous_until_the_user_says(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {2: [1, 2, 3], 3: [1, 2, 3], 4: [1, 2]})
    with pytest.raises(AmbiguousInputError, match=r"a plane \(one volume a cycle\) or a time\. Pass n_planes=3 .* or n_planes=1"):
        open_movie(folder)
    assert values(open_movie(folder, n_planes=1)) == [2001, 2002, 2003, 3001, 3002, 3003, 4001, 4002]
    with pytest.raises(AmbiguousInputError, match="3 planes: 0 to 2"):
        open_movie(folder, n_planes=3)
    movie = open_movie(folder, n_planes=3, plane=1)
    assert values(movie) == [2002, 3002]
    assert movie.metadata.n_planes == 3
    assert "incomplete-volumes" in [finding.code for finding in movie.findings]
    with pytest.raises(FormatError, match="Expected n_planes=2 in each"):
        open_movie(folder, n_planes=2, plane=0)


def test_one_image_a_cycle_is_time(tmp_path: Path) -> None:
    assert values(open_movie(write(tmp_path / "a", {1: [1], 2: [1], 3: [1]}))) == [1001, 2001, 3001]


def test_missing_numbers_are_an_error_that_names_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {1: [1, 2, 5, 7]})
    with pytest.raises(MissingFileError, match=r"images of cycle 1 3-4, 6\. Expected numbers without gaps"):
        open_movie(folder)
    movie = open_prairieview(folder, allow_gaps=True)
    assert values(movie) == [1001, 1002, 1005, 1007]
    assert "missing-frames" in [finding.code for finding in movie.findings]
    with pytest.raises(MissingFileError, match="cycles 2"):
        open_movie(write(tmp_path / "b", {1: [1], 3: [1]}))


def test_channels_and_recordings_are_not_mixed(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {1: [1, 2]})
    write(folder, {1: [1, 2]}, channel=3)
    with pytest.raises(AmbiguousInputError, match=r"2 channels: 2 \(Ch2\), 3 \(Ch3\)"):
        open_movie(folder)
    assert open_movie(folder, channel="Ch3").n_frames == 2
    write(folder, {1: [1]}, name="y")
    with pytest.raises(AmbiguousInputError, match="images of 2 recordings: x, y"):
        open_movie(folder, channel=2)


def test_a_lone_stack_is_its_frames(tmp_path: Path) -> None:
    stack = np.arange(5 * 20, dtype=np.uint16).reshape(5, 4, 5)
    tifffile.imwrite(tmp_path / "x_Cycle00001_Ch3.tif", stack)
    np.testing.assert_array_equal(open_movie(tmp_path).read(0, 5), stack)
    write(tmp_path, {1: [1]}, channel=3)
    with pytest.raises(AmbiguousInputError, match="both a stack and other images of cycle 1"):
        open_movie(tmp_path)


def test_names_of_version_4_3_are_known(tmp_path: Path) -> None:
    for number in (1, 2):
        tifffile.imwrite(tmp_path / f"x_Cycle00001_CurrentSettings_Ch1_{number:06d}.tif", np.full((4, 5), number, np.uint16))
    assert values(open_movie(tmp_path)) == [1, 2]


def test_metadata_and_empty_folders_say_what_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {1: [1, 2]})
    with pytest.raises(
        MissingFileError, match=r"no XML of a scan \(root PVScan\): rate, pixel size and frame times are not known"
    ):
        read_prairieview_metadata(folder)
    (found,) = inspect_path(folder)
    assert (found.facts["images"], found.facts["numbers"]) == (2, "1-2")
    assert [finding.code for finding in found.findings] == ["no-xml"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownFormatError, match="holds no PrairieView images and no XML"):
        open_movie(tmp_path / "empty", reader="prairieview")


def test_the_env_file_stands_in_for_the_xml(tmp_path: Path, rig: SimpleNamespace) -> None:
    """Rate nominal and told; half of the real files hold references that XML forbids."""
    frames = np.random.default_rng(5).integers(0, 8192, (12, 6, 8)).astype(np.uint16)
    folder = rig.write_t_series(tmp_path / "t-001", frames)
    (folder / "t-001.xml").unlink()
    shard = rig.SHARD.replace("{period}", "0.1")
    text = f'<Environment version="5.5.64.600" date="1/14/2019 1:02:03 PM"><Other list="a&#x1;b"/>{shard}</Environment>'
    (folder / "t-001.env").write_text(text, encoding="utf-8-sig")
    movie = open_movie(folder)
    found = movie.metadata
    assert (found.frame_rate_hz, found.frame_rate_source) == (pytest.approx(10.0), "nominal")
    assert (found.pixel_size_um, found.zoom, found.objective, found.frame_times_s) == ((1.5, 1.25), 2.0, "16X", None)
    assert (found.program_version, found.acquired.isoformat()) == ("5.5.64.600", "2019-01-14T13:02:03")
    assert {"no-xml", "settings-of-env"} <= {finding.code for finding in movie.findings}
    (folder / "t-001.env").write_text(text.replace('"linesPerFrame" value="6"', '"linesPerFrame" value="12"'))
    assert open_movie(folder).metadata.pixel_size_um is None  # of images of another size
    (folder / "t-001.env").write_text("<PVScanX/>")
    (damaged,) = [finding for finding in open_movie(folder).findings if finding.code == "unreadable-env"]
    assert "t-001.env' has the root element PVScanX. Expected Environment" in damaged.message
