"""How far a command is that goes through a folder's images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedmend.records import Index, Reader


@contextlib.contextmanager
def followed(reader: Reader) -> Iterator[tuple[Index, Callable[[int], None]]]:
    """List a reader's images, and show on a terminal's stderr how far the work on them is.

    Yields:
        The index, and what to call with the number of images done since the last call.

    Raises:
        DataError: the source as a whole cannot be used.
        RunError: the disk fails.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("reading headers", total=None)
        index = reader.index()
        progress.update(task, description="looking at images", total=len(index.records))
        yield index, lambda number: progress.advance(task, number)
