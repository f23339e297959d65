from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from packerlabimaging.errors import StoreError
from packerlabimaging.simulate import simulate_experiment


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in folder.rglob("*"):
        if path.is_file():
            header = 116 if path.suffix == ".mat" else 0  # Matlab files begin with the date
            digests[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()[header:]).hexdigest()
    return digests


def test_the_same_seed_gives_the_same_files_with_any_number_of_workers(tiny: Path, tmp_path: Path):
    same = _digests(simulate_experiment(tmp_path / "same", size="tiny", seed=3, workers=1))
    assert same == _digests(tiny)
    assert len(same) > 600


def test_another_seed_gives_another_experiment(tiny: Path, tmp_path: Path):
    other = _digests(simulate_experiment(tmp_path / "other", size="tiny", seed=4, n_frames=300))
    first = _digests(tiny)
    for name in ("raw/t-001.paq", "truth/traces.npy", "truth/cells.csv", "truth/targets.csv"):
        assert other[name] != first[name]


def test_nothing_is_overwritten(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(StoreError, match="is not empty. Give a new folder"):
        simulate_experiment(tmp_path, size="tiny")
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_progress_counts_frames(tmp_path: Path):
    calls: list[tuple[int, int]] = []
    simulate_experiment(tmp_path / "a", size="tiny", n_frames=260, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (260, 260)
