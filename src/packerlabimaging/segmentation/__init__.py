"""Segmentation: engines that turn the movies of a field of view into ROIs and traces, folder in, folder out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
