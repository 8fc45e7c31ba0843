"""Whether a run is under way, and how it is asked to stop: two files in its folder.

The coordinator holds a lock on the first one while it lives. The system lets go of it when the
process ends, however it ends, so nobody is taken for alive who is not; and it is seen from other
containers that mount the same volume.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fedmend.errors import RunError

LAUNCHER = "FEDMEND_LAUNCHER"
"""Environment variable: process id of the ``fedmend run`` that a simulation belongs to."""
_LOCK = Path("checkpoints/running.json")
_STOP = Path("checkpoints/stop")


class Running(NamedTuple):
    """What a coordinator says of itself."""

    run_id: str
    """Flower's number of the run."""
    began: float
    """Seconds since the epoch."""
    launcher: int = 0
    """Process id of the ``fedmend run`` that ends it when asked; 0: there is none."""


@contextlib.contextmanager
def held(folder: Path, run_id: str) -> Iterator[None]:
    """Say that a coordinator works on a run, as long as the block lasts.

    Raises:
        RunError: another one does already.
    """
    with (folder / _LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"run {folder.name} is under way already") from None
        (folder / _STOP).unlink(missing_ok=True)
        file.truncate(0)
        own = Running(run_id, time.time(), int(os.environ.get(LAUNCHER, "0")))
        file.write(json.dumps(own._asdict()))
        file.flush()
        yield


def of(folder: Path) -> Running | None:
    """Return what the coordinator of a run says of itself; None where none is at work."""
    try:
        with (folder / _LOCK).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Running(**json.loads(file.read()))
    except FileNotFoundError:
        pass
    return None


def ask_to_stop(folder: Path) -> None:
    """Ask the coordinator of a run to end it."""
    (folder / _STOP).touch()


def asked_to_stop(folder: Path) -> bool:
    """Say whether somebody has asked for the run's end."""
    return (folder / _STOP).exists()
