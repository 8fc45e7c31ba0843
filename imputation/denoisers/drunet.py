"""DRUNet (Zhang et al., "Plug-and-play image restoration with deep denoiser prior", 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from fedmend.plugins import DENOISERS
from imputation.denoisers.adopted import Adopted, Fit, network_class, starting_as_identity
from imputation.denoisers.base import Denoiser
from imputation.detectors.residual import noise_std

SIZES = {"small": ((16, 32, 64, 128), 2), "published": ((64, 128, 256, 512), 4)}
"""Channels of each level, and residual blocks of each: 1.1 and 32.6 million parameters."""


@DENOISERS.register("drunet")
def drunet(
    channels: int,
    *,
    size: Literal["small", "published"] = "small",
    sigma: Literal["estimated", "learnt"] = "estimated",
    weights: Path | None = None,
) -> Denoiser:
    """Return deepinv's DRUNet: a residual U-Net without biases that is told the noise's strength.

    Args:
        channels: of the images, 1 or 3.
        size: ``small`` for a CPU, or ``published``.
        sigma: what it is told: one number an image, estimated blindly
            (:func:`imputation.detectors.residual.noise_std`), or the noise predictor's map,
            which is learnt with it.
        weights: a file on the coordinator's machine to start from: a state dict of deepinv's
            network (``.pth`` or ``.safetensors``), or an imputer of an earlier run.

    Raises:
        UserError: deepinv is not installed.
    """
    widths, blocks = SIZES[size]
    network = network_class("DRUNet")(channels, channels, nc=widths, nb=blocks, pretrained=None)
    first, last = network.get_submodule("m_head"), network.get_submodule("m_tail")
    starting_as_identity(first, last, channels)
    level = _estimated if sigma == "estimated" else _learnt
    return Adopted(channels, network, level=level, fit=Fit(8, 32)).starting_from("drunet", weights)


def _estimated(noisy: Tensor, sigma: Tensor) -> Tensor:
    del sigma
    return noise_std(noisy)


def _learnt(noisy: Tensor, sigma: Tensor) -> Tensor:
    del noisy
    return sigma
