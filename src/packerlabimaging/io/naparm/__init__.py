"""NAPARM folders: the photostimulation protocols that the Packer and Hausser labs' programs run."""

from packerlabimaging.io.naparm.reader import NaparmReader
from packerlabimaging.io.naparm.writer import write_naparm

__all__ = ["NaparmReader", "write_naparm"]
