"""Progress bars: one callback type for the whole package, drawn with rich in terminals and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` while long work goes on."""

ProgressOption = bool | Progress | None
"""``True`` shows a bar, ``None`` or ``False`` shows nothing, a function is called with ``(done, total)``."""


@contextmanager
def progress_bar(progress: ProgressOption, description: str) -> Iterator[Progress]:
    """Yield a callback ``(done, total)``: the caller's own, a rich bar, or one that does nothing."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress as RichProgress, TextColumn, TimeRemainingColumn

    bar = RichProgress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
