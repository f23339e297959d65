"""What `pli inspect` shows to a person: known facts only, with units, within the width of the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from packerlabimaging.cli.inspections import print_inspections
from packerlabimaging.core.findings import Finding
from packerlabimaging.io.readers import Inspection

MOVIE = Inspection(
    "/raw/2020-12-19/t-013",
    "prairieview",
    "movie",
    {
        "program": "PrairieView",
        "xml": None,
        "recording": "t-series",
        "n_frames": 16368,
        "n_planes": 1,
        "channels": ["Ch2"],
        "frame_shape_px": [512, 512],
        "frame_rate_hz": 29.7503,
        "frame_rate_source": "frame times",
        "pixel_size_um": [2.18458, 2.18458],
        "duration_s": 550.18,
        "laser_power": {"Mira": 300.0},
        "stacks": [],
        "files_missing": 0,
    },
    (
        Finding("frame-period-differs", "framePeriod is 0.033 s.", "info"),
        Finding("missing-images", "3 of 16368 image files are not there.", "error", advice="Copy them from the rig."),
    ),
    {"tiff": tuple(f"/raw/2020-12-19/t-013/{number:06d}.tif" for number in range(16365))},
)
SIGNALS = Inspection(
    "/raw/t-013.paq",
    "packio",
    "signals",
    {"rate_hz": 20000.0, "duration_s": 570.0, "channels": ["frame_clock", "stim"], "units": ["V"] * 8},
)
UNKNOWN = Inspection("/raw/[odd] name.xyz", "unknown", "unknown", {"size_bytes": 3})
FAULT = Inspection("/raw/pipe", "unknown", "unknown", findings=(Finding("not-looked-at", "It is a pipe."),))
NOTES = Inspection("/raw/README.md", "document", "document", {"what": "document"})


def shown(*inspections, width=80, verbose=False):
    file = io.StringIO()
    print_inspections(Console(file=file, width=width, highlight=False), list(inspections), "/raw", verbose=verbose)
    return file.getvalue()


def test_facts_have_labels_and_units_and_unknown_ones_are_left_out():
    text = shown(MOVIE)
    rows = {line[2:18].strip(): line[18:].strip() for line in text.splitlines() if line.startswith("  ")}
    lines = " ".join(text.split())
    for expected in (
        "frames 16,368",
        "frame rate 29.7503 Hz (from frame times)",
        "pixel size 2.1846 x 2.1846 µm",
        "duration 9 min 10 s",
    ):
        assert expected in lines, rows
    assert "laser power Mira 300 (in the program's units)" in lines
    assert "unknown" not in text and "xml" not in text and "stacks" not in text and "missing 0" not in text
    assert "16,365 tiff: 000000.tif, 000001.tif and 16,363 more" in lines


def test_errors_come_first_with_what_to_do():
    text = shown(MOVIE)
    assert text.index("missing-images") < text.index("-> Copy them from the rig.") < text.index("frame-period-differs")


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_is_wider_than_the_terminal(width, verbose):
    text = shown(*[MOVIE] * 5, SIGNALS, UNKNOWN, FAULT, NOTES, width=width, verbose=verbose)
    assert max(map(len, text.splitlines())) <= width


def test_an_overview_of_many_and_what_to_look_at():
    text = shown(*[MOVIE] * 4, SIGNALS, UNKNOWN, FAULT, NOTES, width=120)
    assert text.startswith("/raw: 5 recordings, 1 other thing named, 2 unknown")
    assert "16,368 frames of 512 x 512, 29.75 Hz, 9 min 10 s" in text
    assert "2 channels (frame_clock, stim), 20 kHz, 9 min 30 s" in text
    assert "1 error" in text and "1 note" in text
    assert "[odd] name.xyz" in text and "It is a pipe." in text and "README.md" in text


def test_equal_values_are_told_once():
    assert "V (all 8)" in shown(SIGNALS)
