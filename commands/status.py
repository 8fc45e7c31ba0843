"""``fedmend status``: what is running, who takes part, which round it is, how long it may take."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from commands import folders
from commands.console import out
from commands.progress import Follower, Line, described, steps, steps_by_phase
from fedmend.settings import SITES, Settings
from server_app import running

_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


def status(name: str, run_dir: Path | None) -> None:
    """Print how a run stands; without a name, all that are under way.

    Raises:
        RunError: there is no run of that name.
    """
    chosen = [folders.named(name, run_dir)] if name else folders.under_way(run_dir)
    if not chosen:
        out().print("nothing is running")
        chosen = folders.all_of(run_dir)[:1]
    for folder in chosen:
        for line in told(folder):
            out().print(Text(line), soft_wrap=True)


def told(folder: Path) -> list[str]:
    """Return what there is to say of a run, line by line."""
    work = running.of(folder)
    if work is not None:
        first = f"{folder.name}: under way for {duration(time.time() - work.began)}"
    elif (folder / "summary.json").is_file():
        first = f"{folder.name}: complete"
    else:
        first = f"{folder.name}: not running, not complete; resume={folder.name} goes on with it"
    lines = Follower(folder / "metrics.jsonl").fresh()
    settings = Settings.read(json.loads((folder / "settings.json").read_text(encoding="utf-8")))
    return [first, *(f"  {each}" for each in _progress(folder, settings, lines, work is not None))]


def _progress(
    folder: Path, settings: Settings, lines: Sequence[Line], under_way: bool
) -> list[str]:
    if not lines:
        return _joined(folder / SITES, settings)
    last = lines[-1]
    done = f"{described(last, settings)} is done, {len(lines)} of {steps(settings)} steps"
    if under_way and (seconds := left(lines, settings)) is not None:
        done += f", about {duration(seconds)} left"
    said = [done, f"in: {', '.join(last.get('sites') or {}) or 'nobody'}"]
    return said + [
        f"left out: {site}: {reason}" for site, reason in (last.get("left_out") or {}).items()
    ]


def _joined(kept: Path, settings: Settings) -> list[str]:
    """Return what is known before the first round is over."""
    if not kept.is_file():
        return ["no site yet"]
    names = sorted(json.loads(kept.read_text(encoding="utf-8"))["images"])
    return [
        f"the sites have joined, the first of {steps(settings)} steps is not done; it ends within "
        f"{duration(settings.deadline)}",
        f"in: {', '.join(names)}",
    ]


def left(lines: Sequence[Line], settings: Settings) -> float | None:
    """Return the seconds that the steps left may take, each as long as those of its phase so far.

    A phase that has not begun is taken to be as fast as the one before.
    """
    spent: dict[str, list[float]] = {"imputation": [], "classification": []}
    for line in lines:
        spent[str(line["phase"])].append(float(line["seconds"]))
    every = [seconds for each in spent.values() for seconds in each]
    if not every:
        return None
    total = steps_by_phase(settings)
    return sum(
        max(total[phase] - len(each), 0) * _mean(each or every) for phase, each in spent.items()
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def duration(seconds: float) -> str:
    """Return a time span in its largest unit.

    >>> duration(12.3), duration(200), duration(9000)
    ('12 s', '3 min', '2.5 h')
    """
    for size, unit in _UNITS:
        if seconds >= size:
            value = seconds / size
            return f"{value:.1f} {unit}" if unit == "h" else f"{value:.0f} {unit}"
    return "0 s"
