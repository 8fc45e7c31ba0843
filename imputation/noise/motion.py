"""Motion blur: the patient or the probe moves while the image is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.parameters import check, draw

IDENTITY = "motion(length=0)"

_LENGTH = Range(0.03, 0.1)
_TURN = 1.5 * math.pi
_POINTS_A_PIXEL, _FEWEST_POINTS = 4, 32
_WINDOW = 7


@NOISES.register("motion")
def motion(*, length: Range = _LENGTH, path: Literal["line", "walk"] = "line") -> Noise:
    """Return noise that moves an image along a path while it is exposed, all channels alike.

    Every pixel becomes the mean of the image along the path, which is passed at constant speed
    and centred on its centre of mass, so that the image does not shift. Beyond its borders the
    image goes on as its mirror image. The path starts in a direction from U(0, 2 pi). A line
    keeps it; a walk turns as Brownian motion does, by N(0, (1.5 pi)²) over its whole length.

    Nothing is replaced and nothing random is added, so ``hole`` is 0 and ``sigma`` is the root
    mean square of the difference that the blur made, over 7 x 7 pixels around each pixel and over
    the channels. The blur comes before the detector's noise: write ``motion()+gaussian()``. The
    other way round it also smooths that noise, of which ``sigma`` then says too much.

    Args:
        length: of the path in units of the image's side, sqrt(H * W), from 0 to 1; one is drawn
            per image, uniformly from low to high. 0 is identity.
        path: line or walk.

    Raises:
        ValueError: ``length`` does not lie in [0, 1].

    Source: the random trajectories of Boracchi and Foi, Modeling the Performance of Image
    Restoration from Motion Blur (IEEE TIP 2012), without their inertia and jerks.

    >>> motion(length=Range(0.1, 0.1))
    MotionBlur(length=Range(low=0.1, high=0.1), path='line')
    """
    check("length", length)
    return MotionBlur(length, path)


@dataclass(frozen=True)
class MotionBlur:
    """Convolves with a drawn path; ``sigma`` is the local root mean square difference."""

    length: Range
    path: Literal["line", "walk"]

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]."""
        length = draw(self.length, generator) * math.sqrt(image.shape[-2] * image.shape[-1])
        if length == 0:
            return untouched(image)
        turn = _TURN if self.path == "walk" else 0.0
        kernel = drawn_kernel(length, turn, generator).to(image)
        blurred = _convolved(image, kernel).clamp_(0, 1)
        squared = (blurred - image).square_().mean(0, keepdim=True)
        meaned = functional.avg_pool2d(_mirrored(squared, _WINDOW // 2), _WINDOW, stride=1)
        return Corrupted(blurred, torch.zeros_like(squared), meaned.sqrt_())


def drawn_kernel(length: float, turn: float, generator: torch.Generator) -> Tensor:
    """Draw a path and return its kernel, (K, K) float64 of sum 1, K odd.

    Args:
        length: of the path in pixels.
        turn: standard deviation of the angle, in radians, that it turns by over its length.
        generator: of the direction and the turns.
    """
    device = generator.device
    count = max(_FEWEST_POINTS, math.ceil(_POINTS_A_PIXEL * length))
    first = 2 * math.pi * torch.rand(1, generator=generator, device=device, dtype=torch.float64)
    bends = torch.randn(count, generator=generator, device=device, dtype=torch.float64)
    heading = (first + bends.mul_(turn / math.sqrt(count)).cumsum(0)).cpu()
    steps = torch.stack((heading.sin(), heading.cos())) * (length / count)
    points = steps.cumsum(1)
    return _splatted(points - points.mean(1, keepdim=True))


def _splatted(points: Tensor) -> Tensor:
    """Spread each of the points (y, x), (2, N) in pixels from the centre, over four pixels.

    The weights are bilinear, so the kernel's centre of mass is that of the points.
    """
    radius = math.ceil(float(points.abs().max()))
    side = 2 * radius + 1
    low = points.floor()
    part = points - low
    row, column = low.long() + radius
    kernel = torch.zeros(side * side, dtype=points.dtype)
    for down in (0, 1):
        for right in (0, 1):
            # A point that lies on the last row or column has no weight for the one beyond it.
            at = (row + down).clamp_(max=side - 1) * side + (column + right).clamp_(max=side - 1)
            weight = (part[0] if down else 1 - part[0]) * (part[1] if right else 1 - part[1])
            kernel.index_add_(0, at, weight)
    return kernel.view(side, side) / points.shape[1]


def _convolved(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve (C, H, W), mirrored at its borders, with (K, K); through the Fourier domain.

    A long path takes a kernel of thousands of pixels: directly, that is slow.
    """
    radius = kernel.shape[-1] // 2
    mirrored = _mirrored(image, radius)
    size = mirrored.shape[-2:]
    spectrum = torch.fft.rfft2(mirrored) * torch.fft.rfft2(kernel, s=size)
    whole: Tensor = torch.fft.irfft2(spectrum, s=size)
    return whole[..., 2 * radius :, 2 * radius :]


def _mirrored(image: Tensor, border: int) -> Tensor:
    """Return (C, H + 2 border, W + 2 border): mirrored as often as the border asks for."""
    rows, columns = (_mirror(extent, border) for extent in image.shape[-2:])
    return image[:, rows.to(image.device)][:, :, columns.to(image.device)]


def _mirror(extent: int, border: int) -> Tensor:
    """Return the row or column that each of ``extent`` + 2 ``border`` ones shows."""
    place = torch.arange(-border, extent + border).remainder_(2 * extent)
    return torch.minimum(place, 2 * extent - 1 - place)
