"""The whole of it: real Flower, real Ray, and nothing of either left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from commands.main import app
from commands.processes import MARK
from tests.federation import same, weights

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
_SMALL = (
    "data=phantom(count=48)", "image-size=32", "arms=raw,imputed",
    "imputation.rounds=1", "imputation.epochs=1",
    "classification.rounds=1", "classification.epochs=1",
)  # fmt: skip


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder with a short path, for Ray's sockets; no run may leave anything in it."""
    with tempfile.TemporaryDirectory(prefix="t") as name:
        yield Path(name)
        assert _left(Path(name)) == []


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Let what is started hear SIGINT, which a shell's background jobs inherit as ignored."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _left(place: Path) -> list[str]:
    """Return the processes that were started from ``place``, and the scratch folders there."""
    found = [str(path) for path in place.glob("fedmend-*")]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
            if MARK in environment and environment.get("TMPDIR") == str(place):
                found.append(" ".join(process.cmdline()))
    return found


def _launch(folder: Path, *words: str) -> subprocess.Popen[str]:
    given = {word.partition("=")[0] for word in words}
    small = [word for word in _SMALL if word.partition("=")[0] not in given]
    command = [sys.executable, "-c", "from commands.main import main; main()", "run", *small]
    own = [f"run-dir={folder}", f"cache-dir={folder / 'cache'}"]
    own += ["run-name=it"] if "run-name" not in given else []
    own += ["--sites", "2"] if "--sites" not in given else []
    return subprocess.Popen(
        [*command, *own, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _await(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _process(word: str, folder: Path) -> psutil.Process:
    """Return the process of that name of the run in ``folder``."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            named = any(word in part for part in process.cmdline()[:2])
            if named and process.environ().get("TMPDIR") == str(folder):
                return process
    raise AssertionError(f"there is no {word}")


def test_a_dead_worker_costs_no_bit_and_their_number_changes_none(place: Path) -> None:
    """Of two runs alike, one has a worker less, and loses that one in mid-run."""
    longer = ("--sites", "3", "imputation.rounds=3")
    whole = _launch(place, *longer, "--workers", "2")
    _, err = whole.communicate(timeout=180)
    assert whole.returncode == 0, err
    broken = _launch(place, *longer, "--workers", "1", "run-name=broken")
    _await((place / "broken" / "metrics.jsonl").exists, broken)
    _process("ray::ClientAppActor", place).kill()
    out, err = broken.communicate(timeout=180)
    assert broken.returncode == 0, err
    assert "a worker process of the simulation died; going on from the last round" in out
    said = json.loads((place / "broken" / "summary.json").read_text())
    assert said["sites"] == {"asked": 3, "used": 3, "refused": {}}
    for model in ("imputer", "classifier-raw", "classifier-imputed"):
        assert same(weights(place / "it", model), weights(place / "broken", model)), model


def test_a_run_ends_with_its_table_and_summary(place: Path) -> None:
    process = _launch(place)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    summary = json.loads((place / "it" / "summary.json").read_text())
    assert summary["status"] == "complete"
    assert summary["sites"]["used"] == 2
    assert set(summary["arms"]) == {"raw", "imputed"}
    assert "[9/9] classification · imputed · test" in out
    assert "run it: 2 of 2 sites" in out
    assert f"run folder: {place / 'it'}" in out
    assert err == ""


def test_a_run_that_fails_says_why(place: Path) -> None:
    process = _launch(place, "classes=ill,well", "--log", "flower.log")
    _, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert err.startswith("fedmend: no site has images of class ill, well")
    assert "Traceback" not in err
    assert not (place / "it" / "summary.json").exists()
    assert "flwr" in (place / "flower.log").read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_leaves_nothing(
    place: Path, number: signal.Signals, status: int
) -> None:
    process = _launch(place)
    _await(lambda: bool(_left(place)), process)
    time.sleep(1.0)  # into the start of the SuperLink and of Ray
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "nothing is left running" in err
    assert "Traceback" not in err


def test_fedmend_stop_ends_a_run_and_leaves_nothing(place: Path) -> None:
    process = _launch(place, "imputation.rounds=500")
    try:
        _await((place / "it" / "metrics.jsonl").exists, process)
        status = CliRunner().invoke(app, ["status", "--run-dir", str(place)]).output
        assert "it: under way for " in status
        assert "in: site-0, site-1" in status
        stopped = CliRunner().invoke(app, ["stop", "--run-dir", str(place)])
        assert stopped.output == "it: stopped; resume=it goes on with it\n"
        assert _left(place) == []
    finally:  # it would go on for long
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_run_that_is_killed_outright_leaves_nothing(place: Path) -> None:
    process = _launch(place)
    _await(lambda: bool(_left(place)), process)
    time.sleep(3.0)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while _left(place) and time.monotonic() < deadline:
        time.sleep(0.1)  # the guard is at work; the fixture says whether it was done


def test_a_simulation_that_is_killed_is_a_failed_run(place: Path) -> None:
    process = _launch(place, "classification.rounds=1000")
    _await((place / "it" / "metrics.jsonl").exists, process)
    _process("flwr-simulation", place).kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the simulation was ended from outside" in err
