"""Structure at several scales, mixed with the mean absolute error.

MS-SSIM keeps contrast and structure but drifts in brightness, which the absolute error holds.
Zhao et al., "Loss functions for image restoration with neural networks", IEEE Transactions on
Computational Imaging 3(1), 2017.
"""

from __future__ import annotations

from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, weighted
from imputation.losses.ms_ssim import dissimilarity


@LOSSES.register("mix")
def mix(*, alpha: float = 0.84, weight: float = 1.0) -> Loss:
    """Return alpha * (1 - MS-SSIM) + (1 - alpha) * mean absolute error.

    The paper weights the absolute error around each pixel by a Gaussian; summed over all pixels
    of an image, as here, the Gaussians weight every error the same but at the border.

    Args:
        alpha: weight of the structural part, in [0, 1].
        weight: of the whole in a sum of losses, above 0.

    Raises:
        ValueError: ``alpha`` or ``weight`` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1; got {alpha:g}")

    def mixed(restored: Tensor, target: Tensor) -> Tensor:
        error = (restored - target).abs().mean((1, 2, 3))
        return alpha * dissimilarity(restored, target) + (1 - alpha) * error

    return weighted(mixed, weight)
