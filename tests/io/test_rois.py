"""ROIs from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingFileError, ParameterError, UnknownFormatError
from packerlabimaging.io.cellpose import CellposeReader
from packerlabimaging.io.readers import find_readers, open_segmentation
from packerlabimaging.io.rois import read_rois

ROIS = RoiSet.from_discs(np.array([[5.0, 8.0], [12.0, 20.0]]), 3.0, (18, 30))
LABELS = ROIS.to_labels().astype(np.uint16)


def write_image(path: Path, labels: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, labels)
    elif path.suffix == ".png":
        Image.fromarray(labels).save(path)
    else:
        tifffile.imwrite(path, labels, photometric="minisblack")
    return path


@pytest.mark.parametrize("name", ["any.tif", "any.npy", "any.png", "cp_masks.png", "t1_labels.tif"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4"])
def test_label_images(tmp_path: Path, name: str, dtype: str) -> None:
    path = write_image(tmp_path / name, LABELS.astype("u2" if dtype == "i4" and name.endswith("png") else dtype))
    np.testing.assert_array_equal(read_rois(path).to_labels(), ROIS.to_labels())
    named = [reader.name for reader in find_readers(path, "segmentation")]
    assert named == ([] if name.startswith("any") else ["labels"])


def test_labels_keep_their_numbers_and_say_what_was_assumed(tmp_path: Path) -> None:
    sparse = np.where(LABELS == 2, 77, LABELS).astype(np.uint16)
    found = open_segmentation(write_image(tmp_path / "labels.tif", sparse))
    assert found.obs is not None and found.obs["label"].tolist() == [1, 77]
    assert not found.has_traces and found.n_frames == 0 and found.findings == ()
    mask = open_segmentation(write_image(tmp_path / "mask.png", ((LABELS > 0) * 255).astype(np.uint8)))
    assert len(mask.rois) == 1 and mask.findings[0].code == "one-label" and mask.findings[0].evidence == {"n_spots": 2}


def test_planes_of_a_stack_are_never_guessed(tmp_path: Path) -> None:
    stack = np.stack([LABELS, LABELS * 0 + 3])
    for name in ("labels.tif", "labels.npy"):
        path = write_image(tmp_path / name, stack)
        with pytest.raises(AmbiguousInputError, match="holds 2 planes, 0 to 1"):
            open_segmentation(path)
        found = open_segmentation(path, plane=1)
        assert len(found.rois) == 1 and found.rois.planes is not None and found.rois.planes.tolist() == [1]
        with pytest.raises(ParameterError, match="holds no plane 2"):
            open_segmentation(path, plane=2)


def test_what_is_no_label_image_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "float.npy", np.ones((3, 3)))
    np.save(tmp_path / "empty.npy", np.zeros((3, 3), int))
    (tmp_path / "bad.tif").write_bytes(b"no image")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    Image.new("RGB", (4, 3)).save(tmp_path / "colours.png")
    tifffile.imwrite(tmp_path / "colours.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match="cut"):
        np.save(tmp_path / "cut.npy", np.ones((30, 30), int))
        (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:500])
        read_rois(tmp_path / "cut.npy")
    for name, message in (
        ("float.npy", "not a label image"),
        ("empty.npy", "has no ROI"),
        ("object.npy", "Expected numbers"),
        ("colours.png", "holds colours"),
        ("colours.tif", "not a label image"),
        ("bad.tif", "can't be read"),
    ):
        with pytest.raises(FormatError, match=message):
            read_rois(tmp_path / name)
    with pytest.raises(MissingFileError, match="There is no file"):
        read_rois(tmp_path / "none.tif")
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(UnknownFormatError):
        read_rois(tmp_path / "text.txt")
    with pytest.raises(ParameterError, match="no option 'planes'. Did you mean 'plane'"):
        open_segmentation(tmp_path / "empty.npy", reader="labels", planes=1)


def test_an_image_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(LABELS, photometric="minisblack")
    content = path.read_bytes()
    for tag in (256, 257):
        place = content.index(np.array([tag], "<u2").tobytes() + b"\x04\x00") + 8
        content = content[:place] + b"\xff\xff\x00\x00" + content[place + 4 :]
    path.write_bytes(content)
    with pytest.raises(FormatError, match="claims 65535 x 65535 pixels"):
        read_rois(path)


def write_seg(path: Path, **changes: Any) -> Path:
    """Write what Cellpose's window saves."""
    values = {
        "outlines": np.zeros(LABELS.shape, np.uint16),
        "colors": np.zeros((2, 3), np.uint8),
        "masks": LABELS,
        "filename": Path("/data/t-001/mean.tif"),
        "flows": [np.zeros((18, 30, 3), np.uint8), None, [], [np.zeros((2, 18, 30), np.float32)]],
        "ismanual": np.array([False, True]),
        "manual_changes": [["21/03/2024", "added", 2]],
        "model_path": 0,
        "est_diam": 17.5,
        "normalize_params": {"lowhigh": None, "percentile": [1.0, 99.0]},
        **changes,
    }
    np.save(path, {name: value for name, value in values.items() if value is not None}, allow_pickle=True)  # type: ignore[arg-type]
    return path


def test_cellpose(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "mean_seg.npy")
    assert [reader.name for reader in find_readers(path, "segmentation")] == ["cellpose"]
    found = open_segmentation(path)
    np.testing.assert_array_equal(found.rois.to_labels(), LABELS)
    assert found.obs is not None and found.obs["manual"].tolist() == [False, True] and found.extra["diameter_px"] == 17.5
    np.testing.assert_array_equal(read_rois(path).to_labels(), LABELS)
    stack = write_seg(tmp_path / "stack_seg.npy", masks=np.stack([LABELS, LABELS[::-1]]), ismanual=None)
    with pytest.raises(AmbiguousInputError, match="2 planes"):
        open_segmentation(stack)
    np.testing.assert_array_equal(open_segmentation(stack, plane=1).rois.to_labels() > 0, LABELS[::-1] > 0)
    with pytest.raises(FormatError, match="holds no masks.*'outlines', 'colors'"):
        open_segmentation(write_seg(tmp_path / "no_seg.npy", masks=None))
    assert CellposeReader().inspect(tmp_path / "no_seg.npy").findings[0].severity == "error"


def test_a_hostile_seg_file_runs_nothing(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (eval, (f"open({str(tmp_path / 'harm')!r}, 'w')",))

    with pytest.raises(FormatError, match=r"builtins\.eval"):
        open_segmentation(write_seg(tmp_path / "evil_seg.npy", flows=Harm()))
    assert not (tmp_path / "harm").exists()
