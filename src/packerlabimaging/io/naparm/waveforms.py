"""The trigger waveforms of a NAPARM folder, ``ToPV_AllTrials*.dat`` and ``ToSLM_AllTrials*.dat``: when pulses were to be sent.

They are little-endian float64 samples of the whole run: a pulse of 5 ms per stim (or per row, in the mode of one trigger per
row) to PrairieView, one per row to the SLM. The sampling rate is not written; some versions put it into the file's name,
otherwise it follows from the width of the pulses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.photostim import PhotostimProtocol
from packerlabimaging.errors import FormatError

PULSE_S = 0.005
"""Width of every pulse (``trigger_dur_ms`` in Naparm3.m)."""

RATE_IN_NAME = re.compile(r"_([0-9.]{1,12})HzSampleRate", re.IGNORECASE)
"""As TriggerBuilder.m names its files."""

HIGH_V = 2.5
"""Pulses are 5 V on 0 V."""

PULSE_V = 5.0
RATE_HZ = 1000.0
"""Sampling rate of waveforms that are written."""

CHUNK = 1 << 20
MAX_PULSES = 1_000_000
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Waveform:
    """Pulses of one waveform.

    Parameters
    ----------
    path
        The file.
    starts
        First sample of each pulse.
    n_samples
        Length of the waveform.
    rate_hz
        Sampling rate; None where nothing tells.
    rate_in_name
        True if the file's name tells the rate.
    """

    path: Path
    starts: np.ndarray
    n_samples: int
    rate_hz: float | None
    rate_in_name: bool

    def interval_s(self, every: int) -> tuple[float, float] | None:
        """Return the median and the spread of the time from each pulse to the one ``every`` later, seconds."""
        if self.rate_hz is None or len(self.starts) <= every:
            return None
        intervals = (self.starts[every:] - self.starts[:-every]) / self.rate_hz
        return float(np.median(intervals)), float(np.ptp(intervals))


def read_waveform(path: Path, rate_hz: float | None) -> Waveform:
    """Read the pulses of a waveform, in pieces.

    Raises
    ------
    FormatError
        If it does not hold whole float64 samples, or holds something else than pulses.
    """
    n_bytes = path.stat().st_size
    if n_bytes > MAX_BYTES:
        raise FormatError(f"'{path}' has {n_bytes >> 20} MB. Expected at most {MAX_BYTES >> 20} MB for the triggers of a run.")
    if n_bytes % 8:
        raise FormatError(f"'{path}' has {n_bytes} bytes, which is no whole number of float64 samples: it is cut.")
    starts, ends = [], []
    was_high = False
    count = 0
    with path.open("rb") as file:
        for at in range(0, n_bytes // 8, CHUNK):
            samples = np.frombuffer(file.read(8 * CHUNK), "<f8")
            if not np.all(np.isfinite(samples)) or np.any(np.abs(samples) > 100):
                raise FormatError(f"'{path}' holds values that are no volts. It is not a waveform of NAPARM.")
            high = samples > HIGH_V
            before = np.concatenate([[was_high], high[:-1]])
            starts.append(at + np.flatnonzero(high & ~before))
            ends.append(at + np.flatnonzero(~high & before))
            was_high = bool(high[-1])
            count += len(starts[-1])
            if count > MAX_PULSES:
                raise FormatError(f"'{path}' holds more than {MAX_PULSES:,} pulses. It is not a waveform of NAPARM.")
    first = np.concatenate([np.zeros(0, int), *starts])
    last = np.concatenate([np.zeros(0, int), *ends])
    named = RATE_IN_NAME.search(path.name)
    rate = rate_hz or (float(named.group(1)) if named and named.group(1).replace(".", "", 1).isdigit() else None)
    widths = last - first[: len(last)]
    if rate is None and len(widths) and np.all(widths == widths[0]):
        rate = float(widths[0]) / PULSE_S
    return Waveform(path, first, n_bytes // 8, rate or None, bool(named))


@dataclass(frozen=True)
class PlannedTimes:
    """What the waveforms tell: times as they were to be sent, None where they do not."""

    stim_interval_s: float | None = None
    row_interval_s: float | None = None
    first_trigger_s: float | None = None
    rate_hz: float | None = None
    findings: tuple[Finding, ...] = ()


def read_planned_times(folder: Path, *, n_stims: int, pulses_per_stim: int, n_rows: int, rate_hz: float | None) -> PlannedTimes:
    """Read when the triggers of a folder were to be sent; damaged files are findings, since they are not needed.

    Parameters
    ----------
    n_stims, pulses_per_stim, n_rows
        As the protocol has them: what the number of pulses is compared with.
    rate_hz
        Sampling rate of the waveforms; by default from their names or the width of their pulses.
    """
    findings: list[Finding] = []
    to_pv = _one_waveform(folder, "ToPV_AllTrials", rate_hz, findings)
    to_slm = _one_waveform(folder, "ToSLM_AllTrials", rate_hz, findings)
    if to_pv is not None:
        _compare_count(to_pv, n_stims * pulses_per_stim, findings)
    if to_slm is not None:
        _compare_count(to_slm, n_stims * n_rows, findings)
    stim = None if to_pv is None else _regular(to_pv, pulses_per_stim, "stims", findings)
    if stim is None and to_slm is not None:
        stim = _regular(to_slm, n_rows, "stims", findings)
    rows = to_pv if pulses_per_stim > 1 else to_slm
    row = None if rows is None or n_rows < 2 else _row_interval(rows, n_rows)
    first = None
    if to_pv is not None and to_pv.rate_hz and len(to_pv.starts):
        first = float(to_pv.starts[0] / to_pv.rate_hz)
    rates = [wave.rate_hz for wave in (to_pv, to_slm) if wave is not None and wave.rate_hz]
    rate = rates[0] if rates else None
    if rate_hz is None and any(wave is not None and wave.rate_hz and not wave.rate_in_name for wave in (to_pv, to_slm)):
        message = f"The waveforms' sampling rate of {rate:g} Hz follows from their pulses, which NAPARM makes 5 ms long."
        findings.append(
            Finding("waveform-rate-assumed", message, "info", str(folder), "Give waveform_rate_hz= if it is another.")
        )
    return PlannedTimes(stim, row, first, rate, tuple(findings))


def _one_waveform(folder: Path, name: str, rate_hz: float | None, findings: list[Finding]) -> Waveform | None:
    paths = sorted(folder.glob(f"{name}*.dat"))
    if len(paths) > 1:
        message = f"There are {len(paths)} waveforms {name}*.dat: which one was sent can't be told; none is used."
        findings.append(Finding("several-waveforms", message, where=str(folder), advice="Keep the one that was sent."))
    if len(paths) != 1:
        return None
    try:
        return read_waveform(paths[0], rate_hz)
    except FormatError as error:
        findings.append(Finding("waveform-unreadable", str(error), where=str(paths[0]), advice="Copy it again from the rig."))
        return None


def _compare_count(wave: Waveform, expected: int, findings: list[Finding]) -> None:
    if len(wave.starts) == expected:
        return
    message = f"'{wave.path.name}' holds {len(wave.starts)} pulses, where the protocol takes {expected}."
    evidence = {"n_pulses": len(wave.starts), "n_expected": expected}
    findings.append(
        Finding(
            "waveform-differs", message, where=str(wave.path), advice="Check that the files belong together.", evidence=evidence
        )
    )


def _regular(wave: Waveform, every: int, what: str, findings: list[Finding]) -> float | None:
    found = wave.interval_s(every)
    if found is None:
        return None
    interval, spread = found
    if spread > 1e-3:
        message = f"The {what} of '{wave.path.name}' follow each other in unequal times, {spread:g} s apart at most."
        findings.append(Finding("waveform-irregular", message, where=str(wave.path)))
        return None
    return interval


def _row_interval(wave: Waveform, n_rows: int) -> float | None:
    """Return the time from one row's pulse to the next within a stim, where it is the same for all."""
    if wave.rate_hz is None or len(wave.starts) < n_rows:
        return None
    whole = wave.starts[: len(wave.starts) // n_rows * n_rows].reshape(-1, n_rows)
    intervals = np.diff(whole, axis=1) / wave.rate_hz
    return float(np.median(intervals)) if np.ptp(intervals) <= 1e-3 else None


def planned_length(protocol: PhotostimProtocol) -> tuple[float | None, list[str]]:
    """Return the planned time from stim to stim, None where none can be written; and what makes no waveform."""
    rows = _planned_rows(protocol)
    length = protocol.stim_interval_s
    if length is None and protocol.n_stims == 1 and rows is not None:
        length = rows * len(protocol.rows)
    several = len(protocol.rows) > 1
    if length is None or (rows is None and (protocol.n_stims == 1 or (protocol.trigger == "each" and several))):
        return None, []  # nothing is planned, or it is not known when the rows' pulses come
    rate = _rate(protocol)
    faults = []
    needed = PULSE_S if rows is None else rows * (len(protocol.rows) - 1) + PULSE_S
    if length <= needed or (rows is not None and rows <= PULSE_S and len(protocol.rows) > 1):
        faults.append(f"pulses of {PULSE_S} s for each of {len(protocol.rows)} rows do not fit into stim_interval_s = {length} s")
    if (protocol.n_stims or 0) * length * rate * 8 > MAX_BYTES:
        faults.append(f"waveforms of {protocol.n_stims} stims, {length} s apart, are larger than {MAX_BYTES >> 20} MB")
    return length, faults


def write_waveforms(folder: Path, protocol: PhotostimProtocol) -> None:
    """Write ``ToPV_AllTrials.dat`` and ``ToSLM_AllTrials.dat``, where the planned times are known."""
    length, _ = planned_length(protocol)
    if length is None or not protocol.n_stims:
        return
    rows = _planned_rows(protocol)
    rate = _rate(protocol)
    every_row = [0.0] if rows is None else [rows * number for number in range(len(protocol.rows))]
    to_pv = every_row if protocol.trigger == "each" else [0.0]
    before = round(float(protocol.extra.get("first_trigger_s", 0)) * rate)
    for name, onsets_s in (("ToPV_AllTrials.dat", to_pv), ("ToSLM_AllTrials.dat", every_row)):
        if name.startswith("ToSLM") and rows is None and len(protocol.rows) > 1:
            continue  # when the patterns change is not known
        stim = np.zeros(round(length * rate), "<f8")
        for onset_s in onsets_s:
            stim[round(onset_s * rate) : round(onset_s * rate) + round(PULSE_S * rate)] = PULSE_V
        with (folder / name).open("wb") as file:
            file.write(np.zeros(before, "<f8").tobytes())
            for _ in range(protocol.n_stims):
                file.write(stim.tobytes())


def _planned_rows(protocol: PhotostimProtocol) -> float | None:
    if protocol.row_interval_s is not None:
        return protocol.row_interval_s
    planned = protocol.extra.get("planned_row_interval_s")
    return None if planned is None else float(planned)


def _rate(protocol: PhotostimProtocol) -> float:
    return float(protocol.extra.get("waveform_rate_hz", RATE_HZ))
