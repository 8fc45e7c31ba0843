"""Which sites keep failing: after so many times in a row nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Attendance:
    """Counts each site's failures in a row.

    The counts live as long as the coordinator's process: a run that is resumed asks every site
    again, because a machine that was mended is the usual reason to resume.

    Args:
        allowed: failures in a row after which a site is not asked any more; 0: it always is.
    """

    def __init__(self, allowed: int) -> None:
        self.dropped: dict[str, str] = {}
        """The sites that are not asked any more, and why."""
        self._allowed = allowed
        self._failures: dict[str, int] = {}

    def note(self, answered: Iterable[str], failed: Mapping[str, str]) -> list[str]:
        """Take down what became of an exchange; return the sites that are dropped for it.

        >>> attendance = Attendance(2)
        >>> attendance.note([], {"north": "its disk is full"})
        []
        >>> attendance.note([], {"north": "its disk is full"})
        ['north']
        >>> attendance.dropped
        {'north': 'failed 2 times in a row and is not asked any more; last: its disk is full'}
        """
        for name in answered:
            self._failures.pop(name, None)
        fresh = []
        for name, reason in failed.items():
            count = self._failures[name] = self._failures.get(name, 0) + 1
            if self._allowed and count >= self._allowed:
                fresh.append(name)
                times = "once" if count == 1 else f"{count} times in a row"
                self.dropped[name] = f"failed {times} and is not asked any more; last: {reason}"
        return fresh
