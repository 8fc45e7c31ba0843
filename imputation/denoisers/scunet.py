"""SCUNet (Zhang et al., "Practical blind image denoising via Swin-Conv-UNet", 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fedmend.plugins import DENOISERS
from imputation.denoisers.adopted import Adopted, Fit, network_class, starting_as_identity
from imputation.denoisers.base import Denoiser

SIZES = {"small": (1, 0, 0, 0, 0, 0, 1), "published": (4, 4, 4, 4, 4, 4, 4)}
"""Swin-convolution blocks of each level, down and up again: 1.5 and 18 million parameters."""
_SIDE = 64


@DENOISERS.register("scunet")
def scunet(
    channels: int,
    *,
    size: Literal["small", "published"] = "small",
    weights: Path | None = None,
) -> Denoiser:
    """Return deepinv's SCUNet: in each block half the channels convolve, half attend in windows.

    Sides are padded to multiples of 64: of images much smaller, most of the time goes there.

    Args:
        channels: of the images, 1 or 3.
        size: ``small`` for a CPU, though the slowest of the small ones, or ``published``.
        weights: a file on the coordinator's machine to start from: a state dict of deepinv's
            network (``.pth`` or ``.safetensors``), or an imputer of an earlier run.

    Raises:
        UserError: deepinv is not installed.
    """
    network = network_class("SCUNet")(channels, config=list(SIZES[size]), pretrained=None)
    first, last = network.get_submodule("m_head.0"), network.get_submodule("m_tail.0")
    starting_as_identity(first, last, channels)
    return Adopted(channels, network, fit=Fit(_SIDE, _SIDE)).starting_from("scunet", weights)
