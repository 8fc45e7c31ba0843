"""A compose service's command as a process that is kept running, as its container would be."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from commands.processes import Family

PROGRAMS = (
    Path(__file__).parents[2] / "deploy" / "image" / "bin", Path(sys.executable).parent,
)  # fmt: skip
"""Where an image's commands lie, the first ones first."""
_AGAIN = 1.0  # seconds before a command that ended is started again


def await_(happened: Callable[[], object], what: str, seconds: float, pause: float = 0.1) -> float:
    """Wait for something to happen; return the seconds it took."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < seconds, f"{what}, not within {seconds:g} s"
        time.sleep(pause)
    return time.monotonic() - began


class Container:
    """One service on one machine.

    Args:
        name: of both, for the log.
        command: of the service.
        environment: beside that of this process.
        folder: working directory, home and place of the log.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.command = list(command)
        if shutil.which("setpriv"):  # nothing outlives a test that is killed
            self.command = ["setpriv", "--pdeathsig", "KILL", *self.command]
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder.parent / f"{name}.log"
        self.exits: list[int] = []
        self._environment = {
            **os.environ, "HOME": str(folder), "FLWR_HOME": str(folder),
            "PATH": os.pathsep.join((*map(str, PROGRAMS), os.environ["PATH"])),
            **environment,
        }  # fmt: skip
        self._family = Family()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Start the command, and start it again whenever it ends."""
        self._stopping.clear()
        started = threading.Event()
        self._keeper = threading.Thread(target=self._keep, args=(started,), daemon=True)
        self._keeper.start()
        assert started.wait(30), "the thread does not start"

    def _keep(self, started: threading.Event) -> None:
        while not self._stopping.is_set():
            self._family = Family()
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command, env={**self._environment, **self._family.environment()},
                    cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT,
                )  # fmt: skip
            started.set()
            self.exits.append(self._process.wait())
            self._family.end(grace=0)  # with its first process a container ends
            self._stopping.wait(_AGAIN)

    def ask(self) -> None:
        """Ask it to end; it is not started again."""
        self._stopping.set()
        self.signal(signal.SIGTERM)

    def stop(self, grace: float = 8.0) -> None:
        """End it, and do not start it again."""
        self.ask()
        if self._keeper is not None:
            self._keeper.join(grace)
            if self._keeper.is_alive():
                self.signal(signal.SIGKILL)
                self._keeper.join(30)
            assert not self._keeper.is_alive()
        assert self._family.members() == []

    def signal(self, number: int) -> None:
        """Send a signal to the command itself."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def members(self) -> list[psutil.Process]:
        """Return every process that the command has started, and they have, and that lives."""
        return self._family.members()

    def worker(self, program: str) -> psutil.Process | None:
        """Return the newest process that the command has started to work on a message, if any."""
        for process in sorted(
            self._family.members(), key=lambda each: each.create_time(), reverse=True
        ):
            with contextlib.suppress(psutil.Error):
                if any(Path(word).name == program for word in process.cmdline()[:4]):
                    return process
        return None

    def said(self, words: str, after: int = 0) -> bool:
        """Say whether the log has some words after its first ``after`` bytes."""
        if not self.log.exists():
            return False
        return words.encode() in self.log.read_bytes()[after:]

    def process(self) -> int | None:
        """Return the command's process id, if it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None
