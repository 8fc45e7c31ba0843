"""The merged metrics against scikit-learn and torchmetrics on the pooled scores."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from classification import metrics
from fedmend.sums import merge

KEYS = {"n", "accuracy", "balanced_accuracy", "auroc", "f1", "ece", "loss"}


class Case(NamedTuple):
    logits: Tensor
    labels: Tensor

    @property
    def classes(self) -> int:
        return self.logits.shape[1]

    @property
    def answers(self) -> Tensor:
        return self.logits.argmax(dim=1)

    def parts(self, sizes: list[int]) -> list[dict[str, metrics.Floats]]:
        pairs = zip(torch.split(self.logits, sizes), torch.split(self.labels, sizes), strict=True)
        return [metrics.sums(*each) for each in pairs]


def drawn(count: int, classes: int, *, skill: float = 1.5, seed: int = 0) -> Case:
    """Return logits that know something of the labels, which are unevenly spread."""
    generator = torch.Generator().manual_seed(seed)
    odds = torch.arange(1.0, classes + 1)
    labels = torch.multinomial(odds, count, replacement=True, generator=generator)
    noise = torch.randn(count, classes, generator=generator)
    return Case(noise * 2 + skill * torch.nn.functional.one_hot(labels, classes), labels)


def pooled(case: Case) -> dict[str, float | None]:
    return metrics.reduce(metrics.sums(case.logits, case.labels), case.classes)


def exact_auroc(case: Case) -> float:
    chances = case.logits.double().softmax(dim=1)
    each = [
        reference.roc_auc_score(case.labels == label, chances[:, label])
        for label in range(case.classes)
    ]
    return float(np.mean(each))


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("skill", [-1.0, 0.0, 1.5, 6.0])
def test_agrees_with_the_references(classes: int, skill: float) -> None:
    case = drawn(2600, classes, skill=skill)
    # Five sites: uneven, one with a single image, one with none.
    merged = metrics.reduce(merge(case.parts([1200, 0, 1, 1000, 399])), classes)
    truth, said = case.labels.numpy(), case.answers.numpy()
    assert merged["n"] == 2600
    assert merged["accuracy"] == reference.accuracy_score(truth, said)
    assert merged["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(truth, said), abs=1e-12
    )
    assert merged["f1"] == pytest.approx(
        reference.f1_score(truth, said, average="macro"), abs=1e-12
    )
    assert merged["auroc"] == pytest.approx(exact_auroc(case), abs=1e-4)
    assert merged["ece"] == pytest.approx(
        float(
            multiclass_calibration_error(
                case.logits.double().softmax(dim=1), case.labels, num_classes=classes, n_bins=15
            )
        ),
        abs=1e-6,
    )
    assert merged["loss"] == pytest.approx(
        reference.log_loss(truth, case.logits.double().softmax(dim=1).numpy()), rel=1e-9
    )


def test_auroc_of_certain_scores_is_not_lost_in_rounding() -> None:
    """Probabilities of 1 - 1e-30 are all 1 in float64; their log-odds are not."""
    case = drawn(4000, 2, seed=3)
    certain = Case(case.logits + torch.tensor([70.0, 0.0]), case.labels)
    difference = (certain.logits[:, 1] - certain.logits[:, 0]).numpy()
    exact = reference.roc_auc_score(certain.labels.numpy(), difference)
    assert pooled(certain)["auroc"] == pytest.approx(exact, abs=2e-3)
    assert exact > 0.6


@pytest.mark.parametrize("classes", [2, 4])
def test_no_image_has_the_same_keys_and_shapes_and_says_nothing(classes: int) -> None:
    some = metrics.sums(*drawn(5, classes))
    none = metrics.sums(torch.empty(0, classes), torch.empty(0, dtype=torch.int64))
    assert {key: value.shape for key, value in some.items()} == {
        key: value.shape for key, value in none.items()
    }
    for each in (*some.values(), *none.values()):
        assert each.dtype == np.float64
        assert each.ndim == 1
    nothing: dict[str, float | None] = {**dict.fromkeys(KEYS), "n": 0.0}
    assert metrics.reduce(none, classes) == nothing
    assert metrics.reduce({}, classes) == nothing


def test_a_site_with_one_class_has_an_accuracy_and_no_auroc() -> None:
    alone = pooled(Case(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 1])))
    assert alone["auroc"] is None
    assert (alone["accuracy"], alone["balanced_accuracy"]) == (0.5, 0.5)


def test_auroc_is_the_mean_over_classes_that_can_be_told() -> None:
    """Class 2 never occurs: two one-vs-rest curves remain."""
    case = drawn(3000, 2, seed=5)
    wide = Case(torch.cat([case.logits, torch.randn(3000, 1) * 0 - 1], dim=1), case.labels)
    chances = wide.logits.double().softmax(dim=1)
    exact = [reference.roc_auc_score(wide.labels == each, chances[:, each]) for each in (0, 1)]
    assert pooled(wide)["auroc"] == pytest.approx(float(np.mean(exact)), abs=1e-4)


def test_perfect_certain_answers() -> None:
    labels = torch.tensor([0, 1, 2] * 5)
    best = pooled(Case(torch.nn.functional.one_hot(labels, 3) * 100.0, labels))
    assert best == {
        "n": 15.0,
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "auroc": 1.0,
        "f1": 1.0,
        "ece": pytest.approx(0, abs=1e-12),
        "loss": pytest.approx(0, abs=1e-12),
    }


def test_small_case_by_hand() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    case = Case(logits, torch.tensor([0, 0, 1, 1]))
    found = pooled(case)
    assert found["accuracy"] == 0.5
    assert found["f1"] == 0.5
    assert found["auroc"] == 0.75  # of the pairs (-3|1) x (2|-1) only (1, -1) is out of order
    sure = [1 / (1 + math.exp(-each)) for each in (3, 1, 2, 1)]
    # The two of confidence 0.731 share a bin: both wrong. The others are right, each in its own.
    assert found["ece"] == pytest.approx(
        (2 * sure[1] + (1 - sure[0]) + (1 - sure[2])) / 4, abs=1e-7
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_show_in_the_loss_and_nowhere_else(bad: float) -> None:
    total = metrics.sums(torch.tensor([[bad, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    assert not np.isfinite(total["loss"][0])
    assert all(np.isfinite(total[key]).all() for key in total if key != "loss")
    reduced = metrics.reduce(total, 2)
    assert reduced["loss"] is None
    assert set(reduced) == KEYS


@st.composite
def sites(draw: st.DrawFn) -> tuple[Case, list[int]]:
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=5))
    classes = draw(st.integers(2, 4))
    seed = draw(st.integers(0, 10**6))
    return drawn(sum(sizes), classes, seed=seed) if sum(sizes) else _empty(classes), sizes


def _empty(classes: int) -> Case:
    return Case(torch.empty(0, classes), torch.empty(0, dtype=torch.int64))


@settings(max_examples=40, deadline=None)
@given(sites())
def test_merging_is_pooling_whatever_the_order_and_the_grouping(
    drawn_sites: tuple[Case, list[int]],
) -> None:
    case, sizes = drawn_sites
    parts = case.parts(sizes)
    middle = len(parts) // 2
    ways = [
        merge(parts),
        merge(reversed(parts)),
        merge([merge(parts[:middle]), merge(parts[middle:])]),
        metrics.sums(case.logits, case.labels),
    ]
    for other in ways[1:]:
        assert other.keys() == ways[0].keys()
        for key, value in ways[0].items():
            np.testing.assert_allclose(other[key], value, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(sites())
def test_metrics_stay_in_their_ranges_and_are_never_nan(
    drawn_sites: tuple[Case, list[int]],
) -> None:
    found = pooled(drawn_sites[0])
    assert set(found) == KEYS
    for key in KEYS - {"n", "loss"}:
        value = found[key]
        assert value is None or 0 <= value <= 1
    assert (found["accuracy"] is None) == (found["n"] == 0)


@pytest.mark.parametrize("skill", [0.0, 0.8, 2.0])
def test_the_aurocs_standard_error_is_that_of_samples(skill: float) -> None:
    """Of many samples of 120 images, how far the AUROC varies."""
    parts = [metrics.sums(*drawn(120, 2, skill=skill, seed=seed)) for seed in range(300)]
    areas = [metrics.reduce(part, 2)["auroc"] for part in parts]
    said = [metrics.standard_error(part, 2) for part in parts]
    assert np.mean(said) == pytest.approx(np.std([each for each in areas if each]), rel=0.25)


def test_standard_errors_where_there_is_little_to_go_by() -> None:
    one_class = metrics.sums(torch.tensor([[3.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 0]))
    assert metrics.reduce(one_class, 2)["auroc"] is None
    assert 0.1 < metrics.standard_error(one_class, 2) < 0.5  # the balanced accuracy's
    nothing = metrics.sums(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert metrics.standard_error(nothing, 2) == 0
    assert metrics.standard_error({}, 3) == 0
    perfect = metrics.sums(torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 1]))
    assert metrics.reduce(perfect, 2)["auroc"] == 1
    assert metrics.standard_error(perfect, 2) > 0.1  # of two images nobody knows it
