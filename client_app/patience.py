"""How long a site works for a message: not longer than the coordinator waits for the answer."""

from __future__ import annotations

import time

from fedmend.errors import RunError

LEAST = 60.0
"""Seconds that a site has in any case."""


class Patience:
    """The end of a message's time.

    A SuperNode takes its next message when it has answered the one before, and no message reaches
    it in between. So work that nobody waits for any more, as its round has gone on, must end by
    itself; the site is then free for the next round. (That a run has ended, a SuperNode started by
    ``deploy/image/supernode.py`` asks for itself; Flower's own works on until this time is over.)

    Args:
        deadline: of the run's rounds, in seconds.
    """

    def __init__(self, deadline: float) -> None:
        self._seconds = max(deadline, LEAST)
        self._began = time.monotonic()

    def check(self) -> None:
        """End the work if its time is over.

        Raises:
            RunError: it is.
        """
        if time.monotonic() - self._began > self._seconds:
            raise RunError(
                f"not done within {self._seconds:g} s: nobody waits for the answer any more"
            )
