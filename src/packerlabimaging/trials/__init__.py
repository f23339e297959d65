"""Trials and experiments: identity, inputs, parameters, and calls into the layers below."""

from packerlabimaging.trials.all_optical import AllOpticalTrial
from packerlabimaging.trials.config import ExperimentConfig, SegmentationConfig
from packerlabimaging.trials.experiment import Experiment
from packerlabimaging.trials.inputs import Input, InputConfig, MovieInput, PhotostimInput, SignalsInput, SyncInput
from packerlabimaging.trials.results import PixelResults
from packerlabimaging.trials.steps import StepStatus
from packerlabimaging.trials.trial import Trial
from packerlabimaging.trials.two_photon import TwoPhotonImagingTrial

__all__ = [
    "AllOpticalTrial",
    "Experiment",
    "ExperimentConfig",
    "Input",
    "InputConfig",
    "MovieInput",
    "PhotostimInput",
    "PixelResults",
    "SegmentationConfig",
    "SignalsInput",
    "StepStatus",
    "SyncInput",
    "Trial",
    "TwoPhotonImagingTrial",
]
