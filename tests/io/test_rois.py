"""ROIs from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from packerlabimaging.core.rois import RoiSet
from packerlabimaging.errors import FormatError, MissingFileError, UnknownFormatError
from packerlabimaging.io.rois import read_rois

ROIS = RoiSet.from_discs(np.array([[5.0, 8.0], [12.0, 20.0]]), 3.0, (18, 30))


@pytest.mark.parametrize("name", ["labels.tif", "labels.npy"])
def test_label_images(tmp_path, name):
    path = tmp_path / name
    labels = ROIS.to_labels().astype(np.uint16)
    tifffile.imwrite(path, labels) if name.endswith("tif") else np.save(path, labels)
    np.testing.assert_array_equal(read_rois(path).to_labels(), ROIS.to_labels())


def test_what_is_no_label_image_is_refused(tmp_path):
    np.save(tmp_path / "float.npy", np.ones((3, 3)))
    np.save(tmp_path / "empty.npy", np.zeros((3, 3), int))
    (tmp_path / "bad.tif").write_bytes(b"no image")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name, message in (("float", "not a label image"), ("empty", "has no ROI"), ("object", "can't be read")):
        with pytest.raises(FormatError, match=message):
            read_rois(tmp_path / f"{name}.npy")
    with pytest.raises(FormatError, match="can't be read"):
        read_rois(tmp_path / "bad.tif")
    with pytest.raises(MissingFileError, match="There is no file"):
        read_rois(tmp_path / "none.tif")
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(UnknownFormatError):
        read_rois(tmp_path / "text.txt")
