"""What a damaged file may lead to: a value, or one of our errors that says something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from packerlabimaging.errors import PackerLabImagingError


@contextmanager
def only_our_errors() -> Iterator[None]:
    """Let our own errors pass if they say what, where and what to do; any other one fails the test."""
    try:
        yield
    except PackerLabImagingError as error:
        assert len(str(error)) > 30, f"{type(error).__name__}: {error}"
