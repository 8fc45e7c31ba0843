"""Real workers, of an app without torch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client_app.warm import address as addresses
from client_app.warm import caller
from client_app.warm.address import address
from client_app.warm.caller import NoWorkerError, ask

APP = "light_app:app"
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 2, 3


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    node: dict[str, bool | float | int | str] = {"data": "x", "cache-dir": str(tmp_path / "cache")}
    yield Context(2, 3, node, RecordDict(), {})
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has ended, and is now reaped
            if process.status() == "zombie" or "client_app.warm.worker" in process.cmdline():
                process.kill()
                process.wait()


def _query(**asked: str | float | int) -> Message:
    return Message(RecordDict({"asked": ConfigRecord({**asked})}), 3, "query")


def _pid(reply: Message) -> int:
    return int(str(reply.content.config_records["answer"]["pid"]))


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _await(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_worker_answers_message_after_message(context: Context) -> None:
    pids = {_pid(ask(_query(), context, 60, APP)) for _ in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids
    assert context.state.config_records["count"]["messages"] == 3


def test_arrays_come_back_to_the_bit(context: Context) -> None:
    values = [np.random.default_rng(0).normal(size=(300, 1000)), np.array([np.nan, -0.0])]
    message = Message(RecordDict({"arrays": ArrayRecord(values)}), 3, "train")
    reply = ask(message, context, 60, APP)
    assert reply.content == message.content
    assert reply.metadata.reply_to_message_id == message.metadata.message_id


def test_a_worker_that_dies_over_a_message_is_said_to_and_replaced(context: Context) -> None:
    first = _pid(ask(_query(), context, 60, APP))
    with pytest.raises(NoWorkerError, match="over this message"):
        ask(_query(die=1), context, 60, APP)
    assert _pid(ask(_query(), context, 60, APP)) != first


def test_a_worker_that_cannot_import_its_app_is_said_to(
    context: Context, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NoWorkerError, match="ended as it began"):
        ask(_query(), context, 60, "no_such_module:app")
    said: list[str] = []

    def told() -> bool:
        said.append(capfd.readouterr().err)
        return "no_such_module" in "".join(said)

    _await(told)


def test_a_folder_that_cannot_be_written_is_said_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    node: dict[str, bool | float | int | str] = {"cache-dir": str(tmp_path / "file")}
    with pytest.raises(NoWorkerError, match="none can be reached: ") as raised:
        ask(_query(), Context(2, 3, node, RecordDict(), {}), 60, APP)
    assert str(tmp_path) not in str(raised.value)


def test_a_worker_ends_when_nothing_comes(context: Context, tmp_path: Path) -> None:
    pid = _pid(ask(_query(), context, 1, APP))
    _await(lambda: _ended(pid))
    place = address(tmp_path / "cache", 3, APP)
    assert not place.path.exists()


def test_another_version_replaces_the_worker(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _pid(ask(_query(), context, 60, APP))
    monkeypatch.setattr(addresses, "fingerprint", lambda root: "another")
    new = _pid(ask(_query(), context, 60, APP))
    assert new != old
    _await(lambda: _ended(old))
    assert not _ended(new)


def test_another_site_has_a_worker_of_its_own(context: Context) -> None:
    ours = _pid(ask(_query(), context, 60, APP))
    context.node_id = 4
    assert _pid(ask(_query(), context, 60, APP)) != ours
    assert not _ended(ours)


CALL = """
import sys; sys.path[:0] = {paths!r}
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from client_app.warm.caller import ask
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 2, 3
asked = Message(RecordDict({{"asked": ConfigRecord({asked!r})}}), 3, "query")
context = Context(2, 3, {{"cache-dir": {cache!r}}}, RecordDict(), {{}})
ask(asked, context, 60, "light_app:app")
"""


def _calling(cache: Path, asked: dict[str, str | float]) -> str:
    paths = [str(HERE), str(addresses.ROOT)]
    return CALL.format(paths=paths, asked=asked, cache=str(cache))


def test_a_worker_ends_with_the_process_whose_message_it_works_on(
    context: Context, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    script = _calling(tmp_path / "cache", {"mark": str(mark), "sleep": 60.0})
    process = subprocess.Popen([sys.executable, "-c", script])
    _await(lambda: mark.exists() and bool(mark.read_text()))
    pid = int(mark.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    _await(lambda: _ended(pid))
    assert _pid(ask(_query(), context, 60, APP)) != pid  # and the next message has another one


def test_a_worker_ends_with_what_starts_flowers_processes(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = _calling(tmp_path / "cache", {"mark": str(mark)})
    # This shell is the SuperExec; its child's worker outlives the child, and not the shell.
    shell = subprocess.Popen(
        ["sh", "-c", '"$@"; read _', "sh", sys.executable, "-c", script], stdin=subprocess.PIPE
    )
    _await(lambda: mark.exists() and bool(mark.read_text()))
    pid = int(mark.read_text())
    time.sleep(1.5)
    assert not _ended(pid)
    shell.communicate(b"\n", timeout=20)
    _await(lambda: _ended(pid))


def test_a_message_does_not_wait_for_another(context: Context, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    replies: list[int] = []
    asked = _query(mark=str(mark), sleep=2.0)
    other = threading.Thread(target=lambda: replies.append(_pid(ask(asked, context, 60, APP))))
    other.start()
    _await(mark.exists)
    with pytest.raises(NoWorkerError, match="at another message"):
        ask(_query(), context, 60, APP)
    other.join()
    assert [_pid(ask(_query(), context, 60, APP))] == replies


def test_a_caller_imports_neither_torch_nor_the_app() -> None:
    script = (
        "import sys, client_app.warm.app; "
        "print([each for each in sys.modules if each in ('torch', 'client_app.app', 'psutil')])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=addresses.ROOT, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    assert said.stdout.strip() == "[]"
    assert caller.APP == "client_app.app:app"
