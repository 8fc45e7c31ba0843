from __future__ import annotations

import runpy
import subprocess
import sys
import time
import types

import pytest
from flwr.supernode import start_client_internal

from tests.deploy.compose_files import ROOT

SCRIPT = ROOT / "deploy" / "image" / "supernode.py"


@pytest.fixture
def script() -> dict[str, object]:
    return runpy.run_path(str(SCRIPT))


def test_the_installed_flower_sleeps_by_the_name_that_is_replaced(
    script: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(start_client_internal, "time", time)
    monkeypatch.setattr(time, "sleep", slept.append)
    script["hasten"](start_client_internal)  # type: ignore[operator]
    loop = start_client_internal.time  # type: ignore[attr-defined]
    loop.sleep(3)
    loop.sleep(0.5)
    assert slept == [1.0, 0.5]
    assert loop.monotonic() <= time.monotonic()
    # What Flower sleeps by is that name, and nothing else in the module.
    names = [name for name, value in vars(start_client_internal).items() if value is time.sleep]
    assert names == []


def test_a_module_that_sleeps_otherwise_is_left_alone_and_said_so(
    script: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    other = types.ModuleType("other")
    script["hasten"](other)  # type: ignore[operator]
    assert not hasattr(other, "time")
    assert "cannot be hastened" in capsys.readouterr().err


def test_it_takes_the_words_of_flowers_own() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Flower version" in done.stdout
