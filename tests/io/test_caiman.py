"""CaImAn's results, written as its ``save_dict_to_hdf5`` and its notebooks write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.sparse import csc_matrix

from packerlabimaging.errors import FormatError, ParameterError
from packerlabimaging.io.caiman import CaimanReader
from packerlabimaging.io.readers import find_readers, open_segmentation

HEIGHT, WIDTH, N_ROIS, N_FRAMES = 7, 11, 3, 40
RNG = np.random.default_rng(3)
FOOTPRINTS = np.zeros((N_ROIS, HEIGHT, WIDTH), np.float64)
for number, (top, left) in enumerate([(0, 0), (3, 6), (4, 1)]):
    FOOTPRINTS[number, top : top + 3, left : left + 4] = RNG.uniform(0.5, 2, (3, 4))
TRACES = {name: RNG.normal(size=(N_ROIS, N_FRAMES)) for name in ("C", "S", "F_dff", "YrA")}
BACKGROUND = RNG.uniform(1, 2, (2, HEIGHT, WIDTH)), RNG.uniform(5, 6, (2, N_FRAMES))


def in_columns(images: np.ndarray) -> np.ndarray:
    """Return images ``(n, y, x)`` as ``(pixels, n)``, pixels counted down the columns."""
    return np.stack([image.ravel(order="F") for image in images], axis=1)


def values(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "A": csc_matrix(in_columns(FOOTPRINTS)),
        **TRACES,
        "b": in_columns(BACKGROUND[0]),
        "f": BACKGROUND[1],
        "dims": np.array([HEIGHT, WIDTH]),
        "idx_components": np.array([0, 2]),
        "SNR_comp": np.array([3.0, 1.0, 5.0]),
        "Cn": RNG.random((HEIGHT, WIDTH)),
        "cnn_preds": None,
    }
    return {**found, **changes}


def write_hdf5(path: Path, *, dims_at: str = "", **changes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in values(**changes).items():
            place = f"{dims_at}dims" if name == "dims" else f"estimates/{name}"
            if value is None:
                file[place] = "NoneType"
            elif isinstance(value, csc_matrix):
                for part in ("data", "indices", "indptr"):
                    file[f"{place}/{part}"] = getattr(value, part)
                file[f"{place}/shape"] = value.shape
            else:
                file[place] = value
        file["params/data/fr"] = 29.5
    return path


def write_npz(path: Path, kind: str, **changes: Any) -> Path:
    arrays = {name: value for name, value in values(**changes).items() if value is not None}
    A = arrays.pop("A")
    if kind == "dense":
        arrays["A"] = A.toarray()
    elif kind == "fortran":
        arrays["A"] = np.asfortranarray(A.toarray())
    elif kind == "parts":
        arrays |= {f"A_{part}": getattr(A, part) for part in ("data", "indices", "indptr")} | {"A_shape": A.shape}
    else:
        arrays["A"] = A
    np.savez(path, **arrays)
    return path


def expected_fluorescence() -> np.ndarray:
    """C + YrA plus the background under each footprint, for footprints of unit norm; one ROI at a time, on images."""
    expected = []
    for roi, footprint in enumerate(FOOTPRINTS):
        norm = np.sqrt((footprint**2).sum())
        under = sum((footprint / norm * image).sum() * trace for image, trace in zip(*BACKGROUND, strict=True))
        expected.append((TRACES["C"][roi] + TRACES["YrA"][roi]) * norm + under)
    return np.array(expected)


@pytest.mark.parametrize("kind", ["hdf5", "dense", "fortran", "parts", "object"])
def test_every_way_of_storing_gives_the_same(tmp_path: Path, kind: str) -> None:
    path = write_hdf5(tmp_path / "r.hdf5") if kind == "hdf5" else write_npz(tmp_path / "r.npz", kind)
    assert [reader.name for reader in find_readers(path, "segmentation")] == ["caiman"]
    found = open_segmentation(path)
    assert found.rois.frame_shape_px == (HEIGHT, WIDTH) and found.findings == ()
    for roi, footprint in enumerate(FOOTPRINTS):
        y, x, weights = found.rois.pixels(roi)
        image = np.zeros((HEIGHT, WIDTH))
        image[y, x] = weights
        np.testing.assert_allclose(image, footprint, rtol=1e-6)
    np.testing.assert_allclose(found.F, expected_fluorescence(), rtol=1e-5)
    assert found.spks is not None and found.F.dtype == np.float32
    np.testing.assert_allclose(found.spks, TRACES["S"], rtol=1e-6)
    np.testing.assert_allclose(found.other_traces["F_dff"], TRACES["F_dff"], rtol=1e-6)
    np.testing.assert_array_equal(found.iscell, [True, False, True])
    assert found.obs is not None and found.obs["snr"].tolist() == [3, 1, 5]
    assert found.images["correlation"].shape == (HEIGHT, WIDTH)
    assert found.extra["rate_hz"] == (29.5 if kind == "hdf5" else None)


def test_where_the_size_of_the_frame_is(tmp_path: Path) -> None:
    for number, place in enumerate(("estimates/", "params/data/")):
        assert open_segmentation(write_hdf5(tmp_path / f"{number}.hdf5", dims_at=place)).rois.frame_shape_px == (HEIGHT, WIDTH)
    old = write_npz(tmp_path / "old.npz", "dense", dims=None, d1=HEIGHT, d2=WIDTH)
    assert open_segmentation(old).rois.frame_shape_px == (HEIGHT, WIDTH)
    nothing = write_npz(tmp_path / "nothing.npz", "dense", dims=None)
    with pytest.raises(ParameterError, match="does not hold 'dims'"):
        open_segmentation(nothing)
    assert open_segmentation(nothing, frame_shape_px=(HEIGHT, WIDTH)).rois.frame_shape_px == (HEIGHT, WIDTH)
    with pytest.raises(FormatError, match="have 77 pixels, a frame of 7 x 12 has 84"):
        open_segmentation(nothing, frame_shape_px=(HEIGHT, WIDTH + 1))
    with pytest.raises(FormatError, match="volume"):
        open_segmentation(write_npz(tmp_path / "volume.npz", "dense", dims=np.array([7, 11, 2])))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    found = open_segmentation(write_hdf5(tmp_path / "r.hdf5", b=None, f=None, YrA=None, S=None, idx_components=None))
    assert [finding.code for finding in found.findings] == ["no-residual", "no-baseline"]
    assert found.spks is None and found.iscell is not None and found.iscell.all()
    empty = csc_matrix(in_columns(FOOTPRINTS * np.array([1, 0, 1])[:, None, None]))
    found = open_segmentation(write_hdf5(tmp_path / "e.hdf5", A=empty))
    assert found.findings[0].code == "components-without-pixels" and found.rois.ids == ("roi-0000", "roi-0002")
    np.testing.assert_allclose(found.F, expected_fluorescence()[[0, 2]], rtol=1e-5)
    np.testing.assert_array_equal(found.iscell, [True, True])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"C": TRACES["C"][:2]}, r"'C' in .* has the shape \(2, 40\)"),
        ({"F_dff": TRACES["S"][:, :7]}, "'F_dff' in .* not of one run"),
        ({"C": None}, "holds no traces 'C'"),
        ({"f": BACKGROUND[1][:, :3]}, "background .* does not fit"),
        ({"idx_components": np.array([0, 9])}, "names components that there are not"),
        ({"dims": np.array([-1, 3])}, "frames are -1 x 3 pixels"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        open_segmentation(write_hdf5(tmp_path / "r.hdf5", **changes), reader="caiman")
    if "C" not in changes or changes["C"] is not None:
        with pytest.raises(FormatError, match=message):
            open_segmentation(write_npz(tmp_path / "r.npz", "dense", **changes))


def test_hostile_files_do_nothing(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "r.hdf5")
    with h5py.File(path, "r+") as file:
        del file["estimates/C"]
        file["estimates"].create_dataset("C", shape=(N_ROIS, 1 << 40), dtype="f4", chunks=(1, 1 << 20))
    with pytest.raises(FormatError, match="claims 13194139533312 bytes .* of which 0 are stored"):
        open_segmentation(path)
    with h5py.File(path, "r+") as file:
        del file["estimates/C"]
        file["estimates/C"] = h5py.ExternalLink("/etc/other.h5", "/C")
    with pytest.raises(FormatError, match="link to another file"):
        open_segmentation(path)
    wrong = csc_matrix(in_columns(FOOTPRINTS))
    wrong.indices = wrong.indices + 70
    with pytest.raises(FormatError, match="no matrix of compressed columns"):
        open_segmentation(write_hdf5(tmp_path / "w.hdf5", A=wrong))

    class Harm:
        def __reduce__(self) -> Any:
            return (eval, (f"open({str(tmp_path / 'harm')!r}, 'w')",))

    np.savez(tmp_path / "evil.npz", A=np.array(Harm(), dtype=object), C=TRACES["C"], dims=[7, 11])
    with pytest.raises(FormatError, match="eval"):
        open_segmentation(tmp_path / "evil.npz")
    assert not (tmp_path / "harm").exists()
    np.savez_compressed(tmp_path / "bomb.npz", A=np.ones((77, 3)), C=np.zeros((3, 20_000_000), np.float32), dims=[7, 11])
    with pytest.raises(FormatError, match="far more than is stored"):
        open_segmentation(tmp_path / "bomb.npz")
    assert CaimanReader().inspect(tmp_path / "bomb.npz").findings[0].severity == "error"
