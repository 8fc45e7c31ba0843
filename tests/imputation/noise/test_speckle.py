import math

import pytest
import torch

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("std", [0.001, 0.05, 0.2, 0.5])
def test_mean_and_deviation(std: float) -> None:
    noise: Noise = NOISES.build(f"speckle(std={std})")
    image = torch.full((1, 300, 300), 0.2)
    done = noise(image, drawn(0))
    assert float(done.image.mean()) == pytest.approx(0.2, rel=4 * std / 300)
    assert float(done.image.std()) == pytest.approx(0.2 * std, rel=0.02)
    assert done.sigma.numpy() == pytest.approx(0.2 * std, rel=1e-5)
    assert not done.hole.any()


def test_factor_is_gamma_distributed() -> None:
    """Four looks: the skewness is 2 / sqrt(4), and the distribution function is closed."""
    noise: Noise = NOISES.build("speckle(std=0.5)")
    factor = noise(torch.full((1, 300, 300), 0.1), drawn(0)).image.double() / 0.1
    standard = (factor - factor.mean()) / factor.std()
    assert float(standard.pow(3).mean()) == pytest.approx(1, abs=0.06)
    for limit in (0.5, 1.0, 2.0):
        tail = sum((4 * limit) ** k / math.factorial(k) for k in range(4)) * math.exp(-4 * limit)
        assert float((factor > limit).double().mean()) == pytest.approx(tail, abs=0.007)


def test_fully_developed_speckle_is_exponential() -> None:
    noise: Noise = NOISES.build("speckle(std=1)")
    done = noise(torch.full((1, 300, 300), 0.1), drawn(0))
    assert float((done.image > 0.2).float().mean()) == pytest.approx(math.exp(-2), abs=0.005)


def test_all_channels_meet_the_same_factor() -> None:
    noise: Noise = NOISES.build("speckle(std=0.1)")
    image = torch.tensor([0.1, 0.2, 0.4])[:, None, None].expand(3, 100, 100)
    done = noise(image, drawn(0))
    factors = done.image / image
    assert torch.allclose(factors[0], factors[1])
    assert torch.allclose(factors[0], factors[2])
    measured = (done.image - image).square().mean().sqrt()
    assert float(done.sigma[0, 0, 0]) == pytest.approx(float(measured), rel=0.03)


def test_neighbours_are_independent() -> None:
    noise: Noise = NOISES.build("speckle(std=0.3)")
    plane = noise(torch.full((1, 200, 200), 0.2), drawn(0)).image[0]
    for one, other in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
        pair = torch.stack((one.flatten(), other.flatten()))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.02


def test_images_of_one_generator_differ() -> None:
    noise: Noise = NOISES.build("speckle")
    generator = drawn(0)
    image = torch.full((1, 20, 20), 0.5)
    assert not torch.equal(noise(image, generator).image, noise(image, generator).image)


def test_what_float32_cannot_tell_is_identity() -> None:
    image = torch.rand(1, 40, 40)
    noise: Noise = NOISES.build("speckle(std=1e-300)")
    assert torch.equal(noise(image, drawn(0)).image, image)


@pytest.mark.parametrize("std", ["-0.1", "0..2", "1.5"])
def test_refuses(std: str) -> None:
    with pytest.raises(SpecError, match="std must be a number or range from 0 to 1"):
        NOISES.build(f"speckle(std={std})")
