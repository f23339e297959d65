"""NAPARM folders: the photostimulation protocols that the Packer and Hausser labs' programs run."""

from packerlabimaging.io.naparm.field import SubField, crop_to_field
from packerlabimaging.io.naparm.reader import NaparmReader
from packerlabimaging.io.naparm.writer import write_naparm

__all__ = ["NaparmReader", "SubField", "crop_to_field", "write_naparm"]
