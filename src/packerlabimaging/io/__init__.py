"""File formats: readers that open lazily, and the writers that make the same files.

:func:`open_movie`, :func:`open_signals`, :func:`read_photostim` and :func:`open_segmentation` find the reader by looking at
the path; :func:`inspect_path` describes a path. A format of one's own becomes known by :func:`register_reader`, or by an
entry point of the group ``packerlabimaging.readers``. Names are imported when they are used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
