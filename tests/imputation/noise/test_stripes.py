import pytest
import torch

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("offset", "gain", "level"), [(0.05, 0, 0.5), (0, 0.1, 0.5), (0.03, 0.1, 0.4), (0.03, 0.1, 0.2)]
)
def test_lines_deviate_as_sigma_says(offset: float, gain: float, level: float) -> None:
    noise: Noise = NOISES.build(
        f"stripes(offset={offset}, gain={gain}, dead=0, direction=horizontal)"
    )
    done = noise(torch.full((1, 8000, 4), level), drawn(0))
    wanted = (offset**2 + (gain * level) ** 2) ** 0.5
    lines = done.image[0, :, 0] - level
    assert float(lines.std()) == pytest.approx(wanted, rel=0.03)
    assert float(lines.mean()) == pytest.approx(0, abs=4 * wanted / 8000**0.5)
    assert done.sigma.numpy() == pytest.approx(wanted, rel=1e-5)
    assert not done.hole.any()


def test_gain_and_offset_are_the_lines_own() -> None:
    """Along a line, what is added is linear in the grey value and the same in all channels."""
    ramp = torch.linspace(0.4, 0.6, 50).expand(3, 40, 50)
    noise: Noise = NOISES.build("stripes(offset=0.02, gain=0.05, dead=0, direction=horizontal)")
    added = noise(ramp, drawn(0)).image - ramp
    assert torch.equal(added[0], added[1])
    assert torch.equal(added[0], added[2])
    bends = added[0].diff(dim=1).diff(dim=1)
    assert torch.allclose(bends, torch.zeros_like(bends), atol=1e-6)
    assert float((added[0, :, -1] - added[0, :, 0]).std()) == pytest.approx(0.2 * 0.05, rel=0.4)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_direction(direction: str) -> None:
    noise: Noise = NOISES.build(f"stripes(dead=0.3, direction={direction})")
    done = noise(torch.full((3, 40, 60), 0.5), drawn(0))
    along, across = (2, 1) if direction == "horizontal" else (1, 2)
    for part in done:
        assert not part.diff(dim=along).any()
    assert done.image.diff(dim=across).any()


def test_a_random_direction_is_either_equally_often() -> None:
    noise: Noise = NOISES.build("stripes")
    generator = drawn(0)
    image = torch.full((1, 16, 16), 0.5)
    rows = sum(not noise(image, generator).image.diff(dim=2).any() for _ in range(400))
    assert 160 < rows < 240


def test_dead_lines_are_holes_without_sigma() -> None:
    noise: Noise = NOISES.build("stripes(dead=0.1, direction=vertical)")
    image = torch.rand(3, 4, 4000) * 0.6 + 0.3
    done = noise(image, drawn(0))
    dead = done.hole[0, 0] > 0
    assert float(dead.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert not done.image[:, :, dead].any()
    assert not done.sigma[:, :, dead].any()
    assert bool((done.sigma[:, :, ~dead] > 0).all())


def test_sigma_is_the_root_mean_square_over_channels() -> None:
    image = torch.tensor([0.2, 0.5, 0.7])[:, None, None].expand(3, 8000, 2)
    noise: Noise = NOISES.build("stripes(offset=0.02, gain=0.1, dead=0, direction=horizontal)")
    done = noise(image, drawn(0))
    measured = (done.image - image).square().mean().sqrt()
    assert float(done.sigma[0, 0, 0]) == pytest.approx(float(measured), rel=0.03)


def test_dead_lines_can_be_bright() -> None:
    noise: Noise = NOISES.build("stripes(offset=0, gain=0, dead=0.5, fill=one)")
    done = noise(torch.full((1, 40, 40), 0.5), drawn(0))
    assert set(done.image[done.hole > 0].tolist()) == {1.0}
    assert set(done.image[done.hole == 0].tolist()) == {0.5}


@pytest.mark.parametrize("name", ["offset", "gain", "dead"])
@pytest.mark.parametrize("value", ["-0.1", "0..1.5"])
def test_refuses(name: str, value: str) -> None:
    with pytest.raises(SpecError, match=f"{name} must be a number or range from 0 to 1"):
        NOISES.build(f"stripes({name}={value})")
