"""A program that walks through HDF5 files as readers will, in a process of its own: a crash or an endless loop is its own.

It imports nothing of this package. Each line of its input is the path of a file, as JSON; it answers with a line when it has
come to the end. The HDF5 library's own errors are no matter here: a reader meets and tells them.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from typing import Any

WALK_CPU_S, LONGEST_CPU_S = 2.0, 5.0
"""A walk through very many objects ends early, in good order; only what is stuck in one of them reaches the limit."""

MOST_MEMORY_BYTES, MOST_BYTES = 1 << 30, 1 << 20


def walk(path: str) -> None:
    """Open every object of a file, its attributes and texts."""
    import h5py

    end = time.process_time() + WALK_CPU_S

    def visit(_name: str, item: Any) -> bool | None:
        touch(item)
        return True if time.process_time() > end else None

    with contextlib.suppress(Exception), h5py.File(path, "r", locking=False) as file:
        touch(file)
        file.visititems(visit)


def touch(item: Any) -> None:
    """Read what is small of an object: attributes, dimensions, texts, the places of chunks."""
    import h5py

    with contextlib.suppress(Exception):
        for name in item.attrs:
            with contextlib.suppress(Exception):
                if item.attrs.get_id(name).get_storage_size() <= MOST_BYTES:
                    item.attrs[name]
    if isinstance(item, h5py.Dataset):
        with contextlib.suppress(Exception):
            _ = item.is_virtual, item.external, item.id.get_storage_size(), [dimension.label for dimension in item.dims]
        with contextlib.suppress(Exception):
            if item.chunks is not None:
                item.id.get_num_chunks()
        with contextlib.suppress(Exception):
            if item.dtype.kind == "O" and item.nbytes <= MOST_BYTES:
                item[()]


def main() -> None:
    """Answer until the input ends; a file that takes too long ends this process."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; or a lower limit stands
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, LONGEST_CPU_S)
        walk(json.loads(line))
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
