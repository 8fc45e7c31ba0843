"""What every registered noise keeps to."""

import importlib
import random
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise

SHAPES = [(1, 64, 64), (3, 33, 47), (1, 16, 120)]
BAD = {float: ["nonsense", "nan", "inf", ""], Range: ["nonsense", "nan", "0..inf", "1..0"], str: []}
every_noise = pytest.mark.parametrize("name", NOISES.names())


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=drawn(7)) * 0.8 + 0.1


def equal(one: Corrupted, other: Corrupted) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@every_noise
def test_zero_strength_is_identity(name: str) -> None:
    identity: str = importlib.import_module(f"imputation.noise.{name}").IDENTITY
    assert identity.startswith(name)
    noise: Noise = NOISES.build(identity)
    image = picture((3, 33, 47))
    done = noise(image, drawn(0))
    assert torch.equal(done.image, image)
    assert done.image.data_ptr() != image.data_ptr()
    assert not done.hole.any()
    assert not done.sigma.any()


@every_noise
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_dtype_and_range_hold(name: str, shape: tuple[int, int, int]) -> None:
    noise: Noise = NOISES.build(name)
    for seed in range(5):
        done = noise(picture(shape), drawn(seed))
        assert done.image.shape == shape
        assert done.hole.shape == done.sigma.shape == (1, *shape[1:])
        assert {part.dtype for part in done} == {torch.float32}
        assert 0 <= float(done.image.min()) <= float(done.image.max()) <= 1
        assert set(done.hole.flatten().tolist()) <= {0.0, 1.0}
        assert float(done.sigma.min()) >= 0


@every_noise
def test_only_what_is_said_to_change_changes(name: str) -> None:
    noise: Noise = NOISES.build(name)
    image = picture((3, 33, 47))
    done = noise(image, drawn(1))
    kept = ((done.hole == 0) & (done.sigma == 0)).expand_as(image)
    assert torch.equal(done.image[kept], image[kept])


@every_noise
def test_same_seed_same_output(name: str) -> None:
    noise: Noise = NOISES.build(name)
    image = picture((1, 64, 64))
    assert equal(noise(image, drawn(3)), noise(image, drawn(3)))


@every_noise
def test_leaves_the_input_and_the_global_generators_alone(name: str) -> None:
    noise: Noise = NOISES.build(name)
    image = picture((1, 64, 64))
    before = image.clone()
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    noise(image, drawn(0))
    assert torch.equal(image, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


@every_noise
def test_refuses_bad_parameters_by_name(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        NOISES.build(f"{name}(nonsense=1)")
    for key, parameter in NOISES.parameters(name).items():
        for value in BAD.get(parameter.annotation, ["nonsense"]):
            with pytest.raises(SpecError, match=key):
                NOISES.build(f"{name}({key}={value})")


@every_noise
def test_a_generator_goes_on_to_another_draw(name: str) -> None:
    noise: Noise = NOISES.build(name)
    generator = drawn(5)
    image = picture((1, 64, 64))
    first, second = noise(image, generator), noise(image, generator)
    assert torch.equal(first.image, second.image) == (name == "none")


@every_noise
def test_equal_channels_lose_the_same_to_the_same(name: str) -> None:
    noise: Noise = NOISES.build(name)
    done = noise(picture((1, 64, 64)).expand(3, 64, 64), drawn(5))
    lost = done.hole[0] > 0
    for other in (1, 2):
        assert torch.equal(done.image[0][lost], done.image[other][lost])


@every_noise
def test_costs_little(name: str) -> None:
    """Below 1 ms at 64 pixels on an idle core; the bound leaves room for a busy one."""
    noise: Noise = NOISES.build(name)
    image = picture((1, 64, 64))
    best = float("inf")
    for seed in range(30):
        generator = drawn(seed)
        start = time.perf_counter()
        noise(image, generator)
        best = min(best, time.perf_counter() - start)
    assert best < 3e-3
