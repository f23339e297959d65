"""Whole ways through the package: the demonstration, and drafting an experiment file from a folder of raw data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "demo": ["run_demo"],
        "discovery": ["Recording", "find_recordings"],
        "drafting": ["Draft", "draft_experiment"],
        "inspection": ["inspect_all"],
    },
)
