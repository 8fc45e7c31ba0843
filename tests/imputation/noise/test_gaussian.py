import pytest
import torch

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise


def test_adds_what_it_says() -> None:
    noise: Noise = NOISES.build("gaussian(std=0.05)")
    image = torch.full((1, 128, 128), 0.5)
    done = noise(image, torch.Generator().manual_seed(0))
    added = done.image - image
    assert float(added.std()) == pytest.approx(0.05, rel=0.02)
    assert float(added.mean()) == pytest.approx(0, abs=0.002)
    assert torch.equal(done.sigma, torch.full((1, 128, 128), 0.05))
    assert not done.hole.any()


def test_channels_get_noise_of_their_own() -> None:
    noise: Noise = NOISES.build("gaussian")
    done = noise(torch.full((3, 64, 64), 0.5), torch.Generator().manual_seed(0))
    red, green = done.image[0].flatten(), done.image[1].flatten()
    assert abs(float(torch.corrcoef(torch.stack((red, green)))[0, 1])) < 0.06


def test_std_is_drawn_uniformly_from_its_range() -> None:
    noise: Noise = NOISES.build("gaussian(std=0.1..0.5)")
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 4, 4)
    stds = torch.tensor([float(noise(image, generator).sigma[0, 0, 0]) for _ in range(500)])
    assert 0.1 <= float(stds.min()) < 0.12
    assert 0.48 < float(stds.max()) <= 0.5
    assert float(stds.mean()) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("std", ["-0.1", "-0.1..0.2", "0.5..0.1"])
def test_refuses(std: str) -> None:
    with pytest.raises(SpecError, match="std"):
        NOISES.build(f"gaussian(std={std})")
