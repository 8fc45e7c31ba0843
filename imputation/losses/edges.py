"""Mean absolute error of the image and of its gradients: blurred outlines cost extra."""

from __future__ import annotations

from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, check_part, weighted


@LOSSES.register("edges")
def edges(*, gradients: float = 1.0, weight: float = 1.0) -> Loss:
    """Return the mean of |restored - target| plus ``gradients`` times that of their gradients.

    Gradients are differences of neighbouring pixels, down and to the right, as in the image
    gradient difference loss of Mathieu et al. ("Deep multi-scale video prediction beyond mean
    square error", ICLR 2016), but with their signs.

    Args:
        gradients: what they count for beside the absolute error, not negative.
        weight: of the whole in a sum of losses, above 0.

    Raises:
        ValueError: ``gradients`` or ``weight`` is out of range.
    """
    check_part("gradients", gradients)

    def compared(restored: Tensor, target: Tensor) -> Tensor:
        error = restored - target
        steep = error.diff(dim=-2).abs().mean((1, 2, 3)) + error.diff(dim=-1).abs().mean((1, 2, 3))
        return error.abs().mean((1, 2, 3)) + gradients * steep

    return weighted(compared, weight)
