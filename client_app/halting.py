"""How a site's work on a run is ended in mid-round.

The process that is told so is not the one that works: each message is answered by its own. A
file in the run's private folder is what both of them see.
"""

from __future__ import annotations

from pathlib import Path

from fedmend.errors import RunError


class Halt:
    """The mark of a run that the coordinator has stopped.

    Args:
        state: the site's private folder of the run.
    """

    def __init__(self, state: Path) -> None:
        self._mark = state / "stopped"

    def ask(self) -> None:
        """Make whatever works on the run end at its next step."""
        self._mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._mark.touch()

    def lift(self) -> None:
        """Let the run be worked on: it begins, or is resumed."""
        self._mark.unlink(missing_ok=True)

    def check(self) -> None:
        """End the work if that was asked for.

        Raises:
            RunError: it was.
        """
        if self._mark.exists():
            raise RunError("the run was stopped")
