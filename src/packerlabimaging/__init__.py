"""packerlabimaging: from the rig's raw files of an imaging+ experiment to results.

>>> import packerlabimaging as pli

``pli.Experiment`` collects trials (``pli.TwoPhotonImagingTrial``, ``pli.AllOpticalTrial``, or your own); ``pli.io`` opens files,
``pli.pp`` preprocesses, ``pli.tl`` analyses, ``pli.pl`` plots, ``pli.report`` writes a page. Everything is loaded when it is
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import lazy_loader

_SHORT_NAMES = {"pp": "preprocessing", "tl": "analysis", "pl": "plotting"}

_load, _list, __all__ = lazy_loader.attach(
    __name__,
    submodules=["core", "errors", "export", "io", "report", "segmentation", "simulate", "testing"],
    submod_attrs={
        "core": [
            "ArrayChannel",
            "ArrayMovie",
            "Channel",
            "Events",
            "Finding",
            "FrameClock",
            "ImagingMetadata",
            "Movie",
            "PhotostimProtocol",
            "PhotostimRow",
            "Reducer",
            "RoiSet",
            "Signals",
            "check_table",
            "stream",
        ],
        "io": ["inspect_path", "open_movie", "open_segmentation", "open_signals", "read_photostim"],
        "simulate": ["simulate_experiment"],
        "trials": [
            "AllOpticalTrial",
            "Experiment",
            "MovieInput",
            "PhotostimInput",
            "PixelResults",
            "SignalsInput",
            "SyncInput",
            "Trial",
            "TwoPhotonImagingTrial",
        ],
    },
)
__all__ = sorted([*__all__, *_SHORT_NAMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("packerlabimaging")
    if name in _SHORT_NAMES:
        return importlib.import_module(f"{__name__}.{_SHORT_NAMES[name]}")
    return _load(name)


def __dir__() -> list[str]:
    return list(__all__)


if TYPE_CHECKING:
    __version__: str
    from packerlabimaging import (
        analysis as tl,
    )
    from packerlabimaging import (
        core,
        errors,
        io,
        segmentation,
        simulate,
        testing,
    )
    from packerlabimaging import (
        plotting as pl,
    )
    from packerlabimaging import (
        preprocessing as pp,
    )
    from packerlabimaging.core import (
        ArrayChannel,
        ArrayMovie,
        Channel,
        Events,
        Finding,
        FrameClock,
        ImagingMetadata,
        Movie,
        PhotostimProtocol,
        PhotostimRow,
        Reducer,
        RoiSet,
        Signals,
        check_table,
        stream,
    )
    from packerlabimaging.io import inspect_path, open_movie, open_segmentation, open_signals, read_photostim
    from packerlabimaging.report import report
    from packerlabimaging.simulate import simulate_experiment
    from packerlabimaging.trials import (
        AllOpticalTrial,
        Experiment,
        MovieInput,
        PhotostimInput,
        PixelResults,
        SignalsInput,
        SyncInput,
        Trial,
        TwoPhotonImagingTrial,
    )
