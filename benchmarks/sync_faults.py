"""How the audited synchronisation judges sound and faulty recordings: the share that passes, warns and fails, by fault.

Recordings of pulses are simulated (``simulate.pulses``) sound, with every fault alone, and with every pair of faults. A recording
that passes must place every stim on its true frame in every plane; a stim within one sample of a tick may fall on either side.
Everything is done twice: with the movie, in which the light of the stims is looked for, and by the pulses alone.

    python benchmarks/sync_faults.py                  500 recordings of each kind and pair
    python benchmarks/sync_faults.py --seeds 20       a quick look (95,000 recordings in each half take minutes)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations

import numpy as np

from packerlabimaging.analysis.audit import SyncAudit
from packerlabimaging.analysis.sync import ImagedFrames, audit_pulses
from packerlabimaging.simulate.pulses import FAULTS, SAMPLE_S, PulseRecording, simulate_pulses

USUAL = ("live scan", "extra pulses")
OUTCOMES = ("pass", "warn", "fail")


def audit(recording: PulseRecording, *, with_movie: bool) -> SyncAudit:
    frames = ImagedFrames(
        n_frames=recording.n_frames,
        n_planes=recording.n_planes,
        plane=recording.plane,
        frame_rate_hz=recording.frame_rate_hz,
        frame_times_s=recording.frame_times_s,
        movie=recording.movie if with_movie else None,
    )
    return audit_pulses(recording.frame_pulses, frames, triggers=recording.triggers, protocol=recording.protocol)


def is_right(audited: SyncAudit, recording: PulseRecording) -> bool:
    """Say whether the stims are those that were delivered, each in its true frame of every plane."""
    onsets_s = audited.stims["onset_s"].to_numpy()
    if len(onsets_s) != len(recording.true_onsets_s) or np.any(np.abs(onsets_s - recording.true_onsets_s) > SAMPLE_S / 2):
        return False
    found = audited.stim_frames.to_numpy(dtype=float, na_value=-1)
    stims, planes = np.nonzero(found != recording.true_frames)
    to_tick_s = [np.abs(recording.true_starts_s[:, p] - onsets_s[s]).min() for s, p in zip(stims, planes, strict=True)]
    return bool(np.all(np.array(to_tick_s) <= SAMPLE_S * 1.01))


def count(faults: Sequence[str], *, seeds: int, with_movie: bool) -> np.ndarray:
    """Return how many recordings pass, warn and fail, and how many pass with a wrong frame, ``(4,)``."""
    counts = np.zeros(4, int)
    for seed in range(seeds):
        recording = simulate_pulses(faults, seed=seed)
        audited = audit(recording, with_movie=with_movie)
        counts[OUTCOMES.index(audited.verdict)] += 1
        counts[3] += audited.verdict == "pass" and not is_right(audited, recording)
    return counts


def table(singles: dict[str, np.ndarray], pairs: dict[tuple[str, str], np.ndarray]) -> str:
    lines = [
        "| recording | pass | warn | fail | in pairs: pass | warn | fail | wrong under pass |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, counts in singles.items():
        of_pairs = sum((found for pair, found in pairs.items() if name in pair), np.zeros(4, int))
        shares = [f"{100 * part[index] / max(part[:3].sum(), 1):.1f} %" for part in (counts, of_pairs) for index in range(3)]
        if not of_pairs.any():
            shares[3:] = ["", "", ""]
        lines.append(
            f"| {name} | {' | '.join(shares)} | {counts[3] + of_pairs[3]} of {counts[:3].sum() + of_pairs[:3].sum():,} |"
        )
    wrong = sum(int(counts[3]) for counts in [*singles.values(), *pairs.values()])
    tried = sum(int(counts[:3].sum()) for counts in [*singles.values(), *pairs.values()])
    return "\n".join([*lines, "", f"Wrong under pass: {wrong} of {tried:,} recordings."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=500, help="recordings of each kind")
    parser.add_argument("--pair-seeds", type=int, help="recordings of each pair of kinds; by default as many")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    kinds: dict[str, tuple[str, ...]] = {
        "sound, as many pulses as frames": (),
        "sound, live scan before, extra pulses after": USUAL,
    }
    kinds |= {fault: (fault,) for fault in FAULTS}
    both = list(combinations(FAULTS, 2))
    with ProcessPoolExecutor(arguments.workers) as pool:
        for with_movie in (True, False):
            of_kind = partial(count, seeds=arguments.seeds, with_movie=with_movie)
            of_pair = partial(count, seeds=arguments.pair_seeds or arguments.seeds, with_movie=with_movie)
            results = [*pool.map(of_kind, kinds.values()), *pool.map(of_pair, both)]
            print(f"\n{'With the light in the movie' if with_movie else 'By the pulses alone'}:\n")
            print(table(dict(zip(kinds, results, strict=False)), dict(zip(both, results[len(kinds) :], strict=True))), flush=True)
            bad = [pair for pair, found in zip([*kinds.values(), *both], results, strict=True) if found[3]]
            if bad:
                raise SystemExit(f"WRONG under pass: {bad}")


if __name__ == "__main__":
    main()
