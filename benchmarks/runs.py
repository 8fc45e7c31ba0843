"""Runs that a benchmark needs: each made once, resumed where it was interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs"
CHEST_XRAY = ROOT / "experiments" / "chest-xray.toml"

Summary = dict[str, Any]


class Run(NamedTuple):
    """One run: its folder's name, and what is laid over the experiment's settings."""

    name: str
    settings: Sequence[str]


def finished(run: Run, runs: Path) -> Summary | None:
    """Return the summary of a run, None where it is not complete."""
    source = runs / run.name / "summary.json"
    if not source.is_file():
        return None
    loaded: Summary = json.loads(source.read_text(encoding="utf-8"))
    return loaded


def completed(run: Run, experiment: Path, runs: Path) -> Summary:
    """Return the summary of a run, running or resuming it where that is to be done.

    Raises:
        CalledProcessError: the run failed; it has said why.
    """
    known = finished(run, runs)
    if known is not None:
        return known
    begun = (runs / run.name / "settings.json").is_file()
    naming = f"resume={run.name}" if begun else f"run-name={run.name}"
    command = [str(Path(sys.executable).with_name("fedmend")), "run", str(experiment)]
    command += [*run.settings, f"run-dir={runs}", naming]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ)
    made = finished(run, runs)
    assert made is not None, "fedmend run answers 0 where there is a summary alone"
    return made


def numbers(text: str) -> list[int]:
    """Read "0-4" or "0,2,5".

    >>> numbers("0-2"), numbers("1,5")
    ([0, 1, 2], [1, 5])
    """
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(n) for n in text.split(",")]
