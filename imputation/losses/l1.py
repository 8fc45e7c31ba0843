"""Mean absolute error: forgiving of few large errors, so edges stay sharp."""

from __future__ import annotations

from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss


@LOSSES.register("l1")
def l1() -> Loss:
    """Return the mean over channels and pixels of |restored - target|."""
    return _l1


def _l1(restored: Tensor, target: Tensor) -> Tensor:
    return (restored - target).abs().mean((1, 2, 3))
