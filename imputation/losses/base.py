"""What every reconstruction loss answers."""

from __future__ import annotations

import math
from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """Compares reconstructions with the truth, image by image."""

    def __call__(self, restored: Tensor, target: Tensor) -> Tensor:
        """Return (B,), not negative, 0 where equal, of two (B, C, H, W)."""
        ...


def weighted(loss: Loss, weight: float) -> Loss:
    """Return weight * loss: what a loss counts for beside those that it is added to.

    Raises:
        ValueError: ``weight`` is not above 0, or not finite.
    """
    if not 0 < weight < math.inf:
        raise ValueError(f"weight must be above 0 and finite; got {weight:g}")
    if weight == 1:
        return loss
    return lambda restored, target: weight * loss(restored, target)


def check_part(name: str, share: float) -> None:
    """Refuse what a part of a loss counts for where it is negative or not finite.

    Raises:
        ValueError: it is.
    """
    if not 0 <= share < math.inf:
        raise ValueError(f"{name} must be 0 or more; got {share:g}")
