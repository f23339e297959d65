"""Segmentation: engines that turn the movies of a field of view into ROIs and traces, folder in, folder out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engine": [
            "Engine",
            "EngineJob",
            "Setting",
            "complete_settings",
            "engines",
            "get_engine",
            "load_run",
            "register_engine",
            "run_engine",
        ],
        "registration": ["RegisteredMovie"],
    },
)
