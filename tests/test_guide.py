"""The guide's commands and Python run as they stand, one after the other, as a reader would paste them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import packerlabimaging as pli

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide.md"


def snippets() -> list[str]:
    found = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [code for code in found if "path/to/" not in code]  # those need files that only the reader has


@pytest.mark.slow
def test_the_guide(tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")
    pli.simulate_experiment("example", frame_shape_px=(128, 128), n_frames=1000, progress=False)
    names: dict[str, object] = {}
    for code in snippets():
        exec(code, names)  # noqa: S102
    pyplot.close("all")
    assert Path("results/RL109/report.html").is_file()
    assert Path("overview.pdf").is_file()
    assert Path("responders.csv").read_text().startswith("roi,")
    file = re.search(r"```toml\n(schema.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert file is not None
    Path("experiment.toml").write_text(file.group(1))
    steps = pli.Experiment.from_toml("experiment.toml").status()
    states = {status.step: (status.state, status.reason) for status in steps}
    assert states["segmentation"] == ("done", "")  # the file describes what the Python of the guide ran


def test_there_are_snippets():
    assert len(snippets()) >= 7
