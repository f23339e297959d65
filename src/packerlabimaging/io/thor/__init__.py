"""Thorlabs rigs: the movies of ThorImage and the signals of ThorSync."""

from packerlabimaging.io.thor.experiment import ThorExperiment, read_experiment
from packerlabimaging.io.thor.images import ThorImageReader
from packerlabimaging.io.thor.sync import ThorSyncReader

__all__ = ["ThorExperiment", "ThorImageReader", "ThorSyncReader", "read_experiment"]
