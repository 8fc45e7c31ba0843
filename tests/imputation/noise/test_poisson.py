import pytest
import torch

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("level", [0.1, 0.5])
@pytest.mark.parametrize("gain", [1e-6, 1e-4, 0.005])
def test_mean_and_variance_are_those_of_photons(gain: float, level: float) -> None:
    noise: Noise = NOISES.build(f"poisson(gain={gain})")
    image = torch.full((1, 300, 300), level)
    done = noise(image, drawn(0))
    wanted = (gain * level) ** 0.5
    error = (done.image - image).double()
    assert float(error.mean()) == pytest.approx(0, abs=4 * wanted / 300)
    assert float(error.std()) == pytest.approx(wanted, rel=0.02)
    assert done.sigma.numpy() == pytest.approx(wanted, rel=1e-4)
    assert not done.hole.any()


def test_values_are_whole_photons() -> None:
    noise: Noise = NOISES.build("poisson(gain=0.25)")
    done = noise(torch.rand(3, 40, 40), drawn(0))
    assert set(done.image.flatten().tolist()) == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_single_photons_come_as_often_as_poisson_says() -> None:
    noise: Noise = NOISES.build("poisson(gain=1)")
    done = noise(torch.full((1, 300, 300), 0.7), drawn(0))
    none = float((done.image == 0).float().mean())
    assert none == pytest.approx(torch.tensor(-0.7).exp().item(), abs=0.007)


def test_darkness_stays_dark() -> None:
    noise: Noise = NOISES.build("poisson(gain=0.1)")
    done = noise(torch.zeros(1, 40, 40), drawn(0))
    assert not done.image.any()
    assert not done.sigma.any()


def test_channels_count_photons_of_their_own() -> None:
    noise: Noise = NOISES.build("poisson(gain=0.01)")
    done = noise(torch.full((3, 100, 100), 0.3), drawn(0))
    together = torch.corrcoef(done.image.flatten(1)) - torch.eye(3)
    assert float(together.abs().max()) < 0.04


def test_sigma_is_the_root_mean_square_over_channels() -> None:
    noise: Noise = NOISES.build("poisson(gain=0.001)")
    image = torch.tensor([0.1, 0.3, 0.8])[:, None, None].expand(3, 200, 200)
    done = noise(image, drawn(0))
    measured = (done.image - image).square().mean().sqrt()
    assert float(done.sigma[0, 0, 0]) == pytest.approx(float(measured), rel=0.02)


def test_gain_is_drawn_per_image() -> None:
    noise: Noise = NOISES.build("poisson(gain=0.01..0.03)")
    generator = drawn(0)
    image = torch.ones(1, 4, 4)
    gains = torch.tensor([float(noise(image, generator).sigma.max()) ** 2 for _ in range(400)])
    assert 0.01 <= float(gains.min()) < 0.011
    assert 0.029 < float(gains.max()) <= 0.03
    assert float(gains.mean()) == pytest.approx(0.02, abs=0.001)


def test_more_photons_than_float32_can_tell_is_identity() -> None:
    image = torch.rand(1, 40, 40)
    noise: Noise = NOISES.build("poisson(gain=1e-300)")
    assert torch.equal(noise(image, drawn(0)).image, image)


@pytest.mark.parametrize("gain", ["-0.1", "0..2", "1.5"])
def test_refuses(gain: str) -> None:
    with pytest.raises(SpecError, match="gain must be a number or range from 0 to 1"):
        NOISES.build(f"poisson(gain={gain})")
