"""What was looked at, how it stands, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fedmend.errors import UserError


class Level(enum.Enum):
    """How a thing stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not for long, or not as it should."""
    PROBLEM = "problem"
    """The site or the coordinator will not work."""


class Finding(NamedTuple):
    """One line of a diagnosis; for this machine's terminal alone, so it may name paths."""

    level: Level
    subject: str
    words: str


Check = Callable[[], Iterable[Finding]]


def ok(subject: str, words: str) -> Finding:
    """Return a good finding."""
    return Finding(Level.OK, subject, words)


def warning(subject: str, words: str) -> Finding:
    """Return what should be seen to."""
    return Finding(Level.WARNING, subject, words)


def problem(subject: str, words: str) -> Finding:
    """Return what must be seen to."""
    return Finding(Level.PROBLEM, subject, words)


def looked(subject: str, check: Check) -> Iterator[Finding]:
    """Yield a check's findings; a mistake that it meets, or a refusal of the system, is one."""
    try:
        yield from check()
    except UserError as error:
        yield problem(subject, error.full())
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        yield problem(subject, f"the system refuses ({error.strerror or error}){where}")
