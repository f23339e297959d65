"""How the command's process keeps memory that it no longer uses."""

from __future__ import annotations

import ctypes
import sys

LARGE_BYTES = 4 << 20
_M_MMAP_THRESHOLD = -3  # of mallopt(3)


def return_large_arrays() -> None:
    """Make arrays of 4 MB and more go back to the system as soon as they are freed; for a whole process, before it works.

    The GNU C library raises the size from which it does so with every large array that is freed, to 32 MB, and then keeps what
    each thread's arrays have left: ``pli demo`` needed 100 MB more, and more with every frame. Other C libraries have no
    such option and are left alone.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
