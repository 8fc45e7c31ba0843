"""What a run came to, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedmend.arms import ARMS
from fedmend.errors import RunError

_UNKNOWN = "-"
_SCORES = (("accuracy", "accuracy"), ("auroc", "AUROC"))
_SETS = ("clean", "noisy")


def load(folder: Path) -> dict[str, Any]:
    """Return a run folder's summary.

    Raises:
        RunError: there is none: the run is not complete, or this is no run folder.
    """
    source = folder / "summary.json"
    try:
        summary = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            "this folder holds no summary.json: the run is not complete", local=str(folder)
        ) from None
    except ValueError as error:
        raise RunError(f"summary.json is not JSON: {error}", local=str(folder)) from error
    if not isinstance(summary, dict) or summary.get("status") != "complete":
        raise RunError("summary.json does not say that the run is complete", local=str(folder))
    return summary


def show(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Print the arms' table, the imputer's figures and where the run folder is."""
    console.print(arms(summary))
    for words in mending(summary):
        console.print(Text(words), soft_wrap=True)
    console.print(Text(f"run folder: {folder}"), soft_wrap=True)
    if (folder / "report.html").is_file():
        console.print(Text(f"report:     {folder / 'report.html'}"), soft_wrap=True)


def arms(summary: Mapping[str, Any]) -> Table:
    """Return the table of arms: accuracy and AUROC on the clean and the noisy test images."""
    sites = summary.get("sites") or {}
    table = Table(
        title=f"run {summary.get('run')}: {sites.get('used')} of {sites.get('asked')} sites"
    )
    table.add_column("arm", no_wrap=True)
    for test in _SETS:
        for _, heading in _SCORES:
            table.add_column(f"{test}\n{heading}", justify="right", no_wrap=True)
    table.add_column("trained on", style="dim")
    for name, scores in (summary.get("arms") or {}).items():
        cells = [_number((scores.get(test) or {}).get(key)) for test in _SETS for key, _ in _SCORES]
        table.add_row(name, *cells, ARMS[name].meaning if name in ARMS else "")
    return table


def mending(summary: Mapping[str, Any]) -> list[str]:
    """Return one line per way of mending the noisy test images, the noisy ones first."""
    tests = (summary.get("imputation") or {}).get("test") or {}
    return [
        f"{name:>14}: PSNR {_number(scores.get('psnr'), 2)} dB, SSIM {_number(scores.get('ssim'))}"
        f" over {scores.get('n')} noisy test images"
        for name, scores in tests.items()
        if scores
    ]


def _number(value: object, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else _UNKNOWN
