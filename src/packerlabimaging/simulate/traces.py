"""Traces and stims with known truth, without a movie: thousands of experiments, to measure how far statistics hold.

The transients and the spontaneous and neuropil events are those of :mod:`packerlabimaging.simulate.activity`; they are
filtered at the frame rate instead of being summed one by one, which is exact on a regular clock. On top come what makes a
null hard: a shared state, population events, correlated neuropil, drift, bleaching, light that spoils frames, noise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from packerlabimaging._check import did_you_mean
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate.activity import (
    MEMORY_DECAYS,
    Events,
    neuropil_events,
    peak_of_transient,
    spontaneous_events,
)
from packerlabimaging.simulate.parameters import RESPONSE_WINDOW_S
from packerlabimaging.simulate.targets import DIRECT_LATENCY_S, NETWORK_LATENCY_S
from packerlabimaging.simulate.trace_parameters import TraceParameters

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

REST = 100.0
"""Fluorescence of a cell at rest, without neuropil."""
NEUROPIL_REST = 60.0
"""Fluorescence of the neuropil around a cell at rest."""
N_NEUROPIL = 6
"""Components of the neuropil; every cell sees a mixture of its own."""
POPULATION_SHARE = 0.3
"""Share of the cells that take part in one population event."""
DRIFT_KNOT_S = 30.0
"""Time over which the slow drift of a cell's brightness changes."""
SATURATION_DFF = 6.0
"""dF/F at which the indicator saturates."""
FOREIGN_SHARE = 0.4
"""Share of a responder's evoked signal in a cell that has its light in it."""
KINDS = ("direct", "network", "contamination", "none")
"""What a stim does to a cell: drives it by light, through the network, adds a neighbour's light only, or nothing."""


@dataclass(frozen=True, eq=False)
class SimulatedTraces:
    """A simulated recording.

    Parameters
    ----------
    parameters
        What it was made with.
    clock
        Times of its frames.
    F, Fneu
        Raw fluorescence of cells and of the neuropil around them, float32 ``(n_cells, n_frames)``.
    artefact
        Frames with light in them and one guard frame after each, boolean ``(n_frames,)``.
    stims
        One row per stim (index: its id): ``onset_s``, ``end_s``, ``group``, ``catch``.
    truth
        One row per cell and group: ``cell``, ``group``, ``kind`` (see ``KINDS``), ``responds`` (false for contamination and
        none), ``network_driven`` (true for network only), ``effect_dff`` (expected response: noise-free evoked dF/F
        in the 0.5 s after the light minus that in the 0.5 s before, mean over the group's stims with light).
    """

    parameters: TraceParameters
    clock: FrameClock
    F: np.ndarray
    Fneu: np.ndarray
    artefact: np.ndarray
    stims: pd.DataFrame
    truth: pd.DataFrame

    def to_cells(self) -> AnnData:
        """Build the ``cells`` table, neuropil subtracted with 0.7 and its median added back; X is dF/F over the median."""
        import pandas as pd

        from packerlabimaging.core.metadata import ImagingMetadata
        from packerlabimaging.core.rois import RoiSet
        from packerlabimaging.core.schema import make_cells_table

        n = len(self.F)
        side = int(np.ceil(np.sqrt(n)))
        shape = (side, side)
        pixels = np.arange(n)
        rois = RoiSet(
            y_px=pixels // side,
            x_px=pixels % side,
            weights=np.ones(n, np.float32),
            indptr=np.arange(n + 1),
            frame_shape_px=shape,
        )
        offset = np.float32(0.7) * np.median(self.Fneu, axis=1)
        corrected = self.F - np.float32(0.7) * self.Fneu + offset[:, None]
        f0 = np.median(corrected, axis=1, keepdims=True)
        return make_cells_table(
            corrected / f0 - 1,
            rois=rois,
            clock=self.clock,
            trial="simulated",
            layers={"F": self.F, "Fneu": self.Fneu},
            artefact=self.artefact,
            metadata=ImagingMetadata(frame_shape_px=shape, pixel_size_um=(20.0, 20.0)),
            obs=pd.DataFrame({"neuropil_coefficient": np.full(n, 0.7), "offset": offset.astype(np.float64)}),
        )


def simulate_traces(parameters: TraceParameters | None = None, **overrides: Any) -> SimulatedTraces:
    """Simulate the traces of one recording with photostimulation.

    Parameters
    ----------
    parameters
        All of it; the defaults of :class:`TraceParameters` otherwise.
    overrides
        Fields of :class:`TraceParameters` to give instead.

    Returns
    -------
    SimulatedTraces
        Traces, stims and truth. 200 cells and 30 stims take about a fifth of a second.

    Raises
    ------
    ParameterError
        If a field is unknown or a value not possible, or if ``parameters`` and ``overrides`` are both given.

    Example
    -------
    >>> traces = simulate_traces(n_cells=20, n_stims=5)
    >>> traces.truth["kind"].value_counts().to_dict()
    {'none': 19, 'direct': 1}
    """
    if parameters is None:
        possible = [each.name for each in fields(TraceParameters)]
        for name in overrides:
            if name not in possible:
                raise ParameterError(f"'{name}' is not a parameter of simulated traces.{did_you_mean(name, possible)}")
        parameters = TraceParameters(**overrides)
    elif overrides:
        raise ParameterError("simulate_traces takes parameters or single values, not both. Use dataclasses.replace.")
    rng = np.random.Generator(np.random.SFC64(parameters.seed))
    stims, clock = _timeline(parameters, rng)
    decay = parameters.decay_s * rng.lognormal(0.0, parameters.decay_sigma, parameters.n_cells)
    kind, sign = _draw_kinds(parameters, rng)
    evoked = _evoked(parameters, stims, kind, sign, rng)
    cells, population_s = _spontaneous(parameters, clock, rng)
    times = clock.starts_s + 0.5 * clock.period_s
    evoked_dff = _filtered(evoked, decay, parameters.rise_s, times)
    dff = _filtered(cells, decay, parameters.rise_s, times)
    dff += evoked_dff
    np.clip(dff, -0.9, None, out=dff)
    dff *= SATURATION_DFF / (SATURATION_DFF + np.maximum(dff, 0.0))
    sources = _sources_of_light(parameters, kind, rng)
    lit = sources >= 0
    dff[lit] += np.float32(FOREIGN_SHARE) * evoked_dff[sources[lit]]
    neuropil = _neuropil(parameters, population_s, times, rng)
    F, Fneu, artefact = _detect(parameters, dff, neuropil, stims, clock, rng)
    truth = _truth(parameters, stims, clock, evoked, decay, kind, sources)
    return SimulatedTraces(parameters, clock, F, Fneu, artefact, stims, truth)


def _timeline(parameters: TraceParameters, rng: np.random.Generator) -> tuple[pd.DataFrame, FrameClock]:
    import pandas as pd

    n = parameters.n_stims
    intervals = parameters.stim_interval_s + rng.uniform(0.0, parameters.interval_jitter_s, n)
    onsets = parameters.baseline_s + np.cumsum(intervals) - (intervals[0] if n else 0.0)
    last = onsets[-1] + parameters.stim_duration_s if n else parameters.baseline_s
    catch = np.zeros(n, bool)
    catch[rng.choice(n, round(parameters.catch_fraction * n), replace=False)] = True
    stims = pd.DataFrame(
        {
            "onset_s": onsets,
            "end_s": onsets + parameters.stim_duration_s,
            "group": np.arange(n) % parameters.n_groups,
            "catch": catch,
        },
        index=pd.Index([f"simulated:stim-{i:04d}" for i in range(n)], dtype=object, name="stim"),
    )
    n_frames = int((last + parameters.tail_s) * parameters.rate_hz)
    return stims, FrameClock(np.arange(n_frames) / parameters.rate_hz)


def _draw_kinds(parameters: TraceParameters, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind (index into ``KINDS``) of every cell and group, and the sign of the responses, both (cells, groups)."""
    n, n_responders = parameters.n_cells, round(parameters.responder_fraction * parameters.n_cells)
    kind, sign = np.full((n, parameters.n_groups), KINDS.index("none")), np.ones((n, parameters.n_groups))
    for group in range(parameters.n_groups):
        order = rng.permutation(n)
        responders, others = order[:n_responders], order[n_responders:]
        network = responders[: round(parameters.network_fraction * n_responders)]
        kind[responders, group], kind[network, group] = KINDS.index("direct"), KINDS.index("network")
        sign[network[: round(parameters.suppressed_fraction * len(network))], group] = -1.0
        if n_responders:
            kind[others[: round(parameters.contaminated_fraction * n)], group] = KINDS.index("contamination")
    return kind, sign


def _sources_of_light(parameters: TraceParameters, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return, for every cell with foreign light in it, the responder of the same group whose light it is; -1 elsewhere."""
    sources = np.full(parameters.n_cells, -1)
    for group in range(parameters.n_groups):
        responders = np.flatnonzero(kind[:, group] <= KINDS.index("network"))
        cells = np.flatnonzero(kind[:, group] == KINDS.index("contamination"))
        if len(responders):
            sources[cells] = rng.choice(responders, len(cells))
    return sources


def _evoked(
    parameters: TraceParameters, stims: pd.DataFrame, kind: np.ndarray, sign: np.ndarray, rng: np.random.Generator
) -> Events:
    """Draw the responses: spread evenly over the light, with failures, variability and adaptation."""
    cells, groups = np.nonzero(kind <= KINDS.index("network"))
    size = parameters.response_dff * rng.lognormal(0.0, parameters.response_sigma, len(cells)) * sign[cells, groups]
    latency = np.where(kind[cells, groups] == KINDS.index("direct"), DIRECT_LATENCY_S, NETWORK_LATENCY_S)
    n_stims = len(stims)
    lit = (stims["group"].to_numpy() == groups[:, None]) & ~stims["catch"].to_numpy()
    lit &= rng.random((len(cells), n_stims)) >= parameters.failure_probability
    fading = 1.0 - parameters.adaptation * np.arange(n_stims) / max(n_stims - 1, 1)
    amplitude = size[:, None] * fading * rng.lognormal(0.0, parameters.variability_sigma, (len(cells), n_stims))
    pair, stim = np.nonzero(lit)
    n_shots = 5
    shot_s = np.arange(n_shots) * parameters.stim_duration_s / n_shots
    start_s = stims["onset_s"].to_numpy()[stim] + latency[pair]
    repeated = [np.repeat(values, n_shots) for values in (cells[pair], groups[pair], stim)]
    time_s = (start_s[:, None] + shot_s).ravel()
    return Events(repeated[0], time_s, np.repeat(amplitude[pair, stim] / n_shots, n_shots), repeated[1], repeated[2])


def _spontaneous(parameters: TraceParameters, clock: FrameClock, rng: np.random.Generator) -> tuple[Events, np.ndarray]:
    """Draw each cell's own bursts and its part in population events; returns them and the times of the latter."""
    start_s, end_s = -MEMORY_DECAYS * parameters.decay_s, float(clock.ends_s[-1])
    rate = parameters.burst_rate_hz * rng.lognormal(0.0, parameters.burst_rate_sigma, parameters.n_cells)
    own = spontaneous_events(
        rate, start_s=start_s, end_s=end_s, spike_dff=parameters.spike_dff, rng=rng, state_sigma=parameters.state_sigma
    )
    population_s = rng.uniform(start_s, end_s, rng.poisson(parameters.population_event_rate_hz * (end_s - start_s)))
    event, cell = np.nonzero(rng.random((len(population_s), parameters.n_cells)) < POPULATION_SHARE)
    source, time_s = np.concatenate([own.source, cell]), np.concatenate([own.time_s, population_s[event]])
    joint = rng.exponential(parameters.population_event_dff, len(cell))
    none = np.full(len(source), -1)
    return Events(source, time_s, np.concatenate([own.amplitude, joint]), none, none), population_s


def _filtered(events: Events, decay_s: np.ndarray, rise_s: float, times_s: np.ndarray) -> np.ndarray:
    """Sum the transients of each source at regular ``times_s``: the difference of two exponentials, each a recursion."""
    from scipy.signal import lfilter

    n_times, period_s = len(times_s), float(times_s[1] - times_s[0])
    order = np.argsort(events.source, kind="stable")
    source, next_frame = events.source[order], np.searchsorted(times_s, events.time_s[order])
    waited_s = times_s[np.minimum(next_frame, n_times - 1)] - events.time_s[order]
    amplitude = events.amplitude[order] / peak_of_transient(rise_s=rise_s, decay_s=decay_s[source])
    bounds = np.searchsorted(source, np.arange(len(decay_s) + 1))
    total = np.zeros((len(decay_s), n_times), np.float32)
    for row in np.flatnonzero(np.diff(bounds)):
        own = slice(bounds[row], bounds[row + 1])
        for sign, constant_s in ((1.0, decay_s[row]), (-1.0, 1.0 / (1.0 / rise_s + 1.0 / decay_s[row]))):
            weight = sign * amplitude[own] * np.exp(-waited_s[own] / constant_s)
            impulses = np.bincount(next_frame[own], weights=weight, minlength=n_times + 1)[:n_times]
            total[row] += lfilter([1.0], [1.0, -np.exp(-period_s / constant_s)], impulses)
    return total


def _neuropil(parameters: TraceParameters, population_s: np.ndarray, times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the neuropil's dF/F around each cell: a mixture of shared components, which population events reach too."""
    start_s, end_s = -MEMORY_DECAYS * parameters.decay_s, float(times_s[-1])
    events, mean = neuropil_events(
        N_NEUROPIL,
        start_s=start_s,
        end_s=end_s,
        rise_s=parameters.rise_s,
        decay_s=parameters.decay_s,
        dff_sd=parameters.neuropil_dff,
        rng=rng,
    )
    n = len(population_s)
    joint = 0.5 * POPULATION_SHARE * rng.exponential(parameters.population_event_dff, n)
    none = np.full(len(events.source) + N_NEUROPIL * n, -1)
    source = np.concatenate([events.source, np.repeat(np.arange(N_NEUROPIL), n)])
    time_s = np.concatenate([events.time_s, np.tile(population_s, N_NEUROPIL)])
    amplitude = np.concatenate([events.amplitude, np.tile(joint, N_NEUROPIL)])
    decay = np.full(N_NEUROPIL, parameters.decay_s)
    components = _filtered(Events(source, time_s, amplitude, none, none), decay, parameters.rise_s, times_s) - mean
    weights = rng.dirichlet(np.ones(N_NEUROPIL), parameters.n_cells)
    return np.asarray(weights.astype(np.float32) @ components.astype(np.float32))


def _detect(
    parameters: TraceParameters,
    dff: np.ndarray,
    neuropil: np.ndarray,
    stims: pd.DataFrame,
    clock: FrameClock,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return F, Fneu and the artefact mask: light of cell and neuropil, drift, bleaching, stimulation light, noise."""
    n_cells, n_frames = dff.shape
    lit = stims[~stims["catch"].to_numpy()]
    onsets, ends = lit["onset_s"].to_numpy(), lit["end_s"].to_numpy()
    light = clock.overlapping(onsets, ends)
    masked = clock.overlapping(onsets, ends, guard_frames=1)
    after = masked & ~light
    added = (REST * (parameters.artefact_dff * light + parameters.bleed_dff * after)).astype(np.float32)
    bleached = (1.0 - parameters.bleaching * np.linspace(0.0, 1.0, n_frames)).astype(np.float32)
    knot = (clock.starts_s / DRIFT_KNOT_S).astype(np.int64)
    past = np.asarray(clock.starts_s / DRIFT_KNOT_S - knot, np.float32)
    drift = rng.normal(1.0, parameters.drift_dff, (n_cells, int(knot[-1]) + 2)).astype(np.float32)
    share = np.clip(rng.normal(parameters.contamination, 0.1, n_cells), 0.0, 1.0).astype(np.float32)
    noise = np.asarray(parameters.noise_dff * rng.lognormal(0.0, 0.3, n_cells), np.float32)
    F, Fneu = np.empty_like(dff), np.empty_like(dff)
    size = noise * np.float32(np.sqrt(REST))
    for cell in range(n_cells):
        Fneu[cell] = NEUROPIL_REST * (1.0 + neuropil[cell]) * bleached + added
        own = REST * (1.0 + dff[cell]) * bleached
        own *= drift[cell, knot] * (1.0 - past) + drift[cell, knot + 1] * past
        own += share[cell] * (Fneu[cell] - added) + added
        own += size[cell] * np.sqrt(np.maximum(own, 0.0)) * rng.standard_normal(n_frames, dtype=np.float32)
        F[cell] = own
    return F, Fneu, masked


def _truth(
    parameters: TraceParameters,
    stims: pd.DataFrame,
    clock: FrameClock,
    evoked: Events,
    decay_s: np.ndarray,
    kind: np.ndarray,
    sources: np.ndarray,
) -> pd.DataFrame:
    import pandas as pd

    n_cells, n_groups = kind.shape
    effect = np.zeros(kind.shape)
    for group in range(n_groups):
        own = stims[(stims["group"] == group).to_numpy() & ~stims["catch"].to_numpy()]
        if not len(own):
            continue
        times = clock.starts_s + 0.5 * clock.period_s
        responders = np.flatnonzero(kind[:, group] <= KINDS.index("network"))
        events = evoked.subset(evoked.group == group)
        events = replace(events, source=np.searchsorted(responders, events.source))
        dff = _filtered(events, decay_s[responders], parameters.rise_s, times)
        summed = np.concatenate([np.zeros((len(dff), 1)), np.cumsum(dff, axis=1, dtype=np.float64)], axis=1)
        n = round(RESPONSE_WINDOW_S * parameters.rate_hz)
        first = np.searchsorted(clock.starts_s, own["onset_s"].to_numpy(), side="right") - 1
        after = np.minimum(np.searchsorted(clock.starts_s, own["end_s"].to_numpy()), clock.n_frames - n)
        change = summed[:, after + n] - summed[:, after] - summed[:, first] + summed[:, np.maximum(first - n, 0)]
        effect[responders, group] = change.mean(axis=1) / n
        foreign = (kind[:, group] == KINDS.index("contamination")) & (sources >= 0)
        effect[foreign, group] = FOREIGN_SHARE * effect[sources[foreign], group]
    names = np.array(KINDS, dtype=object)[kind.ravel()]
    return pd.DataFrame(
        {
            "cell": np.repeat(np.arange(n_cells), n_groups),
            "group": np.tile(np.arange(n_groups), n_cells),
            "kind": names,
            "responds": np.isin(names, ("direct", "network")),
            "network_driven": names == "network",
            "effect_dff": effect.ravel(),
        }
    )
