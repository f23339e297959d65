"""Findings: what a reader or an audit noticed and tolerated, so that the user sees it instead of a guess."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One observation about the data, with its evidence.

    Parameters
    ----------
    code
        Short stable name in kebab case, e.g. ``"extra-pulses-after"``; what a user accepts by name.
    message
        One sentence: what was found, with numbers.
    severity
        ``"info"`` (normal, worth knowing), ``"warning"`` (look at it), ``"error"`` (results would be wrong).
    where
        File, channel or key that it concerns.
    advice
        What to do about it.
    evidence
        Numbers behind the message; JSON-compatible values only.
    """

    code: str
    message: str
    severity: Severity = "warning"
    where: str = ""
    advice: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON-compatible values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "where": self.where,
            "advice": self.advice,
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """Rebuild a finding from :meth:`to_dict`."""
        return cls(**values)

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.severity}: {self.message}{place}{advice}"


def worst_severity(findings: Iterable[Finding]) -> Severity | None:
    """Return the gravest severity among ``findings``, or None where there are none."""
    found = {finding.severity for finding in findings}
    for severity in ("error", "warning", "info"):
        if severity in found:
            return severity
    return None
