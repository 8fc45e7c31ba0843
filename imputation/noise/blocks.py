"""Lost blocks: tiles of a coded image that did not survive transmission or storage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.fill import Fill, filled
from imputation.noise.parameters import check, draw

IDENTITY = "blocks(share=0)"

_SHARE, _SIDE = Range(0.1, 0.25), Range(0.08, 0.2)


@NOISES.register("blocks")
def blocks(*, share: Range = _SHARE, side: Range = _SIDE, fill: Fill = "zero") -> Noise:
    """Return noise that loses rectangular blocks of an image, over all channels alike.

    As a codec does, a grid of equal blocks is laid over the image; its origin is drawn uniformly,
    so that blocks at the borders are cut. Blocks are lost in random order until they cover the
    share of the pixels that was drawn for the image (so the last one may go beyond it).

    Args:
        share: of the image's pixels that is lost, from 0 to 1; one is drawn per image, uniformly
            from low to high. 0 is identity.
        side: of a block, in units of the image's side, sqrt(H * W), above 0 and up to 1; height
            and width are drawn per image, each uniformly from low to high, and are at least a
            pixel.
        fill: what replaces the pixels: 0, 1, the mean of each of the image's channels, or a
            grey level drawn per image from U(0, 1).

    Raises:
        ValueError: ``share`` does not lie in [0, 1], or ``side`` not in (0, 1].
    """
    check("share", share)
    if not 0 < side.low <= side.high <= 1:
        raise ValueError(f"side must be a number or range above 0 and up to 1; got {side}")
    return Blocks(share, side, fill)


@dataclass(frozen=True)
class Blocks:
    """Covers a drawn share of the pixels; ``hole`` says which, ``sigma`` is 0."""

    share: Range
    side: Range
    fill: Fill

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]."""
        share = draw(self.share, generator)
        if share == 0:
            return untouched(image)
        rows, columns = (self._grid(extent, image, generator) for extent in image.shape[-2:])
        area = torch.outer(torch.bincount(rows), torch.bincount(columns))
        lost = _lost(area, share * rows.numel() * columns.numel(), generator)
        hole = lost[rows][:, columns].to(image)[None]
        return filled(image, hole, self.fill, draw(Range(0, 1), generator))

    def _grid(self, extent: int, image: Tensor, generator: torch.Generator) -> Tensor:
        """Return (extent,): the number of the block that each row or column lies in."""
        side = draw(self.side, generator) * math.sqrt(image.shape[-2] * image.shape[-1])
        pixels = min(extent, max(1, round(side)))
        origin = int(draw(Range(0, pixels), generator))
        return torch.arange(origin, origin + extent).div_(pixels, rounding_mode="floor")


def _lost(area: Tensor, wanted: float, generator: torch.Generator) -> Tensor:
    """Lose blocks of ``area``, (rows, columns) in pixels each, until ``wanted`` pixels are lost."""
    order = torch.randperm(area.numel(), generator=generator, device=generator.device).cpu()
    before = area.flatten()[order].cumsum(0) - area.flatten()[order]
    lost = torch.zeros(area.numel(), dtype=torch.bool)
    lost[order[before < wanted]] = True
    return lost.view_as(area)
