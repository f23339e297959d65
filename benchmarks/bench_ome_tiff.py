"""Streaming a PrairieView t-series of single-page OME-TIFFs, against the limit and against tifffile.

Ways to have every pixel of the same files once, interleaved, the median of several rounds:

limit
    Every file opened, read through one reused 4 MB buffer and closed: the least that the machine allows.
stream
    ``Movie.read`` of an open movie, chunk by chunk (8 MB) into a reused array.
open + stream
    The same, opening included: the scan's XML parsed, every file looked for.
tifffile
    ``TiffFile(path, is_ome=False).pages[0].asarray(out=...)`` into a reused array, file by file.
roiextractors
    ``BrukerTiffImagingExtractor``, opened and read chunk by chunk; where the package is installed.
to binary
    ``open + stream``, written to one raw file (``BinaryWriter``, int16), on the same disk.

The sum of all pixels must be the same for all; it is computed in a pass that is not timed. Peak memory is that of a fresh
process that only streams, less that of one that only imports. The machine's cache is warm after the first round.

    python benchmarks/bench_ome_tiff.py                      5,000 files of 512 x 512 (2.6 GB)
    python benchmarks/bench_ome_tiff.py --frames 200 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import Movie
from packerlabimaging.core.streaming import CHUNK_BYTES, stream
from packerlabimaging.io.binary import BinaryWriter
from packerlabimaging.io.prairieview import PrairieViewWriter, open_prairieview

GOAL_LIMIT, GOAL_TIFFFILE = 2.0, 3.5
BLOCK_FRAMES = 50
SHAPE = (512, 512)


def make_recording(folder: Path, n_frames: int) -> list[Path]:
    """Write a recording and return its image files."""
    rng = np.random.default_rng(1)
    block = rng.integers(0, 8192, (BLOCK_FRAMES, *SHAPE), dtype=np.uint16)
    with PrairieViewWriter(folder, metadata=ImagingMetadata(frame_shape_px=SHAPE, frame_rate_hz=30.0)) as writer:
        while writer.n_frames < n_frames:
            n_new = min(BLOCK_FRAMES, n_frames - writer.n_frames)
            block[:, 0, 0] = np.arange(writer.n_frames, writer.n_frames + BLOCK_FRAMES) % 65536
            writer.write(block[:n_new], np.arange(writer.n_frames, writer.n_frames + n_new) / 30.0)
    return sorted(folder.glob("*.tif"))


def read_limit(files: list[Path], each: Callable[[np.ndarray], None] | None = None) -> None:
    """Read all bytes of all files into one buffer."""
    buffer = bytearray(4 << 20)
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        while os.readv(descriptor, [buffer]):
            pass
        os.close(descriptor)


def read_ours(files: list[Path], each: Callable[[np.ndarray], None] | None = None) -> None:
    """Read the recording with this package, opening included."""
    read_movie(open_prairieview(files[0].parent), each)


def read_movie(movie: Movie, each: Callable[[np.ndarray], None] | None = None) -> None:
    """Read an open movie chunk by chunk."""
    size = max(1, CHUNK_BYTES // (2 * SHAPE[0] * SHAPE[1]))
    buffer = np.empty((size, *SHAPE), movie.dtype)
    for start in range(0, movie.n_frames, size):
        stop = min(start + size, movie.n_frames)
        chunk = movie.read(start, stop, out=buffer[: stop - start])
        if each is not None:
            each(chunk)


def read_tifffile(files: list[Path], each: Callable[[np.ndarray], None] | None = None) -> None:
    """Read every file with tifffile into a reused array."""
    import tifffile

    frame = np.empty(SHAPE, np.uint16)
    for file in files:
        with tifffile.TiffFile(file, is_ome=False) as tiff:
            tiff.pages[0].asarray(out=frame)
        if each is not None:
            each(frame[np.newaxis])


def read_roiextractors(files: list[Path], each: Callable[[np.ndarray], None] | None = None) -> None:
    """Read the recording with roiextractors, chunk by chunk."""
    from roiextractors import BrukerTiffImagingExtractor

    extractor = BrukerTiffImagingExtractor(folder_path=files[0].parent)
    size = max(1, CHUNK_BYTES // (2 * SHAPE[0] * SHAPE[1]))
    for start in range(0, len(files), size):
        chunk = extractor.get_series(start, min(start + size, len(files)))
        if each is not None:
            each(chunk)


def write_binary(files: list[Path], each: Callable[[np.ndarray], None] | None = None) -> None:
    """Turn the recording into one raw file, opening included."""
    target = files[0].parent.with_suffix(".bin")
    target.unlink(missing_ok=True)
    movie = open_prairieview(files[0].parent)
    stream(movie, {"binary": BinaryWriter(target)})
    if each is not None:
        each(np.fromfile(target, np.int16).reshape(movie.shape))


WAYS = {"limit": read_limit, "open + stream": read_ours, "tifffile": read_tifffile, "to binary": write_binary}
if find_spec("roiextractors"):
    WAYS["roiextractors"] = read_roiextractors


def pixel_sum(read: Callable[..., None], files: list[Path]) -> int:
    """Return a sum over all pixels that depends on their order."""
    total, seen = 0, 0

    def add(chunk: np.ndarray) -> None:
        nonlocal total, seen
        for frame in chunk:
            seen += 1
            total += seen * int(frame.sum(dtype=np.uint64))

    read(files, add)
    return total


def peak_bytes(way: str, folder: Path) -> int:
    """Return the peak resident memory (Linux) of a process that reads once in one way (``""``: only imports)."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bench_ome_tiff as b; from pathlib import Path; import tifffile\n"
        "files = sorted(Path(sys.argv[3]).glob('*.tif'))\n"
        "b.WAYS[sys.argv[2]](files) if sys.argv[2] else None\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(int(status['VmHWM'].split()[0]) * 1024)"
    )
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent), way, str(folder)]
    return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to make the recording; a temporary folder by default")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        files = make_recording(Path(folder) / "t-001", options.frames)
        sums = {name: pixel_sum(WAYS[name], files) for name in WAYS if name != "limit"}
        if len(set(sums.values())) != 1:
            raise SystemExit(f"The pixels differ: {sums}")
        movie = open_prairieview(files[0].parent)
        timed = {"limit": read_limit, "stream": lambda _: read_movie(movie), **WAYS}
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(options.rounds):
            for name, read in timed.items():
                start = time.perf_counter()
                read(files)
                seconds[name].append(time.perf_counter() - start)
        base = peak_bytes("", files[0].parent)
        peaks = {name: peak_bytes(name, files[0].parent) - base for name in WAYS}
    report({name: statistics.median(values) for name, values in seconds.items()}, peaks, options)


def report(medians: dict[str, float], peaks: dict[str, int], options: argparse.Namespace) -> None:
    """Print the table or the JSON."""
    ours = medians["stream"]
    numbers = {
        "frames": options.frames,
        "median_s": medians,
        "peak_over_import_mb": {name: peak / 1e6 for name, peak in peaks.items()},
        "times_limit": ours / medians["limit"],
        "times_faster_than_tifffile": medians["tifffile"] / ours,
    }
    if options.json:
        print(json.dumps(numbers, indent=2))
        return
    print(f"{options.frames} files of {SHAPE[0]} x {SHAPE[1]} uint16, median of {options.rounds} rounds, pixels equal")
    for name, value in medians.items():
        peak = f"peak +{peaks[name] / 1e6:.0f} MB" if name in peaks else ""
        print(f"  {name:18} {value:8.3f} s   {value / medians['limit']:6.2f} x limit   {peak}")
    print(f"  {numbers['times_limit']:.2f} x the limit (goal <= {GOAL_LIMIT}), ", end="")
    print(f"{numbers['times_faster_than_tifffile']:.1f} x faster than tifffile (goal >= {GOAL_TIFFFILE})")


if __name__ == "__main__":
    main()
