"""Run Flower's SuperNode, made to ask for its next message after a second, and to end stopped work.

supernode.py OPTIONS …, those of flower-supernode

Whenever nothing waits for it, Flower's own sleeps for three seconds, which its code leaves no way
to change: beside a round's work that was the largest part of its time. And while its site works on
a message it takes no other, so that nobody could tell it that the run was stopped; this one asks
every ten seconds whether the run still is. If not, the task's token expires, as if its process had
died: the process that works on the message ends itself when its next heartbeat is refused, half a
minute later at most, and the SuperNode takes its next message at once. Nor does it wait for ever
for the rest of a reply whose process died while handing it over.

All is done by way of two names of one module, ``time`` and ``_pull_and_store_message``, which are
given another meaning here. Should a later version have them no more, that is said, and the
SuperNode is as patient as before.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

from flwr.common.constant import Status
from flwr.supercore.date import now
from flwr.supercore.run import RunNotRunningException

LONGEST = 1.0
"""Seconds between two questions. Each costs the coordinator some milliseconds, for every site."""
ASKS = 10.0
"""Seconds between two questions whether the run that a site works for still is."""


class BrokenOffError(Exception):
    """The process that was handing over a reply is gone; Flower notes it and goes on."""


class Watch:
    """Looks, while a site works, whether its run has ended and whether its process lives."""

    def __init__(self, pull: Callable[..., int | None]) -> None:
        self._pull = pull
        self._run: int | None = None
        self._state: Any = None
        self._question: Question | None = None
        self._broken_off = False
        self._last = time.monotonic()

    def pull(self, **words: Any) -> int | None:
        """Pull the next message as Flower does; return the run that is to be worked for."""
        self._run = None
        self._state = words["state"]
        run = self._run = self._pull(**words)
        self._question = None if run is None else Question(words["get_run"], run)
        self._broken_off = False
        self._last = time.monotonic()
        return run

    def look(self) -> None:
        """End the site's work if its run has ended; ask whether it has, where it is time to.

        Raises:
            BrokenOffError: the reply that Flower waits for will never be whole.
        """
        if self._run is None or self._question is None:
            return
        before, self._broken_off = self._broken_off, broken_off(self._state, self._run)
        if before and self._broken_off:  # twice: it may have ended well a moment ago
            raise BrokenOffError("its process ended while it was handing over the reply")
        if self._question.ended:
            if expire(self._state, self._run):
                sys.stderr.write(f"run {self._run} has ended: so does the work for it here\n")
        elif time.monotonic() - self._last >= ASKS:
            self._last = time.monotonic()
            self._question.ask()


class Question:
    """Whether a run has ended, asked by a thread: while the link is down there is no answer.

    Args:
        get_run: Flower's, which tries until it is answered.
        run: the run's number.
    """

    def __init__(self, get_run: Callable[[int], object], run: int) -> None:
        self.ended = False
        self._get_run = get_run
        self._run = run
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Ask, unless the answer to the last time is still to come."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._asked, daemon=True)
            self._thread.start()

    def _asked(self) -> None:
        try:
            self._get_run(self._run)
        except RunNotRunningException:
            self.ended = True
        except Exception as error:  # noqa: BLE001  whatever it is, it tells nothing of the run
            sys.stderr.write(f"whether run {self._run} goes on: {type(error).__name__}\n")


def expire(state: Any, run: int) -> int:
    """Let the tokens of a run's running tasks expire; return how many there were.

    Flower then answers their messages itself, and refuses their processes' next heartbeats. It
    answers only what a process has fetched and not answered, and would wait for ever otherwise:
    so nothing is done before and after that.

    Args:
        state: Flower's NodeState, in memory.
        run: the run's number.
    """
    tasks = state.get_tasks(run_ids=[run], statuses=[Status.RUNNING])
    expired = 0
    with state.lock_task_store, state.lock_msg_store:  # in Flower's order
        fetched, replies = _messages(state, run)
        if replies or not fetched:
            return 0
        for task in tasks:
            if (record := state.task_token_store.get(task.task_id)) is not None:
                record.active_until = now() - timedelta(seconds=1)
                expired += 1
    return expired


def broken_off(state: Any, run: int) -> bool:
    """Say whether Flower is sending a run's reply whose process is gone.

    A process ends its task when all of its reply is here. What is not here then never comes.
    """
    if state.get_tasks(run_ids=[run], statuses=[Status.PENDING, Status.STARTING, Status.RUNNING]):
        return False
    with state.lock_msg_store:
        _, replies = _messages(state, run)
        return any(each.is_retrieved for each in replies)


def _messages(state: Any, run: int) -> tuple[list[Any], list[Any]]:
    """Return a run's messages that a process has fetched, and the replies to them."""
    held = [each for each in state.msg_store.values() if each.message.metadata.run_id == run]
    replies = [each for each in held if each.message.metadata.reply_to_message_id]
    asked = [each for each in held if not each.message.metadata.reply_to_message_id]
    return [each for each in asked if each.is_retrieved], replies


class Impatient:
    """The module ``time``, but that no sleep is longer than :data:`LONGEST`.

    Args:
        watch: what looks around before every sleep.
    """

    def __init__(self, watch: Watch | None = None) -> None:
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        """Return what the module has by that name."""
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep for that long, or for a second."""
        if self._watch is not None:
            self._watch.look()
        time.sleep(min(seconds, LONGEST))


def hasten(loop: ModuleType) -> None:
    """Let a SuperNode's loop sleep no longer than a second at a time, and look around meanwhile."""
    pull = getattr(loop, "_pull_and_store_message", None)
    if getattr(loop, "time", None) is not time:
        sys.stderr.write("this version of Flower's SuperNode cannot be hastened\n")
        return
    watch = None
    if pull is None:
        sys.stderr.write("this version of Flower's SuperNode cannot be told of a run's end\n")
    else:
        watch = Watch(pull)
        loop._pull_and_store_message = watch.pull  # type: ignore[attr-defined]
    loop.time = Impatient(watch)  # type: ignore[attr-defined]


def main() -> None:
    """Become the SuperNode."""
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli import flower_supernode

    hasten(start_client_internal)
    flower_supernode()


if __name__ == "__main__":
    main()
