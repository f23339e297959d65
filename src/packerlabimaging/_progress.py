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
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

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


def split_progress(progress: Progress, n_parts: int) -> list[Progress]:
    """Return one callback for each of ``n_parts`` pieces of work, done one after another and of about equal length.

    Together they report ``(done, total)`` with one total and without ever going back.
    """
    steps, latest = 1000, 0

    def part(number: int) -> Progress:
        def report(done: int, total: int) -> None:
            nonlocal latest
            latest = max(latest, int(steps * (number + (done / total if total else 1.0))))
            progress(latest, steps * n_parts)

        return report

    return [part(number) for number in range(n_parts)]
