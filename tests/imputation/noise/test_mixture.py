from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Corrupted, Noise
from imputation.noise.mixture import Chain, Mixture, from_spec


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Fixed:
    """Adds nothing, but says that it did something known."""

    hole: float
    sigma: float

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        plane = torch.ones(1, *image.shape[1:])
        return Corrupted(image.clone(), plane * self.hole, plane * self.sigma)


def said(*terms: Noise) -> tuple[float, float]:
    done = Chain(terms)(torch.rand(1, 2, 2), drawn(0))
    return float(done.hole[0, 0, 0]), float(done.sigma[0, 0, 0])


def test_independent_noises_add_in_variance() -> None:
    assert said(Fixed(0, 0.3), Fixed(0, 0.4)) == pytest.approx((0, 0.5))


def test_a_later_replacement_wipes_out_what_was_added_before() -> None:
    assert said(Fixed(0, 0.3), Fixed(1, 0)) == (1, 0)
    assert said(Fixed(0, 0.3), Fixed(1, 0.2)) == pytest.approx((1, 0.2))


def test_noise_on_top_of_a_hole_leaves_the_hole() -> None:
    assert said(Fixed(1, 0), Fixed(0, 0.3)) == pytest.approx((1, 0.3))


def test_terms_act_left_to_right() -> None:
    image = torch.full((1, 64, 64), 0.5)
    over = from_spec("gaussian(std=0.1)+strokes()")(image, drawn(0))
    under = from_spec("strokes()+gaussian(std=0.1)")(image, drawn(0))
    assert not over.image[over.hole > 0].any()
    assert not over.sigma[over.hole > 0].any()
    assert under.image[under.hole > 0].any()
    assert torch.equal(under.sigma, torch.full_like(under.sigma, 0.1))


def test_a_single_term_is_that_noise() -> None:
    image = torch.rand(3, 20, 30)
    alone: Noise = NOISES.build("strokes")
    for one, other in zip(
        from_spec("strokes")(image, drawn(4)), alone(image, drawn(4)), strict=True
    ):
        assert torch.equal(one, other)


def test_one_chain_is_drawn_per_image_all_equally_likely() -> None:
    noise = from_spec("none | gaussian(std=0.1) | strokes(size=thin)")
    generator = drawn(0)
    image = torch.full((1, 16, 16), 0.5)
    met = {"none": 0, "gaussian": 0, "strokes": 0}
    for _ in range(600):
        done = noise(image, generator)
        met["strokes" if done.hole.any() else "gaussian" if done.sigma.any() else "none"] += 1
    assert all(160 < count < 240 for count in met.values())
    assert sum(met.values()) == 600


@dataclass(frozen=True)
class Counted(Chain):
    """A chain that notes when an image meets it."""

    met: Counter[int]
    number: int

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        self.met[self.number] += 1
        return super().__call__(image, generator)


def test_a_mixture_of_all_kinds_draws_each_about_equally() -> None:
    mixture = from_spec(" | ".join(NOISES.names()))
    assert isinstance(mixture, Mixture)
    met: Counter[int] = Counter()
    counted = [Counted(chain.terms, met, number) for number, chain in enumerate(mixture.chains)]
    generator = drawn(0)
    image = torch.rand(1, 16, 16, generator=generator)
    each = 150
    for _ in range(each * len(counted)):
        Mixture(counted)(image, generator)
    assert sorted(met) == list(range(len(NOISES.names())))
    assert all(abs(count - each) < 50 for count in met.values())  # four standard deviations


def test_photons_on_top_of_strokes() -> None:
    """Dark strokes stay dark and certain, bright ones get the photon noise of white."""
    image = torch.full((1, 200, 200), 0.5)
    dark = from_spec("strokes+poisson(gain=0.001)")(image, drawn(0))
    lost = dark.hole > 0
    assert torch.equal(dark.hole, from_spec("strokes")(image, drawn(0)).hole)
    assert not dark.image[lost].any()
    assert not dark.sigma[lost].any()
    assert dark.sigma[~lost].numpy() == pytest.approx(0.0005**0.5, rel=1e-5)
    assert float((dark.image - image)[~lost].std()) == pytest.approx(0.0005**0.5, rel=0.02)
    bright = from_spec("strokes(fill=one)+poisson(gain=0.001)")(image, drawn(0))
    assert bright.sigma[bright.hole > 0].numpy() == pytest.approx(0.001**0.5, rel=1e-5)


@pytest.mark.parametrize("over", ["saltpepper(share=0.3)", "blocks", "stripes(offset=0,gain=0)"])
def test_what_is_lost_later_is_certain(over: str) -> None:
    image = torch.full((1, 100, 100), 0.5)
    done = from_spec(f"poisson+{over}")(image, drawn(1))
    lost = done.hole > 0
    assert lost.any()
    assert not done.sigma[lost].any()
    assert done.sigma[~lost].numpy() == pytest.approx(0.005**0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "direction"),
    [
        ("gaussian(std=0.03)+speckle(std=0.1)", None),
        ("speckle(std=0.1)+rician(std=0.02)", None),
        ("poisson(gain=0.001)+gaussian(std=0.03)", None),
        ("rician(std=0.02)+poisson(gain=0.002)", None),
        ("stripes(dead=0, direction=vertical)+gaussian(std=0.03)", "vertical"),
    ],
)
def test_sigma_of_a_chain_is_what_is_measured(spec: str, direction: str | None) -> None:
    image = torch.full((1, 40, 8000) if direction else (1, 300, 300), 0.5)
    done = from_spec(spec)(image, drawn(0))
    measured = float((done.image - image).square().mean().sqrt())
    assert float(done.sigma.square().mean().sqrt()) == pytest.approx(measured, rel=0.03)


def test_a_blur_before_the_detector_is_told_apart_from_its_noise() -> None:
    """What the blur did and what was added are independent: their squares add."""
    image = torch.zeros(1, 300, 300)
    image[..., 150:] = 0.5
    done = from_spec("motion(length=0.1)+speckle(std=0.1)")(image + 0.2, drawn(0))
    squared = (done.image - image - 0.2).square()
    for part in (slice(0, 60), slice(120, 180), slice(240, 300)):
        said = float(done.sigma[..., part].square().mean().sqrt())
        assert said == pytest.approx(float(squared[..., part].mean().sqrt()), rel=0.04)


@pytest.mark.parametrize("text", ["", "nonsense", "gaussian(std=x)", "none()+", "none||none"])
def test_refuses(text: str) -> None:
    with pytest.raises(SpecError):
        from_spec(text)
