"""Suite2p as a segmentation engine: registration, ROI detection, traces and deconvolution by Suite2p 1.1 or later."""

from packerlabimaging.segmentation.suite2p.engine import Suite2pEngine

__all__ = ["Suite2pEngine"]
