"""Files that are replaced are seen whole or not at all."""

from __future__ import annotations

import json

import pytest

from packerlabimaging._files import replacing, write_json


def test_json_is_written_into_a_new_folder_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"µ": [1, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"µ": [1, None]}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_a_failed_write_keeps_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    with pytest.raises(RuntimeError, match="half way"), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert path.read_text() == "1"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
