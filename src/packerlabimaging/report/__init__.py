"""The HTML report of an experiment: one file that needs no network, no Python and no script to be read.

``report(experiment)`` writes it. Its sections are classes found by entry point (group
``packerlabimaging.report_sections``) or :func:`register_section`, ours and third parties' alike::

    @pli.report.register_section
    class Pupil(pli.report.ReportSection):
        name, title, order = "pupil", "Pupil", 65

        def applies(self, trial):
            return trial.has("pupil")

        def render(self, trial):
            ax = plot_pupil(trial.pupil)
            return SectionContent(figures=[ReportFigure(ax, "Pupil area (mm^2) against time (s).")])

``pli.report(experiment)`` calls this package itself, which means the function: one name for the page and for its parts.
"""

import sys
from types import ModuleType
from typing import Any

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.report(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
