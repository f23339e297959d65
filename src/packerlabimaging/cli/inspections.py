"""What ``pli inspect`` prints for people: an overview of a folder, and one table of known facts per recording."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from packerlabimaging.cli.values import count, cut, fact_row, middle, summary
from packerlabimaging.core.findings import Finding, Severity
from packerlabimaging.io.readers import KINDS, Inspection, readers

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FEW = 3
"""Up to this many recordings are shown in full without being asked."""

SEVERITY_STYLE: Mapping[Severity, str] = {"error": "bold red", "warning": "yellow", "info": "dim"}
SEVERITY_NAME: Mapping[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def print_inspections(console: Console, inspections: Sequence[Inspection], root: str, *, verbose: bool = False) -> None:
    """Print what was found below ``root``: an overview where there is much, details where there is little."""
    recordings = [found for found in inspections if _is_recording(found)]
    others = [found for found in inspections if not _is_recording(found)]
    detailed = verbose or len(recordings) <= FEW
    alone = len(recordings) == 1 and os.path.abspath(recordings[0].path) == os.path.abspath(root)
    if len(inspections) > 1 and not alone:
        _print_overview(console, recordings, others, root)
    if detailed:
        for found in recordings or (others if len(inspections) == 1 else []):
            _print_details(console, found, verbose=verbose)
    else:
        _print_common_findings(console, recordings, root)
    if len(inspections) > 1:
        _print_others(console, others, root, verbose=verbose)
    if not detailed:
        console.print("\n[dim]All facts and findings: pli inspect --verbose, or pli inspect on one of them.[/]")


def _is_recording(found: Inspection) -> bool:
    return found.format in readers.all() or found.kind == "results"


def _relative(path: str, root: str) -> str:
    try:
        inside = os.path.relpath(path, root)
    except ValueError:  # another drive
        return path
    return os.path.basename(os.path.abspath(path)) if inside == "." else inside


def _print_overview(console: Console, recordings: Sequence[Inspection], others: Sequence[Inspection], root: str) -> None:
    """Print one line per recording, under the folder that it lies in."""
    from rich.markup import escape
    from rich.table import Table

    unknown = sum(found.kind == "unknown" for found in others)
    parts = [count(len(recordings), "recording")]
    parts += [f"{count(len(others) - unknown, 'other thing')} named"] if len(others) > unknown else []
    parts += [f"[yellow]{unknown} unknown[/]"] if unknown else []
    console.print(f"[bold]{escape(root)}[/]: {', '.join(parts)}")
    places = [os.path.split(_relative(found.path, root)) for found in recordings]
    widths = _column_widths(console.width, [name for _, name in places], [found.format for found in recordings])
    for folder in sorted({folder for folder, _ in places}):
        if folder:
            console.print(f"\n[dim]{escape(middle(folder + os.sep, console.width))}[/]")
        else:
            console.print()
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in widths:
            table.add_column(width=width, overflow="fold")
        for (place, name), found in zip(places, recordings, strict=True):
            if place == folder:
                cells = f"  {escape(middle(name, widths[0] - 2))}", f"[cyan]{escape(found.format)}[/]", escape(summary(found))
                table.add_row(*cells, _counts(found.findings))
        console.print(table)


def _column_widths(width: int, names: Iterable[str], formats: Iterable[str]) -> tuple[int, int, int, int]:
    """Return the widths of name, format, summary and findings: the summary has what the others leave."""
    name = min(max(map(len, names), default=0) + 2, int(width * 0.36))
    format = min(max(map(len, formats), default=0), 20)
    findings = len("10 warnings")
    return name, format, max(16, width - name - format - findings - 8), findings


def _counts(findings: Iterable[Finding]) -> str:
    severities = [finding.severity for finding in findings]
    shown = [
        f"[{style}]{count(severities.count(severity), SEVERITY_NAME[severity])}[/]"
        for severity, style in SEVERITY_STYLE.items()
        if severity in severities
    ]
    return "\n".join(shown)


def _print_details(console: Console, found: Inspection, *, verbose: bool) -> None:
    from rich.markup import escape

    what = KINDS.get(found.kind, found.kind).removeprefix("a ")
    console.print(f"\n[bold]{escape(found.path)}[/]\n[cyan]{escape(found.format)}[/], {what}")
    table = _pairs()
    for name, value in found.facts.items():
        row = fact_row(name, value, found.facts)
        if row is not None:
            table.add_row(f"  [dim]{escape(row[0])}[/]", escape(row[1]))
    for name, paths in found.files.items():
        shown = ", ".join(os.path.basename(path) for path in (paths if verbose and len(paths) <= 50 else paths[:2]))
        more = len(paths) - (len(paths) if verbose and len(paths) <= 50 else min(2, len(paths)))
        table.add_row("  [dim]files[/]", escape(f"{len(paths):,} {name}: {shown}{f' and {more:,} more' if more else ''}"))
    if table.row_count:
        console.print(table)
    print_findings(console, found.findings)


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print the findings, gravest first: what was found, and below it what to do."""
    from rich.markup import escape

    table = _pairs()
    order = list(SEVERITY_STYLE)
    for finding in sorted(findings, key=lambda finding: order.index(finding.severity)):
        advice = f"\n[dim]-> {escape(finding.advice)}[/]" if finding.advice else ""
        message = f"{escape(finding.message)} [dim]({escape(finding.code)})[/]{advice}"
        table.add_row(f"  {_mark(finding.severity)}", message)
    if table.row_count:
        console.print(table)


def _mark(severity: Severity) -> str:
    return f"[{SEVERITY_STYLE[severity]}]{SEVERITY_NAME[severity]}[/]"


def _print_common_findings(console: Console, recordings: Sequence[Inspection], root: str) -> None:
    """Print errors and warnings, those of one kind together: the first one's words, and whom else it concerns."""
    from rich.markup import escape

    groups: dict[tuple[Severity, str], list[tuple[str, Finding]]] = {}
    for found in recordings:
        for finding in found.findings:
            if finding.severity != "info":
                name = os.path.basename(_relative(found.path, root))
                groups.setdefault((finding.severity, finding.code), []).append((name, finding))
    if not groups:
        return
    table = _pairs()
    for (severity, code), members in sorted(groups.items(), key=lambda item: item[0]):
        name, finding = members[0]
        others = list(dict.fromkeys(other for other, _ in members if other != name))
        message = finding.message.replace(os.path.join(root, ""), "")
        lines = [f"[bold]{escape(name)}[/]: {escape(cut(message, 300))} [dim]({escape(code)})[/]"]
        lines += [f"[dim]-> {escape(finding.advice)}[/]"] if finding.advice else []
        lines += [f"[dim]The same in {len(others)} more: {escape(_some(others))}[/]"] if others else []
        table.add_row(_mark(severity), "\n".join(lines))
    console.print("\n[bold]Look at[/]")
    console.print(table)


def _pairs() -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _some(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f", and {len(names) - limit} more" if len(names) > limit else "")


def _print_others(console: Console, others: Sequence[Inspection], root: str, *, verbose: bool) -> None:
    """Print what no reader opens, files of one format together: what can't be read or is unknown first, documents last."""
    from rich.markup import escape

    groups: dict[str, list[Inspection]] = {}
    for found in sorted(others, key=lambda found: (found.kind != "unknown", found.kind == "document")):
        if not found.findings:
            groups.setdefault(found.format, []).append(found)
    table = _pairs()
    for faulty in others:
        for finding in faulty.findings:
            table.add_row(_mark(finding.severity), f"[bold]{escape(_relative(faulty.path, root))}[/]: {escape(finding.message)}")
    for name, members in groups.items():
        paths = [_relative(found.path, root) for found in members]
        listed = "\n".join(paths) if verbose else _some([os.path.basename(path) for path in paths])
        what, advice = str(members[0].facts.get("what", "of no known format")), str(members[0].facts.get("advice", ""))
        head = f"{what}: " if what != name else ""
        style = "yellow" if name == "unknown" else "cyan"
        number = f" [dim]x{len(members)}[/]" if len(members) > 1 else ""
        advised = f"\n[dim]-> {escape(advice)}[/]" if advice else ""
        table.add_row(f"[{style}]{escape(name)}[/]{number}", f"{escape(head)}[dim]{escape(listed)}[/]{advised}")
    if table.row_count:
        console.print("\n[bold]Also here[/] [dim](named, not opened)[/]")
        console.print(table)
