"""The site's end of a worker process; the other one is :mod:`client_app.worker`."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SECONDS_TO_START = 120.0
SECONDS = 900.0
"""For one item. The codecs have limits of their own; the slowest disk reads 2 GiB in this time."""
_SCRIPT = Path(__file__).with_name("worker.py")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}
"""Of glibc: what one image leaves free the next one takes, without the system in between."""


class DiedError(Exception):
    """A process ended, or was too slow, before it had answered."""


class Process:
    """One process beside this one."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 (this interpreter, this package's file)
                [sys.executable, "-P", str(_SCRIPT)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ONE_THREAD | _KEPT_MEMORY,
            )
        self.packed: bytes | None = None

    def take(self, packed: bytes) -> None:
        """Hand over a pickled piece of work, unless it is what the process does already.

        Raises:
            DiedError: the process died.
            Exception: what unpickling it raised there.
        """
        if packed is self.packed:
            return
        with _dying():
            self.connection.send(sys.path if self.packed is None else None)
            self.connection.send_bytes(packed)
        self.packed = packed
        self._answer(SECONDS_TO_START)

    def ask(self, items: Sequence[Any], results: list[Any]) -> None:
        """Append the items' results, each as it comes.

        Raises:
            DiedError: the process died, or took too long over an item.
            Exception: what the work raised.
        """
        with _dying():
            self.connection.send(items)
        for _ in items:
            results.append(self._answer(SECONDS))  # noqa: PERF401 (what came before a death stays)

    def _answer(self, seconds: float) -> Any:
        with _dying():
            if not self.connection.poll(seconds):
                raise DiedError(f"no answer in {seconds:g} s")
            received = self.connection.recv_bytes()
        done, answer = pickle.loads(received)  # noqa: S301 (of our own process)
        if not done:
            raise answer
        return answer

    def end(self) -> None:
        """End the process, whatever it does, and wait for it."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


@contextlib.contextmanager
def _dying() -> Iterator[None]:
    """Tell a process that is gone from what its work raises."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise DiedError(type(error).__name__) from error
