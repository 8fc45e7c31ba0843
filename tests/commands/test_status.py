from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from commands import status, stop
from commands.main import app
from fedmend.errors import RunError
from fedmend.settings import Settings
from server_app import running
from server_app.running import Running

SETTINGS = {"arms": "raw,imputed", "imputation.rounds": 2, "classification.rounds": 1}
STEPS = (2 + 2) + 2 * (1 + 2)


def made(parent: Path, name: str) -> Path:
    """Make the folder of a run that has just begun."""
    (parent / name / "checkpoints").mkdir(parents=True)
    public = Settings.parse(SETTINGS).public()
    (parent / name / "settings.json").write_text(json.dumps(public))
    return parent / name


def noted(folder: Path, phase: str, number: int, seconds: float, **more: Any) -> None:
    line: dict[str, Any] = {
        "phase": phase, "arm": "" if phase == "imputation" else "raw", "round": number,
        "final": False, "score": 0.5, "sites": {"north": {}, "south": {}}, "left_out": {},
        "seconds": seconds,
    }  # fmt: skip
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line | more) + "\n")


def invoked(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_nothing_is_running(tmp_path: Path) -> None:
    assert invoked("status", "--run-dir", str(tmp_path)) == (0, "nothing is running\n")
    made(tmp_path, "spring")
    _, said = invoked("status", "--run-dir", str(tmp_path))
    assert said.splitlines() == [
        "nothing is running",
        "spring: not running, not complete; resume=spring goes on with it",
        "  no site yet",
    ]


def test_a_run_under_way_says_where_it_is_and_what_is_left(tmp_path: Path) -> None:
    folder = made(tmp_path, "spring")
    made(tmp_path, "winter")
    with running.held(folder, "12"):
        sites = {"asked": 2, "images": {"south": 9, "north": 7}}
        (folder / "checkpoints" / "sites.json").write_text(json.dumps(sites))
        assert invoked("status", "--run-dir", str(tmp_path))[1].splitlines()[1:] == [
            f"  the sites have joined, the first of {STEPS} steps is not done; it ends within "
            "10 min",
            "  in: north, south",
        ]
        noted(folder, "imputation", 1, 50.0)
        reason = {"west": "no answer within 60 s"}
        noted(folder, "imputation", 2, 70.0, left_out=reason)
        _, said = invoked("status", "--run-dir", str(tmp_path))
    assert said.splitlines()[1:] == [
        f"  imputation · round 2/2 is done, 2 of {STEPS} steps, about 8 min left",  # 8 times 60 s
        "  in: north, south",
        "  left out: west: no answer within 60 s",
    ]
    assert said.startswith("spring: under way for ")
    assert "winter" not in said


def test_what_is_left_goes_by_the_phase(tmp_path: Path) -> None:
    settings = Settings.parse(SETTINGS)
    assert status.left([], settings) is None
    lines = [
        *({"phase": "imputation", "seconds": 100.0} for _ in range(4)),
        *({"phase": "classification", "seconds": 10.0} for _ in range(2)),
    ]
    assert status.left(lines, settings) == pytest.approx(4 * 10.0)


def test_a_complete_run(tmp_path: Path) -> None:
    folder = made(tmp_path, "spring")
    (folder / "summary.json").touch()
    assert invoked("status", "spring", "--run-dir", str(tmp_path))[1].startswith("spring: complete")


@pytest.mark.parametrize("command", ["status", "stop"])
def test_a_run_that_is_not_there(tmp_path: Path, command: str) -> None:
    for name in ("spring", "../spring"):
        code, said = invoked(command, name, "--run-dir", str(tmp_path))
        assert code == 1
        assert f"there is no run '{name}'" in said


def test_what_does_not_run_cannot_be_stopped(tmp_path: Path) -> None:
    code, said = invoked("stop", "--run-dir", str(tmp_path))
    assert (code, "nothing is running" in said) == (1, True)
    folder = made(tmp_path, "spring")
    code, said = invoked("stop", "spring", "--run-dir", str(tmp_path))
    assert (code, "run spring is not running" in said) == (1, True)
    assert not running.asked_to_stop(folder)
    with running.held(folder, "1"), running.held(made(tmp_path, "winter"), "2"):
        code, said = invoked("stop", "--run-dir", str(tmp_path))
    assert code == 1
    assert "several runs are under way" in said


@contextmanager
def coordinator(folder: Path) -> Iterator[None]:
    """Hold a run until it is asked to stop."""
    begun = threading.Event()

    def work() -> None:
        with running.held(folder, "12"):
            begun.set()
            while not running.asked_to_stop(folder):
                time.sleep(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    yield
    thread.join(10)
    assert not thread.is_alive()


def test_a_coordinator_is_asked_and_waited_for(tmp_path: Path) -> None:
    folder = made(tmp_path, "spring")
    with coordinator(folder):
        code, said = invoked("stop", "--run-dir", str(tmp_path))
    assert (code, said) == (0, "spring: stopped; resume=spring goes on with it\n")


def test_one_that_does_not_end_is_no_success(tmp_path: Path) -> None:
    folder = made(tmp_path, "spring")
    with running.held(folder, "12"), pytest.raises(RunError, match="has not ended within 0 s"):
        stop.stop("spring", tmp_path, patience=0.3)
    assert running.asked_to_stop(folder)


def test_a_simulation_is_ended_by_whoever_launched_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as launcher:
        try:
            later = Running("12", time.time() + 1, launcher.pid)
            found = stop.launcher_of(later)
            assert found is not None
            found.terminate()
            assert launcher.wait(10) == -signal.SIGTERM
        finally:
            launcher.kill()
    assert stop.launcher_of(later) is None  # it is gone


def test_a_process_that_only_has_the_number_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        try:
            assert stop.launcher_of(Running("12", 1.0, other.pid)) is None
            assert stop.launcher_of(Running("12", time.time())) is None
        finally:
            other.kill()
