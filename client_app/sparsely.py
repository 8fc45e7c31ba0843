"""How far a site is with its images, for its log: counts only, and seldom."""

from __future__ import annotations

import logging
import time

from client_app.source import Step

SECONDS = 30.0
"""Between two lines."""
_DONE = {"reading": "looked at %d of %d files", "decoding": "decoded %d of %d images"}


class Sparsely:
    """Logs progress, a line every half minute; what takes less is not worth one.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last = time.monotonic()

    def __call__(self, step: Step, done: int, of: int) -> None:
        """Log the number of files or images that are done, if it is time to."""
        now = time.monotonic()
        if now - self._last >= SECONDS:
            self._last = now
            self._log.info(_DONE[step], done, of)
