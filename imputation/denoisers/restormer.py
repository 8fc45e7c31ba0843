"""Restormer (Zamir et al., CVPR 2022): a U-Net of attention across channels."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from fedmend.plugins import DENOISERS
from imputation.denoisers.adopted import Adopted, Fit, network_class, quietened
from imputation.denoisers.base import Denoiser


class Size(NamedTuple):
    """What deepinv's network is given."""

    dim: int
    num_blocks: tuple[int, int, int, int]
    num_refinement_blocks: int


SIZES = {"small": Size(8, (1, 1, 1, 2), 1), "published": Size(48, (4, 6, 6, 8), 4)}
"""0.27 and 26.1 million parameters."""


@DENOISERS.register("restormer")
def restormer(
    channels: int,
    *,
    size: Literal["small", "published"] = "small",
    weights: Path | None = None,
) -> Denoiser:
    """Return deepinv's Restormer: layer normalisation, no biases, blind to the noise's strength.

    Args:
        channels: of the images, 1 or 3.
        size: ``small`` for a CPU, or ``published``.
        weights: a file on the coordinator's machine to start from: a state dict of deepinv's
            network (``.pth`` or ``.safetensors``), or an imputer of an earlier run.

    Raises:
        UserError: deepinv is not installed.
    """
    network = network_class("Restormer")(
        channels, channels, **SIZES[size]._asdict(), pretrained=None
    )
    quietened(network.get_submodule("output"))
    return Adopted(channels, network, fit=Fit(8, 8)).starting_from("restormer", weights)
