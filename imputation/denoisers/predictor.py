"""Where the noise is, and how strong: the noise predictor of networks that have no such heads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_WIDTH = 32


class NoiseMaps(NamedTuple):
    """What is known of the noise, pixel by pixel."""

    hole: Tensor
    """(B, 1, H, W): logit of the probability that pixels were replaced."""
    spread: Tensor
    """(B, 1, H, W): the standard deviation, before softplus, in units of the roughness."""

    def probability(self) -> Tensor:
        """Return (B, 1, H, W) in [0, 1]: the hole's map."""
        return torch.sigmoid(self.hole)

    def sigma(self, rough: Tensor) -> Tensor:
        """Return (B, 1, H, W), not negative; about 2 x ``rough`` where ``spread`` is 0."""
        return rough * functional.softplus(self.spread + 2)


class NoisePredictor(nn.Module):
    """Three convolutions, 3 x 3, 3 x 3 and 1 x 1, with 32 channels and ReLU.

    They are those of the noise predictor of *Decentralized Noise Handling in Medical Imaging*
    (2025), but see the image's roughness too and answer the noise's strength besides its place.

    Args:
        channels: of the images.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(_WIDTH, 2, 1)
        self.body = nn.Sequential(
            nn.Conv2d(channels + 1, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            last,
        )
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, image: Tensor, rough: Tensor) -> NoiseMaps:
        """Map (B, C, H, W) in [0, 1] and its roughness, (B, 1, H, W)."""
        hole, spread = self.body(torch.cat((image - 0.5, rough), 1)).split(1, 1)
        return NoiseMaps(hole, spread)
