"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("tests", deadline=None)  # no test fails because the machine is busy
hypothesis.settings.load_profile("tests")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of files made by real instruments; the test is skipped where there is none."""
    folder = Path(os.environ.get("PLI_REALDATA", REPOSITORY.parent / "shared" / "realdata"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set PLI_REALDATA")
    return folder
