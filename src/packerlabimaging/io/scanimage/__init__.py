"""ScanImage: TIFF movies whose headers say how they were taken (versions 3.8 to 2023)."""

from packerlabimaging.io.scanimage.header import ScanImageHeader, read_scanimage_header
from packerlabimaging.io.scanimage.reader import ScanImageMovie, ScanImageReader

__all__ = ["ScanImageHeader", "ScanImageMovie", "ScanImageReader", "read_scanimage_header"]
