"""Simulated all-optical experiments with known truth, written as the rig would, and scores against that truth."""

from packerlabimaging.simulate.experiment import simulate_experiment
from packerlabimaging.simulate.parameters import SimulationParameters
from packerlabimaging.simulate.scoring import compare_with_truth
from packerlabimaging.simulate.trace_parameters import TraceParameters
from packerlabimaging.simulate.traces import SimulatedTraces, simulate_traces
from packerlabimaging.simulate.truth import Truth, load_truth

__all__ = [
    "SimulatedTraces",
    "SimulationParameters",
    "TraceParameters",
    "Truth",
    "compare_with_truth",
    "load_truth",
    "simulate_experiment",
    "simulate_traces",
]
