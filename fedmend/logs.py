"""What a run says while it goes on: sentences for people, or lines of JSON for machines.

``FEDMEND_LOG=json`` in the environment of a coordinator or a site chooses the latter; ``text`` is
the default. Either way only our own words are written: names of runs, phases and sites, counts
and scores. Of an exception a line has the class and the way through the code, never its text,
which may quote a path or a header.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

from fedmend.errors import SettingsError

VARIABLE = "FEDMEND_LOG"
_FORMS = ("text", "json")
_NUMBERS = ("seconds", "score", "bytes_up", "bytes_down", "steps")
_ROOT = logging.getLogger("fedmend")


class Subject(NamedTuple):
    """What the lines that follow are about; empty fields are left out."""

    run: str = ""
    phase: str = ""
    arm: str = ""
    round: int = 0
    site: str = ""


_SUBJECT: ContextVar[Subject] = ContextVar("subject", default=Subject())  # noqa: B039 - immutable


def concern(subject: Subject) -> None:
    """Say what the lines that follow, in this thread, are about."""
    _SUBJECT.set(subject)


class Lines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        subject = _SUBJECT.get()._asdict()
        subject["site"] = getattr(record, "site", subject["site"])
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **{key: value for key, value in subject.items() if value},
            "message": record.getMessage(),
        }
        line |= {key: getattr(record, key) for key in _NUMBERS if hasattr(record, key)}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["way"] = [f"{frame.name}:{frame.lineno}" for frame in frames]
        return json.dumps(line)


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]  # it is not generic at run time
    """Writes to what is the standard error now: Flower exchanges it while a task is at work."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def begin() -> None:
    """Set up what ``fedmend`` logs in this process; more than once does no harm.

    Raises:
        SettingsError: the environment asks for a form that there is not.
    """
    form = os.environ.get(VARIABLE) or "text"
    if form not in _FORMS:
        raise SettingsError(f"{VARIABLE} must be {' or '.join(_FORMS)}; got {form!r}")
    _ROOT.setLevel(logging.INFO)
    for handler in [each for each in _ROOT.handlers if isinstance(each, _Stderr)]:
        _ROOT.removeHandler(handler)
    _ROOT.propagate = form == "text"
    if form == "json":
        handler = _Stderr()
        handler.setFormatter(Lines())
        _ROOT.addHandler(handler)
    elif not _ROOT.hasHandlers():
        logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
