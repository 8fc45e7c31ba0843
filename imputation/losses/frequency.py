"""Mean absolute error of the image and of its spectrum: missing fine scales cost extra."""

from __future__ import annotations

import torch
from torch import Tensor

from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, check_weight


@LOSSES.register("frequency")
def frequency(*, weight: float = 0.1) -> Loss:
    """Return the mean of |restored - target| plus ``weight`` times that of their spectra.

    The transform is two-dimensional and orthonormal, so that both parts have the image's unit; the
    absolute error of its real and imaginary parts weighs every frequency alike (Cho et al.,
    "Rethinking coarse-to-fine approach in single image deblurring", ICCV 2021).

    Args:
        weight: of the spectrum, not negative.

    Raises:
        ValueError: ``weight`` is negative or not finite.
    """
    check_weight(weight)

    def compared(restored: Tensor, target: Tensor) -> Tensor:
        error = restored - target
        # In single precision at least: half has no transform on some devices.
        spectrum = torch.view_as_real(torch.fft.rfft2(error.float(), norm="ortho"))
        return error.abs().mean((1, 2, 3)) + weight * spectrum.abs().mean((1, 2, 3, 4))

    return compared
