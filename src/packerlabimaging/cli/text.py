"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packerlabimaging._provenance import to_plain
from packerlabimaging.cli import inspections as inspections_text
from packerlabimaging.cli.inspections import print_findings
from packerlabimaging.cli.values import count

if TYPE_CHECKING:
    from rich.console import Console

    from packerlabimaging.io.readers import Inspection
    from packerlabimaging.pipeline.drafting import Draft, Pair
    from packerlabimaging.pipeline.sta import StaFiles
    from packerlabimaging.trials import Experiment

_STATE_STYLE = {"done": "green", "stale": "yellow", "missing": "dim"}


def print_json(values: Any) -> None:
    """Print JSON to stdout, nothing else."""
    print(json.dumps(to_plain(values), indent=2))


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def inspection_to_dict(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as plain values."""
    return {
        "path": inspection.path,
        "format": inspection.format,
        "kind": inspection.kind,
        "facts": to_plain(inspection.facts),
        "findings": [finding.to_dict() for finding in inspection.findings],
        "files": {name: list(paths) for name, paths in inspection.files.items()},
    }


def print_inspections(inspections: Sequence[Inspection], root: Path, *, verbose: bool = False) -> None:
    """Print an overview of a folder, or the facts and findings of few things."""
    inspections_text.print_inspections(_console(), inspections, str(root), verbose=verbose)


def draft_to_dict(draft: Draft) -> dict[str, Any]:
    """Return a draft as plain values."""
    trials = [
        {
            "id": trial.id,
            "movie": str(trial.movie),
            "about": trial.about,
            "fov": trial.fov,
            "choices": trial.choices,
            "inputs": {name: _pair_to_dict(pair) for name, pair in trial.inputs.items()},
            "candidates": {name: [_pair_to_dict(pair) for pair in pairs] for name, pairs in trial.candidates.items()},
        }
        for trial in draft.trials
    ]
    return {"file": str(draft.path), "trials": trials, "findings": [finding.to_dict() for finding in draft.findings]}


def _pair_to_dict(pair: Pair) -> dict[str, Any]:
    return {
        "path": str(pair.path),
        "reason": pair.reason,
        "reasons": list(pair.reasons),
        "options": dict(pair.options),
        "doubt": pair.doubt,
    }


def print_draft(draft: Draft) -> None:
    """Print which files were paired, and why; then what is left to decide."""
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    for trial in draft.trials:
        console.print(f"\n[bold]{escape(trial.id)}[/]")
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("  movie", f"{escape(trial.movie.name)}\n[dim]{escape(trial.about)}[/]")
        for name, pair in trial.inputs.items():
            table.add_row(f"  {name}", _pair_line(pair, "green"))
        for name, pairs in trial.candidates.items():
            lines = [_pair_line(pair, "yellow") for pair in pairs]
            table.add_row(f"  {name} [yellow]?[/]", "\n".join(lines))
        console.print(table)
    console.print()
    print_findings(console, draft.findings)
    console.print(f"Wrote [bold]{escape(str(draft.path))}[/]. Look through it, then: pli run {escape(draft.path.name)}")


def _pair_line(pair: Pair, style: str) -> str:
    from rich.markup import escape

    channels = "".join(f", {name} = {channel}" for name, channel in pair.options.items())
    reasons = "\n".join(f"[dim]- {escape(reason)}[/]" for reason in pair.reasons)
    return f"[{style}]{escape(pair.path.name)}[/]{escape(channels)}" + (f"\n{reasons}" if reasons else "")


def status_to_dict(experiment: Experiment) -> dict[str, Any]:
    """Return the state of all steps as plain values."""
    findings = {trial.id: [finding.to_dict() for finding in trial.findings] for trial in experiment}
    return {
        "experiment": experiment.id,
        "output": str(experiment.output),
        "steps": [asdict(status) for status in experiment.status()],
        "findings": findings,
    }


def print_status(experiment: Experiment) -> None:
    """Print the state of all steps and the findings of each trial."""
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    table = Table(box=None, padding=(0, 2), title=experiment.id, title_justify="left")
    for heading in ("", "step", "state", "finished (UTC)"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why", overflow="fold")
    previous = None
    for status in experiment.status():
        owner = status.owner if status.owner != previous else ""
        previous = status.owner
        finished = status.finished[:16].replace("T", " ")
        table.add_row(owner, status.step, f"[{_STATE_STYLE[status.state]}]{status.state}[/]", finished, escape(status.reason))
    console.print(table)
    for trial in experiment:
        noted = [finding for finding in trial.findings if finding.severity != "info"]
        if noted:
            console.print(f"\n[bold]{trial.id}[/]")
            print_findings(console, noted)


def results_to_dict(experiment: Experiment) -> dict[str, dict[str, int]]:
    """Return what was found in each trial, in a few counts; only what its tables hold."""
    counts: dict[str, dict[str, int]] = {}
    for trial in experiment:
        found = counts.setdefault(trial.id, {})
        if trial.has("cells"):
            cells = trial.result("cells")
            found |= {"rois": cells.n_obs, "cells": int(cells.obs["iscell"].sum())}
        if trial.has("targets"):
            status = trial.result("targets").obs["status"].astype(str)
            found |= {"targets": len(status), "targets_matched": int((status == "matched").sum())}
        if trial.has("responses"):
            calls = trial.result("responses").obs
            found |= {"excited": int(calls["excited"].sum()), "suppressed": int(calls["suppressed"].sum())}
    return counts


def print_results(experiment: Experiment) -> None:
    """Print what was found in each trial, one line each."""
    for trial_id, found in results_to_dict(experiment).items():
        parts = []
        if "cells" in found:
            parts.append(f"{count(found['cells'], 'cell')} among {count(found['rois'], 'ROI')}")
        if "targets" in found:
            parts.append(f"{found['targets_matched']:,} of {count(found['targets'], 'target')} matched")
        if "excited" in found:
            parts.append(f"{count(found['excited'], 'ROI')} called excited, {found['suppressed']:,} suppressed")
        if parts:
            print(f"{trial_id}: {'; '.join(parts)}")


def print_comparison(comparison: Mapping[str, Any], folder: Path) -> None:
    """Print the scores of the demonstration against the truth, in words; the file of the scores holds all of them."""
    cells, targets, responses = comparison["cells"], comparison["targets"], comparison["responses"]
    told = {
        "cells": f"{cells['n_found']} of {cells['n_active']} active cells found",
        "targets": f"{targets['n_matched']} of the {targets['n_segmented']} targets on a found cell matched to it; "
        f"wrong matches: {targets['wrong_matches']}",
        "responses": f"{responses['n_detected']} of {responses['n_driven_above_minimal']} responding cells called excited "
        f"(mean response of at least {responses['minimal_effect_dff']:g} dF/F)",
        "false calls": f"{responses['n_called_without_driven_cell']} of {responses['n_called']} ROIs called excited; "
        f"{count(responses['suppressed']['n_called'], 'ROI')} called suppressed, though no cell is",
    }
    console = _console()
    console.print("Compared with the simulated truth")
    for name, line in told.items():
        console.print(f"  {name:<13}{line}", soft_wrap=True)
    seconds = comparison["seconds"]
    console.print(
        "Seconds: "
        + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        + f"; in all {sum(seconds.values()):.1f}"
    )
    console.print(
        f"Report:  {folder / comparison['report']} (open it in a browser)\n"
        f"Picture: {folder / 'comparison.png'}\nScores:  {folder / 'comparison.json'} (all of them)",
        soft_wrap=True,
    )


def print_sta(made: Sequence[StaFiles], *, as_json: bool) -> None:
    """Print which averages were written."""
    if as_json:
        print_json([{**asdict(each), "findings": [finding.to_dict() for finding in each.findings]} for each in made])
        return
    console = _console()
    for each in made:
        stims = ", ".join(
            f"{count(n, 'stim')} of kind {kind}" if len(each.n_stims) > 1 else count(n, "stim")
            for kind, n in each.n_stims.items()
        )
        console.print(
            f"[bold]{each.name}[/]: {stims}; {count(len(each.files), 'file')} in {each.files[0].parent}", soft_wrap=True
        )
        print_findings(console, each.findings)
