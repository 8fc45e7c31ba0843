"""What a command says of the files that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from client_app.listing import legible
from client_app.survey.counts import Refusal
from commands.console import complain


def show(console: Console, refused: Iterable[Refusal], *, listed: bool) -> None:
    """Print how many files cannot be used for which reason, and on request which.

    Args:
        console: of results.
        refused: by reason, in the order to print.
        listed: whether the files are named.
    """
    for reason, files in refused:
        complain(f"{len(files)} files cannot be used: {reason}")
        for each in files if listed else ():
            detail = f"  ({legible(each.detail)})" if each.detail else ""
            console.print(Text(f"    {legible(each.source)}{detail}"), soft_wrap=True)
