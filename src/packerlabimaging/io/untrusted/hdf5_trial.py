"""Whether the HDF5 library survives a file: damaged ones can crash it or let it go round for ever, and Python with it.

Each file is first walked through by another process (:mod:`packerlabimaging.io.untrusted.hdf5_walk`), once while it is
unchanged; the process is kept for the next file, so that only the first costs a noticeable time.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from packerlabimaging.errors import FormatError

PROGRAM = Path(__file__).with_name("hdf5_walk.py")

LONGEST_S = 120.0
"""Wall time for a file; on a processor it may take a fraction of it, so that a slow disk is no fault."""


class _Walker:
    """The other process; None stands for one that can't be started here (a frozen application): then nothing is tried."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def survives(self, path: Path) -> bool:
        """Return False if the process did not come to the end of a file."""
        with self._lock:
            process = self._started()
            return process is None or _ask(process, json.dumps(str(path))) == "done"

    def _started(self) -> subprocess.Popen[str] | None:
        if self._owner != os.getpid() or (self._process is not None and self._process.poll() is not None):
            self._owner, self._process = os.getpid(), _start()  # after a fork, the process is the parent's
        return self._process

    def stop(self) -> None:
        """End the process."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()


def _start() -> subprocess.Popen[str] | None:
    if getattr(sys, "frozen", False) or not sys.executable or not PROGRAM.is_file():
        return None
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    return process if _ask(process, None) == "ready" else None


def _ask(process: subprocess.Popen[str], line: str | None) -> str:
    """Send a line and return the answer; a process that gives none in time is ended."""
    timer = threading.Timer(LONGEST_S, process.kill)
    timer.start()
    answer = ""
    with contextlib.suppress(OSError):  # a broken pipe: it died, which is the answer
        if line is not None:
            process.stdin.write(f"{line}\n")  # type: ignore[union-attr]  # both are pipes
            process.stdin.flush()  # type: ignore[union-attr]
        answer = process.stdout.readline().strip()  # type: ignore[union-attr]
    timer.cancel()
    if not answer:
        process.kill()
        process.communicate()
    return answer


_walker = _Walker()
atexit.register(_walker.stop)


@lru_cache(maxsize=4096)
def _survives(path: Path, _n_bytes: int, _modified_ns: int) -> bool:
    return _walker.survives(path)


def check_survives(path: Path) -> None:
    """Refuse a file that crashes the HDF5 library or never lets it end.

    Raises
    ------
    FormatError
        If it is one.
    """
    status = path.stat()
    if not _survives(path.absolute(), status.st_size, status.st_mtime_ns):
        raise FormatError(
            f"'{path}' is damaged: the HDF5 library crashes on it or does not come to an end. Copy it again from its source."
        )
