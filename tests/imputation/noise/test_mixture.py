from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Corrupted, Noise
from imputation.noise.mixture import Chain, from_spec


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


@pytest.mark.parametrize("text", ["", "nonsense", "gaussian(std=x)", "none()+", "none||none"])
def test_refuses(text: str) -> None:
    with pytest.raises(SpecError):
        from_spec(text)
