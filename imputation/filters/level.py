"""The noise level that a filter goes by: given, or estimated on the image itself."""

from __future__ import annotations

import math

from torch import Tensor

from imputation.detectors.residual import noise_std


def check_level(**given: float) -> None:
    """Refuse what is no strength, or no standard deviation.

    Raises:
        ValueError: a value is negative or not finite; named as it is given.
    """
    for name, value in given.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number of at least 0; got {value:g}")


def level(image: Tensor, std: float) -> float:
    """Return ``std``, or the white noise's standard deviation where it is 0.

    Args:
        image: (C, H, W) in [0, 1]; its channels share the noise's strength.
        std: in units of the image's range; 0 is unknown.
    """
    return std if std > 0 else float(noise_std(image[None]))
