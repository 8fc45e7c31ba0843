"""A process that does a part of the work; :mod:`client_app.workers` starts it and talks to it.

This file runs as a script, with nothing of the site on its command line: what to do, and with
what, comes through the socket that is its standard input. It ends when the other end is closed,
however the site's process came to its end.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

Answer = tuple[bool, Any]
"""Whether it went well, and the result or the exception."""


def main() -> None:
    """Answer until the site's process closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the site's process is told too, and closes
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold patients' pixels
    connection: Connection[Any, Any] = Connection(os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    try:
        sys.path[:] = connection.recv()  # the app may have been installed into a folder of its own
        while True:
            _serve(connection)
    except (EOFError, OSError):
        return


def _serve(connection: Connection[Any, Any]) -> None:
    """Take one piece of work, and do it for every batch of items until None comes."""
    done, work = _tried(pickle.loads, connection.recv_bytes())
    connection.send_bytes(_pickled((done, None if done else work)))
    while (items := connection.recv()) is not None:
        _answer(connection, work, items)


def _answer(
    connection: Connection[Any, Any], work: Callable[[Any], Any], items: Sequence[Any]
) -> None:
    for item in items:  # answered one by one: should the process die, it is known over which
        connection.send_bytes(_pickled(_tried(work, item)))


def _tried(work: Callable[[Any], Any], item: object) -> Answer:
    try:
        return True, work(item)
    except Exception as error:  # noqa: BLE001 (it is raised again in the site's process)
        return False, error


def _pickled(answer: Answer) -> bytes:
    try:
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 (pickle raises nearly anything)
        said = f"{type(answer[1]).__name__} cannot be sent: {type(error).__name__}"
        return pickle.dumps((False, TypeError(said)))


if __name__ == "__main__":
    main()
