"""What every reconstruction loss answers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """Compares reconstructions with the truth, image by image."""

    def __call__(self, restored: Tensor, target: Tensor) -> Tensor:
        """Return (B,), not negative, 0 where equal, of two (B, C, H, W)."""
        ...
