"""A small U-Net (Ronneberger et al. 2015), shaped for training on one CPU thread."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmend.plugins import DENOISERS
from imputation.denoisers.base import Denoiser, Restored
from imputation.denoisers.layers import (
    DenseBlock,
    DepthwiseBlock,
    Head,
    cropped,
    padded,
    roughness,
)


@DENOISERS.register("unet")
def unet(
    channels: int,
    *,
    first: int = 16,
    width: int = 32,
    depth: int = 3,
    weights: Path | None = None,
) -> Denoiser:
    """Return a U-Net.

    Args:
        channels: of the images, 1 or 3.
        first: feature channels at full resolution.
        width: feature channels at half the resolution; they double with each further halving.
            Multiples of 16 fill the vector units of a CPU, here as in ``first``.
        depth: how often the resolution is halved.
        weights: a file on the coordinator's machine to start from: an imputer of an earlier run
            with the same spec.

    Raises:
        ValueError: ``first`` or ``width`` below 1 or ``depth`` outside 2 to 6.
    """
    for name, value in (("first", first), ("width", width)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    if not 2 <= depth <= 6:
        raise ValueError(f"depth must be from 2 to 6; got {depth}")
    return UNet(channels, first, width, depth).starting_from("unet", weights)


class UNet(Denoiser):
    """Features go down by strided convolutions and up again, joined to those on the way down.

    Levels are joined by addition rather than concatenation, which halves the cost of the block
    that follows. The first level has the image's resolution and a 3 x 3 convolution on either
    way; that is where single pixels are told apart, and as memory is the limit there, it is
    narrow. The lowest level is cheap and carries most of the weights.
    """

    def __init__(self, channels: int, first: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        steps = list(itertools.pairwise(widths))
        self.multiple = 2**depth
        self.first = nn.Conv2d(channels + 1, first, 3, padding=1)
        self.halve = nn.Conv2d(first, width, 2, 2)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in steps)
        self.encode = nn.ModuleList(DepthwiseBlock(coarse, 2) for coarse in widths[1:-1])
        self.lowest = nn.Sequential(*(DepthwiseBlock(widths[-1], 2) for _ in range(2)))
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in steps)
        self.decode = nn.ModuleList(DepthwiseBlock(fine, 2) for fine in widths[1:-1])
        self.finest = DenseBlock(width)
        self.back = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 4 * first, 1), nn.PixelShuffle(2))
        self.head = Head(first, channels, depth + 1, step=1)

    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; H and W of any size."""
        image = padded(noisy, self.multiple)
        rough = roughness(image)
        full = self.first(torch.cat((image - 0.5, rough), 1))
        lower = self._lower(self.halve(functional.relu(full)))
        restored = self.head(full + self.back(lower), image, rough)
        return cropped(restored, *noisy.shape[-2:])

    def _lower(self, half: Tensor) -> Tensor:
        """Map (B, width, H / 2, W / 2) to the same shape, by way of all lower resolutions."""
        finer = [half]
        for down, encode in zip(self.down, [*self.encode, self.lowest], strict=True):
            finer.append(encode(down(finer[-1])))
        features = finer.pop()
        for up, decode in zip(
            reversed(self.up), [*reversed(self.decode), self.finest], strict=True
        ):
            larger = functional.interpolate(up(features), scale_factor=2.0, mode="nearest")
            features = decode(finer.pop() + larger)
        return features
