"""The processes of one launch: every one of them is found again, and ended.

A SuperLink starts a SuperExec, that a simulation, that Ray, and Ray its own dozen; several of
them detach. What they all have is the environment of the first, so it carries a mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import types
import uuid
from collections.abc import Iterator, Sequence

import psutil

MARK = "FEDMEND_LAUNCH"
_PATIENCE = 10.0
_POLL = 0.02


class Stopped(BaseException):
    """The system asked this command to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Family:
    """All processes whose environment carries one launch's mark, and their descendants.

    Args:
        mark: of the launch; empty: a new one.
    """

    def __init__(self, mark: str = "") -> None:
        self.mark = mark or uuid.uuid4().hex

    def environment(self) -> dict[str, str]:
        """Return what the first process's environment must carry."""
        # Ray renames its workers, which on Linux overwrites the environment that others can
        # read, and so the mark, unless told not to.
        return {MARK: self.mark, "SPT_NOENV": "1"}

    def members(self) -> list[psutil.Process]:
        """Return the living members, without this process itself."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            if process.pid != os.getpid() and self._is_marked(process):
                found[process.pid] = process
                with contextlib.suppress(psutil.Error):
                    found |= {each.pid: each for each in process.children(recursive=True)}
        return [each for each in found.values() if _lives(each)]

    def has(self, word: str) -> bool:
        """Say whether a living member's command line contains a word."""
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    return True
        return False

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self.mark
        except (psutil.Error, OSError):  # someone else's, or just gone
            return False

    def end(self, grace: float) -> None:
        """End every member: ask, wait ``grace`` seconds, then kill, until none is left.

        Raises:
            TimeoutError: a member outlives being killed (it hangs in the kernel).
        """
        if grace > 0:
            for process in (asked := self.members()):
                with contextlib.suppress(psutil.Error):
                    process.terminate()
            _await(asked, grace)
        deadline = time.monotonic() + _PATIENCE
        while members := self.members():  # anew each time: a dying parent may have started more
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {[each.pid for each in members]} cannot be ended")
            for process in members:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            _await(members, 1.0)


def _await(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Wait until none lives, or the time is over.

    psutil's own wait wants them reaped too, which is their parents' business and may take longer.
    """
    deadline = time.monotonic() + seconds
    while any(map(_lives, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _raise(number: int, _frame: types.FrameType | None) -> None:
    raise Stopped(number)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into :class:`Stopped`, so that clean-up runs for them too."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _raise) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore requests to end while clean-up, which is what they ask for, is under way."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
