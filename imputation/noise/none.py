"""No noise at all: what a real site asks for, and the zero of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from imputation.noise.base import Corrupted, Noise, untouched

IDENTITY = "none()"


@NOISES.register("none")
def none() -> Noise:
    """Return the noise that leaves every image as it is and draws nothing."""
    return Nothing()


@dataclass(frozen=True)
class Nothing:
    """Answers with a copy."""

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:  # noqa: ARG002
        """Copy (C, H, W)."""
        return untouched(image)
