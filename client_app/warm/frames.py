"""Flower's messages over a socket between two processes of one user.

A frame is a count and that many parts, each a length and its bytes: the message as Flower
serialises it but without its arrays' data, the context, and then the data array by array. So a
model's bytes are neither copied into one buffer nor bounded by protobuf's 2 GiB. Nothing is
pickled.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from socket import socket
from typing import BinaryIO, NamedTuple, cast

from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.common.serde import (
    context_from_proto,
    context_to_proto,
    message_from_proto,
    message_to_proto,
)
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage
from google.protobuf.message import DecodeError

_COUNT = struct.Struct("!I")
_LENGTH = struct.Struct("!Q")
_HEADS = 3  # message, context and identity, before the arrays


class FrameError(Exception):
    """The other end is gone, or what it sent is no frame."""


class Frame(NamedTuple):
    """What travels."""

    message: Message
    context: Context
    identity: tuple[int, int, int]
    """Flower's task, run and node, which every process that makes messages must know."""


def send(connection: socket, frame: Frame) -> None:
    """Send a frame.

    Raises:
        OSError: the other end is gone.
    """
    arrays = list(_arrays(frame.message))
    bare = message_to_proto(_without_data(frame.message))
    heads = [
        bare.SerializeToString(),
        context_to_proto(frame.context).SerializeToString(),
        json.dumps(frame.identity).encode(),
    ]
    connection.sendall(_COUNT.pack(len(heads) + len(arrays)))
    for part in (*heads, *(array.data for array in arrays)):
        connection.sendall(_LENGTH.pack(len(part)))
        connection.sendall(part)


def receive(connection: socket) -> Frame:
    """Return the next frame.

    Raises:
        FrameError: the other end went before it was whole, or it is none.
        OSError: the connection failed.
    """
    with cast("BinaryIO", connection.makefile("rb")) as stream:
        (count,) = _COUNT.unpack(_exactly(stream, _COUNT.size))
        message, context, identity = (_part(stream) for _ in range(_HEADS))
        try:
            frame = Frame(
                message_from_proto(ProtoMessage.FromString(message)),
                context_from_proto(ProtoContext.FromString(context)),
                _identity(identity),
            )
        except (DecodeError, ValueError, TypeError) as error:
            raise FrameError("what came is no message") from error
        arrays = list(_arrays(frame.message))
        if count != _HEADS + len(arrays):
            raise FrameError("the arrays are not those of the message")
        for array in arrays:
            array.data = _part(stream)
    return frame


def _identity(part: bytes) -> tuple[int, int, int]:
    task, run, node = (int(each) for each in json.loads(part))
    return task, run, node


def _part(stream: BinaryIO) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    read = stream.read(length)
    if len(read) < length:
        raise FrameError("the other end is gone")
    return read


def _arrays(message: Message) -> Iterator[Array]:
    """Yield the arrays of a message in their order."""
    if message.has_content():
        for record in message.content.values():
            if isinstance(record, ArrayRecord):
                yield from record.values()


def _without_data(message: Message) -> Message:
    if not message.has_content():
        return message
    content = RecordDict(
        {
            name: _hollow(record) if isinstance(record, ArrayRecord) else record
            for name, record in message.content.items()
        }
    )
    return make_message(metadata=message.metadata, content=content)


def _hollow(record: ArrayRecord) -> ArrayRecord:
    return ArrayRecord(
        {name: Array(array.dtype, array.shape, array.stype, b"") for name, array in record.items()}
    )
