"""Messages to nodes and their replies: sent, waited for, and given up on."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from fedmend import parcel
from fedmend.errors import WORKER_DIED, RunError

log = logging.getLogger("fedmend.coordinator")

_DEAD = re.compile(r"ray\.exceptions\.(Actor\w*|RayActor|OutOfMemory|WorkerCrashed|NodeDied)Error")
_POLL_FIRST, _POLL_MOST = 0.02, 0.5  # seconds between two looks for replies


class Post:
    """What goes over Flower's Grid.

    Args:
        grid: Flower's, or one for tests.
        run: the run's name.
        stopped: says whether somebody has asked for the run's end.
    """

    def __init__(self, grid: Grid, run: str, stopped: Callable[[], bool]) -> None:
        self.took: dict[int, float] = {}
        """Node -> seconds until its last reply was here."""
        self.grid = grid
        self._run = run
        self._stopped = stopped

    def nodes(self, fewest: int, seconds: float) -> list[int]:
        """Return the connected nodes, once they are so many or the time is over."""
        end = time.monotonic() + seconds
        nodes = list(self.grid.get_node_ids())
        while len(nodes) < fewest and time.monotonic() < end:
            self._heed_stop()
            time.sleep(_POLL_MOST)
            nodes = list(self.grid.get_node_ids())
        return nodes

    def _check_worker(self, reply: Message) -> None:
        """End the run where Ray has lost a worker: Flower would go on giving messages to it.

        All of them would fail at once, and the sites they are for would be left out one by one.
        On a real federation such a reply is no more than a site's failure.

        Raises:
            RunError: a worker is dead; no site is to blame.
        """
        if reply.has_error() and _DEAD.search(reply.error.reason or "") and simulated():
            raise RunError(
                f"{WORKER_DIED}; most often memory ran out: go on with resume={self._run}, "
                "perhaps with fewer workers"
            )

    def collect(
        self, messages: Sequence[Message], seconds: float, names: Mapping[int, str]
    ) -> tuple[dict[int, Message], dict[int, str]]:
        """Send messages; return replies by node, and why the other nodes gave none.

        Only answers to these very messages are looked for: those that come too late for an
        earlier exchange never get into this one.
        """
        began, told = time.monotonic(), False
        parcel.pack(messages)
        self.grid.push_messages(messages)
        waiting = {m.metadata.message_id: m.metadata.dst_node_id for m in messages}
        replies: dict[int, Message] = {}
        pause = _POLL_FIRST
        while waiting:
            for reply in self.grid.pull_messages(list(waiting)):
                # An unavailable node's error names node 1 as its source: go by what it answers.
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None:
                    self._check_worker(reply)
                    replies[node] = reply
                    self.took[node] = time.monotonic() - began
            passed = time.monotonic() - began
            if waiting and passed >= seconds / 2 and not told:
                told = True
                slow = ", ".join(sorted(names[node] for node in waiting.values()))
                log.warning("waited %.0f s of %.0f s for %s", passed, seconds, slow)
            if not waiting or passed >= seconds:
                break
            self._heed_stop()
            time.sleep(pause)
            pause = min(pause * 1.2, _POLL_MOST)
        reason = f"no answer within {seconds:g} s"
        return replies, dict.fromkeys(waiting.values(), reason)

    def _heed_stop(self) -> None:
        """End the run where that is asked for.

        A site that is at work takes no message before it has answered; its SuperNode asks
        for itself whether the run goes on (``deploy/image/supernode.py``).

        Raises:
            RunError: it was asked for.
        """
        if self._stopped():
            raise RunError(f"run {self._run} was stopped; resume={self._run} goes on with it")


def simulated() -> bool:
    """Say whether the sites are simulated by Ray in this very process, as Flower does it."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
