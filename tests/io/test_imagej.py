"""ImageJ ROIs, written by roifile; what they fill is checked pixel by pixel and by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packerlabimaging.errors import AmbiguousInputError, FormatError, ParameterError
from packerlabimaging.io.imagej import ImageJReader
from packerlabimaging.io.readers import find_readers, open_segmentation
from packerlabimaging.io.rois import read_rois

roifile = pytest.importorskip("roifile")
FRAME = (40, 50)


def roi(kind: str, points: Any = None, box: tuple[int, int, int, int] | None = None, name: str = "", **values: Any) -> Any:
    """Make an ROI from outline points ``(x, y)``, or from left, top, right, bottom."""
    roitype = roifile.ROI_TYPE[kind.upper()]
    made = roifile.ImagejRoi() if points is None else roifile.ImagejRoi.frompoints(points)
    made.roitype, made.name = roitype, name
    if box is not None:
        made.left, made.top, made.right, made.bottom = box
    for key, value in values.items():
        setattr(made, key, value)
    return made


def write(path: Path, rois: list[Any]) -> Path:
    if path.suffix == ".roi":
        path.write_bytes(rois[0].tobytes())
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for number, one in enumerate(rois):
                archive.writestr(f"{number:04d}.roi", one.tobytes())
    return path


def filled(found: Any, index: int = 0) -> set[tuple[int, int]]:
    y, x, weights = found.rois.pixels(index)
    assert np.all(weights == 1)
    return set(zip(y.tolist(), x.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["polygon", "freehand", "traced"])
@pytest.mark.parametrize("name", ["one.roi", "several.zip"])
def test_outlines(tmp_path: Path, kind: str, name: str) -> None:
    points = [[5, 3], [30, 8], [22, 30], [12, 14], [7, 25]]
    path = write(tmp_path / name, [roi(kind, points, name="cell 7")])
    assert [reader.name for reader in find_readers(path, "segmentation")] == ["imagej"]
    found = open_segmentation(path, frame_shape_px=FRAME)
    assert found.rois.frame_shape_px == FRAME and found.findings == () and not found.has_traces
    assert filled(found) == crossing_number(np.array(points))
    assert found.obs is not None and found.obs.loc[0].to_dict() == {"name": "cell 7", "shape": kind}


def test_random_outlines_with_parts_of_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    outlines = [rng.uniform(2, 38, (rng.integers(3, 9), 2)).astype(np.float32) for _ in range(30)]
    rois = [roi("freehand", points + np.float32(0.013)) for points in outlines]
    found = open_segmentation(write(tmp_path / "rois.zip", rois), frame_shape_px=FRAME)
    kept = [index for index, points in enumerate(outlines) if crossing_number(points + np.float32(0.013))]
    assert len(found.rois) == len(kept)
    for number, index in enumerate(kept):
        assert filled(found, number) == crossing_number(outlines[index] + np.float32(0.013))


def crossing_number(points: np.ndarray) -> set[tuple[int, int]]:
    """Pixels whose centre a ray to the right leaves the outline from, an odd number of times; pixel by pixel."""
    found = set()
    for y in range(FRAME[0]):
        for x in range(FRAME[1]):
            odd = False
            for (x0, y0), (x1, y1) in zip(points.astype(float), np.roll(points.astype(float), -1, axis=0), strict=True):
                if (y0 > y + 0.5) != (y1 > y + 0.5) and x + 0.5 < x0 + (y + 0.5 - y0) * (x1 - x0) / (y1 - y0):
                    odd = not odd
            if odd:
                found.add((y, x))
    return found


def test_rectangles_ovals_and_points(tmp_path: Path) -> None:
    rois = [roi("rect", box=(4, 6, 9, 8)), roi("oval", box=(10, 10, 16, 20)), roi("point", [[3, 4], [20, 30]])]
    found = open_segmentation(write(tmp_path / "rois.zip", rois), frame_shape_px=FRAME)
    assert filled(found, 0) == {(y, x) for y in (6, 7) for x in range(4, 9)}
    assert filled(found, 1) == {
        (y, x) for y in range(40) for x in range(50) if ((x + 0.5 - 13) / 3) ** 2 + ((y + 0.5 - 15) / 5) ** 2 <= 1
    }
    assert filled(found, 2) == {(4, 3), (30, 20)}
    assert found.obs is not None and found.obs["shape"].tolist() == ["rect", "oval", "point"]


def test_combined_outlines_have_holes(tmp_path: Path) -> None:
    path_of = [0, 10, 10, 1, 20, 10, 1, 20, 20, 1, 10, 20, 4, 0, 13, 13, 1, 13, 16, 1, 16, 16, 1, 16, 13, 4]
    made = roi("rect", box=(10, 10, 20, 20), multi_coordinates=np.array(path_of, np.float32), shape_roi_size=len(path_of))
    found = open_segmentation(write(tmp_path / "rois.zip", [made]), frame_shape_px=FRAME)
    outer = {(y, x) for y in range(10, 20) for x in range(10, 20)}
    assert filled(found) == outer - {(y, x) for y in range(13, 16) for x in range(13, 16)}


def test_the_size_of_the_frame_is_not_guessed_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "rois.zip", [roi("rect", box=(4, 6, 9, 8)), roi("line", x1=1.0, y1=1.0, x2=5.0, y2=5.0)])
    found = open_segmentation(path)
    assert found.rois.frame_shape_px == (8, 9)
    assert [finding.code for finding in found.findings] == ["frame-size-unknown", "rois-without-area"]
    assert read_rois(path, frame_shape_px=FRAME).frame_shape_px == FRAME
    cut = write(tmp_path / "cut.zip", [roi("rect", box=(-3, 38, 2, 44))])
    found = open_segmentation(cut, frame_shape_px=FRAME)
    assert filled(found) == {(38, 0), (38, 1), (39, 0), (39, 1)} and found.findings[0].code == "rois-cut-at-border"
    with pytest.raises(FormatError, match="ROI 0 .* no pixel within the 8 x 9 frame"):
        open_segmentation(write(tmp_path / "out.zip", [roi("rect", box=(30, 30, 33, 33))]), frame_shape_px=(8, 9))
    with pytest.raises(ParameterError, match="frame_shape_px = .* not possible"):
        open_segmentation(path, frame_shape_px=(0, 5))
    with pytest.raises(FormatError, match=r"no ROI with an area. It holds: .*\(line\)"):
        open_segmentation(write(tmp_path / "line.zip", [roi("line", x1=1.0, y1=1.0, x2=5.0, y2=5.0)]))


def test_slices_are_never_guessed(tmp_path: Path) -> None:
    boxes = [roi("rect", box=(4, 6, 9, 8), z_position=z, name=f"z{z}") for z in (1, 3, 0)]
    path = write(tmp_path / "rois.zip", boxes)
    with pytest.raises(AmbiguousInputError, match=r"several slices: \[0, 2\]"):
        open_segmentation(path, frame_shape_px=FRAME)
    found = open_segmentation(path, frame_shape_px=FRAME, plane=2)
    assert found.obs is not None and found.obs["name"].tolist() == ["z3", "z0"]
    assert found.rois.planes is not None and found.rois.planes.tolist() == [2, 2]


def test_damaged_files_are_told(tmp_path: Path) -> None:
    good = roi("polygon", [[5, 3], [30, 8], [22, 30]]).tobytes()
    wild = bytearray(good)
    (tmp_path / "short.roi").write_bytes(good[:70])
    wild[8:16] = b"\x7f\xff" * 4
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", b"Iout" + bytes(200 << 20))
    for name in ("short.roi", "bomb.zip"):
        with pytest.raises(FormatError, match="damaged|has no ROI with an area"):
            open_segmentation(tmp_path / name)
    assert not ImageJReader().detect(tmp_path / "text.zip")
    with pytest.raises(FormatError, match="can't be read as a .zip"):
        ImageJReader().open(tmp_path / "text.zip")
    assert ImageJReader().inspect(tmp_path / "short.roi").findings[0].severity == "error"
