"""Peak memory of the whole demonstration, and of one streaming pass, against the number of frames.

python benchmarks/bench_memory.py                    3,000 against 30,000 frames of 128 x 128
python benchmarks/bench_memory.py --frames 300 3000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STREAM = """
import sys
import packerlabimaging as pli
movie = pli.open_movie(sys.argv[1])
discs = pli.RoiSet.from_discs([[30.0 + 8 * i, 60.0] for i in range(8)], 5.0, movie.frame_shape_px)
pli.stream(movie, {"images": pli.core.Projections(), "fov": pli.core.FovTrace(), "rois": pli.core.RoiTraces(discs)}, workers=2)
"""


def peak_of(command: list[str]) -> tuple[float, float]:
    """Run a command; return the peak of its resident memory in MB, and its seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{message.decode()}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs=2, default=[3000, 30000])
    parser.add_argument("--engine", default="quick")
    arguments = parser.parse_args()
    print(f"{'':<12}{'frames':>8}{'peak MB':>10}{'seconds':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for n_frames in arguments.frames:
            out = Path(folder) / str(n_frames)
            pli = [sys.executable, "-m", "packerlabimaging.cli"]
            demo = [*pli, "demo", str(out), "--size", f"128x128x{n_frames}", "--engine", arguments.engine, "--json"]
            for name, command in (("pli demo", demo), ("streaming", [sys.executable, "-c", STREAM, str(out / "raw" / "t-001")])):
                peak, seconds = peak_of(command)
                print(f"{name:<12}{n_frames:>8}{peak:>10.1f}{seconds:>10.1f}")


if __name__ == "__main__":
    main()
