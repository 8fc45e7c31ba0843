"""What every partition keeps to, tested the day it is registered."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from client_app.partitions.base import Partition, described
from client_app.split import split_records
from fedmend.errors import DataError, SpecError
from fedmend.plugins import PARTITIONS
from fedmend.records import SPLITS, Record

SPECS = {"column": "column(name=ward)"}
"""Of those that have no defaults."""


def record(
    number: int, group: int, label: str | None, ward: str | float, split: str = ""
) -> Record:
    return Record(f"{number:064x}", label, f"{group:064x}", split, None, {"ward": ward})


def hospital(patients: int = 120, wards: int = 12) -> list[Record]:
    """Return up to three images a patient, three classes, and every ward in every split."""
    return [
        record(3 * p + n, p, "abc"[p % 3], f"ward {p % wards:02d}", SPLITS[(p // wards) % 3])
        for p in range(patients)
        for n in range(1 + p % 3)
    ]


@pytest.fixture(params=PARTITIONS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def partition(name: str) -> Partition:
    built: Partition = PARTITIONS.build(SPECS.get(name, name))
    return built


def test_an_unknown_parameter_is_refused_by_name(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        PARTITIONS.build(f"{name}(nonsense=1)")


def test_every_record_gets_a_site_and_every_site_training_images(partition: Partition) -> None:
    records = hospital()
    owners = partition.assign(records, 6, seed=0)
    assert owners.shape == (len(records),)
    assert owners.dtype == np.int64
    if partition.own_source:
        assert not owners.any()
    else:
        training = {int(o) for o, r in zip(owners, records, strict=True) if r.split == "train"}
        assert training == set(range(6))
        assert owners.max() == 5


def test_patients_stay_whole(partition: Partition) -> None:
    records = hospital()
    owners = partition.assign(records, 7, seed=0)
    pairs = {(each.group, int(owner)) for each, owner in zip(records, owners, strict=True)}
    assert len(pairs) == 120


def test_the_order_of_the_records_does_not_matter(partition: Partition) -> None:
    records = hospital()
    shuffled = list(records)
    random.Random(0).shuffle(shuffled)
    one = dict(zip(records_ids(records), partition.assign(records, 5, seed=3), strict=True))
    other = dict(zip(records_ids(shuffled), partition.assign(shuffled, 5, seed=3), strict=True))
    assert one == other


def records_ids(records: list[Record]) -> list[str]:
    return [each.uid for each in records]


def test_global_generators_are_untouched(partition: Partition) -> None:
    def drawn() -> list[Any]:
        legacy: Any = np.random.get_state()  # noqa: NPY002 - the one that nobody may touch
        return [torch.get_rng_state().tolist(), random.getstate(), legacy[1].tolist()]

    before = drawn()
    partition.assign(hospital(), 4, seed=0)
    assert drawn() == before


def test_one_site_has_everything(partition: Partition) -> None:
    assert not partition.assign(hospital(), 1, seed=0).any()


@pytest.mark.parametrize("spec", ["iid", "dirichlet"])
def test_fewer_patients_than_sites_are_refused_with_the_numbers(spec: str) -> None:
    records = [record(n, n // 2, "a", 0.0, "train") for n in range(6)]
    partition = PARTITIONS.build(spec)
    assert set(partition.assign(records, 3, seed=0)) == {0, 1, 2}
    with pytest.raises(DataError, match=r"3 patients with training images .* 4 sites"):
        partition.assign(records, 4, seed=0)


@pytest.mark.parametrize("spec", ["iid", "dirichlet"])
def test_another_seed_is_another_division(spec: str) -> None:
    partition = PARTITIONS.build(spec)
    one, other = (partition.assign(hospital(), 4, seed=seed) for seed in (0, 1))
    assert (one != other).any()


def test_iid_sites_are_alike() -> None:
    records = [record(n, n, "abc"[n % 3], 0.0, SPLITS[n // 3 % 3]) for n in range(900)]
    counted = described(records, PARTITIONS.build("iid").assign(records, 10, seed=0), 10)
    assert counted == [{split: {"a": 10, "b": 10, "c": 10} for split in sorted(SPLITS)}] * 10


@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 0.1, 1.0, 100.0])
def test_dirichlet_sites_have_the_same_classes_in_every_split(alpha: float) -> None:
    records = [record(n, n, "ab"[n % 2], 0.0, SPLITS[n // 2 % 3]) for n in range(2400)]
    partition = PARTITIONS.build(f"dirichlet(alpha={alpha})")
    counted = described(records, partition.assign(records, 4, seed=0), 4)
    for site in counted:
        train, test = site["train"], site.get("test", {})
        for label in "ab":
            assert abs(train.get(label, 0) - test.get(label, 0)) <= 3  # one moved, two rounded


def test_dirichlet_goes_from_one_class_a_site_to_all_alike() -> None:
    records = [record(n, n, "abcd"[n % 4], 0.0, "train") for n in range(4000)]

    def purity(alpha: str) -> float:
        owners = PARTITIONS.build(f"dirichlet(alpha={alpha})").assign(records, 5, seed=1)
        share = []
        for label in "abcd":
            held = Counter(int(o) for o, r in zip(owners, records, strict=True) if r.label == label)
            share.append(max(held.values()) / 1000)
        return float(np.mean(share))

    assert purity("1e-4") > 0.95
    assert purity("1e-4") > purity("0.5") > purity("1e5")
    assert purity("1e5") < 0.22


@pytest.mark.parametrize("alpha", ["0", "-1", "inf", "nan", "1e7"])
def test_alpha_is_checked(alpha: str) -> None:
    with pytest.raises(SpecError, match="alpha must be above 0"):
        PARTITIONS.build(f"dirichlet(alpha={alpha})")


def test_a_column_names_the_sites_in_the_order_of_its_values() -> None:
    values: list[str | float] = [10.0, 9.0, "b", "a"]
    records = [record(n, n, "x", values[n % 4], "train") for n in range(8)]
    column = PARTITIONS.build("column(name=ward)")
    assert column.assign(records, 4, seed=0).tolist() == [1, 0, 3, 2] * 2
    assert column.assign(records, 3, seed=0).tolist() == [1, 0, 0, 2] * 2


def test_a_column_keeps_a_patient_of_two_values_together() -> None:
    records = [record(0, 0, "x", "b", "train"), record(1, 0, "x", "a", "train")]
    records.append(record(2, 1, "x", "b", "train"))
    assert PARTITIONS.build("column(name=ward)").assign(records, 2, seed=0).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("records", "sites", "reason"),
    [
        ([record(0, 0, "x", "a", "train")._replace(facts={}), record(1, 1, "x", "b")], 2,
         "1 of 2 images have no value"),
        ([record(0, 0, "x", "a", "train"), record(1, 1, "x", "b", "train")], 3,
         "2 values, fewer than the 3 sites"),
        ([record(0, 0, "x", "a", "train"), record(1, 1, "x", "b", "test")], 2,
         "1 of 2 sites have no training images"),
    ],
)  # fmt: skip
def test_a_column_that_does_not_fit_is_refused(
    records: list[Record], sites: int, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        PARTITIONS.build("column(name=ward)").assign(records, sites, seed=0)


def test_only_sites_brings_its_own_source() -> None:
    own = [
        name for name in PARTITIONS.names() if PARTITIONS.build(SPECS.get(name, name)).own_source
    ]
    assert own == ["sites"]


def test_counts_are_described_by_site_split_and_class() -> None:
    records = [
        record(0, 0, "x", 0.0, "train"), record(1, 0, "x", 0.0, "train"),
        record(2, 1, None, 0.0, "test"), record(3, 2, "y", 0.0, "val"),
    ]  # fmt: skip
    owners = np.array([0, 0, 0, 2])
    assert described(records, owners, 3) == [
        {"train": {"x": 2}, "test": {"": 1}}, {}, {"val": {"y": 1}},
    ]  # fmt: skip


some_records = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", None])), min_size=1, max_size=80
).map(lambda drawn: [record(n, group, label, 0.0) for n, (group, label) in enumerate(drawn)])


@given(
    some_records,
    st.sampled_from(["iid", "dirichlet(alpha=0.05)", "dirichlet(alpha=5)"]),
    st.integers(1, 8),
    st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_invariants(records: list[Record], spec: str, sites: int, seed: int) -> None:
    split = split_records(records, (0.7, 0.1, 0.2), seed)
    groups = {each.group for each in split if each.split == "train"}
    partition = PARTITIONS.build(spec)
    if len(groups) < sites:
        with pytest.raises(DataError, match=f"{len(groups)} patients"):
            partition.assign(split, sites, seed)
        return
    owners = partition.assign(split, sites, seed)
    held = Counter(int(o) for o, r in zip(owners, split, strict=True) if r.split == "train")
    assert set(held) == set(range(sites))
    owner_of: dict[str, int] = {}
    for each, owner in zip(split, owners, strict=True):
        assert owner_of.setdefault(each.group, int(owner)) == owner
    assert sum(sum(sum(labels.values()) for labels in site.values())
               for site in described(split, owners, sites)) == len(records)  # fmt: skip
