"""What every blind detector answers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Detector(Protocol):
    """Tells noisy images from clean ones without a clean reference, a model or labels."""

    def score(self, images: Tensor) -> Tensor:
        """Return (n,) float32, larger for noisier, of (n, C, H, W) float32 in [0, 1].

        An image's score depends on that image alone.
        """
        ...

    def flag(self, scores: Tensor) -> Tensor:
        """Return (n,) bool: which of these scores are held to be noisy."""
        ...
