"""What every backbone is, and the first step that all of them share."""

from __future__ import annotations

from torch import Tensor, nn

Backbone = nn.Module
"""Answers (B, classes) logits to (B, channels, H, W) float32 in [0, 1], H and W at least 16.

It must not keep batch statistics (sites are not alike, and theirs do not average): its
normalisation is over groups of channels (Wu and He, "Group Normalization", ECCV 2018). An
image's logits then depend on that image alone.
"""


class Standardise(nn.Module):
    """Brings [0, 1] to about zero mean and unit spread: x -> (x - 0.5) / 0.25.

    The constants are fixed, not fitted: a statistic of the images would have to be agreed on by
    the sites, and would tell them about each other.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the images, of any shape, standardised."""
        return (images - 0.5) / 0.25


def check_shape(channels: int, classes: int) -> None:
    """Refuse a shape that no classifier can have.

    Raises:
        ValueError: fewer than one channel or one class.
    """
    for name, value in (("channels", channels), ("classes", classes)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
