"""Suite2p results, versions 0.7 to 1.1: ROIs, traces, images, and which frames came from which file."""

from packerlabimaging.io.suite2p.frames import find_frames, frames_of_files
from packerlabimaging.io.suite2p.reader import Suite2pReader

__all__ = ["Suite2pReader", "find_frames", "frames_of_files"]
