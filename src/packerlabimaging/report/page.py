"""Writing the page: sections are rendered one by one, and one that fails is shown as such."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from packerlabimaging._files import replacing
from packerlabimaging._progress import ProgressOption, progress_bar
from packerlabimaging._provenance import now, versions
from packerlabimaging.core.findings import Finding, worst_severity
from packerlabimaging.errors import StoreError
from packerlabimaging.report.contract import ReportSection, ReportTable, SectionContent, sections
from packerlabimaging.report.pictures import Picture, embed
from packerlabimaging.report.values import pretty_json, show

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Part:
    """One section as the template takes it; ``error`` stands in place of the content where it failed."""

    anchor: str
    title: str
    content: SectionContent = field(default_factory=SectionContent)
    pictures: tuple[tuple[Picture, str], ...] = ()
    error: str = ""

    @property
    def severity(self) -> str:
        """Gravest severity, for the colour of the badge."""
        return "error" if self.error else worst_severity(self.content.findings) or "good"


@dataclass(frozen=True)
class Chapter:
    """One trial, or the experiment: heading and sections."""

    anchor: str
    title: str
    subtitle: str
    comment: str
    parts: tuple[Part, ...]


def report(experiment: Any, *, path: str | Path | None = None, progress: ProgressOption = None) -> Path:
    """Write the HTML report of an experiment's stored results.

    Parameters
    ----------
    experiment
        An Experiment; nothing is computed, only what has been stored is shown.
    path
        File to write; by default ``report.html`` in the experiment's results folder. An earlier report is replaced.
    progress
        See :data:`packerlabimaging._progress.ProgressOption`.

    Returns
    -------
    pathlib.Path
        The file. It holds pictures and styles within itself, no script, and asks for nothing from the network.

    Raises
    ------
    StoreError
        If the file can't be written.

    Warns
    -----
    UserWarning
        For each section that failed; its place in the report shows the error.

    Example
    -------
    >>> pli.report(experiment)  # doctest: +SKIP
    PosixPath('results/RL109/report.html')
    """
    target = Path(experiment.output) / "report.html" if path is None else Path(path)
    known = _ordered_sections()
    trials = list(experiment)
    with progress_bar(progress, "report") as advance:
        chapters = [_chapter(experiment, known, scope="experiment", anchor="experiment")]
        for index, trial in enumerate(trials):
            advance(index, len(trials))
            chapters.append(_chapter(trial, known, scope="trial", anchor=f"trial-{index + 1}"))
        advance(len(trials), max(len(trials), 1))
    failed = [
        f"'{part.title}' of '{chapter.title}': {part.error}" for chapter in chapters for part in chapter.parts if part.error
    ]
    failed += [f"'{name}' can't be loaded: {error}" for name, error in sections.broken.items()]
    for failure in failed:
        warnings.warn(f"A section of the report failed and is shown as such: {failure}", stacklevel=2)
    _write(target, _html(experiment, chapters))
    return target


def _ordered_sections() -> list[ReportSection]:
    return sorted((cls() for cls in sections.all().values()), key=lambda section: (section.order, section.name))


def _chapter(owner: Any, known: Iterable[ReportSection], *, scope: str, anchor: str) -> Chapter:
    rendered = (_part(section, owner, f"{anchor}-{index + 1}") for index, section in enumerate(known) if section.scope == scope)
    return Chapter(
        anchor,
        str(owner.id),
        str(getattr(owner, "type_name", "")),
        str(getattr(owner, "comment", "") or ""),
        tuple(part for part in rendered if part is not None),
    )


def _part(section: ReportSection, owner: Any, anchor: str) -> Part | None:
    """Render one section; None where it does not apply."""
    try:
        if not section.applies(owner):
            return None
        content = section.render(owner)
        pictures = tuple((embed(figure.picture), figure.caption) for figure in content.figures)
        return Part(anchor, section.title, replace(content, figures=()), pictures)
    except Exception as error:  # whatever a section of somebody's own raises: shown in its place, and warned about
        return Part(anchor, section.title, error=f"{type(error).__name__}: {error}")
    finally:
        gc.collect()  # drawn figures refer to themselves, and all of a report together take a hundred megabytes


def _html(experiment: Any, chapters: list[Chapter]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(show=show, json=pretty_json, prose=_sentence, grouped=_grouped)
    return environment.get_template("page.html").render(
        experiment_id=experiment.id,
        chapters=chapters,
        broken=sections.broken,
        made=f"{now()[:16].replace('T', ' ')} UTC",
        version=versions()["packerlabimaging"],
    )


def _sentence(finding: Finding) -> str:
    return f"{finding.message} {finding.advice}".strip()


def _grouped(tables: Iterable[ReportTable], folded: bool) -> list[ReportTable]:
    return [table for table in tables if table.folded is folded]


def _write(path: Path, text: str) -> None:
    """Write the page, complete or not at all."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"The report '{path}' can't be written: {error}. Choose another place with path=.") from error
