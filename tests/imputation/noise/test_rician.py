import math

import pytest
import torch

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise
from imputation.noise.rician import rician_variance


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("snr", [0.0, 0.5, 1.0, 2.0, 5.0, 20.0])
def test_sigma_is_the_standard_deviation(snr: float) -> None:
    noise: Noise = NOISES.build("rician(std=0.02)")
    image = torch.full((1, 300, 300), 0.02 * snr)
    done = noise(image, drawn(0))
    assert float(done.sigma.max()) == pytest.approx(float(done.image.std()), rel=0.015)
    assert not done.hole.any()


def test_background_is_rayleigh() -> None:
    noise: Noise = NOISES.build("rician(std=0.1)")
    done = noise(torch.zeros(1, 300, 300), drawn(0))
    assert float(done.image.mean()) == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.01)
    assert float(done.sigma[0, 0, 0]) == pytest.approx(0.1 * math.sqrt(2 - math.pi / 2), rel=1e-5)


def test_second_moment_is_that_of_signal_and_noise() -> None:
    noise: Noise = NOISES.build("rician(std=0.1)")
    done = noise(torch.full((1, 300, 300), 0.3), drawn(0))
    assert float(done.image.square().mean()) == pytest.approx(0.3**2 + 2 * 0.1**2, rel=0.01)


def test_high_snr_is_gaussian() -> None:
    noise: Noise = NOISES.build("rician(std=0.01)")
    image = torch.full((1, 300, 300), 0.5)
    error = (noise(image, drawn(0)).image - image) / 0.01
    assert float(error.mean()) == pytest.approx(0.01, abs=0.014)  # std / (2 x): the bias left
    assert float((error.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.006)


def test_variance_rises_steadily_to_that_of_the_gaussian() -> None:
    variance = rician_variance(torch.logspace(-3, 9, 2000))
    assert float(variance[0]) == pytest.approx(2 - math.pi / 2, rel=1e-5)
    assert bool((variance.diff() >= -1e-6).all())
    assert float(variance[-1]) == pytest.approx(1, abs=1e-6)


def test_channels_get_noise_of_their_own() -> None:
    noise: Noise = NOISES.build("rician(std=0.05)")
    done = noise(torch.full((3, 100, 100), 0.5), drawn(0))
    together = torch.corrcoef(done.image.flatten(1)) - torch.eye(3)
    assert float(together.abs().max()) < 0.04


def test_sigma_is_the_root_mean_square_over_channels() -> None:
    noise: Noise = NOISES.build("rician(std=0.1)")
    image = torch.tensor([0.0, 0.1, 0.5])[:, None, None].expand(3, 200, 200)
    done = noise(image, drawn(0))
    measured = done.image.flatten(1).var(1).mean().sqrt()
    assert float(done.sigma[0, 0, 0]) == pytest.approx(float(measured), rel=0.02)


@pytest.mark.parametrize("std", ["-0.1", "0..2", "1.5"])
def test_refuses(std: str) -> None:
    with pytest.raises(SpecError, match="std must be a number or range from 0 to 1"):
        NOISES.build(f"rician(std={std})")
