from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from commands.processes import MARK, Family, Stopped, stoppable, undisturbed

# A root whose children detach as Flower's and Ray's do: one keeps the mark and ignores requests to
# end, one drops the whole environment.
_TREE = """
import os, subprocess, sys, time
wait = "import time; print(1, flush=True); time.sleep(600)"
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + wait
for code, how in ((deaf, {"start_new_session": True}), (wait, {"env": {}})):
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **how)
    child.stdout.read(2)
print("ready", flush=True)
time.sleep(600)
"""


def _started(family: Family, code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **family.environment()},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _marked(process: psutil.Process) -> bool:
    return MARK in process.environ()


@pytest.mark.parametrize("grace", [0.0, 0.5])
def test_a_whole_tree_is_found_and_ended(grace: float) -> None:
    family = Family()
    root = _started(family, _TREE)
    members = family.members()
    assert len(members) == 3
    assert family.has("signal.SIG_IGN")
    family.end(grace)
    root.wait(5)
    assert family.members() == []
    assert not any(_lives(each) for each in members)


def test_orphans_are_found_by_their_mark() -> None:
    family = Family()
    root = _started(family, _TREE)
    (nameless,) = (each for each in family.members() if not _marked(each))
    nameless.kill()  # its parent gone, nothing would lead to it; Flower and Ray have no such
    root.kill()
    root.wait(5)
    (orphan,) = family.members()
    assert orphan.pid not in {root.pid, nameless.pid}
    family.end(0.0)
    assert family.members() == []


def test_a_process_may_end_in_peace_within_the_grace(tmp_path: Path) -> None:
    family = Family()
    code = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'will').touch()\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\ntime.sleep(600)"
    )
    process = _started(family, code)
    family.end(10.0)
    process.wait(5)
    assert (tmp_path / "will").exists()


def test_another_launchs_processes_are_left_alone() -> None:
    mine, other = Family(), Family()
    process = _started(other, "import time; print('ready', flush=True); time.sleep(600)")
    try:
        mine.end(0.0)
        assert process.poll() is None
        assert [each.pid for each in other.members()] == [process.pid]
    finally:
        other.end(0.0)
        process.wait(5)


def test_this_process_is_never_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    # The environment that others see is that of the start, so the method is told to see the mark.
    monkeypatch.setattr(Family, "_is_marked", lambda self, process: process.pid == os.getpid())
    family = Family()
    assert os.getpid() not in {each.pid for each in family.members()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_becomes_an_exception(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=number.name), stoppable():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_clean_up_is_not_disturbed() -> None:
    with undisturbed():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
