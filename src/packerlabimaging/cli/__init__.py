"""The command line, ``pli``."""

from packerlabimaging.cli.app import app, main

__all__ = ["app", "main"]
