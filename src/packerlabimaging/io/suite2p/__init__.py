"""Suite2p results, versions 0.7 to 1.1: ROIs, traces, images, and which frames came from which file."""

from packerlabimaging.io.suite2p.frames import find_frames, frames_of_files
from packerlabimaging.io.suite2p.reader import Suite2pReader
from packerlabimaging.io.suite2p.trials import Recording, check_single, split_run

__all__ = ["Recording", "Suite2pReader", "check_single", "find_frames", "frames_of_files", "split_run"]
