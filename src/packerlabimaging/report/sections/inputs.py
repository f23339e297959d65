"""Inputs of a trial and how its movie was taken."""

from __future__ import annotations

from typing import Any

from packerlabimaging.report.contract import ReportSection, ReportTable, SectionContent
from packerlabimaging.report.stored import optional, pixel_size

METADATA = {
    "frame_shape_px": "frame height, width (px)",
    "n_frames": "frames",
    "n_planes": "planes",
    "frame_rate_hz": "stated frame rate (Hz)",
    "frame_rate_source": "source of this rate",
    "channels": "channels",
    "bit_depth": "bit depth",
    "program": "program",
    "program_version": "program version",
    "sequence_type": "sequence type",
    "acquired": "acquired (local time)",
    "zoom": "zoom",
    "objective": "objective",
    "laser_power": "laser power (program's units)",
    "pmt_gain": "PMT gain (program's units)",
}
PROTOCOL_CAPTION = "Rows of the photostimulation protocol, in the order of delivery."


class Inputs(ReportSection):
    """Files, imaging metadata, photostimulation protocol."""

    name = "inputs"
    title = "Inputs and metadata"
    order = 20

    def applies(self, trial: Any) -> bool:
        """Wherever inputs are named or metadata is known."""
        return bool(trial.inputs) or optional(trial, "metadata") is not None

    def render(self, trial: Any) -> SectionContent:
        """List the files, the metadata and the protocol."""
        files = [
            [name, getattr(given, "path", given), getattr(given, "reader", None) or "detected"]
            for name, given in trial.inputs.items()
        ]
        metadata, protocol = optional(trial, "metadata"), optional(trial, "photostim")
        tables = [ReportTable(("input", "path", "reader"), files)] if files else []
        text = []
        facts: dict[str, Any] = {}
        if metadata is None:
            text.append("The raw movie is not at hand, so that its metadata is not shown.")
        else:
            known = {words: getattr(metadata, name) for name, words in METADATA.items()}
            facts = {words: value for words, value in known.items() if value is not None and value != {} and value != ()}
            size = pixel_size(trial)
            facts["pixel height, width (µm)"] = "not known" if size is None else size
        if protocol is not None:
            text.append(_describe(protocol))
            tables.append(_rows(protocol))
        return SectionContent(text=text, facts=facts, tables=tables)


def _describe(protocol: Any) -> str:
    stims = "an unknown number of stims" if protocol.n_stims is None else f"{protocol.n_stims} stims"
    spot = "" if protocol.spiral_diameter_um is None else f", a spot of {protocol.spiral_diameter_um:g} µm"
    pulses = "one trigger pulse a stim" if protocol.trigger == "once" else f"{protocol.pulses_per_stim} trigger pulses a stim"
    return (
        f"Photostimulation: {protocol.n_targets} targets in {protocol.n_groups} groups{spot}; "
        f"{protocol.stim_duration_s * 1e3:g} ms a stim, {pulses}, {stims} stated by the protocol."
    )


def _rows(protocol: Any) -> ReportTable:
    starts = protocol.row_starts_s()
    rows = [
        [index, row.group, len(protocol.groups[row.group]), start * 1e3, row.n_shots, row.shot_duration_s * 1e3,
         row.inter_shot_s * 1e3, row.power_mw if row.power_mw is not None else "not calibrated"]
        for index, (row, start) in enumerate(zip(protocol.rows, starts, strict=True))
    ]  # fmt: skip
    columns = ("row", "group", "targets", "starts (ms)", "shots", "shot (ms)", "dark between (ms)", "power (mW per target)")
    return ReportTable(columns, rows, PROTOCOL_CAPTION, folded=len(rows) > 12)
