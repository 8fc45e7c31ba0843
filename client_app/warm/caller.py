"""A message's own process, which lets the site's worker answer, and starts it where it must."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from pathlib import Path

from flwr.app import Context, Message
from flwr.supercore.task_identity import TaskIdentity

from client_app.folders import private_folder
from client_app.locks import held
from client_app.warm import frames
from client_app.warm.address import Address, address, connected, listening
from client_app.warm.frames import Frame, FrameError

APP = "client_app.app:app"
SUPPORTED = sys.platform == "linux"
"""Whether this system tells who is at the other end of a socket, and has short names for it."""
WORK = "FEDMEND_WARM"
"""The variable that tells a worker what it is; unlike a command line others cannot read it."""
TAKEN = b"\x01"
_STARTS = 120.0  # seconds for a worker to import torch on a busy machine, and more


class NoWorkerError(Exception):
    """The worker did not answer; the words name no path and no patient."""


class _NotTakenError(NoWorkerError):
    """It ended before it had taken up the message."""


def ask(message: Message, context: Context, seconds: int, reference: str = APP) -> Message:
    """Return the worker's reply to a message.

    What the app left in the context's state is taken over.

    Args:
        message: with its content.
        context: the site's.
        seconds: that a worker waits for its next message, if it has to be started.
        reference: of the ClientApp that it runs, as ``module:name``.

    Raises:
        NoWorkerError: there is no worker and none can be started, it is at another message, or it
            came to its end.
    """
    try:
        settings = context.node_config.get("cache-dir", context.run_config.get("cache-dir", ""))
        place = address(private_folder(str(settings)), context.node_id, reference)
        with held(place.turn, wait=False) as ours:
            if not ours:
                raise NoWorkerError("it is at another message")
            return _handed_over(place, message, context, seconds, reference)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise NoWorkerError(f"none can be reached: {reason}") from error


def _handed_over(
    place: Address, message: Message, context: Context, seconds: int, reference: str
) -> Message:
    """Return the reply of the worker that is there, or else of one that is started."""
    with held(place.lock):
        found = _found(place)
    if found is not None:
        with found, contextlib.suppress(_NotTakenError):  # it was just coming to its end
            return _answer(found, message, context)
    with held(place.lock):
        started = _started(place, seconds, reference)
    with started:
        return _answer(started, message, context)


def _answer(connection: socket.socket, message: Message, context: Context) -> Message:
    identity = (TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id)
    taken = False
    connection.settimeout(_STARTS)
    try:
        frames.send(connection, Frame(message, context, identity))
        taken = connection.recv(1) == TAKEN
        if not taken:
            raise FrameError("the other end is gone")
        connection.settimeout(None)  # the work takes as long as it takes
        answer = frames.receive(connection)
    except (OSError, FrameError) as error:
        if taken:
            raise NoWorkerError("it came to its end over this message") from error
        raise _NotTakenError("it ended as it began") from error
    context.state = answer.context.state
    return answer.message


def _found(place: Address) -> socket.socket | None:
    """Return a connection to the worker that is there, if there is one."""
    try:
        return connected(place.path)
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def _started(place: Address, seconds: int, reference: str) -> socket.socket:
    """Start a worker; return a connection, which it accepts when it has imported the app.

    It inherits the socket that listens already. Workers of other versions of the app end when they
    find theirs gone.
    """
    for path in (place.path, *place.others()):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    with listening(place.path) as listener:
        work = {
            "path": str(place.path),
            "inode": place.path.stat().st_ino,
            "lock": str(place.lock),
            "seconds": seconds,
            "parent": os.getppid(),
            "reference": reference,
        }
        _spawn(listener, json.dumps(work))
        return connected(place.path)


def _spawn(listener: socket.socket, work: str) -> None:
    """Start the worker's process, with the socket as its standard input."""
    paths = [str(Path(each).absolute()) for each in sys.path if each]
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "client_app.warm.worker"],
        {**os.environ, WORK: work, "PYTHONPATH": os.pathsep.join(paths)},
        file_actions=[(os.POSIX_SPAWN_DUP2, listener.fileno(), 0)],
        setsid=True,  # it outlives this process, and is not asked to end with it
    )
