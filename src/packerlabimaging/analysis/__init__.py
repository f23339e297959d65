"""Analysis (``pli.tl``): synchronisation, target matching, peri-stim snippets, photostimulation responses, statistics.

Array functions take and return plain numpy arrays; :func:`compute_responses` and :func:`compute_target_responses` end in
tables of the published data model.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
