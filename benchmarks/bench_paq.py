"""Frame times of one channel of a PackIO file, against one read of its bytes and against loading everything.

The file has a lab's usual layout: 20 kHz, 8 channels (20 minutes are 768 MB). ``ours`` opens it, finds the levels of the frame
clock and gives the times of its pulses; ``rare pulses`` does the same for a stim channel with a 5 ms pulse every 12 s;
``two channels`` reads both columns in one pass, without detection; ``load all`` is what a script does: read the whole file,
take the column, threshold it. The pulses found are compared with those written.

Goals: ``ours`` at most 2 x the warm limit and 1.1 x the cold one, at most 30 MB whatever the length.

    python benchmarks/bench_paq.py                  20 minutes
    python benchmarks/bench_paq.py --minutes 2      a quick look
    python benchmarks/bench_paq.py --cold           from the disk
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import main, read_limit

from packerlabimaging.analysis.pulses import detect_pulses
from packerlabimaging.io.packio import PackIOReader, PaqWriter, iter_channels

RATE_HZ, PERIOD, STIM_PERIOD, WIDTH = 20_000, 672, 12 * 20_000, 100
NAMES = ["frame_clock", "x_galvo_uncaging", "slm2packio", "markpoints2packio"]
NAMES += ["packio2slm", "packio2markpoints", "pycontrol_rsync", "voltage"]


def prepare(folder: Path, arguments: argparse.Namespace) -> None:
    """Write the recording: noise on all channels, a frame clock (5 V) and stims (3.3 V)."""
    rng = np.random.default_rng(0)
    n_samples, piece = int(arguments.minutes * 60 * RATE_HZ), 10 * RATE_HZ
    with PaqWriter(folder / "bench.paq", rate_hz=RATE_HZ, names=NAMES) as paq:
        for start in range(0, n_samples, piece):
            samples = rng.standard_normal((min(piece, n_samples - start), len(NAMES)), np.float32) * np.float32(0.005)
            number = np.arange(start, start + len(samples))
            samples[:, 0] += 5.0 * (number % PERIOD >= PERIOD - WIDTH)
            samples[:, 3] += 3.3 * (number % STIM_PERIOD >= STIM_PERIOD - WIDTH)
            paq.write(samples)


def opened(folder: Path, arguments: argparse.Namespace) -> Path:
    """Return the file; with ``--cold``, not in the page cache."""
    path = folder / "bench.paq"
    if arguments.cold:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def pulses(path: Path, channel: str) -> list[int]:
    found = detect_pulses(PackIOReader().open(path)[channel]).onsets_s * RATE_HZ
    return [len(found), int(np.round(found).sum())]


def two_channels(path: Path) -> None:
    signals = PackIOReader().open(path)
    for _ in iter_channels([signals["frame_clock"], signals["markpoints2packio"]]):
        pass


def load_all(path: Path) -> list[int]:
    with path.open("rb") as file:
        _, n_channels = np.fromfile(file, ">f4", 2).astype(int)
        for _ in range(3 * n_channels):
            file.seek(4 * int(np.fromfile(file, ">f4", 1)[0]), os.SEEK_CUR)
        values = np.fromfile(file, ">f4").reshape(-1, n_channels)
    high = values[:, 0] > 1
    found = np.flatnonzero(high[1:] & ~high[:-1]) + 1
    return [len(found), int(found.sum())]


def agree(results: Mapping[str, Any]) -> None:
    """Compare the pulses found with those written."""
    n_samples = results["limit"]
    for name, period in (("ours", PERIOD), ("rare pulses", STIM_PERIOD), ("load all", PERIOD)):
        written = np.arange(period - WIDTH, n_samples, period)
        if results[name] != [len(written), int(written.sum())]:
            raise SystemExit(f"WRONG: '{name}' found {results[name]}, written were {[len(written), int(written.sum())]}.")
    print("the numbers are right")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=20.0, help="length of the recording")
    parser.add_argument("--cold", action="store_true", help="drop the file from the page cache before each run")


if __name__ == "__main__":
    main(
        __file__,
        prepare=prepare,
        variants={
            "limit": lambda folder, arguments: read_limit(opened(folder, arguments)) // (4 * len(NAMES)),
            "ours": lambda folder, arguments: pulses(opened(folder, arguments), "frame_clock"),
            "rare pulses": lambda folder, arguments: pulses(opened(folder, arguments), "markpoints2packio"),
            "two channels": lambda folder, arguments: two_channels(opened(folder, arguments)),
            "load all": lambda folder, arguments: load_all(opened(folder, arguments)),
        },
        reference="limit",
        add_arguments=add_arguments,
        agree=agree,
    )
