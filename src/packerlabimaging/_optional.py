"""Imports of optional packages, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from packerlabimaging.errors import MissingDependencyError


def import_optional(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, which the extra ``extra`` installs.

    Parameters
    ----------
    module
        Dotted name of the module.
    extra
        Name of the extra in ``pip install "packerlabimaging[extra]"``.
    purpose
        What it is needed for, to stand in the message.

    Raises
    ------
    MissingDependencyError
        If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there but one of its own dependencies is not: its message is the better one
        raise MissingDependencyError(
            f"{purpose} needs the package '{module.split('.')[0]}', which is not installed. "
            f'Install it with: pip install "packerlabimaging[{extra}]"'
        ) from error
