"""Loading a user's own Python file (``--plugin lab.py``): what it defines makes itself known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from packerlabimaging.errors import FormatError, MissingFileError


def load_plugin(path: Path) -> None:
    """Run a Python file once under its own name.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it fails; the message carries its own error.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no plugin file '{path}'. Give a Python file.")
    name = path.stem
    if name in sys.modules:
        known = getattr(sys.modules[name], "__file__", None)
        if known and Path(known).resolve() == path.resolve():
            return
        raise FormatError(f"The plugin '{path}' has the name of a module that is loaded already ('{name}'). Rename the file.")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FormatError(f"The plugin '{path}' is not a Python file. Its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise FormatError(
            f"The plugin '{path}' failed: {type(error).__name__}: {str(error).removesuffix('.')}. "
            "Run it with Python to see where."
        ) from error
