"""The text of a drafted experiment file: what was found and why, for somebody who sees such a file for the first time."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packerlabimaging.errors import ParameterError

if TYPE_CHECKING:
    from packerlabimaging.pipeline.drafting import DraftTrial, Pair

WIDTH = 110

_BY_HAND = {
    "frame_rate_hz": ("30.0", "frames per second"),
    "pixel_size_um": ("[1.2, 1.2]", "micrometres per pixel: height, width"),
}
"""What a user may have to give: an example, and what it means."""


def draft_text(
    path: Path,
    trials: Sequence[DraftTrial],
    *,
    id: str,
    why: str,
    segmentations: Sequence[Path],
    left_out: Sequence[tuple[str, str]],
) -> str:
    """Return the text of an experiment file that will lie at ``path``."""
    lines = [
        f"# Drafted by `pli init`. Look through it, mend what is wrong, then: pli run {path.name}",
        "# Paths are relative to this file, or whole. Lines that begin with # are comments.",
        "schema = 1",
        f'id = "{id}"'.ljust(33) + f" # {why}; change it as you like",
        f'output = "results/{id}"'.ljust(33) + " # results go here, never into raw data",
        "",
        "[segmentation]",
        'engine = "quick"'.ljust(33) + ' # for first looks; "suite2p" for results (pip install "packerlabimaging[suite2p]")',
    ]
    for folder in segmentations:
        lines.append(f"# path = {quoted(folder, path)}".ljust(33) + " # or adopt this existing run, instead of the engine")
    for trial in trials:
        lines += ["", *_trial_lines(trial, path)]
    if left_out:
        lines += ["", "# Left out:"]
        lines += [line for _, message in left_out for line in _comment(message, "#   ")]
    return "\n".join(lines) + "\n"


def _trial_lines(trial: DraftTrial, path: Path) -> Iterator[str]:
    yield "[[trial]]"
    yield f'id = "{trial.id}"'
    yield f'type = "{"AllOpticalTrial" if trial.is_all_optical else "TwoPhotonImagingTrial"}"'
    if trial.fov is not None:
        yield f'fov = "{trial.fov}"'.ljust(33) + " # trials of one field of view are segmented together"
    if not trial.is_all_optical and ("photostim" in trial.candidates or "photostim" in trial.inputs):
        yield '# type = "AllOpticalTrial"'.ljust(33) + " # instead, once its sync and photostim are chosen"
    yield "[trial.inputs]"
    yield f"movie = {quoted(trial.movie, path)}".ljust(33) + f" # {_one_line(trial.about)}"
    if trial.choices:
        first = {name: values[0] for name, values in trial.choices.items()}
        listed = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in trial.choices.items())
        yield from _comment(f"It must be chosen ({listed}), e.g.:", "# ")
        yield f"# movie = {_table(trial.movie, first, path)}"
    for name, pair in trial.inputs.items():
        active = name != "photostim" or trial.is_all_optical
        yield f"{'' if active else '# '}{name} = {_value(pair, path)}"
        yield from _comment(pair.reason, "#   ")
        if pair.doubt:
            yield from _comment(f"Check it: {pair.doubt}.", "#   ")
    for name, pairs in trial.candidates.items():
        yield (
            f"# {name}: none is sure; uncomment the right one"
            if len(pairs) > 1
            else f"# {name}: not sure; uncomment it if it is right"
        )
        for pair in pairs:
            yield f"# {name} = {_value(pair, path)}"
            yield from _comment(pair.reason or "nothing tells", "#     ")
    if trial.unknown:
        yield "[trial.metadata]".ljust(33) + " # what the movie's files do not tell: give it"
        for name in trial.unknown:
            example, meaning = _BY_HAND[name]
            yield f"# {name} = {example}".ljust(33) + f" # {meaning}"
    if not ("photostim" in trial.inputs or "photostim" in trial.candidates):
        return
    yield "# [trial.responses]".ljust(33) + " # how responses are called; by default against sham stims, where there is room"
    yield '# preset = "packerlab"'.ljust(33) + " # for them, else by this preset: docs/responses.md tells how far to trust it"
    if "plane" in trial.choices:
        yield "# [trial.plane]"
        yield "# z_um = 0.0".ljust(33) + " # depth of the plane on the scale of the targets' z: tells which of them are in it"


def _value(pair: Pair, path: Path) -> str:
    return _table(pair.path, pair.options, path) if pair.options else quoted(pair.path, path)


def _table(target: Path, options: Mapping[str, Any], path: Path) -> str:
    listed = ", ".join(f"{name} = {_literal(value)}" for name, value in options.items())
    return f"{{ path = {quoted(target, path)}, options = {{ {listed} }} }}"


def _comment(text: str, prefix: str) -> list[str]:
    return textwrap.wrap(_one_line(text), WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_long_words=False)


def _one_line(text: str) -> str:
    """Return text that a comment can hold: names of files may hold line breaks and control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's, but for this one


def quoted(target: Path, file: Path) -> str:
    """Return a path as TOML text: relative to the experiment file, or whole where they have nothing in common.

    Raises
    ------
    ParameterError
        If the name is not valid text.
    """
    apart = target.anchor != file.anchor or len(Path(os.path.commonpath([target, file.parent])).parts) == 1
    text = target.as_posix() if apart else Path(os.path.relpath(target, file.parent)).as_posix()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"The name of {text!r} is not valid text, so no experiment file can hold it. Rename it.") from error
    return _literal(text)
