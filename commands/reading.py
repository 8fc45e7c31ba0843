"""The progress bar of sites whose images are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from client_app.source import Progress as Told
from client_app.source import Step

_DOING = {"reading": "looking at files", "decoding": "decoding images"}


@contextmanager
def shown(console: Console) -> Iterator[Told]:
    """Show how far a site is, in files or images; what is not a terminal shows nothing."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None, visible=False)

        def told(step: Step, done: int, of: int) -> None:
            description = _DOING[step]
            if bar.tasks[0].description != description or done == 1:
                bar.reset(task, description=description, visible=True)
            bar.update(task, completed=done, total=of)

        yield told
