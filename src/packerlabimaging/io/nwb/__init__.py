"""Segmentations in NWB files: ROIs (``PlaneSegmentation``) and their traces (``RoiResponseSeries``)."""

from packerlabimaging.io.nwb.reader import NwbReader

__all__ = ["NwbReader"]
