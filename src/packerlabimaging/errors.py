"""The errors that packerlabimaging raises.

Each is also the builtin that a Python programmer would expect (``ValueError``, ``FileNotFoundError``, ...), so that
``except ValueError`` works without knowing this module, and all of them share :class:`PackerLabImagingError`, so that
the command line can tell our own diagnoses from defects.

Every message says three things: what is wrong (with the value and the file), what was expected or is available, and
what to do.
"""

from __future__ import annotations

__all__ = [
    "AmbiguousInputError",
    "ConfigError",
    "EngineError",
    "FormatError",
    "MissingDependencyError",
    "MissingFileError",
    "MissingInputError",
    "NotComputedError",
    "PackerLabImagingError",
    "ParameterError",
    "SchemaError",
    "StoreError",
    "SyncError",
    "UnknownFormatError",
]


class PackerLabImagingError(Exception):
    """Base of all errors raised on purpose by packerlabimaging."""


class MissingFileError(PackerLabImagingError, FileNotFoundError):
    """A file or folder that was named, or that belongs to a recording, is not there."""


class FormatError(PackerLabImagingError, ValueError):
    """A file is not what its format demands: cut, damaged, or of an unsupported version."""


class UnknownFormatError(PackerLabImagingError, ValueError):
    """No reader recognises a file or folder."""


class AmbiguousInputError(PackerLabImagingError, ValueError):
    """Something can be read in more than one way; the message lists the choices."""


class MissingDependencyError(PackerLabImagingError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class ParameterError(PackerLabImagingError, ValueError):
    """An argument has a value that makes no sense; the message says which values do."""


class TooFewShamsError(ParameterError):
    """A recording has too little time without light for the sham stims that a preset compares with."""


class MissingInputError(PackerLabImagingError, KeyError):
    """What was asked for by name was not given: an input, a channel, a trial; the message says which there are."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class NotComputedError(PackerLabImagingError, LookupError):
    """A result was asked for that no finished step has produced; the message says which step makes it."""


class ConfigError(PackerLabImagingError, ValueError):
    """The experiment file or its Python twin is wrong; all faults are listed, each with its place."""


class SchemaError(PackerLabImagingError, ValueError):
    """A table breaks the published data model; all faults are listed."""


class EngineError(PackerLabImagingError, RuntimeError):
    """A segmentation engine failed; the message names the run folder that keeps its log."""


class StoreError(PackerLabImagingError, RuntimeError):
    """The results folder is locked, damaged, or belongs to another experiment."""


class SyncError(PackerLabImagingError, ValueError):
    """Pulses, frames and protocol can't be reconciled; the message lists the findings."""
