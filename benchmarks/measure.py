"""Shared by the benchmarks: run variants in turn, each in a process of its own, and print ratios.

A benchmark script defines ``prepare(folder, arguments)``, which makes the data, and variants, functions
``variant(folder, arguments)`` that do the work once and return a number to check. :func:`main` runs them interleaved and
prints median seconds, the ratio to the reference, and the peak of resident memory above that of the idle process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Variant = Callable[[Path, argparse.Namespace], Any]


def read_limit(path: Path, *, buffer_bytes: int = 4 << 20) -> int:
    """Read a file once into one reused buffer: the physical limit of anything that reads it. Returns the bytes read."""
    buffer = memoryview(bytearray(buffer_bytes))
    total = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def write_noise(path: Path, *, n_frames: int, frame_shape_px: tuple[int, int]) -> None:
    """Write a raw uint16 movie of noise, of 13 bits, in the memory of a hundred frames."""
    import numpy as np

    block = np.random.default_rng(0).integers(0, 8000, (100, *frame_shape_px)).astype(np.uint16)
    with path.open("wb") as file:
        for start in range(0, n_frames, len(block)):
            block[: n_frames - start].tofile(file)


def main(
    script: str,
    *,
    prepare: Callable[[Path, argparse.Namespace], None],
    variants: Mapping[str, Variant],
    reference: str,
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    agree: Callable[[Mapping[str, Any]], None] = lambda results: None,
) -> None:
    """Run a benchmark.

    Parameters
    ----------
    script
        ``__file__`` of the benchmark.
    prepare
        Makes the data in an empty folder.
    variants
        What is compared, by name.
    reference
        The variant that ratios are taken to, e.g. the physical limit.
    add_arguments
        Adds the benchmark's own options, such as sizes.
    agree
        Gets ``{variant: returned value}`` and raises if the numbers are not right.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("VARIANT", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.child:
        _child(variants[arguments.child[0]], Path(arguments.child[1]), arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
        for repeat in range(arguments.repeats + 1):
            for name in variants:
                command = [sys.executable, script, *sys.argv[1:], "--child", name, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"The variant '{name}' failed:\n{done.stderr}")
                if repeat:  # the first round warms the page cache
                    runs[name].append(json.loads(done.stdout.splitlines()[-1]))
    agree({name: found[0]["value"] for name, found in runs.items()})
    _print(runs, reference, as_json=arguments.json)


def _child(variant: Variant, folder: Path, arguments: argparse.Namespace) -> None:
    before = _peak_kb()
    start = time.perf_counter()
    value = variant(folder, arguments)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": (_peak_kb() - before) / 1024, "value": value}))


def _peak_kb() -> int:
    """Return the peak of resident memory of this process; on Linux without what it inherited from its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _print(runs: Mapping[str, list[dict[str, Any]]], reference: str, *, as_json: bool) -> None:
    base = [run["seconds"] for run in runs[reference]]
    rows = {}
    for name, found in runs.items():
        ratios = [run["seconds"] / other for run, other in zip(found, base, strict=True)]
        rows[name] = {
            "seconds": round(statistics.median(run["seconds"] for run in found), 4),
            "ratio": round(statistics.median(ratios), 3),
            "peak_mb": round(statistics.median(run["peak_mb"] for run in found), 1),
        }
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'variant':<34}{'seconds':>10}{'x ' + reference:>18}{'peak MB':>10}")
    for name, row in rows.items():
        print(f"{name:<34}{row['seconds']:>10.4f}{row['ratio']:>18.2f}{row['peak_mb']:>10.1f}")
