from .binary import BinaryMovie, BinaryWriter
from .interleaving import Interleaving
from .markpoints import read_gpl, read_markpoints, write_gpl, write_markpoints
from .movie_options import InterleavedOptions, MovieOptions
from .naparm import SubField, crop_to_field, write_naparm
from .neo import signals_of_neo
from .packio import PaqWriter, write_paq
from .prairieview import PrairieViewWriter, read_prairieview_metadata, read_voltage_output
from .readers import (
    Inspection,
    Reader,
    find_reader,
    inspect_path,
    open_movie,
    open_segmentation,
    open_signals,
    read_photostim,
    register_reader,
)
from .roiextractors import movie_of_extractor, segmentation_of_extractor
from .rois import read_rois
from .scanbox import read_scanbox_events
from .scanimage import read_scanimage_header
from .suite2p import find_frames, frames_of_files
from .tables import open_table, read_table, write_table
from .tiff import write_tiff_stack

__all__ = [
    "BinaryMovie",
    "BinaryWriter",
    "Inspection",
    "InterleavedOptions",
    "Interleaving",
    "MovieOptions",
    "PaqWriter",
    "PrairieViewWriter",
    "Reader",
    "SubField",
    "crop_to_field",
    "find_frames",
    "find_reader",
    "frames_of_files",
    "inspect_path",
    "movie_of_extractor",
    "open_movie",
    "open_segmentation",
    "open_signals",
    "open_table",
    "read_gpl",
    "read_markpoints",
    "read_photostim",
    "read_prairieview_metadata",
    "read_rois",
    "read_scanbox_events",
    "read_scanimage_header",
    "read_table",
    "read_voltage_output",
    "register_reader",
    "segmentation_of_extractor",
    "signals_of_neo",
    "write_gpl",
    "write_markpoints",
    "write_naparm",
    "write_paq",
    "write_table",
    "write_tiff_stack",
]
