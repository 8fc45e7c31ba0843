from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fedmend import plugins
from fedmend.phase import Batch
from fedmend.settings import Settings
from fedmend.wire import Task
from imputation import lessons, quality
from imputation.denoisers.base import Restored
from imputation.noise import mixture
from imputation.phase import PHASE
from tests.imputation.fakes import FakeSite, Painter

TASK = Task("r", "imputation", "", 1, 1, 0, ("a", "b"))


def settings(learn: str = "missing", noise: str = "gaussian(std=0.2)", epochs: int = 1) -> Settings:
    return Settings.parse(
        {
            "image-size": 16,
            "noise": noise,
            "imputation": {"self-supervised": learn, "batch-size": 4, "epochs": epochs},
        }
    )


def smooth(count: int, side: int = 16) -> Tensor:
    coarse = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    made: Tensor = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return made.clamp(0, 1)


def site(count: int, clean: int) -> FakeSite:
    return FakeSite(smooth(count), [place >= clean for place in range(count)])


def test_an_epoch_has_as_many_steps_however_few_images_are_clean() -> None:
    for clean in (10, 3, 1):
        made = list(lessons.batches(site(10, clean), settings(epochs=2), TASK))
        assert [len(batch.image) for batch in made] == [4] * 6
        assert all(batch.known for batch in made)


def test_clean_images_come_equally_often_and_each_time_under_other_noise() -> None:
    fake = site(12, 6)
    made = list(lessons.batches(fake, settings(epochs=2), TASK))
    targets = torch.cat([batch.target for batch in made])
    shown = torch.cat([batch.image for batch in made])
    clean = fake.view("train").images.take(range(6))
    times = [int((targets == image).all(dim=(1, 2, 3)).sum()) for image in clean]
    assert times == [4] * 6
    assert len({image.numpy().tobytes() for image in shown}) == len(shown)


def test_the_same_task_gives_the_same_lessons_and_another_round_others() -> None:
    fake, chosen = site(8, 5), settings()
    first, again = (list(lessons.batches(fake, chosen, TASK)) for _ in range(2))
    other = list(lessons.batches(fake, chosen, TASK._replace(round=2)))
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a.image, b.image) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("learn", "clean", "known"),
    [
        ("never", 3, {True}),
        ("missing", 3, {True}),
        ("missing", 0, {False}),
        ("always", 4, {True, False}),
        ("always", 8, {True}),
    ],
)
def test_who_learns_from_noisy_images(learn: str, clean: int, known: set[bool]) -> None:
    fake, chosen = site(8, clean), settings(learn)
    assert {batch.known for batch in lessons.batches(fake, chosen, TASK)} == known
    assert PHASE.size(fake, chosen, TASK) == (8 if known != {True} or clean == 8 else clean)


@pytest.mark.parametrize(
    ("clean", "count", "both"),
    [(1, 200, True), (3, 34, True), (3, 33, False), (4, 200, False), (1, 5, False)],
)
def test_next_to_no_clean_images_are_not_all_that_is_learnt_from(
    clean: int, count: int, both: bool
) -> None:
    """Fewer than fill a batch of 4, and more than ten noisy ones to each of them."""
    fake, chosen = site(count, clean), settings()
    assert PHASE.size(fake, chosen, TASK) == (count if both else clean)
    # No site of noisy images may be ruled by one that is taken for clean by mistake.
    assert len(lessons.noisy_rows(fake.view("train"), chosen)) == (count - clean) * both
    assert len(lessons.noisy_rows(fake.view("train"), settings("never"))) == 0


@pytest.mark.parametrize(("learn", "clean", "share"), [
    ("missing", 1, 1 / 8), ("missing", 3, 3 / 8), ("always", 3, 3 / 8), ("always", 40, 1 / 2),
])  # fmt: skip
def test_clean_images_have_fewer_steps_where_they_do_not_fill_a_batch(
    learn: str, clean: int, share: float
) -> None:
    fake, chosen = site(80, clean), settings(learn)
    known = [
        batch.known
        for number in range(4)
        for batch in lessons.batches(fake, chosen, TASK._replace(round=number))
    ]
    assert len(known) == 4 * 20
    assert sum(known) == pytest.approx(share * len(known), abs=4)  # one step a round


def test_a_site_without_anything_to_learn_from_has_no_steps() -> None:
    fake = site(8, 0)
    assert list(lessons.batches(fake, settings("never"), TASK)) == []
    assert PHASE.size(fake, settings("never"), TASK) == 0
    assert list(lessons.batches(site(0, 0), settings(), TASK)) == []


def test_halves_are_two_different_neighbours_of_each_cell() -> None:
    number = torch.arange(2 * 5 * 6).float().view(1, 2, 5, 6)  # an odd row is left out
    first, second = lessons.halves(number, torch.Generator().manual_seed(0))
    assert first.shape == second.shape == (1, 2, 2, 3)
    apart = (first - second).abs()
    assert set(torch.unique(apart).tolist()) <= {1.0, 6.0}  # beside or below, never across
    rows, columns = first % 30 // 6, first % 6
    cells = torch.arange(2).view(2, 1), torch.arange(3).view(1, 3)
    assert torch.equal((rows // 2)[0, 0], cells[0].expand(2, 3).float())
    assert torch.equal((columns // 2).floor()[0, 0], cells[1].expand(2, 3).float())
    assert torch.equal(first[0, 0] + 30, first[0, 1])  # the same place in all channels


def corrupted(clean: Tensor, noise: str) -> tuple[Tensor, Tensor]:
    """Return noisy images and where their holes are."""
    corrupt = mixture.from_spec(noise)
    made = [corrupt(image, torch.Generator().manual_seed(n)) for n, image in enumerate(clean)]
    return torch.stack([each.image for each in made]), torch.stack([each.hole for each in made])


def taught(noisy: Tensor, chosen: Settings) -> nn.Module:
    """Return a network that has learnt from noisy images alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = plugins.DENOISERS.build("unet(first=8, width=16)", 1)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for batch in lessons.batches(FakeSite(noisy, [True] * len(noisy)), chosen, TASK):
        (loss,) = PHASE.loss(model, batch, chosen, torch.Generator()).values()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


def test_a_site_of_noisy_images_alone_teaches_denoising() -> None:
    """Without a clean image the reconstruction comes nearer to what no network has seen."""
    clean = smooth(48, 32)
    noisy, _ = corrupted(clean, "gaussian(std=0.2)")
    model = taught(noisy, settings(epochs=12))
    with torch.no_grad():
        made = model(noisy).image
    gain = quality.psnr(made, clean) - quality.psnr(noisy, clean)
    assert float(gain.mean()) > 5  # dB


@pytest.mark.parametrize("noise", ["strokes()", "blocks()"])
def test_holes_that_were_there_before_are_found(noise: str) -> None:
    """All images have some, and only those that are drawn anew are known."""
    clean = 0.3 + 0.7 * smooth(48, 32)
    noisy, hole = corrupted(clean, noise)
    model = taught(noisy, settings(noise=noise, epochs=12))
    with torch.no_grad():
        found = model(noisy).hole > 0
    assert float(found[hole > 0].float().mean()) > 0.85  # else 0.7
    assert float(found[hole == 0].float().mean()) < 0.05


class Answering(Painter):
    """Answers the same map of holes everywhere."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(logit))

    def forward(self, noisy: Tensor) -> Restored:
        made = super().forward(noisy)
        return made._replace(hole=self.logit + torch.zeros_like(made.hole))


def pull(logit: float, drawn: float, known: bool = False) -> float:
    """Return where the loss moves the logit of pixels alike, ``drawn`` of which are known holes."""
    model = Answering(logit)
    hole = (torch.arange(100) < 100 * drawn).float().view(1, 1, 10, 10)
    grey = torch.full((1, 1, 10, 10), 0.5)
    batch = Batch(grey, grey, hole=hole, sigma=torch.ones_like(grey), known=known)
    (loss,) = PHASE.loss(model, batch, settings(), torch.Generator()).values()
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.logit.grad is not None
    return -float(model.logit.grad)


def test_no_pixel_is_intact_for_not_being_in_a_drawn_hole() -> None:
    """Of what looks like a hole, a little more than half are drawn: all of it is one then."""
    assert all(pull(logit, 0.6) > 0 for logit in (-5.0, 0.0, 5.0))
    assert pull(2.0, 0.6, known=True) < 0  # where all others are known to be intact, it is not
    # A third drawn: 0.33 / 0.6 = 0.55 of them are holes.
    assert pull(0.1, 0.33) > 0 > pull(0.3, 0.33)


@pytest.mark.parametrize("logit", [-8.0, 0.0, 8.0])
def test_neither_holes_everywhere_nor_nowhere_are_an_answer(logit: float) -> None:
    """Of pixels alike, 15 in 100 were drawn: a quarter are holes."""
    aim = math.log(0.25 / 0.75)
    assert pull(logit, 0.15) * (aim - logit) > 0
    assert pull(aim, 0.15) == pytest.approx(0, abs=1e-6)


def test_holes_in_noisy_targets_teach_nothing() -> None:
    target = torch.full((1, 1, 8, 8), 0.5)
    target[..., :4] = 1.0  # the painter takes white for a hole
    batch = Batch(target.clone(), target, hole=torch.zeros(1, 1, 8, 8), known=False)
    (hidden,) = PHASE.loss(Painter(), batch, settings(), torch.Generator()).values()
    plain = batch._replace(target=torch.full_like(target, 0.5))
    (seen,) = PHASE.loss(Painter(), plain, settings(), torch.Generator()).values()
    assert float(hidden.detach()) == pytest.approx(float(seen.detach()), abs=0.01)
