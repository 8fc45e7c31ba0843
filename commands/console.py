"""How a command speaks: results on stdout, mistakes as one red sentence on stderr."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer
from rich.console import Console
from rich.text import Text

from fedmend.errors import RunError, UserError

DONE, FAILED, WRONG_USE = 0, 1, 2
"""Exit statuses."""

P = ParamSpec("P")


def out() -> Console:
    """Return the console of results; made anew, so that it follows a redirected stdout."""
    return Console(highlight=False)


def complain(sentence: str) -> None:
    """Print one sentence in red on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(sentence, style="red"))


def plain_spoken(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a command's errors into one sentence and an exit status.

    A :class:`~fedmend.errors.RunError` exits with 1: what was asked is right but could not be
    done. Every other :class:`~fedmend.errors.UserError` is wrong use and exits with 2. A file
    that the system refuses (no room, no right) exits with 1.
    """

    @functools.wraps(command)
    def spoken(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except RunError as error:
            complain(f"fedmend: {error.full()}")
            raise typer.Exit(FAILED) from None
        except UserError as error:
            complain(f"fedmend: {error.full()}")
            raise typer.Exit(WRONG_USE) from None
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            complain(f"fedmend: the system refused: {error.strerror or error}{where}")
            raise typer.Exit(FAILED) from None

    return spoken
