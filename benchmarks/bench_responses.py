"""dF/F and photostimulation responses: our time against copying the same memory and against what a user would pick instead.

Prints, per workload, the median of interleaved runs, the ratio to the physical limit and to the peer, and whether the
numbers are right. Run it alone on a quiet machine: ``python benchmarks/bench_responses.py [--cells 1000] [--frames 50000]``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import ndimage, stats

from packerlabimaging.analysis import adjust_bh, compute_responses, extract_snippets, wilcoxon_signed_rank
from packerlabimaging.core.clock import FrameClock
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.schema import make_cells_table
from packerlabimaging.preprocessing import compute_dff, compute_noise

RATE_HZ = 29.75
LIGHT_S = 1.0


def medians(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Run all variants in turn, ``repeats`` times, and return the median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def show(title: str, times: dict[str, float], right: bool) -> None:
    """Print one workload; the variants are called ``limit``, ``ours`` and by the peers' names."""
    print(f"{title}: {'numbers right' if right else 'NUMBERS WRONG'}")
    for name, seconds in times.items():
        print(f"  {name:<28} {seconds:8.4f} s   {seconds / times['limit']:7.1f} x limit   {seconds / times['ours']:7.2f} x ours")


def bench_dff(n_cells: int, n_frames: int, repeats: int) -> None:
    """Global and rolling percentile, and the noise level."""
    F = np.random.default_rng(0).normal(100, 12, (n_cells, n_frames)).astype(np.float32)
    window = round(60 * RATE_HZ)
    out = np.empty_like(F)

    def global_peer() -> np.ndarray:
        f0 = np.percentile(F, 8, axis=1, keepdims=True)
        return (F - f0) / f0

    ours = compute_dff(F, rate_hz=RATE_HZ, baseline="percentile", floor=0.0)
    times = medians(
        {
            "limit": lambda: np.copyto(out, F),
            "ours": lambda: compute_dff(F, rate_hz=RATE_HZ, baseline="percentile"),
            "numpy percentile": global_peer,
        },
        repeats,
    )
    show(f"dF/F, {n_cells} x {n_frames}, global percentile", times, np.allclose(ours.dff, global_peer(), atol=1e-4))

    part = F[: max(1, n_cells // 20)]

    def rank_filter() -> np.ndarray:
        return np.stack([ndimage.percentile_filter(row, 8, size=window, mode="nearest") for row in part])

    exact = rank_filter()
    f0 = compute_dff(part, rate_hz=RATE_HZ).f0
    inner = slice(window, -window)
    worst = float(np.abs(f0 - exact)[:, inner].max()) if n_frames > 3 * window else np.nan
    times = medians(
        {
            "limit": lambda: np.copyto(out[: len(part)], part),
            "ours": lambda: compute_dff(part, rate_hz=RATE_HZ),
            "scipy percentile_filter": rank_filter,
        },
        min(repeats, 3),
    )
    show(f"dF/F, {len(part)} x {n_frames}, rolling percentile (worst error {worst / 12:.3f} noise sd)", times, worst < 0.15 * 12)
    expected = np.median(np.abs(np.diff(part, axis=1)), axis=1) / np.sqrt(RATE_HZ) * 100
    times = medians({"limit": lambda: np.copyto(out, F), "ours": lambda: compute_noise(F, rate_hz=RATE_HZ)}, repeats)
    show(f"noise, {n_cells} x {n_frames}", times, np.allclose(compute_noise(part, rate_hz=RATE_HZ), expected, rtol=1e-4))


def bench_responses(n_cells: int, n_stims: int, repeats: int) -> None:
    """From traces to calls; the peer builds the tensor and tests cell by cell with scipy."""
    rng = np.random.default_rng(1)
    interval_s = 5.0
    clock = FrameClock.nominal(int((n_stims + 2) * interval_s * RATE_HZ), RATE_HZ)
    F = rng.normal(100, 12, (n_cells, clock.n_frames)).astype(np.float32)
    onsets = 5.0 + interval_s * np.arange(n_stims) + 0.0123
    artefact = clock.overlapping(onsets, onsets + LIGHT_S)
    side = int(np.ceil(np.sqrt(n_cells)))
    rois = RoiSet.from_discs(np.argwhere(np.ones((side, side)))[:n_cells] * 5 + 3.0, 1.5, (side * 5 + 5, side * 5 + 5))
    metadata = ImagingMetadata(frame_shape_px=rois.frame_shape_px)
    cells = make_cells_table(F, rois=rois, clock=clock, trial="t", layers={"F": F}, artefact=artefact, metadata=metadata)
    stims = pd.DataFrame({"onset_s": onsets, "end_s": onsets + LIGHT_S}, index=[f"stim-{i:04d}" for i in range(n_stims)])

    def peer() -> tuple[np.ndarray, np.ndarray]:
        first = np.array([clock.frame_at(onset) for onset in onsets])
        tensor = np.stack([F[:, frame - 30 : frame + 90] for frame in first], axis=1)
        times = (np.arange(-30, 90) + first[:, None]) / RATE_HZ
        lit = np.stack([artefact[frame - 30 : frame + 90] for frame in first])
        usable = (times >= onsets[:, None] - 0.5) & (np.arange(-30, 90) < 0) & ~lit
        after = (times >= (onsets + LIGHT_S)[:, None]) & (times < (onsets + LIGHT_S + 0.5)[:, None]) & ~lit
        pre = np.nansum(np.where(usable, tensor, 0), axis=2) / usable.sum(axis=1)
        post = np.nansum(np.where(after, tensor, 0), axis=2) / after.sum(axis=1)
        score = (post - pre) / pre
        return score, adjust_bh(np.array([stats.wilcoxon(row).pvalue for row in score]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = compute_responses(cells, stims, preset="packerlab")
        score, adjusted = peer()
        right = np.allclose(table.X, score, atol=1e-5) and np.allclose(table.obs["pvalue_adjusted"], adjusted, atol=0.02)
        gathered = np.empty((n_cells, n_stims, 30), np.float32)
        variants = {
            "limit": lambda: np.copyto(gathered, 1.0),
            "ours": lambda: compute_responses(cells, stims, preset="packerlab"),
            "scipy loop": peer,
        }
        show(f"responses, {n_stims} stims x {n_cells} cells", medians(variants, repeats), right)
        times = medians(
            {
                "limit": lambda: np.copyto(np.empty((n_cells, n_stims, 120), np.float32), 1.0),
                "ours": lambda: extract_snippets(F, clock, onsets, pre_s=1.0, post_s=3.0),
            },
            repeats,
        )
        show(f"snippets, {n_stims} stims x {n_cells} cells x 120 frames", times, True)
        d = rng.normal(0.1, 1, (n_cells, n_stims))
        times = medians(
            {
                "limit": lambda: np.sort(d, axis=1),
                "ours": lambda: wilcoxon_signed_rank(d),
                "scipy wilcoxon(axis=1)": lambda: stats.wilcoxon(d, axis=1),
                "scipy wilcoxon loop": lambda: [stats.wilcoxon(row).pvalue for row in d],
            },
            repeats,
        )
        right = np.allclose(wilcoxon_signed_rank(d), stats.wilcoxon(d, axis=1).pvalue, rtol=1e-9)
        show(f"Wilcoxon, {n_cells} x {n_stims} (limit: sorting)", times, right)


def main() -> None:
    """Parse the sizes and run every workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--stims", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    bench_dff(options.cells, options.frames, options.repeats)
    bench_responses(options.cells, options.stims, options.repeats)


if __name__ == "__main__":
    main()
