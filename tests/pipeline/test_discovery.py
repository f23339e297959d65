"""Everything in a lab's folder is found once, and what belongs to a recording is not taken for another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.io import PrairieViewWriter, write_naparm, write_paq
from packerlabimaging.pipeline import find_recordings
from packerlabimaging.pipeline.discovery import is_results_folder

FRAMES = np.random.default_rng(0).integers(0, 8000, (4, 10, 12)).astype(np.uint16)


def make_movie(folder):
    metadata = ImagingMetadata(frame_shape_px=(10, 12), pixel_size_um=(1.0, 1.0), frame_rate_hz=30.0)
    with PrairieViewWriter(folder, metadata=metadata) as writer:
        writer.write(FRAMES, np.arange(4) / 30)
    for name in ("References", "MIP"):
        (folder / name).mkdir()
        tifffile.imwrite(folder / name / "image_000001.tif", FRAMES[0])


def make_protocol(folder):
    protocol = PhotostimProtocol(
        targets_px=np.array([[0, 3.0, 4.0]]), image_shape_px=(10, 12), groups=((0,),), rows=(PhotostimRow(0, 1, 0.02),), n_stims=3
    )
    write_naparm(folder, protocol, pixel_size_um=(1.0, 1.0))


def make_suite2p(folder):
    plane = folder / "plane0"
    plane.mkdir(parents=True)
    np.save(plane / "stat.npy", np.array([{"ypix": np.arange(3), "xpix": np.arange(3), "lam": np.ones(3)}]), allow_pickle=True)
    np.save(plane / "ops.npy", np.array({"Ly": 10, "Lx": 12}), allow_pickle=True)
    np.save(plane / "F.npy", np.ones((1, 4), np.float32))


def found(folder):
    return sorted((recording.reader.name, recording.path.relative_to(folder).as_posix()) for recording in find_recordings(folder))


def test_a_messy_folder(tmp_path):
    make_movie(tmp_path / "2020" / "t-001")
    make_protocol(tmp_path / "2020" / "t-001" / "ps_001")
    write_paq(tmp_path / "2020" / "001.paq", np.zeros((5, 1)), rate_hz=1000.0, names=["frame_clock"])
    make_suite2p(tmp_path / "2020" / "suite2p")
    tifffile.imwrite(tmp_path / "2020" / "stack.tif", FRAMES, photometric="minisblack")
    (tmp_path / "notes.txt").write_text("rig notes")
    results = tmp_path / "2020" / "results"
    (results / "receipts").mkdir(parents=True)
    (results / "experiment.json").write_text("{}")
    tifffile.imwrite(results / "mean.tif", FRAMES[0])
    names = [name for name, _ in found(tmp_path)]
    assert sorted(names) == ["naparm", "packio", "prairieview", "suite2p", "tiff"], found(tmp_path)


def test_a_suite2p_folder_does_not_hide_what_lies_beside_it(tmp_path):
    make_suite2p(tmp_path / "suite2p")
    make_movie(tmp_path / "t-001")
    assert [name for name, _ in found(tmp_path)] == ["prairieview", "suite2p"]


def make_voltages(folder, cycle):
    path = folder / f"t-001_Cycle{cycle:05d}_VoltageRecording_001.csv"
    path.write_text("Time(ms), a\n0, 1\n1, 2\n")
    path.with_suffix(".xml").write_text(
        "<VRecSessionEntry><Experiment><SignalList><VRecSignal><Name>a</Name><Enabled>true</Enabled></VRecSignal></SignalList>"
        "<Rate>1000</Rate></Experiment></VRecSessionEntry>"
    )


def test_voltage_recordings_and_other_signals_in_a_movies_folder(tmp_path):
    make_movie(tmp_path / "t-001")
    write_paq(tmp_path / "t-001" / "001.paq", np.zeros((5, 1)), rate_hz=1000.0, names=["frame_clock"])
    make_voltages(tmp_path / "t-001", 1)
    assert found(tmp_path) == [("packio", "t-001/001.paq"), ("prairieview", "t-001"), ("prairieview-voltage", "t-001")]
    make_voltages(tmp_path / "t-001", 2)
    assert found(tmp_path) == [
        ("packio", "t-001/001.paq"),
        ("prairieview", "t-001"),
        ("prairieview-voltage", "t-001/t-001_Cycle00001_VoltageRecording_001.csv"),
        ("prairieview-voltage", "t-001/t-001_Cycle00002_VoltageRecording_001.csv"),
    ]


def test_a_folder_without_rights_holds_no_results(tmp_path, monkeypatch):
    def forbidden(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)  # as it is in such a folder, for all but root
    assert not is_results_folder(tmp_path)
