"""Core values: lazy, immutable, without the logic of any lab. See the modules."""

from packerlabimaging.core.clock import NO_FRAME, FrameClock
from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.movie import ArrayMovie, Movie, concatenate_movies
from packerlabimaging.core.photostim import LightTimes, PhotostimProtocol, PhotostimRow
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import check_table, clock_of, rois_of
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.core.signals import ArrayChannel, Channel, Signals
from packerlabimaging.core.stim_averages import StimAverages, StimSums
from packerlabimaging.core.streaming import FovTrace, Projections, Reducer, RoiTraces, stream

__all__ = [
    "NO_FRAME",
    "ArrayChannel",
    "ArrayMovie",
    "Channel",
    "Events",
    "Finding",
    "FovTrace",
    "FrameClock",
    "ImagingMetadata",
    "LightTimes",
    "Movie",
    "PhotostimProtocol",
    "PhotostimRow",
    "Projections",
    "Reducer",
    "RoiSet",
    "RoiTraces",
    "Segmentation",
    "Signals",
    "StimAverages",
    "StimSums",
    "check_table",
    "clock_of",
    "concatenate_movies",
    "rois_of",
    "stream",
]
