"""A model as one array on its way, where Flower would carry each of its arrays by itself.

In deployment Flower moves every array as two objects, and every object by a request of its own over
each of six legs: from the ServerApp to the SuperLink, on to the SuperNode, on to the ClientApp,
and back. A U-Net of 52 arrays came to some six hundred signed requests a site and round, which
took the SuperLink's processor longer than the training took the site's.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from flwr.app import Array, ArrayRecord, Message, RecordDict

KEY = "parcel"
_FORM = "fedmend.parcel"
"""What Flower calls the serialisation: none of its own, so that nothing takes it for numbers."""
_LENGTH = struct.Struct("!Q")


def packed(record: ArrayRecord) -> ArrayRecord:
    """Return a record as one array of bytes: a length, a list of the arrays, and their data.

    One that is a parcel already is returned as it is.
    """
    if _is_parcel(record):
        return record
    listed = [
        [name, array.dtype, list(array.shape), array.stype, len(array.data)]
        for name, array in record.items()
    ]
    head = json.dumps(listed).encode()
    data = b"".join([_LENGTH.pack(len(head)), head, *(array.data for array in record.values())])
    return ArrayRecord({KEY: Array("uint8", (len(data),), _FORM, data)})


def opened(record: ArrayRecord) -> ArrayRecord:
    """Return the record that was packed; one that is no parcel is returned as it is.

    Raises:
        ValueError, TypeError: the parcel is damaged.
    """
    if not _is_parcel(record):
        return record
    data = record[KEY].data
    try:
        (length,) = _LENGTH.unpack_from(data)
    except struct.error as error:
        raise ValueError("the arrays' parcel breaks off") from error
    start = _LENGTH.size + length
    arrays = {}
    for name, dtype, shape, form, size in json.loads(data[_LENGTH.size : start]):
        if type(size) is not int or size < 0 or start + size > len(data):
            raise ValueError("the arrays' parcel breaks off")
        arrays[name] = Array(dtype, tuple(shape), form, data[start : start + size])
        start += size
    if start != len(data):
        raise ValueError("the arrays' parcel holds more than it lists")
    return ArrayRecord(arrays)


def pack(messages: Sequence[Message]) -> None:
    """Pack the arrays of messages, in place; what they share is packed once, and stays shared.

    Flower sends what messages share to the SuperLink once.
    """
    done: dict[int, RecordDict] = {}
    for message in messages:
        content = message.content
        if id(content) not in done:
            done[id(content)] = RecordDict(
                {
                    key: packed(record) if isinstance(record, ArrayRecord) else record
                    for key, record in content.items()
                }
            )
        message.content = done[id(content)]


def _is_parcel(record: ArrayRecord) -> bool:
    return list(record) == [KEY] and record[KEY].stype == _FORM
