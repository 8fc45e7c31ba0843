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


def check_weight(weight: float) -> None:
    """Refuse a part's weight that is negative or not finite.

    Raises:
        ValueError: it is.
    """
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight must be 0 or more; got {weight:g}")
