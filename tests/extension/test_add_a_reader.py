"""The page "Add a reader" works as it stands: its module, its contract test, `pli inspect` with it as a plugin."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from packerlabimaging.errors import AmbiguousInputError, FormatError
from packerlabimaging.io import find_reader, open_movie
from packerlabimaging.io.readers import readers

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "add_a_reader.md"
CODE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)

NAMES: dict[str, object] = {"__name__": __name__}
exec("\n\n".join(CODE), NAMES)  # noqa: S102 - the code of our own page, as a reader would paste it
readers._registered.pop("lumen")  # known only within the tests of this file


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(readers._registered, "lumen", NAMES["LumenReader"])


TestLumen = NAMES["TestLumen"]
test_pixels = NAMES["test_pixels"]
write_lumen, FRAMES = NAMES["write_lumen"], NAMES["FRAMES"]


def test_the_module_is_the_page():
    assert (HERE / "lumen_lab.py").read_text(encoding="utf-8") == "\n\n".join(code.rstrip() + "\n" for code in CODE[:2])


def test_it_is_found_and_asks_for_the_channel(tmp_path):
    path = write_lumen(tmp_path / "m.lum", FRAMES)
    assert find_reader(path, "movie").name == "lumen"
    with pytest.raises(AmbiguousInputError, match="2 channels"):
        open_movie(path)
    assert open_movie(path, channel=1, frame_rate_hz=15.0).metadata.frame_rate_source == "given"


@pytest.mark.parametrize("header", [(0, 17, 2, 30.0, 1.5), (12, 17, 1 << 31, 30.0, 1.5), (1 << 31, 1 << 31, 2, 30.0, 1.5),
                                    (12, 17, 2, float("nan"), 1.5), (12, 17, 2, 30.0, -1.0)])  # fmt: skip
def test_claims_that_can_not_be_are_refused(tmp_path, header):
    path = tmp_path / "m.lum"
    path.write_bytes(struct.pack("<8sIIIdd", NAMES["MAGIC"], *header) + np.zeros(12 * 17 * 12, "<u2").tobytes())
    with pytest.raises(FormatError, match="cut or damaged"):
        open_movie(path, channel=1)


def test_at_the_command_line(tmp_path):
    path = write_lumen(tmp_path / "m.lum", FRAMES)
    command = [
        sys.executable,
        "-m",
        "packerlabimaging.cli",
        "inspect",
        str(path),
        "--json",
        "--plugin",
        str(HERE / "lumen_lab.py"),
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found[0]["format"] == "lumen" and found[0]["facts"]["n_frames"] == 6
