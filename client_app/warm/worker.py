"""The worker's process: it imports the app once, and answers one message after the other.

It ends when no message came for a while, when the process that starts Flower's (the SuperExec) is
gone, and when its socket was removed, which is how a newer version of the app replaces it. It
also ends with the process whose message it works on, as that process would have ended itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from client_app.locks import held
from client_app.warm import frames
from client_app.warm.address import StrangerError, check_peer
from client_app.warm.caller import TAKEN, WORK
from client_app.warm.frames import Frame, FrameError

_LOOK = 1.0  # seconds between two looks at whether it is still wanted
_ABANDONED = 3


class Work(NamedTuple):
    """What a worker is told by whoever starts it."""

    path: Path
    inode: int
    lock: Path
    seconds: float
    parent: int
    reference: str

    @classmethod
    def read(cls, text: str) -> Work:
        """Read what the environment says."""
        told = json.loads(text)
        paths = {key: Path(told[key]) for key in ("path", "lock")}
        return cls(**told | paths)


class Worker:
    """Answers at a socket until it is not wanted any more.

    Args:
        app: what answers.
        listener: the socket.
        work: what it was told.
    """

    def __init__(self, app: ClientApp, listener: socket.socket, work: Work) -> None:
        self.app = app
        self.listener = listener
        self.work = work
        self._parent = _process(work.parent)

    def serve(self) -> None:
        """Answer messages, one at a time."""
        last = time.monotonic()
        self.listener.settimeout(_LOOK)
        while True:
            if self._next():
                last = time.monotonic()
            elif self._replaced():
                return
            elif not _lives(self._parent) or time.monotonic() - last > self.work.seconds:
                if self._left():
                    return
                last = time.monotonic()

    def _next(self) -> bool:
        """Answer the next message; say whether there was one."""
        try:
            connection, _ = self.listener.accept()
        except (TimeoutError, BlockingIOError):
            return False
        with connection, contextlib.suppress(StrangerError, FrameError, ConnectionError):
            check_peer(connection)
            self._answer(connection)
        _tidy()
        return True

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        message, context, identity = frames.receive(connection)
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = identity
        connection.sendall(TAKEN)
        with _bound_to(connection):
            reply = self.app(message, context)
        frames.send(connection, Frame(reply, context, identity))

    def _replaced(self) -> bool:
        try:
            return self.work.path.stat().st_ino != self.work.inode
        except FileNotFoundError:
            return True

    def _left(self) -> bool:
        """Remove the socket, unless somebody has just connected; say whether it is removed."""
        with held(self.work.lock, wait=False) as free:
            if not free:
                return False
            self.listener.settimeout(0)
            try:
                if self._next():
                    return False
            finally:
                self.listener.settimeout(_LOOK)
            self.work.path.unlink(missing_ok=True)
            return True


def _process(number: int) -> psutil.Process | None:
    try:
        return psutil.Process(number)
    except psutil.NoSuchProcess:
        return None


def _lives(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.is_running() and process.status() != "zombie"
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def _bound_to(connection: socket.socket) -> Iterator[None]:
    """End this process, whatever it does, if the other end goes while the context lasts."""
    done, end = socket.socketpair()

    def watch() -> None:
        poll = select.poll()
        poll.register(connection, select.POLLIN | select.POLLRDHUP)
        poll.register(done, select.POLLIN)
        if not any(number == done.fileno() for number, _ in poll.poll()):
            os._exit(_ABANDONED)  # the main thread may be anywhere

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        end.send(b".")
        watcher.join()
        done.close()
        end.close()


def _tidy() -> None:
    """Give back what the message's work had, so that waiting costs as little as it can."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def main() -> None:
    """Serve at the socket that is this process's standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Flower's processes are told too
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold patients' pixels
    work = Work.read(os.environ.pop(WORK))
    with socket.socket(fileno=os.dup(0)) as listener:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        module, _, name = work.reference.partition(":")
        app: ClientApp = getattr(importlib.import_module(module), name)
        Worker(app, listener, work).serve()


if __name__ == "__main__":
    main()
