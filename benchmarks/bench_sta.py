"""Stimulus-triggered averages: 100 stims in 4 groups, 512 x 512 uint16 (raw binary, warm cache), windows of 2 s at 30 Hz.

The limit is reading the same bytes once into one reused 4 MB buffer.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from measure import main, read_limit, write_noise

SHAPE = (512, 512)
RATE_HZ = 30.0
N_PRE, N_POST = 22, 38


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--stims", type=int, default=100)


def prepare(folder: Path, arguments: argparse.Namespace) -> None:
    write_noise(folder / "movie.bin", n_frames=arguments.frames, frame_shape_px=SHAPE)


def _onsets(arguments: argparse.Namespace) -> np.ndarray:
    return np.linspace(N_PRE + 1, arguments.frames - N_POST - 2, arguments.stims).astype(int)


def limit(folder: Path, arguments: argparse.Namespace) -> None:
    read_limit(folder / "movie.bin")


def streamed(folder: Path, arguments: argparse.Namespace) -> float:
    from packerlabimaging.analysis import StaSettings, compute_sta
    from packerlabimaging.core import FrameClock
    from packerlabimaging.io.binary import BinaryMovie

    movie = BinaryMovie(folder / "movie.bin", frame_shape_px=SHAPE, dtype="uint16")
    clock = FrameClock.nominal(arguments.frames, RATE_HZ)
    onsets = _onsets(arguments)
    settings = StaSettings(pre_s=N_PRE / RATE_HZ, post_s=N_POST / RATE_HZ)
    sta = compute_sta(movie, clock, clock.starts_s[onsets], kinds=np.arange(len(onsets)) % 4, settings=settings)
    return float(sta.mean[1, :, 100, 100].astype(np.float64).sum())


def in_memory_per_stim(folder: Path, arguments: argparse.Namespace) -> float:
    """What one would write: map the file, collect the windows of each group, average."""
    movie = np.memmap(folder / "movie.bin", np.uint16, "r", shape=(arguments.frames, *SHAPE))
    onsets = _onsets(arguments)
    found: list[Any] = []
    for group in range(4):
        windows = np.stack([movie[onset - N_PRE : onset + N_POST] for onset in onsets[group::4]])
        found.append(windows.mean(axis=0, dtype=np.float32))
    return float(found[1][:, 100, 100].astype(np.float64).sum())


def agree(results: dict[str, Any]) -> None:
    if not np.isclose(results["streamed"], results["in memory, by stim"], rtol=1e-5):
        raise SystemExit(f"The averages differ: {results}")


if __name__ == "__main__":
    variants = {"limit": limit, "streamed": streamed, "in memory, by stim": in_memory_per_stim}
    main(__file__, prepare=prepare, variants=variants, reference="limit", add_arguments=add_arguments, agree=agree)
