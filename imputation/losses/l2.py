"""Mean squared error: what PSNR measures, at the price of softer edges."""

from __future__ import annotations

from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, weighted


@LOSSES.register("l2")
def l2(*, weight: float = 1.0) -> Loss:
    """Return the mean over channels and pixels of (restored - target)^2.

    Args:
        weight: in a sum of losses, above 0.

    Raises:
        ValueError: ``weight`` is out of range.
    """
    return weighted(_l2, weight)


def _l2(restored: Tensor, target: Tensor) -> Tensor:
    return (restored - target).square().mean((1, 2, 3))
