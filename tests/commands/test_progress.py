from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commands import progress
from fedmend.settings import Settings


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.parse(
        {"arms": "raw,imputed", "imputation": {"rounds": 3}, "classification": {"rounds": 2}}
    )


def _line(**changed: Any) -> dict[str, Any]:
    line = {
        "phase": "classification", "arm": "raw", "round": 1, "final": False, "score": 0.75,
        "metrics": {}, "sites": {"site-0": {}, "site-1": {}}, "left_out": {}, "seconds": 1.26,
    }  # fmt: skip
    return {**line, **changed}


def test_the_number_of_steps_follows_from_the_settings(settings: Settings) -> None:
    assert progress.steps(settings) == (3 + 2) + 2 * (2 + 2)
    without = Settings.parse({"arms": "raw", "classification": {"rounds": 2}})
    assert progress.steps(without) == 2 + 2


def test_lines_are_read_as_they_come_and_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = progress.Follower(path)
    assert follower.fresh() == []
    first, second = json.dumps(_line()), json.dumps(_line(round=2))
    path.write_text(f"{first}\n{second[:10]}")
    assert [line["round"] for line in follower.fresh()] == [1]
    path.write_text(f"{first}\n{second}\n{first}\n")
    assert [line["round"] for line in follower.fresh()] == [2]
    assert follower.fresh() == []


def test_a_half_line_that_a_resumed_run_wrote_on_behind_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"phase": "imp{json.dumps(_line())}\n[]\n{json.dumps(_line(round=2))}\n')
    assert [line["round"] for line in progress.Follower(path).fresh()] == [2]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "classification · raw · round 1/2"),
        ({"round": 3}, "classification · raw · last validation"),
        ({"round": 3, "final": True}, "classification · raw · test"),
        ({"phase": "imputation", "arm": ""}, "imputation · round 1/3"),
        ({"phase": "imputation", "arm": None}, "imputation · round 1/3"),
    ],
)
def test_a_line_is_described(settings: Settings, changed: dict[str, Any], words: str) -> None:
    assert progress.described(_line(**changed), settings) == words


def test_without_a_terminal_there_are_plain_lines(settings: Settings) -> None:
    written = io.StringIO()
    with progress.shown(Console(file=written, width=40), settings) as display:
        display.stage("starting")
        display.line(_line())
        display.line(_line(round=2, score=None, left_out={"site-3": "[no] answer in 600 s"}))
    assert written.getvalue().splitlines() == [
        "starting",
        "[1/13] classification · raw · round 1/2: score 0.7500, 2 sites, 1.3 s",
        "[2/13] classification · raw · round 2/2: 2 sites, 1.3 s",
        "    left out: site-3: [no] answer in 600 s",
    ]


def test_on_a_terminal_sites_that_were_left_out_stay_in_view(settings: Settings) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    with progress.shown(console, settings) as display:
        display.stage("starting")
        display.line(_line(left_out={"site-3": "no answer in 600 s"}))
    assert "left out of classification · raw · round 1/2: site-3: no answer" in written.getvalue()
    assert "1/13" in written.getvalue()
