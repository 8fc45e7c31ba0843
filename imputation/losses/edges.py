"""Mean absolute error of the image and of its gradients: blurred outlines cost extra."""

from __future__ import annotations

from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, check_weight


@LOSSES.register("edges")
def edges(*, weight: float = 1.0) -> Loss:
    """Return the mean of |restored - target| plus ``weight`` times that of their gradients.

    Gradients are differences of neighbouring pixels, down and to the right, as in the image
    gradient difference loss of Mathieu et al. ("Deep multi-scale video prediction beyond mean
    square error", ICLR 2016), but with their signs.

    Args:
        weight: of the gradients, not negative.

    Raises:
        ValueError: ``weight`` is negative or not finite.
    """
    check_weight(weight)

    def compared(restored: Tensor, target: Tensor) -> Tensor:
        error = restored - target
        steep = error.diff(dim=-2).abs().mean((1, 2, 3)) + error.diff(dim=-1).abs().mean((1, 2, 3))
        return error.abs().mean((1, 2, 3)) + weight * steep

    return compared
