"""DnCNN (Zhang et al., "Beyond a Gaussian denoiser", IEEE TIP 2017): a chain of convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fedmend.plugins import DENOISERS
from imputation.denoisers.adopted import Adopted, network_class, quietened
from imputation.denoisers.base import Denoiser

SIZES = {"small": (10, 32), "published": (20, 64)}
"""Layers, and channels of each: 75 and 666 thousand parameters."""


@DENOISERS.register("dncnn")
def dncnn(
    channels: int,
    *,
    size: Literal["small", "published"] = "small",
    weights: Path | None = None,
) -> Denoiser:
    """Return deepinv's DnCNN, which has no batch normalisation: it answers the noise, negated.

    Args:
        channels: of the images, 1 or 3.
        size: ``small`` for a CPU, or ``published``.
        weights: a file on the coordinator's machine to start from: a state dict of deepinv's
            network (``.pth`` or ``.safetensors``), or an imputer of an earlier run.

    Raises:
        UserError: deepinv is not installed.
    """
    depth, width = SIZES[size]
    network = network_class("DnCNN")(
        channels, channels, depth=depth, nf=width, pretrained=None, device=None
    )
    quietened(network.get_submodule("out_conv"))
    return Adopted(channels, network).starting_from("dncnn", weights)
