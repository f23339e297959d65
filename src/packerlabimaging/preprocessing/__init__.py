"""Preprocessing (``pli.pp``): artefact masks, neuropil, dF/F, noise, and the ``cells`` table that they end in.

Array functions take and return plain numpy arrays, ``(roi, time)``; :func:`build_cells` and :func:`add_signal` work on
tables.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
