"""When sources fire and how their fluorescence follows: events, calcium transients, saturation.

Each source (cell, cell out of focus, neuropil component) is a list of events, each with a time and an amplitude. The
fluorescence at any time is computed from the events alone, so that any piece of a recording can be rendered by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packerlabimaging.simulate.parameters import RESPONSE_WINDOW_S, SimulationParameters
from packerlabimaging.simulate.targets import DIRECT_LATENCY_S, NETWORK_LATENCY_S, Photostimulation
from packerlabimaging.simulate.timeline import Timeline, make_protocol, random_generator

MEMORY_DECAYS = 8.0
"""A transient is cut after so many decay time constants, when 0.03 % of it is left."""
SPIKES_PER_BURST = 2.5
"""Mean number of spikes in a spontaneous burst (geometric distribution)."""
STATE_TIMESCALE_S = 4.0
"""Correlation time of the network state that makes spontaneous bursts of all cells more or less frequent together."""
NEUROPIL_RATE_HZ = 2.0
"""Events per second of a neuropil component; its fluorescence is the sum of many small events."""
WINDOW_SAMPLES = 100
"""Points per response window at which the noise-free response is averaged."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events of many sources, sorted by time.

    Parameters
    ----------
    source, time_s, amplitude
        Source number, time on the ``.paq`` time base, and peak of the transient (linear dF/F, before saturation).
    group, stim
        The group and stim that evoked it, -1 for spontaneous events.
    """

    source: np.ndarray
    time_s: np.ndarray
    amplitude: np.ndarray
    group: np.ndarray
    stim: np.ndarray

    def subset(self, keep: np.ndarray) -> Events:
        """Return the events that a mask or an index array selects."""
        return Events(self.source[keep], self.time_s[keep], self.amplitude[keep], self.group[keep], self.stim[keep])


@dataclass(frozen=True, eq=False)
class Activity:
    """Events of all sources, and the shape of their transients.

    Parameters
    ----------
    events
        Of the cells, then the cells out of focus, then the neuropil components.
    n_cells, n_cellular, n_sources
        Number of cells in the plane; of cells in and out of it; of all sources.
    rise_s
        Rise time constant.
    decay_s
        Decay time constant of each source, ``(n_sources,)``.
    burst_rate_hz
        Spontaneous bursts per second of each cell in or out of focus, ``(n_cellular,)``.
    saturation_dff
        dF/F at which the indicator of a cell saturates.
    neuropil_mean
        Mean of the neuropil's event sum, which counts as its rest.
    """

    events: Events
    n_cells: int
    n_cellular: int
    n_sources: int
    rise_s: float
    decay_s: np.ndarray
    burst_rate_hz: np.ndarray
    saturation_dff: float
    neuropil_mean: float

    def dff(self, times_s: np.ndarray, *, events: Events | None = None) -> np.ndarray:
        """Compute the noise-free dF/F of every source.

        Parameters
        ----------
        times_s
            Ascending times, shape ``(n_times,)``.
        events
            Take these events instead of all, e.g. the evoked ones only.

        Returns
        -------
        numpy.ndarray
            Shape ``(n_sources, n_times)``, float64.
        """
        events = self.events if events is None else events
        memory_s = MEMORY_DECAYS * float(self.decay_s.max())
        first = np.searchsorted(events.time_s, times_s[0] - memory_s)
        stop = np.searchsorted(events.time_s, times_s[-1], side="right")
        order = first + np.argsort(events.source[first:stop], kind="stable")
        near = events.subset(order)
        total = np.zeros((self.n_sources, len(times_s)))
        if len(order):
            transients = near.amplitude[:, None] * transient(
                times_s[None, :] - near.time_s[:, None], rise_s=self.rise_s, decay_s=self.decay_s[near.source, None]
            )
            sources, starts = np.unique(near.source, return_index=True)
            total[sources] = np.add.reduceat(transients, starts, axis=0)
        cellular = total[: self.n_cellular]
        cellular *= self.saturation_dff / (self.saturation_dff + cellular)
        total[self.n_cellular :] -= self.neuropil_mean
        return total


def transient(age_s: np.ndarray, *, rise_s: float, decay_s: np.ndarray) -> np.ndarray:
    """Return the shape of a calcium transient: ``(1 - exp(-t / rise)) exp(-t / decay)``, scaled to a peak of 1.

    Parameters
    ----------
    age_s
        Time since the event; the result is 0 where it is negative.
    rise_s, decay_s
        Time constants, broadcast against ``age_s``.
    """
    age = np.maximum(age_s, 0.0)
    return -np.expm1(-age / rise_s) * np.exp(-age / decay_s) / peak_of_transient(rise_s=rise_s, decay_s=decay_s)


def peak_of_transient(*, rise_s: float, decay_s: np.ndarray) -> np.ndarray:
    """Return the maximum of ``(1 - exp(-t / rise)) exp(-t / decay)``."""
    peak_at = rise_s * np.log1p(decay_s / rise_s)
    return (1.0 - np.exp(-peak_at / rise_s)) * np.exp(-peak_at / decay_s)


def make_activity(parameters: SimulationParameters, timeline: Timeline, photostimulation: Photostimulation) -> Activity:
    """Draw spontaneous and evoked events of every source."""
    rng = random_generator(parameters, "activity")
    n_cells = parameters.n_cells
    n_cellular = n_cells + parameters.n_out_of_focus
    rate = parameters.burst_rate_hz * rng.lognormal(0.0, 0.5, n_cellular)
    rate[rng.choice(n_cells, round(parameters.silent_fraction * n_cells), replace=False)] *= 0.1
    decay = parameters.decay_s * rng.lognormal(0.0, 0.15, n_cellular + parameters.n_neuropil)
    decay[n_cellular:] = parameters.decay_s
    span = {"start_s": -MEMORY_DECAYS * parameters.decay_s, "end_s": timeline.duration_s}
    neuropil, neuropil_mean = neuropil_events(
        parameters.n_neuropil,
        **span,
        rise_s=parameters.rise_s,
        decay_s=parameters.decay_s,
        dff_sd=parameters.neuropil_dff,
        rng=rng,
        first_source=n_cellular,
    )
    parts = [
        spontaneous_events(rate, **span, spike_dff=parameters.spike_dff, rng=rng),
        _evoked(parameters, timeline, photostimulation, rng),
        neuropil,
    ]
    source, time_s, amplitude, group, stim = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("source", "time_s", "amplitude", "group", "stim")
    )
    order = np.argsort(time_s, kind="stable")
    events = Events(source[order], time_s[order], amplitude[order], group[order], stim[order])
    return Activity(
        events,
        n_cells,
        n_cellular,
        n_cellular + parameters.n_neuropil,
        parameters.rise_s,
        decay,
        rate,
        parameters.saturation_dff,
        neuropil_mean,
    )


def _without_stim(source: np.ndarray, time_s: np.ndarray, amplitude: np.ndarray) -> Events:
    none = np.full(len(source), -1)
    return Events(source.astype(np.int64), time_s, amplitude, none, none)


def spontaneous_events(
    rate_hz: np.ndarray, *, start_s: float, end_s: float, spike_dff: float, rng: np.random.Generator, state_sigma: float = 0.4
) -> Events:
    """Draw bursts of spikes; a slow network state, common to all cells, raises and lowers their rate.

    Parameters
    ----------
    rate_hz
        Bursts per second of each cell, shape ``(n_cells,)``.
    start_s, end_s
        Time that events are drawn for.
    spike_dff
        Median peak dF/F of one spike; one size per cell, lognormal with sigma 0.3.
    state_sigma
        Sigma of the logarithm of the network state, which changes over ``STATE_TIMESCALE_S``.
    """
    grid = np.arange(start_s, end_s + STATE_TIMESCALE_S, STATE_TIMESCALE_S)
    state = np.clip(np.exp(rng.normal(0.0, state_sigma, len(grid))), 0.0, 2.5)
    n_candidates = rng.poisson(rate_hz * 2.5 * (end_s - start_s))
    source = np.repeat(np.arange(len(rate_hz)), n_candidates)
    burst_s = rng.uniform(start_s, end_s, len(source))
    kept = rng.random(len(source)) * 2.5 < np.interp(burst_s, grid, state)
    source, burst_s = source[kept], burst_s[kept]
    n_spikes = rng.geometric(1.0 / SPIKES_PER_BURST, len(source))
    size = spike_dff * rng.lognormal(0.0, 0.3, len(rate_hz))  # one size of spike per cell
    source, first = np.repeat(source, n_spikes), np.repeat(burst_s, n_spikes)
    within = np.arange(len(source)) - np.repeat(np.cumsum(n_spikes) - n_spikes, n_spikes)
    time_s = first + within * 0.03 + rng.uniform(0.0, 0.02, len(source))
    return _without_stim(source, time_s, size[source])


def _evoked(
    parameters: SimulationParameters, timeline: Timeline, photostimulation: Photostimulation, rng: np.random.Generator
) -> Events:
    """Draw the responses to every stim: equal parts at each shot of the group, or none where the cell fails."""
    protocol = make_protocol(parameters, photostimulation.targets_px, photostimulation.groups)
    shots = protocol.shots()
    cells, groups = np.nonzero(photostimulation.response_dff)
    columns: list[tuple[np.ndarray, ...]] = []
    for cell, group in zip(cells.tolist(), groups.tolist(), strict=True):
        network = bool(photostimulation.network[cell, group])
        fails = rng.random(parameters.n_stims) < parameters.failure_probability * (2 if network else 1)
        amplitude = photostimulation.response_dff[cell, group] * rng.lognormal(0.0, 0.3, parameters.n_stims)
        shot_s = shots.onset_s[shots.group == group] + (NETWORK_LATENCY_S if network else DIRECT_LATENCY_S)
        stim = np.repeat(np.flatnonzero(~fails), len(shot_s))
        time_s = timeline.stims_s[stim] + np.tile(shot_s, len(stim) // len(shot_s))
        columns.append((np.full(len(stim), cell), time_s, amplitude[stim] / len(shot_s), np.full(len(stim), group), stim))
    if not columns:  # no target has a responsive cell
        return _without_stim(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    return Events(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def neuropil_events(
    n_components: int,
    *,
    start_s: float,
    end_s: float,
    rise_s: float,
    decay_s: float,
    dff_sd: float,
    rng: np.random.Generator,
    first_source: int = 0,
) -> tuple[Events, float]:
    """Draw the neuropil's events, half of its variance shared by all components; returns them and the mean of their sum.

    Parameters
    ----------
    n_components
        Components, which become the sources from ``first_source`` on.
    start_s, end_s
        Time that events are drawn for.
    rise_s, decay_s
        Time constants of a transient.
    dff_sd
        Standard deviation of each component's dF/F.
    """
    age = np.arange(0.0, MEMORY_DECAYS * decay_s, 1e-3)
    shape = transient(age, rise_s=rise_s, decay_s=np.array(decay_s))
    # Campbell's theorem for exponential amplitudes of mean a at rate r: variance = 2 a^2 r integral(shape^2), here per half
    amplitude = dff_sd / np.sqrt(2 * 2 * NEUROPIL_RATE_HZ * np.sum(shape**2) * 1e-3)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.uniform(start_s, end_s, count), rng.exponential(amplitude, count)

    expected = NEUROPIL_RATE_HZ * (end_s - start_s)
    shared_s, shared_amplitude = draw(rng.poisson(expected))
    sources, times, amplitudes = [], [], []
    for component in range(n_components):
        own_s, own_amplitude = draw(rng.poisson(expected))
        times += [shared_s, own_s]
        amplitudes += [shared_amplitude, own_amplitude]
        sources.append(np.full(len(shared_s) + len(own_s), first_source + component))
    events = _without_stim(*(np.concatenate(part) if part else np.zeros(0) for part in (sources, times, amplitudes)))
    return events, float(2 * amplitude * NEUROPIL_RATE_HZ * np.sum(shape) * 1e-3)


def windowed_responses(activity: Activity, timeline: Timeline, parameters: SimulationParameters, *, n_groups: int) -> np.ndarray:
    """Compute the noise-free evoked response of every cell: mean over the window after minus mean over that before a stim.

    Spontaneous activity is left out; failures count as zeros; the windows are those of the ``packerlab`` preset, 0.5 s
    before the onset of the stim and 0.5 s after the end of all light.

    Returns
    -------
    numpy.ndarray
        dF/F averaged over stims, shape ``(n_cells, n_groups + 1)``: each group's light alone, and in the last column all
        groups together.
    """
    evoked = activity.events.subset(activity.events.group >= 0)
    light_s = parameters.stim_duration_s - parameters.inter_shot_s
    step = (np.arange(WINDOW_SAMPLES) + 0.5) / WINDOW_SAMPLES * RESPONSE_WINDOW_S
    offsets = np.concatenate([step - RESPONSE_WINDOW_S, light_s + step])
    responses = np.zeros((activity.n_cells, n_groups + 1))
    for column in range(n_groups + 1):
        events = evoked if column == n_groups else evoked.subset(evoked.group == column)
        for stim_s in timeline.stims_s:
            dff = activity.dff(stim_s + offsets, events=events)[: activity.n_cells]
            responses[:, column] += dff[:, WINDOW_SAMPLES:].mean(axis=1) - dff[:, :WINDOW_SAMPLES].mean(axis=1)
    return responses / len(timeline.stims_s)
