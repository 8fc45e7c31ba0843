"""``fedmend report``: a finished run's table again."""

from __future__ import annotations

from pathlib import Path

from commands import results
from commands.console import out


def report(folder: Path) -> None:
    """Print a run folder's table and name its report.

    Raises:
        RunError: the run is not complete.
    """
    folder = folder.expanduser().absolute()
    results.show(out(), results.load(folder), folder)
