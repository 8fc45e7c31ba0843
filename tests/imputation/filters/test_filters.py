"""What every registered filter keeps to, and what each of them does."""

import importlib
import random

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmend.errors import SpecError
from fedmend.plugins import FILTERS
from imputation.filters.base import Filter

BAD = {int: ["nonsense", "1.5", "0", "-1"], float: ["nonsense", "nan", "inf", "-1"], str: []}
every_filter = pytest.mark.parametrize("name", FILTERS.names())


def picture(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@every_filter
def test_zero_strength_is_identity(name: str) -> None:
    identity: str = importlib.import_module(f"imputation.filters.{name}").IDENTITY
    assert identity.startswith(name)
    smooth: Filter = FILTERS.build(identity)
    image = picture(3, 33, 47)
    assert torch.equal(smooth(image), image)
    assert smooth(image).data_ptr() != image.data_ptr()


@every_filter
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 33, 47), (1, 16, 90)])
def test_shape_dtype_and_range_hold_and_the_input_stays(
    name: str, shape: tuple[int, int, int]
) -> None:
    image = picture(*shape)
    before = image.clone()
    smooth: Filter = FILTERS.build(name)
    done = smooth(image)
    assert done.shape == shape
    assert done.dtype == torch.float32
    assert 0 <= float(done.min()) <= float(done.max()) <= 1
    assert torch.equal(image, before)


@every_filter
def test_draws_nothing(name: str) -> None:
    smooth: Filter = FILTERS.build(name)
    image = picture(1, 32, 32)
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    first = smooth(image)
    assert torch.equal(smooth(image), first)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


@every_filter
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_image_stays(name: str, value: float, channels: int) -> None:
    smooth: Filter = FILTERS.build(name)
    image = torch.full((channels, 20, 20), value)
    assert torch.allclose(smooth(image), image, atol=1e-5)


@every_filter
def test_takes_noise_away(name: str) -> None:
    smooth: Filter = FILTERS.build(name)
    noisy = 0.5 + 0.1 * (picture(1, 64, 64) - 0.5)
    assert float(smooth(noisy).std()) < 0.6 * float(noisy.std())


@every_filter
def test_refuses_bad_parameters_by_name(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        FILTERS.build(f"{name}(nonsense=1)")
    for key, parameter in FILTERS.parameters(name).items():
        for value in BAD.get(parameter.annotation, ["nonsense"]):
            with pytest.raises(SpecError, match=key):
                FILTERS.build(f"{name}({key}={value})")


@pytest.mark.parametrize("name", ["mean", "median"])
def test_refuses_a_window_without_a_centre(name: str) -> None:
    with pytest.raises(SpecError, match="size must be an odd number of pixels, at least 1; got 4"):
        FILTERS.build(f"{name}(size=4)")


def spike() -> Tensor:
    image = torch.full((1, 9, 9), 0.1)
    image[0, 4, 4] = 1
    return image


def test_median_removes_a_lone_outlier() -> None:
    smooth: Filter = FILTERS.build("median(size=3)")
    assert torch.equal(smooth(spike()), torch.full((1, 9, 9), 0.1))


def test_mean_spreads_it_over_its_window() -> None:
    smooth: Filter = FILTERS.build("mean(size=3)")
    done = smooth(spike())
    assert torch.allclose(done[0, 3:6, 3:6], torch.full((3, 3), 0.2))
    assert torch.allclose(done[0, 0], torch.full((9,), 0.1))


def test_gaussian_has_the_shape_of_its_name() -> None:
    smooth: Filter = FILTERS.build("gaussian(sigma=1)")
    row = smooth(spike())[0, 4] - 0.1
    assert float(row[4] / row[5]) == pytest.approx(np.exp(0.5), rel=1e-3)
    assert float(row[4] / row[6]) == pytest.approx(np.exp(2), rel=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_bilateral_keeps_a_strong_edge_that_a_mean_blurs(channels: int) -> None:
    image = torch.zeros(channels, 16, 16)
    image[..., 8:] = 1
    keeps: Filter = FILTERS.build("bilateral(value=0.05)")
    blurs: Filter = FILTERS.build("mean")
    assert torch.allclose(keeps(image), image, atol=1e-3)
    assert float((blurs(image) - image).abs().max()) > 0.3
