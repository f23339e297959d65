"""Overview of the experiment: what was recorded, what came out, what looks wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar, Literal

from packerlabimaging._provenance import versions
from packerlabimaging.report.contract import ReportSection, ReportTable, SectionContent
from packerlabimaging.report.stored import clock_of_audit, counts, optional

COLUMNS = ("trial", "type", "frames", "rate (Hz)", "synchronisation", "cells", "targets", "excited ROIs", "findings")


class Overview(ReportSection):
    """Facts of the experiment, and one line per trial."""

    name = "overview"
    title = "Overview"
    order = 10
    scope: ClassVar[Literal["trial", "experiment"]] = "experiment"

    def applies(self, trial: Any) -> bool:
        """Always."""
        return True

    def render(self, trial: Any) -> SectionContent:
        """List the trials with their verdicts; findings of severity error are repeated here."""
        trials = list(trial)
        grave = [
            replace(finding, message=f"{each.id}: {finding.message}")
            for each in trials
            for finding in each.findings
            if finding.severity == "error"
        ]
        facts = {"trials": len(trials), **{f"{name} version": version for name, version in versions("anndata").items()}}
        rows = [_row(each) for each in trials]
        return SectionContent(facts=facts, findings=grave, tables=[ReportTable(COLUMNS, rows)] if rows else [])


def _row(trial: Any) -> list[Any]:
    audit = trial.sync if trial.has("sync") else None
    clock = None if audit is None else clock_of_audit(audit)
    cells = trial.cells if trial.has("cells") else None
    severities = Counter(finding.severity for finding in trial.findings)
    said = ", ".join(f"{severities[severity]} {severity}" for severity in ("error", "warning", "info") if severities[severity])
    excited = None
    if trial.has("responses") and "excited" in trial.responses.obs:
        obs = trial.responses.obs
        tested = int(obs["pvalue_adjusted"].notna().sum()) if "pvalue_adjusted" in obs else len(obs)
        excited = f"{int(obs['excited'].sum())} of {tested} tested"
    return [
        trial.id,
        trial.type_name,
        getattr(optional(trial, "metadata"), "n_frames", None) if clock is None else clock.n_frames,
        None if clock is None else clock.rate_hz,
        None if audit is None else audit.verdict,
        None if cells is None else f"{int(cells.obs['iscell'].sum())} of {cells.n_obs} ROIs",
        counts(trial.targets.obs["status"]) if trial.has("targets") else None,
        excited,
        said or "none",
    ]
