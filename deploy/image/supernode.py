"""Run Flower's SuperNode, made to ask for its next message after a second.

supernode.py OPTIONS …, those of flower-supernode

Whenever nothing waits for it, Flower's own sleeps for three seconds, which its code leaves no way
to change: beside a round's work that was the largest part of its time. It sleeps by the name
``time`` of one module, which is given another here; should a later version not, it is as patient
as before.
"""

from __future__ import annotations

import sys
import time
from types import ModuleType
from typing import Any

LONGEST = 1.0
"""Seconds between two questions. Each costs the coordinator some milliseconds, for every site."""


class Impatient:
    """The module ``time``, but that no sleep is longer than :data:`LONGEST`."""

    def __getattr__(self, name: str) -> Any:
        """Return what the module has by that name."""
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Sleep for that long, or for a second."""
        time.sleep(min(seconds, LONGEST))


def hasten(loop: ModuleType) -> None:
    """Let a module that sleeps by ``time.sleep`` do so no longer than a second at a time."""
    if getattr(loop, "time", None) is time:
        loop.time = Impatient()  # type: ignore[attr-defined]
    else:
        sys.stderr.write("this version of Flower's SuperNode cannot be hastened\n")


def main() -> None:
    """Become the SuperNode."""
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli import flower_supernode

    hasten(start_client_internal)
    flower_supernode()


if __name__ == "__main__":
    main()
