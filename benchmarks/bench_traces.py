"""Traces of 1,000 masks, and everything that needs pixels in one pass, from 5,000 x 512 x 512 uint16 (raw binary, warm cache).

Imports and opening are part of the work. The limit is reading the same bytes once into one reused 4 MB buffer.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from measure import main, read_limit, write_noise

SHAPE = (512, 512)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--rois", type=int, default=1000)


def prepare(folder: Path, arguments: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    write_noise(folder / "movie.bin", n_frames=arguments.frames, frame_shape_px=SHAPE)
    np.save(folder / "centers.npy", rng.uniform(8, SHAPE[0] - 8, (arguments.rois, 2)))


def _rois(folder: Path) -> Any:
    from packerlabimaging.core import RoiSet

    return RoiSet.from_discs(np.load(folder / "centers.npy"), 6.0, SHAPE)


def _movie(folder: Path, arguments: argparse.Namespace) -> Any:
    from packerlabimaging.io.binary import BinaryMovie

    return BinaryMovie(folder / "movie.bin", frame_shape_px=SHAPE, dtype="uint16")


def limit(folder: Path, arguments: argparse.Namespace) -> None:
    read_limit(folder / "movie.bin")


def traces(folder: Path, arguments: argparse.Namespace, workers: int = 1) -> float:
    from packerlabimaging.core import RoiTraces, stream

    found = stream(_movie(folder, arguments), {"F": RoiTraces(_rois(folder))}, workers=workers)["F"]
    return float(found.astype(np.float64).sum())


def traces_two_threads(folder: Path, arguments: argparse.Namespace) -> float:
    return traces(folder, arguments, workers=2)


def one_pass_for_all(folder: Path, arguments: argparse.Namespace) -> float:
    from packerlabimaging.core import FovTrace, Projections, RoiTraces, stream

    reducers = {"F": RoiTraces(_rois(folder)), "images": Projections(), "fov": FovTrace()}
    return float(stream(_movie(folder, arguments), reducers)["F"].astype(np.float64).sum())


def projections(folder: Path, arguments: argparse.Namespace) -> None:
    from packerlabimaging.core import Projections, stream

    stream(_movie(folder, arguments), {"images": Projections()})


def fancy_index_a_mask(folder: Path, arguments: argparse.Namespace) -> float:
    """What a user writes by hand: a memory map, and one indexed mean a mask."""
    rois = _rois(folder)
    movie = np.memmap(folder / "movie.bin", np.uint16, "r", shape=(arguments.frames, *SHAPE))
    out = np.empty((len(rois), arguments.frames), np.float32)
    for start in range(0, arguments.frames, 200):
        block = np.asarray(movie[start : start + 200])
        for index in range(len(rois)):
            y, x, _ = rois.pixels(index)
            out[index, start : start + len(block)] = block[:, y, x].mean(axis=1, dtype=np.float64)
    return float(out.astype(np.float64).sum())


def agree(results: Any) -> None:
    values = [value for value in results.values() if value is not None]
    if not np.allclose(values, values[0], rtol=1e-6):
        raise SystemExit(f"The variants disagree: {results}")


if __name__ == "__main__":
    main(
        __file__,
        prepare=prepare,
        variants={
            "read limit": limit,
            "traces": traces,
            "traces, 2 threads": traces_two_threads,
            "projections": projections,
            "traces + projections + FOV": one_pass_for_all,
            "fancy index a mask": fancy_index_a_mask,
        },
        reference="read limit",
        add_arguments=add_arguments,
        agree=agree,
    )
