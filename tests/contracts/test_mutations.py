"""Damaged and hostile files of every format: nothing but our own errors may come of them, quickly, in little memory.

The samples are those of the contract of readers; each input is a sample with one file mutated. Child processes do the reading,
so that a crash, a hang (a watchdog that needs no interpreter) and the memory have a name. ``PLI_MUTATIONS`` is the number of
inputs in all, 20000 for a long run; a failure names the input, whose file stays where it is told.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import io
import itertools
import json
import os
import pickle
import random
import re
import shutil
import struct
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
N_INPUTS = int(os.environ.get("PLI_MUTATIONS", "4000"))
N_PROCESSES, LONGEST_S, MOST_MB, MOST_DATA_MB = 2, 20.0, 500.0, 1500
NONSENSE = (b"nan", b"inf", b"-inf", b"-1", b"0", b"1e308", b"2.5", b"[]", b'""', b"999999999999", b"9" * 23)
NUMBERS = [float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1e308]


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def double(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice((rng.randrange(1, 64), len(data)))]


def double_line(data: bytearray, rng: random.Random) -> None:
    lines = bytes(data).splitlines(keepends=True)
    number = rng.randrange(len(lines))
    copies = rng.choice((1, 1, min(500, 100_000 // len(lines[number]))))
    data[:] = b"".join([*lines[:number], *[lines[number]] * copies, *lines[number:]])


def take_out(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 64)]


def make_huge(data: bytearray, rng: random.Random) -> None:
    start, width = rng.randrange(len(data)), rng.choice((2, 4, 8))
    power = (1 << rng.randrange(8 * width)).to_bytes(width, rng.choice(("little", "big")))
    data[start : start + width] = rng.choice((b"\xff" * width, bytes(width), power))


def make_nonsense(data: bytearray, rng: random.Random) -> None:
    numbers = list(re.finditer(rb"-?[0-9]+(?:\.[0-9]+)?", bytes(data[: 1 << 16])))
    if numbers:
        number = rng.choice(numbers)
        data[number.start() : number.end()] = rng.choice(NONSENSE)


def make_no_number(data: bytearray, rng: random.Random) -> None:
    with contextlib.suppress(OverflowError):  # 1e308 as float32
        number = struct.pack(rng.choice(("<d", ">d", "<f", ">f")), rng.choice(NUMBERS))
        start = rng.randrange(len(data)) & ~3
        data[start : start + len(number)] = number


def make_hostile(data: bytearray, rng: random.Random) -> None:
    """Put a pickle that runs code into an archive or array, or entities that multiply or name a file into XML."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        data[:] = hostile_archive(bytes(data), rng)
    elif b"<" in data[:200]:
        inner = rng.choice(('<!ENTITY e9 SYSTEM "file:///etc/hostname">', multiplying_entities()))
        start = data.find(b"?>") + 2 if b"?>" in data[:200] else 0
        value = rng.choice(list(re.finditer(rb'="[^"]*"|>', bytes(data[start : 1 << 16]))) or [None])
        if value is not None:
            data[start + value.start() : start + value.end()] = b'="&e9;"' if value[0] != b">" else b">&e9;"
        data[start:start] = f"<!DOCTYPE r [{inner}]>".encode()
    else:
        data[:] = rng.choice((hostile_array, hostile_pickle))(rng)


def multiplying_entities() -> str:
    deeper = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    return f'<!ENTITY e0 "1234567890">{deeper}'


class Hostile:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, call: tuple) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call


def hostile_pickle(rng: random.Random) -> bytes:
    trace = os.environ["PLI_TRACE"]
    call = rng.choice(
        (
            (os.system, (f"touch '{trace}'",)),
            (exec, (f"open({trace!r}, 'w')",)),
            (subprocess.Popen, (["touch", trace],)),
            (np.ndarray.tofile, (np.zeros(1), trace)),
        )
    )
    wrapped = rng.choice((Hostile(call), {"Ly": Hostile(call), "masks": Hostile(call)}, [Hostile(call)]))
    return pickle.dumps(wrapped, protocol=rng.randrange(6))


def hostile_array(rng: random.Random) -> bytes:
    header = io.BytesIO()
    shape: tuple = rng.choice(((), (1,), (3,)))
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": shape})
    return header.getvalue() + hostile_pickle(rng)


def hostile_archive(data: bytes, rng: random.Random) -> bytes:
    made = io.BytesIO()
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():  # as far as it can be read, where it was damaged before
            new.writestr(name, hostile_array(rng) if name == chosen else old.read(name))
    return made.getvalue()


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    cut,
    double,
    double_line,
    take_out,
    make_huge,
    make_nonsense,
    make_no_number,
    make_hostile,
)


def contracts() -> list[type]:
    """Return the contracts of all readers; each makes a sample."""
    spec = importlib.util.spec_from_file_location("contract_samples", HERE / "test_readers.py")
    samples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(samples)
    return [cls for cls in vars(samples).values() if isinstance(cls, type) and getattr(cls, "name", None)]


def run(share: int, folder: Path) -> dict:
    """Damage the samples of a share of the readers; return what came of it by reader, and the memory of it all."""
    import resource

    from packerlabimaging.io.readers import readers

    resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA_MB << 20, MOST_DATA_MB << 20))  # the machine is left alone
    found: dict = {}
    everything = contracts()
    inputs_each = -(-N_INPUTS // len(everything))
    for contract in everything[share::N_PROCESSES]:
        found[contract.__name__] = run_reader(contract(), inputs_each, folder / contract.__name__)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "readers": found,
        "inputs_each": inputs_each,
        "peak_mb": peak / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        "without_sample": sorted(set(readers.all()) - {contract.name for contract in everything}),
    }


def run_reader(contract, n_inputs: int, folder: Path) -> dict:
    """Damage the files of one sample one at a time, and put them back."""
    from packerlabimaging.errors import PackerLabImagingError
    from packerlabimaging.io.readers import readers

    folder.mkdir()
    sample = contract.make_sample(folder)
    reader, rng = readers.get(contract.name)(), random.Random(contract.name)
    use(contract, reader, sample)
    found = {"read": 0, "refused": 0, "foreign": [], "slowest_s": 0.0}
    for number, path in itertools.islice(enumerate(damaged(folder, rng)), n_inputs):
        sys.stderr.write(f"{contract.name} input {number}: {path}\n")  # the last line names a crash or hang
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        start = time.monotonic()
        try:
            use(contract, reader, sample)
            found["read"] += 1
        except PackerLabImagingError:
            found["refused"] += 1
        except BaseException:
            kept = folder.with_name(f"{contract.name}-{number}{path.suffix}")
            shutil.copy(path, kept)
            found["foreign"].append(f"{kept}: {traceback.format_exc()}")
        faulthandler.cancel_dump_traceback_later()
        found["slowest_s"] = max(found["slowest_s"], time.monotonic() - start)
        assert not Path(os.environ["PLI_TRACE"]).exists(), f"code of a file ran: {path}"
    return found


def damaged(folder: Path, rng: random.Random) -> Iterator[Path]:
    """Damage one file after another of a folder for ever; each is put back when the next is asked for."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    originals = {path: path.read_bytes() for path in files}
    while True:
        path = rng.choice(files)
        data = bytearray(originals[path])
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            if data:
                rng.choice(MUTATIONS)(data, rng)
        path.write_bytes(data)
        yield path
        path.write_bytes(originals[path])


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
@pytest.mark.parametrize("share", range(N_PROCESSES))
def test_damaged_files_give_nothing_but_our_errors(tmp_path, share):
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), str(share), str(tmp_path)]
    search = os.pathsep.join([str(HERE.parent / "io"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": search, "PLI_TRACE": str(tmp_path / "code-ran"), "PLI_MUTATIONS": str(N_INPUTS)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300 + N_INPUTS // 10, env=environment)
    assert done.returncode == 0, f"a crash, a hang, or code ran; the last lines: {done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak_mb"] < MOST_MB, found["peak_mb"]
    results = found["readers"]
    assert len(results) > 10 and not found["without_sample"], found["without_sample"]
    sys.stdout.write(f"{found}\n")
    foreign = [f"{name}: {error}" for name, result in results.items() for error in result["foreign"]]
    assert not foreign, f"{len(foreign)} foreign errors, the first: {foreign[0]}"
    assert all(result["read"] + result["refused"] == found["inputs_each"] for result in results.values()), results


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]), Path(sys.argv[2]))))
