from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedmend.errors import RunError
from server_app import running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    return tmp_path / "a"


def test_a_run_is_under_way_while_its_coordinator_lives(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(running.LAUNCHER, "4711")
    assert running.of(folder) is None
    with running.held(folder, "12"):
        found = running.of(folder)
        assert found is not None
        assert (found.run_id, found.launcher) == ("12", 4711)
    assert running.of(folder) is None


def test_nobody_works_on_it_beside_another(folder: Path) -> None:
    with (
        running.held(folder, "12"),
        pytest.raises(RunError, match="run a is under way already"),
        running.held(folder, "13"),
    ):
        pass
    with running.held(folder, "13"):
        found = running.of(folder)
        assert found is not None
        assert found.run_id == "13"


def test_a_killed_coordinator_is_not_taken_for_alive(folder: Path) -> None:
    script = (
        "import os, sys, pathlib; from server_app import running\n"
        "with running.held(pathlib.Path(sys.argv[1]), '12'):\n"
        "    print(running.of(pathlib.Path(sys.argv[1])).run_id, flush=True); os._exit(9)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=root, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (9, b"12\n")
    assert running.of(folder) is None


def test_an_old_wish_to_stop_does_not_end_the_next_attempt(folder: Path) -> None:
    running.ask_to_stop(folder)
    assert running.asked_to_stop(folder)
    with running.held(folder, "12"):
        assert not running.asked_to_stop(folder)
