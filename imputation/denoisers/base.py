"""What every denoiser answers."""

from __future__ import annotations

import abc
from typing import NamedTuple

from torch import Tensor, nn


class Restored(NamedTuple):
    """What a denoiser makes of a batch."""

    image: Tensor
    """(B, C, H, W): the reconstruction; about [0, 1], not clipped."""
    hole: Tensor
    """(B, 1, H, W): logit of the probability that pixels were replaced."""
    sigma: Tensor
    """(B, 1, H, W), not negative: standard deviation of what was added."""
    log_variance: Tensor | None = None
    """(B, 1, H, W): of the reconstruction's error, where the network knows."""


class Denoiser(nn.Module, abc.ABC):
    """A network that finds and reconstructs what noise destroyed.

    It must not keep batch statistics: sites are not alike, and theirs do not average.
    """

    local_names: frozenset[str] = frozenset()
    """Parameters that never leave the site."""

    @abc.abstractmethod
    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; H and W of any size."""
