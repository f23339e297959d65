"""What importing the package and asking ``pli --help`` cost, beyond a bare interpreter."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from measure import main


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def bare(folder: Path, arguments: argparse.Namespace) -> None:
    _python("-c", "pass")


def numpy_only(folder: Path, arguments: argparse.Namespace) -> None:
    _python("-c", "import numpy")


def package(folder: Path, arguments: argparse.Namespace) -> None:
    _python("-c", "import packerlabimaging")


def entry_points(folder: Path, arguments: argparse.Namespace) -> None:
    _python("-c", "from packerlabimaging import Experiment, AllOpticalTrial")


def command_help(folder: Path, arguments: argparse.Namespace) -> None:
    _python("-c", "import sys; from packerlabimaging.cli import main; main(['--help'])")


if __name__ == "__main__":
    main(
        __file__,
        prepare=lambda folder, arguments: None,
        variants={
            "bare interpreter": bare,
            "import numpy": numpy_only,
            "import packerlabimaging": package,
            "import Experiment, AllOpticalTrial": entry_points,
            "pli --help": command_help,
        },
        reference="bare interpreter",
    )
