"""``fedmend stop``: end a run.

A simulation ends with all of its sites. Real sites that are at work ask every ten seconds whether
their run goes on (``deploy/image/supernode.py``), and end half a minute later at most.
"""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from commands import folders
from commands.console import out
from fedmend.errors import RunError
from server_app import running
from server_app.running import Running

_PATIENCE = 180.0
"""Seconds for a coordinator to notice, or for a simulation's processes to end."""
_POLL = 0.2


def stop(name: str, run_dir: Path | None, patience: float = _PATIENCE) -> None:
    """End a run and wait until it has ended; without a name, the one that is under way.

    Raises:
        RunError: none is, or several are, or it does not end.
    """
    folder = folders.named(name, run_dir) if name else _only(run_dir)
    work = running.of(folder)
    if work is None:
        raise RunError(f"run {folder.name} is not running")
    launcher = launcher_of(work)
    if launcher is not None:
        launcher.terminate()  # it ends the simulation with all of its sites
    else:
        running.ask_to_stop(folder)
    deadline = time.monotonic() + patience
    while running.of(folder) is not None or _lives(launcher):
        if time.monotonic() > deadline:
            raise RunError(f"run {folder.name} has not ended within {patience:.0f} s")
        time.sleep(_POLL)
    out().print(f"{folder.name}: stopped; resume={folder.name} goes on with it")


def _only(run_dir: Path | None) -> Path:
    found = folders.under_way(run_dir)
    if len(found) == 1:
        return found[0]
    if not found:
        raise RunError("nothing is running")
    names = ", ".join(folder.name for folder in found)
    raise RunError(f"several runs are under way: {names}; say which")


def _lives(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def launcher_of(work: Running) -> psutil.Process | None:
    """Return the ``fedmend run`` that a simulation belongs to, if it is one and it lives."""
    if not work.launcher:
        return None
    try:
        process = psutil.Process(work.launcher)
        # Numbers are given again: what began later than the run has not begun it.
        return process if process.create_time() < work.began else None
    except psutil.Error:
        return None
