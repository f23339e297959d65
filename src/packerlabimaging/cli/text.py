"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packerlabimaging._provenance import to_plain
from packerlabimaging.core.findings import Finding

if TYPE_CHECKING:
    from rich.console import Console

    from packerlabimaging.io.readers import Inspection
    from packerlabimaging.pipeline.drafting import Draft
    from packerlabimaging.trials import Experiment

_SEVERITY_STYLE = {"info": "dim", "warning": "yellow", "error": "bold red"}
_STATE_STYLE = {"done": "green", "stale": "yellow", "missing": "dim"}


def print_json(values: Any) -> None:
    """Print JSON to stdout, nothing else."""
    print(json.dumps(to_plain(values), indent=2))


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print one line per finding, its advice below."""
    from rich.markup import escape

    for finding in findings:
        style = _SEVERITY_STYLE[finding.severity]
        console.print(f"  [{style}]{finding.severity}[/] {escape(finding.message)} [dim]({finding.code})[/]")
        if finding.advice:
            console.print(f"          [dim]{escape(finding.advice)}[/]")


def inspection_to_dict(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as plain values."""
    return {
        "path": inspection.path,
        "format": inspection.format,
        "kind": inspection.kind,
        "facts": to_plain(inspection.facts),
        "findings": [finding.to_dict() for finding in inspection.findings],
    }


def print_inspections(inspections: Sequence[Inspection]) -> None:
    """Print each inspection: format, facts, findings."""
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    for inspection in inspections:
        console.print(f"[bold]{escape(inspection.path)}[/]\n  {inspection.format} ({inspection.kind})")
        table = Table(box=None, show_header=False, padding=(0, 2), pad_edge=True)
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for name, value in inspection.facts.items():
            table.add_row(name.replace("_", " "), escape(_short(value)))
        console.print(table)
        print_findings(console, inspection.findings)
        console.print()


def _short(value: Any, limit: int = 300) -> str:
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {_short(item)}" for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        text = ", ".join(_short(item) for item in value)
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = "unknown" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def draft_to_dict(draft: Draft) -> dict[str, Any]:
    """Return a draft as plain values."""
    trials = [
        {
            "id": trial.id,
            "movie": str(trial.movie),
            "inputs": {name: {"path": str(path), "reason": reason} for name, (path, reason) in trial.inputs.items()},
            "candidates": {name: [str(path) for path in paths] for name, paths in trial.candidates.items()},
        }
        for trial in draft.trials
    ]
    return {"file": str(draft.path), "trials": trials, "findings": [finding.to_dict() for finding in draft.findings]}


def print_draft(draft: Draft) -> None:
    """Print which files were paired, and why."""
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    table = Table("trial", "input", "file", "why", box=None, padding=(0, 2))
    for trial in draft.trials:
        table.add_row(trial.id, "movie", escape(trial.movie.name), "")
        for name, (path, reason) in trial.inputs.items():
            table.add_row("", name, escape(path.name), reason)
    console.print(table)
    print_findings(console, draft.findings)
    console.print(f"Wrote {draft.path}. Look through it, then: pli run {draft.path.name}")


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
            parts.append(f"{found['cells']} cells among {found['rois']} ROIs")
        if "targets" in found:
            parts.append(f"{found['targets_matched']} of {found['targets']} targets matched")
        if "excited" in found:
            parts.append(f"{found['excited']} ROIs called excited, {found['suppressed']} suppressed")
        if parts:
            print(f"{trial_id}: {'; '.join(parts)}")


def print_comparison(comparison: Mapping[str, Any], folder: Path) -> None:
    """Print the scores of the demonstration against the truth."""
    from rich.table import Table

    console = _console()
    table = Table("compared with the truth", "", box=None, padding=(0, 2))
    for group in ("cells", "targets", "responses"):
        for name, value in comparison[group].items():
            parts = {f"{name} {key}": part for key, part in value.items()} if isinstance(value, Mapping) else {name: value}
            for told, part in parts.items():
                table.add_row(f"{group}: {told.replace('_', ' ')}", _short(part))
    console.print(table)
    seconds = comparison["seconds"]
    console.print(
        "Seconds: "
        + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        + f"; in all {sum(seconds.values()):.1f}"
    )
    console.print(
        f"Report:  {folder / comparison['report']}\nPicture: {folder / 'comparison.png'}\nScores:  {folder / 'comparison.json'}"
    )
