"""Cleans up after a launcher that could not: killed outright, or by want of memory.

The guard's stdin is a pipe that the launcher holds; the system closes it however the launcher
ends. A launcher that ends in order has ended its guard before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from commands.processes import Family


class Guard:
    """Watches over one launch.

    Args:
        home: the launch's folder, deleted with it.
        family: its processes; the guard is one of them.
        environment: of the guard, the family's mark in it.
    """

    def __init__(self, home: Path, family: Family, environment: Mapping[str, str]) -> None:
        self.home = home
        self.family = family
        here = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(part for part in (here, environment.get("PYTHONPATH", "")) if part)
        self._environment = {**environment, "PYTHONPATH": path}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start watching; before anything that is watched over."""
        self._process = subprocess.Popen(  # noqa: S603 - the words are all our own
            [sys.executable, "-P", "-m", "commands.guard", self.family.mark, str(self.home)],
            env=self._environment,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """Reap the process, which the family has ended."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait()


def watch(mark: str, home: Path) -> None:
    """Wait until the launcher is gone, then end what it has left and delete its folder."""
    sys.stdin.read()
    Family(mark).end(grace=0.0)
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1], Path(sys.argv[2]))
