import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fedmend.errors import SpecError
from fedmend.plugins import NOISES
from imputation.noise.base import Noise
from imputation.noise.motion import drawn_kernel


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moments(kernel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the centre of mass and the covariance, in pixels from the middle."""
    radius = kernel.shape[0] // 2
    axis = torch.arange(-radius, radius + 1, dtype=kernel.dtype)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    weights = kernel.flatten()
    centre = places @ weights
    return centre, (places * weights) @ places.T - centre[:, None] * centre


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 300), st.floats(0, 10), st.integers(0, 2**40))
def test_kernel_is_a_centred_mean(length: float, turn: float, seed: int) -> None:
    kernel = drawn_kernel(length, turn, drawn(seed))
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.shape[0] <= length + 5
    assert float(kernel.min()) >= 0
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert moments(kernel)[0].tolist() == pytest.approx([0, 0], abs=1e-9)


def test_line_has_its_length_and_no_width() -> None:
    """A line's points have the variance length² / 12 along it; the splat adds at most 1/4."""
    for seed in range(10):
        variances = torch.linalg.eigvalsh(moments(drawn_kernel(30, 0, drawn(seed)))[1])
        assert float(variances[0]) < 0.3
        assert float(variances[1]) == pytest.approx(30**2 / 12, rel=0.01)


def test_every_direction_is_as_likely() -> None:
    directions = []
    for seed in range(300):
        axes = torch.linalg.eigh(moments(drawn_kernel(20, 0, drawn(seed)))[1])[1]
        down, right = axes[:, 1].tolist()
        directions.append(math.atan2(down, right) % math.pi / math.pi)
    places, _ = np.histogram(directions, bins=6, range=(0, 1))
    assert places.min() > 25
    assert places.max() < 80


def test_walk_is_as_long_but_folded() -> None:
    """The mean of the squared distance of its ends is that of a heading in Brownian motion."""
    spreads = [
        float(moments(drawn_kernel(30, 1.5 * math.pi, drawn(seed)))[1].trace())
        for seed in range(200)
    ]
    assert max(spreads) < 30**2 / 12
    # E |p(s) - p(t)|² of the heading's correlation exp(-rate |s - t|), meaned over s and t, / 2
    rate = (1.5 * math.pi) ** 2 / 2
    lags = (np.arange(20000) + 0.5) / 20000
    squared = 2 * (lags / rate - (1 - np.exp(-rate * lags)) / rate**2)
    wanted = 30**2 * float(np.mean(2 * (1 - lags) * squared)) / 2
    assert float(np.mean(spreads)) == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize("path", ["line", "walk"])
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 16, 120), (1, 3, 200), (1, 1, 1)])
def test_flat_images_stay_flat(path: str, shape: tuple[int, int, int]) -> None:
    noise: Noise = NOISES.build(f"motion(length=1, path={path})")
    done = noise(torch.full(shape, 0.6), drawn(0))
    assert done.image.numpy() == pytest.approx(0.6, abs=2e-6)
    assert float(done.sigma.max()) < 2e-6


@pytest.mark.parametrize(
    ("height", "width", "length"), [(40, 60, 0.1), (17, 90, 0.4), (64, 64, 1.0)]
)
def test_is_the_convolution_with_the_drawn_path(height: int, width: int, length: float) -> None:
    """Against SciPy's direct convolution with symmetric borders, and its box mean for sigma."""
    image = torch.rand(3, height, width, generator=drawn(1))
    done = NOISES.build(f"motion(length={length})")(image, drawn(2))
    generator = drawn(2)
    torch.rand((), generator=generator)  # the length, of a range of one number
    kernel = drawn_kernel(length * math.sqrt(height * width), 0, generator).numpy()
    wanted = np.stack([ndimage.convolve(plane, kernel, mode="reflect") for plane in image.numpy()])
    assert done.image.numpy() == pytest.approx(wanted, abs=2e-6)
    squared = np.square(wanted - image.numpy()).mean(0)
    rms = np.sqrt(ndimage.uniform_filter(squared, 7, mode="reflect"))
    assert done.sigma[0].numpy() == pytest.approx(rms, abs=1e-5)
    assert not done.hole.any()


def test_mean_grey_is_kept() -> None:
    image = torch.rand(1, 100, 100, generator=drawn(0))
    noise: Noise = NOISES.build("motion(length=0.1)")
    assert float(noise(image, drawn(1)).image.mean()) == pytest.approx(
        float(image.mean()), abs=0.01
    )


def test_sigma_is_where_edges_are() -> None:
    image = torch.zeros(1, 64, 64)
    image[..., 32:] = 1
    noise: Noise = NOISES.build("motion(length=0.1)")
    sigma = noise(image, drawn(3)).sigma[0]
    assert float(sigma[:, 30:34].min()) > 0.1
    assert float(sigma[:, :20].max()) < 1e-5
    assert float(sigma[:, 44:].max()) < 1e-5


@pytest.mark.parametrize("length", ["-0.1", "0..2", "1.5"])
def test_refuses(length: str) -> None:
    with pytest.raises(SpecError, match="length must be a number or range from 0 to 1"):
        NOISES.build(f"motion(length={length})")
    with pytest.raises(SpecError, match="path must be one of line, walk"):
        NOISES.build("motion(path=circle)")
