"""Mean absolute error of the image and of its spectrum: missing fine scales cost extra."""

from __future__ import annotations

import torch
from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, check_part, weighted


@LOSSES.register("frequency")
def frequency(*, spectrum: float = 0.1, weight: float = 1.0) -> Loss:
    """Return the mean of |restored - target| plus ``spectrum`` times that of their spectra.

    The transform is two-dimensional and orthonormal, so that both parts have the image's unit; the
    absolute error of its real and imaginary parts weighs every frequency alike (Cho et al.,
    "Rethinking coarse-to-fine approach in single image deblurring", ICCV 2021).

    Args:
        spectrum: what it counts for beside the absolute error, not negative.
        weight: of the whole in a sum of losses, above 0.

    Raises:
        ValueError: ``spectrum`` or ``weight`` is out of range.
    """
    check_part("spectrum", spectrum)

    def compared(restored: Tensor, target: Tensor) -> Tensor:
        error = restored - target
        # In single precision at least: half has no transform on some devices.
        waves = torch.view_as_real(torch.fft.rfft2(error.float(), norm="ortho"))
        return error.abs().mean((1, 2, 3)) + spectrum * waves.abs().mean((1, 2, 3, 4))

    return weighted(compared, weight)
