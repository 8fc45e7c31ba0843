from __future__ import annotations

import functools
import runpy
import subprocess
import sys
import time
import types
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flwr.app import Message, RecordDict
from flwr.common.constant import Status
from flwr.supercore import date
from flwr.supercore.constant import TaskType
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate import NodeStateFactory

from tests.deploy.compose_files import ROOT

SCRIPT = ROOT / "deploy" / "image" / "supernode.py"


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_the_installed_flower_sleeps_by_the_name_that_is_replaced(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(start_client_internal, "time", time)
    monkeypatch.setattr(time, "sleep", slept.append)
    pull = start_client_internal._pull_and_store_message
    monkeypatch.setattr(start_client_internal, "_pull_and_store_message", pull)
    script["hasten"](start_client_internal)
    loop = start_client_internal.time  # type: ignore[attr-defined]
    loop.sleep(3)
    loop.sleep(0.5)
    assert slept == [1.0, 0.5]
    assert loop.monotonic() <= time.monotonic()
    # What Flower sleeps by is that name, and nothing else in the module.
    names = [name for name, value in vars(start_client_internal).items() if value is time.sleep]
    assert names == []


def test_a_module_that_sleeps_otherwise_is_left_alone_and_said_so(
    script: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    other = types.ModuleType("other")
    script["hasten"](other)
    assert not hasattr(other, "time")
    assert "cannot be hastened" in capsys.readouterr().err


def test_it_takes_the_words_of_flowers_own() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Flower version" in done.stdout


RUN = 1
"""That of tests/conftest.py, by which Flower makes messages."""


class Site:
    """Flower's own state of a SuperNode whose site has fetched a message and works on it."""

    def __init__(self) -> None:
        self.state = NodeStateFactory(ObjectStoreFactory()).state()
        self.state.set_node_id(1)
        message = Message(RecordDict(), dst_node_id=1, message_type="train")
        message.metadata.__dict__["_message_id"] = message.object_id
        self.state.store_message(message)
        self.message = message.metadata.message_id
        task = self.state.create_task(TaskType.CLIENT_APP, RUN)
        assert task is not None
        self.task = task
        self.token = self.state.claim_task(task)
        self.state.activate_task(self.task)
        assert len(self.state.get_messages_legacy(run_ids=[RUN], is_reply=False)) == 1

    def works(self) -> bool:
        """Say whether the process that works on the message may go on: its token is good."""
        return self.token is not None and self.state.get_task_by_token(self.token) is not None

    def replies(self) -> list[Message]:
        return list(self.state.get_messages_legacy(is_reply=True))


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch, script: dict[str, Any]) -> Callable[[], None]:
    """What makes it some seconds later, for the script and for Flower's state."""
    passed = [0.0]
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed[0])
    clock = functools.partial(_moved, date.now, passed)
    monkeypatch.setitem(script["expire"].__globals__, "now", clock)
    monkeypatch.setattr(in_memory_corestate, "now", clock)

    def go() -> None:
        passed[0] += script["ASKS"] + 1

    return go


def _moved(real: Callable[[], datetime], passed: list[float]) -> datetime:
    return real() + timedelta(seconds=passed[0])


def _watched(script: dict[str, Any], site: Site, asked: Callable[[int], object]) -> Any:
    watch = script["Watch"](lambda **_: RUN)
    assert watch.pull(state=site.state, get_run=asked) == RUN
    return watch


def test_work_for_a_run_that_has_ended_is_ended(
    script: dict[str, Any], site: Site, later: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def ended(run: int) -> None:
        assert run == RUN
        raise RunNotRunningException

    watch = _watched(script, site, ended)
    watch.look()  # it has only just begun
    assert site.replies() == []
    later()
    watch.look()
    (reply,) = site.replies()
    assert reply.has_error()
    assert reply.metadata.reply_to_message_id == site.message
    assert not site.works()
    (task,) = site.state.get_tasks(task_ids=[site.task])
    assert task.status.status == Status.FINISHED
    assert f"run {RUN} has ended" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [False, True])
def test_work_for_a_run_that_goes_on_goes_on(
    script: dict[str, Any], site: Site, later: Callable[[], None], broken: bool
) -> None:
    asked: list[int] = []

    def goes_on(run: int) -> None:
        asked.append(run)
        if broken:
            raise ConnectionError

    watch = _watched(script, site, goes_on)
    later()
    watch.look()
    watch.look()
    assert asked == [RUN]
    assert site.replies() == []
    assert site.works()


def test_a_message_that_is_not_fetched_yet_is_left_to_its_process(
    script: dict[str, Any], site: Site
) -> None:
    """Flower would never answer it: its SuperNode would wait for ever."""
    assert script["expire"](site.state, RUN) == 0
    assert site.works()


def test_between_two_messages_nothing_is_asked(
    script: dict[str, Any], later: Callable[[], None]
) -> None:
    asked: list[int] = []
    watch = script["Watch"](lambda **_: None)
    assert watch.pull(state=None, get_run=asked.append) is None
    later()
    watch.look()
    assert asked == []


def test_flower_calls_by_the_names_that_are_replaced(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_client_internal, "time", time)
    pull = start_client_internal._pull_and_store_message
    monkeypatch.setattr(start_client_internal, "_pull_and_store_message", pull)
    script["hasten"](start_client_internal)
    code = start_client_internal.start_client_internal.__code__
    assert {"_pull_and_store_message", "time"} <= set(code.co_names)
    replaced = start_client_internal._pull_and_store_message
    assert replaced.__self__._pull is pull  # type: ignore[attr-defined]
    # What it takes from the call is what the function is called with.
    assert {"state", "get_run"} <= set(pull.__code__.co_varnames[: pull.__code__.co_argcount])
