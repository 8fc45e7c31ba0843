from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client_app.app import app as own
from client_app.warm import caller
from client_app.warm.app import SECONDS, app, seconds_of
from client_app.warm.caller import NoWorkerError
from fedmend.settings import Settings


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


def _context(tmp_path: Path, **node: Any) -> Context:
    settings = Settings.parse({"image-size": 16, "cache-dir": str(tmp_path), "noise": "none()"})
    return Context(1, 1, node, RecordDict(), settings.flat())


def _asked() -> Message:
    return Message(RecordDict({"config": ConfigRecord({"run": "r"})}), 1, "query")


@pytest.mark.parametrize(
    ("node", "seconds"),
    [
        ({"data": "phantom(count=8)"}, SECONDS),
        ({"data": "phantom(count=8)", "keep-warm": 30}, 30),
        ({"data": "phantom(count=8)", "keep-warm": 0}, 0),
        ({"data": "phantom(count=8)", "keep-warm": -1}, 0),
        ({"data": "phantom(count=8)", "keep-warm": "30"}, 0),
        ({"data": "phantom(count=8)", "keep-warm": True}, 0),
        ({"partition-id": 0, "num-partitions": 2}, 0),
    ],
)
def test_real_sites_have_a_worker(tmp_path: Path, node: dict[str, Any], seconds: int) -> None:
    assert seconds_of(_context(tmp_path, **node)) == seconds


def test_other_systems_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "SUPPORTED", False)
    assert seconds_of(_context(tmp_path, data="phantom(count=8)")) == 0


@pytest.mark.parametrize("kind", ["query", "train", "evaluate"])
def test_every_kind_of_message_goes_to_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    asked = Message(RecordDict(), 1, kind)
    expected = Message(RecordDict(), reply_to=asked)
    monkeypatch.setattr(caller, "ask", lambda message, context, seconds: expected)
    assert app(asked, _context(tmp_path, data="phantom(count=8)")) is expected


def test_without_a_worker_the_process_answers_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(message: Message, context: Context, seconds: int) -> Message:
        raise NoWorkerError("it came to its end over this message")

    monkeypatch.setattr(caller, "ask", none)
    asked, context = _asked(), _context(tmp_path, data="phantom(count=8)")
    with caplog.at_level(logging.WARNING, "fedmend.site"):
        reply = app(asked, context)
    assert "it came to its end over this message): this process answers" in caplog.text
    assert reply.content == own(asked, context).content


@pytest.mark.parametrize("value", [-1, "30", 0.5])
def test_a_value_that_cannot_be_is_said(tmp_path: Path, value: object) -> None:
    context = _context(tmp_path, **{"data": "phantom(count=8)", "keep-warm": value})
    assert "keep-warm must be seconds, 0 or more" in str(app(_asked(), context).error.reason)


def test_a_real_worker_answers_to_the_same_bits(tmp_path: Path) -> None:
    node = {"data": "phantom(count=12)", "keep-warm": 1, "name": "north"}
    context, asked = _context(tmp_path, **node), _asked()
    assert caller.ask(asked, context, 1).content == own(asked, context).content
