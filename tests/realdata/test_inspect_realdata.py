"""`pli inspect` names the format of every data file and folder of the real files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from packerlabimaging.io.readers import readers
from packerlabimaging.pipeline.inspection import inspect_all

pytestmark = pytest.mark.realdata

NO_DATA = re.compile(r"(?i)(licen[cs]e(\.txt)?|.*\.md)")
"""Names of files that are no data: licences and the catalogue."""

EXPECTED = {
    "Packer-Lab__OPSF_vs_PPSF/*.paq": "packio",
    "pynapple-org__pynapple/suite2p/plane0/*.npy": "suite2p",
    "darikoneil__CalSciPy/tests/testing_samples/suite2p/*/*.npy": "suite2p",
    "darikoneil__CalSciPy/**/bruker_folder/*.ome.tif": "tiff",
    "darikoneil__CalSciPy/**/References/*.tif": "tiff",
    "darikoneil__CalSciPy/**/*VoltageOutput*.xml": "prairieview-voltage-output",
    "swharden__*/**/*.ome.tif": "tiff",
    "swharden__*/**/*.env": "prairieview-environment",
    "swharden__*/**/*Config.cfg": "prairieview-config",
    "swharden__*/**/*.lsd": "prairieview-linescan",
    "swharden__*/**/*Source.tif": "tiff",
    "AllenNeuralDynamics*/**/example_timeseries_meta.json": "scanimage-header",
    "AllenNeuralDynamics*/**/example_platform.json": "mesoscope-platform",
    "harp-tech__*/**/*.bin": "harp",
    "harp-tech__*/**/device.yml": "harp-device",
    "DeepLabCut__*/**/*.h5": "deeplabcut",
}
"""Formats that are known from the catalogue. What further readers open may get another name than before."""


@pytest.fixture(scope="module")
def named(realdata) -> dict[Path, str]:
    """Format of every file that the inspection of the whole folder names."""
    formats: dict[Path, str] = {}
    for found in inspect_all(realdata):
        if Path(found.path).is_file():
            formats[Path(found.path)] = found.format
        for name, paths in found.files.items():
            formats |= {Path(path): name for path in paths}
    return formats


def data_files(realdata: Path) -> list[Path]:
    return sorted(path for path in realdata.rglob("*") if path.is_file() and not NO_DATA.fullmatch(path.name))


def test_every_data_file_is_named(realdata, named):
    unnamed = [path.relative_to(realdata).as_posix() for path in data_files(realdata) if named.get(path, "unknown") == "unknown"]
    assert unnamed == []


@pytest.mark.parametrize(("pattern", "format"), EXPECTED.items())
def test_files_have_the_format_of_the_catalogue(realdata, named, pattern, format):
    files = list(realdata.glob(pattern))
    assert files
    assert {named[path] for path in files} == {format}


def test_every_folder_with_a_scan_is_a_recording(realdata):
    folders = {str(path.parent) for path in realdata.rglob("*.xml") if b"<PVScan" in path.read_bytes()[:4096]}
    found = {item.path for item in inspect_all(realdata) if item.format == "prairieview"}
    assert folders <= found


def test_each_data_file_by_itself_is_named(realdata):
    for path in data_files(realdata):
        found = inspect_all(path)
        assert found and all(item.format != "unknown" for item in found), path


def test_each_folder_by_itself_is_named(realdata):
    for folder in (path for path in realdata.rglob("*") if path.is_dir()):
        found = inspect_all(folder)
        assert found, folder
        assert not {"reader-failed", "not-looked-at"} & {finding.code for item in found for finding in item.findings}, folder


def test_the_command_prints_json(realdata):
    command = [sys.executable, "-m", "packerlabimaging.cli", "inspect", "--json", str(realdata)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    items = json.loads(ran.stdout)
    assert all({"path", "format", "kind", "facts", "findings", "files"} == set(item) for item in items)
    assert {item["format"] for item in items} - set(readers.all()) >= {"harp", "deeplabcut", "scanimage-header"}
