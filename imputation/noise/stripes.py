"""Stripes: the rows or columns of a detector whose amplifiers differ, and some that are dead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise
from imputation.noise.fill import Fill, filled
from imputation.noise.parameters import check, draw

IDENTITY = "stripes(offset=0, gain=0, dead=0)"

_OFFSET = _GAIN = Range(0.05, 0.05)
_DEAD = Range(0.02, 0.02)


@NOISES.register("stripes")
def stripes(
    *,
    offset: Range = _OFFSET,
    gain: Range = _GAIN,
    dead: Range = _DEAD,
    direction: Literal["horizontal", "vertical", "random"] = "random",
    fill: Fill = "zero",
) -> Noise:
    """Return noise that shifts and scales whole lines of an image and loses some of them.

    Line i turns x into (1 + gain * g_i) * x + offset * o_i, with g_i, o_i ~ N(0, 1) independent
    from line to line, clipped to [0, 1]. Each line is dead, and filled, with probability
    ``dead``. All channels meet the same lines. One ``offset``, ``gain`` and ``dead`` is drawn per
    image, each uniformly from low to high; where all three are 0 the noise is identity.

    Args:
        offset: standard deviation of what is added to a line, from 0 to 1.
        gain: standard deviation of the factor of a line about 1, from 0 to 1.
        dead: probability that a line is dead, from 0 to 1.
        direction: of the lines: horizontal (rows), vertical (columns) or random, either with
            probability 1/2 per image.
        fill: what dead lines read: 0, 1, the mean of each of the image's channels, or a grey
            level drawn per image from U(0, 1).

    Raises:
        ValueError: ``offset``, ``gain`` or ``dead`` does not lie in [0, 1].

    Source: the column and row nonuniformities of offset (DSNU) and gain (PRNU) of the standard
    EMVA 1288 for image sensors.
    """
    for name, interval in (("offset", offset), ("gain", gain), ("dead", dead)):
        check(name, interval)
    return Stripes(offset, gain, dead, direction, fill)


@dataclass(frozen=True)
class Stripes:
    """Corrupts line by line; ``hole`` says which are dead.

    ``sigma`` is sqrt(offset² + (gain * x)²) outside them, x² meaned over channels, and 0 in them.
    """

    offset: Range
    gain: Range
    dead: Range
    direction: Literal["horizontal", "vertical", "random"]
    fill: Fill

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]."""
        device = generator.device
        offset, gain, dead = (draw(each, generator) for each in (self.offset, self.gain, self.dead))
        turn, level = torch.rand(2, generator=generator, device=device).tolist()
        lines = _shape(self.direction, turn, image)
        added, factor = torch.randn((2, *lines), generator=generator, device=device).to(image)
        lost = (torch.rand(lines, generator=generator, device=device) < dead).to(image)
        shifted = image + image * factor.mul_(gain) + added.mul_(offset)
        hole = lost.expand(1, *image.shape[-2:]).clone()
        noisy, hole, _ = filled(shifted.clamp_(0, 1), hole, self.fill, level)
        variance = image.square().mean(0, keepdim=True).mul_(gain**2).add_(offset**2)
        return Corrupted(noisy, hole, variance.sqrt_().mul_(1 - hole))


def _shape(direction: str, turn: float, image: Tensor) -> tuple[int, int, int]:
    """Return the shape of one value a line; ``turn``, from U(0, 1), settles a random direction."""
    height, width = image.shape[-2:]
    horizontal = turn < 0.5 if direction == "random" else direction == "horizontal"
    return (1, height, 1) if horizontal else (1, 1, width)
