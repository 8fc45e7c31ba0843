"""Encapsulated pixel data, PS3.5 Annex A.4: items, fragments and the tables of their offsets."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit

from client_app.dicom import untrusted
from client_app.dicom.stored import stored
from client_app.dicom.untrusted import Untrusted

Make = Callable[..., Dataset]
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_FIRST = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8) * 4
_SECOND = 255 - _FIRST


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    data = stream.getvalue()
    return data + b"\0" * (len(data) % 2)


def _items(*parts: bytes, table: tuple[int, ...] = ()) -> bytes:
    offsets = struct.pack(f"<{len(table)}I", *table)
    framed = (_ITEM + struct.pack("<I", len(part)) + part for part in (offsets, *parts))
    return b"".join(framed) + _END


def _dataset(make: Make, items: bytes, frames: int = 1, **header: bytes) -> Dataset:
    dataset = make(_FIRST, JPEGBaseline8Bit, PixelData=items, NumberOfFrames=frames, **header)
    dataset["PixelData"].is_undefined_length = True
    return dataset


def _near(found: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8]) -> bool:
    return int(np.abs(found.astype(int) - pixels).max()) < 16


_ONE, _TWO = _jpeg(_FIRST), _jpeg(_SECOND)
_NEXT = 8 + len(_ONE)


@pytest.mark.parametrize(
    "items",
    [
        _items(_ONE),
        _items(_ONE, table=(0,)),
        _items(_ONE, table=(99999,)),  # where the only frame begins is in no doubt
        _items(_ONE[:100], _ONE[100:300], _ONE[300:]),
        _items(b"", _ONE, b""),
        _items(_ONE + bytes(200)),  # padding after the end marker
        _items(_ONE)[: -len(_END)],
    ],
)
def test_the_fragments_of_one_frame_are_joined(make: Make, items: bytes) -> None:
    assert _near(stored(_dataset(make, items)), _FIRST)


@pytest.mark.parametrize(
    "items", [_items(_ONE, _TWO), _items(_ONE, _TWO, table=(0, _NEXT)), _items(_ONE, _ONE[:50])]
)
def test_a_second_picture_in_a_file_of_one_frame_is_refused(make: Make, items: bytes) -> None:
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT):
        stored(_dataset(make, items))


@pytest.mark.parametrize(
    "items",
    [
        _items(_ONE, _TWO),
        _items(_ONE, _TWO, table=(0, _NEXT)),
        _items(_ONE[:100], _ONE[100:], _TWO, table=(0, _NEXT + 8)),
        _items(_ONE[:100], _ONE[100:], _TWO[:200], _TWO[200:]),
    ],
)
def test_frames_are_found_by_the_table_or_by_their_ends(make: Make, items: bytes) -> None:
    dataset = _dataset(make, items, frames=2)
    assert _near(stored(dataset, 0), _FIRST)
    assert _near(stored(dataset, 1), _SECOND)


@pytest.mark.parametrize(
    "table", [(0,), (_NEXT, 0), (0, 0), (0, _NEXT, 2 * _NEXT), (0, 3), (0, 2**31)]
)
def test_a_table_that_cannot_be_is_refused(make: Make, table: tuple[int, ...]) -> None:
    dataset = _dataset(make, _items(_ONE, _TWO, table=table), frames=2)
    with pytest.raises(Untrusted) as caught:
        stored(dataset, 1)
    assert caught.value.reason in (untrusted.INCONSISTENT, untrusted.SHORT)


@pytest.mark.parametrize(
    ("offsets", "lengths", "good"),
    [
        ((0, _NEXT), (len(_ONE), len(_TWO)), True),
        ((0,), (len(_ONE),), False),
        ((0, 2**62), (len(_ONE), len(_TWO)), False),
        ((0, _NEXT), (len(_ONE), 10), False),
    ],
)
def test_an_extended_table_is_followed_or_refused(
    make: Make, offsets: tuple[int, ...], lengths: tuple[int, ...], good: bool
) -> None:
    tables = {
        "ExtendedOffsetTable": struct.pack(f"<{len(offsets)}Q", *offsets),
        "ExtendedOffsetTableLengths": struct.pack(f"<{len(lengths)}Q", *lengths),
    }
    dataset = _dataset(make, _items(_ONE, _TWO), frames=2, **tables)
    if good:
        assert _near(stored(dataset, 1), _SECOND)
    else:
        with pytest.raises(Untrusted):
            stored(dataset, 1)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (_items(), untrusted.SHORT),
        (_items(b""), untrusted.SHORT),
        (_items(_ONE)[8:], untrusted.INCONSISTENT),  # without the item of the table
        (b"\xff" * 40, untrusted.INCONSISTENT),
        (_items(bytes(2) + _ONE), untrusted.UNDECODABLE),
        (_items(_ONE[: len(_ONE) // 2]), untrusted.TRUNCATED),
    ],
)
def test_fragments_that_are_no_frame_have_their_reasons(
    make: Make, items: bytes, reason: str
) -> None:
    with pytest.raises(Untrusted) as caught:
        stored(_dataset(make, items))
    assert caught.value.reason == reason
