"""Formats that are recognised but not opened: what a file is, and what to do with it.

A raw folder holds more than recordings: settings beside a scan, videos, poses, notes. No reader opens these as inputs, but a
person who looks at a folder wants to know what each one is. This is one table of names, glob patterns and checks of the first
bytes; the first entry that fits counts, so special formats stand before the containers that they are stored in.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packerlabimaging.io.untrusted.xml import root_tag

HEAD_BYTES = 4096

HDF5 = b"\x89HDF\r\n\x1a\n"

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")

HARP_MESSAGES = (1, 2, 3, 9, 10, 11)
"""First byte of a Harp message: read, write, event, and the same with the error flag (Harp binary protocol, 8-bit)."""


@dataclass(frozen=True)
class Recognised:
    """A format that is named but not opened.

    Parameters
    ----------
    name
        Name of the format, as in JSON.
    kind
        What it holds: ``"settings"``, ``"behaviour"``, ``"image"``, ``"table"``, ``"container"``, ``"document"``, ...
    what
        What it is, for a person.
    advice
        What to do with it; empty where nothing is to be done.
    patterns
        Glob patterns of the file name, lower case; any of them must fit.
    check
        Looks at the file; True for files of this format. By default the name is enough.
    """

    name: str
    kind: str
    what: str
    advice: str = ""
    patterns: tuple[str, ...] = ()
    check: Callable[[Path], bool] | None = None

    def fits(self, path: Path) -> bool:
        """Say whether a file is of this format; reads at most some kilobytes."""
        name = path.name.lower()
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns) and (self.check is None or self.check(path))


def recognise(path: Path) -> Recognised | None:
    """Return the format of a file (or of a folder that is one thing, such as a Zarr store), or None where it is unknown.

    Raises
    ------
    OSError
        If the file can't be read.
    """
    if path.is_dir():
        return ZARR if any((path / mark).is_file() for mark in ZARR_MARKS) else None
    return next((known for known in TABLE if known.fits(path)), None)


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _root(*tags: str) -> Callable[[Path], bool]:
    return lambda path: root_tag(path) in tags


def _holds(*texts: bytes) -> Callable[[Path], bool]:
    def check(path: Path) -> bool:
        head = read_head(path)
        return all(text in head for text in texts)

    return check


def _begins(*starts: bytes) -> Callable[[Path], bool]:
    return lambda path: read_head(path).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(starts)


def is_harp(path: Path) -> bool:
    """Say whether a file holds Harp messages: type, length, ..., and a checksum, the sum of all bytes before it."""
    head = read_head(path)
    if not head:
        return any(path.parent.glob("device.y*ml"))  # a register that sent nothing
    if len(head) < 6 or head[0] not in HARP_MESSAGES:
        return False
    end = head[1] + 2
    return 6 <= end <= len(head) and sum(head[: end - 1]) & 0xFF == head[end - 1]


def is_text(path: Path) -> bool:
    """Say whether a file begins as UTF-8 text."""
    text = read_head(path).decode("utf-8", errors="replace")
    return "\0" not in text and "\ufffd" not in text[:-1]  # the last character may be cut


_INSIDE = "It belongs to the scan in this folder; inspect the folder."
_POSES = "Not an input yet: export what you need as signals (CSV), or read it with the program's own tools."

ZARR = Recognised("zarr", "container", "Zarr store of unknown layout", "Open what it holds with its own program.")

TABLE: tuple[Recognised, ...] = (
    Recognised("prairieview-environment", "settings", "PrairieView environment", _INSIDE, ("*.env",), _begins(b"<")),
    Recognised("prairieview-config", "settings", "PrairieView 4 settings", _INSIDE, ("*.cfg",), _root("PVConfig")),
    Recognised("prairieview-linescan", "settings", "PrairieView 4 line scan definition", _INSIDE, ("*.lsd",), _begins(b"[Main]")),
    Recognised("prairieview-linescan-profile", "table", "PrairieView line scan profile", _INSIDE, ("*linescandata*.csv",)),
    Recognised("ome-companion", "settings", "OME-XML companion of a scan's images", _INSIDE, ("*.companion.ome",)),
    Recognised(
        "prairieview-voltage-output",
        "settings",
        "PrairieView VoltageOutput waveforms",
        _INSIDE,
        ("*.xml",),
        lambda path: root_tag(path) == "Experiment" and b"<Waveform>" in read_head(path),
    ),
    Recognised(
        "markpoints",
        "photostim",
        "PrairieView MarkPoints series",
        "Pass it where a protocol is asked for.",
        ("*.xml",),
        _root("PVSavedMarkPointSeriesElements", "PVMarkPointSeriesElements"),
    ),
    Recognised(
        "galvo-points",
        "settings",
        "PrairieView galvo point list (volts)",
        "It belongs to a MarkPoints series or NAPARM folder.",
        ("*.gpl",),
        _root("PVGalvoPointList"),
    ),
    Recognised("prairieview-notes", "document", "notes of an experiment (XML)", "", ("experiment.xml",), _root("experiment")),
    Recognised(
        "thorimage",
        "settings",
        "ThorImage metadata",
        "Pass its folder where a movie is asked for.",
        ("*.xml",),
        _root("ThorImageExperiment"),
    ),
    Recognised(
        "thorsync-settings",
        "settings",
        "ThorSync settings",
        "They belong to the ThorSync .h5.",
        ("*.xml",),
        _root("RealTimeDataSettings"),
    ),
    Recognised(
        "scanimage-header",
        "settings",
        "ScanImage header as JSON",
        "The TIFF it was taken from holds the same.",
        ("*.json",),
        _holds(b'"SI.'),
    ),
    Recognised(
        "mesoscope-platform",
        "settings",
        "platform file of an Allen mesoscope",
        "",
        ("*.json",),
        _holds(b'"schema_type"', b'"rig_id"'),
    ),
    Recognised("camera-report", "settings", "recording report of a camera", "", ("*.json",), _holds(b'"RecordingReport"')),
    Recognised(
        "packerlabimaging-experiment", "settings", "experiment file", "Run it: pli run", ("*.toml",), _holds(b"[[trial]]")
    ),
    Recognised(
        "harp", "behaviour", "Harp messages", "Not an input yet: export a register as CSV with harp-python.", ("*.bin",), is_harp
    ),
    Recognised(
        "harp-device", "settings", "description of a Harp device", "", ("device.yml", "device.yaml"), _holds(b"registers:")
    ),
    Recognised(
        "deeplabcut", "behaviour", "DeepLabCut poses", _POSES, ("*dlc*.h5",), lambda path: read_head(path).startswith(HDF5)
    ),
    Recognised("deeplabcut", "behaviour", "DeepLabCut poses", _POSES, ("*.csv",), _begins(b"scorer,")),
    Recognised("facemap", "behaviour", "Facemap output", _POSES, ("*_proc.npy",)),
    Recognised("pycontrol", "behaviour", "pyControl session", _POSES, ("*.txt",), _begins(b"I Experiment name", b"I Task name")),
    Recognised("nwb", "container", "NWB file", "Open it with pynwb.", ("*.nwb",), lambda path: read_head(path).startswith(HDF5)),
    Recognised("scanbox", "movie", "Scanbox images", "Keep its .mat beside it.", ("*.sbx",)),
    Recognised(
        "hdf5",
        "container",
        "HDF5 file of unknown layout",
        "Name the reader and the data set in it (reader=, options).",
        ("*.h5", "*.hdf5", "*.mat", "*.hdf", "*.ims"),
        lambda path: read_head(path).startswith(HDF5),
    ),
    Recognised("matlab", "container", "MATLAB file", "", ("*.mat",), _begins(b"MATLAB 5.0")),
    Recognised("numpy", "container", "numpy array", "", ("*.npy",), _begins(b"\x93NUMPY")),
    Recognised("numpy-archive", "container", "numpy arrays", "", ("*.npz",), _begins(b"PK")),
    Recognised("archive", "container", "archive", "Unpack it to see what it holds.", ("*.zip", "*.tar", "*.gz", "*.7z", "*.rar")),
    Recognised("video", "behaviour", "video", "", ("*.avi", "*.mp4", "*.mkv", "*.mov", "*.mj2", "*.wmv", "*.m4v")),
    Recognised("picture", "image", "picture", "", ("*.png", "*.jpg", "*.jpeg", "*.bmp", "*.gif", "*.svg")),
    Recognised("csv", "table", "table of text", "", ("*.csv", "*.tsv")),
    Recognised("json", "settings", "JSON", "", ("*.json",), _begins(b"{", b"[")),
    Recognised("yaml", "settings", "YAML", "", ("*.yml", "*.yaml")),
    Recognised("xml", "settings", "XML of another program", "", ("*.xml",), lambda path: root_tag(path) is not None),
    Recognised("toml", "settings", "TOML", "", ("*.toml",)),
    Recognised(
        "document",
        "document",
        "document",
        "",
        (
            "readme*",
            "license*",
            "licence*",
            "copying*",
            "changelog*",
            "citation*",
            "*.md",
            "*.rst",
            "*.pdf",
            "*.doc",
            "*.docx",
            "*.xls",
            "*.xlsx",
            "*.ods",
            "*.odt",
            "*.ppt",
            "*.pptx",
            "*.html",
            "*.log",
        ),
    ),
    Recognised("text", "document", "text", "", ("*.txt",), is_text),
    Recognised("system", "document", "file of the operating system", "", ("thumbs.db", "desktop.ini")),
    Recognised("code", "document", "program code", "", ("*.py", "*.m", "*.ipynb", "*.r", "*.sh", "*.bat")),
)
"""The formats, most special first."""
