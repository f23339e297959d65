"""Files of bare pixels, one frame after another: Suite2p's binary, PrairieLink streams, and any other of known frame size."""

from packerlabimaging.io.binary.movie import BinaryMovie, BinaryWriter, count_images

__all__ = ["BinaryMovie", "BinaryWriter", "count_images"]
