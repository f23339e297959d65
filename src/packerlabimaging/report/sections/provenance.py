"""Provenance: every step with its parameters, versions, times and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from packerlabimaging.core.findings import Finding
from packerlabimaging.report.contract import ReportSection, ReportTable, SectionContent
from packerlabimaging.report.values import pretty_json


class Provenance(ReportSection):
    """What made the results."""

    name = "provenance"
    title = "Provenance"
    order = 900

    def applies(self, trial: Any) -> bool:
        """Where any step has finished."""
        return bool(trial.receipts)

    def render(self, trial: Any) -> SectionContent:
        """List the steps; their parameters, versions and inputs are folded."""
        receipts = trial.receipts
        steps = [
            [step, receipt.get("finished"), _seconds(receipt), len(receipt.get("warnings", ())), receipt.get("result")]
            for step, receipt in receipts.items()
        ]
        tables = [ReportTable(("step", "finished (UTC)", "took (s)", "warnings", "result"), steps)]
        for heading, key in (("Parameters", "parameters"), ("Inputs (fingerprints)", "inputs"), ("Versions", "versions")):
            rows = [
                [step, name, value if isinstance(value, (str, int, float)) else pretty_json(value)]
                for step, receipt in receipts.items()
                for name, value in _items(receipt.get(key))
            ]
            if rows:
                tables.append(ReportTable(("step", "name", "value"), rows, heading, folded=True))
        warned = [
            Finding("warning", str(text), "warning", where=f"step {step}")
            for step, receipt in receipts.items()
            for text in receipt.get("warnings", ())
        ]
        return SectionContent(findings=[*warned, *trial.findings], tables=tables)


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _seconds(receipt: Mapping[str, Any]) -> float | None:
    try:
        return (datetime.fromisoformat(receipt["finished"]) - datetime.fromisoformat(receipt["started"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None  # an older or foreign receipt without readable times: the column shows that it is not known
