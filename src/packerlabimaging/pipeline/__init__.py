"""Whole ways through the package: the demonstration, drafting an experiment file, averages around stims."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "demo": ["run_demo"],
        "discovery": ["Recording", "find_recordings"],
        "drafting": ["Draft", "draft_experiment"],
        "inspection": ["inspect_all"],
        "sta": ["StaOptions", "read_stim_order", "sta_of_experiment", "sta_of_files"],
    },
)
