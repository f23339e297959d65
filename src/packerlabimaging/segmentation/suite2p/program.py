"""Import Suite2p without its side effects.

Suite2p and what it pulls in do three things on import that a library must not do to its user: torchvision fails where it was
built for another torch, a settings folder appears in the home folder, and messages go to the terminal. All three are held
off here.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from packerlabimaging._optional import import_optional
from packerlabimaging.errors import MissingDependencyError

LOGGERS = ("suite2p", "cellpose")
"""Where Suite2p's messages go."""

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []
"""What must live as long as the program: the declared schemas, and the folder that stands for the home folder."""


@cache
def import_suite2p() -> ModuleType:
    """Import Suite2p, once.

    Returns
    -------
    module
        ``suite2p``.

    Raises
    ------
    MissingDependencyError
        If it is not installed, or too old.

    Notes
    -----
    Suite2p makes ``~/.suite2p/settings`` when it is imported, to keep a user's classifier and defaults, neither of which this
    package uses. While it is imported, ``HOME`` (``USERPROFILE`` on Windows) therefore is a temporary folder that goes with
    the program; Cellpose, which Suite2p can use, keeps its models where it always does.
    """
    import_optional("torch", extra="suite2p", purpose="The engine 'suite2p'")
    with _other_home(), _silent_loggers():
        mend_torchvision()
        module = import_optional("suite2p", extra="suite2p", purpose="The engine 'suite2p'")
    if not hasattr(module, "default_settings"):
        raise MissingDependencyError(
            "The installed Suite2p is older than 1.1, whose programming interface the engine 'suite2p' uses. "
            'Install a newer one with: pip install --upgrade "packerlabimaging[suite2p]"'
        )
    return module


def mend_torchvision() -> bool:
    """Make torchvision importable beside a torch that it was not built for, where exactly this is the trouble.

    With a CPU build of torch beside PyPI's torchvision (built for CUDA), torchvision's compiled part does not load, and its
    import then fails because the operator ``torchvision::nms`` is unknown. Suite2p needs none of its operators; declaring
    the two schemas lets the import pass. Nothing is done where torchvision works, or fails for another reason.

    Returns
    -------
    bool
        True if the schemas had to be declared.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return False
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            return False  # the import of Suite2p will tell
    else:
        return False
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _kept.append(library)
    return True


@contextmanager
def _other_home() -> Iterator[None]:
    """Let the home folder be a temporary one; what already was told the real one keeps it."""
    import matplotlib

    matplotlib.get_configdir(), matplotlib.get_cachedir()  # asked now, they stay where they are
    models = os.environ.get("CELLPOSE_LOCAL_MODELS_PATH", str(Path.home() / ".cellpose" / "models"))
    home = tempfile.TemporaryDirectory(prefix="packerlabimaging-suite2p-", ignore_cleanup_errors=True)
    _kept.append(home)
    changes = {"HOME": home.name, "USERPROFILE": home.name, "CELLPOSE_LOCAL_MODELS_PATH": models}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _silent_loggers() -> Iterator[None]:
    with captured_loggers(logging.NullHandler()):
        yield


@contextmanager
def captured_loggers(*handlers: logging.Handler) -> Iterator[None]:
    """Send Suite2p's messages to ``handlers`` and nowhere else."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            for handler in handlers:
                logger.removeHandler(handler)
