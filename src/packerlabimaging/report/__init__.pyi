from .contract import ReportFigure, ReportSection, ReportTable, SectionContent, register_section
from .page import report

__all__ = ["ReportFigure", "ReportSection", "ReportTable", "SectionContent", "register_section", "report"]
