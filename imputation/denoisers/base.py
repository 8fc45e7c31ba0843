"""What every denoiser answers."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import NamedTuple, Self

from torch import Tensor, nn

from imputation.denoisers.start import Start, take_up


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
    start: Start | None = None
    """The file of weights to start from."""

    def starting_from(self, name: str, weights: Path | None) -> Self:
        """Have it start from a file, which is not opened yet; from chance where none is given.

        Args:
            name: of the denoiser, for messages.
            weights: the file.
        """
        self.start = None if weights is None else Start(name, weights)
        return self

    def pretrain(self) -> frozenset[str]:
        """Take up the file's weights; return the names of the arrays that they set, if any.

        Raises:
            DataError: the file cannot be read, or is of another network.
        """
        return frozenset() if self.start is None else take_up(self, self.start)

    @abc.abstractmethod
    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; H and W of any size."""
