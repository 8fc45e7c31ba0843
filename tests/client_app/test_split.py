from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_app.split import split_records
from fedmend.errors import DataError
from fedmend.records import SPLITS, Record

SHARES = (0.7, 0.1, 0.2)


def record(number: int, group: int, label: str | None = "x", split: str = "") -> Record:
    return Record(f"{number:064x}", label, f"{group:064x}", split, None, {})


def counts(records: list[Record]) -> Counter[str]:
    return Counter(each.split for each in records)


def test_single_images_follow_the_shares_to_the_image() -> None:
    records = [record(n, n, "ab"[n % 2]) for n in range(200)]
    split = split_records(records, SHARES, seed=0)
    assert counts(split) == {"train": 140, "val": 20, "test": 40}
    for label in "ab":
        assert counts([each for each in split if each.label == label]) == {
            "train": 70, "val": 10, "test": 20,
        }  # fmt: skip


def test_what_is_rounded_off_in_one_class_is_made_good_in_the_next() -> None:
    records = [record(n, n, f"class {n % 10}") for n in range(40)]
    assert counts(split_records(records, (0.5, 0.25, 0.25), seed=1)) == {
        "train": 20, "val": 10, "test": 10,
    }  # fmt: skip


def test_large_patients_are_made_up_for_by_small_ones() -> None:
    sizes = [17, 11, 7, 5, 3, 3, 2, 2, 2] + [1] * 48
    records = [
        record(100 * group + n, group) for group, size in enumerate(sizes) for n in range(size)
    ]
    assert counts(split_records(records, SHARES, seed=2)) == {"train": 70, "val": 10, "test": 20}


def test_another_seed_is_another_split() -> None:
    records = [record(n, n) for n in range(50)]
    one, other = (split_records(records, SHARES, seed) for seed in (0, 1))
    assert one != other
    assert counts(one) == counts(other)


def test_the_sources_own_splits_stay_and_take_their_group_along() -> None:
    records = [record(0, 0, split="test"), record(1, 0), record(2, 1, split="val"), record(3, 2)]
    assert [each.split for each in split_records(records, (1, 0, 0), seed=0)] == [
        "test", "test", "val", "train",
    ]  # fmt: skip


def test_splits_that_divide_patients_are_refused_with_their_number() -> None:
    records = [record(n, n // 2, split=("train", "test")[n % 2]) for n in range(6)]
    with pytest.raises(DataError, match="divide 3 patients"):
        split_records(records, SHARES, seed=0)


def test_nothing_is_split_into_nothing() -> None:
    assert split_records([], SHARES, seed=0) == []


some_records = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from(["a", "b", None])), max_size=80
).map(lambda drawn: [record(n, group, label) for n, (group, label) in enumerate(drawn)])
some_shares = st.sampled_from([SHARES, (1.0, 0.0, 0.0), (0.6, 0.0, 0.4), (0.34, 0.33, 0.33)])


@given(some_records, some_shares, st.integers(0, 9), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_invariants(
    records: list[Record], shares: tuple[float, float, float], seed: int, shuffling: random.Random
) -> None:
    split = split_records(records, shares, seed)
    assert [each._replace(split="") for each in split] == records
    by_group: dict[str, set[str]] = {}
    for each in split:
        by_group.setdefault(each.group, set()).add(each.split)
    assert all(len(splits) == 1 for splits in by_group.values())
    largest = max(Counter(each.group for each in records).values(), default=0)
    for name, share in zip(SPLITS, shares, strict=True):
        have = counts(split)[name]
        # A split takes a group only when it lacks most, a third of the group or more: it is
        # over by two thirds of one at most, and so under by what the other two may be over.
        assert -2 / 3 * largest - 1e-9 <= share * len(records) - have <= 4 / 3 * largest + 1e-9
        assert share > 0 or have == 0
    shuffled = list(records)
    shuffling.shuffle(shuffled)
    assert sorted(split_records(shuffled, shares, seed)) == sorted(split)
