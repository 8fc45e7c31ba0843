"""Parameters of which one value is drawn per image: checked once, drawn for each image."""

from __future__ import annotations

import torch

from fedmend.spec import Range

FAINTEST = 1e-6
"""Noise of a smaller standard deviation, in units of the image's range, is left out: at
mid-grey it would be lost in the rounding of a float32 anyway."""


def check(name: str, interval: Range, most: float = 1.0) -> None:
    """Refuse a range that does not lie in [0, ``most``].

    Raises:
        ValueError: with the parameter's name, what was given and what is allowed.

    >>> check("std", Range(-1, 0.5))
    Traceback (most recent call last):
    ValueError: std must be a number or range from 0 to 1; got -1..0.5
    """
    if not 0 <= interval.low <= interval.high <= most:
        raise ValueError(f"{name} must be a number or range from 0 to {most:g}; got {interval}")


def draw(interval: Range, generator: torch.Generator) -> float:
    """Draw one value, uniformly from low to high."""
    return interval.at(float(torch.rand((), generator=generator, device=generator.device)))
