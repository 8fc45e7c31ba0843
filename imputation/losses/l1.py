"""Mean absolute error: forgiving of few large errors, so edges stay sharp."""

from __future__ import annotations

from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, weighted


@LOSSES.register("l1")
def l1(*, weight: float = 1.0) -> Loss:
    """Return the mean over channels and pixels of |restored - target|.

    Args:
        weight: in a sum of losses, above 0.

    Raises:
        ValueError: ``weight`` is out of range.
    """
    return weighted(_l1, weight)


def _l1(restored: Tensor, target: Tensor) -> Tensor:
    return (restored - target).abs().mean((1, 2, 3))
