"""The contract of report sections: small classes that say whether they apply to a trial, and give plain content.

A section never writes HTML: it returns text, tables, figures and findings as values, which the page escapes and lays out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from packerlabimaging._check import check_length
from packerlabimaging._registry import Registry
from packerlabimaging.core.findings import Finding

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A figure and what it shows.

    Parameters
    ----------
    picture
        A matplotlib Figure or Axes, or what a plot of ``pl`` returns.
    caption
        What is shown, with n and units; also read out where the picture can't be seen.
    """

    picture: Figure | Axes | Mapping[str, Axes]
    caption: str


@dataclass(frozen=True, eq=False)
class ReportTable:
    """A table.

    Parameters
    ----------
    columns
        Heads of the columns, with units.
    rows
        Rows of plain values, one per column.
    caption
        What is listed.
    folded
        Show only the caption until the reader opens it: for long tables.

    Raises
    ------
    ParameterError
        If a row has not one value per column.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    folded: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            check_length("a row of a report table", row, len(self.columns), per="column")

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, caption: str = "", folded: bool = False) -> ReportTable:
        """Make a table of a DataFrame, its index as the first column."""
        head = [str(frame.index.name or ""), *(str(column) for column in frame.columns)]
        return cls(head, [[index, *row] for index, row in zip(frame.index, frame.to_numpy(object), strict=True)], caption, folded)


@dataclass(frozen=True, kw_only=True, eq=False)
class SectionContent:
    """What a section shows, in this order.

    Parameters
    ----------
    verdict
        One word or short phrase that sums the section up, e.g. ``"good"``; shown beside the title.
    text
        Paragraphs of plain text.
    facts
        Names (with units) and values.
    findings
        What was noticed; the gravest severity colours the verdict.
    figures, tables
        See :class:`ReportFigure`, :class:`ReportTable`.
    """

    verdict: str = ""
    text: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    figures: Sequence[ReportFigure] = ()
    tables: Sequence[ReportTable] = ()


class ReportSection(ABC):
    """Contract of a report section. It has no state: an instance only carries the methods."""

    name: ClassVar[str]
    """Short name, unique among sections."""
    title: ClassVar[str]
    """Heading."""
    order: ClassVar[float] = 1000.0
    """Place among the sections; ours have 10, 20, 30, ..."""
    scope: ClassVar[Literal["trial", "experiment"]] = "trial"
    """What it describes: each trial, or once the whole experiment (which ``applies`` and ``render`` are then given)."""

    @abstractmethod
    def applies(self, trial: Any) -> bool:
        """Say whether the trial has what this section shows. Cheap: looks at what was computed, loads nothing."""

    @abstractmethod
    def render(self, trial: Any) -> SectionContent:
        """Return the content. May raise: the report then shows the error in the section's place."""


sections: Registry[ReportSection] = Registry("report section", "packerlabimaging.report_sections")


def register_section(cls: type[ReportSection]) -> type[ReportSection]:
    """Make a section known to this program; usable as a class decorator. One of the same name is replaced."""
    return sections.register(cls)
