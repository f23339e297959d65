"""How far calls of responses can be trusted: false discovery rate and power of every preset, on simulated traces.

The unit is the experiment: each is simulated anew, analysed by the public functions, and compared with its truth. The tables
of docs/responses.md are the output of ``python benchmarks/calibration.py fdr power regimes catch single interval``; results
are appended to ``--output`` experiment by experiment, so that a run that was cut goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from packerlabimaging.analysis import compute_responses
from packerlabimaging.analysis.catch import calibrate_thresholds
from packerlabimaging.analysis.evaluation import Recording
from packerlabimaging.analysis.presets import get_preset
from packerlabimaging.analysis.scoring import place_windows
from packerlabimaging.errors import ParameterError
from packerlabimaging.simulate.traces import SimulatedTraces, simulate_traces

N_CELLS = 100
TARGET_SHARE = 0.3
RESPONDERS = (0.0, 0.01, 0.05, 0.2)
N_STIMS = (10, 30, 100)
NO_SHAMS = {"n_sham_trains": 0}
"""Saves the published presets the time for shams, which their calls do not need."""
CALLERS: dict[str, dict[str, Any]] = {
    "calibrated": {},
    "packerlab": NO_SHAMS,
    "packerlab_asrun": NO_SHAMS,
    "vape": NO_SHAMS,
    "packerlab, t test": {"preset": "packerlab", "test": "t", **NO_SHAMS},
}


def families(traces: SimulatedTraces, rng: np.random.Generator) -> pd.Series:
    """Make two populations: targets (all cells driven by light, and others up to ``TARGET_SHARE``) and the other cells."""
    kind = traces.truth["kind"].to_numpy()
    direct = kind == "direct"
    spare = np.flatnonzero(kind == "none")
    n_more = max(round(TARGET_SHARE * len(kind)) - int(direct.sum()), 0)
    target = direct.copy()
    target[rng.choice(spare, min(n_more, len(spare)), replace=False)] = True
    return pd.Series(np.where(target, "target", "other"), index=[f"roi-{i:04d}" for i in range(len(kind))])


def count_calls(obs: pd.DataFrame, truth: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count calls per population: all, false ones, those of either sign, true responders, and those found."""
    counts = {}
    excited, suppressed = obs["excited"].to_numpy(bool), obs["suppressed"].to_numpy(bool)
    responds = truth["responds"].to_numpy(bool)
    up = truth["effect_dff"].to_numpy() > 0
    right = responds & np.where(up, excited, suppressed)
    for family in ("target", "other"):
        own = (obs["population"] == family).to_numpy()
        counts[family] = {
            "calls": int(np.sum(own & (excited | suppressed))),
            "false": int(np.sum(own & (excited | suppressed) & ~right)),
            "false_suppressed": int(np.sum(own & suppressed & ~right)),
            "suppressed": int(np.sum(own & suppressed)),
            "responders": int(np.sum(own & responds)),
            "found": int(np.sum(own & right)),
        }
    return counts


def one_fdr(responders: float, n_stims: int, experiment: int) -> dict[str, Any]:
    """Simulate one experiment and call it by every preset."""
    traces = simulate_traces(seed=experiment, n_cells=N_CELLS, n_stims=n_stims, responder_fraction=responders)
    cells, populations = traces.to_cells(), families(traces, np.random.default_rng(experiment))
    counts = {}
    for name, options in CALLERS.items():
        overrides = {key: value for key, value in options.items() if key != "preset"}
        preset = options.get("preset", name)
        table = compute_responses(
            cells, traces.stims, preset=preset, overrides=overrides, populations=populations, rng=experiment
        )
        counts[name] = count_calls(table.obs, traces.truth)
    return counts


REGIMES: dict[str, dict[str, Any]] = {
    "slow, rare transients": {"decay_s": 2.0, "burst_rate_hz": 0.02, "noise_dff": 0.05},
    "much activity": {"burst_rate_hz": 0.5, "decay_s": 1.0},
    "strong shared state": {"state_sigma": 1.0, "population_event_rate_hz": 0.1, "population_event_dff": 0.6},
    "strong drift and bleaching": {"drift_dff": 0.15, "bleaching": 0.5},
    "strong neuropil": {"neuropil_dff": 0.25},
    "strong artefact and bleed": {"artefact_dff": 20.0, "bleed_dff": 10.0},
    "7.5 frames per second": {"rate_hz": 7.5},
    "much time without light": {"baseline_s": 600.0},
    "few shams": {"stim_interval_s": 12.0, "baseline_s": 20.0},
    "guard of 3 s": {"stim_interval_s": 7.0, "sham_guard_s": 3.0},
    "guard of 1 s": {"stim_interval_s": 5.0, "sham_guard_s": 1.0},
    "a spontaneous recording": {"stim_interval_s": 5.0, "spontaneous_s": 180.0},
    "light of neighbours in 10 % of the cells": {"contaminated_fraction": 0.1},
}
"""Recordings unlike the standard one, what shams can't control (the last) among them."""


def one_regime(regime: str, responders: float, experiment: int) -> dict[str, Any]:
    """Like :func:`one_fdr`, 30 stims, by our preset and the published one."""
    options = dict(REGIMES[regime])
    guard_s, spontaneous_s = options.pop("sham_guard_s", 10.0), options.pop("spontaneous_s", 0.0)
    seed = 40_000 + experiment
    traces = simulate_traces(seed=seed, n_cells=N_CELLS, n_stims=30, responder_fraction=responders, **options)
    quiet = None
    if spontaneous_s:
        quiet = simulate_traces(seed=50_000 + experiment, n_cells=N_CELLS, n_stims=0, baseline_s=spontaneous_s).to_cells()
    cells, counts = traces.to_cells(), {}
    for name, overrides in (("calibrated", {"sham_guard_s": guard_s}), ("packerlab", NO_SHAMS)):
        dark = quiet if name == "calibrated" else None
        table = compute_responses(cells, traces.stims, preset=name, overrides=overrides, spontaneous=dark, rng=experiment)
        counts[name] = count_calls(table.obs.assign(population="other"), traces.truth)["other"]
    return counts


def one_power(effect: float, n_stims: int, experiment: int) -> dict[str, Any]:
    """Like :func:`one_fdr`, at 5 % responders of one size (below zero: suppressed), by our preset and the published one."""
    down = {"network_fraction": 1.0, "suppressed_fraction": 1.0} if effect < 0 else {}
    traces = simulate_traces(
        seed=10_000 + experiment, n_cells=N_CELLS, n_stims=n_stims, response_dff=abs(effect), response_sigma=0.1, **down
    )
    cells, counts = traces.to_cells(), {}
    for name in ("calibrated", "packerlab"):
        overrides = {} if name == "calibrated" else NO_SHAMS
        table = compute_responses(cells, traces.stims, preset=name, overrides=overrides, rng=experiment)
        called = count_calls(table.obs.assign(population="other"), traces.truth)["other"]
        counts[name] = {**called, "effect_dff": float(traces.truth.loc[traces.truth["responds"], "effect_dff"].mean())}
    return counts


def one_catch(n_catch: int, experiment: int) -> dict[str, Any]:
    """Calibrate thresholds on some catch stims, and see how many fresh ones pass."""
    n_fresh = 30
    traces = simulate_traces(
        seed=20_000 + experiment, n_cells=N_CELLS, n_stims=n_catch + n_fresh, catch_fraction=1.0, stim_interval_s=6.0
    )
    preset, cells = get_preset("dalgleish2020"), traces.to_cells()
    F = np.asarray(cells.layers["F"]) - np.float32(0.7) * np.asarray(cells.layers["Fneu"])
    F += cells.obs["offset"].to_numpy(np.float32)[:, None]
    recording = Recording(lambda rows, frames: F[rows][:, frames], len(F), traces.clock, traces.artefact)
    stims = traces.stims
    windows = place_windows(
        traces.clock, stims["onset_s"].to_numpy(), stims["end_s"].to_numpy(), preset=preset, exclude=traces.artefact
    )
    scores = recording.score(windows, preset).amplitude
    order = np.random.default_rng(experiment).permutation(scores.shape[1])
    try:
        limits = calibrate_thresholds(scores[:, order[:n_catch]], rng=np.random.default_rng(experiment))
    except ParameterError as error:
        return {"refused": str(error)}
    fresh = scores[:, order[n_catch:]]
    return {
        "excitation": float(np.mean(fresh > limits.high[:, None])),
        "suppression": float(np.mean(fresh < limits.low[:, None])),
        "scales": [limits.scale_high, limits.scale_low],
    }


def one_single(responders: float, experiment: int) -> dict[str, Any]:
    """Count single stims called responses, 30 with light beside 20 catch stims."""
    traces = simulate_traces(
        seed=60_000 + experiment,
        n_cells=N_CELLS,
        n_stims=50,
        catch_fraction=0.4,
        responder_fraction=responders,
        stim_interval_s=8.0,
    )
    cells, lit, responds = traces.to_cells(), ~traces.stims["catch"].to_numpy(), traces.truth["responds"].to_numpy(bool)
    counts = {}
    for preset in ("dalgleish2020", "packerlab", "vape"):
        table = compute_responses(cells, traces.stims, preset=preset, overrides=NO_SHAMS, rng=experiment)
        for sign, called in (("excited", table.X > 0), ("suppressed", table.X < 0)):
            called = (table.layers["responded"] & called)[:, lit]
            true = int(called[responds].sum()) if sign == "excited" else 0
            rate = float(called[~responds].mean())
            counts[f"{preset}, {sign}"] = {"calls": int(called.sum()), "false": int(called.sum()) - true, "rate": rate}
    return counts


def one_interval(preset: str, experiment: int) -> dict[str, Any]:
    """See whether the interval of the empirical FDR covers the run's own share of false calls."""
    responders = (0.01, 0.05, 0.2)[experiment % 3]
    traces = simulate_traces(seed=30_000 + experiment, n_cells=N_CELLS, n_stims=30, responder_fraction=responders)
    table = compute_responses(traces.to_cells(), traces.stims, preset=preset, rng=experiment)
    family = table.uns["packerlabimaging"]["families"].iloc[0]
    responds, up = traces.truth["responds"].to_numpy(bool), traces.truth["effect_dff"].to_numpy() > 0
    result = {}
    for sign, direction in (("excited", up), ("suppressed", ~up)):
        called = table.obs[sign].to_numpy(bool)
        if called.any():
            own = float(np.mean(~(responds & direction)[called]))
            result[sign] = [own, *(float(family[f"fdr_{sign}{end}"]) for end in ("", "_low", "_high"))]
    return result


STUDIES: dict[str, tuple[Callable[..., dict[str, Any]], list[tuple[Any, ...]]]] = {
    "fdr": (one_fdr, [(responders, n) for n in N_STIMS for responders in RESPONDERS]),
    "power": (one_power, [(effect, n) for effect in (0.1, 0.2, 0.3, 0.5, -0.2) for n in (10, 20, 50)]),
    "regimes": (one_regime, [(regime, responders) for regime in REGIMES for responders in (0.0, 0.05)]),
    "catch": (one_catch, [(n,) for n in (10, 20, 50)]),
    "single": (one_single, [(0.0,), (0.05,), (0.2,)]),
    "interval": (one_interval, [("calibrated",), ("packerlab",)]),
}


def todo(study: str, n_experiments: int, part: tuple[int, int], done: set[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield the settings and experiments that are left, one experiment of every setting before the next one."""
    for experiment in range(part[0], n_experiments, part[1]):
        for setting in STUDIES[study][1]:
            if (study, *setting, experiment) not in done:
                yield (*setting, experiment)


def run(studies: list[str], n_experiments: int, output: Path, part: tuple[int, int], minutes: float) -> None:
    """Do what is left, and append each result as one line of JSON."""
    done = {(line["study"], *line["setting"], line["experiment"]) for line in read(output)}
    until = time.monotonic() + 60 * minutes
    with output.open("a") as file:
        for study in studies:
            for *setting, experiment in todo(study, n_experiments, part, done):
                result = STUDIES[study][0](*setting, experiment)
                file.write(json.dumps({"study": study, "setting": setting, "experiment": experiment, "result": result}) + "\n")
                file.flush()
                if time.monotonic() > until:
                    return


def read(output: Path) -> list[dict[str, Any]]:
    """Read the results so far, those of parts that ran beside each other too."""
    lines = []
    for path in sorted(output.parent.glob(f"{output.stem}*{output.suffix}")):
        lines += [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return lines


def limit(values: np.ndarray) -> str:
    """Return mean and upper 95 % Monte-Carlo limit."""
    return f"{values.mean():.3f} (< {values.mean() + 1.96 * values.std(ddof=1) / np.sqrt(len(values)):.3f})"


def show(lines: list[dict[str, Any]]) -> None:
    """Print the tables."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        groups[(line["study"], *line["setting"])].append(line["result"])
    for study in ("fdr", "power", "regimes"):
        show_calls(study, {key: groups[(study, *key)] for key in STUDIES[study][1] if (study, *key) in groups})
    for study, table in (("catch", show_catch), ("single", show_single), ("interval", show_interval)):
        for key in [key for key in STUDIES[study][1] if (study, *key) in groups]:
            table(key, groups[(study, *key)])


def show_calls(study: str, groups: dict[tuple[Any, ...], list[dict[str, Any]]]) -> None:
    """Print, per preset: FDR with its limit in each population, 90th percentile of V/R, false calls (suppressed), power."""
    if groups:
        print(
            f"\n{study}\n| setting | experiments | preset | FDR | 90 % of V/R | false calls (suppressed) | power |\n"
            + 7 * "|---"
            + "|"
        )
    for setting, results in groups.items():
        for name in results[0]:
            parts = [result[name] if "target" in result[name] else {"all": result[name]} for result in results]
            shares, false = [], np.zeros(2)
            for family in parts[0]:
                own = pd.DataFrame([part[family] for part in parts])
                shares.append((own["false"] / own["calls"].clip(lower=1)).to_numpy())
                false += own[["false", "false_suppressed"]].mean().to_numpy()
            found, responders = (sum(part[f][key] for part in parts for f in part) for key in ("found", "responders"))
            power = f"{found / responders:.2f}" if responders else ""
            fdr = " / ".join(limit(share) for share in shares)
            spread = " / ".join(f"{np.quantile(share, 0.9):.2f}" for share in shares)
            cells = (", ".join(map(str, setting)), len(results), name, fdr, spread, f"{false[0]:.2f} ({false[1]:.2f})", power)
            print("| " + " | ".join(map(str, cells)) + " |")


def show_catch(setting: tuple[Any, ...], results: list[dict[str, Any]]) -> None:
    """Print the false-positive rate at fresh catch stims."""
    rates = pd.DataFrame([result for result in results if "refused" not in result])
    print(f"\n{setting[0]} catch stims: {len(results)} sessions, {len(results) - len(rates)} refused")
    for sign in ("excitation", "suppression"):
        low, high = np.quantile(rates[sign], [0.05, 0.95])
        spread = f"sd {rates[sign].std():.4f}, 5 to 95 % of sessions {low:.3f} to {high:.3f}"
        print(f"  {sign:<12} mean {rates[sign].mean():.4f}, {spread}")


def show_single(setting: tuple[Any, ...], results: list[dict[str, Any]]) -> None:
    """Print the false-positive rate and the FDR of single stims."""
    print(f"\nsingle stims, {setting[0]} responders, {len(results)} experiments")
    for name in results[0]:
        own = pd.DataFrame([result[name] for result in results])
        share = (own["false"] / own["calls"].clip(lower=1)).to_numpy()
        print(f"  {name:<26} rate without response {own['rate'].mean():.4f}, FDR {limit(share)}")


def show_interval(setting: tuple[Any, ...], results: list[dict[str, Any]]) -> None:
    """Print how often the interval covers the run's own share."""
    for sign in ("excited", "suppressed"):
        rows = np.array([result[sign] for result in results if sign in result])
        if len(rows):
            covered = np.mean((rows[:, 2] <= rows[:, 0]) & (rows[:, 0] <= rows[:, 3]))
            width = np.median(rows[:, 3] - rows[:, 2])
            own, estimate = rows[:, 0].mean(), rows[:, 1].mean()
            told = f"{len(rows)} runs with calls, own share {own:.3f}, estimate {estimate:.3f}"
            print(f"  {setting[0]} {sign}: {told}, interval covers {covered:.3f}, median width {width:.3f}")


def main() -> None:
    """Parse what to do, do it, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", choices=[*STUDIES, []], help="which tables; none: print what there is")
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("calibration.jsonl"))
    parser.add_argument("--part", default="0/1", help="i/n: every n-th experiment from the i-th on, for several processes")
    parser.add_argument("--minutes", type=float, default=600.0)
    options = parser.parse_args()
    first, n_parts = (int(number) for number in options.part.split("/"))
    if options.studies:
        run(options.studies, options.experiments, options.output, (first, n_parts), options.minutes)
    show(read(options.output))


if __name__ == "__main__":
    main()
