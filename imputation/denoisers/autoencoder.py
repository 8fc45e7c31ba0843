"""A denoising autoencoder (Vincent et al. 2010), convolutional: the U-Net's plain ancestor."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from fedmend.plugins import DENOISERS
from imputation.denoisers.base import Denoiser, Restored
from imputation.denoisers.layers import (
    DenseBlock,
    DepthwiseBlock,
    Head,
    Stem,
    cropped,
    normalisation,
    padded,
    roughness,
)

_MULTIPLE = 8


@DENOISERS.register("autoencoder")
def autoencoder(channels: int, *, width: int = 32, weights: Path | None = None) -> Denoiser:
    """Return an autoencoder whose code has 1/8 of the resolution.

    Args:
        channels: of the images, 1 or 3.
        width: feature channels at half the resolution; they double with each further halving.
        weights: a file on the coordinator's machine to start from: an imputer of an earlier run
            with the same spec.

    Raises:
        ValueError: ``width`` below 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    return Autoencoder(channels, width).starting_from("autoencoder", weights)


class Autoencoder(Denoiser):
    """All features pass the code; only the head's blend looks at the noisy image again."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stem = Stem(channels, width)
        self.encode = nn.Sequential(
            nn.Conv2d(width, 2 * width, 2, 2),
            DepthwiseBlock(2 * width, 2),
            nn.Conv2d(2 * width, 4 * width, 2, 2),
            DepthwiseBlock(4 * width, 4),
        )
        self.decode = nn.Sequential(
            DepthwiseBlock(4 * width, 4),
            nn.Conv2d(4 * width, 2 * width, 1),
            nn.Upsample(scale_factor=2.0),
            DepthwiseBlock(2 * width, 2),
            nn.Conv2d(2 * width, width, 1),
            nn.Upsample(scale_factor=2.0),
            DenseBlock(width),
            normalisation(width),
        )
        self.head = Head(width, channels, 4)

    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; H and W of any size."""
        image = padded(noisy, _MULTIPLE)
        rough = roughness(image)
        features = self.decode(self.encode(self.stem(image, rough)))
        return cropped(self.head(features, image, rough), *noisy.shape[-2:])
