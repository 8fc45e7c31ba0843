from __future__ import annotations

import functools
import runpy
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.common.constant import Status, SubStatus
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore import date
from flwr.supercore.constant import TaskType
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
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

    def __init__(self, *, fetched: bool = True) -> None:
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
        self.asked = message
        if fetched:
            assert len(self.state.get_messages_legacy(run_ids=[RUN], is_reply=False)) == 1

    def answer(self, *, whole: bool = False) -> ObjectTree:
        """Store a reply as Flower does for the site's process, with all of its objects or none."""
        reply = Message(RecordDict({"config": ConfigRecord({"a": 1})}), reply_to=self.asked)
        reply.metadata.__dict__["_message_id"] = reply.object_id
        tree = get_object_tree(reply)
        with no_object_id_recompute():
            held = get_all_nested_objects(reply)
            self.state.store_message_and_object_tree(
                remove_content_from_message(reply), tree, self.state.start_session(RUN)
            )
            for number, each in held.items() if whole else ():
                self.state.object_store.put(number, each.deflate())
        return tree

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


def _looks(watch: Any) -> None:
    """Look, so that it asks, and again when it has been answered."""
    watch.look()
    watch._question._thread.join(10)
    watch.look()


def ended(run: int) -> None:
    """Answer like a SuperLink whose run was stopped."""
    assert run == RUN
    raise RunNotRunningException


def test_work_for_a_run_that_has_ended_is_ended(
    script: dict[str, Any], site: Site, later: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    watch = _watched(script, site, ended)
    watch.look()  # it has only just begun
    assert site.replies() == []
    later()
    _looks(watch)
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
    _looks(watch)
    watch.look()
    assert asked == [RUN]
    assert site.replies() == []
    assert site.works()


def test_a_link_that_is_down_keeps_nobody_waiting(
    script: dict[str, Any], site: Site, later: Callable[[], None]
) -> None:
    back = threading.Event()
    asked: list[int] = []

    def no_answer(run: int) -> None:
        asked.append(run)
        back.wait(30)

    watch = _watched(script, site, no_answer)
    for _ in range(3):
        later()
        watch.look()
    assert asked == [RUN]  # and no second time while the first is open
    assert site.works()
    back.set()


def test_a_message_that_is_not_fetched_yet_is_left_to_its_process(script: dict[str, Any]) -> None:
    """Flower would never answer it: its SuperNode would wait for ever."""
    site = Site(fetched=False)
    assert script["expire"](site.state, RUN) == 0
    assert site.works()


def test_a_reply_that_is_being_handed_over_is_let_through(
    script: dict[str, Any], site: Site, later: Callable[[], None]
) -> None:
    """Were its process refused now, Flower would wait for ever for the rest of the reply."""
    site.answer()
    watch = _watched(script, site, ended)
    later()
    _looks(watch)
    watch.look()
    assert site.works()


class Sent(NamedTuple):
    """What a SuperLink is sent by :func:`start_client_internal._push_messages`."""

    messages: list[str]
    objects: list[str]


@pytest.mark.parametrize("whole", [True, False])
def test_a_reply_whose_process_is_gone_is_given_up(
    script: dict[str, Any], site: Site, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Flower's own loop, with its own state: it must come back in either case."""
    tree = site.answer(whole=whole)
    watch = _watched(script, site, lambda run: None)
    monkeypatch.setattr(start_client_internal, "time", script["Impatient"](watch))
    sent = Sent([], [])

    def send(message: Message, tree: ObjectTree, _: float) -> tuple[set[str], str]:
        sent.messages.append(message.metadata.message_id)
        return {each.object_id for each in iterate_object_tree(tree)}, "session"

    def push(run: int, session: str, number: str, content: bytes) -> None:
        sent.objects.append(number)

    site.state.finish_task(site.task, SubStatus.FAILED, "killed")
    push_messages = functools.partial(
        start_client_internal._push_messages,
        state=site.state, object_store=site.state.object_store, send=send, push_object=push,
    )  # fmt: skip
    loop = threading.Thread(target=push_messages, daemon=True)
    loop.start()
    loop.join(20)
    assert not loop.is_alive()
    assert len(sent.messages) == 1
    assert (len(sent.objects) == len(list(iterate_object_tree(tree)))) is whole
    assert site.replies() == []


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
