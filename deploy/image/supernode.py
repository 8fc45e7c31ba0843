"""Run Flower's SuperNode, made to ask for its next message after a second, and to end stopped work.

supernode.py OPTIONS …, those of flower-supernode

Whenever nothing waits for it, Flower's own sleeps for three seconds, which its code leaves no way
to change: beside a round's work that was the largest part of its time. And while its site works on
a message it takes no other, so that nobody could tell it that the run was stopped; this one asks
every ten seconds whether the run still is. If not, the task's token expires, as if its process had
died: the process that works on the message ends itself when its next heartbeat is refused, half a
minute later at most, and the SuperNode takes its next message at once.

Both are done by way of two names of one module, ``time`` and ``_pull_and_store_message``, which
are given another meaning here. Should a later version have them no more, that is said, and the
SuperNode is as patient as before.
"""

from __future__ import annotations

import sys
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
_FETCHES = 5.0  # seconds for a process to fetch the message that its task is about


class Watch:
    """Asks, while a site works, whether its run has ended."""

    def __init__(self, pull: Callable[..., int | None]) -> None:
        self._pull = pull
        self._last = time.monotonic()
        self._run: int | None = None
        self._state: Any = None
        self._get_run: Callable[[int], object] = id

    def pull(self, **words: Any) -> int | None:
        """Pull the next message as Flower does; return the run that is to be worked for."""
        self._run = None
        self._state, self._get_run = words["state"], words["get_run"]
        self._run = self._pull(**words)
        self._last = time.monotonic()
        return self._run

    def look(self) -> None:
        """End the site's work if its run has ended, where it is time to ask."""
        if self._run is None or time.monotonic() - self._last < ASKS:
            return
        self._last = time.monotonic()
        try:
            self._get_run(self._run)
        except RunNotRunningException:
            if expire(self._state, self._run):
                sys.stderr.write(f"run {self._run} has ended: so does the work for it here\n")
        except Exception as error:  # noqa: BLE001  a question must not end the SuperNode
            sys.stderr.write(f"whether run {self._run} goes on: {type(error).__name__}\n")


def expire(state: Any, run: int) -> int:
    """Let the tokens of a run's running tasks expire; return how many there were.

    Flower then answers their messages itself, and refuses their processes' next heartbeats. It
    answers only what a process has fetched, so those that have just begun are left for later.

    Args:
        state: Flower's NodeState, in memory.
        run: the run's number.
    """
    before = (now() - timedelta(seconds=_FETCHES)).isoformat()
    running = state.get_tasks(run_ids=[run], statuses=[Status.RUNNING])
    tasks = [task for task in running if task.running_at < before]
    with state.lock_task_store:
        for task in tasks:
            if (record := state.task_token_store.get(task.task_id)) is not None:
                record.active_until = now() - timedelta(seconds=1)
    return len(tasks)


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
