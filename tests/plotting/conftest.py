"""Fixtures of the plotting tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("synthetic_recording", Path(__file__).with_name("synthetic_recording.py"))
synthetic_recording = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(synthetic_recording)


@pytest.fixture(scope="session")
def recording():
    """A small made-up recording; do not change it."""
    return synthetic_recording.make_recording()
