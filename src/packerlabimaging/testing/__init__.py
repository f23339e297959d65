"""Contract tests for readers, engines and trial types of other packages: subclass them in your own tests. Needs pytest."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
