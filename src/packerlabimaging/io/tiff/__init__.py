"""TIFF movies: reading straight from the pages' places in the file, and streaming writers.

:class:`TiffReader` opens one stack or a folder of numbered files of any program; :func:`write_tiff_stack` writes a stack.
Other image readers build on :class:`TiffMovie`.
"""

from packerlabimaging.io.tiff.movie import TiffMovie
from packerlabimaging.io.tiff.reader import TiffReader
from packerlabimaging.io.tiff.writer import TiffStackWriter, write_tiff_stack

__all__ = ["TiffMovie", "TiffReader", "TiffStackWriter", "write_tiff_stack"]
