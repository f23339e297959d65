"""The public package: light to import, and true to what it lists."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import packerlabimaging as pli

ROOT = Path(__file__).resolve().parents[2]


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import packerlabimaging",
        "from packerlabimaging import Experiment, AllOpticalTrial",
        "from packerlabimaging import io, pp, tl, pl, segmentation",
        "import packerlabimaging.cli.app",
    ],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    heavy = {"pandas", "anndata", "suite2p", "torch", "matplotlib.pyplot", "scipy.stats", "skimage", "zarr", "pydantic", "numba"}
    assert not modules_after(statement) & heavy


def test_everything_listed_exists() -> None:
    for name in pli.__all__:
        assert getattr(pli, name) is not None, name


def test_short_names_are_the_folders() -> None:
    assert pli.pp.__name__ == "packerlabimaging.preprocessing"
    assert pli.tl.__name__ == "packerlabimaging.analysis"
    assert pli.pl.__name__ == "packerlabimaging.plotting"


def test_the_version_is_that_of_the_installed_package() -> None:
    assert pli.__version__ == version("packerlabimaging")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = pli.does_not_exist


def test_the_source_names_no_machine_or_person() -> None:
    pattern = re.compile(r"(/home/|/Users/|/root/|[A-Z]:\\\\Users)")
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        assert not pattern.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    "layer", ["core", "io", "segmentation", "preprocessing", "analysis", "plotting", "trials", "export", "report", "simulate"]
)
def test_every_layer_is_true_to_its_all(layer: str) -> None:
    import importlib

    module = importlib.import_module(f"packerlabimaging.{layer}")
    for name in module.__all__:
        assert getattr(module, name) is not None, f"{layer}.{name}"


def test_the_report_package_is_callable_and_its_modules_can_be_imported_by_any_spelling() -> None:
    code = (
        "import packerlabimaging as pli; assert callable(pli.report); "
        "import packerlabimaging.report.contract as contract; assert contract.ReportSection is pli.report.ReportSection"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
