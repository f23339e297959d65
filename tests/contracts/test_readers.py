"""Every reader passes the one contract; samples are written by the rig's writers, or by hand."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest
import rig_samples
import tifffile

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.io import PaqWriter, PrairieViewWriter, write_naparm
from packerlabimaging.segmentation import run_engine
from packerlabimaging.testing import ReaderContract, make_tiny_job

FRAMES = np.random.default_rng(0).integers(0, 8000, (6, 12, 17)).astype(np.uint16)


class TestPrairieView(ReaderContract):
    name = "prairieview"

    def make_sample(self, folder):
        path = folder / "t-001"
        metadata = ImagingMetadata(frame_shape_px=FRAMES.shape[1:], pixel_size_um=(2.0, 1.5), frame_rate_hz=30.0)
        with PrairieViewWriter(path, metadata=metadata) as writer:
            writer.write(FRAMES, np.arange(len(FRAMES)) / 30)
        return path


class TestTiff(ReaderContract):
    name = "tiff"
    options = {"frame_rate_hz": 30.0}

    def make_sample(self, folder):
        path = folder / "stack.tif"
        tifffile.imwrite(path, FRAMES, photometric="minisblack")
        return path


class TestPackIO(ReaderContract):
    name = "packio"

    def make_sample(self, folder):
        path = folder / "t-001.paq"
        with PaqWriter(path, rate_hz=1000.0, names=["frame_clock", "voltage"]) as writer:
            writer.write(np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32))
        return path


class TestPackIOBin(TestPackIO):
    def make_sample(self, folder):
        path = folder / "t-001.bin"
        with PaqWriter(path, rate_hz=1000.0, names=["frame_clock", "voltage"]) as writer:
            writer.write(np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32))
        return path


class TestPrairieViewVoltage(ReaderContract):
    name = "prairieview-voltage"

    def make_sample(self, folder):
        name = "t-001_Cycle00001_VoltageRecording_001"
        signals = "".join(
            f"<VRecSignal><Name>{signal}</Name><Unit><UnitName>Volt</UnitName></Unit><Enabled>true</Enabled></VRecSignal>"
            for signal in ("frame_clock", "voltage")
        )
        (folder / f"{name}.xml").write_text(
            f"<VRecSessionEntry><Experiment><SignalList>{signals}</SignalList><Rate>1000</Rate></Experiment></VRecSessionEntry>"
        )
        rows = [f"{index}, {index % 5}, {index * 0.25 - 3}\r\n" for index in range(50)]
        (folder / f"{name}.csv").write_text("Time(ms), frame_clock, voltage\r\n" + "".join(rows), newline="")
        return folder


class TestNaparm(ReaderContract):
    name = "naparm"

    def make_sample(self, folder):
        protocol = PhotostimProtocol(
            targets_px=np.array([[0, 10, 20], [0, 30, 40], [0, 12, 50.0]]),
            image_shape_px=(64, 64),
            groups=((0, 1), (2,)),
            rows=(PhotostimRow(0, 3, 0.02, 0.005), PhotostimRow(1, 3, 0.02, 0.005)),
            n_stims=5,
            spiral_diameter_um=10.0,
        )
        return write_naparm(folder / "ps_001", protocol, pixel_size_um=(1.0, 1.0))


class TestMarkPoints(ReaderContract):
    name = "markpoints"
    options = {"image_shape_px": (64, 64)}

    def make_sample(self, folder):
        point = '<Point Index="{0}" X="0.{0}" Y="0.3" IsSpiral="True" SpiralSizeInMicrons="10" />'
        path = folder / "t-001_Cycle00001_MarkPoints.xml"
        path.write_text(
            '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<PVMarkPointSeriesElements Iterations="5" IterationDelay="0.00">'
            '<PVMarkPointElement Repetitions="3" UncagingLaserPower="400" TriggerFrequency="First Repetition">'
            '<PVGalvoPointElement InitialDelay="0" InterPointDelay="0.12" Duration="20" AllPointsAtOnce="False" Points="Group 1" '
            f'Indices="1-2">{point.format(1)}{point.format(2)}</PVGalvoPointElement></PVMarkPointElement>'
            "</PVMarkPointSeriesElements>",
            encoding="utf-8",
        )
        return path


class TestRun(ReaderContract):
    name = "packerlabimaging-run"

    def make_sample(self, folder):
        run_engine("masks", make_tiny_job(with_rois=True), folder / "run", settings={"register": False})
        return folder / "run"


class TestSuite2p(ReaderContract):
    name = "suite2p"

    def make_sample(self, folder):
        plane = folder / "suite2p" / "plane0"
        plane.mkdir(parents=True)
        rng = np.random.default_rng(2)
        stat = np.empty(3, dtype=object)
        for index in range(3):
            y, x = np.mgrid[4 + 8 * index : 8 + 8 * index, 5:9]
            stat[index] = {
                "ypix": y.ravel(),
                "xpix": x.ravel(),
                "lam": np.ones(16, np.float32),
                "npix": 16,
                "med": [6 + 8 * index, 7],
            }
        np.save(plane / "stat.npy", stat, allow_pickle=True)
        np.save(
            plane / "ops.npy",
            np.array({"Ly": 32, "Lx": 20, "fs": 30.0, "meanImg": np.ones((32, 20), np.float32)}),
            allow_pickle=True,
        )
        np.save(plane / "iscell.npy", np.array([[1, 0.9], [0, 0.1], [1, 0.8]]))
        for name in ("F", "Fneu", "spks"):
            np.save(plane / f"{name}.npy", rng.random((3, 40)).astype(np.float32))
        return folder / "suite2p"


class TestBinary(ReaderContract):
    name = "binary"

    def make_sample(self, folder):
        np.save(folder / "ops.npy", {"Ly": 12, "Lx": 17, "fs": 30.0}, allow_pickle=True)
        (folder / "data.bin").write_bytes(FRAMES.astype("<i2").tobytes())
        return folder / "data.bin"


class TestPrairieLink(ReaderContract):
    name = "prairielink"

    def make_sample(self, folder):
        path = folder / "t-001.bin"
        frames = np.random.default_rng(4).integers(0, 8192, (5, 16, 24)).astype("<u2")
        path.write_bytes(np.array([24, 16], "<u2").tobytes() + frames.tobytes())
        return path


class TestHDF5(ReaderContract):
    name = "hdf5"

    def make_sample(self, folder):
        import h5py

        with h5py.File(folder / "movie.h5", "w") as file:
            file.create_dataset("data", data=FRAMES, chunks=(2, 5, 17), compression="gzip")
        return folder / "movie.h5"


class TestZarr(ReaderContract):
    name = "zarr"

    def make_sample(self, folder):
        import zarr

        array = zarr.create_array(str(folder / "movie.zarr"), shape=FRAMES.shape, chunks=(2, 5, 17), dtype=FRAMES.dtype)
        array[:] = FRAMES
        return folder / "movie.zarr"


class TestThorImage(ReaderContract):
    name = "thorimage"

    def make_sample(self, folder):
        rig_samples.write_thor_xml(folder, FRAMES.shape[1:], frames=len(FRAMES))
        FRAMES.astype("<u2").tofile(folder / "Image_0001_0001.raw")
        return folder


class TestThorSync(ReaderContract):
    name = "thorsync"

    def make_sample(self, folder):
        return rig_samples.write_thorsync(folder)


class TestScanImage(ReaderContract):
    name = "scanimage"

    def make_sample(self, folder):
        texts = rig_samples.page_texts(range(1, len(FRAMES) + 1))
        pages = FRAMES.astype(np.int16)
        return rig_samples.write_scanimage(folder / "file_00001.tif", pages, rig_samples.scanimage_header(), texts)


class TestScanbox(ReaderContract):
    name = "scanbox"

    def make_sample(self, folder):
        return rig_samples.write_scanbox(folder / "mouse_000_001.sbx", FRAMES[..., np.newaxis])


LABELS = np.kron(np.array([[1, 0, 2], [0, 3, 0]], np.uint16), np.ones((4, 5), np.uint16))


class TestLabels(ReaderContract):
    name = "labels"

    def make_sample(self, folder):
        path = folder / "t-001_labels.tif"
        tifffile.imwrite(path, LABELS, photometric="minisblack")
        return path


class TestCellpose(ReaderContract):
    name = "cellpose"

    def make_sample(self, folder):
        path = folder / "mean_seg.npy"
        np.save(path, {"masks": LABELS, "outlines": LABELS * 0, "ismanual": np.zeros(3, bool)}, allow_pickle=True)
        return path


class TestImageJ(ReaderContract):
    name = "imagej"

    def make_sample(self, folder):
        roifile = pytest.importorskip("roifile")
        path = folder / "RoiSet.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(3):
                outline = np.array([[4, 4], [12, 5], [9, 14]]) + 3 * number
                archive.writestr(f"{number}.roi", roifile.ImagejRoi.frompoints(outline).tobytes())
        return path


class TestCaiman(ReaderContract):
    name = "caiman"

    def make_sample(self, folder):
        path = folder / "results.hdf5"
        rng = np.random.default_rng(4)
        A = np.stack([(number == LABELS).ravel(order="F") * rng.uniform(1, 2, LABELS.size) for number in (1, 2, 3)], axis=1)
        with h5py.File(path, "w") as file:
            file["dims"] = LABELS.shape
            file["estimates/A/data"], file["estimates/A/indices"] = A.T[A.T > 0], np.nonzero(A.T)[1]
            file["estimates/A/indptr"], file["estimates/A/shape"] = np.arange(4) * 20, A.shape
            for name in ("C", "YrA", "S"):
                file[f"estimates/{name}"] = rng.random((3, 30))
        return path


class TestNwb(ReaderContract):
    name = "nwb"

    def make_sample(self, folder):
        path = folder / "session.nwb"
        with h5py.File(path, "w") as file:
            file.attrs["nwb_version"] = "2.7.0"
            table = file.create_group("processing/ophys/ImageSegmentation/PlaneSegmentation")
            table.attrs["neurodata_type"] = "PlaneSegmentation"
            table["id"] = np.arange(3)
            table["image_mask"] = np.stack([(number == LABELS).T.astype("f4") for number in (1, 2, 3)])
            series = file.create_group("processing/ophys/Fluorescence/RoiResponseSeries")
            series.attrs["neurodata_type"] = "RoiResponseSeries"
            series["data"], series["rois"] = np.random.default_rng(0).random((20, 3)), np.arange(3)
            series["rois"].attrs["table"] = table.ref
        return path


class TestExtractorMovie(ReaderContract):
    name = "roiextractors"
    options = {"extractor": "NumpyImagingExtractor", "sampling_frequency": 30.0}
    detected = False

    def make_sample(self, folder):
        pytest.importorskip("roiextractors")
        np.save(folder / "movie.npy", FRAMES[..., None])
        return folder / "movie.npy"


class TestExtractorSegmentation(ReaderContract):
    name = "roiextractors-segmentation"
    detected = False

    @property
    def options(self):
        return {"extractor": "NumpySegmentationExtractor", "sampling_frequency": 30.0, "raw": str(self.raw)}

    def make_sample(self, folder):
        pytest.importorskip("roiextractors")
        self.raw = folder / "raw.npy"
        np.save(folder / "masks.npy", np.stack([number == LABELS for number in (1, 2, 3)], axis=-1).astype("f4"))
        np.save(self.raw, np.random.default_rng(0).random((20, 3)))
        return folder / "masks.npy"


class TestNeo(ReaderContract):
    name = "neo"
    options = {"io": "RawBinarySignalRawIO", "nb_channel": 2, "sampling_rate": 1000.0}
    detected = False

    def make_sample(self, folder):
        pytest.importorskip("neo")
        np.random.default_rng(0).integers(-99, 99, (500, 2)).astype(np.int16).tofile(folder / "rec.raw")
        return folder / "rec.raw"


def test_every_installed_reader_is_under_the_contract():
    from packerlabimaging.io.readers import readers

    ours = {name for name, cls in readers.all().items() if cls.__module__.startswith("packerlabimaging.")}
    tested = {cls.name for cls in ReaderContract.__subclasses__() if cls.__module__ == __name__}
    # bare pixels carry no header, so that a cut file is a shorter movie: see tests/io/test_binary.py
    assert ours - tested <= {"binary"}, "write a contract test for the new reader"


def test_a_reader_of_a_container_gives_way_to_one_that_knows_the_program(tmp_path, monkeypatch):
    from packerlabimaging.io.readers import Inspection, Reader, find_reader, readers

    class LabTiffReader(Reader):
        name = "lab-tiff"
        kind = "movie"
        description = "TIFF stacks of our lab"

        def detect(self, path):
            return path.name.startswith("lab_")

        def open(self, path, **options):
            raise NotImplementedError

        def inspect(self, path):
            return Inspection(str(path), self.name, self.kind)

    monkeypatch.setitem(readers._registered, "lab-tiff", LabTiffReader)
    for name in ("lab_1.tif", "other.tif"):
        tifffile.imwrite(tmp_path / name, FRAMES, photometric="minisblack")
    assert find_reader(tmp_path / "lab_1.tif", "movie").name == "lab-tiff"
    assert find_reader(tmp_path / "other.tif", "movie").name == "tiff"
    assert find_reader(tmp_path / "lab_1.tif", "movie", reader="tiff").name == "tiff"
