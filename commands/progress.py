"""How far a run is, read from its metrics.jsonl as it grows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from fedmend.arms import ARMS
from fedmend.settings import Settings

_AFTER_TRAINING = 2
"""Messages per arm after its last round: the last model is validated, the best one is tested."""

Line = Mapping[str, Any]


def steps(settings: Settings) -> int:
    """Return how many lines a whole run writes."""
    return sum(steps_by_phase(settings).values())


def steps_by_phase(settings: Settings) -> dict[str, int]:
    """Return how many lines each phase writes, over all arms."""
    imputes = any(ARMS[name].mend == "imputer" for name in settings.arm_list)
    arms, rounds = len(settings.arm_list), settings.classification.rounds
    return {
        "imputation": (settings.imputation.rounds + _AFTER_TRAINING) if imputes else 0,
        "classification": arms * (rounds + _AFTER_TRAINING),
    }


class Follower:
    """Reads what was added to a metrics.jsonl since the last time.

    Args:
        path: of the file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._seen: set[tuple[object, ...]] = set()

    @property
    def noted(self) -> int:
        """Number of rounds seen so far."""
        return len(self._seen)

    def fresh(self) -> list[Line]:
        """Return the new lines; a round that a resumed run notes again counts once."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                added = file.read()
        except FileNotFoundError:
            return []
        whole = added[: added.rfind(b"\n") + 1]  # the last line may be half written
        self._at += len(whole)
        return [line for line in map(_parsed, whole.splitlines()) if line and self._is_new(line)]

    def _is_new(self, line: Line) -> bool:
        key = tuple(line.get(name) for name in ("phase", "arm", "round", "final"))
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def _parsed(text: bytes) -> Line:
    try:
        line = json.loads(text)
    except ValueError:  # an interrupted run's half line, which a resumed one wrote on behind
        return {}
    return line if isinstance(line, dict) else {}


class Display(Protocol):
    """Shows how a run gets on."""

    def stage(self, words: str) -> None:
        """Say what is being done before there are rounds to count."""

    def line(self, line: Line) -> None:
        """Show one line of metrics.jsonl."""


def described(line: Line, settings: Settings) -> str:
    """Return what a line reports, without its score.

    The round after the last validates the last model; the final one tests the best.
    """
    phase, arm = str(line.get("phase", "")), str(line.get("arm") or "")
    rounds = settings.imputation.rounds if phase == "imputation" else settings.classification.rounds
    number = line.get("round", 0)
    if line.get("final"):
        what = "test"
    elif isinstance(number, int) and number > rounds:
        what = "last validation"
    else:
        what = f"round {number}/{rounds}"
    return " · ".join(part for part in (phase, arm, what) if part)


def _figures(line: Line) -> str:
    score, seconds = line.get("score"), line.get("seconds")
    figures = [f"score {score:.4f}"] if isinstance(score, float | int) else []
    figures += [f"{len(line.get('sites') or {})} sites"]
    figures += [f"{seconds:.1f} s"] if isinstance(seconds, float | int) else []
    return ", ".join(figures)


def _left_out(line: Line) -> str:
    sites = line.get("left_out") or {}
    return "; ".join(f"{name}: {reason}" for name, reason in sites.items())


class Lines:
    """For a pipe or a log file: one plain line per round."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self.console = console
        self.settings = settings
        self.total = steps(settings)
        self.done = 0

    def stage(self, words: str) -> None:
        """Print it."""
        self._print(words)

    def line(self, line: Line) -> None:
        """Print the round, its score, and the sites that were left out."""
        self.done += 1
        self._print(
            f"[{self.done}/{self.total}] {described(line, self.settings)}: {_figures(line)}"
        )
        if sites := _left_out(line):
            self._print(f"    left out: {sites}")

    def _print(self, words: str) -> None:
        self.console.print(Text(words), soft_wrap=True)


class Bar:
    """For a terminal: a bar over the whole run; sites that were left out stay in view above it."""

    def __init__(self, progress: Progress, settings: Settings) -> None:
        self.progress = progress
        self.settings = settings
        self.total = steps(settings)
        self.task: TaskID = progress.add_task("starting", total=self.total, figures="")

    def stage(self, words: str) -> None:
        """Show it beside the bar."""
        self.progress.update(self.task, description=words)

    def line(self, line: Line) -> None:
        """Advance the bar."""
        self.progress.update(
            self.task, advance=1, description=described(line, self.settings), figures=_figures(line)
        )
        if sites := _left_out(line):
            words = f"left out of {described(line, self.settings)}: {sites}"
            self.progress.console.print(Text(words, style="yellow"))


@contextlib.contextmanager
def shown(console: Console, settings: Settings) -> Iterator[Display]:
    """Yield a bar on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console, settings)
        return
    columns = (
        SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.description}"), TextColumn("{task.fields[figures]}", style="dim"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, settings)
