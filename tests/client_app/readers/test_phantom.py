from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from classification.backbones.small_cnn import small_cnn
from client_app.readers.phantom import Phantoms, phantom
from fedmend.errors import DataError, SpecError
from fedmend.plugins import READERS
from fedmend.records import Reader, Record


def _images(reader: Reader) -> tuple[Tensor, list[Record]]:
    records = list(reader.index().records)
    return torch.stack([reader.load(record) for record in records]), records


@pytest.mark.parametrize("size", [16, 33, 64, 100])
def test_images_have_the_size_asked_for_and_fill_the_range(size: int) -> None:
    images, _ = _images(phantom(count=12, size=size))
    assert images.shape == (12, 1, size, size)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert (images.amax((1, 2, 3)) - images.amin((1, 2, 3)) > 0.5).all()


def test_the_same_number_is_the_same_image_however_many_there_are() -> None:
    few, many = phantom(count=5), phantom(count=50)
    loaded = {record.uid: record for record in many.index().records}
    for record in few.index().records:
        assert loaded[record.uid] == record
        assert torch.equal(few.load(record), many.load(record))


def test_a_reader_that_was_never_indexed_loads_the_records_of_its_twin() -> None:
    record = phantom(count=9).index().records[4]
    assert torch.equal(phantom(count=9).load(record), phantom(count=9).load(record))


@pytest.mark.parametrize("change", [{"size": 32}, {"classes": 2}, {"seed": 1}, {"patients": 3}])
def test_any_other_parameter_makes_other_images(change: dict[str, int]) -> None:
    plain, changed = phantom(count=20), phantom(count=20, **change)
    uids = {record.uid for record in plain.index().records}
    assert not uids & {record.uid for record in changed.index().records}
    assert plain.fingerprint() != changed.fingerprint()


def test_the_fingerprint_changes_with_the_count_alone() -> None:
    assert phantom(count=20).fingerprint() == phantom(count=20).fingerprint()
    assert phantom(count=20).fingerprint() != phantom(count=21).fingerprint()


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (2, {"normal", "nodule"}),
        (3, {"normal", "nodule", "consolidation"}),
        (4, {"normal", "nodule", "consolidation", "effusion"}),
    ],
)
def test_classes_are_balanced(classes: int, names: set[str]) -> None:
    counted = Counter(record.label for record in phantom(classes=classes).index().records)
    assert set(counted) == names
    assert max(counted.values()) - min(counted.values()) <= 3


def test_patients_come_with_one_class_one_scanner_and_up_to_two_images() -> None:
    records = phantom().index().records
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.group, []).append(record)
    assert len(records) == 640
    assert len(groups) == 448
    assert max(map(len, groups.values())) == 2
    for same in groups.values():
        assert len({record.label for record in same}) == 1
        assert len({record.facts["scanner"] for record in same}) == 1


def test_the_number_of_patients_can_be_set() -> None:
    assert len({record.group for record in phantom(count=30, patients=4).index().records}) == 4


def test_records_are_sorted_unsplit_and_vouched_clean() -> None:
    index = phantom(count=40).index()
    uids = [record.uid for record in index.records]
    assert uids == sorted(set(uids))
    assert len(uids[0]) == 64
    assert {record.split for record in index.records} == {""}
    assert {record.noisy for record in index.records} == {False}
    assert not index.rejected


def test_a_foreign_record_is_refused() -> None:
    record = phantom(seed=1).index().records[0]
    with pytest.raises(DataError, match="phantom"):
        phantom().load(record)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("phantom(count=0)", "count"),
        ("phantom(size=15)", "size"),
        ("phantom(classes=1)", "classes"),
        ("phantom(classes=5)", "classes"),
        ("phantom(patients=-1)", "patients"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(text: str, word: str) -> None:
    with pytest.raises(SpecError, match=rf"{word} must be from \d+ to \d+; got"):
        READERS.build(text)


def test_nothing_aliases_from_one_size_to_another() -> None:
    """A small phantom is the large one seen coarsely: the same anatomy, not other stripes."""
    large, small = Phantoms(8, 128, 3, 0, seed=0), Phantoms(8, 32, 3, 0, seed=0)
    for number in range(8):
        drawn = torch.from_numpy(large._draw(number))[None, None]
        coarse = torch.nn.functional.interpolate(drawn, size=(32, 32), mode="area")[0, 0]
        assert (torch.from_numpy(small._draw(number)) - coarse).abs().mean() < 0.03


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: on a busy machine many small steps wait for each other for minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    limits: Any = import_module("threadpoolctl")  # untyped; scikit-learn brings it along
    with limits.threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def divided() -> tuple[Tensor, Tensor, Tensor]:
    """Images, class numbers, and which of them are for testing: no patient on both sides."""
    images, records = _images(phantom(count=850))
    names = sorted({str(record.label) for record in records})
    labels = torch.tensor([names.index(str(record.label)) for record in records])
    groups = sorted({record.group for record in records})
    held_out = set(groups[: len(groups) * 400 // 850])
    return images, labels, torch.tensor([record.group in held_out for record in records])


def test_no_global_statistic_tells_the_classes(divided: tuple[Tensor, Tensor, Tensor]) -> None:
    images, labels, _ = divided
    flat = images.flatten(1)
    for statistic in (flat.mean(1), flat.std(1), flat.amin(1), flat.median(1).values):
        for name in range(3):
            assert abs(roc_auc_score(labels == name, statistic) - 0.5) < 0.15


@pytest.mark.usefixtures("one_thread")
def test_a_linear_model_fails(divided: tuple[Tensor, Tensor, Tensor]) -> None:
    images, labels, test = divided
    flat = images.flatten(1).numpy() - 0.5
    model = LogisticRegression(C=0.01, max_iter=2000).fit(flat[~test], labels[~test])
    score = roc_auc_score(labels[test], model.predict_proba(flat[test]), multi_class="ovr")
    assert score < 0.72


@pytest.mark.usefixtures("one_thread")
def test_a_small_network_succeeds(divided: tuple[Tensor, Tensor, Tensor]) -> None:
    images, labels, test = divided
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = small_cnn(1, 3)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    epochs = 20
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    training = (~test).nonzero()[:, 0]
    for _ in range(epochs):
        shuffled = training[torch.randperm(len(training), generator=generator)]
        for rows in torch.split(shuffled, 16):
            batch = (
                images[rows].flip(3) if torch.rand((), generator=generator) < 0.5 else images[rows]
            )
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
    with torch.inference_mode():
        scores = model(images[test]).softmax(1).numpy().astype(np.float64)
    scores /= scores.sum(1, keepdims=True)
    assert roc_auc_score(labels[test], scores, multi_class="ovr") > 0.80
