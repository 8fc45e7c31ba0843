"""Published networks on the face of a denoiser, with heads for the noise.

The networks are deepinv's (Tachella et al., "DeepInverse: a deep learning framework for inverse
problems in imaging", 2023; BSD-3-Clause), which the extra ``deepinv`` installs. None of them
keeps batch statistics; nothing is downloaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fedmend.errors import UserError
from imputation.denoisers.base import Denoiser, Restored
from imputation.denoisers.layers import padded, roughness
from imputation.denoisers.predictor import NoisePredictor

_START = 0.1


class Fit(NamedTuple):
    """What sides a network takes."""

    multiple: int = 1
    least: int = 1
    """Smallest side; a multiple of ``multiple``."""

    def padded(self, images: Tensor) -> Tensor:
        """Return images whose border is repeated until their sides fit."""
        small = min(images.shape[-2:]) < self.least
        return padded(images, self.least if small else self.multiple)


ANY_SIDES = Fit()


def network_class(name: str) -> Callable[..., nn.Module]:
    """Return one of deepinv's networks.

    Raises:
        UserError: deepinv is not installed.
    """
    try:
        models = importlib.import_module("deepinv.models")
    except ModuleNotFoundError as error:
        raise UserError(
            f"it needs deepinv, which is not installed ({error.name} is missing): "
            "pip install 'fedmend[deepinv]'"
        ) from error
    found: Callable[..., nn.Module] = getattr(models, name)
    return found


def quietened(layer: nn.Module) -> None:
    """Scale down the last layer of a network that answers a residual: it starts near identity."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(_START)


def starting_as_identity(entry: nn.Module, last: nn.Module, channels: int) -> None:
    """Let a network that answers the image itself start near it.

    Its first features are the image's channels, and its last layer, which sees the first features
    plus what deeper layers add, answers them; the rest of that layer is scaled down.

    Args:
        entry: the first convolution.
        last: the last one.
        channels: of the image.
    """
    quietened(last)
    first, answer = entry.get_parameter("weight"), last.get_parameter("weight")
    middle = first.shape[-1] // 2
    with torch.no_grad():
        first[:channels] = 0
        answer[:, :channels] = 0
        for channel in range(channels):
            first[channel, channel, middle, middle] = 1
            answer[channel, channel, middle, middle] = 1


class Adopted(Denoiser):
    """A network that reconstructs, beside a noise predictor that answers for the maps.

    Args:
        channels: of the images.
        network: maps (B, C, H, W) and a noise level to (B, C, H, W).
        level: of the noise, (B,) or (B, 1, H, W), from the noisy images and their map of the
            standard deviation, both of the same sides; None where the network takes none.
        fit: what sides the network takes.
    """

    def __init__(
        self,
        channels: int,
        network: nn.Module,
        *,
        level: Callable[[Tensor, Tensor], Tensor] | None = None,
        fit: Fit = ANY_SIDES,
    ) -> None:
        super().__init__()
        self.predictor = NoisePredictor(channels)
        self.network = network
        self.level = level
        self.fit = fit

    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; H and W of any size."""
        height, width = noisy.shape[-2:]
        even = padded(noisy, 2)
        rough = roughness(even)
        maps = self.predictor(even, rough)
        hole = maps.hole[..., :height, :width]
        sigma = maps.sigma(rough)[..., :height, :width]
        known = () if self.level is None else (self._level(noisy, sigma),)
        image = self.network(self.fit.padded(noisy), *known)[..., :height, :width]
        return Restored(image, hole, sigma)

    def _level(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        assert self.level is not None
        level = self.level(noisy, sigma)
        return self.fit.padded(level) if level.ndim > 1 else level
