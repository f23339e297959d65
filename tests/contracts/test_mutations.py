"""Damaged files of every format: bytes flipped, cut, doubled and taken out, counts made huge, numbers made nonsense.

Nothing but our own errors may come of them, quickly and in little memory. The samples are those of the contract of readers. All
formats run in a child process, so that memory can be measured and a crash has a name. ``PLI_MUTATIONS`` is the number of inputs
per format (1000 for a long run); a failure keeps the damaged file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
N_INPUTS = int(os.environ.get("PLI_MUTATIONS", "25"))
LONGEST_S, MOST_MB = 10.0, 500.0
NONSENSE = (b"nan", b"inf", b"-1", b"0", b"1e308", b"2.5", b"[]", b'""', b"999999999999", b"9" * 23)


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def double(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randrange(1, 64)]


def take_out(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 64)]


def make_huge(data: bytearray, rng: random.Random) -> None:
    start, width = rng.randrange(len(data)), rng.choice((2, 4, 8))
    data[start : start + width] = rng.choice(
        (b"\xff" * width, bytes(width), (1 << rng.randrange(8 * width)).to_bytes(width, "little"))
    )


def make_nonsense(data: bytearray, rng: random.Random) -> None:
    numbers = list(re.finditer(rb"-?[0-9]+(?:\.[0-9]+)?", bytes(data[: 1 << 16])))
    if numbers:
        number = rng.choice(numbers)
        data[number.start() : number.end()] = rng.choice(NONSENSE)


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, cut, double, take_out, make_huge, make_nonsense)


def run(n_inputs: int, folder: Path) -> dict[str, dict]:
    """Damage the samples of all readers; return what came of it by reader."""
    spec = importlib.util.spec_from_file_location("contract_samples", HERE / "test_readers.py")
    samples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(samples)
    contracts = [cls for cls in vars(samples).values() if isinstance(cls, type) and getattr(cls, "name", None)]
    return {contract.__name__: run_reader(contract(), n_inputs, folder / contract.__name__) for contract in contracts}


def run_reader(contract, n_inputs: int, folder: Path) -> dict:
    """Damage the files of one sample one at a time, and put them back."""
    from packerlabimaging.errors import PackerLabImagingError
    from packerlabimaging.io.readers import readers

    folder.mkdir()
    sample = contract.make_sample(folder)
    reader, rng = readers.get(contract.name)(), random.Random(contract.name)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    originals = {path: path.read_bytes() for path in files}
    use(contract, reader, sample)
    before, found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, {"read": 0, "refused": 0, "foreign": [], "slowest_s": 0.0}
    for number in range(n_inputs):
        path = rng.choice(files)
        data = bytearray(originals[path])
        rng.choice(MUTATIONS)(data, rng)
        path.write_bytes(data)
        sys.stderr.write(f"{contract.name} input {number}: {path.name}\n")  # the last line names a crash
        start = time.monotonic()
        try:
            use(contract, reader, sample)
            found["read"] += 1
        except PackerLabImagingError:
            found["refused"] += 1
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"pli-mutation-{contract.name}-{number}{path.suffix}"
            shutil.copy(path, kept)
            found["foreign"].append(f"{kept}: {traceback.format_exc()}")
        found["slowest_s"] = max(found["slowest_s"], time.monotonic() - start)
        path.write_bytes(originals[path])
    found["grown_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def use(contract, reader, sample: Path) -> None:
    """Do what a user does with a path: detect, inspect, open, read the start and the end."""
    from packerlabimaging.core.movie import Movie
    from packerlabimaging.core.signals import Signals
    from packerlabimaging.errors import PackerLabImagingError

    reader.detect(sample)
    with contextlib.suppress(PackerLabImagingError):
        reader.inspect(sample)
    value = contract.open(reader, sample)
    if isinstance(value, Movie) and value.n_frames:
        value.read(0, min(4, value.n_frames))
        value.read(value.n_frames - 1, value.n_frames)
    elif isinstance(value, Signals):
        for channel in value.values():
            channel.read(0, min(1000, channel.n_samples))
            channel.read(max(0, channel.n_samples - 10))


@pytest.mark.slow
def test_damaged_files_give_nothing_but_our_errors(tmp_path):
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), str(N_INPUTS), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "io"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120 + N_INPUTS * 10, env=environment)
    assert done.returncode == 0, f"crashed; the last lines: {done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 10
    for name, result in found.items():
        assert not result["foreign"], f"{name}: {len(result['foreign'])} foreign errors, the first: {result['foreign'][0]}"
        assert result["slowest_s"] < LONGEST_S and result["grown_mb"] < MOST_MB, (name, result)
        assert result["read"] + result["refused"] == N_INPUTS


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]), Path(sys.argv[2]))))
