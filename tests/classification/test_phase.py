"""A fake site whose grey levels tell which version of an image was shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from classification import augment, metrics, phase
from classification.selection import EVALUATION_BATCH, select
from fedmend import arms, randomness
from fedmend.errors import DataError
from fedmend.phase import Batch, load
from fedmend.records import Pixels, quantised
from fedmend.settings import Settings
from fedmend.site import VIEWS, Examined, Mended, MissingImputerError, View
from fedmend.wire import Task

CLEAN, NOISY, ORIGINAL, IMPUTED, FILTERED = 0.5, 0.95, 0.28, 0.1, 0.7
"""Levels far enough apart to be told from each other after augmentation."""
LEVELS = torch.tensor([CLEAN, NOISY, ORIGINAL, IMPUTED, FILTERED])
SIDE = 16
FILTER = "median()"


def flat(levels: npt.NDArray[np.float64] | Sequence[float]) -> Pixels:
    """Return one image of a single grey level each."""
    values = torch.tensor(np.asarray(levels), dtype=torch.float32)
    return Pixels(quantised(values[:, None, None, None].expand(-1, 1, SIDE, SIDE)))


def as_mended(images: Pixels) -> Mended:
    """Return images of which every one was mended, and is believed."""
    count = len(images)
    return Mended(images, np.zeros(count, dtype=np.bool_), np.ones(count, dtype=np.float32))


class FakeSite:
    """Noisy images are light, clean ones grey; mended ones are dark.

    Args:
        labels: of every view.
        flagged: of every view; empty: none.
        simulated: whether the originals are known.
    """

    name = "site-0"

    def __init__(
        self, labels: Sequence[int], flagged: Sequence[bool] = (), *, simulated: bool = True
    ) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        self.flagged = np.asarray(flagged or [False] * len(labels), dtype=np.bool_)
        self.simulated = simulated
        self.asked: list[tuple[str, str]] = []

    def view(self, name: str) -> View:
        count = len(self.labels)
        return View(
            uids=tuple(f"{row:064x}" for row in range(count)),
            images=flat(np.where(self.flagged, NOISY, CLEAN)),
            original=flat(np.full(count, ORIGINAL)) if self.simulated else None,
            labels=self.labels,
            noisy=self.flagged.astype(np.int8),
            score=self.flagged.astype(np.float32),
            alarm=self.flagged,
            flagged=self.flagged,
            clean=~self.flagged,
            group=np.zeros(count, np.int64),
        )

    def mended(self, name: str, by: str) -> Mended:
        assert name in VIEWS
        self.asked.append((name, by))
        levels = {"a" * 64: IMPUTED, FILTER: FILTERED}
        if by not in levels:
            raise MissingImputerError(by)
        count = int(self.flagged.sum())
        return as_mended(flat(np.full(count, levels[by])))

    @property
    def kinds(self) -> Mapping[str, bool]:
        raise AssertionError("classification asks no detector")

    def examine(self, images: Tensor, group: int) -> Examined:
        raise AssertionError("classification asks no detector")

    def keep_mended(self, name: str, by: str, made: Mended) -> None:
        raise AssertionError("classification mends nothing")


class KnownSite(FakeSite):
    """Has the same view under every name, and the same mended images."""

    def __init__(self, view: View, mended: Pixels | None = None) -> None:
        super().__init__(view.labels.tolist(), view.flagged.tolist())
        self.known = view
        self.mended_images = mended

    def view(self, name: str) -> View:
        return self.known

    def mended(self, name: str, by: str) -> Mended:
        assert self.mended_images is not None
        return as_mended(self.mended_images)


class CarelessSite(FakeSite):
    """Answers one mended image too few."""

    def mended(self, name: str, by: str) -> Mended:
        made = super().mended(name, by)
        return as_mended(Pixels(made.images.array[1:]))


@pytest.fixture(scope="module")
def chosen() -> Settings:
    return Settings.parse(
        {
            "filter": FILTER,
            "image-size": SIDE,
            "classification": {
                "model": "small_cnn(width=8)",
                "batch-size": 4,
                "epochs": 2,
                "as-acquired": 0,
                "weighting": "even",
            },
        }
    )


def with_classification(chosen: Settings, **changes: object) -> Settings:
    return replace(chosen, classification=replace(chosen.classification, **changes))  # type: ignore[arg-type]


def task(arm: str = "raw", *, number: int = 1, seed: int = 0, classes: int = 2) -> Task:
    return Task(
        run="r",
        phase="classification",
        arm=arm,
        round=number,
        rounds=3,
        seed=seed,
        classes=tuple(f"class {each}" for each in range(classes)),
        imputer="a" * 64,
    )


def shown(batches: Iterator[Batch]) -> set[float]:
    """Return which of the levels the batches show."""
    seen: set[float] = set()
    for batch in batches:
        means = batch.image.mean(dim=(1, 2, 3))
        nearest = (means[:, None] - LEVELS).abs().argmin(dim=1)
        seen |= {round(float(each), 2) for each in LEVELS[nearest]}
    return seen


LABELS = [0, 1, 0, 1, -1, 0, 1, 1, 0, 0, 1, -1, 1]
FLAGGED = [True, False, False, True, True, False, True, False, False, True, False, False, True]


@pytest.fixture
def site() -> FakeSite:
    return FakeSite(LABELS, FLAGGED)


TRAINED_ON = {
    "raw": {CLEAN, NOISY},
    "removed": {CLEAN},
    "imputed": {CLEAN, IMPUTED},
    "filtered": {CLEAN, FILTERED},
    "clean": {ORIGINAL},
    "local": {CLEAN, NOISY},
}
TESTED_ON = {**TRAINED_ON, "removed": {CLEAN, NOISY}, "clean": {CLEAN, NOISY}}


def test_every_arm_is_tested_here() -> None:
    assert set(TRAINED_ON) == set(arms.ARMS)


@pytest.mark.parametrize("arm", arms.ARMS)
def test_an_arm_shows_its_own_version_of_the_images(
    site: FakeSite, chosen: Settings, arm: str
) -> None:
    assert shown(phase.train(site, chosen, task(arm))) == TRAINED_ON[arm]
    assert shown(iter(phase.validation(site, chosen, task(arm)))) == TRAINED_ON[arm]
    tested = phase.tests(site, chosen, task(arm))
    assert {name: shown(iter(each)) for name, each in tested.items()} == dict.fromkeys(
        ("clean", "noisy"), TESTED_ON[arm]
    )


@pytest.mark.parametrize("arm", arms.ARMS)
def test_only_the_removed_arm_trains_on_fewer_images(
    site: FakeSite, chosen: Settings, arm: str
) -> None:
    assert phase.size(site, chosen, task(arm)) == (6 if arm == "removed" else 11)


@pytest.mark.parametrize("arm", arms.ARMS)
def test_all_labelled_test_images_count_in_every_arm(
    site: FakeSite, chosen: Settings, arm: str
) -> None:
    for batches in phase.tests(site, chosen, task(arm)).values():
        targets = torch.cat([batch.target for batch in batches])
        assert targets.tolist() == [label for label in LABELS if label >= 0]


def test_each_image_is_read_from_its_own_row(chosen: Settings) -> None:
    """Distinct levels in every row, mended ones too, and rows asked for out of order."""
    view = FakeSite([0] * 6, [False, True, False, True, True, False]).view("train")
    view = view._replace(images=flat([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    site = KnownSite(view, mended=flat([0.7, 0.8, 0.9]))
    made = select(site, "train", chosen, task("imputed"))
    rows = np.array([4, 0, 3, 3, 5, 1])
    means = made.take(rows).mean(dim=(1, 2, 3))
    torch.testing.assert_close(
        means, torch.tensor([0.9, 0.1, 0.8, 0.8, 0.6, 0.7]), rtol=0, atol=1e-4
    )


def test_an_image_is_read_when_its_batch_is_due(chosen: Settings) -> None:
    read: list[int] = []

    class Watched(Pixels):
        def take(self, rows: Sequence[int] | npt.NDArray[np.int64] | Tensor) -> Tensor:
            read.append(len(rows))
            return super().take(rows)

    view = FakeSite([0, 1] * 20).view("train")
    site = KnownSite(view._replace(images=Watched(view.images.array)))
    batches = phase.train(site, chosen, task())
    assert read == []
    next(batches)
    assert read == [4]


@pytest.mark.parametrize("arm", arms.ARMS)
def test_every_arm_takes_the_same_full_steps(site: FakeSite, chosen: Settings, arm: str) -> None:
    batches = list(phase.train(site, chosen, task(arm)))
    assert [len(batch.image) for batch in batches] == [4] * (2 * 3)  # 2 epochs of ceil(11 / 4)
    assert all(batch.image.shape[1:] == (1, SIDE, SIDE) for batch in batches)


def test_arms_that_keep_all_images_see_them_in_one_order(site: FakeSite, chosen: Settings) -> None:
    orders = {
        arm: torch.cat([batch.target for batch in phase.train(site, chosen, task(arm))]).tolist()
        for arm in arms.ARMS
    }
    removed = orders.pop("removed")
    assert len({tuple(each) for each in orders.values()}) == 1
    assert removed != orders["raw"]


def test_the_removed_arm_passes_over_what_it_leaves_out(site: FakeSite, chosen: Settings) -> None:
    everything = select(site, "train", chosen, task("raw"))
    fewer = select(site, "train", chosen, task("removed"))
    whole = phase.sequence(everything.labelled, everything.kept, 200, site.name, task())
    part = phase.sequence(fewer.labelled, fewer.kept, 80, site.name, task("removed"))
    passed = [row for row in whole if not FLAGGED[row]]
    assert part.tolist() == passed[:80]
    assert set(part) == set(fewer.kept)


def test_an_epoch_shows_every_image_once(site: FakeSite, chosen: Settings) -> None:
    made = select(site, "train", chosen, task())
    order = phase.sequence(made.labelled, made.kept, 33, site.name, task())
    assert [sorted(each) for each in order.reshape(3, 11)] == [made.labelled.tolist()] * 3
    assert all((first != second).any() for first, second in pairwise(order.reshape(3, 11)))


@pytest.mark.parametrize("changed", [task(number=2), task(seed=1)])
def test_order_and_augmentation_are_drawn_anew(
    site: FakeSite, chosen: Settings, changed: Task
) -> None:
    one, same, other = (list(phase.train(site, chosen, each)) for each in (task(), task(), changed))
    for first, second in zip(one, same, strict=True):
        assert torch.equal(first.image, second.image)
        assert torch.equal(first.target, second.target)
    assert not all(torch.equal(a.image, b.image) for a, b in zip(one, other, strict=True))


def test_augmentation_is_the_same_in_all_arms(site: FakeSite, chosen: Settings) -> None:
    """The draws of a step are those of its own generator, and clean images end up equal."""
    for arm in ("raw", "imputed"):
        made = select(site, "train", chosen, task(arm))
        order = phase.sequence(made.labelled, made.kept, 24, site.name, task(arm))
        for step, batch in enumerate(phase.train(site, chosen, task(arm))):
            generator = randomness.generator(0, "augment", site.name, 1, step)
            expected = augment.augment(made.take(order[step * 4 :][:4]), generator)
            assert torch.equal(batch.image, expected)


def test_training_draws_nothing_from_the_global_generator(site: FakeSite, chosen: Settings) -> None:
    before = torch.random.get_rng_state()
    list(phase.train(site, chosen, task()))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_a_site_without_labels_has_nothing_to_give(chosen: Settings, labels: list[int]) -> None:
    site = FakeSite(labels)
    assert phase.size(site, chosen, task()) == 0
    assert list(phase.train(site, chosen, task())) == []
    model = phase.build(chosen, task())
    total = phase.evaluate(model, phase.validation(site, chosen, task()), task())
    assert not any(value.any() for value in total.values())
    assert np.isnan(phase.score(total))


def test_a_site_whose_images_are_all_noisy_takes_no_step_without_them(chosen: Settings) -> None:
    site = FakeSite([0, 1, 0], [True, True, True])
    assert list(phase.train(site, chosen, task("removed"))) == []
    assert phase.size(site, chosen, task("removed")) == 0
    assert len(list(phase.train(site, chosen, task("raw")))) == 2


@pytest.mark.parametrize("arm", ["imputed", "filtered"])
def test_nothing_flagged_asks_for_nothing_mended(chosen: Settings, arm: str) -> None:
    site = FakeSite([0, 1, 0])
    assert shown(phase.train(site, chosen, task(arm))) == {CLEAN}
    assert site.asked == []


def test_a_site_that_has_not_mended_says_so_at_once(site: FakeSite, chosen: Settings) -> None:
    other = task("imputed")._replace(imputer="b" * 64)
    for ask in (phase.train, phase.validation, phase.tests, phase.size):
        with pytest.raises(MissingImputerError):
            ask(site, chosen, other)


def test_a_wrong_number_of_mended_images_is_no_traceback(chosen: Settings) -> None:
    with pytest.raises(DataError, match="5 images of train were mended where 6 are held"):
        phase.train(CarelessSite(LABELS, FLAGGED), chosen, task("imputed"))


def test_the_clean_arm_without_originals_says_so(chosen: Settings) -> None:
    with pytest.raises(DataError, match="the clean arm needs the images from before the noise"):
        phase.train(FakeSite(LABELS, FLAGGED, simulated=False), chosen, task("clean"))


def test_weights_let_every_class_count_the_same() -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 10])
    weights = phase.class_weights(labels, 3)
    torch.testing.assert_close(weights, torch.tensor([40 / 30, 40 / 60, 40 / 30]))
    assert float(weights[torch.from_numpy(labels)].mean()) == pytest.approx(1)


def test_weights_are_held_within_bounds() -> None:
    assert phase.class_weights(np.repeat([0, 1], [1000, 1]), 2).tolist() == pytest.approx(
        [0.5005, 4]
    )
    many = np.repeat(np.arange(10), [1000, *[1] * 9])
    assert float(phase.class_weights(many, 10)[0]) == 0.25
    assert phase.class_weights(np.zeros(5, dtype=np.int64), 2)[0] == 1


def test_weights_are_those_of_the_images_that_the_arm_trains_on(
    site: FakeSite, chosen: Settings
) -> None:
    for arm in ("raw", "removed"):
        made = select(site, "train", chosen, task(arm))
        expected = phase.class_weights(made.labels[made.kept], 2)
        for batch in phase.train(site, chosen, task(arm)):
            assert batch.weight is not None
            assert torch.equal(batch.weight, expected[batch.target])


def test_class_weights_can_be_left_out(chosen: Settings) -> None:
    site = FakeSite([0] * 9 + [1])
    plain = with_classification(chosen, class_weights="none")
    for batch in phase.train(site, plain, task()):
        assert batch.weight is not None
        assert bool((batch.weight == 1).all())
    usual = torch.cat([each.weight for each in phase.train(site, chosen, task())])  # type: ignore[misc]
    assert float(usual.max()) > 1
    # As much as an image is to be believed it counts for all the same.
    doubted = with_classification(chosen, class_weights="none", weighting="confidence")
    doubtful = Doubtful([0] * 9 + [1], [True] * 5 + [False] * 5)
    weights = [each.weight for each in phase.train(doubtful, doubted, task("imputed"))]
    seen = {round(float(each), 3) for part in weights if part is not None for each in part}
    assert seen == {round(0.5 / 0.75, 3), round(1 / 0.75, 3)}


def test_augmentation_can_be_left_out_and_nothing_else_changes(
    site: FakeSite, chosen: Settings
) -> None:
    made = select(site, "train", chosen, task())
    order = phase.sequence(made.labelled, made.kept, 24, site.name, task())
    plain = phase.train(site, with_classification(chosen, augment="none"), task())
    usual = phase.train(site, chosen, task())
    for step, (one, other) in enumerate(zip(plain, usual, strict=True)):
        assert torch.equal(one.image, made.take(order[step * 4 :][:4]))
        assert not torch.equal(one.image, other.image)
        assert torch.equal(one.target, other.target)


class Fixed(nn.Module):
    """Answers logits that are given beforehand, whatever the image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[: len(images)]


def test_loss_is_the_mean_of_weighted_cross_entropies(chosen: Settings) -> None:
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    batch = Batch(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), weight=torch.tensor([3.0, 0.5]))
    plain = -logits.log_softmax(dim=1)[torch.arange(2), batch.target]
    for weight in (batch.weight, None):
        found = phase.loss(Fixed(logits), batch._replace(weight=weight), chosen, torch.Generator())
        expected = (plain * (torch.ones(2) if weight is None else weight)).mean()
        assert list(found) == [""]
        torch.testing.assert_close(found[""].detach(), expected)


def test_evaluation_is_that_of_all_images_and_leaves_the_mode_as_it_was(
    chosen: Settings,
) -> None:
    model = phase.build(chosen, task(classes=3)).train()
    count = 2 * EVALUATION_BATCH + 3
    images = torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 3
    batches = [Batch(images[:20], labels[:20]), Batch(images[20:], labels[20:])]
    found = phase.evaluate(model, batches, task(classes=3))
    with torch.inference_mode():
        expected = metrics.sums(model.eval()(images), labels)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5)
    assert not phase.evaluate(model, [], task(classes=3))["n"].any()
    assert not model.training
    phase.evaluate(model.train(), batches, task(classes=3))
    assert model.training


def test_validation_reads_batch_by_batch(chosen: Settings) -> None:
    site = FakeSite([0, 1] * EVALUATION_BATCH)
    sizes = [len(batch.image) for batch in phase.validation(site, chosen, task())]
    assert sizes == [EVALUATION_BATCH] * 2


def test_score_is_auroc_else_balanced_accuracy_else_nan() -> None:
    both = metrics.sums(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    one = metrics.sums(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    none = metrics.sums(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert phase.score(both) == 1
    assert phase.score(one) == 0.5
    assert np.isnan(phase.score(none))
    assert np.isnan(phase.score({}))


def test_the_phase_is_found_and_has_no_last_word() -> None:
    found = load("classification")
    assert found is phase.PHASE
    assert found.name == "classification"
    assert found.finish is None


def test_training_learns_what_can_be_learnt(chosen: Settings) -> None:
    """Two hundred steps tell light from dark discs, on images that were never shown."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    images = torch.rand(40, 1, SIDE, SIDE, generator=generator) * 0.2 + 0.4
    images[:, :, 5:11, 5:11] += (labels * 2 - 1)[:, None, None, None] * 0.15
    view = FakeSite(labels[:20].tolist()).view("train")
    site = KnownSite(view._replace(images=Pixels(quantised(images[:20]))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = phase.build(chosen, task()).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for number in range(1, 6):
        for batch in phase.train(site, chosen, task(number=number)):
            optimiser.zero_grad()
            torch.autograd.backward(phase.loss(model, batch, chosen, generator)[""])
            optimiser.step()
    unseen = [Batch(images[20:], labels[20:])]
    assert phase.score(phase.evaluate(model, unseen, task())) > 0.95


def test_a_mended_image_goes_back_to_what_was_acquired_further_and_further(
    chosen: Settings,
) -> None:
    site, arm = FakeSite([0, 1] * 8, [True] * 16), "imputed"

    def back(as_acquired: float, number: int = 3) -> Tensor:
        """Return how far each image that a round of 80 epochs shows has gone back, in its order."""
        found = with_classification(chosen, as_acquired=as_acquired, epochs=80)
        shown = phase.train(site, found, task(arm, number=number))
        means = torch.cat([batch.image for batch in shown]).mean(dim=(1, 2, 3))
        return (means - IMPUTED) / (NOISY - IMPUTED)

    assert float(back(0.0).abs().max()) < 0.1  # the augmentation moves grey values a little
    # In round r of 3 the largest share goes from (r - 1) / 3 to r / 3; half of it is the mean.
    for number in (1, 2, 3):
        for largest in (0.5, 1.0):
            mean = largest * (number - 0.5) / 3 / 2
            assert float(back(largest, number).mean()) == pytest.approx(mean, abs=0.02)
    first, last = back(1.0).tensor_split(2)
    assert float(first.mean()) == pytest.approx(0.75 / 2, abs=0.03)
    assert float(last.mean()) == pytest.approx(11 / 12 / 2, abs=0.03)
    assert float(last.max()) > 0.9
    # In the tests whatever mends its images mends them all, and wholly.
    always = with_classification(chosen, as_acquired=1.0)
    assert shown(iter(phase.tests(site, always, task(arm))["noisy"])) == {IMPUTED}


class Doubtful(FakeSite):
    """Believes half of what it has mended."""

    def mended(self, name: str, by: str) -> Mended:
        made = super().mended(name, by)
        return made._replace(confidence=made.confidence * 0.5)


@pytest.mark.parametrize(
    ("weighting", "noisy", "wanted"),
    [
        ("even", 12, (1.0, 1.0)),
        ("balanced", 12, (1 / 3, 3.0)),
        ("balanced", 4, (1 / 3, 11 / 9)),
        ("balanced", 15, (8 / 15, 8.0)),  # the one that is not mended, eight times as often
        ("balanced", 16, (1.0, 1.0)),
        ("confidence", 8, (1.0, 1.0)),
    ],
)
def test_how_often_mended_images_are_shown(
    chosen: Settings, weighting: str, noisy: int, wanted: tuple[float, float]
) -> None:
    flagged = [place < noisy for place in range(16)]
    made = select(Doubtful([0, 1] * 8, flagged), "train", chosen, task("imputed"))
    group = with_classification(chosen, weighting=weighting).classification
    often = phase.frequency(made, group)
    assert often[made.kept].mean() == pytest.approx(1)
    assert often.tolist() == pytest.approx([wanted[0] if each else wanted[1] for each in flagged])
    # A round does what was said, as far as its length allows.
    order = phase.rows_in_order(made, group, 4 * 48, "site", task("imputed"))
    assert np.bincount(order, minlength=16) == pytest.approx(12 * often, abs=2, rel=0.05)
    # What is not mended stays where it was.
    even = phase.sequence(made.labelled, made.kept, 4 * 48, "site", task("imputed"))
    assert (order[even >= noisy] == even[even >= noisy]).all()
    raw = select(Doubtful([0, 1] * 8, flagged), "train", chosen, task("raw"))
    assert (phase.frequency(raw, group) == 1).all()


def test_how_much_a_mended_image_counts_for(chosen: Settings) -> None:
    flagged = [True, False] * 8
    made = select(Doubtful([0, 1] * 8, flagged), "train", chosen, task("imputed"))
    for weighting, wanted in (("even", 1.0), ("balanced", 1.0), ("confidence", 0.5)):
        group = with_classification(chosen, weighting=weighting).classification
        counts = phase.trust(made, group)
        assert float(counts.mean()) == pytest.approx(1)
        assert float(counts[0] / counts[1]) == pytest.approx(wanted)


def test_class_weights_go_by_what_is_shown() -> None:
    labels, often = np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 1.0, 3.0])
    assert phase.class_weights(labels, 2, often).tolist() == [1.0, 1.0]
    assert phase.class_weights(labels, 2).tolist() == pytest.approx([2 / 3, 2])


def test_hopeless_images_are_left_out_of_training_and_kept_in_the_tests(chosen: Settings) -> None:
    class Hopeless(FakeSite):
        def mended(self, name: str, by: str) -> Mended:
            made = super().mended(name, by)
            return made._replace(dropped=np.arange(len(made.dropped)) == 0)

    site = Hopeless([0, 1, 0, 1], [True, True, False, False])
    assert select(site, "train", chosen, task("imputed")).kept.tolist() == [1, 2, 3]
    assert select(site, "test-noisy", chosen, task("imputed")).kept.tolist() == [0, 1, 2, 3]
    assert phase.size(site, chosen, task("imputed")) == 3
    assert phase.size(site, chosen, task("raw")) == 4
