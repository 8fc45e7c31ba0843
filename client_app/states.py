"""What a site keeps of runs beside its images: fingerprints, quarantine lists, its own layers."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

DAYS = 30
"""Days after which a run that nobody has gone on with is forgotten."""
_DAY = 86_400.0


def states(folder: Path) -> Path:
    """Return where the states of all runs lie, below a site's private folder."""
    return folder / "state"


def forget(folder: Path, days: float = DAYS, keep: str = "") -> int:
    """Delete what is kept of runs in which nothing was written for so long; return how many.

    Args:
        folder: the site's private folder.
        days: since the last write.
        keep: name of a run that stays in any case.
    """
    root = states(folder)
    if not root.is_dir():
        return 0
    before = time.time() - days * _DAY
    old = [run for run in root.iterdir() if run.name != keep and _last_written(run) < before]
    for run in old:
        shutil.rmtree(run, ignore_errors=True)  # another of a simulation's sites may be at it
    return len(old)


def _last_written(run: Path) -> float:
    times = [0.0]
    for path in (run, *run.rglob("*")):
        try:
            times.append(path.lstat().st_mtime)
        except OSError:
            continue  # deleted meanwhile
    return max(times)
