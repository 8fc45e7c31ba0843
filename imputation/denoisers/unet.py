"""A small U-Net (Ronneberger et al. 2015), shaped for training on one CPU thread."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

from fedmend.plugins import DENOISERS
from imputation.denoisers.base import Denoiser, Restored
from imputation.denoisers.layers import (
    DenseBlock,
    DepthwiseBlock,
    Head,
    Stem,
    cropped,
    padded,
    roughness,
)


@DENOISERS.register("unet")
def unet(channels: int, *, width: int = 32, depth: int = 3) -> Denoiser:
    """Return a U-Net.

    Args:
        channels: of the images, 1 or 3.
        width: feature channels at half the resolution; they double with each further halving.
            Multiples of 16 fill the vector units of a CPU.
        depth: how often the resolution is halved.

    Raises:
        ValueError: ``width`` below 1 or ``depth`` outside 2 to 6.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    if not 2 <= depth <= 6:
        raise ValueError(f"depth must be from 2 to 6; got {depth}")
    return UNet(channels, width, depth)


class UNet(Denoiser):
    """Features go down by strided convolutions and up again, joined to those on the way down.

    Levels are joined by addition rather than concatenation, which halves the cost of the block
    that follows; the lowest level is cheap and carries most of the weights.
    """

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        steps = list(itertools.pairwise(widths))
        self.multiple = 2**depth
        self.stem = Stem(channels, width)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in steps)
        self.encode = nn.ModuleList(DepthwiseBlock(coarse, 2) for coarse in widths[1:-1])
        self.lowest = nn.Sequential(*(DepthwiseBlock(widths[-1], 4) for _ in range(2)))
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in steps)
        self.decode = nn.ModuleList(DepthwiseBlock(fine, 2) for fine in widths[1:-1])
        self.finest = DenseBlock(width)
        self.head = Head(width, channels, depth + 1)

    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; H and W of any size."""
        image = padded(noisy, self.multiple)
        rough = roughness(image)
        finer = [self.stem(image, rough)]
        for down, encode in zip(self.down, [*self.encode, self.lowest], strict=True):
            finer.append(encode(down(finer[-1])))
        features = finer.pop()
        for up, decode in zip(
            reversed(self.up), [*reversed(self.decode), self.finest], strict=True
        ):
            larger = functional.interpolate(up(features), scale_factor=2.0, mode="nearest")
            features = decode(finer.pop() + larger)
        return cropped(self.head(features, image, rough), *noisy.shape[-2:])
