"""Parameters of a simulated recording of traces, see :mod:`packerlabimaging.simulate.traces`."""

from __future__ import annotations

from dataclasses import dataclass

from packerlabimaging._check import check_positive
from packerlabimaging.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class TraceParameters:
    """A simulated recording of traces.

    Parameters
    ----------
    seed
        Everything random follows from it.
    n_cells, n_groups, n_stims
        Cells; groups of targets, lit in turn, one per stim; stims in all, catch stims among them.
    baseline_s, stim_interval_s, interval_jitter_s, tail_s
        Time before the first stim, from one to the next (plus up to ``interval_jitter_s``, uniform), and after the last.
    stim_duration_s
        Light per stim.
    rate_hz
        Frames per second.
    responder_fraction, network_fraction, suppressed_fraction
        Share of the cells that respond to each group; share of these that are driven through the network; share of these
        that are suppressed, as a transient downwards.
    contaminated_fraction
        Share of the cells with light of a responder in them (``FOREIGN_SHARE`` of its evoked signal) that do not respond
        themselves.
    response_dff, response_sigma
        Median peak of an evoked transient, and sigma of its lognormal spread over cells.
    failure_probability, variability_sigma, adaptation
        Share of the stims that a responder misses; sigma of the lognormal amplitude from stim to stim; share of the
        amplitude that is lost, linearly, by the last stim.
    catch_fraction
        Share of the stims that are given without light, at random.
    rise_s, decay_s, decay_sigma
        Time constants of transients; the decay is lognormal over cells.
    burst_rate_hz, burst_rate_sigma, spike_dff
        Bursts per second (lognormal over cells), and the peak of a spike.
    state_sigma, population_event_rate_hz, population_event_dff
        How much the shared state raises and lowers all rates; events in which a third of the cells and the neuropil join.
    neuropil_dff, contamination
        Sd of the neuropil's dF/F; share of the neuropil's light that is in a cell's ROI (mean; sd 0.1 over cells).
    noise_dff
        Sd of a frame's noise at rest (median; lognormal over cells), which grows with the root of the light. The neuropil,
        a mean over many pixels, has none.
    drift_dff, bleaching
        Sd of a cell's slow changes of brightness; share of all light that is lost by the end.
    artefact_dff, bleed_dff
        What light adds to the frames that it overlaps, and to the one frame after, in units of a cell at rest.
    """

    seed: int = 0
    n_cells: int = 200
    n_groups: int = 1
    n_stims: int = 30
    baseline_s: float = 30.0
    stim_interval_s: float = 15.0
    interval_jitter_s: float = 1.0
    tail_s: float = 10.0
    stim_duration_s: float = 0.5
    rate_hz: float = 30.0
    responder_fraction: float = 0.05
    network_fraction: float = 0.5
    suppressed_fraction: float = 0.0
    contaminated_fraction: float = 0.0
    response_dff: float = 0.3
    response_sigma: float = 0.4
    failure_probability: float = 0.2
    variability_sigma: float = 0.3
    adaptation: float = 0.2
    catch_fraction: float = 0.0
    rise_s: float = 0.05
    decay_s: float = 0.7
    decay_sigma: float = 0.2
    burst_rate_hz: float = 0.1
    burst_rate_sigma: float = 0.7
    spike_dff: float = 0.2
    state_sigma: float = 0.5
    population_event_rate_hz: float = 0.03
    population_event_dff: float = 0.3
    neuropil_dff: float = 0.08
    contamination: float = 0.7
    noise_dff: float = 0.1
    drift_dff: float = 0.03
    bleaching: float = 0.1
    artefact_dff: float = 1.0
    bleed_dff: float = 0.3

    def __post_init__(self) -> None:
        positive = {"n_cells", "n_groups", "stim_interval_s", "stim_duration_s", "rate_hz", "rise_s", "decay_s", "baseline_s"}
        for name, value in vars(self).items():
            check_positive(name, value, zero=name not in positive)
            if (name.endswith("_fraction") or name in ("failure_probability", "adaptation", "bleaching")) and value > 1:
                raise ParameterError(f"{name} = {value!r} is out of range. Give a fraction from 0 to 1.")
        if self.responder_fraction + self.contaminated_fraction > 1:
            raise ParameterError("responder_fraction and contaminated_fraction are more than 1 together. Lower one of them.")
