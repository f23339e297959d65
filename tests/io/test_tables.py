"""Tables on disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from packerlabimaging import errors
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import check_table, make_cells_table, make_table, rois_of
from packerlabimaging.io.tables import open_table, read_table, write_table


def cells_table(n_rois=3, n_frames=40):
    rng = np.random.default_rng(0)
    rois = RoiSet.from_discs(np.array([[5.0, 6.0], [10.0, 20.0], [14.0, 30.0]])[:n_rois], 2.5, (20, 40))
    F = rng.normal(100, 5, (n_rois, n_frames)).astype(np.float32)
    return make_cells_table(
        F / 100,
        rois=rois,
        clock=FrameClock.nominal(n_frames, 29.75),
        trial="t-001",
        layers={"F": F},
        artefact=np.arange(n_frames) % 7 == 0,
        metadata=ImagingMetadata(frame_shape_px=(20, 40), pixel_size_um=(2.0, 1.0)),
    )


def test_round_trip_keeps_everything(tmp_path):
    table = cells_table()
    back = read_table(write_table(table, tmp_path / "cells.zarr"))
    np.testing.assert_array_equal(back.X, table.X)
    np.testing.assert_array_equal(back.layers["F"], table.layers["F"])
    np.testing.assert_allclose(back.var["time_s"], table.var["time_s"], rtol=0, atol=0)
    assert list(back.obs_names) == list(table.obs_names)
    assert list(back.var["artefact"]) == list(table.var["artefact"])
    np.testing.assert_allclose(back.obsm["spatial"][0], [10.0, 6.0])  # (y, x) in um, pixels are 2 x 1 um
    np.testing.assert_array_equal(rois_of(back).to_labels(), rois_of(table).to_labels())


def test_open_is_lazy_and_slices_read_the_right_part(tmp_path):
    table = cells_table()
    opened = open_table(write_table(table, tmp_path / "cells.zarr"))
    assert not isinstance(opened.X, np.ndarray)
    np.testing.assert_array_equal(np.asarray(opened[1:, 10:20].X), table.X[1:, 10:20])


def test_nullable_frames_survive(tmp_path):
    obs = pd.DataFrame({"plane": [0], "y_px": [1.0], "x_px": [2.0], "iscell": [True]}, index=["roi-0"])
    var = pd.DataFrame(
        {
            "trial": ["t", "t"],
            "onset_s": [0.1, 9.0],
            "end_s": [0.2, 9.1],
            "frame": pd.array([3, None], dtype="Int64"),
            "valid": [True, False],
        },
        index=["stim-000", "stim-001"],
    )
    table = make_table("responses", np.array([[1.0, np.nan]]), obs=obs, var=var, uns={"preset": "packerlab"})
    back = read_table(write_table(table, tmp_path / "responses.zarr"))
    assert back.var["frame"].isna().tolist() == [False, True]
    assert int(back.var["frame"].iloc[0]) == 3


def test_refuses_to_overwrite(tmp_path):
    path = write_table(cells_table(), tmp_path / "cells.zarr")
    with pytest.raises(errors.StoreError, match="exists already"):
        write_table(cells_table(), path)


def test_a_damaged_folder_is_one_clear_error(tmp_path):
    path = write_table(cells_table(), tmp_path / "cells.zarr")
    (path / "obs" / "zarr.json").unlink()
    with pytest.raises(errors.FormatError, match="not a complete AnnData table"):
        open_table(path)
    with pytest.raises(errors.MissingFileError, match="There is no table"):
        open_table(tmp_path / "nothing.zarr")


def test_check_table_lists_all_faults():
    table = cells_table()
    del table.obs["n_pixels"]
    table.var["artefact"] = "no"
    with pytest.raises(errors.SchemaError, match="n_pixels") as caught:
        check_table(table)
    assert "artefact" in str(caught.value)
