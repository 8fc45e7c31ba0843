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
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from commands.processes import MARK

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
_SMALL = (
    "data=phantom(count=48)", "image-size=32", "arms=raw,imputed",
    "imputation.rounds=1", "imputation.epochs=1",
    "classification.rounds=1", "classification.epochs=1",
)  # fmt: skip


def _left() -> set[str]:
    """Return the launches that have processes, and the scratch folders that exist."""
    found = {str(path) for path in Path(tempfile.gettempdir()).glob("fedmend-*")}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and MARK in (environ := process.environ()):
                found.add(environ[MARK])
    return found


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    before = _left()
    yield
    assert _left() - before == set()


def _launch(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from commands.main import main; main()", "run", *_SMALL]
    own = [f"run-dir={folder}", "run-name=it", f"cache-dir={folder / 'cache'}", "--sites", "2"]
    return subprocess.Popen(
        [*command, *own, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_ends_with_its_table_and_summary(tmp_path: Path) -> None:
    process = _launch(tmp_path)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    summary = json.loads((tmp_path / "it" / "summary.json").read_text())
    assert summary["status"] == "complete"
    assert summary["sites"]["used"] == 2
    assert set(summary["arms"]) == {"raw", "imputed"}
    assert "[9/9] classification · imputed · test" in out
    assert "run it: 2 of 2 sites" in out
    assert f"run folder: {tmp_path / 'it'}" in out
    assert err == ""


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    process = _launch(tmp_path, "classes=ill,well", "--log", "flower.log")
    _, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert err.startswith("fedmend: no site has images of class ill, well")
    assert "Traceback" not in err
    assert not (tmp_path / "it" / "summary.json").exists()
    assert "flwr" in (tmp_path / "flower.log").read_text()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_run_that_is_stopped_leaves_nothing(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    before = _left()
    process = _launch(tmp_path)
    deadline = time.monotonic() + 60
    while not _left() - before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)  # into the start of the SuperLink and of Ray
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "nothing is left running" in err
    assert "Traceback" not in err
