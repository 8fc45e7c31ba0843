"""What the built-in denoisers are made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from imputation.denoisers.base import Restored


def normalisation(width: int) -> nn.GroupNorm:
    """Return a group normalisation (Wu & He 2018): per image, so nothing of a batch is kept."""
    return nn.GroupNorm(8 if width % 8 == 0 else 1, width)


class DenseBlock(nn.Module):
    """A residual block of one 3 x 3 convolution.

    At high resolution memory is the limit, so one wide pass is cheaper than several narrow ones.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            normalisation(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        answer: Tensor = features + self.body(features)
        return answer


class DepthwiseBlock(nn.Module):
    """A residual block that sees 5 x 5 per channel, then mixes channels (Liu et al. 2022).

    At low resolution it costs less than a dense convolution, and sees more.

    Args:
        width: channels in and out.
        expansion: channels between its two 1 x 1 convolutions, in units of ``width``.
    """

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            normalisation(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2, groups=width),
            nn.Conv2d(width, expansion * width, 1),
            nn.ReLU(),
            nn.Conv2d(expansion * width, width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        answer: Tensor = features + self.body(features)
        return answer


class Stem(nn.Module):
    """Rearranges 2 x 2 pixels into channels, so that features need half the resolution only.

    No pixel is lost by it, and training takes half the time (space to depth; Zhang et al.,
    FFDNet, 2018, which also is where the idea of a noise map as input comes from).

    Args:
        channels: of the image.
        width: of the features.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(4 * (channels + 1), width, 3, padding=1)

    def forward(self, image: Tensor, rough: Tensor) -> Tensor:
        """Return (B, width, H / 2, W / 2) of (B, C, H, W) and (B, 1, H, W)."""
        seen = functional.pixel_unshuffle(torch.cat((image - 0.5, rough), 1), 2)
        features: Tensor = self.first(seen)
        return features


_USUAL = 4.6  # minus the log of a mean squared error at 20 dB


class Head(nn.Module):
    """Turns features into an answer.

    The image is a blend of the noisy image at several scales, weighted pixel by pixel, plus a
    correction. So smoothing, the larger part of denoising, need not be learned as a residual,
    and a clean image passes unchanged where all weight is on the finest scale. At the coarser
    scales, pixels count by the probability that they are no hole (normalised convolution,
    Knutsson & Westin 1993), which carries the surroundings into it. The standard deviation is
    the image's roughness times a factor, about 2 at the start; the error's variance starts at
    20 dB.

    Args:
        width: of the features.
        channels: of the image.
        scales: how many; each halves the resolution of the one before.
        step: how many pixels apart features are, 1 or 2; they answer for step x step pixels each.
    """

    def __init__(self, width: int, channels: int, scales: int, *, step: int = 2) -> None:
        super().__init__()
        self.parts = [channels, 1, 1, 1, scales]
        self.last = nn.Conv2d(width, step**2 * sum(self.parts), 3, padding=1)
        self.spread = nn.PixelShuffle(step) if step > 1 else nn.Identity()
        with torch.no_grad():  # start near an even blend, without a correction
            self.last.weight.mul_(0.1)
            assert self.last.bias is not None
            self.last.bias.zero_()

    def forward(self, features: Tensor, image: Tensor, rough: Tensor) -> Restored:
        """Answer for (B, width, H / step, W / step), (B, C, H, W) and (B, 1, H, W)."""
        answers = self.spread(self.last(functional.relu(features)))
        correction, hole, sigma, doubt, weights = torch.split(answers, self.parts, 1)
        blended = _blend(image, torch.sigmoid(-hole) + 1e-3, weights.softmax(1))
        spread = rough * functional.softplus(sigma + 2)
        return Restored(blended + correction, hole, spread, doubt - _USUAL)


def _blend(image: Tensor, trust: Tensor, weights: Tensor) -> Tensor:
    """Mix an image with its means over 2, 4, 8, … pixels, trusted pixels counting more.

    Args:
        image: (B, C, H, W), sides multiples of the coarsest scale.
        trust: (B, 1, H, W), positive.
        weights: (B, scales, H, W), the finest first.
    """
    mixed = weights[:, :1] * image
    for scale, (total, trusted) in enumerate(coarser(image, trust, weights.shape[1]), 1):
        mixed = mixed + weights[:, scale : scale + 1] * enlarged(total / trusted, scale)
    return mixed


def coarser(image: Tensor, trust: Tensor, scales: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield means over 2 x 2, 4 x 4, 8 x 8, … pixels: of image times trust, and of the trust.

    The first over the second is the mean of the image in which trusted pixels count more.

    Args:
        image: (B, C, H, W), sides multiples of the coarsest scale.
        trust: (B, 1, H, W), positive.
        scales: how many, the image itself included, which is not yielded.
    """
    total, trusted = image * trust, trust
    for _ in range(1, scales):
        total, trusted = functional.avg_pool2d(total, 2), functional.avg_pool2d(trusted, 2)
        yield total, trusted


def enlarged(maps: Tensor, scale: int) -> Tensor:
    """Return maps at 2^scale times their resolution, drawn out bilinearly."""
    return functional.interpolate(maps, scale_factor=2**scale, mode="bilinear")


def roughness(images: Tensor) -> Tensor:
    """Return (B, 1, H, W): how strongly pixels differ from their neighbours, averaged locally.

    Normalisation hides the strength of a noise from all later layers; this map tells them.
    Sides must be multiples of 2.
    """
    near = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    rough = functional.avg_pool2d((images - near).abs().mean(1, keepdim=True), 2)
    smooth = functional.avg_pool2d(rough, 5, 1, 2, count_include_pad=False)
    return functional.interpolate(smooth, scale_factor=2, mode="bilinear")


def padded(images: Tensor, multiple: int) -> Tensor:
    """Return images whose border is repeated to the right and below up to the next multiple."""
    height, width = images.shape[-2:]
    border = (0, -width % multiple, 0, -height % multiple)
    return functional.pad(images, border, mode="replicate") if any(border) else images


def cropped(restored: Restored, height: int, width: int) -> Restored:
    """Undo ``padded`` on an answer."""
    cut = {
        name: part[..., :height, :width]
        for name, part in restored._asdict().items()
        if part is not None
    }
    return restored._replace(**cut)
