import math

import pytest
import torch

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
@pytest.mark.parametrize("salt", [0.0, 0.3, 1.0])
def test_shares_of_salt_and_pepper(share: float, salt: float) -> None:
    noise: Noise = NOISES.build(f"saltpepper(share={share}, salt={salt})")
    done = noise(torch.full((1, 300, 300), 0.5), drawn(0))
    for value, wanted in ((1.0, share * salt), (0.0, share * (1 - salt))):
        found = float((done.image == value).float().mean())
        assert found == pytest.approx(wanted, abs=5 * math.sqrt(wanted * (1 - wanted)) / 300)
    assert torch.equal(done.hole > 0, done.image != 0.5)
    assert not done.sigma.any()


def test_share_is_drawn_per_image() -> None:
    noise: Noise = NOISES.build("saltpepper(share=0.1..0.3)")
    generator = drawn(0)
    image = torch.full((1, 64, 64), 0.5)
    shares = torch.tensor([float(noise(image, generator).hole.mean()) for _ in range(200)])
    assert 0.08 < float(shares.min()) < 0.12
    assert 0.28 < float(shares.max()) < 0.32
    assert float(shares.mean()) == pytest.approx(0.2, abs=0.015)


def test_channels_lose_the_same_pixels_to_the_same_value() -> None:
    noise: Noise = NOISES.build("saltpepper(share=0.2)")
    image = torch.rand(3, 50, 50) * 0.8 + 0.1
    done = noise(image, drawn(0))
    lost = done.hole[0] > 0
    assert set(done.image[0][lost].tolist()) == {0.0, 1.0}
    assert torch.equal(done.image[0][lost], done.image[1][lost])
    assert torch.equal(done.image[0][lost], done.image[2][lost])
    assert torch.equal(done.image[:, ~lost], image[:, ~lost])


def test_a_pixel_that_was_black_already_counts_as_lost() -> None:
    noise: Noise = NOISES.build("saltpepper(share=0.2, salt=0)")
    done = noise(torch.zeros(1, 100, 100), drawn(0))
    assert float(done.hole.mean()) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("value", ["-0.1", "1.5"])
def test_refuses(value: str) -> None:
    with pytest.raises(SpecError, match="share must be a number or range from 0 to 1"):
        NOISES.build(f"saltpepper(share={value})")
    with pytest.raises(SpecError, match="salt must be a number from 0 to 1"):
        NOISES.build(f"saltpepper(salt={value})")
