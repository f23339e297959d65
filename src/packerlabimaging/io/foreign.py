"""Packages that read files for us: whatever they raise becomes an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from packerlabimaging.errors import FormatError, PackerLabImagingError


@contextmanager
def errors_of(package: str, source: str) -> Iterator[None]:
    """Turn what ``package`` raises on the file ``source`` into a FormatError."""
    try:
        yield
    except PackerLabImagingError:
        raise
    except Exception as error:  # each package has its own, and damaged bytes raise any
        raise FormatError(
            f"'{source}' can't be read by {package}: {type(error).__name__}: {str(error)[:300]}. Check the path and the "
            "arguments, or copy the file again."
        ) from error
