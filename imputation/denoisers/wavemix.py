"""Swin WaveMix: tokens mixed by windows of attention on the bands of a Haar transform.

The module of :mod:`imputation.denoisers.wavepaint`. WaveMix: Jeevan, Viswanathan & Sethi,
"WaveMix: a resource-efficient neural network for image analysis", 2022; Swin: Liu et al., "Swin
Transformer", ICCV 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from imputation.denoisers.layers import coarser, enlarged
from imputation.denoisers.predictor import NoiseMaps

_SCALES = 5
_SWIN_BLOCKS = 4
_LEAST_TRUST = 1e-3
_KEEP = 3.0  # how much rather than blur it, a later module starts by keeping the image


class Shape(NamedTuple):
    """Sizes that all parts of a network share."""

    width: int
    """Feature channels at half the resolution; a multiple of 4 x heads."""
    heads: int
    """Of attention, on a quarter of the channels."""
    window: int
    """Side of the attention's windows, at a quarter of the resolution."""

    @property
    def multiple(self) -> int:
        """Sides must be multiples of it: all windows are whole, and all coarse pixels."""
        return max(4 * self.window, 1 << (_SCALES - 1))


def layer_norm(width: int) -> nn.GroupNorm:
    """Return layer normalisation over channels and pixels of each image, at any resolution."""
    return nn.GroupNorm(1, width)


def haar(features: Tensor) -> tuple[Tensor, ...]:
    """Return the bands LL, LH, HL, HH, (B, C, H / 2, W / 2) each, of (B, C, H, W).

    One level of the orthonormal 2D transform; of LH the columns were averaged, the rows
    subtracted.
    """
    top, bottom = features[..., ::2, :], features[..., 1::2, :]
    parts = []
    for rows in (top + bottom, top - bottom):
        left, right = rows[..., ::2], rows[..., 1::2]
        parts += [(left + right) / 2, (left - right) / 2]
    coarse, vertical, horizontal, diagonal = parts
    return coarse, horizontal, vertical, diagonal


class DeepFeatures(nn.Module):
    """A convolution and four Swin blocks, every other one with shifted windows; residual.

    Args:
        width: channels in and out.
        shape: of the windows and heads.
    """

    def __init__(self, width: int, shape: Shape) -> None:
        super().__init__()
        from torchvision.models.swin_transformer import SwinTransformerBlock

        self.entry = nn.Conv2d(width, width, 3, padding=1)
        shifts = (0, shape.window // 2) * (_SWIN_BLOCKS // 2)
        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(width, shape.heads, [shape.window] * 2, [shift] * 2)
                for shift in shifts
            )
        )
        for part in self.blocks.modules():
            # Whole numbers that follow from the architecture: nothing that sites may average.
            for name, buffer in list(part.named_buffers(recurse=False)):
                part.register_buffer(name, buffer, persistent=False)

    def forward(self, band: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        tokens = self.entry(band).permute(0, 2, 3, 1)
        answer: Tensor = band + self.blocks(tokens).permute(0, 3, 1, 2)
        return answer


class WaveMixBlock(nn.Module):
    """A quarter of the channels, their Haar bands, deep features of the bands; residual.

    Args:
        shape: of the network.
        deep_ll: whether the coarse band has deep features too, or passes.
    """

    def __init__(self, shape: Shape, *, deep_ll: bool) -> None:
        super().__init__()
        width, quarter = shape.width, shape.width // 4
        self.reduce = nn.Conv2d(width, quarter, 1)
        self.coarse = DeepFeatures(quarter, shape) if deep_ll else nn.Identity()
        self.fine = nn.ModuleList(DeepFeatures(quarter, shape) for _ in range(3))
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, 1),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            layer_norm(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, width, H, W), sides multiples of 2, to the same shape."""
        bands = haar(self.reduce(features))
        extractors = (self.coarse, *self.fine)
        deep = [extract(band) for extract, band in zip(extractors, bands, strict=True)]
        answer: Tensor = features + self.mix(torch.cat(deep, 1))
        return answer


class WaveMixModule(nn.Module):
    """Convolutions to half the resolution, blocks, and a decoder back.

    Args:
        channels: of the images.
        shape: of the network.
        blocks: how many.
        deep_ll: see :class:`WaveMixBlock`.
        first: whether it stands first in the chain. It then starts with an even blend of all
            scales, a later one by keeping the image it is given.
    """

    def __init__(
        self, channels: int, shape: Shape, blocks: int, *, deep_ll: bool, first: bool
    ) -> None:
        super().__init__()
        width, seen = shape.width, 2 * channels + 2
        self.entry = nn.Sequential(
            nn.Conv2d(seen, width // 2, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, 2, 1),
        )
        self.blocks = nn.Sequential(
            *(WaveMixBlock(shape, deep_ll=deep_ll) for _ in range(blocks)),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.GELU(),
            layer_norm(width),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width // 2, 4, 2, 1), layer_norm(width // 2), nn.GELU()
        )
        self.parts = [channels, channels, 1, 1, _SCALES, _SCALES - 1]
        self.last = nn.Conv2d(width // 2 + seen, sum(self.parts), 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            assert self.last.bias is not None
            self.last.bias.zero_()
            if not first:
                self.last.bias[2 * channels + 2] = _KEEP

    def forward(
        self, image: Tensor, mended: Tensor, maps: NoiseMaps, rough: Tensor
    ) -> tuple[Tensor, NoiseMaps]:
        """Mend further.

        Args:
            image: (B, C, H, W) as it came, in [0, 1]; sides multiples of ``shape.multiple``.
            mended: (B, C, H, W), what the modules before made of it.
            maps: of the noise, (B, 1, H, W) each.
            rough: (B, 1, H, W), the image's roughness.

        Returns:
            The image mended further, and maps that are better.
        """
        seen = torch.cat((image - 0.5, mended - 0.5, maps.probability(), maps.sigma(rough)), 1)
        features = self.entry(seen)
        decoded = self.decoder(torch.cat((self.blocks(features), features), 1))
        answers = self.last(torch.cat((decoded, seen), 1))
        filling, residual, hole, spread, near, far = torch.split(answers, self.parts, 1)
        maps = NoiseMaps(maps.hole + hole, maps.spread + spread)
        smooth, around = _means(mended, maps, near.softmax(1), far.softmax(1))
        probability = maps.probability()
        outside, inside = smooth + residual, around + filling
        return outside + probability * (inside - outside), maps


def _means(image: Tensor, maps: NoiseMaps, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """Return two blends of an image's scales, pixels under the map counting little.

    A scale counts in the second blend as far as its pixels can be trusted: where a coarse pixel
    lies under the map whole, the next coarser one stands in for it.

    Args:
        image: (B, C, H, W).
        maps: of the noise.
        near: (B, scales, H, W), weights of the image itself and of each coarser scale.
        far: (B, scales - 1, H, W), weights of the coarser scales alone.
    """
    smooth, filled = near[:, :1] * image, torch.zeros_like(image)
    weight = torch.zeros_like(maps.hole)
    trust = torch.sigmoid(-maps.hole) + _LEAST_TRUST
    for scale, (total, trusted) in enumerate(coarser(image, trust, near.shape[1]), 1):
        total, trusted = enlarged(total, scale), enlarged(trusted, scale)
        share = far[:, scale - 1 : scale]
        smooth = smooth + near[:, scale : scale + 1] * total / trusted
        filled, weight = filled + share * total, weight + share * trusted
    return smooth, filled / weight
