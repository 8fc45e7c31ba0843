from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from fedmend import parcel

DTYPES = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_])
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    DTYPES.flatmap(lambda dtype: stn.arrays(dtype, stn.array_shapes(min_dims=0, max_side=3))),
    max_size=5,
)


def _record(count: int = 3) -> ArrayRecord:
    return ArrayRecord({f"{n}": Array(np.full((2, n), 0.1 * n)) for n in range(count)})


@given(ARRAYS)
def test_what_is_packed_is_opened_to_the_bit(arrays: dict[str, np.ndarray]) -> None:
    record = ArrayRecord({name: Array(value) for name, value in arrays.items()})
    back = parcel.opened(parcel.packed(record))
    assert back == record
    assert list(back) == list(record)
    for name, value in arrays.items():
        assert back[name].numpy().tobytes() == value.tobytes()


def test_a_parcel_is_one_array_however_many_it_holds() -> None:
    assert len(get_all_nested_objects(_record(50))) > 100
    assert len(get_all_nested_objects(parcel.packed(_record(50)))) == 3  # record, array, its bytes


def test_packing_twice_and_opening_what_is_none_change_nothing() -> None:
    once = parcel.packed(_record())
    assert parcel.packed(once) is once
    plain = _record()
    assert parcel.opened(plain) is plain


def test_an_array_that_is_called_so_is_no_parcel() -> None:
    record = ArrayRecord({parcel.KEY: Array(np.zeros(3))})
    assert parcel.opened(record) is record
    assert parcel.opened(parcel.packed(record)) == record


def test_messages_share_what_they_shared() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    content = RecordDict({"arrays": _record(), "config": ConfigRecord({"a": 1})})
    plain = RecordDict({"config": ConfigRecord({"a": 1})})
    messages = [
        Message(content, 1, "train"),
        Message(content, 2, "train"),
        Message(plain, 3, "query"),
    ]
    parcel.pack(messages)
    assert messages[0].content is messages[1].content
    assert messages[0].content.config_records["config"] == ConfigRecord({"a": 1})
    assert parcel.opened(messages[0].content.array_records["arrays"]) == _record()
    assert list(content.array_records["arrays"]) == ["0", "1", "2"]  # the caller's stays as it was
    assert messages[2].content == plain


def _spoilt(data: bytes) -> ArrayRecord:
    whole = parcel.packed(_record())[parcel.KEY]
    return ArrayRecord({parcel.KEY: Array("uint8", (len(data),), whole.stype, data)})


@pytest.mark.parametrize("cut", [0, 4, 12, 60, -1])
def test_a_parcel_that_breaks_off_is_refused(cut: int) -> None:
    data = parcel.packed(_record())[parcel.KEY].data
    with pytest.raises(ValueError):  # noqa: PT011 (of JSON's words or ours)
        parcel.opened(_spoilt(data[:cut]))


def test_a_parcel_with_more_than_it_lists_is_refused() -> None:
    data = parcel.packed(_record())[parcel.KEY].data
    with pytest.raises(ValueError, match="more than it lists"):
        parcel.opened(_spoilt(data + b"x"))


@pytest.mark.parametrize("listed", ["[1]", '[["a", "f", [1], "s", -1]]', '[["a", "f"]]', "{}x"])
def test_a_list_that_is_none_is_refused(listed: str) -> None:
    data = len(listed).to_bytes(8, "big") + listed.encode()
    with pytest.raises((ValueError, TypeError)):
        parcel.opened(_spoilt(data))
