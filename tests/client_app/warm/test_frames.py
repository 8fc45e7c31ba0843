from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.supercore.task_identity import TaskIdentity

from client_app.warm import frames
from client_app.warm.frames import Frame, FrameError

IDENTITY = (2**63 + 5, 7, 11)


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = IDENTITY


def _context() -> Context:
    state = RecordDict({"kept": ArrayRecord([np.arange(3.0)])})
    return Context(7, 11, {"name": "north", "threads": 2}, state, {"a.b": 0.5}, series_id=3)


def _message(size: int = 4) -> Message:
    arrays = {"b": Array(np.arange(size, dtype=np.float32)), "a": Array(np.array(2, np.int64))}
    content = RecordDict(
        {
            "config": ConfigRecord({"n": 3, "x": 0.1, "yes": True, "texts": ["ä", ""]}),
            "arrays": ArrayRecord(arrays),
            "metrics": MetricRecord({"sum.val": [0.1, float("inf")]}),
        }
    )
    return Message(content, 11, "train.warm", group_id="4")


def _through(frame: Frame) -> Frame:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=frames.send, args=(ours, frame))
        sender.start()
        try:
            return frames.receive(theirs)
        finally:
            sender.join()


def test_a_message_arrives_as_it_was_sent() -> None:
    sent = Frame(_message(), _context(), IDENTITY)
    came = _through(sent)
    assert came.message.metadata.__dict__ == sent.message.metadata.__dict__
    assert came.message.content == sent.message.content
    assert list(came.message.content) == list(sent.message.content)
    assert list(came.message.content.array_records["arrays"]) == ["b", "a"]
    assert came.message.object_id == sent.message.object_id
    assert came.context == sent.context
    assert came.identity == IDENTITY


def test_more_than_a_socket_holds_arrives() -> None:
    sent = Frame(_message(3_000_000), _context(), IDENTITY)
    assert _through(sent).message.content == sent.message.content


def test_an_error_arrives() -> None:
    reply = Message(Error(101, "needs it"), reply_to=_message())
    came = _through(Frame(reply, _context(), IDENTITY)).message
    assert (came.error.code, came.error.reason) == (101, "needs it")
    assert not came.has_content()
    assert came.metadata.reply_to_message_id == reply.metadata.reply_to_message_id


def test_sending_leaves_the_message_whole() -> None:
    message = _message()
    _through(Frame(message, _context(), IDENTITY))
    assert message.content == _message().content


@pytest.mark.parametrize("kept", [0, 3, 20, -1])
def test_a_frame_that_breaks_off_is_refused(kept: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames.send(ours, Frame(_message(), _context(), IDENTITY))
        whole = theirs.recv(1 << 20)
        ours.sendall(whole[:kept])
        ours.close()
        with pytest.raises(FrameError, match="gone"):
            frames.receive(theirs)


@pytest.mark.parametrize(
    ("count", "parts"),
    [
        (3, [b"\xff\xff\xff", b"", b"[1, 2, 3]"]),
        (3, [b"", b"", b"no JSON"]),
        (3, [b"", b"", b"[1]"]),
        (9, [b"", b"", b"[1, 2, 3]"]),
    ],
)
def test_what_is_no_frame_is_refused(count: int, parts: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack("!I", count))
        for part in parts:
            ours.sendall(struct.pack("!Q", len(part)) + part)
        with pytest.raises(FrameError):
            frames.receive(theirs)
