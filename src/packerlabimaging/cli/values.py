"""Values in words: facts with their units, durations, sizes, counts, and one line that sums a recording up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packerlabimaging.io.readers import Inspection

_UNITS = {"_hz": "Hz", "_um": "µm", "_px": "px", "_s": "s", "_v": "V", "_mw": "mW", "_ms": "ms"}
_OWN_UNITS = {"laser_power": "in the program's units", "pmt_gain": "in the program's units", "power": "in PrairieView's units"}
_SHOWN_WITH_ANOTHER = {
    "frame_rate_source": "frame_rate_hz",
    "date": "acquired",
    "frames_listed": "n_frames",
    "sequences": "n_frames",
    "n_channels": "channels",
}
_UNNEEDED_ZEROS = ("files_missing",)


def count(number: int, thing: str) -> str:
    """Return ``"1 cell"``, ``"2,000 cells"``; ROI takes an s as any other word."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def middle(text: str, width: int) -> str:
    """Shorten a path in the middle: its end tells most."""
    if len(text) <= width:
        return text
    end = width * 2 // 3
    return f"{text[: width - end - 1]}…{text[-end:]}"


def cut(text: str, width: int) -> str:
    """Shorten a text at its end."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def duration(seconds: float) -> str:
    """Return a length of time as people say it: ``"44.4 s"``, ``"9 min 10 s"``, ``"1 h 05 min"``."""
    if seconds < 120:
        return f"{seconds:.4g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(n_bytes: float) -> str:
    """Return a number of bytes as people say it: ``"1.2 MB"``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}" if unit != "bytes" else count(int(n_bytes), "byte")
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def rate(hz: float, *, digits: int = 4) -> str:
    """Return a rate: ``"29.75 Hz"``, ``"20 kHz"``."""
    return f"{hz / 1000:.{digits}g} kHz" if hz >= 1000 else f"{hz:.{digits}g} Hz"


def fact_row(name: str, value: Any, facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return a fact as label and text with its unit; None for what is not known, or is told with another fact."""
    if value is None or value == "" or value == {}:
        return None
    if isinstance(value, (list, tuple)) and all(item is None or item == "" for item in value):
        return None
    if facts.get(_SHOWN_WITH_ANOTHER.get(name, "")) is not None or (name in _UNNEEDED_ZEROS and not value):
        return None
    suffix = next((suffix for suffix in sorted(_UNITS, key=len, reverse=True) if name.endswith(suffix)), "")
    label = name.removesuffix(suffix).removeprefix("n_").replace("_", " ")
    text = _text(name, value, _UNITS.get(suffix, ""))
    if name == "frame_rate_hz" and facts.get("frame_rate_source"):
        text += f" ({'from ' if 'times' in str(facts['frame_rate_source']) else ''}{facts['frame_rate_source']})"
    if name in _OWN_UNITS:
        text += f" ({_OWN_UNITS[name]})"
    return (label.removesuffix(" bytes"), text)


def _text(name: str, value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and name.endswith("_bytes"):
        return size(value)
    if isinstance(value, (int, float)) and name.endswith("duration_s"):
        return duration(value)
    if isinstance(value, (int, float)) and name.endswith("_hz"):
        return rate(value, digits=6)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text('', item, '')}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        area = name.endswith(("shape_px", "size_um")) and len(value) == 2
        if len(value) > 2 and len({str(item) for item in value}) == 1:
            return f"{_text('', value[0], unit)} (all {len(value)})"
        parts = [_text("", item, "") for item in value[:40]] + (["..."] if len(value) > 40 else [])
        return f"{(' x ' if area else ', ').join(parts)} {unit}".rstrip()
    if isinstance(value, int):
        return f"{value:,} {unit}".rstrip()
    if isinstance(value, float):
        return f"{value:.5g} {unit}".rstrip()
    return f"{value} {unit}".rstrip().replace("\n", " ")


def summary(found: Inspection) -> str:
    """Sum a recording up in one line, of what is known."""
    facts = found.facts
    sums = {"movie": _movie, "signals": _signals, "photostim": _photostim, "segmentation": _segmentation}
    parts = [part for part in sums.get(found.kind, _any)(facts) if part]
    return ", ".join(parts or _any(facts)) or "nothing could be read"


def _movie(facts: Mapping[str, Any]) -> list[str]:
    recording = facts.get("recording", "")
    frames, shape, planes = (
        facts.get("n_frames", facts.get("images")),
        facts.get("frame_shape_px"),
        _number(facts, "n_planes", "planes"),
    )
    channels = facts.get("channels")
    n_channels = len(channels) if isinstance(channels, Sequence) and not isinstance(channels, str) else channels
    parts = [] if recording in ("", "t-series") else [recording]
    if isinstance(frames, int):
        parts.append(
            count(frames, "frame" if "n_frames" in facts else "image") + (f" of {shape[0]} x {shape[1]}" if shape else "")
        )
    parts.append(count(planes, "plane") if planes > 1 else "")
    parts.append(count(n_channels, "channel") if isinstance(n_channels, int) and n_channels > 1 else "")
    parts.append(rate(facts["frame_rate_hz"]) if facts.get("frame_rate_hz") else "")
    parts.append(duration(facts["duration_s"]) if facts.get("duration_s") else "")
    return parts


def _signals(facts: Mapping[str, Any]) -> list[str]:
    channels = facts.get("channels") or []
    named = f" ({', '.join(map(str, channels))})" if 0 < len(channels) <= 2 else ""
    hz, seconds = facts.get("rate_hz"), facts.get("duration_s")
    return [
        f"{count(len(channels), 'channel')}{named}" if channels else "",
        rate(hz) if isinstance(hz, (int, float)) else "",
        duration(seconds) if isinstance(seconds, (int, float)) else "",
    ]


def _photostim(facts: Mapping[str, Any]) -> list[str]:
    things = {"n_targets": "target", "n_points": "point", "n_groups": "group", "n_rows": "row", "n_stims": "stim"}
    if "n_targets" in facts:
        things = {name: thing for name, thing in things.items() if name not in ("n_points", "n_rows")}
    return [count(facts[name], thing) for name, thing in things.items() if isinstance(facts.get(name), int)]


def _segmentation(facts: Mapping[str, Any]) -> list[str]:
    rois, cells = (sum(value for name, value in facts.items() if name.endswith(key)) for key in ("n_rois", "n_cells"))
    frames = next((value for name, value in facts.items() if name.endswith("n_frames")), None)
    planes = _number(facts, "n_planes")
    return [
        f"{count(rois, 'ROI')}, {count(cells, 'cell')} among them" if rois else "",
        count(planes, "plane") if planes > 1 else "",
        count(frames, "frame") if isinstance(frames, int) else "",
    ]


def _any(facts: Mapping[str, Any]) -> list[str]:
    rows = [fact_row(name, value, facts) for name, value in facts.items()]
    return [f"{row[0]} {row[1]}" for row in rows if row is not None][:3]


def _number(facts: Mapping[str, Any], *names: str) -> int:
    return next((facts[name] for name in names if isinstance(facts.get(name), int)), 1)
